"""What must be true of a whole history, however often the server was killed in it.

A `History` is what the producers were told, what the receivers saw and what the API shows once everything is quiet. It
holds plain values, so that the checker itself is tested with histories written by hand (`test_checker.py`).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

WAITING = {"pending", "held"}
ENDED = {"delivered", "exhausted", "cancelled"}


@dataclass(frozen=True)
class Publication:
    """One event that a producer tried to publish. `event` is the id of the 2xx answer, `None` if none came."""

    key: str
    body: bytes
    endpoints: frozenset[str]
    event: str | None


@dataclass(frozen=True)
class Arrival:
    """One request at a receiver. `answered` is the status that it wrote back, 0 for none."""

    endpoint: str
    webhook_id: str
    body: bytes
    signed: bool
    answered: int


@dataclass(frozen=True)
class Shown:
    """One delivery as the API lists it."""

    event: str
    endpoint: str
    status: str
    reason: str | None
    attempt_count: int


@dataclass
class History:
    """All of it. `kills` are the ends without a warning; `in_flight_max` is how many requests may be under way at once,
    all endpoints together: no more can be lost from the record by one kill."""

    publications: list[Publication]
    arrivals: list[Arrival]
    deliveries: list[Shown]
    kills: int = 0
    in_flight_max: int = 0
    faults: list[str] = field(default_factory=list)


def check(history: History) -> list[str]:
    """Every broken promise, in words; empty when all were kept."""
    history.faults = []
    _every_acknowledged_event_has_its_deliveries(history)
    _every_delivery_tells_the_truth(history)
    _every_arrival_was_published(history)
    _one_publication_is_one_event(history)
    _repeats_are_those_that_kills_explain(history)
    return history.faults


def _every_acknowledged_event_has_its_deliveries(history: History) -> None:
    shown = defaultdict(list)
    for delivery in history.deliveries:
        shown[delivery.event].append(delivery.endpoint)
    for publication in history.publications:
        if publication.event is None:
            continue
        found = sorted(shown[publication.event])
        if found != sorted(publication.endpoints):
            history.faults.append(
                f"lost or doubled: {publication.event} was acknowledged for {sorted(publication.endpoints)}, "
                f"its deliveries are for {found}"
            )


def _every_delivery_tells_the_truth(history: History) -> None:
    taken = _successes(history)
    for delivery in history.deliveries:
        name = f"{delivery.event} for {delivery.endpoint}"
        if delivery.status not in WAITING | ENDED:
            history.faults.append(f"unknown state: {name} is {delivery.status}")
        elif delivery.status == "delivered" and not taken[delivery.event, delivery.endpoint]:
            history.faults.append(f"a lie: {name} is delivered, but no receiver took it")
        elif delivery.status in ENDED - {"delivered"} and delivery.reason is None:
            history.faults.append(f"silent: {name} is {delivery.status} without a reason")
        elif delivery.status == "exhausted" and delivery.attempt_count == 0:
            history.faults.append(f"never tried: {name} is exhausted after no attempt")


def _every_arrival_was_published(history: History) -> None:
    by_body = {publication.body: publication for publication in history.publications}
    stored = {(delivery.event, delivery.endpoint) for delivery in history.deliveries}
    for arrival in history.arrivals:
        name = f"{arrival.webhook_id} at {arrival.endpoint}"
        publication = by_body.get(arrival.body)
        if publication is None:
            history.faults.append(f"a body that nobody published: {name} got {arrival.body[:200]!r}")
        elif arrival.endpoint not in publication.endpoints:
            history.faults.append(f"the wrong receiver: {name} got {publication.key}")
        elif publication.event not in (None, arrival.webhook_id):
            history.faults.append(f"another id: {name} got {publication.key}, acknowledged as {publication.event}")
        if (arrival.webhook_id, arrival.endpoint) not in stored:
            history.faults.append(f"sent before it was stored: {name} has no delivery")
        if not arrival.signed:
            history.faults.append(f"a wrong signature: {name}")


def _one_publication_is_one_event(history: History) -> None:
    ids = defaultdict(set)
    for arrival in history.arrivals:
        ids[arrival.body].add(arrival.webhook_id)
    for publication in history.publications:
        if len(ids[publication.body]) > 1:
            history.faults.append(f"several ids: {publication.key} arrived as {sorted(ids[publication.body])}")
    acknowledged = Counter(publication.event for publication in history.publications if publication.event)
    for event, count in acknowledged.items():
        if count > 1:
            history.faults.append(f"shared: {event} was the answer to {count} publications")


def _repeats_are_those_that_kills_explain(history: History) -> None:
    """A delivery may arrive more often than its attempts tell only where a kill lost the record of an attempt."""
    recorded = {(delivery.event, delivery.endpoint): delivery.attempt_count for delivery in history.deliveries}
    arrived = Counter((arrival.webhook_id, arrival.endpoint) for arrival in history.arrivals)
    unrecorded = {pair: count - recorded[pair] for pair, count in arrived.items() if count > recorded.get(pair, count)}
    explained = history.kills * history.in_flight_max
    if sum(unrecorded.values()) > explained:
        some = sorted(unrecorded.items(), key=lambda item: -item[1])[:5]
        history.faults.append(
            f"too many repeats: {sum(unrecorded.values())} requests without a recorded attempt, where {history.kills} "
            f"kills explain {explained}; most for {some}"
        )
    repeated = sum(count - 1 for count in _successes(history).values() if count > 1)
    if repeated > explained:
        history.faults.append(f"too many repeats: {repeated} after a 2xx, where kills explain {explained}")


def _successes(history: History) -> Counter[tuple[str, str]]:
    return Counter(
        (arrival.webhook_id, arrival.endpoint) for arrival in history.arrivals if 200 <= arrival.answered <= 299
    )
