"""What the receivers of the organization contract get, what a test reports, and what failures leave on an endpoint.

Signatures are verified by code written from the contract's description of its headers, never by code of ours.
"""

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from support.api import deliveries, make_key, make_tenant, publish
from support.client import Client
from support.ports import HOST, free_port
from support.receiver import Received, Receiver, Reply, always, in_turn
from support.server import Server
from support.waiting import until

PAYLOAD = '{"order": 7, "total": 1.50, "note": "Grüße"}'
SUCCESS = "Test webhook delivered successfully"
NON_2XX = "Webhook endpoint returned non-2xx status code"
TOKEN = "canary-url-token"

pytestmark = pytest.mark.engines("sqlite", "postgres")


@dataclass
class Organization:
    """A tenant, a client with its key, and the root's client."""

    root: Client
    tenant: str
    client: Client

    def endpoint(self, url: str, **fields: Any) -> dict[str, Any]:
        """Makes an endpoint and gives the answer, in which the secret stands this once."""
        return self.client.post("/webhooks", {"url": url, "events": ["*"], **fields}).expect(201)

    def shown(self, made: dict[str, Any]) -> dict[str, Any]:
        """The endpoint as the list shows it now."""
        listed = self.client.get("/webhooks").expect(200)["data"]
        [shown] = [one for one in listed if one["id"] == made["id"]]
        return shown

    def test(self, made: dict[str, Any]) -> dict[str, Any]:
        """Tests an endpoint and gives the report."""
        report = self.client.post(f"/webhooks/{made['id']}/test").expect(200)
        assert list(report) == ["success", "statusCode", "responseTime", "message"]
        assert isinstance(report["responseTime"], int)
        return report

    def change(self, made: dict[str, Any], **fields: Any) -> None:
        """Changes through v1 what this contract does not show."""
        self.client.patch("/v1/endpoints/" + made["id"].replace("wh-", "ep_"), fields).expect(200)

    def publish(self, payload: str = PAYLOAD, event_type: str = "order.completed") -> dict[str, Any]:
        """Publishes an event."""
        return publish(self.root, self.tenant, payload, event_type).expect(202)

    def wait_until_all_ended(self) -> None:
        """Waits until no delivery is left to be sent."""
        until(lambda: all(one["finished_at"] for one in deliveries(self.client)), "every delivery has ended")


def organization_of(server: Server) -> Organization:
    """A new tenant of a server."""
    tenant = make_tenant(server.root)
    return Organization(server.root, tenant, server.client(make_key(server.root, "tenant", tenant=tenant)["key"]))


@pytest.fixture
def organization(shared_server: Server) -> Organization:
    """A new tenant."""
    return organization_of(shared_server)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens, and of whose connections nobody reads."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener


def value(request: Received, name: str) -> str:
    found = request.header(name)
    assert found is not None, f"{name} is missing in {request.raw_head!r}"
    return found


def check_signatures(secret: str, request: Received, event_type: str) -> datetime:
    """Verifies both kinds of headers; gives the time in the contract's own."""
    expected = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert value(request, "X-Webhook-Signature") == expected
    assert value(request, "X-Webhook-Event") == event_type
    at = value(request, "X-Webhook-Timestamp")
    # Standard Webhooks; the whole text of the secret is the key, since it is no `whsec_`.
    signed = f"{value(request, 'webhook-id')}.{value(request, 'webhook-timestamp')}.".encode() + request.body
    digest = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    assert f"v1,{digest}" in value(request, "webhook-signature").split(" ")
    assert at.endswith("Z")
    return datetime.fromisoformat(at)


def test_a_delivery_carries_what_the_contracts_receivers_know_beside_the_standard_headers(
    organization: Organization, receiver: Receiver
):
    secret = organization.endpoint(receiver.url(script=in_turn([500, 200])))["signingSecret"]
    [made] = organization.client.get("/webhooks").expect(200)["data"]
    organization.change(made, retry_schedule=[1])
    event = organization.publish(event_type="order.failed")
    requests = receiver.wait_for(2)
    assert [request.body for request in requests] == [PAYLOAD.encode()] * 2
    times = [check_signatures(secret, request, "order.failed") for request in requests]
    assert times == [datetime.fromisoformat(event["created_at"])] * 2, "it is the event's, in every attempt"
    assert {value(request, "webhook-id") for request in requests} == {event["id"]}


