"""The published text of the endpoint resource, as exchanges on the wire.

The text shows nine fields; the contract adds some. A field that is in neither does not appear.
"""

import re
from typing import Any

import pytest

from support.api import make_endpoint, make_key, make_tenant
from support.client import Client
from support.server import Server

PUBLISHED = {
    "id": str,
    "name": str,
    "url": str,
    "headers_json": dict,
    "timeout_seconds": int,
    "status": str,
    "paused_at": (str, type(None)),
    "created_at": str,
    "updated_at": str,
}
ADDED = {
    "uid": (str, type(None)),
    "number": int,
    "description": (str, type(None)),
    "events": list,
    "channels": (list, type(None)),
    "filter": (dict, type(None)),
    "metadata": (dict, type(None)),
    "retry_schedule": list,
    "retry_anchor": str,
    "header_styles": list,
    "payload_format": str,
    "max_in_flight": (int, type(None)),
    "rate_limit": (int, type(None)),
    "ordered": bool,
    "disabled_reason": (str, type(None)),
    "breaker": dict,
    "public_key": (str, type(None)),
    "consecutive_failures": int,
}
DEFAULT_SCHEDULE = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
ID = re.compile(r"ep_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
WHOLE_SECONDS = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
REQUEST = {
    "name": "my-webhook",
    "url": "https://example.com/webhook",
    "secret": "whsec_your_signing_secret",
    "headers_json": {},
    "timeout_seconds": 10,
}

pytestmark = pytest.mark.engines("sqlite", "postgres")


@pytest.fixture
def client(shared_server: Server) -> Client:
    """A client with the key of a new tenant."""
    tenant = make_tenant(shared_server.root)
    return shared_server.client(make_key(shared_server.root, "tenant", tenant=tenant)["key"])


def shown(endpoint: dict[str, Any]) -> dict[str, Any]:
    """Fails unless the object has exactly the fields of the text and the contract, with their types."""
    expected = PUBLISHED | ADDED
    assert endpoint.keys() == expected.keys(), endpoint.keys() ^ expected.keys()
    for name, kind in expected.items():
        assert isinstance(endpoint[name], kind), (name, endpoint[name])
    assert ID.fullmatch(endpoint["id"]), endpoint["id"]
    for name in ("created_at", "updated_at", "paused_at"):
        assert endpoint[name] is None or WHOLE_SECONDS.fullmatch(endpoint[name]), endpoint[name]
    return endpoint


def test_the_published_request_makes_the_published_answer(client: Client):
    endpoint = shown(client.post("/v1/endpoints", REQUEST).expect(201))
    sent = {name: value for name, value in REQUEST.items() if name != "secret"}
    assert {name: endpoint[name] for name in sent} == sent
    assert (endpoint["status"], endpoint["paused_at"]) == ("ACTIVE", None)
    assert endpoint["created_at"] == endpoint["updated_at"]
    assert shown(client.get(f"/v1/endpoints/{endpoint['id']}").expect(200)) == endpoint


def test_name_and_url_are_enough_and_the_drawn_secret_is_shown_this_once(client: Client):
    endpoint = client.post("/v1/endpoints", {"name": "n", "url": "https://example.com/"}).expect(201)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", endpoint.pop("secret"))
    assert (endpoint["timeout_seconds"], endpoint["headers_json"]) == (10, {})
    assert (endpoint["events"], endpoint["retry_schedule"]) == (["*"], DEFAULT_SCHEDULE)
    assert (endpoint["retry_anchor"], endpoint["uid"], endpoint["description"]) == ("previous", None, None)
    assert (endpoint["metadata"], endpoint["number"], endpoint["consecutive_failures"]) == (None, 1, 0)
    assert shown(client.get(f"/v1/endpoints/{endpoint['id']}").expect(200)) == shown(endpoint)


def test_the_list_is_a_bare_array_newest_first(client: Client):
    assert client.get("/v1/endpoints").expect(200) == []
    made = [shown(client.post("/v1/endpoints", REQUEST | {"name": f"n{number}"}).expect(201)) for number in range(3)]
    assert client.get("/v1/endpoints").expect(200) == made[::-1]


def test_the_lists_cursor_is_in_the_link_header(client: Client):
    made = [client.post("/v1/endpoints", REQUEST).expect(201)["id"] for _ in range(5)]
    found: list[str] = []
    path: str | None = "/v1/endpoints?limit=2"
    for _ in range(4):
        if path is None:
            break
        answer = client.get(path)
        page = answer.expect(200)
        assert 1 <= len(page) <= 2
        found += [endpoint["id"] for endpoint in page]
        link = re.search(r'<([^>]+)>;\s*rel="?next"?', answer.headers.get("link", ""))
        path = link and re.sub(r"^https?://[^/]+", "", link[1])
    assert found == made[::-1] and path is None


def test_the_published_patch_renames_and_pauses(client: Client):
    before = client.post("/v1/endpoints", REQUEST).expect(201)
    path = f"/v1/endpoints/{before['id']}"
    after = shown(client.patch(path, {"name": "updated-name", "status": "PAUSED"}).expect(200))
    assert (after["name"], after["status"]) == ("updated-name", "PAUSED")
    assert after["paused_at"] is not None and after["updated_at"] >= before["updated_at"]
    unchanged = before.keys() - {"name", "status", "paused_at", "updated_at"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    resumed = shown(client.patch(path, {"status": "ACTIVE"}).expect(200))
    assert (resumed["status"], resumed["paused_at"]) == ("ACTIVE", None)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "n2"},
        {"url": "https://example.org/other?x=1#f"},
        {"headers_json": {"X-Team": "a"}},
        {"timeout_seconds": 60},
        {"uid": "my-uid"},
        {"description": "what for"},
        {"events": ["order.completed", "order.refunded"]},
        {"metadata": {"plan": "gold", "seats": 3}},
        {"retry_schedule": []},
        {"retry_schedule": [1, 604800]},
        {"retry_anchor": "first"},
        {"max_in_flight": 1},
    ],
    ids=str,
)
def test_each_field_can_be_given_and_changed_alone(client: Client, change: dict):
    [name] = change
    given = shown(client.post("/v1/endpoints", {**REQUEST, **change}).expect(201))
    assert given[name] == change[name]
    client.delete(f"/v1/endpoints/{given['id']}")
    before = client.post("/v1/endpoints", REQUEST).expect(201)
    after = shown(client.patch(f"/v1/endpoints/{before['id']}", change).expect(200))
    assert after[name] == change[name]
    assert client.get(f"/v1/endpoints/{before['id']}").expect(200) == after


