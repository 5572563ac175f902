"""v1's other resources as recorded exchanges: what a producer, an operator and a dashboard ask for, and what they are
told where it cannot be done. The published endpoint resource is in test_contract_v1.py.
"""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from support.api import deliveries, make_endpoint, make_key
from support.client import Client
from support.exchanges import ROOT, Exchanges
from support.receiver import Receiver, Reply, always
from support.server import Server
from support.waiting import until

EVENT = {"type": "order.completed", "payload": {"order": 4711, "total": "99.95"}}
BATCH_BYTES_MAX = 5 * 1024 * 1024
EVENT_BYTES_MAX = (256 + 16) * 1024

pytestmark = pytest.mark.engines("sqlite", "postgres")


@dataclass
class Shop:
    """A project with one tenant, uid `acme`, and a client for each role."""

    root: Client
    id: str
    tenant: str
    project: Client
    owner: Client

    def publish(self, **fields: Any) -> dict[str, Any]:
        """Publishes an event for the tenant."""
        return self.project.post("/v1/events", EVENT | {"tenant": "acme", **fields}).expect(202)

    def delivery(self, url: str, status: str, attempts: int = 1) -> str:
        """An event for a new endpoint at `url`, until its delivery is as told; gives the delivery's path."""
        endpoint = make_endpoint(self.owner, url, retry_schedule=[3_600])["id"]
        self.publish()
        query = f"endpoint={endpoint}&status={status}"

        def found() -> list[dict[str, Any]]:
            return [one for one in deliveries(self.owner, query) if one["attempt_count"] == attempts]

        [delivery] = until(found, f"the delivery is {status}")
        return f"/v1/deliveries/{delivery['id']}"


@pytest.fixture
def shop(shared_server: Server, request: pytest.FixtureRequest) -> Shop:
    """A new project of this test alone, so that no other test's things are in its lists."""
    return shop_in(shared_server, request.node.originalname)


def shop_in(server: Server, name: str, **fields: Any) -> Shop:
    """A new project with its tenant and its keys."""
    root = server.root
    project = root.post("/v1/projects", {"name": name, **fields}).expect(201)["id"]
    made = root.post("/v1/tenants", {"name": "Acme", "uid": "acme", "project": project}).expect(201)
    keys = [make_key(root, "project", project=project), make_key(root, "tenant", project=project, tenant=made["id"])]
    return Shop(root, project, made["id"], *(server.client(key["key"]) for key in keys))


@pytest.fixture(scope="module")
def recorded(engine: str) -> Iterator[Exchanges]:
    """All exchanges of this file, once on each engine."""
    exchanges = Exchanges("v1/resources")
    yield exchanges
    exchanges.close()


def test_health(shared_server: Server, recorded: Exchanges):
    for name in ("healthz", "readyz"):
        recorded.exchange(name, shared_server.client(None), "GET", f"/{name}")


def test_metrics(server: Server, recorded: Exchanges):
    recorded.exchange("metrics", server.root, "GET", "/metrics")
    recorded.exchange("metrics-unauthenticated", server.client(None), "GET", "/metrics")
    recorded.exchange("metrics-forbidden", server.client(make_key(server.root, "project")["key"]), "GET", "/metrics")