def test_only_the_events_that_it_names_are_delivered(organization: Organization, receiver: Receiver):
    made = organization.endpoint(receiver.url(), events=["order.failed"])
    organization.publish(event_type="order.completed")
    organization.publish(event_type="order.failed")
    assert value(receiver.wait_for(1)[0], "X-Webhook-Event") == "order.failed"
    organization.client.put(f"/webhooks/{made['id']}", {"events": ["order.completed"]}).expect(200)
    organization.publish(event_type="order.failed")
    organization.publish(event_type="order.completed")
    organization.wait_until_all_ended()
    events = [value(request, "X-Webhook-Event") for request in receiver.requests()]
    assert events == ["order.failed", "order.completed"]


def test_a_test_is_a_real_signed_request_made_once(organization: Organization, receiver: Receiver):
    made = organization.endpoint(receiver.url(script=always(500)), events=["order.failed"])
    report = organization.test(made)
    assert (report["success"], report["statusCode"], report["message"]) == (False, 500, NON_2XX)
    [request] = receiver.wait_for(1)
    check_signatures(made["signingSecret"], request, "webhook.test")
    assert json.loads(request.body)["type"] == "webhook.test"
    [delivery] = deliveries(organization.client)
    assert (delivery["status"], delivery["attempt_count"], delivery["next_attempt_at"]) == ("exhausted", 1, None)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_test_reports_every_2xx_as_success(organization: Organization, receiver: Receiver, status: int):
    reply = Reply(status, body=b"", wait_seconds=0.2)
    report = organization.test(organization.endpoint(receiver.url(script=lambda _: reply)))
    assert (report["success"], report["statusCode"], report["message"]) == (True, status, SUCCESS)
    assert 200 <= report["responseTime"] < 10_000


@pytest.mark.parametrize("status", [300, 302, 304, 400, 401, 404, 410, 429, 500, 503, 599])
def test_a_test_reports_every_other_status_in_the_published_words(
    organization: Organization, receiver: Receiver, status: int
):
    headers = (("Location", receiver.url("/elsewhere")), ("Retry-After", "1"))
    made = organization.endpoint(receiver.url(script=always(status, headers=headers, body=b"")))
    report = organization.test(made)
    assert (report["success"], report["statusCode"], report["message"]) == (False, status, NON_2XX)
    assert len(receiver.requests()) == 1, "no redirect is followed"
    shown = organization.shown(made)
    assert (shown["active"], shown["consecutiveFailures"]) == (True, 0), "a test has no consequences"


def test_a_test_that_gets_no_answer_says_why(
    organization: Organization, receiver: Receiver, listener: socket.socket
):
    silent = f"http://{HOST}:{listener.getsockname()[1]}/"
    broken = receiver.url("/broken", always(0))
    for url, word in {
        f"http://{HOST}:{free_port()}/": "No connection could be made",
        f"https://{HOST}:{receiver.port}/": "TLS handshake",
        "https://nobody.stentor.invalid.example/": "The host name",
        broken: "broke the connection",
        silent: "in time",
    }.items():
        made = organization.endpoint(url)
        if url == silent:
            organization.change(made, timeout_seconds=1)
        report = organization.test(made)
        assert (report["success"], report["statusCode"]) == (False, None), url
        assert word in report["message"], url
        if url == silent:
            assert 1_000 <= report["responseTime"] < 5_000
        assert organization.shown(made)["consecutiveFailures"] == 0


def test_a_test_waits_as_long_as_the_contract_documents(organization: Organization, listener: socket.socket):
    report = organization.test(organization.endpoint(f"http://{HOST}:{listener.getsockname()[1]}/"))
    assert (report["success"], report["statusCode"]) == (False, None)
    assert 10_000 <= report["responseTime"] < 12_000
    assert "in time" in report["message"]


