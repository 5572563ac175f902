"""A sandbox project: what the operator allows is really sent, everything else is a success that nobody was asked for."""

from typing import Any

import pytest

from support.api import deliveries, make_endpoint, make_key, make_tenant, publish
from support.client import Client
from support.receiver import Received, Receiver, always
from support.server import Server
from support.signatures import verify
from support.waiting import until

# A public name that does not exist: whoever looks it up, or dials it, fails.
ELSEWHERE = "https://nobody.stentor-sandbox.invalid.example/hook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PAYLOAD = '{"order": 7, "note": "Grüße"}'

pytestmark = pytest.mark.engines("sqlite", "postgres")


@pytest.fixture
def project(shared_server: Server, request: pytest.FixtureRequest) -> Client:
    """A client with the key of a new sandbox project."""
    name = request.node.name
    made = shared_server.root.post("/v1/projects", {"name": name, "sandbox": True}).expect(201)
    assert made["sandbox"] is True
    return shared_server.client(make_key(shared_server.root, "project", project=made["id"])["key"])


def ended(client: Client, query: str = "") -> dict[str, Any]:
    """The only delivery, once it has ended, with its attempts."""
    until(lambda: [one["finished_at"] for one in deliveries(client, query)] not in ([], [None]), "the delivery ends")
    [delivery] = deliveries(client, query)
    return client.get(f"/v1/deliveries/{delivery['id']}").expect(200)


def as_received(attempt: dict[str, Any], body: str) -> Received:
    """What the receiver would have got, had it been asked."""
    headers = list(attempt["request_headers"].items())
    return Received(0, 0, 0.0, "POST", "/hook", b"", headers, body.encode())


def test_a_delivery_to_elsewhere_is_simulated_and_shows_what_would_have_been_sent(project: Client):
    tenant = make_tenant(project)
    client = project.for_tenant(tenant)
    endpoint = make_endpoint(client, ELSEWHERE, secret=SECRET, headers_json={"X-Team": "blue", "X-Api-Key": "k"})
    event = publish(project, tenant, PAYLOAD).expect(202)

    delivery = ended(client)
    assert (delivery["status"], delivery["reason"], delivery["attempt_count"]) == ("delivered", "sandbox", 1)
    [attempt] = delivery["attempts"]
    assert attempt["simulated"] is True
    for unknown in ("status_code", "error", "error_message", "response_headers", "response_body", "address"):
        assert attempt[unknown] is None, unknown
    verify(SECRET, as_received(attempt, PAYLOAD))
    assert attempt["request_headers"]["webhook-id"] == event["id"]
    assert (attempt["request_headers"]["X-Team"], attempt["request_headers"]["X-Api-Key"]) == ("blue", "***")
    shown = client.get(f"/v1/endpoints/{endpoint['id']}").expect(200)
    assert (shown["status"], shown["consecutive_failures"]) == ("ACTIVE", 0)


def test_a_delivery_to_an_allowed_address_arrives(project: Client, receiver: Receiver):
    tenant = make_tenant(project)
    client = project.for_tenant(tenant)
    make_endpoint(client, receiver.url(), secret=SECRET)
    publish(project, tenant, PAYLOAD).expect(202)
    [request] = receiver.wait_for(1)
    verify(SECRET, request)

    delivery = ended(client)
    assert (delivery["status"], delivery["reason"]) == ("delivered", None)
    [attempt] = delivery["attempts"]
    assert (attempt["simulated"], attempt["status_code"]) == (False, 200)
    assert attempt["address"].startswith("127.0.0.1:")


def test_a_test_send_is_simulated_to_elsewhere_and_sent_to_an_allowed_address(project: Client, receiver: Receiver):
    client = project.for_tenant(make_tenant(project))
    elsewhere = make_endpoint(client, ELSEWHERE, secret=SECRET)["id"]
    answer = client.post(f"/v1/endpoints/{elsewhere}/test").expect(200)
    assert (answer["success"], answer["status_code"]) == (True, None)
    assert "sandbox" in answer["message"]
    assert (answer["attempt"]["trigger"], answer["attempt"]["simulated"]) == ("test", True)
    assert answer["attempt"]["request_headers"]["webhook-signature"].startswith("v1,")
    assert ended(client, f"endpoint={elsewhere}")["reason"] == "sandbox"

    failing = make_endpoint(client, receiver.url("/hook", always(500)))["id"]
    answer = client.post(f"/v1/endpoints/{failing}/test").expect(200)
    assert (answer["success"], answer["status_code"], answer["attempt"]["simulated"]) == (False, 500, False)
    assert len(receiver.requests()) == 1


def test_a_paused_endpoint_holds_in_a_sandbox_too(project: Client):
    tenant = make_tenant(project)
    client = project.for_tenant(tenant)
    endpoint = make_endpoint(client, ELSEWHERE)["id"]
    client.patch(f"/v1/endpoints/{endpoint}", {"status": "PAUSED"}).expect(200)
    publish(project, tenant).expect(202)
    [held] = deliveries(client)
    assert (held["status"], held["reason"]) == ("held", "endpoint_paused")
    client.patch(f"/v1/endpoints/{endpoint}", {"status": "ACTIVE"}).expect(200)
    assert ended(client)["reason"] == "sandbox"


def test_a_sandbox_refuses_what_every_project_refuses(project: Client):
    client = project.for_tenant(make_tenant(project))
    for url in ("http://example.com/hook", "https://10.0.0.1/hook", "https://localhost/hook"):
        refused = client.post("/v1/endpoints", {"name": "receiver", "url": url})
        assert refused.fields() == ["url"], url


def test_what_a_project_was_made_as_stays(shared_server: Server, engine: str):
    root = shared_server.root
    for name, sandbox in ((f"live {engine}", False), (f"trial {engine}", True)):
        path = "/v1/projects/" + root.post("/v1/projects", {"name": name, "sandbox": sandbox}).expect(201)["id"]
        root.patch(path, {"sandbox": not sandbox}).problem(409, "sandbox_is_fixed")
        assert root.patch(path, {"sandbox": sandbox}).expect(200)["sandbox"] is sandbox
        assert root.get(path).expect(200)["sandbox"] is sandbox