def test_a_new_secret_is_taken_and_never_shown(client: Client):
    endpoint = client.post("/v1/endpoints", REQUEST).expect(201)
    path = f"/v1/endpoints/{endpoint['id']}"
    shown(client.patch(path, {"secret": "another secret of mine"}).expect(200))
    for answer in (client.get(path), client.get("/v1/endpoints")):
        assert b"another secret" not in answer.body and b"whsec_" not in answer.body


def test_delete_is_204_without_content_and_the_endpoint_is_gone(client: Client):
    path = f"/v1/endpoints/{client.post('/v1/endpoints', REQUEST).expect(201)['id']}"
    answer = client.delete(path)
    assert (answer.status, answer.body) == (204, b"")
    client.get(path).problem(404)
    client.delete(path).problem(404)
    assert client.get("/v1/endpoints").expect(200) == []


def test_unknown_fields_and_a_trailing_slash_do_not_matter(client: Client):
    made = client.post("/v1/endpoints/", REQUEST | {"from_the_future": 1, "id": "ep_x"}).expect(201)
    assert client.get(f"/v1/endpoints/{made['id']}/").expect(200) == shown(made)


BAD = [
    ({"name": None}, "name"),
    ({"name": ""}, "name"),
    ({"name": 7}, "name"),
    ({"url": None}, "url"),
    ({"url": 7}, "url"),
    ({"url": ""}, "url"),
    ({"url": "example.com"}, "url"),
    ({"url": "ftp://example.com/"}, "url"),
    ({"url": "http://example.com/"}, "url"),
    ({"url": "https://user:password@example.com/"}, "url"),
    ({"url": "https://localhost/"}, "url"),
    ({"url": "https://intranet/"}, "url"),
    ({"url": "https://10.0.0.1/"}, "url"),
    ({"url": "https://169.254.169.254/latest/meta-data"}, "url"),
    ({"url": "https://[::1]/"}, "url"),
    ({"url": "https://0x0a000001/"}, "url"),
    ({"url": "https://example.com:25/"}, "url"),
    ({"url": "https://example.com/" + "a" * 2_083}, "url"),
    ({"url": "https://exa mple.com/"}, "url"),
    ({"secret": "short"}, "secret"),
    ({"secret": "x" * 256}, "secret"),
    ({"secret": "whsec_c2hvcnQ="}, "secret"),
    ({"secret": 7}, "secret"),
    ({"headers_json": []}, "headers_json"),
    ({"headers_json": {"X-A": 1}}, "headers_json"),
    ({"headers_json": {"Host": "x"}}, "headers_json"),
    ({"headers_json": {"webhook-id": "x"}}, "headers_json"),
    ({"headers_json": {"X-A": "a\r\nX-B: c"}}, "headers_json"),
    ({"headers_json": {"X A": "a"}}, "headers_json"),
    ({"headers_json": {"X-A": "größe"}}, "headers_json"),
    ({"headers_json": {f"X-{number}": "a" for number in range(21)}}, "headers_json"),
    ({"headers_json": {"X-A": "a" * 5_000}}, "headers_json"),
    ({"timeout_seconds": 0}, "timeout_seconds"),
    ({"timeout_seconds": 61}, "timeout_seconds"),
    ({"timeout_seconds": 1.5}, "timeout_seconds"),
    ({"timeout_seconds": "10"}, "timeout_seconds"),
    ({"uid": "ep_mine"}, "uid"),
    ({"uid": "with space"}, "uid"),
    ({"description": "x" * 1_001}, "description"),
    ({"events": []}, "events"),
    ({"events": ["a b"]}, "events"),
    ({"events": "order.completed"}, "events"),
    ({"metadata": []}, "metadata"),
    ({"retry_schedule": [0]}, "retry_schedule"),
    ({"retry_schedule": [604_801]}, "retry_schedule"),
    ({"retry_schedule": [1] * 65}, "retry_schedule"),
    ({"retry_anchor": "last"}, "retry_anchor"),
    ({"max_in_flight": 0}, "max_in_flight"),
]


