"""Stopping and pausing the server, and clients that vanish (hostile cases AP-40, AP-41, AP-42)."""

import random
import signal
import threading
from collections.abc import Callable

import pytest

from support import process, wire
from support.api import SOON, deliveries, event_text, make_endpoint, make_tenant, publish
from support.checker import check
from support.crowd import ANSWER_SECONDS_MAX, Crowd
from support.load import Load
from support.receiver import Receiver, Reply
from support.server import ROOT_KEY, Server
from support.waiting import observe_for, until

PAUSE_SECONDS = 4.0
PAUSED_PRODUCERS = 40
SECOND_SIGNAL_SECONDS_MAX = 5.0
LONG_GRACE = ["--shutdown-grace-seconds", "60"]

pytestmark = pytest.mark.engines("sqlite", "postgres")


def judge(load: Load, kills: int) -> None:
    """Publishes again what was not acknowledged, waits for quiet and has the checker judge."""
    load.settle()
    load.quiet()
    faults = check(load.history(kills))
    assert not faults, "\n".join(faults[:20])


def held_request(server: Server, receiver: Receiver) -> str:
    """Publishes one event whose receiver does not answer, waits until it is in flight, and gives its id."""
    tenant = make_tenant(server.root)
    url = receiver.url("/held", lambda _: Reply(gate=threading.Event()))
    make_endpoint(server.root.for_tenant(tenant), url, retry_schedule=SOON, timeout_seconds=60)
    event = publish(server.root, tenant).expect(202)["id"]
    receiver.wait_for(1, "/held")
    return event


def test_a_stop_during_ingest_ends_with_0_and_loses_nothing(server: Server, rng: random.Random):
    load = Load(server, rng)
    try:
        load.publish_until_acknowledged(200)
        code = server.stop()
        load.finish()
        assert code == 0, server.log[-2000:]
        assert all(refusal.startswith("503") for refusal in load.refusals), load.refusals
        server.start()
        # A graceful stop records what it has sent: it is not a kill.
        judge(load, kills=0)
    finally:
        load.close()


def test_a_stop_lets_what_is_in_flight_finish(server: Server, receiver: Receiver):
    tenant = make_tenant(server.root)
    gate = threading.Event()
    url = receiver.url("/gate", lambda _: Reply(gate=gate))
    make_endpoint(server.root.for_tenant(tenant), url, timeout_seconds=60)
    publish(server.root, tenant).expect(202)
    receiver.wait_for(1, "/gate")
    server.signal(signal.SIGTERM)
    until(lambda: server.answers("/readyz") != 200, "the server is not ready any more")
    gate.set()
    assert server.wait() == 0
    server.start()
    [delivery] = deliveries(server.root.for_tenant(tenant))
    assert (delivery["status"], delivery["attempt_count"]) == ("delivered", 1), delivery


def test_what_does_not_finish_within_the_grace_is_sent_after_the_next_start(
    servers: Callable[..., Server], receiver: Receiver
):
    server = servers(options=["--shutdown-grace-seconds", "1"]).start()
    event = held_request(server, receiver)
    assert server.stop() == 0
    receiver.scripts.clear()
    server.start()
    assert {request.webhook_id for request in receiver.wait_for(2, "/held")} == {event}


def test_a_second_sigterm_ends_at_once(servers: Callable[..., Server], receiver: Receiver):
    server = servers(options=LONG_GRACE).start()
    event = held_request(server, receiver)
    server.signal(signal.SIGTERM)
    until(lambda: server.answers("/readyz") != 200, "the server is not ready any more")
    assert server.running(), "it did not wait for what was in flight"
    server.signal(signal.SIGTERM)
    server.wait(SECOND_SIGNAL_SECONDS_MAX)
    receiver.scripts.clear()
    server.start()
    assert {request.webhook_id for request in receiver.wait_for(2, "/held")} == {event}


def test_a_stopped_process_that_continues_has_lost_nothing(server: Server, rng: random.Random, engine: str):
    crowd = Crowd(server, rng, PAUSED_PRODUCERS)
    try:
        crowd.start()
        crowd.accepts(100)
        server.signal(signal.SIGSTOP)
        observe_for(PAUSE_SECONDS)
        server.signal(signal.SIGCONT)
        crowd.accepts(100)
        # A server that finds that its question to the database is as old as the pause may give up on it.
        assert crowd.refused() == 0 or engine == "postgres", crowd.answers
        crowd.judge(answer_seconds_max=PAUSE_SECONDS + ANSWER_SECONDS_MAX)
    finally:
        crowd.finish()
        crowd.close()


@pytest.mark.parametrize("leave", [wire.reset, lambda connection: connection.close()], ids=["reset", "close"])
def test_a_client_that_leaves_right_after_sending_has_published_once_or_not_at_all(
    server: Server, receiver: Receiver, leave: Callable
):
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    make_endpoint(client, receiver.url())
    keys = [f"order-{number}" for number in range(50)]
    for key in keys:
        body = event_text(tenant, "order.completed", '{"left":true}', event_id=key)
        head = wire.head(
            "POST", "/v1/events", ROOT_KEY, "Content-Type: application/json", f"Content-Length: {len(body)}"
        )
        connection = wire.connect(server.port)
        connection.sendall(head + body)
        leave(connection)
    ids = {}
    for key in keys:
        answer = publish(server.root, tenant, '{"left":true}', event_id=key)
        assert answer.status in (200, 202), answer
        ids[key] = answer.json()["id"]
    receiver.wait_for(len(keys))
    until(lambda: not deliveries(client, "status=pending"), "nothing is pending")
    assert sorted(request.webhook_id for request in receiver.requests()) == sorted(ids.values())
    assert len(deliveries(client)) == len(keys)


# On PostgreSQL it waits first: see test_postgres_nodes.py.
@pytest.mark.engines("sqlite")
def test_a_second_server_on_the_same_data_is_refused(server: Server, servers: Callable[..., Server]):
    second = servers(data=server.data)
    done = process.run(*second.command()[1:], cwd=second.directory, variables=second.variables)
    assert done.returncode not in (0, None)
    assert "error: " in done.stderr and str(server.data) in done.stderr, done.stderr
    assert any(word in done.stderr for word in ("another", "already", "in use")), done.stderr
    make_tenant(server.root, "the first one goes on")