def test_projects(shop: Shop, recorded: Exchanges):
    root = shop.root
    made = recorded.exchange("project-create", root, "POST", "/v1/projects", {"name": "shop"}).json()
    recorded.exchange("project-create-sandbox", root, "POST", "/v1/projects", {"name": "trial", "sandbox": True})
    recorded.exchange("project-create-name-taken", root, "POST", "/v1/projects", {"name": "shop"})
    recorded.exchange("project-create-bad", root, "POST", "/v1/projects", {"sandbox": "yes"})
    recorded.exchange("project-list", root, "GET", "/v1/projects?limit=1")
    path = f"/v1/projects/{made['id']}"
    recorded.exchange("project-get", root, "GET", path)
    recorded.exchange("project-get-by-name", root, "GET", "/v1/projects/shop")
    recorded.exchange("project-update", root, "PATCH", path, {"name": "store", "signature_prefix": "X-Store"})
    recorded.exchange("project-update-prefix-back", root, "PATCH", path, {"signature_prefix": None})
    recorded.exchange("project-update-prefix-reserved", root, "PATCH", path, {"signature_prefix": "x-hub"})
    recorded.exchange("project-update-sandbox", root, "PATCH", path, {"sandbox": True})
    recorded.exchange("project-update-formats", root, "PATCH", path, {"payload_formats": {"apps": "apps"}})
    recorded.exchange("project-update-bad-format", root, "PATCH", path, {"payload_formats": {"apps": "xml"}})
    recorded.exchange("project-update-formats-back", root, "PATCH", path, {"payload_formats": {"apps": None}})
    recorded.exchange("project-delete", root, "DELETE", path)
    recorded.exchange("project-get-deleted", root, "GET", path)
    recorded.exchange("project-delete-default", root, "DELETE", "/v1/projects/default")
    recorded.exchange("project-delete-not-empty", root, "DELETE", f"/v1/projects/{shop.id}")
    recorded.exchange("project-forbidden", shop.project, "POST", "/v1/projects", {"name": "mine"})


def test_keys(shop: Shop, recorded: Exchanges):
    root = shop.root
    body = {"role": "project", "project": shop.id, "name": "backend"}
    recorded.exchange("key-create", root, "POST", "/v1/keys", body)
    once = {"Idempotency-Key": "k1"}
    limited = {"role": "tenant", "tenant": "acme", "read_only": True, "expires_at": "2099-12-31T23:59:59Z"}
    made = recorded.exchange("key-create-tenant", shop.project, "POST", "/v1/keys", limited, once).json()
    recorded.exchange("key-create-repeated", shop.project, "POST", "/v1/keys", limited, once)
    recorded.exchange("key-create-bad", root, "POST", "/v1/keys", {"role": "owner"})
    past = {"role": "root", "expires_at": "2020-01-01T00:00Z"}
    recorded.exchange("key-create-expired", root, "POST", "/v1/keys", past)
    recorded.exchange("key-create-above", shop.project, "POST", "/v1/keys", {"role": "root"})
    recorded.exchange("key-list", shop.project, "GET", "/v1/keys?limit=1")
    recorded.exchange("key-revoke", shop.project, "DELETE", f"/v1/keys/{made['id']}")
    recorded.exchange("key-revoke-revoked", shop.project, "DELETE", f"/v1/keys/{made['id']}")
    recorded.exchange("key-forbidden", shop.owner, "GET", "/v1/keys")


def test_tenants(shop: Shop, recorded: Exchanges):
    client, once = shop.project, {"Idempotency-Key": "k1"}
    recorded.exchange("tenant-create", client, "POST", "/v1/tenants", {"name": "Ajax"})
    full = {"name": "Umbra", "uid": "umbra", "metadata": {"plan": "gold"}}
    made = recorded.exchange("tenant-create-full", client, "POST", "/v1/tenants", full, once).json()
    recorded.exchange("tenant-create-repeated", client, "POST", "/v1/tenants", full, once)
    recorded.exchange("tenant-create-uid-taken", client, "POST", "/v1/tenants", full)
    recorded.exchange("tenant-create-bad", client, "POST", "/v1/tenants", {"name": "", "uid": "ten_1", "metadata": []})
    recorded.exchange("tenant-list", client, "GET", "/v1/tenants?limit=2")
    path = f"/v1/tenants/{made['id']}"
    recorded.exchange("tenant-get", client, "GET", path)
    recorded.exchange("tenant-get-by-uid", client, "GET", "/v1/tenants/umbra")
    recorded.exchange("tenant-update", client, "PATCH", path, {"name": "Umbra Ltd", "uid": None, "metadata": None})
    recorded.exchange("tenant-delete", client, "DELETE", path)
    recorded.exchange("tenant-get-deleted", client, "GET", path)
    recorded.exchange("tenant-forbidden", shop.owner, "GET", f"/v1/tenants/{shop.tenant}")


