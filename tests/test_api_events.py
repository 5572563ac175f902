"""Publishing, delivering, and what is done about deliveries."""

import threading

import pytest

from support.api import SOON, deliveries, make_endpoint, make_key, make_tenant, publish
from support.client import Client
from support.ports import free_port
from support.receiver import Receiver, Reply, always, in_turn
from support.server import Server
from support.waiting import observe_for, until

ITEM = {
    "id",
    "event",
    "event_type",
    "endpoint",
    "tenant",
    "status",
    "reason",
    "trigger",
    "attempt_count",
    "created_at",
    "next_attempt_at",
    "finished_at",
    "payload_gone",
}
EVENT = {"id", "event_id", "type", "tenant", "deliveries", "created_at"}

pytestmark = pytest.mark.engines("sqlite", "postgres")


@pytest.fixture
def tenant(shared_server: Server) -> str:
    """A new tenant's id."""
    return make_tenant(shared_server.root)


@pytest.fixture
def client(shared_server: Server, tenant: str) -> Client:
    """A root client that acts for the tenant."""
    return shared_server.root.for_tenant(tenant)


def reaches(client: Client, status: str, query: str = "") -> dict:
    """Waits until the only delivery has `status`, and gives it."""

    def found() -> dict | None:
        [delivery] = deliveries(client, query)
        return delivery if delivery["status"] == status else None

    return until(found, f"the delivery is {status}")


def detail(client: Client, delivery: dict) -> dict:
    """A delivery with its attempts."""
    return client.get(f"/v1/deliveries/{delivery['id']}").expect(200)


# --- Events --------------------------------------------------------------------------------------------------------


def test_a_published_event_answers_what_it_became(client: Client, tenant: str, receiver: Receiver):
    make_endpoint(client, receiver.url("/a"))
    make_endpoint(client, receiver.url("/b"), events=["order.completed"])
    make_endpoint(client, receiver.url("/c"), events=["order.refunded"])
    event = publish(client, tenant, '{"n":1}', event_id="mine-1").expect(202)
    assert event.keys() == EVENT, event.keys() ^ EVENT
    assert event["id"].startswith("evt_") and "." not in event["id"]
    assert (event["event_id"], event["type"], event["tenant"], event["deliveries"]) == (
        "mine-1",
        "order.completed",
        tenant,
        2,
    )
    arrived = receiver.wait_for(2)
    assert {(request.path, request.webhook_id) for request in arrived} == {("/a", event["id"]), ("/b", event["id"])}
    assert client.get(f"/v1/events/{event['id']}").expect(200)["id"] == event["id"]
    assert [listed["id"] for listed in client.pages("/v1/events")] == [event["id"]]


def test_an_event_that_nobody_wants_is_accepted(client: Client, tenant: str):
    event = publish(client, tenant).expect(202)
    assert (event["deliveries"], event["event_id"]) == (0, None)


def test_the_same_event_id_answers_the_first_event_and_sends_once(client: Client, tenant: str, receiver: Receiver):
    make_endpoint(client, receiver.url())
    first = publish(client, tenant, '{"n":1}', event_id="once").expect(202)
    assert publish(client, tenant, '{"n":1}', event_id="once").expect(200) == first
    publish(client, tenant, '{"n":2}', event_id="once").problem(409)
    publish(client, tenant, '{"n": 1}', event_id="once").problem(409)
    publish(client, tenant, '{"n":1}', event_type="other", event_id="once").problem(409)
    reaches(client, "delivered")
    assert len(receiver.requests()) == 1


def test_the_same_event_id_of_two_tenants_is_two_events(shared_server: Server, client: Client, tenant: str):
    other = make_tenant(shared_server.root)
    first = publish(shared_server.root, tenant, event_id="shared").expect(202)
    assert publish(shared_server.root, other, event_id="shared").expect(202)["id"] != first["id"]


def test_a_batch_answers_in_order_and_may_repeat_an_event(client: Client, tenant: str):
    first = publish(client, tenant, "0", event_id="b-0").expect(202)
    items = [{"tenant": tenant, "type": "order.completed", "payload": n, "event_id": f"b-{n}"} for n in range(5)]
    answered = client.post("/v1/events/batch", {"events": items}).expect(202)
    assert [event["event_id"] for event in answered] == [f"b-{n}" for n in range(5)]
    assert answered[0]["id"] == first["id"] and len({event["id"] for event in answered}) == 5


