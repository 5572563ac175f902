"""Ordered endpoints and endpoints with a rate limit, on a real clock, and through the death of the server."""

import json
from collections.abc import Iterable
from itertools import groupby

import pytest

from support.api import SOON, deliveries, make_endpoint, make_tenant, publish
from support.receiver import Received, Receiver, Reply, Script
from support.server import Server
from support.waiting import until

pytestmark = pytest.mark.engines("sqlite", "postgres")

EVENTS = 60
RATE = 20
# Starts are what the limit counts; each request arrives a little later than it starts, by more or less.
JITTER_SECONDS = 0.03


def numbers(received: Iterable[Received]) -> list[int]:
    """The payloads, which are numbers, in the order of arrival."""
    return [json.loads(one.body) for one in received]


def failing_now_and_then() -> Script:
    """Every tenth event fails once."""
    seen: set[int] = set()

    def reply(request: Received) -> Reply:
        number = json.loads(request.body)
        first = number not in seen
        seen.add(number)
        return Reply(500 if first and number % 10 == 0 else 200)

    return reply


def test_order_survives_failures_and_kills(server: Server, receiver: Receiver):
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    url = receiver.url("/hook", failing_now_and_then())
    make_endpoint(client, url, ordered=True, retry_schedule=SOON)
    for number in range(EVENTS):
        publish(server.root, tenant, str(number)).expect(202)
        if number in (EVENTS // 3, EVENTS // 2):
            server.kill()
            server.start()
    until(lambda: (numbers(receiver.requests()) or [0])[-1] == EVENTS - 1, "the last event", seconds=120)
    until(lambda: {one["status"] for one in deliveries(client)} == {"delivered"}, "all deliveries")
    # Repetitions come right behind what they repeat, and nothing overtakes.
    assert [number for number, _ in groupby(numbers(receiver.requests()))] == list(range(EVENTS))


def test_no_second_has_more_than_the_limit_and_others_are_not_slowed(server: Server, receiver: Receiver):
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    make_endpoint(client, receiver.url("/slow"), rate_limit=RATE)
    make_endpoint(client, receiver.url("/other"))
    for number in range(EVENTS):
        publish(server.root, tenant, str(number)).expect(202)
    receiver.wait_for(EVENTS, "/other", seconds=5)
    assert len(receiver.requests("/slow")) < EVENTS
    receiver.wait_for(RATE, "/slow")
    server.kill()
    server.start()
    came = [one.at for one in receiver.wait_for(EVENTS, "/slow")]
    most = max(sum(start <= at < start + 1 - JITTER_SECONDS for at in came) for start in came)
    assert most <= RATE
    # Evenly, not a second's worth at once.
    gaps = sorted(later - earlier for earlier, later in zip(came, came[1:RATE], strict=False))
    assert gaps[len(gaps) // 2] > 0.9 / RATE, gaps