def test_event_types(shop: Shop, recorded: Exchanges):
    client, path = shop.project, "/v1/event-types/order.completed"
    body = {"name": "order.completed", "description": "An order is paid and packed."}
    recorded.exchange("event-type-create", client, "POST", "/v1/event-types", body)
    recorded.exchange("event-type-create-again", client, "POST", "/v1/event-types", body)
    recorded.exchange("event-type-create-bad", client, "POST", "/v1/event-types", {"name": "a b", "description": "x"})
    recorded.exchange("event-type-list", shop.owner, "GET", "/v1/event-types")
    recorded.exchange("event-type-get", shop.owner, "GET", path)
    recorded.exchange("event-type-update", client, "PATCH", path, {"description": "An order has left."})
    recorded.exchange("event-type-delete", client, "DELETE", path)
    recorded.exchange("event-type-get-archived", client, "GET", path)
    recorded.exchange("event-type-list-empty", client, "GET", "/v1/event-types")
    recorded.exchange("event-type-create-archived", client, "POST", "/v1/event-types", body)


def test_event_types_with_schemas(shop: Shop, recorded: Exchanges):
    client, path = shop.project, "/v1/event-types/order.completed"
    item = {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"order": {"type": "integer", "minimum": 1}, "items": {"items": {"$ref": "#/$defs/item"}}},
        "$defs": {"item": item},
    }
    body = {"name": "order.completed", "description": "An order is paid.", "schema": schema, "validate": True}
    recorded.exchange("event-type-create-with-schema", client, "POST", "/v1/event-types", body)
    for name, change in {
        "remote": {"schema": {"items": {"$ref": "https://example.com/item.json"}}},
        "bad": {"schema": {"properties": {"order": {"type": "number", "minimum": "1"}}}},
        "pattern": {"schema": {"properties": {"sku": {"pattern": "^(?=a).*$"}}}},
        "none": {"schema": None},
    }.items():
        recorded.exchange(f"event-type-update-schema-{name}", client, "PATCH", path, change)
    event = EVENT | {"tenant": "acme"}
    bad = event | {"payload": {"order": 4711, "items": [{"sku": "book-1"}, {}]}}
    recorded.exchange("event-publish-against-schema", client, "POST", "/v1/events", bad)
    batch = {"events": [event, bad, event | {"payload": {"order": 0}}]}
    recorded.exchange("batch-publish-against-schema", client, "POST", "/v1/events/batch", batch)
    recorded.exchange("event-type-update-schema", client, "PATCH", path, {"schema": None, "validate": False})
    client.post("/v1/events", bad).expect(202)


def test_events(shop: Shop, recorded: Exchanges):
    client, path = shop.project, "/v1/events"
    make_endpoint(shop.owner, "https://example.com/webhook", events=["nothing.like.it"])
    event = EVENT | {"tenant": "acme"}
    own = event | {"event_id": "order-4711", "occurred_at": "2024-01-01T12:00:00+02:00", "channels": ["eu"]}
    made = recorded.exchange("event-publish", client, "POST", path, own).json()
    recorded.exchange("event-publish-repeated", client, "POST", path, own)
    recorded.exchange("event-publish-id-in-use", client, "POST", path, own | {"payload": {"order": 4712}})
    once = {"Idempotency-Key": "k1"}
    recorded.exchange("event-publish-once", client, "POST", path, event, once)
    recorded.exchange("event-publish-once-repeated", client, "POST", path, event, once)
    recorded.exchange("event-publish-missing-fields", client, "POST", path, {"tenant": "acme"})
    recorded.exchange("event-publish-bad-type", client, "POST", path, event | {"type": "order completed"})
    recorded.exchange("event-publish-without-tenant", client, "POST", path, EVENT)
    recorded.exchange("event-publish-unknown-tenant", client, "POST", path, EVENT | {"tenant": "nobody"})
    recorded.exchange("event-publish-bad-channel", client, "POST", path, event | {"channels": ["eu", "e u"]})
    recorded.exchange("event-publish-not-json", client, "POST", path, b'{"type": "a", "payload": NaN}')
    too_large = {"Content-Length": str(EVENT_BYTES_MAX + 1)}
    recorded.exchange("event-publish-too-large", client, "POST", path, b"", too_large)
    recorded.exchange("event-publish-forbidden", shop.owner, "POST", path, event)
    filters = "type=order.completed&since=2024-01-01T00:00:00Z"
    recorded.exchange("event-list", shop.owner, "GET", f"{path}?{filters}&limit=1")
    recorded.exchange("event-list-bad-filters", shop.owner, "GET", f"{path}?type=a%20b&since=yesterday&until=7")
    recorded.exchange("event-get", shop.owner, "GET", f"{path}/{made['id']}")
    recorded.exchange("event-get-unknown", shop.owner, "GET", f"{path}/{made['id'].replace('evt_', 'msg_')}")