@pytest.mark.parametrize(
    ("body", "field"), [({"type": "a"}, "payload"), ({"payload": 1}, "type")], ids=["no payload", "no type"]
)
def test_an_incomplete_event_is_422_and_named(client: Client, tenant: str, body: dict, field: str):
    assert client.post("/v1/events", {"tenant": tenant} | body).fields() == [field]


def test_an_unknown_tenant_is_404(shared_server: Server):
    publish(shared_server.root, "nobody").problem(404)
    publish(shared_server.root, "ten_01890a5d-ac96-774b-bcce-b302099a8057").problem(404)


# --- Deliveries ----------------------------------------------------------------------------------------------------


def test_a_delivery_shows_what_was_sent_and_answered(client: Client, tenant: str, receiver: Receiver):
    script = always(200, body=b"thanks", headers=(("X-Answer", "yes"),))
    endpoint = make_endpoint(
        client, receiver.url("/hook", script), headers_json={"X-Team": "red", "X-Api-Key": "k-123456"}
    )
    event = publish(client, tenant, '{"n":1}').expect(202)
    item = reaches(client, "delivered")
    assert item.keys() == ITEM, item.keys() ^ ITEM
    assert (item["event"], item["endpoint"], item["tenant"]) == (event["id"], endpoint["id"], tenant)
    assert (item["event_type"], item["trigger"], item["attempt_count"]) == ("order.completed", "event", 1)
    assert item["next_attempt_at"] is None and item["finished_at"] is not None and item["reason"] is None
    [request] = receiver.requests()
    assert (request.header("x-team"), request.header("x-api-key")) == ("red", "k-123456")
    assert request.header("accept-encoding") is None and request.header("cookie") is None
    shown = detail(client, item)
    [attempt] = shown.pop("attempts")
    assert shown == item
    text = str(attempt)
    for word in ("thanks", "127.0.0.1", "red", event["id"], "***"):
        assert word in text, (word, attempt)
    assert "k-123456" not in text


def test_deliveries_are_found_by_each_filter(client: Client, tenant: str, receiver: Receiver):
    good = make_endpoint(client, receiver.url("/good"))["id"]
    bad = make_endpoint(client, receiver.url("/bad", always(500)), retry_schedule=[])["id"]
    first = publish(client, tenant, event_type="a.b").expect(202)["id"]
    publish(client, tenant, event_type="c.d").expect(202)
    until(lambda: not deliveries(client, "status=pending"), "nothing is pending")
    assert len(deliveries(client)) == 4
    assert {item["endpoint"] for item in deliveries(client, f"endpoint={good}")} == {good}
    assert {item["event"] for item in deliveries(client, f"event={first}")} == {first}
    assert {item["event_type"] for item in deliveries(client, "type=c.d")} == {"c.d"}
    assert {item["endpoint"] for item in deliveries(client, "status=delivered")} == {good}
    exhausted = deliveries(client, f"status=exhausted&event={first}")
    assert [(item["endpoint"], item["reason"]) for item in exhausted] == [(bad, "schedule_ended")]
    assert deliveries(client, "until=2020-01-01T00:00:00Z") == []
    assert len(deliveries(client, "since=2020-01-01T00:00:00Z")) == 4
    assert client.get("/v1/deliveries?status=lost").fields() == ["status"]
    assert client.get("/v1/deliveries?since=yesterday").fields() == ["since"]


def test_a_failed_delivery_is_tried_again_with_the_same_id_and_body(client: Client, tenant: str, receiver: Receiver):
    make_endpoint(client, receiver.url("/hook", in_turn([500, 503, 200])), retry_schedule=SOON)
    event = publish(client, tenant, '{ "n" : 1.0 }').expect(202)["id"]
    delivered = reaches(client, "delivered")
    assert delivered["attempt_count"] == 3
    requests = receiver.requests()
    assert {(request.webhook_id, request.body) for request in requests} == {(event, b'{ "n" : 1.0 }')}
    attempts = detail(client, delivered)["attempts"]
    assert sorted(
        attempt["status_code"] if "status_code" in attempt else attempt["status"] for attempt in attempts
    ) == [200, 500, 503]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 401, 404, 409, 500])
def test_anything_but_2xx_is_a_failure_and_no_redirect_is_followed(
    client: Client, tenant: str, receiver: Receiver, status: int
):
    elsewhere = receiver.url("/elsewhere")
    script = always(status, headers=(("Location", elsewhere),))
    make_endpoint(client, receiver.url("/hook", script), retry_schedule=[])
    publish(client, tenant).expect(202)
    reaches(client, "exhausted")
    assert len(receiver.requests("/hook")) == 1 and receiver.requests("/elsewhere") == []