def test_a_test_of_an_address_that_is_allowed_no_longer_says_so(
    servers: Callable[..., Server], receiver: Receiver
):
    server = servers().start()
    organization = organization_of(server)
    made = organization.endpoint(receiver.url())
    server.stop()
    server.allow = ["192.0.2.1/32"]
    server.start()
    report = organization.test(made)
    assert (report["success"], report["statusCode"]) == (False, None)
    assert "address that deliveries must not reach" in report["message"]
    assert not receiver.requests()


def test_in_a_sandbox_a_test_to_elsewhere_is_simulated(shared_server: Server, engine: str):
    root = shared_server.root
    project = root.post("/v1/projects", {"name": f"trial {engine}", "sandbox": True}).expect(201)["id"]
    keys = root.with_key(make_key(root, "project", project=project)["key"])
    tenant = make_tenant(keys)
    organization = Organization(keys, tenant, keys.with_key(make_key(keys, "tenant", tenant=tenant)["key"]))
    report = organization.test(organization.endpoint("https://nobody.stentor.invalid.example/"))
    assert (report["success"], report["statusCode"]) == (True, None)
    assert "sandbox" in report["message"]


def test_failures_are_counted_until_a_success_and_tests_are_not(organization: Organization, receiver: Receiver):
    path = "/hook"
    made = organization.endpoint(receiver.url(path, always(500)))
    organization.change(made, retry_schedule=[1])
    assert organization.shown(made)["consecutiveFailures"] == 0
    for failures in (2, 4):
        organization.publish()
        organization.wait_until_all_ended()
        assert organization.shown(made)["consecutiveFailures"] == failures
        organization.test(made)
        assert organization.shown(made)["consecutiveFailures"] == failures, "a test that fails does not count"
    receiver.scripts[path] = always(204)
    assert organization.test(made)["success"]
    assert organization.shown(made)["consecutiveFailures"] == 4, "a test that succeeds neither"
    organization.publish()
    organization.wait_until_all_ended()
    assert organization.shown(made)["consecutiveFailures"] == 0
    receiver.scripts[path] = always(503)
    organization.change(made, retry_schedule=[])
    organization.publish()
    organization.wait_until_all_ended()
    assert organization.shown(made)["consecutiveFailures"] == 1


def test_what_a_410_switched_off_is_tested_and_switched_on_again(organization: Organization, receiver: Receiver):
    made = organization.endpoint(receiver.url(script=always(410)))
    organization.publish()
    until(lambda: organization.shown(made)["active"] is False, "the endpoint is switched off")
    receiver.scripts["/hook"] = always(200)
    assert organization.test(made)["success"]
    organization.publish('"unseen"')
    organization.client.put(f"/webhooks/{made['id']}", {"active": True}).expect(200)
    organization.publish('"seen"')
    until(lambda: b'"seen"' in [request.body for request in receiver.requests()], "new events arrive again")
    organization.wait_until_all_ended()
    bodies = [request.body for request in receiver.requests()]
    assert b'"unseen"' not in bodies
    # The one that drew the 410 was held, and went out first.
    assert bodies.count(PAYLOAD.encode()) == 2


def test_a_token_in_a_url_is_sent_and_shown_to_its_owner_and_in_no_log(
    servers: Callable[..., Server], receiver: Receiver
):
    server = servers(options=["--log-level", "trace"]).start()
    organization = organization_of(server)
    url = receiver.url(f"/hook?token={TOKEN}", in_turn([500, 200]))
    made = organization.endpoint(url)
    assert made["url"] == url
    assert organization.shown(made)["url"] == url
    organization.change(made, retry_schedule=[1])
    organization.test(made)
    organization.test(organization.endpoint(f"http://{HOST}:{free_port()}/?token={TOKEN}"))
    refused = organization.client.post("/webhooks", {"url": f"http://10.0.0.1/?{TOKEN}", "events": ["*"]})
    assert refused.expect(400)["code"] == "url_not_allowed"
    assert TOKEN.encode() not in refused.body
    organization.publish()
    assert receiver.wait_for(3)[-1].target == f"/hook?token={TOKEN}"
    organization.client.put(f"/webhooks/{made['id']}", {"url": f"https://example.com/?{TOKEN}"}).expect(200)
    server.stop()
    assert "DEBUG" in server.log or "TRACE" in server.log, "the log is not verbose, and so proves nothing"
    assert TOKEN not in server.log
    assert made["signingSecret"] not in server.log
