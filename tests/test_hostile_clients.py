"""Hostile clients of the API: too large, too slow, malformed, or in bad faith (hostile cases AP-01 to AP-20)."""

import gzip
import json
import resource
import threading

import pytest

from support import wire
from support.api import deliveries, event_text, make_endpoint, make_key, make_tenant, publish, stored
from support.receiver import Receiver, Reply
from support.server import ROOT_KEY, Server
from support.waiting import until

KIB, MIB = 1_024, 1_024 * 1_024
# The server's own limits are 10 s for a head and 30 s for a body.
HEAD_SECONDS_MAX = 20
BODY_SECONDS_MAX = 45
SLOW_CONNECTIONS = 5_000
CHUNK_BYTES = 64 * KIB
HOSTILE_BYTES = 64 * MIB
# What the server may hold more after a hostile request than before it.
GROWTH_BYTES_MAX = 32 * MIB
JSON = "Content-Type: application/json"

pytestmark = pytest.mark.usefixtures("unharmed")
# Of what is refused before the database is asked, one engine knows as much as two.
both_engines = pytest.mark.engines("sqlite", "postgres")


@pytest.fixture
def tenant(shared_server: Server) -> str:
    """A new tenant's id."""
    return make_tenant(shared_server.root)


def post_head(*lines: str, path: str = "/v1/events") -> bytes:
    """The head of a publish with the root key."""
    return wire.head("POST", path, ROOT_KEY, *lines)


# --- Too large -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [10 * MIB, 2**40, 2**63])
def test_a_declared_length_beyond_the_limit_is_413_before_the_body_is_read(shared_server: Server, length: int):
    answer = wire.exchange(shared_server.port, post_head(JSON, f"Content-Length: {length}"))
    assert answer.status == 413, answer
    assert answer.closed or answer.headers.get("connection") == "close", answer


def test_a_length_that_is_no_length_is_400(shared_server: Server):
    for length in ("-1", "1e3", "99999999999999999999999", "1, 2", ""):
        answer = wire.exchange(shared_server.port, post_head(JSON, f"Content-Length: {length}"))
        assert answer.status in (400, 413), (length, answer)


