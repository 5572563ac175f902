"""Receivers that take every connection and never answer, and many deliveries that wait for them (hostile cases RX-27 and
RX-28): what is open, what is in memory, and how everybody else fares meanwhile."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.api import make_endpoint, make_tenant, publish
from support.receiver import Receiver
from support.server import Server
from support.silence import Silence
from support.waiting import until

ENDPOINTS = 10_000
BACKLOG = 100_000
BATCH = 1_000
# The server's own bounds: in flight to one endpoint, and to all that are not known to answer, a quarter of 512.
ONE_ENDPOINT_MAX = 16
UNTRUSTED_MAX = 128
# Everything else that a server has open: the database, listeners, clients, idle connections.
OTHER_FILES_MAX = 100
THREADS_MAX = 100
MEMORY_BYTES_MAX = 256 * 1024 * 1024
# From a publish to its arrival at somebody who answers, on a machine that others use too.
ARRIVAL_SECONDS_MAX = 3.0
GOOD_EVENTS = 30


@pytest.fixture
def silences() -> Iterator[Callable[..., Silence]]:
    made: list[Silence] = []

    def make(answered: int = 0) -> Silence:
        made.append(Silence(answered))
        return made[-1]

    yield make
    for one in made:
        one.close()


def open_files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def threads(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/task").iterdir()))


def stored(server: Server, question: str) -> int:
    with closing(sqlite3.connect(server.data / "stentor.db")) as database:
        return database.execute(question).fetchone()[0]


def copy_endpoint(server: Server, endpoints: int) -> None:
    """Makes the only endpoint so many, each at a path of its own. The copies have no secrets, which nobody asks for."""
    with closing(sqlite3.connect(server.data / "stentor.db")) as database, database:
        database.execute(
            f"""INSERT INTO endpoints (n, tag, tenant, project, number, shard, name, url, events, timeout_seconds,
                                       retry_schedule, created_at, updated_at, config_version)
                WITH RECURSIVE copies (c) AS (SELECT 1 UNION ALL SELECT c + 1 FROM copies WHERE c < {endpoints - 1})
                SELECT n + 256 * c, tag, tenant, project, number + c, (shard + c) % 256, name, url || '/' || c, events,
                       timeout_seconds, retry_schedule, created_at, updated_at, config_version
                FROM endpoints, copies WHERE number = 1"""
        )


def assert_others_fare_well(server: Server, receiver: Receiver, tenant: str) -> None:
    """Publishes to a tenant whose receiver answers, one event after the other: each arrives at once."""
    for _ in range(GOOD_EVENTS):
        count = len(receiver.requests())
        publish(server.root, tenant).expect(202)
        receiver.wait_for(count + 1, seconds=ARRIVAL_SECONDS_MAX)


def assert_bounded(server: Server, in_flight_max: int) -> None:
    assert open_files(server) <= in_flight_max + OTHER_FILES_MAX
    assert threads(server) <= THREADS_MAX
    assert server.resident_bytes() <= MEMORY_BYTES_MAX
    assert "a panic:" not in server.log


def make_good(server: Server, receiver: Receiver) -> str:
    """A tenant whose receiver has answered before."""
    good = make_tenant(server.root, "Good")
    make_endpoint(server.root.for_tenant(good), receiver.url("/good"))
    publish(server.root, good).expect(202)
    receiver.wait_for(1)
    return good


def test_ten_thousand_endpoints_that_hang_hold_a_quarter_of_the_places_and_slow_nobody(
    servers: Callable[..., Server], receiver: Receiver, silences: Callable[..., Silence]
):
    silence = silences()
    server = servers().start()
    bad = make_tenant(server.root, "Bad")
    make_endpoint(server.root.for_tenant(bad), silence.url(), timeout_seconds=60)
    server.stop()
    copy_endpoint(server, ENDPOINTS)
    server.start()
    good = make_good(server, receiver)
    assert publish(server.root, bad).expect(202)["deliveries"] == ENDPOINTS

    until(lambda: silence.open == UNTRUSTED_MAX, "as many are asked as may be", seconds=30)
    assert_others_fare_well(server, receiver, good)
    waiting = "SELECT count(*) FROM work"
    until(lambda: stored(server, waiting) == ENDPOINTS, "the event is on its way to all of them", seconds=60)
    assert_others_fare_well(server, receiver, good)
    assert silence.open_most == UNTRUSTED_MAX
    assert_bounded(server, UNTRUSTED_MAX)


def test_a_hundred_thousand_deliveries_to_one_endpoint_that_hangs_hold_its_places_and_slow_nobody(
    servers: Callable[..., Server], receiver: Receiver, silences: Callable[..., Silence]
):
    # It has answered once, so that it is trusted with more than one request.
    silence = silences(answered=1)
    server = servers().start()
    bad = make_tenant(server.root, "Bad")
    make_endpoint(server.root.for_tenant(bad), silence.url(), timeout_seconds=60)
    publish(server.root, bad).expect(202)
    until(lambda: stored(server, "SELECT count(*) FROM deliveries") == 1, "it has answered")
    good = make_good(server, receiver)
    event = {"tenant": bad, "type": "order.paid", "payload": {"text": "x" * 100}}
    for _ in range(BACKLOG // BATCH):
        server.root.post("/v1/events/batch", {"events": [event] * BATCH}).expect(202)

    assert stored(server, "SELECT count(*) FROM work") >= BACKLOG
    until(lambda: silence.open == ONE_ENDPOINT_MAX, "as many are asked as may be")
    assert_others_fare_well(server, receiver, good)
    assert silence.open_most == ONE_ENDPOINT_MAX
    assert_bounded(server, ONE_ENDPOINT_MAX)
