"""The headers that receivers of each contract know, verified as a receiver would who read nothing but that contract."""

import hashlib
import hmac
import re
from datetime import UTC, datetime

import pytest

from support.api import make_endpoint, make_tenant, publish
from support.receiver import Received, Receiver
from support.server import Server
from support.signatures import verify

SECRETS = ["whs_a1b2c3d4e5f6789012345678901234567890abcdef", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
PAYLOAD = '{"order": 7, "total": 1.50, "note": "Grüße"}'


def hexadecimal(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def header(request: Received, name: str) -> str:
    value = request.header(name)
    assert value is not None, f"{name} is missing in {request.raw_head!r}"
    return value


def check_organization(secret: str, request: Received, event: dict) -> None:
    assert header(request, "X-Webhook-Signature") == hexadecimal(secret, request.body)
    assert header(request, "X-Webhook-Event") == "order.paid"
    assert header(request, "X-Webhook-Timestamp") == event["created_at"]
    datetime.fromisoformat(header(request, "X-Webhook-Timestamp"))


def check_apps(secret: str, request: Received, event: dict) -> None:
    assert header(request, "x-webhook-signature") == hexadecimal(secret, request.body)
    sent_at = datetime.fromtimestamp(int(header(request, "x-webhook-timestamp")) / 1000, UTC)
    assert abs((sent_at - datetime.now(UTC)).total_seconds()) < 60


def check_v1(secret: str, request: Received, event: dict) -> None:
    timestamp = header(request, "X-Webhook-Timestamp")
    signed = timestamp.encode() + b"." + request.body
    assert header(request, "X-Webhook-Signature") == "v1=" + hexadecimal(secret, signed)
    assert header(request, "X-Webhook-Event") == "order.paid"
    assert re.fullmatch(r"[0-9a-f-]{36}", header(request, "X-Webhook-Delivery"))


CHECKS = {"organization": check_organization, "apps": check_apps, "v1": check_v1}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("style", CHECKS)
def test_a_contracts_receiver_verifies_what_is_sent_beside_the_standard_headers(
    shared_server: Server, receiver: Receiver, style: str, secret: str
):
    root = shared_server.root
    tenant = make_tenant(root)
    client = root.for_tenant(tenant)
    made = make_endpoint(client, receiver.url(), secret=secret, header_styles=["standard", style])
    assert made["header_styles"] == ["standard", style]
    event = publish(root, tenant, PAYLOAD, "order.paid").expect(202)
    [request] = receiver.wait_for(1)
    assert request.body == PAYLOAD.encode()
    CHECKS[style](secret, request, event)
    if secret.startswith("whsec_"):
        verify(secret, request)


def test_a_rotation_signs_with_the_newest_secret_where_there_is_room_for_one(
    shared_server: Server, receiver: Receiver
):
    root = shared_server.root
    tenant = make_tenant(root)
    client = root.for_tenant(tenant)
    made = make_endpoint(client, receiver.url(), secret=SECRETS[0], header_styles=["standard", "v1"])
    rotated = client.post(f"/v1/endpoints/{made['id']}/rotate-secret").expect(200)
    event = publish(root, tenant, PAYLOAD, "order.paid").expect(202)
    [request] = receiver.wait_for(1)
    check_v1(rotated["secret"], request, event)
    assert len(header(request, "webhook-signature").split()) == 2
