"""Requests that are not what they should be: JSON, fields, ids, framing (AP-07 to AP-09, AP-15, AP-16)."""

import random

import pytest

from support import wire
from support.api import event_text, make_endpoint, make_tenant, publish, stored
from support.server import ROOT_KEY, Server

# Longer than the server waits for the rest of a head.
HEAD_SECONDS_MAX = 20
JSON = "Content-Type: application/json"

pytestmark = pytest.mark.usefixtures("unharmed")


@pytest.fixture
def tenant(shared_server: Server) -> str:
    """A new tenant's id."""
    return make_tenant(shared_server.root)


# Each would be a good event but for one fault, so that no missing field can be what is refused.
EVENT = b'{"tenant": "t", "type": "a", "payload": {}}'
NOT_JSON = {
    "half an object": EVENT[:-1],
    "two values": EVENT + b" {}",
    "a NUL behind it": EVENT + b"\0",
    "single quotes": EVENT.replace(b'"', b"'"),
    "a trailing comma": EVENT[:-1] + b",}",
    "a byte order mark": b"\xef\xbb\xbf" + EVENT,
    "UTF-16": EVENT.decode().encode("utf-16"),
    "bad UTF-8": EVENT.replace(b"{}", b'"\xff\xfe"'),
    "overlong UTF-8": EVENT.replace(b"{}", b'"\xc0\xaf"'),
    "a surrogate in UTF-8": EVENT.replace(b"{}", b'"\xed\xa0\x80"'),
    "brackets without end": EVENT.replace(b"{}", b"[" * 200_000),
}
NOT_A_PAYLOAD = {
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "bad UTF-8": b'"\xff"',
    "a raw line break in a string": b'"a\nb"',
    "a raw NUL in a string": b'"\0"',
    "a leading zero": b"01",
    "a lonely point": b"1.",
    "a plus": b"+1",
    "hexadecimal": b"0x10",
    "a bad escape": rb'"\x41"',
    "a comment": b"{/* */}",
    "a byte order mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_a_body_that_is_not_json_is_400(shared_server: Server, body: bytes):
    shared_server.root.post("/v1/events", body).problem(400)
    in_a_batch = b'{"events": [' + body + b"]}"
    if body.startswith(b"{"):
        shared_server.root.post("/v1/events/batch", in_a_batch).problem(400)


@pytest.mark.parametrize("payload", NOT_A_PAYLOAD.values(), ids=NOT_A_PAYLOAD.keys())
def test_a_payload_that_is_not_json_is_400_and_stores_nothing(shared_server: Server, tenant: str, payload: bytes):
    publish(shared_server.root, tenant, payload).problem(400)
    assert stored(shared_server, tenant) == 0


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"text"', b"{}", b'{"payload": {}}', b""])
def test_json_that_is_not_an_event_is_422_and_names_what_is_missing(shared_server: Server, body: bytes):
    shared_server.root.post("/v1/events", body).problem(422)


def test_a_deeply_nested_payload_is_refused_or_delivered_but_never_a_crash(shared_server: Server, tenant: str):
    for depth in (1_000, 100_000):
        answer = publish(shared_server.root, tenant, "[" * depth + "]" * depth)
        assert answer.status in (202, 400, 422), answer
    assert shared_server.answers("/healthz") == 200


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "multipart/form-data; boundary=x",
    ],
)
def test_another_media_type_is_415(shared_server: Server, tenant: str, media_type: str):
    body = event_text(tenant, "a", "{}")
    shared_server.root.post("/v1/events", body, {"Content-Type": media_type}).problem(415)


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
)
def test_json_in_utf_8_is_taken_however_it_is_spelled(shared_server: Server, tenant: str, media_type: str):
    body = event_text(tenant, "a", "{}")
    shared_server.root.post("/v1/events", body, {"Content-Type": media_type}).expect(202)


@pytest.mark.parametrize(
    "event_type",
    [
        "",
        ".a",
        "a.",
        "a..b",
        "a b",
        "a\r\nX-Evil: 1",
        "a\n",
        "a\0b",
        "größe",
        "a/b",
        "*",
        "a.*",
        "<b>",
        "x" * 256,
        "x" * 10_000,
    ],
)
def test_a_bad_event_type_is_422_and_named(shared_server: Server, tenant: str, event_type: str):
    answer = publish(shared_server.root, tenant, event_type=event_type)
    assert "type" in answer.fields()


