"""Contract subscriptions, as its customers see it: every operation and every error as a recorded exchange, deliveries
verified with nothing but the `client_secret`, and what the other contracts make of a subscription.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.api import deliveries, make_key, make_tenant, publish
from support.client import Answer, Client, Json
from support.exchanges import Exchanges
from support.receiver import Receiver, always, in_turn
from support.server import ROOT_KEY, Server
from support.signatures import line, verify, verify_in_javascript
from support.waiting import until

PATH = "/api/v1/webhooks"
URL = "https://example.com/webhooks"
ENDPOINTS_MAX = 4

pytestmark = pytest.mark.engines("sqlite", "postgres")


def with_key(server: Server, key: str) -> Client:
    """A client as the contract's customers write it: the key in `X-API-Key`."""
    return Client(server.root.host, server.port, None, {"X-API-Key": key})


@pytest.fixture
def tenant(shared_server: Server) -> str:
    """A new tenant."""
    return make_tenant(shared_server.root)


@pytest.fixture
def client(shared_server: Server, tenant: str) -> Client:
    """Its client."""
    return with_key(shared_server, make_key(shared_server.root, "tenant", tenant=tenant)["key"])


def make(client: Client, url: str = URL, **fields: Any) -> dict[str, Any]:
    """Makes a subscription and gives it as it was answered."""
    return client.post(f"{PATH}/", {"url": url, **fields}).expect(200)


def register(server: Server, *names: str) -> None:
    """Makes sure that event types are registered in project `default`."""
    for name in names:
        answer = server.root.post("/v1/event-types", {"name": name, "description": f"About {name}."})
        assert answer.status in (201, 409), answer


def in_v1(client: Client, number: int) -> dict[str, Any]:
    """A subscription as v1 shows it."""
    [endpoint] = [one for one in client.get("/v1/endpoints").expect(200) if one["number"] == number]
    return endpoint


# --- Recorded exchanges ---------------------------------------------------------------------------------------------

Exchange = Callable[..., Answer]


def test_every_operation_and_every_error_is_as_recorded(servers: Callable[..., Server]):
    server = servers(options=["--endpoints-per-tenant-max", str(ENDPOINTS_MAX)]).start()
    register(server, "order.completed", "order.refunded", "order.archived")
    server.root.delete("/v1/event-types/order.archived").expect(204)
    exchanges = Exchanges("subscriptions")
    key = make_key(server.root, "tenant", tenant=make_tenant(server.root, uid="acme"))["key"]

    def exchange(
        name: str, method: str, path: str, body: Json | bytes | None = None, key: str | None = key, **headers: str
    ) -> Answer:
        sent = {"X-API-Key": key} if key else {}
        named = {header.replace("_", "-"): value for header, value in headers.items()}
        return exchanges.exchange(name, server.client(None), method, PATH + path, body, sent | named)

    operations(exchange)
    paths_and_methods(exchange)
    faulty_fields(exchange)
    faulty_bodies(exchange)
    keys(exchange, server)
    limits(exchange, with_key(server, key))
    exchanges.close()


def operations(exchange: Exchange) -> None:
    """What the published text shows, in its order."""
    exchange("types", "GET", "/types")
    exchange("list-empty", "GET", "/")
    exchange("create", "POST", "/", {"url": "https://example.com"})
    exchange("create-described", "POST", "", {"url": f"{URL}?a=1#b", "description": "Bücher 🪝"})
    once = {"Idempotency_Key": "3b7e"}
    exchange("create-once", "POST", "/", {"url": URL}, **once)
    exchange("create-once-repeated", "POST", "/", {"url": URL}, **once)
    exchange("create-once-otherwise", "POST", "/", {"url": "https://example.org"}, **once)
    exchange("list", "GET", "/")
    exchange("get", "GET", "/2")
    exchange("get-trailing-slash", "GET", "/2/")
    exchange("head", "HEAD", "/2")
    everything = {"events": ["order.completed"], "url": "https://example.org", "description": "New", "enabled": False}
    exchange("patch", "PATCH", "/2", everything)
    exchange("patch-event-pattern", "PATCH", "/2", {"events": ["order.*"]})
    exchange("patch-nothing", "PATCH", "/2", {})
    exchange("patch-nulls", "PATCH", "/2", dict.fromkeys(everything))
    exchange("patch-unknown-fields", "PATCH", "/2", {"id": 7, "created_at": None, "secret": 1})
    exchange("delete", "DELETE", "/2")
    exchange("get-deleted", "GET", "/2")
    exchange("patch-deleted", "PATCH", "/2", {})
    exchange("delete-deleted", "DELETE", "/2")