def test_batches(shop: Shop, recorded: Exchanges):
    client, path = shop.project, "/v1/events/batch"
    make_endpoint(shop.owner, "https://example.com/webhook", events=["nothing.like.it"])
    both = [EVENT | {"tenant": "acme", "event_id": f"order-{number}"} for number in (1, 2)]
    recorded.exchange("batch-publish", client, "POST", path, {"events": both})
    recorded.exchange("batch-publish-repeated", client, "POST", path, {"events": both})
    recorded.exchange("batch-publish-empty", client, "POST", path, {"events": []})
    one_bad = [both[0], {"tenant": "acme", "type": "order.completed"}]
    recorded.exchange("batch-publish-one-bad", client, "POST", path, {"events": one_bad})
    too_large = {"Content-Length": str(BATCH_BYTES_MAX + 1)}
    recorded.exchange("batch-publish-too-large", client, "POST", path, b"", too_large)


def test_deliveries(shop: Shop, recorded: Exchanges, receiver: Receiver):
    client, path = shop.owner, "/v1/deliveries"
    delivered = shop.delivery(receiver.url(), "delivered")
    recorded.exchange("delivery-list", client, "GET", f"{path}?status=delivered&type=order.completed")
    recorded.exchange("delivery-list-bad-filters", client, "GET", f"{path}?status=lost&endpoint=ep_1&event=7")
    recorded.exchange("delivery-get", client, "GET", delivered)
    recorded.exchange("delivery-cancel-finished", client, "POST", f"{delivered}/cancel")
    recorded.exchange("delivery-retry", client, "POST", f"{delivered}/retry")
    recorded.exchange("delivery-get-unknown", client, "GET", delivered.replace("dlv_", "evt_"))
    recorded.exchange("delivery-retry-unknown", client, "POST", f"{delivered.replace('dlv_', 'evt_')}/retry")


def test_failed_deliveries(shop: Shop, recorded: Exchanges, receiver: Receiver):
    client, failing = shop.owner, receiver.url("/failing", always(503, body=b"try later"))
    waiting = shop.delivery(failing, "pending")
    recorded.exchange("delivery-get-waiting", client, "GET", waiting)
    endpoint = client.get(waiting).expect(200)["endpoint"]
    client.patch(f"/v1/endpoints/{endpoint}", {"status": "PAUSED"}).expect(200)
    recorded.exchange("delivery-get-held", client, "GET", waiting)
    recorded.exchange("delivery-retry-held", client, "POST", f"{waiting}/retry")
    recorded.exchange("delivery-cancel", client, "POST", f"{waiting}/cancel")
    gone = shop.delivery(receiver.url("/gone", always(410)), "held")
    recorded.exchange("delivery-retry-disabled", client, "POST", f"{gone}/retry")


def test_statistics(shop: Shop, recorded: Exchanges, receiver: Receiver):
    client = shop.owner
    delivered = client.get(shop.delivery(receiver.url(), "delivered")).expect(200)
    made = datetime.fromisoformat(delivered["created_at"]).replace(minute=0, second=0, microsecond=0)
    since, until_ = (f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (made, made + timedelta(hours=1)))
    endpoint, tenant = f"/v1/endpoints/{delivered['endpoint']}/stats", f"/v1/tenants/{shop.tenant}/stats"
    recorded.exchange("endpoint-stats", client, "GET", f"{endpoint}?since={since}&until={until_}")
    shop.delivery(receiver.url("/failing", always(503)), "pending")
    until(lambda: len(deliveries(client, "status=delivered")) == 2, "the first endpoint has both events")
    recorded.exchange("tenant-stats", client, "GET", f"{tenant}?since={since}&until={until_}&bucket=day")
    recorded.exchange("endpoint-stats-bad", client, "GET", f"{endpoint}?since=yesterday&until=7&bucket=minute")
    recorded.exchange("endpoint-stats-unknown", client, "GET", endpoint.replace("ep_", "evt_"))
    recorded.exchange("tenant-stats-unknown", shop.project, "GET", "/v1/tenants/nobody/stats")


