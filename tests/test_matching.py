"""Which endpoints an event goes to: prefixes of event types, channels, filters."""

import json

import pytest

from support.api import make_endpoint, make_tenant, publish
from support.client import Client
from support.receiver import Receiver
from support.server import Server

pytestmark = pytest.mark.engines("sqlite", "postgres")


@pytest.fixture
def tenant(shared_server: Server) -> str:
    """A new tenant's id."""
    return make_tenant(shared_server.root)


@pytest.fixture
def client(shared_server: Server, tenant: str) -> Client:
    """A root client that acts for the tenant."""
    return shared_server.root.for_tenant(tenant)


# --- Prefixes ------------------------------------------------------------------------------------------------------


def test_a_prefix_gets_all_below_it_and_nothing_beside_it(client: Client, tenant: str, receiver: Receiver):
    below = make_endpoint(client, receiver.url("/below"), events=["order.*"])
    assert below["events"] == ["order.*"]
    make_endpoint(client, receiver.url("/exact"), events=["order.paid", "invoice.*"])
    for event_type, deliveries in {"order.paid": 2, "order.refund.failed": 1, "order": 0, "orders.paid": 0}.items():
        assert publish(client, tenant, event_type=event_type).expect(202)["deliveries"] == deliveries, event_type
    arrived = sorted(request.path for request in receiver.wait_for(3))
    assert arrived == ["/below", "/below", "/exact"]
    changed = client.patch(f"/v1/endpoints/{below['id']}", {"events": ["user.*"]}).expect(200)
    assert changed["events"] == ["user.*"]
    assert publish(client, tenant, event_type="order.paid").expect(202)["deliveries"] == 1
    assert publish(client, tenant, event_type="user.made").expect(202)["deliveries"] == 1


@pytest.mark.parametrize("pattern", ["order*", "*.paid", "order.*.late", "order.**", ".*", "**"])
def test_a_star_stands_only_behind_a_prefix(client: Client, pattern: str):
    body = {"name": "a", "url": "https://example.com/", "events": ["user.made", pattern]}
    assert client.post("/v1/endpoints", body).fields() == ["events.1"]


# --- Channels ------------------------------------------------------------------------------------------------------


def test_an_endpoint_with_channels_gets_only_events_that_have_one_of_them(
    client: Client, tenant: str, receiver: Receiver
):
    make_endpoint(client, receiver.url("/all"))
    some = make_endpoint(client, receiver.url("/some"), channels=["eu", "us"])
    assert some["channels"] == ["eu", "us"]
    for channels, deliveries in [(None, 1), (["asia"], 1), (["asia", "us"], 2), (["EU"], 1)]:
        event = publish(client, tenant, channels=channels).expect(202)
        assert event["deliveries"] == deliveries, channels
        assert client.get(f"/v1/events/{event['id']}").expect(200)["channels"] == (channels or [])
    assert sorted(request.path for request in receiver.wait_for(5)) == ["/all"] * 4 + ["/some"]
    assert client.patch(f"/v1/endpoints/{some['id']}", {"channels": None}).expect(200)["channels"] is None
    assert publish(client, tenant).expect(202)["deliveries"] == 2


def test_channels_of_each_event_of_a_batch_count_for_itself(client: Client, tenant: str):
    make_endpoint(client, "https://example.com/hook", channels=["eu"])
    items = [{"tenant": tenant, "type": "a", "payload": 1, "channels": channels} for channels in (["eu"], [], ["us"])]
    answered = client.post("/v1/events/batch", {"events": items}).expect(202)
    assert [event["deliveries"] for event in answered] == [1, 0, 0]
    items[2]["channels"] = ["e u"]
    assert client.post("/v1/events/batch", {"events": items}).fields() == ["events.2.channels.0"]


# --- Filters -------------------------------------------------------------------------------------------------------


def test_an_endpoint_with_a_filter_gets_only_payloads_for_which_it_holds(
    client: Client, tenant: str, receiver: Receiver
):
    wanted = {"data.total": {"$gte": 100}, "data.items.sku": {"$startsWith": "book-"}}
    endpoint = make_endpoint(client, receiver.url("/books"), filter=wanted)
    assert endpoint["filter"] == wanted
    for payload, deliveries in [
        ('{"data": {"total": 100.0, "items": [{"sku": "pen-1"}, {"sku": "book-7"}]}}', 1),
        ('{"data": {"total": 99, "items": [{"sku": "book-7"}]}}', 0),
        ('{"data": {"total": 100, "items": [{"sku": "pen-1"}]}}', 0),
        ('{"data": {"total": 1E400, "items": {"sku": "book-"}, "text": "\\ud800"}}', 1),
        ("[]", 0),
        ('"text"', 0),
    ]:
        event = publish(client, tenant, payload).expect(202)
        assert event["deliveries"] == deliveries, payload
        body = {"type": "order.completed", "payload": 0}
        asked = json.dumps(body).replace('"payload": 0', f'"payload": {payload}')
        told = client.post(f"/v1/endpoints/{endpoint['id']}/match", asked.encode()).expect(200)
        assert told["matches"] == bool(deliveries), told
    bodies = sorted(request.body for request in receiver.wait_for(2))
    assert bodies[0].startswith(b'{"data": {"total": 100.0') and b"1E400" in bodies[1]
    assert client.patch(f"/v1/endpoints/{endpoint['id']}", {"filter": None}).expect(200)["filter"] is None
    assert publish(client, tenant, "[]").expect(202)["deliveries"] == 1


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ('{"a": {"$regex": "(a+)+$"}}', "filter.a.$regex"),
        ('{"$where": "1"}', "filter.$where"),
        ('{"a": 1, "a": 2}', "filter.a"),
        ('{"a": {"$in": []}}', "filter.a.$in"),
        ('{"$not":' * 100 + "{}" + "}" * 100, "filter" + ".$not" * 8),
        ('{"$and":[' * 500 + "{}" + "]}" * 500, "filter"),
        ('{"a":{"$in":[' * 10_000, None),
        ('{"a": "' + "x" * 100_000 + '"}', "filter"),
        ('{"' + "a." * 16 + 'a": 1}', "filter." + "a." * 16 + "a"),
    ],
    ids=range(9),
)
def test_a_filter_that_asks_for_too_much_is_refused_at_once(client: Client, bad: str, field: str | None):
    """Hostile case AP-22."""
    body = ('{"name": "a", "url": "https://example.com/", "filter": ' + bad + "}").encode()
    answer = client.post("/v1/endpoints", body)
    if field is None:
        answer.problem(400, "malformed_json")
    else:
        assert answer.fields() == [field]