def paths_and_methods(exchange: Exchange) -> None:
    """What names nothing, and what cannot be done."""
    exchange("get-unknown", "GET", "/9")
    exchange("get-beyond-64-bits", "GET", "/18446744073709551617")
    exchange("get-negative", "GET", "/-1")
    exchange("get-no-integer", "GET", "/abc")
    exchange("patch-no-integer", "PATCH", "/1.5", {})
    exchange("delete-no-integer", "DELETE", "/wh-1")
    exchange("path-unknown", "GET", "/1/test")
    exchange("method-wrong-list", "PUT", "/", {})
    exchange("method-wrong-one", "POST", "/1", {})
    exchange("method-wrong-types", "DELETE", "/types")


def faulty_fields(exchange: Exchange) -> None:
    """Values that are refused."""
    exchange("create-missing-url", "POST", "/", {"description": "d"})
    exchange("create-null-url", "POST", "/", {"url": None})
    exchange("create-wrong-types", "POST", "/", {"url": 7, "description": False})
    exchange("create-empty-url", "POST", "/", {"url": ""})
    exchange("create-plain-http", "POST", "/", {"url": "http://example.com"})
    exchange("create-private-address", "POST", "/", {"url": "https://10.0.0.1/"})
    exchange("create-no-url", "POST", "/", {"url": "example"})
    exchange("create-url-too-long", "POST", "/", {"url": "https://example.com/".ljust(2_084, "a")})
    exchange("create-description-too-long", "POST", "/", {"url": URL, "description": "🪝" * 1_001})
    exchange("patch-wrong-types", "PATCH", "/1", {"events": 1, "url": [], "description": {}, "enabled": "yes"})
    exchange("patch-event-of-wrong-type", "PATCH", "/1", {"events": ["order.completed", 7]})
    exchange("patch-event-unknown", "PATCH", "/1", {"events": ["order.completed", "order.lost"]})
    exchange("patch-event-archived", "PATCH", "/1", {"events": ["order.archived"]})
    exchange("patch-event-star", "PATCH", "/1", {"events": ["*"]})
    exchange("patch-event-bad-pattern", "PATCH", "/1", {"events": ["order.*", "*.paid"]})
    exchange("patch-events-empty", "PATCH", "/1", {"events": []})
    exchange("patch-two-faults", "PATCH", "/1", {"url": "http://example.com", "description": "d" * 1_001})


def faulty_bodies(exchange: Exchange) -> None:
    """What is not the JSON that is asked for."""
    exchange("create-malformed", "POST", "/", b'{"url": ')
    exchange("patch-malformed", "PATCH", "/1", b"enabled=false")
    exchange("create-array", "POST", "/", [{"url": URL}])
    exchange("create-media-type", "POST", "/", b"url=x", Content_Type="application/x-www-form-urlencoded")
    exchange("create-encoded", "POST", "/", b"\x1f\x8b", Content_Encoding="gzip")
    exchange("create-idempotency-key-empty", "POST", "/", {"url": URL}, Idempotency_Key="")


def keys(exchange: Exchange, server: Server) -> None:
    """Who may do what."""
    root = server.root
    revoked = make_key(root, "tenant", tenant="acme")
    root.delete(f"/v1/keys/{revoked['id']}").expect(204)
    reader = make_key(root, "tenant", tenant="acme", read_only=True)["key"]
    foreign = make_key(root, "tenant", tenant=make_tenant(root, uid="ajax"))["key"]
    exchange("key-missing", "GET", "/", key=None)
    exchange("key-wrong", "GET", "/1", key="nonsense")
    exchange("key-revoked", "POST", "/", {"url": URL}, key=revoked["key"])
    exchange("keys-two-different", "GET", "/", Authorization="Bearer other")
    exchange("key-read-only-reads", "GET", "/1", key=reader)
    exchange("key-read-only-creates", "POST", "/", {"url": URL}, key=reader)
    exchange("key-read-only-changes", "PATCH", "/1", {"enabled": False}, key=reader)
    exchange("key-read-only-deletes", "DELETE", "/1", key=reader)
    exchange("key-foreign-gets", "GET", "/1", key=foreign)
    exchange("key-foreign-changes", "PATCH", "/1", {"enabled": False}, key=foreign)
    exchange("key-foreign-deletes", "DELETE", "/1", key=foreign)
    exchange("key-foreign-lists", "GET", "/", key=foreign)
    exchange("key-root-without-tenant", "GET", "/", key=ROOT_KEY)
    exchange("key-root-with-tenant", "GET", "/1", key=ROOT_KEY, X_Tenant="acme")
    exchange("key-root-with-unknown-tenant", "GET", "/", key=ROOT_KEY, X_Tenant="nobody")


