"""What is published arrives byte for byte, and the official libraries verify it."""

import base64
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from support import signatures
from support.api import deliveries, make_endpoint, make_tenant, publish
from support.payloads import AWKWARD, examples
from support.receiver import Received, Receiver
from support.server import Server
from support.waiting import until

EXAMPLES_MIN = 700
PAYLOAD_BYTES_MAX = 256 * 1024
# Standard Webhooks' own example, and one of a library's tests: secret, id, timestamp, body, signature.
VECTORS = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        '{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1649367553,
        '{"email":"test@example.com","username":"test_user"}',
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
]
# The ways to give a secret whose key both libraries know: drawn by the server, the shortest and the longest of base64.
SECRETS = [None, "whsec_" + base64.b64encode(b"k" * 24).decode(), "whsec_" + base64.b64encode(b"\xff" * 64).decode()]

pytestmark = pytest.mark.engines("sqlite", "postgres")


def delivered(server: Server, receiver: Receiver, texts: list[str], secret: str | None) -> tuple[str, list[Received]]:
    """Publishes all texts to one endpoint and compares what arrives. Gives the secret and what arrived."""
    tenant = make_tenant(server.root)
    fields = {} if secret is None else {"secret": secret}
    endpoint = make_endpoint(server.root.for_tenant(tenant), receiver.url(), timeout_seconds=60, **fields)
    published = {}
    for text in texts:
        answer = publish(server.root, tenant, text).expect(202)
        assert answer["deliveries"] == 1
        published[answer["id"]] = text.encode()
    assert len(published) == len(texts)
    receiver.wait_for(len(texts), seconds=60)
    arrived = receiver.requests()
    assert len(arrived) == len(texts)
    for request in arrived:
        assert request.body == published[request.webhook_id]
        assert "json" in (request.header("content-type") or "")
    client = server.root.for_tenant(tenant)
    until(lambda: len(deliveries(client, "status=delivered")) == len(texts), "all are recorded as delivered")
    return secret or endpoint["secret"], arrived


def verify_with_both(secret: str, requests: list[Received]) -> None:
    """Every request verifies in Python and in JavaScript, and not under another secret."""
    for request in requests:
        signatures.verify(secret, request)
    assert signatures.verify_in_javascript(signatures.line(secret, one) for one in requests) == len(requests)
    other = "whsec_" + base64.b64encode(b"o" * 24).decode()
    assert not signatures.signed_by(other, requests[0])


def test_every_published_example_arrives_byte_for_byte_and_verifies(shared_server: Server, receiver: Receiver):
    texts = [text for _, text in examples()]
    assert len(texts) >= EXAMPLES_MIN
    verify_with_both(*delivered(shared_server, receiver, texts, None))


@pytest.mark.parametrize("secret", SECRETS, ids=["drawn", "shortest", "longest"])
def test_awkward_json_arrives_byte_for_byte_and_verifies(shared_server: Server, receiver: Receiver, secret: str | None):
    verify_with_both(*delivered(shared_server, receiver, list(AWKWARD.values()), secret))


def test_awkward_json_in_a_batch_arrives_byte_for_byte(shared_server: Server, receiver: Receiver):
    tenant = make_tenant(shared_server.root)
    make_endpoint(shared_server.root.for_tenant(tenant), receiver.url(), timeout_seconds=60)
    named = json.dumps({"tenant": tenant, "type": "order.completed"})[:-1]
    texts = [f'{named}, "payload":{text}}}' for text in AWKWARD.values()]
    body = ('{"events":[' + ",\n".join(texts) + "]}").encode()
    events = shared_server.root.post("/v1/events/batch", body).expect(202)
    expected = {event["id"]: text.encode() for event, text in zip(events, AWKWARD.values(), strict=True)}
    receiver.wait_for(len(AWKWARD))
    assert {request.webhook_id: request.body for request in receiver.requests()} == expected


def test_the_payload_may_stand_anywhere_in_the_request(shared_server: Server, receiver: Receiver):
    tenant = make_tenant(shared_server.root)
    make_endpoint(shared_server.root.for_tenant(tenant), receiver.url())
    payload = '{ "tenant": "x",  "a": 1.0 }'
    body = f' {{"payload" : {payload} ,\n"unknown": [{{"payload": 1}}], "type":"a","tenant":"{tenant}"}} '
    shared_server.root.post("/v1/events", body.encode()).expect(202)
    [request] = receiver.wait_for(1)
    assert request.body == payload.encode()


def test_a_payload_of_exactly_the_limit_arrives_and_one_byte_more_is_413(shared_server: Server, receiver: Receiver):
    tenant = make_tenant(shared_server.root)
    make_endpoint(shared_server.root.for_tenant(tenant), receiver.url(), timeout_seconds=60)
    payload = '"' + "x" * (PAYLOAD_BYTES_MAX - 2) + '"'
    publish(shared_server.root, tenant, payload).expect(202)
    publish(shared_server.root, tenant, payload[:-1] + 'x"').problem(413)
    [request] = receiver.wait_for(1)
    assert request.body == payload.encode()


def test_both_secrets_of_a_rotation_sign_and_each_verifies(shared_server: Server, receiver: Receiver):
    tenant = make_tenant(shared_server.root)
    client = shared_server.root.for_tenant(tenant)
    endpoint = make_endpoint(client, receiver.url())
    rotated = client.post(f"/v1/endpoints/{endpoint['id']}/rotate-secret", {"grace_seconds": 600}).expect(200)
    assert rotated["secret"] != endpoint["secret"]
    publish(client, tenant).expect(202)
    [request] = receiver.wait_for(1)
    assert len((request.header("webhook-signature") or "").split(" ")) == 2
    for secret in (endpoint["secret"], rotated["secret"]):
        verify_with_both(secret, [request])


def test_a_secret_that_is_plain_text_keys_with_its_bytes(shared_server: Server, receiver: Receiver):
    secret = "a plain secret, not base64!"
    tenant = make_tenant(shared_server.root)
    make_endpoint(shared_server.root.for_tenant(tenant), receiver.url(), secret=secret)
    publish(shared_server.root, tenant, '{"plain":true}').expect(202)
    [request] = receiver.wait_for(1)
    # The libraries take text as base64; bytes they take as they are.
    Webhook(secret.encode()).verify(request.body, signatures.signature_headers(request))


def test_the_published_vectors_are_what_both_libraries_sign():
    lines = []
    for secret, id, timestamp, body, signature in VECTORS:
        assert Webhook(secret).sign(id, datetime.fromtimestamp(timestamp, UTC), body) == signature
        encoded = base64.b64encode(body.encode()).decode()
        lines.append({"secret": secret, "id": id, "timestamp": timestamp, "body": encoded, "signature": signature})
    assert signatures.verify_in_javascript(lines) == len(VECTORS)


def test_the_javascript_verifier_refuses_a_changed_body():
    secret, id, timestamp, _, signature = VECTORS[0]
    changed = base64.b64encode(b'{"test": 2432232315}').decode()
    with pytest.raises(AssertionError, match="expected v1,g0hM9SsE"):
        signatures.verify_in_javascript(
            [{"secret": secret, "id": id, "timestamp": timestamp, "body": changed, "signature": signature}]
        )