def test_erased_content(shop: Shop, recorded: Exchanges, receiver: Receiver):
    client = shop.project
    delivered = shop.delivery(receiver.url("/repeats", lambda request: Reply(body=request.body)), "delivered")
    event = f"/v1/events/{client.get(delivered).expect(200)['event']}"
    recorded.exchange("event-content-erase-forbidden", shop.owner, "DELETE", f"{event}/content")
    recorded.exchange("event-content-erase", client, "DELETE", f"{event}/content")
    recorded.exchange("event-get-erased", shop.owner, "GET", event)
    recorded.exchange("delivery-get-erased", shop.owner, "GET", delivered)
    recorded.exchange("delivery-retry-erased", shop.owner, "POST", f"{delivered}/retry")
    tenant = f"/v1/tenants/{shop.tenant}/content"
    recorded.exchange("tenant-content-erase-forbidden", shop.owner, "DELETE", tenant)
    recorded.exchange("tenant-content-erase", client, "DELETE", tenant)
    recorded.exchange("tenant-content-erase-unknown", client, "DELETE", "/v1/tenants/nobody/content")


def test_a_delivery_in_flight(shop: Shop, recorded: Exchanges, receiver: Receiver):
    gate = threading.Event()
    in_flight = shop.delivery(receiver.url("/slow", lambda _: Reply(gate=gate)), "pending", attempts=0)
    receiver.wait_for(1)
    recorded.exchange("delivery-cancel-in-flight", shop.owner, "POST", f"{in_flight}/cancel")
    gate.set()


def test_a_delivery_in_a_sandbox(shared_server: Server, recorded: Exchanges):
    shop = shop_in(shared_server, "sandbox", sandbox=True)
    simulated = shop.delivery("https://example.com/webhook", "delivered")
    recorded.exchange("delivery-get-simulated", shop.owner, "GET", simulated)


def test_replays(shop: Shop, recorded: Exchanges, receiver: Receiver):
    client, path = shop.owner, "/v1/replays"
    delivered = client.get(shop.delivery(receiver.url(), "delivered")).expect(200)
    body = {"endpoint": delivered["endpoint"], "since": "2024-01-01T00:00:00Z"}
    recorded.exchange("replay-dry-run", client, "POST", path, body | {"status": "delivered", "dry_run": True})
    once = {"Idempotency-Key": "k1"}
    made = recorded.exchange("replay-create", client, "POST", path, body | {"type": "order.completed"}, once).json()
    replay = f"{path}/{made['id']}"
    until(lambda: client.get(replay).expect(200)["status"] == "done", "the replay is done")
    recorded.exchange("replay-create-repeated", client, "POST", path, body | {"type": "order.completed"}, once)
    recorded.exchange("replay-get", client, "GET", replay)
    recorded.exchange("replay-list", client, "GET", f"{path}?limit=1")
    recorded.exchange("replay-cancel-done", client, "POST", f"{replay}/cancel")
    bad = body | {"since": "2024-01-02T00:00:00Z", "until": "2024-01-01T00:00:00Z", "status": "pending", "type": "a b"}
    recorded.exchange("replay-create-bad", client, "POST", path, bad)
    recorded.exchange("replay-create-missing-fields", client, "POST", path, {})
    recorded.exchange("replay-get-unknown", client, "GET", replay.replace("rpl_", "dlv_"))