def limits(exchange: Exchange, customer: Client) -> None:
    """Too many."""
    while len(customer.get(f"{PATH}/").expect(200)) < ENDPOINTS_MAX:
        make(customer)
    exchange("create-beyond-the-limit", "POST", "/", {"url": URL})
    while customer.get(f"{PATH}/types").headers["x-ratelimit-remaining"] != "0":
        pass
    exchange("rate-limited", "GET", "/types")


# --- Rate limits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "most"),
    [("GET", "/types", 50), ("GET", "/", 50), ("POST", "/", 50), ("PATCH", "/1", 100), ("DELETE", "/1", 50)],
)
def test_the_last_request_of_a_minute_is_answered_and_the_next_is_not(
    client: Client, method: str, path: str, most: int
):
    statuses = [client.request(method, PATH + path, {}) for _ in range(most - 1)]
    last = client.request(method, f"{PATH}{path}".rstrip("/"), {})
    assert 429 not in [answer.status for answer in [*statuses, last]]
    assert last.headers["x-ratelimit-limit"] == str(most) and last.headers["x-ratelimit-remaining"] == "0"
    assert last.headers["ratelimit-policy"] == f'"default";q={most};w=60'
    assert re.fullmatch(r'"default";r=0;t=\d\d', last.headers["ratelimit"])
    refused = client.request(method, PATH + path, {})
    assert list(refused.expect(429)) == ["message"]
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert last.headers.keys() & {"ratelimit", "x-ratelimit-limit"} <= refused.headers.keys()
    # Another operation has its own count.
    assert client.get(f"{PATH}/1").status == 404


# --- Numbers --------------------------------------------------------------------------------------------------------


def test_numbers_are_given_once_however_many_ask_at_the_same_time(client: Client):
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda _: make(client)["id"], range(20)))
    assert sorted(made) == list(range(1, 21))
    with ThreadPoolExecutor(10) as pool:
        gone = list(pool.map(lambda number: client.delete(f"{PATH}/{number}").status, range(11, 21)))
    assert gone == [204] * 10
    assert make(client)["id"] == 21
    listed = [one["id"] for one in client.get(PATH).expect(200)]
    assert listed[0] == 21 and sorted(listed) == [*range(1, 11), 21]


# --- Deliveries -----------------------------------------------------------------------------------------------------


def test_a_receiver_verifies_with_nothing_but_the_client_secret(
    shared_server: Server, receiver: Receiver, client: Client, tenant: str
):
    secret = make(client, receiver.url())["client_secret"]
    payload = '{"order": 7, "note": "Bücher 🪝", "total": 1.50}'
    event = publish(shared_server.root, tenant, payload).expect(202)
    [request] = receiver.wait_for(1)
    assert (request.method, request.body) == ("POST", payload.encode())
    verify(secret, request)
    assert verify_in_javascript([line(secret, request)]) == 1
    assert request.webhook_id == event["id"]
    others = [name.lower() for name, _ in request.headers if "webhook" in name.lower()]
    assert sorted(others) == ["webhook-id", "webhook-loop", "webhook-signature", "webhook-timestamp"]
    with pytest.raises(Exception, match="(?i)signature"):
        verify(make(client)["client_secret"], request)