def test_gone_disables_the_endpoint_and_holds_what_is_unfinished(client: Client, tenant: str, receiver: Receiver):
    endpoint = make_endpoint(client, receiver.url("/hook", always(410)), retry_schedule=SOON)
    path = f"/v1/endpoints/{endpoint['id']}"
    publish(client, tenant).expect(202)
    held = reaches(client, "held")
    assert held["reason"] == "endpoint_disabled"
    shown = client.get(path).expect(200)
    assert shown["status"] == "DISABLED" and shown["disabled_reason"] is not None
    assert publish(client, tenant).expect(202)["deliveries"] == 0
    client.post(f"/v1/deliveries/{held['id']}/retry").problem(409)
    receiver.scripts["/hook"] = always(200)
    assert client.patch(path, {"status": "ACTIVE"}).expect(200)["disabled_reason"] is None
    reaches(client, "delivered")


def test_a_paused_endpoint_holds_and_resumes_oldest_first(client: Client, tenant: str, receiver: Receiver):
    endpoint = make_endpoint(client, receiver.url(), max_in_flight=1)
    path = f"/v1/endpoints/{endpoint['id']}"
    client.patch(path, {"status": "PAUSED"}).expect(200)
    ids = [publish(client, tenant, str(n)).expect(202)["id"] for n in range(5)]
    held = deliveries(client)
    assert [(item["status"], item["reason"], item["next_attempt_at"]) for item in held] == [
        ("held", "endpoint_paused", None)
    ] * 5
    assert receiver.requests() == []
    client.patch(path, {"status": "ACTIVE"}).expect(200)
    assert [request.webhook_id for request in receiver.wait_for(5)] == ids


def test_deleting_an_endpoint_cancels_what_is_unfinished(client: Client, tenant: str, receiver: Receiver):
    endpoint = make_endpoint(client, receiver.url("/hook", always(500)), retry_schedule=[1] * 30)
    publish(client, tenant).expect(202)
    receiver.wait_for(1)
    assert client.delete(f"/v1/endpoints/{endpoint['id']}").status == 204
    cancelled = reaches(client, "cancelled")
    assert cancelled["reason"] == "endpoint_deleted"
    sent = len(receiver.requests())
    observe_for(2.5)
    assert len(receiver.requests()) <= sent + 1, "only what was in flight may still arrive"


def test_a_changed_url_is_where_the_next_attempt_goes(client: Client, tenant: str, receiver: Receiver):
    endpoint = make_endpoint(client, receiver.url("/old", always(500)), retry_schedule=[2])
    event = publish(client, tenant).expect(202)["id"]
    receiver.wait_for(1, "/old")
    client.patch(f"/v1/endpoints/{endpoint['id']}", {"url": receiver.url("/new")}).expect(200)
    [request] = receiver.wait_for(1, "/new")
    assert request.webhook_id == event and len(receiver.requests("/old")) == 1


def test_a_receiver_that_never_answers_ends_at_the_timeout(client: Client, tenant: str, receiver: Receiver):
    url = receiver.url("/silent", lambda _: Reply(gate=threading.Event()))
    make_endpoint(client, url, timeout_seconds=1, retry_schedule=[])
    publish(client, tenant).expect(202)
    assert "timeout" in str(detail(client, reaches(client, "exhausted"))["attempts"])


def test_a_receiver_that_is_not_there_is_a_connect_failure(client: Client, tenant: str):
    make_endpoint(client, f"http://127.0.0.1:{free_port()}/", retry_schedule=[])
    publish(client, tenant).expect(202)
    assert "connect" in str(detail(client, reaches(client, "exhausted"))["attempts"])


def test_the_servers_own_listener_is_a_blocked_address(shared_server: Server, client: Client, tenant: str):
    url = f"http://127.0.0.1:{shared_server.port}/v1/events"
    answer = client.post("/v1/endpoints", {"name": "loop", "url": url, "retry_schedule": []})
    if answer.status == 422:
        assert answer.fields() == ["url"]
        return
    answer.expect(201)
    publish(client, tenant).expect(202)
    assert "blocked_address" in str(detail(client, reaches(client, "exhausted"))["attempts"])


def test_a_finished_delivery_is_retried_with_the_same_id(client: Client, tenant: str, receiver: Receiver):
    make_endpoint(client, receiver.url())
    event = publish(client, tenant).expect(202)["id"]
    delivered = reaches(client, "delivered")
    client.post(f"/v1/deliveries/{delivered['id']}/retry").expect(202)
    assert [request.webhook_id for request in receiver.wait_for(2)] == [event, event]
    again = until(
        lambda: [item for item in deliveries(client, "status=delivered") if item["attempt_count"] == 2],
        "the second attempt is recorded",
    )
    assert (again[0]["id"], again[0]["trigger"]) == (delivered["id"], "retry")


