"""What the receivers of the apps contract get, what a ping reports, and how pages of deliveries stay stable.

The contract's own signatures are verified by code written from the description of its headers, never by code of ours;
those of Standard Webhooks by the official library.
"""

import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from support.api import make_key, make_tenant, publish
from support.client import Client
from support.ports import HOST, free_port
from support.receiver import Received, Receiver, Reply, always, in_turn
from support.server import Server
from support.signatures import signed_by, verify
from support.waiting import until

PAYLOAD = '{"order": 7, "total": 1.50, "note": "Grüße"}'
BODY_BYTES_KEPT = 16 * 1024
SECONDS_OFF_MAX = 60
TOKEN = "canary-url-token"

pytestmark = pytest.mark.engines("sqlite", "postgres")


@dataclass
class App:
    """A tenant, a client with its key, and a client of its project's."""

    above: Client
    tenant: str
    client: Client

    def endpoint(self, url: str, **fields: Any) -> dict[str, Any]:
        """Makes a webhook endpoint for all events and gives it, with its secret."""
        body = {"url": url, "events": ["*"]} | fields
        return self.client.post(f"/apps/{self.tenant}/webhooks", body).expect(201)["data"]

    def path(self, made: dict[str, Any]) -> str:
        """The path of a webhook endpoint."""
        return f"/apps/{self.tenant}/webhooks/{made['id']}"

    def change(self, made: dict[str, Any], **fields: Any) -> None:
        """Changes through v1 what this contract does not show."""
        self.client.patch(f"/v1/endpoints/ep_{made['id']}", fields).expect(200)

    def publish(self, payload: str = PAYLOAD, event_type: str = "order.paid") -> dict[str, Any]:
        """Publishes an event."""
        return publish(self.above, self.tenant, payload, event_type).expect(202)

    def rotate(self, made: dict[str, Any]) -> str:
        """Rotates the secret and gives the new one."""
        data = self.client.post(f"{self.path(made)}/rotate-secret").expect(200)["data"]
        assert list(data) == ["secret"]
        return data["secret"]

    def ping(self, made: dict[str, Any]) -> dict[str, Any]:
        """Pings a webhook endpoint and gives the report."""
        report = self.client.post(f"{self.path(made)}/test-ping").expect(200)["data"]
        assert list(report) == ["success", "statusCode", "responseBody", "error"]
        return report

    def page(self, made: dict[str, Any], query: str = "") -> dict[str, Any]:
        """A page of a webhook endpoint's deliveries."""
        return self.client.get(f"{self.path(made)}/deliveries?{query}").expect(200)["data"]

    def wait_for_status(self, made: dict[str, Any], status: str) -> dict[str, Any]:
        """Waits until the newest delivery is so, and gives it."""
        until(lambda: [one["status"] for one in self.page(made, "limit=1")["items"]] == [status], f"it is {status}")
        return self.page(made, "limit=1")["items"][0]


def app_of(above: Client) -> App:
    """A new app of a client's project."""
    tenant = make_tenant(above)
    return App(above, tenant, above.with_key(make_key(above, "tenant", tenant=tenant)["key"]))


@pytest.fixture
def app(shared_server: Server) -> App:
    """A new app of project `default`."""
    return app_of(shared_server.root)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens, and of whose connections nobody reads."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener


def value(request: Received, name: str) -> str:
    found = request.header(name)
    assert found is not None, f"{name} is missing in {request.raw_head!r}"
    return found


def receivers_check(secret: str, request: Received, prefix: str = "x-webhook") -> datetime:
    """What a receiver of this contract does: lower-case hex of HMAC-SHA256 over the body, keyed with the whole text of
    the secret. Gives the time of the attempt, which is sent in Unix milliseconds."""
    signature = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert value(request, f"{prefix}-signature") == signature
    timestamp = value(request, f"{prefix}-timestamp")
    assert len(timestamp) == len("1700000000000") and timestamp.isdigit()
    at = datetime.fromtimestamp(int(timestamp) / 1000, UTC)
    assert abs((at - datetime.now(UTC)).total_seconds()) < SECONDS_OFF_MAX
    assert int(timestamp) // 1000 == int(value(request, "webhook-timestamp")), "both tell of the same attempt"
    return at


# --- Signatures -----------------------------------------------------------------------------------------------------


def test_every_attempt_carries_what_the_contracts_receivers_know_beside_the_standard_headers(
    app: App, receiver: Receiver
):
    made = app.endpoint(receiver.url(script=in_turn([500, 200])))
    app.change(made, retry_schedule=[1])
    event = app.publish()
    first, second = receiver.wait_for(2)
    times = []
    for request in (first, second):
        assert request.body == PAYLOAD.encode()
        times.append(receivers_check(made["secret"], request))
        verify(made["secret"], request)
        assert request.webhook_id == event["id"]
    assert (times[1] - times[0]).total_seconds() >= 1, "it is the attempt's, not the event's"


