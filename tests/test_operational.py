"""What Stentor tells its operator, by a real server: soon, signed, and once, whenever the server dies."""

import json
import time

import pytest

from support.api import deliveries, make_endpoint, make_tenant, publish
from support.receiver import Receiver, always
from support.server import Server
from support.signatures import verify
from support.waiting import until

PATH = "/v1/operational-endpoints"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECONDS_MAX = 5
# Not enough failures in a row that an endpoint is left alone for a while.
EVENTS_OF_ENDPOINT = 8
ENDPOINTS = 6

pytestmark = pytest.mark.engines("sqlite", "postgres")


def exhausted(server: Server) -> set[str]:
    return {one["id"] for one in deliveries(server.root, "status=exhausted")}


def told(receiver: Receiver) -> dict[str, set[str]]:
    """The deliveries that were told of, each with the ids under which it was."""
    ids: dict[str, set[str]] = {}
    for request in receiver.requests("/alerts"):
        ids.setdefault(json.loads(request.body)["delivery"]["id"], set()).add(request.webhook_id)
    return ids


def test_an_exhausted_delivery_is_told_soon_and_signed(server: Server, receiver: Receiver):
    body = {"name": "alerts", "url": receiver.url("/alerts"), "secret": SECRET}
    server.root.post(PATH, body).expect(201)
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    make_endpoint(client, receiver.url("/failing", always(500)), retry_schedule=[])
    started = time.monotonic()
    publish(server.root, tenant).expect(202)
    until(lambda: told(receiver), "it is told")
    assert time.monotonic() - started < SECONDS_MAX
    [request] = receiver.requests("/alerts")
    verify(SECRET, request)
    alert = json.loads(request.body)
    assert (alert["type"], alert["reason"]) == ("delivery.exhausted", "schedule_ended")
    assert alert["tenant"]["id"] == tenant
    assert alert["attempt"] == {"number": 1, "status_code": 500, "error": "http_status"}
    assert receiver.url("/failing") not in request.body.decode()


def test_every_exhausted_delivery_is_told_as_one_event_whenever_the_server_dies(server: Server, receiver: Receiver):
    server.root.post(PATH, {"name": "alerts", "url": receiver.url("/alerts")}).expect(201)
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    for number in range(ENDPOINTS):
        make_endpoint(client, receiver.url(f"/failing/{number}", always(500)), retry_schedule=[])
    for number in range(EVENTS_OF_ENDPOINT):
        publish(server.root, tenant).expect(202)
        if number % 2:
            seen = len(told(receiver))
            until(lambda seen=seen: len(told(receiver)) > seen, "something more is told")
            server.kill()
            server.start()
    expected = EVENTS_OF_ENDPOINT * ENDPOINTS
    until(lambda: len(exhausted(server)) == expected, "all are exhausted")
    until(lambda: len(told(receiver)) == expected, "all are told")
    assert set(told(receiver)) == exhausted(server)
    assert all(len(ids) == 1 for ids in told(receiver).values()), told(receiver)