def test_an_endless_chunked_body_is_413_while_it_streams_and_is_not_kept(shared_server: Server, tenant: str):
    before = shared_server.resident_bytes()
    chunk = f"{CHUNK_BYTES:x}\r\n".encode() + b"x" * CHUNK_BYTES + b"\r\n"
    start = json.dumps({"tenant": tenant, "type": "a"})[:-1].encode() + b', "payload": "'
    first = f"{len(start):x}\r\n".encode() + start + b"\r\n"
    with wire.connect(shared_server.port) as connection:
        connection.sendall(post_head(JSON, "Transfer-Encoding: chunked") + first)
        try:
            for _ in range(HOSTILE_BYTES // CHUNK_BYTES):
                connection.sendall(chunk)
        except OSError:
            pass
        else:
            pytest.fail("all of the body was taken")
        # The answer may be lost to the reset that follows it.
        assert wire.read_answer(connection).status in (413, None)
    assert shared_server.resident_bytes() - before < GROWTH_BYTES_MAX
    assert stored(shared_server, tenant) == 0


def test_a_chunked_body_just_beyond_the_limit_is_told_so(shared_server: Server, tenant: str):
    text = event_text(tenant, "a", '"' + "x" * 400_000 + '"')
    body = f"{len(text):x}\r\n".encode() + text + b"\r\n0\r\n\r\n"
    answer = wire.exchange(shared_server.port, post_head(JSON, "Transfer-Encoding: chunked"), body)
    assert answer.status == 413, answer


@pytest.mark.parametrize(
    ("lines", "statuses"),
    [
        ([f"x-{number}: y" for number in range(1_000)], (431,)),
        (["x-long: " + "y" * MIB], (431,)),
    ],
    ids=["a thousand headers", "a header of 1 MiB"],
)
def test_too_many_or_too_large_headers_are_431(shared_server: Server, lines: list[str], statuses: tuple[int, ...]):
    answer = wire.exchange(shared_server.port, wire.head("GET", "/v1/tenants", ROOT_KEY, *lines))
    # The rest of a large head is never read, so that a reset may overtake the answer.
    assert answer.status in (*statuses, None), answer


def test_a_uri_of_64_kib_is_refused(shared_server: Server):
    answer = wire.exchange(shared_server.port, wire.head("GET", "/v1/" + "a" * 64 * KIB, ROOT_KEY))
    assert answer.status in (414, 431), answer


def test_a_gzip_bomb_is_415_and_never_unpacked(shared_server: Server):
    bomb = gzip.compress(b"0" * (16 * MIB))
    for coding in ("gzip", "br", "zstd", "deflate", "x-unknown", "gzip, gzip"):
        lines = (JSON, f"Content-Encoding: {coding}", f"Content-Length: {len(bomb)}")
        answer = wire.exchange(shared_server.port, post_head(*lines), bomb)
        assert answer.status == 415, (coding, answer)


# --- Too slow --------------------------------------------------------------------------------------------------------


def test_a_body_that_trickles_ends_at_the_deadline_and_others_go_on(shared_server: Server, tenant: str):
    body = event_text(tenant, "a", "{}")
    stop = threading.Event()
    with wire.connect(shared_server.port, BODY_SECONDS_MAX) as connection:
        connection.sendall(post_head(JSON, f"Content-Length: {len(body)}"))

        def trickle() -> None:
            for at in range(len(body)):
                if stop.wait(1):
                    return
                wire.send_as_far_as_taken(connection, body[at : at + 1])

        thread = threading.Thread(target=trickle)
        thread.start()
        publish(shared_server.root, tenant).expect(202)
        answer = wire.read_answer(connection)
        stop.set()
        thread.join()
    assert answer.status in (408, None), answer
    assert stored(shared_server, tenant) == 1


def test_five_thousand_slow_heads_are_dropped_while_health_answers(shared_server: Server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = []
    try:
        for _ in range(SLOW_CONNECTIONS):
            connection = wire.connect(shared_server.port, HEAD_SECONDS_MAX)
            wire.send_as_far_as_taken(connection, b"GET /healthz HTTP/1.1\r\nHost: a\r\nx: ")
            connections.append(connection)
        assert shared_server.answers("/healthz") == 200
        # Spread over all of them; each must be closed by the server, in its own time.
        assert all(wire.closes(connection) for connection in connections[::500])
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- In bad faith ----------------------------------------------------------------------------------------------------


@both_engines
def test_an_idempotency_key_with_another_body_is_409(shared_server: Server, tenant: str):
    headers = {"Idempotency-Key": "k-1"}
    body = event_text(tenant, "a", '{"n":1}')
    first = shared_server.root.post("/v1/events", body, headers).expect(202)
    again = shared_server.root.post("/v1/events", body, headers)
    assert again.json() == first and again.headers["idempotency-replayed"] == "true"
    shared_server.root.post("/v1/events", event_text(tenant, "a", '{"n":2}'), headers).problem(409)
    assert stored(shared_server, tenant) == 1


@both_engines
def test_an_idempotency_key_of_one_tenant_says_nothing_to_another(shared_server: Server):
    ids = []
    for name in ("a", "b"):
        tenant = make_tenant(shared_server.root)
        client = shared_server.client(make_key(shared_server.root, "tenant", tenant=tenant)["key"])
        body = {"name": name, "url": f"https://example.com/{name}"}
        ids.append(client.post("/v1/endpoints", body, {"Idempotency-Key": "same"}).expect(201)["id"])
        assert [endpoint["name"] for endpoint in client.get("/v1/endpoints").expect(200)] == [name]
    assert len(set(ids)) == 2


@both_engines
def test_the_same_idempotency_key_at_the_same_moment_makes_one_event(shared_server: Server, tenant: str):
    body = event_text(tenant, "a", "{}")
    barrier = threading.Barrier(8)
    answers = []

    def send() -> None:
        client = shared_server.root
        barrier.wait()
        answers.append(client.post("/v1/events", body, {"Idempotency-Key": "at-once"}))

    threads = [threading.Thread(target=send) for _ in range(barrier.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [answer.json()["id"] for answer in answers if answer.status in (200, 202)]
    # One that comes while the first is still under way may be told to come again.
    assert taken and all(answer.status in (200, 202, 409, 503) for answer in answers), answers
    assert len(set(taken)) == 1 and stored(shared_server, tenant) == 1


@both_engines
def test_one_bad_item_refuses_the_whole_batch_and_is_named(shared_server: Server, tenant: str):
    items = [{"tenant": tenant, "type": "a", "payload": {"n": number}} for number in range(6)]
    del items[3]["payload"]
    items[5]["type"] = "no good"
    # Whether later faults are named as well is left open.
    fields = shared_server.root.post("/v1/events/batch", {"events": items}).fields()
    assert fields[0] == "events.3.payload" and set(fields) <= {"events.3.payload", "events.5.type"}
    assert stored(shared_server, tenant) == 0


@both_engines
def test_a_batch_of_a_thousand_is_taken_and_one_more_is_not(shared_server: Server, tenant: str):
    item = event_text(tenant, "a", "1")
    batch = b'{"events":[' + b",".join([item] * 1_000) + b"]}"
    assert len(shared_server.root.post("/v1/events/batch", batch).expect(202)) == 1_000
    larger = b'{"events":[' + b",".join([item] * 1_001) + b"]}"
    assert shared_server.root.post("/v1/events/batch", larger).status in (413, 422)
    shared_server.root.post("/v1/events/batch", {"events": []}).problem(422)
    assert stored(shared_server, tenant) == 1_000


def test_a_batch_beyond_5_mib_is_413(shared_server: Server, tenant: str):
    item = event_text(tenant, "a", '"' + "x" * 200_000 + '"')
    shared_server.root.post("/v1/events/batch", b'{"events":[' + b",".join([item] * 30) + b"]}").problem(413)
    assert stored(shared_server, tenant) == 0


@both_engines
def test_tens_of_thousands_of_tiny_events_in_batches_are_all_accepted(shared_server: Server, tenant: str):
    before = shared_server.resident_bytes()
    item = event_text(tenant, "a", "1")
    batch = b'{"events":[' + b",".join([item] * 1_000) + b"]}"
    ids = set()
    for _ in range(30):
        ids |= {event["id"] for event in shared_server.root.post("/v1/events/batch", batch).expect(202)}
    assert len(ids) == 30_000
    assert shared_server.resident_bytes() - before < 4 * GROWTH_BYTES_MAX


@both_engines
def test_one_tenants_flood_does_not_hold_up_another(shared_server: Server, tenant: str, receiver: Receiver):
    # Every delivery of the flood waits for a receiver that never answers.
    silent = Receiver()
    try:
        never = threading.Event()
        url = silent.url("/silent", lambda _: Reply(gate=never))
        make_endpoint(shared_server.root.for_tenant(tenant), url, timeout_seconds=60, retry_schedule=[])
        item = event_text(tenant, "a", "1")
        batch = b'{"events":[' + b",".join([item] * 1_000) + b"]}"
        shared_server.root.post("/v1/events/batch", batch).expect(202)
        other = make_tenant(shared_server.root)
        make_endpoint(shared_server.root.for_tenant(other), receiver.url())
        publish(shared_server.root, other).expect(202)
        receiver.wait_for(1, seconds=5)
    finally:
        silent.close()
        shared_server.root.delete(f"/v1/tenants/{tenant}")
    until(lambda: not deliveries(shared_server.root.for_tenant(other), "status=pending"), "nothing is pending")
