"""The apps contract as recorded exchanges: each operation and each refusal, to be read beside the published text.

What its receivers get, what a ping reports, and how pages stay stable is in test_apps_deliveries.py.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from support.api import make_endpoint, make_key, make_tenant, publish
from support.client import Client
from support.exchanges import Exchanges
from support.ports import HOST
from support.receiver import Receiver, always
from support.server import Server
from support.waiting import until

CREATE = {"url": "https://example.com/hook", "events": ["order.paid", "order.refunded"]}
UNKNOWN = "01a1febf-bd34-7001-801c-dbc4ec69d902"
# Nobody listens there.
CLOSED_PORT = 1
ENDPOINTS_MAX = 3
REQUESTS_MAX = 5
CROWD = 12
BODY_BYTES_MAX = 288 * 1024
ITEMS_BY_DEFAULT = 20

pytestmark = pytest.mark.engines("sqlite", "postgres")


@dataclass
class App:
    """A tenant, and a client with a key of its own."""

    root: Client
    tenant: str
    client: Client

    @property
    def webhooks(self) -> str:
        """The path of its webhook endpoints."""
        return f"/apps/{self.tenant}/webhooks"

    def endpoint(self, **fields: Any) -> str:
        """Makes a webhook endpoint and gives its path."""
        made = self.client.post(self.webhooks, CREATE | fields).expect(201)
        return f"{self.webhooks}/{made['data']['id']}"

    def key(self, **fields: Any) -> dict[str, Any]:
        """Makes another key."""
        return make_key(self.root, "tenant", tenant=self.tenant, **fields)

    def listed(self) -> list[dict[str, Any]]:
        """Its webhook endpoints."""
        return self.client.get(self.webhooks).expect(200)["data"]


def app_of(server: Server, **fields: Any) -> App:
    """A new app of a server."""
    tenant = make_tenant(server.root, **fields)
    return App(server.root, tenant, server.client(make_key(server.root, "tenant", tenant=tenant)["key"]))


@pytest.fixture
def app(shared_server: Server) -> App:
    """A new app."""
    return app_of(shared_server)


@pytest.fixture(scope="module")
def recorded(engine: str) -> Iterator[Exchanges]:
    """All exchanges of this file, once on each engine."""
    exchanges = Exchanges("apps")
    yield exchanges
    exchanges.close()


def test_making_and_listing(shared_server: Server, recorded: Exchanges):
    app = app_of(shared_server, uid="acme")
    client = app.client
    recorded.exchange("list-empty", client, "GET", app.webhooks)
    recorded.exchange("create", client, "POST", app.webhooks, CREATE)
    everything = CREATE | {"events": ["*"]}
    recorded.exchange("create-for-all-events-by-uid", client, "POST", "/apps/acme/webhooks", everything)
    surplus = CREATE | {"secret": "mine", "active": False, "colour": "blue"}
    recorded.exchange("create-with-unknown-fields", client, "POST", app.webhooks, surplus)
    make_endpoint(client, "https://example.com/native")
    recorded.exchange("list", client, "GET", app.webhooks)
    slash = recorded.exchange("list-by-uid-trailing-slash", client, "GET", "/apps/acme/webhooks/")
    assert slash.body == client.get(app.webhooks).body
    recorded.exchange("list-head", client, "HEAD", app.webhooks)


def test_making_again(app: App, recorded: Exchanges):
    once = {"Idempotency-Key": "k1"}
    first = recorded.exchange("create-once", app.client, "POST", app.webhooks, CREATE, once).json()
    again = recorded.exchange("create-once-repeated", app.client, "POST", app.webhooks, CREATE, once).json()
    assert again["data"]["id"] == first["data"]["id"]
    other = CREATE | {"events": ["*"]}
    recorded.exchange("create-once-with-another-body", app.client, "POST", app.webhooks, other, once)
    assert len(app.listed()) == 1


def test_changing(app: App, recorded: Exchanges):
    path = app.endpoint()
    for name, change in {
        "update": {"url": "https://example.com/hook/v2", "events": ["*"], "active": False},
        "update-active-only": {"active": True},
        "update-url-only": {"url": "https://example.com/hook/v3?a=1#b"},
        "update-events-only": {"events": ["order.*", "user.made"]},
        "update-nothing": {},
        "update-unknown-fields": {"id": "mine", "secret": "mine", "createdAt": 1},
        "update-null": {"url": None, "events": None, "active": None},
        "update-wrong-types": {"url": 7, "events": ["a", 8], "active": "yes"},
        "update-events-empty": {"events": []},
        "update-url-not-https": {"url": "http://example.com/"},
    }.items():
        recorded.exchange(name, app.client, "PUT", path, change)
    recorded.exchange("update-malformed-json", app.client, "PUT", path, b'{"events": ["*"]')
    recorded.exchange("update-trailing-slash", app.client, "PUT", f"{path}/", {})
    [listed] = app.listed()
    assert (listed["url"], listed["events"], listed["active"]) == (
        "https://example.com/hook/v3?a=1#b",
        ["order.*", "user.made"],
        True,
    )


def test_rotating(app: App, recorded: Exchanges):
    path = app.endpoint()
    first = recorded.exchange("rotate-secret", app.client, "POST", f"{path}/rotate-secret").json()
    once = {"Idempotency-Key": "k1"}
    second = recorded.exchange("rotate-secret-once", app.client, "POST", f"{path}/rotate-secret", None, once).json()
    assert first["data"]["secret"] != second["data"]["secret"]
    recorded.exchange("rotate-secret-once-repeated", app.client, "POST", f"{path}/rotate-secret/", None, once)


def test_pinging(app: App, receiver: Receiver, recorded: Exchanges):
    path = app.endpoint(url=receiver.url())
    recorded.exchange("test-ping", app.client, "POST", f"{path}/test-ping")
    app.client.put(path, {"active": False}).expect(200)
    recorded.exchange("test-ping-while-inactive", app.client, "POST", f"{path}/test-ping/")
    failing = app.endpoint(url=receiver.url("/failing", always(500, body=b'{"error": "no"}')))
    recorded.exchange("test-ping-fails", app.client, "POST", f"{failing}/test-ping")
    nobody = app.endpoint(url=f"http://{HOST}:{CLOSED_PORT}/")
    recorded.exchange("test-ping-refused", app.client, "POST", f"{nobody}/test-ping")
    once = {"Idempotency-Key": "k1"}
    recorded.exchange("test-ping-once", app.client, "POST", f"{path}/test-ping", None, once)
    recorded.exchange("test-ping-once-repeated", app.client, "POST", f"{path}/test-ping", None, once)
    assert len(receiver.requests("/hook")) == 3
    assert len(receiver.requests("/failing")) == 1


def test_looking_into_deliveries(app: App, receiver: Receiver, recorded: Exchanges):
    path = app.endpoint(url=receiver.url(), events=["*"])
    deliveries = f"{path}/deliveries"
    in_v1 = f"/v1/endpoints/ep_{path.rpartition('/')[2]}"
    recorded.exchange("deliveries-none", app.client, "GET", deliveries)

    def publish_one(status: int, event_type: str, shown: str, attempts: int = 1) -> None:
        receiver.scripts["/hook"] = always(status)
        publish(app.root, app.tenant, event_type=event_type).expect(202)

        def newest() -> tuple[str, int]:
            item = app.client.get(deliveries).expect(200)["data"]["items"][0]
            return item["status"], item["attempts"]

        until(lambda: newest() == (shown, attempts), f"it is {shown} after {attempts}")

    publish_one(204, "order.paid", "DELIVERED")
    app.client.patch(in_v1, {"retry_schedule": []}).expect(200)
    publish_one(500, "order.refunded", "FAILED")
    app.client.patch(in_v1, {"retry_schedule": [3_600]}).expect(200)
    publish_one(503, "order.paid", "PENDING")
    recorded.exchange("deliveries-waiting-for-a-retry", app.client, "GET", f"{deliveries}?status=PENDING")
    app.client.post(f"{path}/test-ping").expect(200)
    app.client.patch(in_v1, {"status": "PAUSED"}).expect(200)
    publish_one(200, "order.held", "PENDING", attempts=0)

    recorded.exchange("deliveries", app.client, "GET", deliveries)
    for word in ("PENDING", "DELIVERED", "FAILED"):
        recorded.exchange(f"deliveries-{word.lower()}", app.client, "GET", f"{deliveries}?status={word}")
    first = recorded.exchange("deliveries-first-page", app.client, "GET", f"{deliveries}/?limit=3").json()
    query = f"limit=3&cursor={first['data']['nextCursor']}"
    recorded.exchange("deliveries-last-page", app.client, "GET", f"{deliveries}?{query}")
    recorded.exchange("deliveries-head", app.client, "HEAD", deliveries)
    recorded.exchange("deliveries-unknown-status", app.client, "GET", f"{deliveries}?status=pending")
    recorded.exchange("deliveries-limit-too-small", app.client, "GET", f"{deliveries}?limit=0")
    recorded.exchange("deliveries-limit-too-large", app.client, "GET", f"{deliveries}?limit=101")
    recorded.exchange("deliveries-two-faults", app.client, "GET", f"{deliveries}?status=HELD&limit=many")
    recorded.exchange("deliveries-bad-cursor", app.client, "GET", f"{deliveries}?cursor=made-up")


def test_deleting(app: App, recorded: Exchanges):
    path = app.endpoint()
    recorded.exchange("delete", app.client, "DELETE", path)
    for name, (method, below, body) in {
        "delete-deleted": ("DELETE", "", None),
        "update-deleted": ("PUT", "", {}),
        "rotate-secret-deleted": ("POST", "/rotate-secret", None),
        "test-ping-deleted": ("POST", "/test-ping", None),
        "deliveries-deleted": ("GET", "/deliveries", None),
    }.items():
        recorded.exchange(name, app.client, method, path + below, body)
    other = app.endpoint()
    assert app.client.delete(f"{other}/").status == 204
    assert app.listed() == []


def test_whom_it_answers(app: App, shared_server: Server, recorded: Exchanges):
    path = app.endpoint()
    revoked = app.key()
    app.root.delete(f"/v1/keys/{revoked['id']}").expect(204)
    refused = {"no-key": None, "wrong-key": "stn_ten_unknown", "revoked-key": revoked["key"]}
    for name, key in refused.items():
        recorded.exchange(name, shared_server.client(key), "GET", app.webhooks)
    recorded.exchange("two-keys", app.client, "GET", app.webhooks, None, {"X-API-Key": "another"})

    read_only = shared_server.client(app.key(read_only=True)["key"])
    recorded.exchange("read-only-list", read_only, "GET", app.webhooks)
    recorded.exchange("read-only-deliveries", read_only, "GET", f"{path}/deliveries")
    changes: dict[str, tuple[str, str, Any]] = {
        "create": ("POST", app.webhooks, CREATE),
        "update": ("PUT", path, {"active": False}),
        "delete": ("DELETE", path, None),
        "rotate-secret": ("POST", f"{path}/rotate-secret", None),
        "test-ping": ("POST", f"{path}/test-ping", None),
    }
    reads = {"list": ("GET", app.webhooks, None), "deliveries": ("GET", f"{path}/deliveries", None)}
    for name, (method, asked, body) in changes.items():
        recorded.exchange(f"read-only-{name}", read_only, method, asked, body)
    stranger = app_of(shared_server)
    for name, (method, asked, body) in (changes | reads).items():
        recorded.exchange(f"another-apps-{name}", stranger.client, method, asked, body)
        within_own = asked.replace(app.tenant, stranger.tenant)
        if path.rpartition("/")[2] in asked:
            assert stranger.client.request(method, within_own, body).status == 404
    recorded.exchange("unknown-app", app.client, "GET", "/apps/nobody/webhooks")
    recorded.exchange("unknown-id", app.client, "PUT", f"{app.webhooks}/{UNKNOWN}", {})
    recorded.exchange("id-in-another-spelling", app.client, "DELETE", path.replace("/webhooks/", "/webhooks/ep_"))
    [listed] = app.listed()
    assert (listed["url"], listed["active"]) == (CREATE["url"], True)


def test_what_a_key_above_apps_reaches(app: App, shared_server: Server, recorded: Exchanges):
    path = app.endpoint()
    project = app.root.with_key(make_key(app.root, "project", project="default")["key"])
    other = app_of(shared_server)
    for reached in (app, other):
        assert project.get(reached.webhooks).expect(200)["data"] == reached.listed()
    recorded.exchange("project-key", project, "PUT", path, {"events": ["*"]})
    recorded.exchange("project-key-naming-the-same-app", project.for_tenant(app.tenant), "GET", app.webhooks)
    naming_another = project.for_tenant(other.tenant)
    recorded.exchange("project-key-naming-another-app", naming_another, "GET", app.webhooks)
    recorded.exchange("project-key-naming-another-app-creates", naming_another, "POST", app.webhooks, CREATE)
    assert len(app.listed()) == 1
    assert other.listed() == []


def test_what_it_refuses_to_make(app: App, recorded: Exchanges):
    cases: dict[str, Any] = {
        "missing-fields": {},
        "missing-events": {"url": CREATE["url"]},
        "null-fields": {"url": None, "events": None},
        "wrong-types": {"url": 7, "events": ["a", 8]},
        "events-not-a-list": CREATE | {"events": "*"},
        "events-empty": CREATE | {"events": []},
        "events-star-and-more": CREATE | {"events": ["*", "order.paid"]},
        "events-bad-name": CREATE | {"events": ["order.paid", "order paid"]},
        "events-bad-pattern": CREATE | {"events": ["order.*", "*.paid"]},
        "events-too-many": CREATE | {"events": ["a", *(f"event.{number}" for number in range(500))]},
        "url-http": CREATE | {"url": "http://example.com/hook"},
        "url-private": CREATE | {"url": "https://192.168.0.1/hook"},
        "url-loopback": CREATE | {"url": "https://[::1]/hook"},
        "url-localhost": CREATE | {"url": "https://localhost/hook"},
        "url-no-url": CREATE | {"url": "example"},
        "url-and-more": {"url": "ftp://example.com/", "events": []},
        "array": [CREATE],
    }
    for name, body in cases.items():
        if name == "events-too-many":
            assert app.client.post(app.webhooks, body).expect(422)["error"]["field"] == "events"
        else:
            recorded.exchange(f"create-{name}", app.client, "POST", app.webhooks, body)
    recorded.exchange("create-no-body", app.client, "POST", app.webhooks)
    recorded.exchange("create-malformed-json", app.client, "POST", app.webhooks, b'{"url": ')
    too_long = CREATE | {"url": "https://example.com/".ljust(2_084, "x")}
    assert app.client.post(app.webhooks, too_long).expect(422)["error"]["field"] == "url"
    assert app.listed() == []
    longest = "https://example.com/".ljust(2_083, "x")
    app.endpoint(url=longest, events=[f"event.{number}" for number in range(500)])
    assert app.listed()[0]["url"] == longest


def test_what_no_operation_takes(app: App, recorded: Exchanges):
    path = app.endpoint()
    recorded.exchange("wrong-method", app.client, "PATCH", app.webhooks, {})
    recorded.exchange("wrong-method-of-one", app.client, "GET", path)
    recorded.exchange("wrong-method-of-rotate-secret", app.client, "GET", f"{path}/rotate-secret")
    recorded.exchange("wrong-method-of-test-ping", app.client, "PUT", f"{path}/test-ping", {})
    recorded.exchange("wrong-method-of-deliveries", app.client, "POST", f"{path}/deliveries", {})
    recorded.exchange("unknown-path", app.client, "GET", f"{path}/attempts")
    plain, packed = {"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}
    recorded.exchange("wrong-media-type", app.client, "POST", app.webhooks, b"url=x", plain)
    recorded.exchange("content-encoding", app.client, "POST", app.webhooks, CREATE, packed)
    too_long = {"Idempotency-Key": "k" * 257}
    recorded.exchange("idempotency-key-too-long", app.client, "POST", app.webhooks, CREATE, too_long)
    large = app.client.post(app.webhooks, b'"' + b"x" * BODY_BYTES_MAX + b'"').expect(413)
    assert (large["success"], large["error"]["code"]) == (False, "payload_too_large")


def test_how_much_it_takes(servers: Callable[..., Server], recorded: Exchanges):
    most = ["--endpoints-per-tenant-max", str(ENDPOINTS_MAX), "--apps-requests-per-minute", str(CROWD + REQUESTS_MAX)]
    app = app_of(servers(options=most).start())
    # Those made through another contract count, too.
    make_endpoint(app.client, "https://example.com/native")
    with ThreadPoolExecutor(CROWD) as pool:
        answers = list(pool.map(lambda _: app.client.post(app.webhooks, CREATE), range(CROWD)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [201] * (ENDPOINTS_MAX - 1) + [409] * (CROWD - ENDPOINTS_MAX + 1)
    recorded.exchange("create-beyond-the-limit", app.client, "POST", app.webhooks, CREATE)
    for _ in range(REQUESTS_MAX - 1):
        app.client.get(app.webhooks).expect(200)
    refused = recorded.exchange("rate-limited", app.client, "GET", app.webhooks)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    another = app.client.with_key(app.key()["key"])
    assert len(another.get(app.webhooks).expect(200)["data"]) == ENDPOINTS_MAX


def test_a_page_has_twenty_deliveries_unless_it_is_told_otherwise(app: App):
    path = app.endpoint(events=["*"])
    one = {"type": "order.paid", "payload": {}}
    app.root.for_tenant(app.tenant).post("/v1/events/batch", {"events": [one] * 101}).expect(202)
    for query, count in {"": ITEMS_BY_DEFAULT, "?limit=1": 1, "?limit=100": 100}.items():
        page = app.client.get(f"{path}/deliveries{query}").expect(200)["data"]
        assert len(page["items"]) == count
        assert page["nextCursor"] is not None