@pytest.mark.parametrize("event_type", ["a", "order.completed", "A_1.b-2.c", "x" * 255])
def test_a_good_event_type_is_taken(shared_server: Server, tenant: str, event_type: str):
    assert publish(shared_server.root, tenant, event_type=event_type).expect(202)["type"] == event_type


@pytest.mark.parametrize(
    "fields",
    [
        {"tenant": 1},
        {"tenant": ["x"]},
        {"type": 7},
        {"type": None},
        {"event_id": 7},
        {"event_id": "x" * 257},
    ],
    ids=str,
)
def test_a_field_of_the_wrong_type_is_422_and_named(shared_server: Server, tenant: str, fields: dict):
    body = {"tenant": tenant, "type": "a", "payload": {}} | fields
    assert list(fields) == shared_server.root.post("/v1/events", body).fields()


def strange_ids() -> list[str]:
    """Ids that are none, in the spelling of a path."""
    uuid = "01890a5d-ac96-774b-bcce-b302099a8057"
    return [
        "ep_",
        "ep_" + "0" * 36,
        f"ep_{uuid.upper()}",
        f"EP_{uuid}",
        f"evt_{uuid}",
        uuid,
        f"ep_{{{uuid}}}",
        f"ep_{uuid.replace('-', '')}",
        f"ep_{uuid}%00",
        f"ep_{uuid}%0a",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%00",
        "%ff",
        "%c0%af",
        "%E2%80%8B",
        "ep_" + "a" * 10_000,
        "'%20OR%201=1;--",
        "*",
    ]


@pytest.mark.parametrize("id", strange_ids(), ids=lambda id: id[:30])
def test_a_strange_id_is_nothing(shared_server: Server, tenant: str, id: str):
    client = shared_server.root.for_tenant(tenant)
    for path in ("endpoints", "events", "deliveries"):
        answer = client.get(f"/v1/{path}/{id}")
        assert answer.status in (400, 404), (path, answer)
    assert client.delete(f"/v1/endpoints/{id}").status in (400, 404)
    assert shared_server.root.get(f"/v1/tenants/{id}").status in (400, 404)


def test_an_id_in_another_case_or_through_dots_is_nothing(shared_server: Server, tenant: str):
    client = shared_server.root.for_tenant(tenant)
    id = make_endpoint(client, "https://example.com/hook")["id"]
    client.get(f"/v1/endpoints/{id}").expect(200)
    for path in (f"/v1/endpoints/{id.upper()}", f"/v1/endpoints/{id}%20", f"/v1/tenants/../endpoints/{id}"):
        answer = client.get(path)
        assert answer.status in (400, 404), (path, answer)


def test_bytes_that_are_not_http_are_refused(shared_server: Server):
    noise = random.Random(1)
    for garbage in (
        b"\r\n\r\n\r\n",
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        noise.randbytes(5_000) + b"\r\n\r\n",
    ):
        with wire.connect(shared_server.port, HEAD_SECONDS_MAX) as connection:
            wire.send_as_far_as_taken(connection, garbage)
            answer = wire.read_answer(connection)
            assert answer.status is None or 400 <= answer.status < 600, (garbage[:20], answer)
    assert shared_server.answers("/healthz") == 200


def test_a_request_is_not_smuggled_in_by_two_framings(shared_server: Server, tenant: str):
    inner = wire.head("DELETE", f"/v1/tenants/{tenant}", ROOT_KEY)
    body = b"0\r\n\r\n" + inner
    lines = (JSON, f"Content-Length: {len(body)}", "Transfer-Encoding: chunked")
    with wire.connect(shared_server.port, HEAD_SECONDS_MAX) as connection:
        wire.send_as_far_as_taken(connection, wire.head("POST", "/v1/events", ROOT_KEY, *lines) + body)
        # Either all of it is refused, or the chunks count and nothing after them is read (RFC 9112, section 6.3).
        assert wire.read_answer(connection).status in (400, 422, None)
        assert wire.read_answer(connection).status is None and wire.closes(connection)
    shared_server.root.get(f"/v1/tenants/{tenant}").expect(200)
