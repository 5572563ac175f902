"""Webhooks that lead to webhooks: between two servers, and from a server to itself."""

import json
import socket
from collections.abc import Callable, Iterator

import pytest

from support.api import deliveries, make_endpoint, make_tenant, publish, stored
from support.client import Client
from support.receiver import Received, Receiver, Reply, Script
from support.relay import Listener, join
from support.server import ROOT_KEY, Server
from support.waiting import until

LOOPS_MAX = 5

pytestmark = pytest.mark.engines("sqlite", "postgres")


def relay(root: Client, tenant: str, answers: dict[int, int]) -> Script:
    """Publishes what it receives on another server, as a program does that passes events on, with the header.

    Keeps the status of each answer under its count: an event may arrive further on before its own answer does.
    """

    def reply(request: Received) -> Reply:
        count = request.header("webhook-loop")
        assert count is not None
        body = json.dumps({"tenant": tenant, "type": "order.completed", "payload": {"seen": count}}).encode()
        answer = root.post("/v1/events", body, {"webhook-loop": count})
        answers[int(count)] = answer.status
        return Reply(answer.status)

    return reply


def ended(client: Client, count: int) -> bool:
    """Have `count` deliveries ended, and are there no others?"""
    return [one["finished_at"] is not None for one in deliveries(client)] == [True] * count


def test_two_servers_that_send_each_other_everything_stop_at_the_limit(
    servers: Callable[..., Server], receiver: Receiver
):
    one, other = servers().start(), servers().start()
    tenants = [make_tenant(server.root) for server in (one, other)]
    answers: dict[int, int] = {}
    to_other = receiver.url("/to-other", relay(other.root, tenants[1], answers))
    to_one = receiver.url("/to-one", relay(one.root, tenants[0], answers))
    make_endpoint(one.root.for_tenant(tenants[0]), to_other, retry_schedule=[])
    make_endpoint(other.root.for_tenant(tenants[1]), to_one, retry_schedule=[])

    publish(one.root, tenants[0]).expect(202)

    until(lambda: ended(one.root.for_tenant(tenants[0]), 3), "the first server is quiet")
    until(lambda: ended(other.root.for_tenant(tenants[1]), 2), "the other server is quiet")
    counts = [request.header("webhook-loop") for request in receiver.requests()]
    assert counts == [str(count) for count in range(1, LOOPS_MAX + 1)]
    assert answers == {count: 202 if count < LOOPS_MAX else 422 for count in range(1, LOOPS_MAX + 1)}
    assert stored(one, tenants[0]) + stored(other, tenants[1]) == LOOPS_MAX


class Front(Listener):
    """What stands before a server under its public address: passes every byte on."""

    def __init__(self, port: int) -> None:
        self.behind = port
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        """Joins it with a connection to the server."""
        with connection, socket.create_connection(("127.0.0.1", self.behind)) as there:
            join(connection, there)


@pytest.fixture
def front(server: Server) -> Iterator[Front]:
    """The public address of the server, which looks like anybody's."""
    front = Front(server.port)
    yield front
    front.close()


def nested(tenant: str, depth: int) -> str:
    """An event whose payload is an event, whose payload is an event."""
    payload: object = {}
    for _ in range(depth):
        payload = {"tenant": tenant, "type": "order.completed", "payload": payload}
    return json.dumps(payload)


def test_a_server_that_publishes_to_itself_through_its_public_address_stops_at_the_limit(server: Server, front: Front):
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    key = {"authorization": f"Bearer {ROOT_KEY}"}
    url = f"http://127.0.0.1:{front.port}/v1/events"
    make_endpoint(client, url, headers_json=key, retry_schedule=[])

    publish(server.root, tenant, nested(tenant, 2 * LOOPS_MAX)).expect(202)

    until(lambda: ended(client, LOOPS_MAX), "the server is quiet")
    newest, *others = deliveries(client)
    assert [one["status"] for one in others] == ["delivered"] * (LOOPS_MAX - 1)
    [attempt] = client.get(f"/v1/deliveries/{newest['id']}").expect(200)["attempts"]
    assert attempt["status_code"] == 422 and "webhook_loop" in attempt["response_body"], attempt


def test_a_delivery_cannot_order_another_one_to_be_sent_again(server: Server, front: Front, receiver: Receiver):
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    make_endpoint(client, receiver.url(), events=["order.completed"])
    publish(server.root, tenant).expect(202)
    receiver.wait_for(1)
    until(lambda: ended(client, 1), "the first is delivered")
    [delivery] = deliveries(client)
    key = {"authorization": f"Bearer {ROOT_KEY}"}
    url = f"http://127.0.0.1:{front.port}/v1/deliveries/{delivery['id']}/retry"
    make_endpoint(client, url, headers_json=key, retry_schedule=[], events=["order.paid"])

    publish(server.root, tenant, event_type="order.paid").expect(202)

    until(lambda: ended(client, 2), "both have ended")
    assert [one["status"] for one in deliveries(client)] == ["exhausted", "delivered"]
    assert len(receiver.requests()) == 1


def test_the_own_listener_is_never_a_destination(server: Server):
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    # Loopback is allowed here, and this one port of it is not.
    make_endpoint(client, f"http://127.0.0.1:{server.port}/v1/events", retry_schedule=[])
    publish(server.root, tenant).expect(202)
    until(lambda: ended(client, 1), "the delivery has ended")
    [delivery] = deliveries(client)
    [attempt] = client.get(f"/v1/deliveries/{delivery['id']}").expect(200)["attempts"]
    assert attempt["error"] == "blocked_address", attempt
