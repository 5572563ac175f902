"""The published endpoint resource of v1 as recorded exchanges: each operation and each refusal, to be read beside the
text.

What its values may be, field by field, is in test_published_endpoints.py; v1's other resources are in
test_contract_v1_resources.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from support.api import make_key, make_tenant
from support.client import Client
from support.exchanges import Exchanges
from support.receiver import Receiver, always
from support.server import Server

PATH = "/v1/endpoints"
PUBLISHED = {
    "name": "my-webhook",
    "url": "https://example.com/webhook",
    "secret": "whsec_your_signing_secret",
    "headers_json": {},
    "timeout_seconds": 10,
}
LEAST = {"name": "my-webhook", "url": "https://example.com/webhook"}
HEADERS = {"X-Team": "blue", "Authorization": "Bearer t-123456", "X-Api-Key": "k-123456"}
EVERYTHING = LEAST | {
    "headers_json": {"X-Team": "blue"},
    "timeout_seconds": 30,
    "uid": "orders-1",
    "description": "Orders of the shop",
    "events": ["order.completed", "refund.*"],
    "channels": ["eu", "priority"],
    "filter": {"data.total": {"$gte": 100}, "$or": [{"data.vip": True}, {"data.country": {"$in": ["DE", "AT"]}}]},
    "metadata": {"plan": "gold", "seats": 3},
    "retry_schedule": [60, 3_600],
    "retry_anchor": "first",
    "header_styles": ["standard", "v1"],
    "max_in_flight": 4,
}
# The example of Standard Webhooks.
KEY_PAIR = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
STYLES = ["standard", "svix", "stripe", "github", "shopify", "v1", "prefix:X-Acme"]
UNKNOWN = "/v1/endpoints/ep_550e8400-e29b-41d4-a716-446655440000"
ENDPOINTS_MAX = 50
BODY_BYTES_MAX = 288 * 1024

pytestmark = pytest.mark.engines("sqlite", "postgres")


@dataclass
class Owner:
    """A tenant, and a client with a key of its own."""

    root: Client
    tenant: str
    client: Client

    def endpoint(self, **fields: Any) -> str:
        """Makes an endpoint with the published request, or other fields, and gives its path."""
        return f"{PATH}/{self.client.post(PATH, PUBLISHED | fields).expect(201)['id']}"

    def key(self, **fields: Any) -> dict[str, Any]:
        """Makes another key."""
        return make_key(self.root, "tenant", tenant=self.tenant, **fields)


@pytest.fixture
def owner(shared_server: Server) -> Owner:
    """A new tenant."""
    root = shared_server.root
    tenant = make_tenant(root)
    return Owner(root, tenant, shared_server.client(make_key(root, "tenant", tenant=tenant)["key"]))


@pytest.fixture(scope="module")
def recorded(engine: str) -> Iterator[Exchanges]:
    """All exchanges of this file, once on each engine."""
    exchanges = Exchanges("v1/endpoints")
    yield exchanges
    exchanges.close()


# --- Operations -----------------------------------------------------------------------------------------------------


def test_making(owner: Owner, recorded: Exchanges):
    client = owner.client
    recorded.exchange("list-empty", client, "GET", PATH)
    for name, body in {
        "create": PUBLISHED,
        "create-without-secret": LEAST,
        "create-with-headers": LEAST | {"headers_json": HEADERS},
        "create-with-everything": EVERYTHING,
        "create-with-key-pair": LEAST | {"secret": KEY_PAIR},
        "create-with-styles": LEAST | {"header_styles": STYLES},
        "create-with-unknown-fields": LEAST | {"id": "ep_x", "number": 9, "status": "PAUSED", "colour": "blue"},
        "create-with-nulls": LEAST | {"secret": None, "headers_json": None, "timeout_seconds": None, "uid": None},
    }.items():
        recorded.exchange(name, client, "POST", PATH, body)
    recorded.exchange("create-trailing-slash", client, "POST", f"{PATH}/", PUBLISHED)


def test_making_again(owner: Owner, recorded: Exchanges):
    client, once = owner.client, {"Idempotency-Key": "k1"}
    first = recorded.exchange("create-once", client, "POST", PATH, LEAST, once).json()
    again = recorded.exchange("create-once-repeated", client, "POST", PATH, LEAST, once).json()
    assert again["id"] == first["id"]
    recorded.exchange("create-once-with-another-body", client, "POST", PATH, PUBLISHED, once)


def test_reading(owner: Owner, recorded: Exchanges):
    client, path = owner.client, owner.endpoint()
    recorded.exchange("get", client, "GET", path)
    slash = recorded.exchange("get-trailing-slash", client, "GET", f"{path}/")
    assert slash.body == client.get(path).body
    recorded.exchange("get-head", client, "HEAD", path)
    for number in (2, 3):
        owner.endpoint(name=f"my-webhook-{number}")
    recorded.exchange("list", client, "GET", PATH)
    recorded.exchange("list-head", client, "HEAD", PATH)
    first = recorded.exchange("list-first-page", client, "GET", f"{PATH}?limit=2")
    target, relation = first.headers["link"].split(";")
    assert relation.strip() == 'rel="next"'
    last = recorded.exchange("list-last-page", client, "GET", target.strip("<>"))
    assert [one["name"] for one in [*first.json(), *last.json()]] == ["my-webhook-3", "my-webhook-2", "my-webhook"]
    recorded.exchange("list-bad-limit", client, "GET", f"{PATH}?limit=251")
    recorded.exchange("list-bad-cursor", client, "GET", f"{PATH}?cursor=mine")


def test_changing(owner: Owner, recorded: Exchanges):
    client, path = owner.client, owner.endpoint()
    for name, change in {
        "update": {"name": "updated-name", "status": "PAUSED"},
        "update-paused-again": {"status": "PAUSED"},
        "update-resume": {"status": "ACTIVE"},
        "update-name": {"name": "another-name"},
        "update-url": {"url": "https://example.com/v2?shop=1#top"},
        "update-secret": {"secret": "whsec_another_signing_secret"},
        "update-headers": {"headers_json": HEADERS},
        "update-headers-masked": {"headers_json": HEADERS | {"X-Api-Key": "***", "X-Team": "red"}},
        "update-timeout": {"timeout_seconds": 60},
        "update-everything-else": {name: value for name, value in EVERYTHING.items() if name not in PUBLISHED},
        "update-clear": {"uid": None, "description": None, "metadata": None, "max_in_flight": None, "filter": None},
        "update-nothing": {},
        "update-unknown-fields": {"id": "ep_x", "number": 9, "paused_at": None, "colour": "blue"},
    }.items():
        recorded.exchange(name, client, "PATCH", path, change)
    recorded.exchange("update-trailing-slash", client, "PATCH", f"{path}/", {"timeout_seconds": 1})


def test_rotating(owner: Owner, recorded: Exchanges):
    client, path = owner.client, owner.endpoint()
    recorded.exchange("rotate-secret", client, "POST", f"{path}/rotate-secret")
    recorded.exchange("rotate-secret-at-once", client, "POST", f"{path}/rotate-secret", {"grace_seconds": 0})
    once, week = {"Idempotency-Key": "k1"}, {"grace_seconds": 604_800}
    recorded.exchange("rotate-secret-once", client, "POST", f"{path}/rotate-secret/", week, once)
    recorded.exchange("rotate-secret-once-repeated", client, "POST", f"{path}/rotate-secret/", week, once)
    longer = {"grace_seconds": 604_801}
    recorded.exchange("rotate-secret-beyond-the-limit", client, "POST", f"{path}/rotate-secret", longer)
    pair = {"secret": KEY_PAIR}
    recorded.exchange("rotate-secret-to-key-pair-beside-v1", client, "POST", f"{path}/rotate-secret", pair)
    client.patch(path, {"header_styles": ["standard"]}).expect(200)
    recorded.exchange("rotate-secret-to-key-pair", client, "POST", f"{path}/rotate-secret", pair)
    recorded.exchange("rotate-secret-of-key-pair", client, "POST", f"{path}/rotate-secret")


def test_matching(owner: Owner, recorded: Exchanges):
    client, fields = owner.client, ("events", "channels", "filter")
    path = owner.endpoint(**{name: EVERYTHING[name] for name in fields})
    order = {"type": "order.completed", "channels": ["eu"], "payload": {"data": {"total": 250, "country": "DE"}}}
    for name, change in {
        "match": {},
        "match-not-its-type": {"type": "user.made"},
        "match-not-its-channel": {"channels": ["us"]},
        "match-filter-fails": {"payload": {"data": {"total": 99.5, "country": "DE"}}},
        "match-no-filter-of-or-holds": {"payload": {"data": {"total": 250, "country": "FR"}}},
        "match-bad": {"type": "a b", "channels": ["e u"]},
    }.items():
        recorded.exchange(name, client, "POST", f"{path}/match", order | change)
    recorded.exchange("match-nothing", client, "POST", f"{path}/match", {})
    client.patch(path, {"status": "PAUSED"}).expect(200)
    recorded.exchange("match-paused", client, "POST", f"{path}/match/", order)


def test_testing(owner: Owner, recorded: Exchanges, receiver: Receiver):
    client = owner.client
    path = owner.endpoint(url=receiver.url(), headers_json=HEADERS)
    recorded.exchange("test", client, "POST", f"{path}/test")
    once = {"Idempotency-Key": "k1"}
    first = client.post(f"{path}/test", None, once)
    again = client.post(f"{path}/test", None, once)
    assert (again.expect(200), again.headers["idempotency-replayed"]) == (first.expect(200), "true")
    assert len(receiver.requests("/hook")) == 2


def test_testing_what_fails(owner: Owner, recorded: Exchanges, receiver: Receiver):
    path = owner.endpoint(url=receiver.url("/failing", always(503)))
    owner.client.patch(path, {"status": "PAUSED"}).expect(200)
    recorded.exchange("test-fails-while-paused", owner.client, "POST", f"{path}/test/")


def test_deleting(owner: Owner, recorded: Exchanges):
    client, path = owner.client, owner.endpoint()
    recorded.exchange("delete", client, "DELETE", path)
    recorded.exchange("delete-deleted", client, "DELETE", path)
    recorded.exchange("get-deleted", client, "GET", path)
    recorded.exchange("update-deleted", client, "PATCH", path, {"name": "x"})
    recorded.exchange("rotate-secret-deleted", client, "POST", f"{path}/rotate-secret")
    recorded.exchange("test-deleted", client, "POST", f"{path}/test")
    recorded.exchange("delete-trailing-slash", client, "DELETE", f"{owner.endpoint()}/")
    assert client.get(PATH).expect(200) == []


# --- Refusals -------------------------------------------------------------------------------------------------------


def test_whom_it_answers(owner: Owner, shared_server: Server, recorded: Exchanges):
    path = owner.endpoint()
    before = owner.client.get(path).body
    revoked = owner.key()
    owner.root.delete(f"/v1/keys/{revoked['id']}").expect(204)
    for name, key in {"no-key": None, "wrong-key": "stn_tenant_unknown", "revoked-key": revoked["key"]}.items():
        recorded.exchange(name, shared_server.client(key), "GET", PATH)
    recorded.exchange("two-keys", owner.client, "GET", PATH, None, {"X-API-Key": "another"})
    stranger = make_key(owner.root, "tenant", tenant=make_tenant(owner.root))["key"]
    readers = {"read-only": owner.key(read_only=True)["key"], "another-tenants": stranger}
    for name, key in readers.items():
        client = shared_server.client(key)
        recorded.exchange(f"{name}-list", client, "GET", PATH)
        recorded.exchange(f"{name}-get", client, "GET", path)
        recorded.exchange(f"{name}-update", client, "PATCH", path, {"name": "stolen"})
        recorded.exchange(f"{name}-rotate-secret", client, "POST", f"{path}/rotate-secret")
        recorded.exchange(f"{name}-test", client, "POST", f"{path}/test")
        recorded.exchange(f"{name}-delete", client, "DELETE", path)
    recorded.exchange("read-only-create", shared_server.client(readers["read-only"]), "POST", PATH, PUBLISHED)
    assert owner.client.get(path).body == before


def test_for_whom_a_key_above_tenants_asks(owner: Owner, recorded: Exchanges):
    path = owner.endpoint()
    project = owner.root.with_key(make_key(owner.root, "project", project="default")["key"])
    recorded.exchange("project-key-without-tenant", project, "GET", PATH)
    recorded.exchange("project-key-for-tenant", project.for_tenant(owner.tenant), "GET", PATH)
    recorded.exchange("project-key-unknown-tenant", project.for_tenant("nobody"), "POST", PATH, PUBLISHED)
    recorded.exchange("project-key-path-implies-tenant", project, "GET", path)
    in_body = PUBLISHED | {"tenant": owner.tenant}
    recorded.exchange("project-key-tenant-in-the-body", project, "POST", PATH, in_body)


LONGEST = {
    "name": "n" * 255,
    "url": "https://example.com/".ljust(2_083, "u"),
    "secret": "s" * 255,
    # One of 4 KiB, 8 KiB together, names included.
    "headers_json": {
        "X-Longest": "h" * 4_087,
        **{f"X-{number:02}": "h" * 211 for number in range(18)},
        "X-Last": "h" * 220,
    },
    "timeout_seconds": 60,
    "uid": "i" * 256,
    "description": "d" * 1_000,
    "metadata": {"m": "m" * 4_087},
    "retry_schedule": [604_800] * 64,
    "max_in_flight": 1_000,
}
LEAST_VALUES = {
    "name": "n",
    "url": "https://a.co",
    "secret": "s" * 16,
    "timeout_seconds": 1,
    "uid": "i",
    "description": "",
    "retry_schedule": [],
    "max_in_flight": 1,
}


def nested_filter(depth: int) -> dict:
    """A filter with so many filters within each other, itself included."""
    return {"$not": nested_filter(depth - 1)} if depth > 1 else {}


BEYOND = {
    "name-too-long": {"name": "n" * 256},
    "name-empty": {"name": ""},
    "url-too-long": {"url": "https://example.com/".ljust(2_084, "u")},
    "url-http": {"url": "http://example.com/webhook"},
    "url-private": {"url": "https://192.168.0.1/webhook"},
    "url-localhost": {"url": "https://localhost/webhook"},
    "secret-too-long": {"secret": "s" * 256},
    "secret-too-short": {"secret": "s" * 15},
    "secret-base64-of-another-length": {"secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="},
    "secret-key-pair-that-does-not-fit": {"secret": "whsk_" + "A" * 86 + "=="},
    "styles-in-one-header": {"header_styles": ["standard", "v1", "organization"]},
    "styles-without-standard": {"header_styles": ["svix"]},
    "styles-unknown": {"header_styles": ["standard", "paypal"]},
    "styles-beside-a-header-of-theirs": {
        "header_styles": ["standard", "prefix:acme"],
        "headers_json": {"Acme-Signature": "x"},
    },
    "headers-too-many": {"headers_json": {f"X-{number}": "" for number in range(21)}},
    "header-too-large": {"headers_json": {"X-Long": "h" * 4_091}},
    "headers-reserved": {"headers_json": {"Host": "example.com", "webhook-id": "1"}},
    "headers-too-large-together": {"headers_json": {f"X-{number}": "h" * 4_000 for number in range(3)}},
    "timeout-too-short": {"timeout_seconds": 0},
    "timeout-too-long": {"timeout_seconds": 61},
    "uid-too-long": {"uid": "i" * 257},
    "uid-like-an-id": {"uid": "ep_1"},
    "description-too-long": {"description": "d" * 1_001},
    "metadata-too-large": {"metadata": {"m": "m" * 4_088}},
    "events-empty": {"events": []},
    "events-bad-name": {"events": ["order.completed", "order completed"]},
    "events-bad-pattern": {"events": ["order.*", "*.paid"]},
    "channels-too-many": {"channels": [str(number) for number in range(11)]},
    "channels-empty": {"channels": []},
    "schedule-too-long": {"retry_schedule": [1] * 65},
    "schedule-wait-too-long": {"retry_schedule": [604_801]},
    "max-in-flight-too-large": {"max_in_flight": 1_001},
    "filter-too-large": {"filter": {"a": "x" * 4_096}},
    "filter-too-deep": {"filter": nested_filter(9)},
    "filter-bad-operator": {"filter": {"$or": [{"data.total": 1}, {"data.name": {"$regex": "(a+)+$"}}]}},
}


def test_values_at_each_limit_are_taken(owner: Owner, recorded: Exchanges):
    path = owner.endpoint()
    for name, values in {"longest": LONGEST, "least": LEAST_VALUES}.items():
        recorded.exchange(f"create-{name}", owner.client, "POST", PATH, values)
        # Its uid is the new one's.
        without_uid = {field: value for field, value in values.items() if field != "uid"}
        changed = owner.client.patch(path, without_uid).expect(200)
        shown = without_uid.keys() - {"secret"}
        assert {field: changed[field] or "" for field in shown} == {field: values[field] or "" for field in shown}


def test_values_beyond_each_limit_are_refused(owner: Owner, recorded: Exchanges):
    path = owner.endpoint()
    before = owner.client.get(path).body
    for name, beyond in BEYOND.items():
        refused = recorded.exchange(f"create-{name}", owner.client, "POST", PATH, LEAST | beyond)
        change = owner.client.patch(path, beyond)
        assert (change.status, change.body) == (refused.status, refused.body), name
    assert owner.client.get(path).body == before
    assert len(owner.client.get(PATH).expect(200)) == 1


def test_what_is_no_endpoint_is_refused(owner: Owner, recorded: Exchanges):
    client, path = owner.client, owner.endpoint()
    wrong_types = {"name": 7, "url": [], "secret": 7, "headers_json": "x", "timeout_seconds": "10", "status": 1}
    several = {"url": "ftp://example.com/", "timeout_seconds": 0, "headers_json": {"X A": "a"}, "uid": "ep_1"}
    for name, method, target in (("create", "POST", PATH), ("update", "PATCH", path)):
        recorded.exchange(f"{name}-wrong-types", client, method, target, wrong_types)
        recorded.exchange(f"{name}-several-faults", client, method, target, several)
        recorded.exchange(f"{name}-malformed-json", client, method, target, b'{"name": ')
        recorded.exchange(f"{name}-array", client, method, target, b'["my-webhook", "https://example.com/"]')
    recorded.exchange("create-missing-fields", client, "POST", PATH, {})
    recorded.exchange("create-no-body", client, "POST", PATH)
    recorded.exchange("update-nulls", client, "PATCH", path, dict.fromkeys(PUBLISHED))
    recorded.exchange("update-disabled", client, "PATCH", path, {"status": "DISABLED"})
    recorded.exchange("update-unknown-status", client, "PATCH", path, {"status": "paused"})


def test_what_is_taken_is_taken(owner: Owner, recorded: Exchanges):
    client, path = owner.client, owner.endpoint(uid="orders")
    recorded.exchange("create-uid-taken", client, "POST", PATH, PUBLISHED | {"uid": "orders"})
    recorded.exchange("update-uid-taken", client, "PATCH", owner.endpoint(), {"uid": "orders"})
    for _ in range(ENDPOINTS_MAX - 2):
        owner.endpoint()
    recorded.exchange("create-endpoint-limit-reached", client, "POST", PATH, PUBLISHED)
    client.delete(path).expect(204)
    assert owner.endpoint(uid="orders")


def test_what_no_operation_takes(owner: Owner, recorded: Exchanges):
    client, path = owner.client, owner.endpoint()
    recorded.exchange("unknown-id", client, "GET", UNKNOWN)
    recorded.exchange("id-without-prefix", client, "GET", path.replace("ep_", ""))
    recorded.exchange("id-of-another-contract", client, "GET", path.replace("ep_", "wh-"))
    recorded.exchange("unknown-path", client, "GET", f"{path}/secret")
    recorded.exchange("wrong-method", client, "PUT", PATH, PUBLISHED)
    recorded.exchange("wrong-method-of-one", client, "PUT", path, PUBLISHED)
    recorded.exchange("wrong-method-of-rotate-secret", client, "GET", f"{path}/rotate-secret")
    recorded.exchange("wrong-method-of-match", client, "GET", f"{path}/match")
    recorded.exchange("wrong-method-of-test", client, "GET", f"{path}/test")
    recorded.exchange("wrong-media-type", client, "POST", PATH, b"name=x", {"Content-Type": "text/plain"})
    recorded.exchange("content-encoding", client, "POST", PATH, PUBLISHED, {"Content-Encoding": "gzip"})
    large = {"Content-Length": str(BODY_BYTES_MAX + 1)}
    # Refused by its head: none of it is sent.
    recorded.exchange("too-large", client, "POST", PATH, b"", large)
    recorded.exchange("idempotency-key-empty", client, "POST", PATH, PUBLISHED, {"Idempotency-Key": ""})
