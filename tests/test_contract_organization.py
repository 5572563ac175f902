"""The organization contract as recorded exchanges: each operation and each refusal, to be read beside the published text.

What its receivers get, and what a test reports, is in test_organization_deliveries.py.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from support.api import make_endpoint, make_key, make_tenant
from support.client import Client
from support.exchanges import Exchanges
from support.receiver import Receiver, always
from support.server import Server

PUBLISHED = {
    "url": "https://yourapp.com/webhooks/vignetim",
    "events": ["order.completed", "order.failed"],
    "description": "Production order notifications",
}
UPDATE = {
    "url": "https://yourapp.com/webhooks/vignetim-v2",
    "events": ["*"],
    "description": "Updated to receive all events",
}
UNKNOWN = "/webhooks/wh-a1b2c3d4-e5f6-7890-abcd-ef1234567890"
ENDPOINTS_MAX = 10
REQUESTS_MAX = 100
CROWD = 20
BODY_BYTES_MAX = 288 * 1024

pytestmark = pytest.mark.engines("sqlite", "postgres")


@dataclass
class Organization:
    """A tenant, and a client with a key of its own."""

    root: Client
    tenant: str
    client: Client

    def endpoint(self, **fields: Any) -> str:
        """Makes an endpoint with the published request, or other fields, and gives its path."""
        return "/webhooks/" + self.client.post("/webhooks", PUBLISHED | fields).expect(201)["id"]

    def key(self, **fields: Any) -> dict[str, Any]:
        """Makes another key."""
        return make_key(self.root, "tenant", tenant=self.tenant, **fields)


@pytest.fixture
def organization(shared_server: Server) -> Organization:
    """A new tenant, whose key has asked for nothing yet."""
    root = shared_server.root
    tenant = make_tenant(root)
    return Organization(root, tenant, shared_server.client(make_key(root, "tenant", tenant=tenant)["key"]))


@pytest.fixture(scope="module")
def recorded(engine: str) -> Iterator[Exchanges]:
    """All exchanges of this file, once on each engine."""
    exchanges = Exchanges("organization")
    yield exchanges
    exchanges.close()


def test_making_and_listing(organization: Organization, recorded: Exchanges):
    client = organization.client
    recorded.exchange("list-empty", client, "GET", "/webhooks")
    recorded.exchange("create", client, "POST", "/webhooks", PUBLISHED)
    least = {"url": "https://example.com/", "events": ["*"]}
    recorded.exchange("create-without-description", client, "POST", "/webhooks", least)
    surplus = PUBLISHED | {"signingSecret": "mine", "active": False, "colour": "blue"}
    recorded.exchange("create-with-unknown-fields", client, "POST", "/webhooks", surplus)
    make_endpoint(client, "https://example.com/native")
    recorded.exchange("list", client, "GET", "/webhooks")
    slash = recorded.exchange("list-trailing-slash", client, "GET", "/webhooks/")
    assert slash.body == client.get("/webhooks").body
    recorded.exchange("list-head", client, "HEAD", "/webhooks")


def test_making_again(organization: Organization, recorded: Exchanges):
    client, once = organization.client, {"Idempotency-Key": "k1"}
    first = recorded.exchange("create-once", client, "POST", "/webhooks", PUBLISHED, once).json()
    again = recorded.exchange("create-once-repeated", client, "POST", "/webhooks", PUBLISHED, once).json()
    assert again["id"] == first["id"]
    recorded.exchange("create-once-with-another-body", client, "POST", "/webhooks", UPDATE, once)


def test_changing(organization: Organization, recorded: Exchanges):
    client, path = organization.client, organization.endpoint()
    for name, change in {
        "update": UPDATE,
        "update-url-only": {"url": "https://example.com/v3"},
        "update-events-only": {"events": ["order.*", "user.made"]},
        "update-clear-description": {"description": None},
        "update-nothing": {},
        "update-switch-off": {"active": False},
        "update-switch-on": {"active": True},
        "update-null": {"url": None, "events": None, "active": None},
        "update-wrong-types": {"url": 7, "events": ["a", 8], "description": [], "active": "yes"},
        "update-url-not-allowed": {"url": "http://example.com/"},
    }.items():
        recorded.exchange(name, client, "PUT", path, change)
    recorded.exchange("update-malformed-json", client, "PUT", path, b'{"events": ["*"]')
    recorded.exchange("update-trailing-slash", client, "PUT", f"{path}/", {})


def test_deleting(organization: Organization, recorded: Exchanges):
    client, path = organization.client, organization.endpoint()
    recorded.exchange("delete", client, "DELETE", path)
    recorded.exchange("delete-deleted", client, "DELETE", path)
    recorded.exchange("update-deleted", client, "PUT", path, {})
    recorded.exchange("test-deleted", client, "POST", f"{path}/test")
    other = organization.endpoint()
    assert client.delete(f"{other}/").status == 204
    assert client.get("/webhooks").expect(200) == {"data": []}


def test_testing(organization: Organization, recorded: Exchanges, receiver: Receiver):
    client = organization.client
    path = organization.endpoint(url=receiver.url())
    recorded.exchange("test", client, "POST", f"{path}/test")
    failing = organization.endpoint(url=receiver.url("/failing", always(500)))
    recorded.exchange("test-fails", client, "POST", f"{failing}/test/")
    client.put(failing, {"active": False}).expect(200)
    recorded.exchange("test-while-inactive", client, "POST", f"{failing}/test")
    once = {"Idempotency-Key": "k1"}
    recorded.exchange("test-once", client, "POST", f"{path}/test", None, once)
    recorded.exchange("test-once-repeated", client, "POST", f"{path}/test", None, once)
    assert len(receiver.requests("/hook")) == 2
    assert len(receiver.requests("/failing")) == 2


def test_whom_it_answers(organization: Organization, shared_server: Server, recorded: Exchanges):
    path = organization.endpoint()
    revoked = organization.key()
    organization.root.delete(f"/v1/keys/{revoked['id']}").expect(204)
    refused = {"no-key": None, "wrong-key": "stn_ten_unknown", "revoked-key": revoked["key"]}
    for name, key in refused.items():
        recorded.exchange(name, shared_server.client(key), "GET", "/webhooks")
    both = {"X-API-Key": "another"}
    recorded.exchange("two-keys", organization.client, "GET", "/webhooks", None, both)

    read_only = shared_server.client(organization.key(read_only=True)["key"])
    recorded.exchange("read-only-list", read_only, "GET", "/webhooks")
    recorded.exchange("read-only-create", read_only, "POST", "/webhooks", PUBLISHED)
    for method, below in {"PUT": "", "DELETE": "", "POST": "/test"}.items():
        body = {} if method == "PUT" else None
        assert read_only.request(method, path + below, body).expect(403)["code"] == "forbidden"

    stranger = make_key(organization.root, "tenant", tenant=make_tenant(organization.root))
    other = shared_server.client(stranger["key"])
    recorded.exchange("another-tenants-update", other, "PUT", path, UPDATE)
    recorded.exchange("another-tenants-delete", other, "DELETE", path)
    recorded.exchange("another-tenants-test", other, "POST", f"{path}/test")
    assert other.get("/webhooks").expect(200) == {"data": []}
    recorded.exchange("unknown-id", other, "PUT", UNKNOWN, UPDATE)
    assert organization.client.get("/webhooks").expect(200)["data"][0]["url"] == PUBLISHED["url"]


def test_for_whom_a_key_above_tenants_asks(organization: Organization, recorded: Exchanges):
    path = organization.endpoint()
    key = make_key(organization.root, "project", project="default")["key"]
    project = organization.root.with_key(key)
    recorded.exchange("project-key-without-tenant", project, "GET", "/webhooks")
    recorded.exchange("project-key-for-tenant", project.for_tenant(organization.tenant), "GET", "/webhooks")
    recorded.exchange("project-key-unknown-tenant", project.for_tenant("nobody"), "POST", "/webhooks", PUBLISHED)
    recorded.exchange("project-key-path-implies-tenant", project, "PUT", path, UPDATE)


def test_what_it_refuses_to_make(organization: Organization, recorded: Exchanges):
    client = organization.client
    cases: dict[str, dict[str, Any]] = {
        "missing-fields": {},
        "null-fields": {"url": None, "events": None, "description": None},
        "wrong-types": {"url": 7, "events": ["a", 8], "description": []},
        "events-not-a-list": PUBLISHED | {"events": "*"},
        "events-empty": PUBLISHED | {"events": []},
        "events-star-and-more": PUBLISHED | {"events": ["*", "order.completed"]},
        "events-bad-name": PUBLISHED | {"events": ["order.completed", "order completed"]},
        "description-too-long": PUBLISHED | {"description": "x" * 1_001},
        "url-http": PUBLISHED | {"url": "http://example.com/hook"},
        "url-private": PUBLISHED | {"url": "https://192.168.0.1/hook"},
        "url-loopback": PUBLISHED | {"url": "https://[::1]/hook"},
        "url-localhost": PUBLISHED | {"url": "https://localhost/hook"},
        "url-too-long": PUBLISHED | {"url": "https://example.com/".ljust(2_084, "x")},
        "url-and-more": {"url": "ftp://example.com/", "events": [], "description": 7},
    }
    for name, body in cases.items():
        recorded.exchange(f"create-{name}", client, "POST", "/webhooks", body)
    recorded.exchange("create-no-body", client, "POST", "/webhooks")
    recorded.exchange("create-malformed-json", client, "POST", "/webhooks", b'{"url": ')
    recorded.exchange("create-array", client, "POST", "/webhooks", b'["https://example.com/", ["*"]]')
    assert client.get("/webhooks").expect(200) == {"data": []}


def test_what_no_operation_takes(organization: Organization, recorded: Exchanges):
    client, path = organization.client, organization.endpoint()
    recorded.exchange("wrong-method", client, "PATCH", "/webhooks", {})
    recorded.exchange("wrong-method-of-one", client, "GET", path)
    recorded.exchange("wrong-method-of-test", client, "GET", f"{path}/test")
    recorded.exchange("unknown-path", client, "GET", f"{path}/deliveries")
    plain, packed = {"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}
    recorded.exchange("wrong-media-type", client, "POST", "/webhooks", b"url=x", plain)
    recorded.exchange("content-encoding", client, "POST", "/webhooks", PUBLISHED, packed)
    too_long = {"Idempotency-Key": "k" * 257}
    recorded.exchange("idempotency-key-too-long", client, "POST", "/webhooks", PUBLISHED, too_long)
    large = client.post("/webhooks", b'"' + b"x" * BODY_BYTES_MAX + b'"').expect(413)
    assert list(large) == ["statusCode", "message", "error", "code"]
    assert (large["statusCode"], large["code"]) == (413, "payload_too_large")


def test_the_last_place_goes_to_one_of_a_crowd(organization: Organization, recorded: Exchanges):
    client = organization.client
    # Those made through another contract count, too.
    make_endpoint(client, "https://example.com/native")
    for _ in range(ENDPOINTS_MAX - 2):
        organization.endpoint()
    with ThreadPoolExecutor(CROWD) as pool:
        answers = list(pool.map(lambda _: client.post("/webhooks", PUBLISHED), range(CROWD)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * (CROWD - 1)
    assert {answer.json()["code"] for answer in answers if answer.status == 409} == {"webhook_limit_reached"}
    listed = client.get("/webhooks").expect(200)["data"]
    assert len(listed) == ENDPOINTS_MAX

    fresh = client.with_key(organization.key()["key"])
    recorded.exchange("create-eleventh", fresh, "POST", "/webhooks", PUBLISHED)
    assert client.delete(f"/webhooks/{listed[0]['id']}").status == 204
    organization.endpoint()
    assert client.post("/webhooks", PUBLISHED).status == 409


def test_a_key_may_ask_so_often_and_no_more(organization: Organization, recorded: Exchanges):
    client = organization.client
    for used in range(1, REQUESTS_MAX + 1):
        answer = client.get("/webhooks")
        answer.expect(200)
        assert answer.headers["x-ratelimit-remaining"] == str(REQUESTS_MAX - used)
    refused = recorded.exchange("rate-limited", client, "GET", "/webhooks")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert client.with_key(organization.key()["key"]).get("/webhooks").status == 200