def test_events_narrow_what_is_delivered_and_null_widens_it_again(
    shared_server: Server, receiver: Receiver, client: Client, tenant: str
):
    root = shared_server.root
    register(shared_server, "order.completed", "order.refunded")
    path = f"{PATH}/{make(client, receiver.url())['id']}"
    client.patch(path, {"events": ["order.refunded"]}).expect(200)
    for event_type, count in [("order.completed", 0), ("order.refunded", 1), ("never.registered", 0)]:
        assert publish(root, tenant, event_type=event_type).expect(202)["deliveries"] == count
    client.patch(path, {"description": "the events stay"}).expect(200)
    assert publish(root, tenant, event_type="order.completed").expect(202)["deliveries"] == 0
    client.patch(path, {"events": None}).expect(200)
    for event_type in ("order.completed", "never.registered"):
        assert publish(root, tenant, event_type=event_type).expect(202)["deliveries"] == 1
    assert len(receiver.wait_for(3)) == 3


def test_what_its_receiver_gave_up_is_still_switched_on_and_resumes(
    shared_server: Server, receiver: Receiver, client: Client, tenant: str
):
    root = shared_server.root
    url = receiver.url("/gone", in_turn([410, 200]))
    path = f"{PATH}/{make(client, url)['id']}"
    lost = publish(root, tenant).expect(202)["id"]
    until(lambda: in_v1(client, 1)["status"] == "DISABLED", "the endpoint is disabled")
    assert in_v1(client, 1)["disabled_reason"] == "gone"
    assert client.get(path).expect(200)["enabled"] is True
    assert [one["enabled"] for one in client.get(PATH).expect(200)] == [True]
    # Disabled: new events do not match, and what drew the 410 waits.
    assert publish(root, tenant).expect(202)["deliveries"] == 0
    assert [one["status"] for one in deliveries(client)] == ["held"]
    assert client.patch(path, {"enabled": False}).expect(200)["enabled"] is False
    assert in_v1(client, 1)["disabled_reason"] == "owner"
    assert client.patch(path, {"enabled": True}).expect(200)["enabled"] is True
    until(lambda: [one["status"] for one in deliveries(client)] == ["delivered"], "what was held is delivered")
    assert [request.webhook_id for request in receiver.requests("/gone")] == [lost, lost]
    assert (in_v1(client, 1)["status"], in_v1(client, 1)["disabled_reason"]) == ("ACTIVE", None)


def test_switching_on_resumes_directly_what_its_receiver_gave_up(
    shared_server: Server, receiver: Receiver, client: Client, tenant: str
):
    path = f"{PATH}/{make(client, receiver.url('/gone', in_turn([410, 200])))['id']}"
    publish(shared_server.root, tenant).expect(202)
    until(lambda: in_v1(client, 1)["status"] == "DISABLED", "the endpoint is disabled")
    # It shows true already; sending it resumes all the same.
    assert client.patch(path, {"enabled": True}).expect(200)["enabled"] is True
    until(lambda: [one["status"] for one in deliveries(client)] == ["delivered"], "what was held is delivered")


def test_what_v1_paused_stays_paused_when_it_is_switched_off_and_delivers_when_it_is_switched_on(
    shared_server: Server, receiver: Receiver, client: Client, tenant: str
):
    root = shared_server.root
    path = f"{PATH}/{make(client, receiver.url())['id']}"
    client.patch(f"/v1/endpoints/{in_v1(client, 1)['id']}", {"status": "PAUSED"}).expect(200)
    assert client.patch(path, {"enabled": False}).expect(200)["enabled"] is False
    assert in_v1(client, 1)["status"] == "PAUSED"
    # Paused, not disabled: new events still match.
    held = [publish(root, tenant, str(number)).expect(202)["id"] for number in range(3)]
    assert [one["status"] for one in deliveries(client)] == ["held"] * 3
    assert client.patch(path, {"enabled": True}).expect(200)["enabled"] is True
    assert {request.webhook_id for request in receiver.wait_for(3)} == set(held)


def test_what_is_deleted_is_delivered_to_no_more(
    shared_server: Server, receiver: Receiver, client: Client, tenant: str
):
    path = f"{PATH}/{make(client, receiver.url('/hook', always(500)))['id']}"
    publish(shared_server.root, tenant).expect(202)
    receiver.wait_for(1)
    assert client.delete(f"{path}/").body == b""
    until(lambda: [one["status"] for one in deliveries(client)] == ["cancelled"], "what was unfinished is cancelled")
    assert publish(shared_server.root, tenant).expect(202)["deliveries"] == 0
    assert len(receiver.requests()) == 1