def test_a_projects_own_prefix_stands_in_the_place_of_the_usual_one(
    shared_server: Server, receiver: Receiver, engine: str
):
    root = shared_server.root
    project = root.post("/v1/projects", {"name": f"prefixed {engine}"}).expect(201)["id"]
    root.patch(f"/v1/projects/{project}", {"signature_prefix": "x-acme"}).expect(200)
    app = app_of(root.with_key(make_key(root, "project", project=project)["key"]))
    made = app.endpoint(receiver.url())
    app.publish()
    app.ping(made)
    for request in receiver.wait_for(2):
        receivers_check(made["secret"], request, prefix="x-acme")
        verify(made["secret"], request)
        assert request.header("x-webhook-signature") is None
        assert request.header("x-webhook-timestamp") is None


def test_after_a_rotation_the_old_secret_signs_nothing_not_even_what_waits_for_its_retry(
    app: App, receiver: Receiver
):
    gate = threading.Event()
    replies = iter([Reply(500, gate=gate), Reply(200)])
    made = app.endpoint(receiver.url(script=lambda _: next(replies)))
    app.change(made, retry_schedule=[1])
    # An earlier rotation through v1 leaves two secrets that sign.
    overlapping = app.client.post(f"/v1/endpoints/ep_{made['id']}/rotate-secret").expect(200)["secret"]
    app.publish()
    [first] = receiver.wait_for(1)
    assert signed_by(made["secret"], first) and signed_by(overlapping, first)
    receivers_check(overlapping, first)
    new = app.rotate(made)
    gate.set()
    second = receiver.wait_for(2)[1]
    assert second.webhook_id == first.webhook_id
    verify(new, second)
    receivers_check(new, second)
    assert len(value(second, "webhook-signature").split(" ")) == 1
    assert not signed_by(made["secret"], second) and not signed_by(overlapping, second)


def test_only_the_events_that_it_names_are_delivered_and_only_while_it_is_active(app: App, receiver: Receiver):
    made = app.endpoint(receiver.url(), events=["order.refunded"])
    app.publish(event_type="order.paid")
    app.publish('"first"', "order.refunded")
    assert [request.body for request in receiver.wait_for(1)] == [b'"first"']
    app.client.put(app.path(made), {"active": False}).expect(200)
    app.publish('"unseen"', "order.refunded")
    app.client.put(app.path(made), {"active": True, "events": ["order.paid"]}).expect(200)
    app.publish('"second"', "order.paid")
    assert [request.body for request in receiver.wait_for(2)] == [b'"first"', b'"second"']
    app.client.delete(app.path(made))
    app.publish('"nobody"', "order.paid")
    assert len(receiver.requests()) == 2


# --- Pings ----------------------------------------------------------------------------------------------------------


def test_a_ping_is_a_real_signed_request_made_once_and_no_part_of_the_history(app: App, receiver: Receiver):
    made = app.endpoint(receiver.url(script=always(500)), events=["order.paid"])
    app.client.put(app.path(made), {"active": False}).expect(200)
    report = app.ping(made)
    assert (report["success"], report["statusCode"], report["responseBody"]) == (False, 500, "ok")
    assert "answer 2xx" in report["error"]
    [request] = receiver.wait_for(1)
    receivers_check(made["secret"], request)
    verify(made["secret"], request)
    body = json.loads(request.body)
    assert body["type"] == "webhook.test"
    assert app.page(made) == {"items": [], "nextCursor": None}
    [delivery] = app.client.get(f"/v1/deliveries?endpoint=ep_{made['id']}").expect(200)["data"]
    assert (delivery["status"], delivery["attempt_count"], delivery["next_attempt_at"]) == ("exhausted", 1, None)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_is_a_success(app: App, receiver: Receiver, status: int):
    made = app.endpoint(receiver.url(script=always(status, body=b"")))
    expected = {"success": True, "statusCode": status, "responseBody": "", "error": None}
    assert app.ping(made) == expected


@pytest.mark.parametrize("status", [302, 400, 401, 404, 410, 429, 500, 503])
def test_every_other_status_is_a_failure_in_words_without_consequences(app: App, receiver: Receiver, status: int):
    headers = (("Location", receiver.url("/elsewhere")), ("Retry-After", "1"))
    made = app.endpoint(receiver.url(script=always(status, headers=headers, body=b"why")))
    report = app.ping(made)
    assert (report["success"], report["statusCode"], report["responseBody"]) == (False, status, "why")
    assert ("redirects" if status == 302 else "error status") in report["error"]
    assert len(receiver.requests()) == 1, "no redirect is followed"
    [listed] = app.client.get(f"/apps/{app.tenant}/webhooks").expect(200)["data"]
    assert listed["active"] is True


