"""JSON Schemas of event types, enforced at publish: what is refused, and that no schema and no payload takes long."""

import json
from typing import Any

import pytest

from support.api import event_text, make_tenant
from support.client import Answer, Client
from support.server import Server

pytestmark = pytest.mark.engines("sqlite", "postgres")


class Types:
    """A new project's event types, and its tenant `acme`."""

    def __init__(self, root: Client, name: str):
        project = root.post("/v1/projects", {"name": name}).expect(201)["id"]
        key = root.post("/v1/keys", {"role": "project", "project": project}).expect(201)["key"]
        self.client = root.with_key(key)
        self.tenant = make_tenant(self.client, uid="acme")

    def make(self, schema: Any, name: str = "order.completed") -> Answer:
        """Registers a type with a schema that is enforced."""
        body = {"name": name, "description": "", "schema": schema, "validate": True}
        return self.client.post("/v1/event-types", body)

    def publish(self, payload: str, name: str = "order.completed") -> Answer:
        """Publishes an event; `payload` is JSON text."""
        return self.client.post("/v1/events", event_text(self.tenant, name, payload))


@pytest.fixture
def types(shared_server: Server, request: pytest.FixtureRequest) -> Types:
    return Types(shared_server.root, "".join(c if c.isalnum() else "-" for c in request.node.name)[-60:])


def test_a_schema_holds_from_its_answer_on_and_after_a_change(types: Types):
    types.make({"required": ["id"]}).expect(201)
    assert types.publish("{}").fields() == ["payload"]
    types.publish('{"id": 1E2}').expect(202)
    types.client.patch("/v1/event-types/order.completed", {"schema": {"required": ["no"]}}).expect(200)
    assert types.publish('{"id": 1}').fields() == ["payload"]
    types.client.patch("/v1/event-types/order.completed", {"validate": False}).expect(200)
    types.publish('{"id": 1}').expect(202)
    types.publish("{}", "order.refunded").expect(202)


@pytest.mark.parametrize("payload", ["1E400", '{"a": "\\ud800"}', "[" * 200 + "]" * 200], ids=range(3))
def test_what_cannot_be_checked_is_refused_only_where_there_is_a_schema(types: Types, payload: str):
    types.make({}).expect(201)
    refused = types.publish(payload)
    assert refused.fields() == ["payload"]
    assert "cannot be checked" in refused.body.decode()
    types.publish(payload, "order.refunded").expect(202)


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"$ref": "http://127.0.0.1:1/schema"}, "schema.$ref"),
        ({"not": {"$ref": "file:///etc/passwd"}}, "schema.not.$ref"),
        ({"properties": {"a": {"pattern": "(a)\\1"}}}, "schema.properties.a.pattern"),
        ({"pattern": "((a{1000}){1000}){1000}"}, "schema.pattern"),
        ({"allOf": [{}] * 3_000}, "schema"),
        ({"description": "x" * 40_000}, "schema"),
    ],
    ids=range(6),
)
def test_a_schema_that_reaches_too_far_is_refused(types: Types, schema: Any, field: str):
    assert types.make(schema).fields() == [field]


def doubling(levels: int) -> Any:
    """Definitions, each of which asks twice for the next one."""
    twice = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": twice | {f"d{levels}": {"type": "null"}}}


def test_a_schema_that_doubles_is_refused(types: Types):
    types.make(doubling(5), "a").expect(201)
    assert types.make(doubling(25), "b").fields() == ["schema"]


def test_payloads_that_would_take_for_ever_are_answered(types: Types):
    again = {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}
    types.make({"anyOf": [again, again, {"type": "string"}]}).expect(201)
    deep = '{"a":' * 120 + "1" + "}" * 120
    assert types.publish(deep).fields() == ["payload"]
    types.publish(deep.replace("1", '"x"')).expect(202)
    types.make({"pattern": "^(a+)+$"}, "text").expect(201)
    assert types.publish(json.dumps("a" * 200_000 + "b"), "text").fields() == ["payload"]
    types.make({"items": {"allOf": [{"not": {"type": "string"}}] * 600}}, "many").expect(201)
    assert types.publish("[" + "0," * 100_000 + "0]", "many").fields() == ["payload"]
    types.publish("[0, 1, 2]", "many").expect(202)