def test_replays_of_endpoints_that_are_off(shop: Shop, recorded: Exchanges, receiver: Receiver):
    client, path = shop.owner, "/v1/replays"
    off = client.get(shop.delivery(receiver.url("/gone", always(410)), "held")).expect(200)["endpoint"]
    body = {"endpoint": off, "since": "2024-01-01T00:00:00Z"}
    recorded.exchange("replay-create-disabled", client, "POST", path, body)
    client.patch(f"/v1/endpoints/{off}", {"status": "PAUSED"}).expect(200)
    # So many are held that the replay waits for them.
    shop.project.post("/v1/events/batch", {"events": [EVENT | {"tenant": "acme"}] * 1_000}).expect(202)
    replay = f"{path}/{client.post(path, body).expect(202)['id']}"
    until(lambda: client.get(replay).expect(200)["status"] == "running", "the replay runs")
    recorded.exchange("replay-get-held", client, "GET", replay)
    recorded.exchange("replay-cancel", client, "POST", f"{replay}/cancel")
    client.delete(f"/v1/endpoints/{off}").expect(204)
    recorded.exchange("replay-create-deleted", client, "POST", path, body)


def test_operational_endpoints(shop: Shop, recorded: Exchanges, receiver: Receiver):
    client, path = shop.project, "/v1/operational-endpoints"
    recorded.exchange("operational-list-empty", client, "GET", path)
    body = {"name": "alerts", "url": receiver.url("/alerts"), "events": ["delivery.*", "endpoint.disabled"]}
    made = recorded.exchange("operational-create", client, "POST", path, body).json()
    recorded.exchange("operational-create-forbidden", shop.owner, "POST", path, body)
    no_use = body | {"events": ["order.completed"], "channels": ["eu"]}
    recorded.exchange("operational-create-of-no-use", client, "POST", path, no_use)
    recorded.exchange("operational-list", client, "GET", path)
    one = f"{path}/{made['id']}"
    recorded.exchange("operational-get", client, "GET", one)
    recorded.exchange("operational-get-forbidden", shop.owner, "GET", one)
    recorded.exchange("operational-get-as-endpoint", client, "GET", one.replace("operational-", ""))
    recorded.exchange("operational-update", client, "PATCH", one, {"filter": {"tenant.uid": "acme"}})
    imagined = {"type": "delivery.exhausted", "payload": {"tenant": {"uid": "umbra"}}}
    recorded.exchange("operational-match", client, "POST", f"{one}/match", imagined)
    recorded.exchange("operational-rotate-secret", client, "POST", f"{one}/rotate-secret", {})
    recorded.exchange("operational-test", client, "POST", f"{one}/test")
    exhausted = make_endpoint(shop.owner, receiver.url("/failing", always(500)), retry_schedule=[])["id"]
    shop.publish()
    query = f"endpoint={made['id']}&type=delivery.exhausted&status=delivered"
    until(lambda: deliveries(client, query), "what happened is told")
    [told] = deliveries(client, query)
    recorded.exchange("operational-event-get", client, "GET", f"/v1/events/{told['event']}")
    assert [one["endpoint"] for one in deliveries(client)] == [exhausted]
    recorded.exchange("operational-delete", client, "DELETE", one)
    recorded.exchange("operational-get-deleted", client, "GET", one)


def test_audit(shop: Shop, recorded: Exchanges):
    made = make_endpoint(shop.owner, "https://example.com/webhook")
    shop.owner.delete(f"/v1/endpoints/{made['id']}").expect(204)
    recorded.exchange("audit-list", shop.project, "GET", "/v1/audit")
    recorded.exchange("audit-forbidden", shop.owner, "GET", "/v1/audit")


def test_every_operation_of_the_document_is_recorded_where_it_succeeds(shared_server: Server):
    document = shared_server.client(None).get("/openapi/v1.json").expect(200)
    operations = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert len(operations) > 30, operations
    succeeded = set()
    for file in (ROOT / "v1").rglob("*.txt"):
        text = file.read_text()
        [method, target] = text.partition("\n")[0].split(" ", 1)
        if re.search(r"^2\d\d$", text, re.MULTILINE):
            succeeded.add((method, target.partition("?")[0].rstrip("/")))

    def recorded(method: str, path: str) -> bool:
        template = re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
        return any(made == method and template.fullmatch(target) for made, target in succeeded)

    assert not [operation for operation in sorted(operations) if not recorded(*operation)]