def test_the_begin_of_the_answer_is_shown_with_what_is_no_text_replaced(app: App, receiver: Receiver):
    long = b"a" * BODY_BYTES_KEPT
    for number, (body, shown) in enumerate(
        {
            b"caf\xc3\xa9 \xff\x00": "café \ufffd\x00",
            long: long.decode(),
            long + b"b": long.decode(),
            b"a" + "ü".encode() * BODY_BYTES_KEPT: "a" + "ü" * (BODY_BYTES_KEPT // 2 - 1) + "\ufffd",
        }.items()
    ):
        for status in (200, 500):
            made = app.endpoint(receiver.url(f"/{number}/{status}", always(status, body=body)))
            assert app.ping(made)["responseBody"] == shown, (number, status)


def test_a_ping_that_gets_no_answer_says_why(app: App, receiver: Receiver, listener: socket.socket):
    silent = f"http://{HOST}:{listener.getsockname()[1]}/"
    for url, words in {
        f"http://{HOST}:{free_port()}/": "No connection could be made",
        f"https://{HOST}:{receiver.port}/": "TLS handshake",
        "https://nobody.stentor.invalid.example/": "The host name",
        receiver.url("/broken", always(0)): "broke the connection",
        silent: "in time",
    }.items():
        made = app.endpoint(url)
        if url == silent:
            app.change(made, timeout_seconds=1)
        report = app.ping(made)
        assert (report["success"], report["statusCode"], report["responseBody"]) == (False, None, None), url
        assert words in report["error"], url


def test_a_ping_to_an_address_that_is_allowed_no_longer_says_so(servers: Callable[..., Server], receiver: Receiver):
    server = servers().start()
    app = app_of(server.root)
    made = app.endpoint(receiver.url())
    server.stop()
    server.allow = ["192.0.2.1/32"]
    server.start()
    report = app.ping(made)
    assert (report["success"], report["statusCode"], report["responseBody"]) == (False, None, None)
    assert "address that deliveries must not reach" in report["error"]
    assert not receiver.requests()


def test_in_a_sandbox_what_goes_elsewhere_succeeds_and_nobody_is_asked(shared_server: Server, engine: str):
    root = shared_server.root
    project = root.post("/v1/projects", {"name": f"trial {engine}", "sandbox": True}).expect(201)["id"]
    app = app_of(root.with_key(make_key(root, "project", project=project)["key"]))
    made = app.endpoint("https://nobody.stentor.invalid.example/")
    expected = {"success": True, "statusCode": None, "responseBody": None, "error": None}
    assert app.ping(made) == expected
    app.publish()
    delivery = app.wait_for_status(made, "DELIVERED")
    assert (delivery["responseStatus"], delivery["attempts"]) == (None, 1)


# --- Deliveries -----------------------------------------------------------------------------------------------------


def test_a_delivery_tells_how_it_stands_while_it_goes_on(app: App, receiver: Receiver):
    made = app.endpoint(receiver.url(script=in_turn([503, 200])))
    app.change(made, retry_schedule=[2])
    app.publish(event_type="order.refunded")
    until(lambda: app.page(made)["items"][0]["attempts"] == 1, "the first attempt is recorded")
    waits = app.page(made)["items"][0]
    assert (waits["event"], waits["status"], waits["responseStatus"]) == ("order.refunded", "PENDING", 503)
    due_in = datetime.fromisoformat(waits["nextRetryAt"]) - datetime.fromisoformat(waits["createdAt"])
    assert 2 <= due_in.total_seconds() < SECONDS_OFF_MAX
    assert waits["deliveredAt"] is None
    ended = app.wait_for_status(made, "DELIVERED")
    assert (ended["id"], ended["responseStatus"], ended["attempts"]) == (waits["id"], 200, 2)
    assert ended["nextRetryAt"] is None
    assert ended["deliveredAt"] >= waits["nextRetryAt"]


def test_no_answer_leaves_no_status_and_a_cancelled_delivery_has_failed(app: App, receiver: Receiver):
    made = app.endpoint(receiver.url(script=always(0)))
    app.change(made, retry_schedule=[3_600])
    app.publish()
    until(lambda: app.page(made)["items"][0]["attempts"] == 1, "the first attempt is recorded")
    waits = app.page(made)["items"][0]
    assert (waits["status"], waits["responseStatus"]) == ("PENDING", None)
    app.client.post(f"/v1/deliveries/dlv_{waits['id']}/cancel").expect(200)
    [failed] = app.page(made, "status=FAILED")["items"]
    assert (failed["id"], failed["nextRetryAt"], failed["deliveredAt"]) == (waits["id"], None, None)


def test_pages_neither_repeat_nor_skip_while_new_deliveries_arrive(app: App, receiver: Receiver):
    made = app.endpoint(receiver.url(script=in_turn([500, 200])))
    app.change(made, retry_schedule=[1])
    for number in range(30):
        app.publish(str(number))
    known = [one["id"] for one in app.page(made, "limit=100")["items"]]
    assert len(known) == 30
    done = threading.Event()

    def publish_on() -> None:
        while not done.is_set():
            app.publish()

    publishers = [threading.Thread(target=publish_on) for _ in range(2)]
    for publisher in publishers:
        publisher.start()
    try:
        for limit in (1, 4, 7):
            first = app.page(made, f"limit={limit}")
            until(lambda first=first: app.page(made, "limit=1")["items"][0]["id"] != first["items"][0]["id"], "more come")
            seen, page = [one["id"] for one in first["items"]], first
            while page["nextCursor"] is not None:
                page = app.page(made, f"limit={limit}&cursor={page['nextCursor']}")
                assert page["items"], "a cursor says that there is more"
                seen += [one["id"] for one in page["items"]]
            assert len(seen) == len(set(seen)), "a row is shown twice"
            assert seen == sorted(seen, reverse=True), "newest first"
            assert seen[-30:] == known, "a row is skipped"
    finally:
        done.set()
        for publisher in publishers:
            publisher.join()


def test_a_cursor_that_is_altered_forged_or_somebody_elses_is_refused(app: App, shared_server: Server):
    nowhere = f"http://{HOST}:{free_port()}/"
    made, sibling = app.endpoint(nowhere), app.endpoint(nowhere)
    other = app_of(shared_server.root)
    others = other.endpoint(nowhere)
    for one in (app, other):
        for _ in range(3):
            one.publish()
    cursor = app.page(made, "limit=1")["nextCursor"]
    assert len(app.page(made, f"cursor={cursor}")["items"]) == 2
    altered = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor))]
    of_v1 = app.client.get(f"/v1/deliveries?endpoint=ep_{made['id']}&limit=1").expect(200)["next_cursor"]
    of_sibling = app.page(sibling, "limit=1")["nextCursor"]
    of_others = other.page(others, "limit=1")["nextCursor"]
    for bad in [*altered, "", "AAAA", cursor[:-1], f"{cursor}A", of_v1, of_sibling, of_others]:
        answer = app.client.get(f"{app.path(made)}/deliveries?cursor={bad}")
        assert answer.expect(400)["error"]["code"] == "bad_cursor", bad
    theirs = other.client.get(f"{other.path(others)}/deliveries?cursor={cursor}")
    assert theirs.expect(400)["error"]["code"] == "bad_cursor"