def test_a_pending_delivery_is_retried_now(client: Client, tenant: str, receiver: Receiver):
    make_endpoint(client, receiver.url("/hook", in_turn([500, 200])), retry_schedule=[3_600])
    publish(client, tenant).expect(202)
    receiver.wait_for(1)
    [pending] = until(
        lambda: [item for item in deliveries(client, "status=pending") if item["attempt_count"] == 1],
        "the first attempt is recorded",
    )
    assert pending["next_attempt_at"] is not None
    client.post(f"/v1/deliveries/{pending['id']}/retry").expect(202)
    assert reaches(client, "delivered")["attempt_count"] == 2


def test_a_waiting_delivery_is_cancelled_and_a_finished_one_is_not(client: Client, tenant: str, receiver: Receiver):
    make_endpoint(client, receiver.url("/hook", always(500)), retry_schedule=[3_600])
    publish(client, tenant).expect(202)
    receiver.wait_for(1)
    [pending] = until(
        lambda: [item for item in deliveries(client, "status=pending") if item["attempt_count"] == 1],
        "the first attempt is recorded",
    )
    path = f"/v1/deliveries/{pending['id']}/cancel"
    assert client.post(path).status == 200
    assert reaches(client, "cancelled")["reason"] == "requested"
    client.post(path).problem(409)


def test_cancelling_what_is_in_flight_is_202_and_a_success_stays_delivered(
    client: Client, tenant: str, receiver: Receiver
):
    gate = threading.Event()
    make_endpoint(client, receiver.url("/hook", lambda _: Reply(gate=gate)), timeout_seconds=60)
    publish(client, tenant).expect(202)
    receiver.wait_for(1)
    [delivery] = deliveries(client)
    assert client.post(f"/v1/deliveries/{delivery['id']}/cancel").status == 202
    gate.set()
    reaches(client, "delivered")


# --- Tests and rotation --------------------------------------------------------------------------------------------


def test_a_test_is_sent_now_even_to_a_paused_endpoint(client: Client, receiver: Receiver):
    endpoint = make_endpoint(client, receiver.url("/hook", always(200, body=b"hello")))
    path = f"/v1/endpoints/{endpoint['id']}"
    client.patch(path, {"status": "PAUSED"}).expect(200)
    answer = client.post(f"{path}/test", {}).expect(200)
    assert answer.keys() >= {"success", "status_code", "response_time_ms", "message", "attempt"}
    assert (answer["success"], answer["status_code"]) == (True, 200)
    [request] = receiver.requests()
    assert b'"webhook.test"' in request.body and request.header("webhook-signature")
    assert [item["trigger"] for item in deliveries(client)] == ["test"]


def test_a_failed_test_is_200_and_says_so(client: Client, receiver: Receiver):
    bad = make_endpoint(client, receiver.url("/hook", always(500)))["id"]
    answer = client.post(f"/v1/endpoints/{bad}/test", {}).expect(200)
    assert (answer["success"], answer["status_code"]) == (False, 500)
    absent = make_endpoint(client, f"http://127.0.0.1:{free_port()}/")["id"]
    answer = client.post(f"/v1/endpoints/{absent}/test", {}).expect(200)
    assert (answer["success"], answer["status_code"]) == (False, None)
    assert client.get(f"/v1/endpoints/{bad}").expect(200)["consecutive_failures"] == 0


@pytest.mark.parametrize("grace", [-1, 604_801, "1", 1.5])
def test_a_bad_grace_is_422(client: Client, grace: object):
    endpoint = make_endpoint(client, "https://example.com/")
    answer = client.post(f"/v1/endpoints/{endpoint['id']}/rotate-secret", {"grace_seconds": grace})
    assert answer.fields() == ["grace_seconds"]


def test_a_tenants_key_sees_its_events_and_deliveries(
    shared_server: Server, client: Client, tenant: str, receiver: Receiver
):
    make_endpoint(client, receiver.url())
    event = publish(client, tenant).expect(202)["id"]
    own = shared_server.client(make_key(shared_server.root, "tenant", tenant=tenant)["key"])
    assert [listed["id"] for listed in own.pages("/v1/events")] == [event]
    delivered = reaches(own, "delivered")
    own.post(f"/v1/deliveries/{delivered['id']}/retry").expect(202)
