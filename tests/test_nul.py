"""U+0000 in every text that a caller may send: PostgreSQL cannot store it in a text, so no database does."""

import json

import pytest

from support.api import make_endpoint, make_tenant, publish
from support.receiver import Receiver
from support.server import Server

pytestmark = [pytest.mark.engines("sqlite", "postgres"), pytest.mark.usefixtures("unharmed")]

# In the middle, where no trimming takes it away.
NUL = "a\0b"
ESCAPED = "a%00b"


def test_a_field_with_nul_is_named_with_its_rule(shared_server: Server, receiver: Receiver):
    root = shared_server.root
    tenant = make_tenant(root)
    client = root.for_tenant(tenant)
    endpoint = {"name": "receiver", "url": receiver.url()}
    event = {"tenant": tenant, "type": "order.completed", "payload": {}}
    made = f"/v1/endpoints/{make_endpoint(client, receiver.url())['id']}"
    root.post("/v1/event-types", {"name": "nul.described", "description": ""}).expect(201)
    for ask, path, body, field in [
        (root.post, "/v1/projects", {"name": NUL}, "name"),
        (root.post, "/v1/tenants", {"name": NUL}, "name"),
        (root.post, "/v1/tenants", {"name": "Acme", "uid": NUL}, "uid"),
        (root.patch, f"/v1/tenants/{tenant}", {"name": NUL}, "name"),
        (root.post, "/v1/keys", {"role": "root", "name": NUL}, "name"),
        (root.post, "/v1/event-types", {"name": NUL, "description": ""}, "name"),
        (root.post, "/v1/event-types", {"name": "nul", "description": NUL}, "description"),
        (root.patch, "/v1/event-types/nul.described", {"description": NUL}, "description"),
        (client.post, "/v1/endpoints", endpoint | {"name": NUL}, "name"),
        (client.post, "/v1/endpoints", endpoint | {"uid": NUL}, "uid"),
        (client.post, "/v1/endpoints", endpoint | {"description": NUL}, "description"),
        (client.post, "/v1/endpoints", endpoint | {"events": [NUL]}, "events.0"),
        (client.post, "/v1/endpoints", endpoint | {"headers_json": {NUL: "x"}}, f"headers_json.{NUL}"),
        (client.post, "/v1/endpoints", endpoint | {"headers_json": {"x-team": NUL}}, "headers_json.x-team"),
        (client.post, "/v1/endpoints", endpoint | {"secret": NUL}, "secret"),
        (client.post, "/v1/endpoints", endpoint | {"retry_anchor": NUL}, "retry_anchor"),
        (client.post, "/v1/endpoints", endpoint | {"url": f"http://127.0.0.1:9/{NUL}"}, "url"),
        (client.patch, made, {"description": NUL}, "description"),
        (client.patch, made, {"name": NUL}, "name"),
        (root.post, "/v1/events", event | {"type": NUL}, "type"),
        (root.post, "/v1/events", event | {"event_id": NUL}, "event_id"),
    ]:
        assert ask(path, body).fields() == [field], (path, body)


def test_what_nobody_can_be_called_is_not_found(shared_server: Server):
    root = shared_server.root
    for answer in [
        root.get(f"/v1/tenants/{ESCAPED}"),
        root.get(f"/v1/projects/{ESCAPED}"),
        root.get(f"/v1/event-types/{ESCAPED}"),
        root.get(f"/v1/endpoints?tenant={ESCAPED}"),
        root.get(f"/v1/events?project={ESCAPED}"),
        root.get(f"/v1/tenants?project={ESCAPED}"),
        root.post("/v1/events", {"tenant": NUL, "type": "order.completed", "payload": {}}),
        root.post("/v1/keys", {"role": "tenant", "tenant": NUL}),
        root.post("/v1/tenants", {"name": "Acme", "project": NUL}),
    ]:
        answer.problem(404)


def test_no_query_with_nul_breaks_anything(shared_server: Server):
    root = shared_server.root.for_tenant(make_tenant(shared_server.root))
    for path in ("deliveries", "events", "endpoints", "tenants", "keys", "audit", "projects", "event-types"):
        for name in ("cursor", "status", "event", "endpoint", "type", "after", "before", "limit", "event_type"):
            answer = root.get(f"/v1/{path}?{name}={ESCAPED}")
            assert answer.status in (200, 400, 404, 422), (path, name, answer)


def test_an_escape_inside_of_json_is_kept_as_it_was_sent(shared_server: Server, receiver: Receiver):
    root = shared_server.root
    metadata = {"note": NUL}
    made = root.post("/v1/tenants", {"name": "Acme", "metadata": metadata}).expect(201)
    assert root.get(f"/v1/tenants/{made['id']}").expect(200)["metadata"] == metadata
    client = root.for_tenant(made["id"])
    endpoint = make_endpoint(client, receiver.url(), metadata=metadata)
    assert client.get(f"/v1/endpoints/{endpoint['id']}").expect(200)["metadata"] == metadata
    payload = json.dumps({"text": NUL})
    publish(root, made["id"], payload).expect(202)
    assert [request.body for request in receiver.wait_for(1)] == [payload.encode()]


def test_an_idempotency_key_is_a_header_and_holds_no_nul(shared_server: Server):
    root = shared_server.root
    # A raw one never gets as far as a handler; percent-encoding means nothing in a header.
    for _ in range(2):
        root.post("/v1/tenants", {"name": "Acme", "uid": "once"}, {"Idempotency-Key": ESCAPED}).expect(201)
    root.post("/v1/tenants", {"name": "Other"}, {"Idempotency-Key": ESCAPED}).problem(409, "idempotency_key_reused")