@pytest.mark.parametrize(("change", "field"), BAD, ids=lambda value: str(value)[:60])
def test_a_bad_value_is_422_and_names_the_field(client: Client, change: dict, field: str):
    # A fault inside a field is named below it: `headers_json.Host`.
    assert all(name.split(".")[0] == field for name in client.post("/v1/endpoints", REQUEST | change).fields())
    path = f"/v1/endpoints/{client.post('/v1/endpoints', REQUEST).expect(201)['id']}"
    before = client.get(path).body
    assert all(name.split(".")[0] == field for name in client.patch(path, change).fields())
    assert client.get(path).body == before


@pytest.mark.parametrize("status", ["DISABLED", "paused", "", 1, None])
def test_a_status_that_cannot_be_set_is_422(client: Client, status: object):
    endpoint = client.post("/v1/endpoints", REQUEST).expect(201)
    assert client.patch(f"/v1/endpoints/{endpoint['id']}", {"status": status}).fields() == ["status"]


def test_every_bad_field_is_named_at_once(client: Client):
    fields = client.post("/v1/endpoints", {"url": "nothing", "timeout_seconds": 0}).fields()
    assert set(fields) == {"name", "url", "timeout_seconds"}


def test_the_error_for_localhost_says_what_to_write_instead(client: Client):
    answer = client.post("/v1/endpoints", REQUEST | {"url": "http://localhost:3000/"})
    assert "127.0.0.1" in str(answer.problem(422)["errors"])


def test_values_of_secret_headers_are_masked_and_a_mask_sent_back_keeps_them(client: Client):
    headers = {"X-Team": "red", "X-Api-Key": "k-123456", "Authorization": "Bearer t-123456"}
    masked = headers | {"X-Api-Key": "***", "Authorization": "***"}
    endpoint = client.post("/v1/endpoints", REQUEST | {"headers_json": headers}).expect(201)
    assert endpoint["headers_json"] == masked
    path = f"/v1/endpoints/{endpoint['id']}"
    assert client.patch(path, {"headers_json": masked | {"X-Team": "blue"}}).expect(200)["headers_json"] == masked | {
        "X-Team": "blue"
    }


def test_a_uid_in_use_is_409(client: Client):
    client.post("/v1/endpoints", REQUEST | {"uid": "mine"}).expect(201)
    client.post("/v1/endpoints", REQUEST | {"uid": "mine"}).problem(409, "uid_taken")


def test_the_fifty_first_endpoint_is_409_and_a_deleted_one_makes_room(client: Client):
    ids = [client.post("/v1/endpoints", REQUEST).expect(201)["id"] for _ in range(50)]
    client.post("/v1/endpoints", REQUEST).problem(409, "endpoint_limit_reached")
    assert client.delete(f"/v1/endpoints/{ids[0]}").status == 204
    assert client.post("/v1/endpoints", REQUEST).expect(201)["number"] == 51


def test_a_repeated_create_answers_the_same_without_the_secret(client: Client):
    body = {"name": "n", "url": "https://example.com/"}
    first = client.post("/v1/endpoints", body, {"Idempotency-Key": "k"})
    again = client.post("/v1/endpoints", body, {"Idempotency-Key": "k"})
    made = first.expect(201)
    assert made.pop("secret").startswith("whsec_")
    assert again.expect(201) == made and again.headers["idempotency-replayed"] == "true"
    assert len(client.get("/v1/endpoints").expect(200)) == 1


def test_an_endpoint_made_by_a_root_key_is_the_tenants(shared_server: Server):
    tenant = make_tenant(shared_server.root, uid="acme")
    made = make_endpoint(shared_server.root.for_tenant("acme"), "https://example.com/")
    key = make_key(shared_server.root, "tenant", tenant=tenant)["key"]
    assert [endpoint["id"] for endpoint in shared_server.client(key).get("/v1/endpoints").expect(200)] == [made["id"]]
