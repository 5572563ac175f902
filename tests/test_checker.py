"""The checker of histories fails where it must: each history here breaks one promise."""

from dataclasses import replace

import pytest

from support.checker import Arrival, History, Publication, Shown, check

PUBLISHED = Publication("a-1", b'{"n":1}', frozenset({"ep_a", "ep_b"}), "evt_1")
ARRIVED = Arrival("ep_a", "evt_1", b'{"n":1}', signed=True, answered=200)
SHOWN = Shown("evt_1", "ep_a", "delivered", None, 1)


def good() -> History:
    """One event, two endpoints, one of which still waits for its next attempt."""
    return History(
        publications=[PUBLISHED],
        arrivals=[ARRIVED, replace(ARRIVED, endpoint="ep_b", answered=500)],
        deliveries=[SHOWN, replace(SHOWN, endpoint="ep_b", status="pending")],
    )


def broken(history: History, words: str) -> None:
    """The checker finds exactly one fault, which says `words`."""
    faults = check(history)
    assert len(faults) == 1 and words in faults[0], faults


def test_a_good_history_is_without_fault():
    assert check(good()) == []


def test_an_acknowledged_event_that_is_gone_is_a_loss():
    history = good()
    history.deliveries, history.arrivals = [], []
    broken(history, "lost or doubled: evt_1")


def test_an_acknowledged_event_without_one_of_its_deliveries_is_a_loss():
    history = good()
    history.deliveries.pop()
    history.arrivals.pop()
    broken(history, "lost or doubled: evt_1")


def test_a_delivery_that_exists_twice_is_found():
    history = good()
    history.deliveries.append(SHOWN)
    broken(history, "lost or doubled: evt_1")


@pytest.mark.parametrize("answered", [0, 500])
def test_delivered_means_that_a_receiver_took_it(answered: int):
    history = good()
    history.arrivals[0] = replace(ARRIVED, answered=answered)
    broken(history, "a lie")


def test_an_end_without_a_reason_is_silent():
    history = good()
    history.deliveries[1] = replace(SHOWN, endpoint="ep_b", status="exhausted")
    broken(history, "silent")


def test_exhausted_without_an_attempt_is_found():
    history = good()
    history.arrivals.pop()
    history.deliveries[1] = Shown("evt_1", "ep_b", "exhausted", "schedule_ended", 0)
    broken(history, "never tried")


def test_a_state_that_the_contract_does_not_have_is_found():
    history = good()
    history.deliveries[1] = replace(SHOWN, endpoint="ep_b", status="lost")
    broken(history, "unknown state")


def test_a_body_with_one_byte_more_was_not_published():
    history = good()
    history.arrivals[0] = replace(ARRIVED, body=b'{"n": 1}')
    broken(history, "nobody published")


def test_an_event_at_an_endpoint_that_did_not_match_is_found():
    history = good()
    history.arrivals.append(replace(ARRIVED, endpoint="ep_c"))
    assert any("the wrong receiver" in fault for fault in check(history))


def test_an_id_that_is_not_the_acknowledged_one_is_found():
    history = good()
    history.arrivals[1] = replace(history.arrivals[1], webhook_id="evt_9")
    assert any("another id" in fault for fault in check(history))


def test_one_publication_under_two_ids_is_found_even_when_it_was_not_acknowledged():
    history = History(
        publications=[replace(PUBLISHED, event=None)],
        arrivals=[ARRIVED, replace(ARRIVED, webhook_id="evt_2")],
        deliveries=[SHOWN, replace(SHOWN, event="evt_2")],
    )
    broken(history, "several ids")


def test_two_publications_answered_with_one_event_are_found():
    history = good()
    history.publications.append(replace(PUBLISHED, key="a-2", body=b'{"n":2}'))
    broken(history, "shared")


def test_an_unacknowledged_event_may_arrive_or_not():
    silent = History(publications=[replace(PUBLISHED, event=None)], arrivals=[], deliveries=[])
    assert check(silent) == []
    silent.arrivals, silent.deliveries = [ARRIVED], [SHOWN]
    assert check(silent) == []


def test_an_arrival_that_the_server_knows_nothing_of_was_sent_too_early():
    history = History(publications=[replace(PUBLISHED, event=None)], arrivals=[ARRIVED], deliveries=[])
    broken(history, "sent before it was stored")


def test_a_wrong_signature_is_found():
    history = good()
    history.arrivals[1] = replace(history.arrivals[1], signed=False)
    broken(history, "a wrong signature")


def test_a_repeat_is_explained_by_a_kill_and_only_so():
    history = good()
    history.arrivals.append(ARRIVED)
    history.kills, history.in_flight_max = 1, 1
    assert check(history) == []
    history.kills = 0
    faults = check(history)
    assert faults and all("too many repeats" in fault for fault in faults), faults


def test_a_kill_explains_no_more_than_was_in_flight():
    history = good()
    history.arrivals += [ARRIVED, ARRIVED]
    history.kills, history.in_flight_max = 1, 1
    faults = check(history)
    assert faults and all("too many repeats" in fault for fault in faults), faults


def test_repeats_that_are_recorded_as_attempts_need_no_kill():
    history = good()
    history.arrivals.insert(0, replace(ARRIVED, answered=500))
    history.deliveries[0] = replace(SHOWN, attempt_count=2)
    assert check(history) == []
