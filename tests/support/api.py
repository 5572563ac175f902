"""The few calls that most tests start with."""

import json
from typing import Any

from support.client import Answer, Client
from support.server import Server

# An endpoint whose deliveries are tried again soon: a second between attempts.
SOON = [1, 1, 1, 1, 1, 1, 1, 1]


def make_tenant(root: Client, name: str = "Acme", **fields: Any) -> str:
    """Creates a tenant in project `default` and gives its id."""
    return root.post("/v1/tenants", {"name": name, **fields}).expect(201)["id"]


def make_endpoint(client: Client, url: str, **fields: Any) -> dict[str, Any]:
    """Creates an endpoint for the tenant that `client` acts for and gives it as it was answered."""
    return client.post("/v1/endpoints", {"name": "receiver", "url": url, **fields}).expect(201)


def make_key(root: Client, role: str, **fields: Any) -> dict[str, Any]:
    """Creates a key and gives the answer, in which `key` stands this once."""
    return root.post("/v1/keys", {"role": role, **fields}).expect(201)


def event_text(tenant: str, event_type: str, payload: str | bytes, **fields: Any) -> bytes:
    """The body of a publish, joined as text so that nothing parses and writes the payload anew."""
    raw = payload.encode() if isinstance(payload, str) else payload
    named = {"tenant": tenant, "type": event_type, **fields}
    return json.dumps(named).encode()[:-1] + b', "payload": ' + raw + b"}"


def publish(
    client: Client, tenant: str, payload: str | bytes = "{}", event_type: str = "order.completed", **fields: Any
) -> Answer:
    """Publishes one event; `payload` is JSON text."""
    return client.post("/v1/events", event_text(tenant, event_type, payload, **fields))


def deliveries(client: Client, query: str = "") -> list[dict[str, Any]]:
    """Every delivery that `query` selects, newest first."""
    return client.pages(f"/v1/deliveries?{query}" if query else "/v1/deliveries")


def stored(server: Server, tenant: str) -> int:
    """How many events a tenant has."""
    return len(server.root.for_tenant(tenant).pages("/v1/events"))