def test_a_cursor_outlives_the_server_that_gave_it(servers: Callable[..., Server]):
    server = servers().start()
    app = app_of(server.root)
    made = app.endpoint(f"http://{HOST}:{free_port()}/")
    for _ in range(3):
        app.publish()
    first = app.page(made, "limit=2")
    server.kill()
    server.start()
    rest = app.page(made, f"limit=2&cursor={first['nextCursor']}")
    assert len(rest["items"]) == 1
    assert rest["items"][0]["id"] not in [one["id"] for one in first["items"]]


def test_secrets_and_the_token_in_a_url_are_in_no_log_and_no_refusal(
    servers: Callable[..., Server], receiver: Receiver
):
    server = servers(options=["--log-level", "trace"]).start()
    app = app_of(server.root)
    made = app.endpoint(receiver.url(f"/hook?token={TOKEN}", in_turn([500, 200])))
    assert made["url"].endswith(TOKEN)
    rotated = app.rotate(made)
    app.change(made, retry_schedule=[1])
    app.ping(made)
    refused_at = app.ping(app.endpoint(f"http://{HOST}:{free_port()}/?token={TOKEN}"))
    assert TOKEN not in refused_at["error"]
    refused = app.client.put(app.path(made), {"url": f"http://10.0.0.1/?{TOKEN}"})
    refused.expect(422)
    assert TOKEN.encode() not in refused.body
    app.publish()
    assert receiver.wait_for(2)[-1].target == f"/hook?token={TOKEN}"
    server.stop()
    assert "DEBUG" in server.log or "TRACE" in server.log, "the log is not verbose, and so proves nothing"
    for canary in (TOKEN, made["secret"], rotated):
        assert canary not in server.log
