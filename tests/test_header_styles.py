"""The headers that receivers know from elsewhere, verified by their official libraries, or as a receiver would who read nothing
but the description of that style."""

import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime

import pytest
import stripe

from support.api import deliveries, make_endpoint, make_key, make_tenant, publish
from support.receiver import Received, Receiver
from support.server import Server
from support.signatures import line_svix, verify, verify_in_javascript, verify_under
from support.waiting import until

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


def check_stripe(secret: str, request: Received, event: dict) -> None:
    stripe.Webhook.construct_event(request.body, header(request, "Stripe-Signature"), secret)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(request.body + b" ", header(request, "Stripe-Signature"), secret)


def check_github(secret: str, request: Received, event: dict) -> None:
    # "Validating webhook deliveries": the hex digest of the HMAC of the body, after `sha256=`.
    name, _, digest = header(request, "X-Hub-Signature-256").partition("=")
    assert name == "sha256"
    assert hmac.compare_digest(digest, hexadecimal(secret, request.body))


def check_shopify(secret: str, request: Received, event: dict) -> None:
    # "Verify the webhook": the digest of the body in base64.
    digest = base64.b64decode(header(request, "X-Shopify-Hmac-Sha256"), validate=True)
    assert hmac.compare_digest(digest, hmac.digest(secret.encode(), request.body, "sha256"))


def check_svix(secret: str, request: Received, event: dict) -> None:
    assert header(request, "svix-id") == event["id"]
    if secret.startswith("whsec_"):
        assert verify_in_javascript([line_svix(secret, request)]) == 1


def check_prefix(secret: str, request: Received, event: dict) -> None:
    assert header(request, "x-acme-id") == event["id"]
    if secret.startswith("whsec_"):
        verify_under("x-acme", secret, request)


CHECKS = {"organization": check_organization, "apps": check_apps, "v1": check_v1}
CHECKS |= {"stripe": check_stripe, "github": check_github, "shopify": check_shopify}
CHECKS |= {"svix": check_svix, "prefix:x-acme": check_prefix}
SEVERAL = ["v1", "stripe", "github", "shopify", "svix", "prefix:x-acme"]


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


def test_several_styles_sign_one_request_and_the_attempt_shows_them_all(shared_server: Server, receiver: Receiver):
    root = shared_server.root
    tenant = make_tenant(root)
    client = root.for_tenant(tenant)
    styles = ["standard", *SEVERAL]
    made = make_endpoint(client, receiver.url(), secret=SECRETS[1], header_styles=styles)
    assert made["header_styles"] == styles
    event = publish(root, tenant, PAYLOAD, "order.paid").expect(202)
    [request] = receiver.wait_for(1)
    verify(SECRETS[1], request)
    for style in SEVERAL:
        CHECKS[style](SECRETS[1], request, event)
    [delivery] = until(lambda: deliveries(client, "status=delivered"), "the attempt is recorded")
    [attempt] = client.get(f"/v1/deliveries/{delivery['id']}").expect(200)["attempts"]
    shown = {name.lower(): value for name, value in attempt["request_headers"].items()}
    for name in ("stripe-signature", "x-hub-signature-256", "x-shopify-hmac-sha256", "svix-id", "x-acme-signature"):
        assert shown[name] == header(request, name)


def test_a_rotation_gives_receivers_with_room_for_several_signatures_both(shared_server: Server, receiver: Receiver):
    root = shared_server.root
    tenant = make_tenant(root)
    client = root.for_tenant(tenant)
    made = make_endpoint(client, receiver.url(), secret=SECRETS[1], header_styles=["standard", *SEVERAL])
    new = client.post(f"/v1/endpoints/{made['id']}/rotate-secret").expect(200)["secret"]
    event = publish(root, tenant, PAYLOAD, "order.paid").expect(202)
    [request] = receiver.wait_for(1)
    for secret in (new, SECRETS[1]):
        verify(secret, request)
        for style in ("stripe", "svix", "prefix:x-acme"):
            CHECKS[style](secret, request, event)
    for style in ("github", "shopify", "v1"):
        CHECKS[style](new, request, event)


REFUSED = [
    ({"header_styles": ["standard", "paypal"]}, "header_styles.1"),
    ({"header_styles": ["svix", "stripe"]}, "header_styles"),
    ({"header_styles": ["standard", "v1", "svix", "apps"]}, "header_styles.3"),
    ({"header_styles": ["standard", *(f"prefix:p{n}" for n in range(8))]}, "header_styles"),
    *(
        ({"header_styles": ["standard", f"prefix:{taken}"]}, "header_styles.1")
        for taken in ("", "webhook", "x-webhook", "Svix", "stripe", "x-hub", "x-shopify", "acme-", "a b", "a,b")
    ),
    (
        {"header_styles": ["standard", "prefix:acme"], "headers_json": {"Acme-Signature": "x"}},
        "headers_json.Acme-Signature",
    ),
    *(
        ({"headers_json": {name: "x"}}, f"headers_json.{name}")
        for name in ("Svix-Id", "Stripe-Signature", "X-Hub-Signature-256", "X-Shopify-Hmac-Sha256", "X-Webhook-Event")
    ),
]


@pytest.mark.parametrize(("fields", "at_fault"), REFUSED)
def test_what_cannot_be_signed_together_is_refused_by_name(shared_server: Server, fields: dict, at_fault: str):
    client = shared_server.root.for_tenant(make_tenant(shared_server.root))
    body = {"name": "x", "url": "https://example.com/hook"}
    assert client.post("/v1/endpoints", body | fields).fields() == [at_fault]
    made = client.post("/v1/endpoints", body).expect(201)
    assert client.patch(f"/v1/endpoints/{made['id']}", fields).fields() == [at_fault]


def test_an_endpoint_made_through_v1_is_signed_as_v1s_receivers_know_it(shared_server: Server, receiver: Receiver):
    root = shared_server.root
    tenant = make_tenant(root)
    made = make_endpoint(root.for_tenant(tenant), receiver.url())
    assert made["header_styles"] == ["standard", "v1"]
    event = publish(root, tenant, PAYLOAD, "order.paid").expect(202)
    [request] = receiver.wait_for(1)
    check_v1(made["secret"], request, event)
    verify(made["secret"], request)


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


def test_style_apps_signs_under_the_prefix_of_its_project_whatever_custom_headers_say(
    shared_server: Server, receiver: Receiver
):
    root = shared_server.root
    path = "/v1/projects/" + root.post("/v1/projects", {"name": "prefixed"}).expect(201)["id"]
    project = shared_server.client(make_key(root, "project", project="prefixed")["key"])
    tenant = make_tenant(project)
    make_endpoint(
        project.for_tenant(tenant),
        receiver.url(),
        secret=SECRETS[1],
        header_styles=["standard", "apps"],
        headers_json={"X-Acme-Signature": "forged", "x-acme-timestamp": "0"},
    )
    event = publish(project, tenant, PAYLOAD, "order.paid").expect(202)
    [before] = receiver.wait_for(1)
    check_apps(SECRETS[1], before, event)
    assert header(before, "x-acme-signature") == "forged"

    shown = root.patch(path, {"signature_prefix": "X-Acme"}).expect(200)
    assert shown["signature_prefix"] == "x-acme"
    publish(project, tenant, PAYLOAD, "order.paid").expect(202)
    request = receiver.wait_for(2)[1]
    assert header(request, "X-Acme-Signature") == hexadecimal(SECRETS[1], request.body)
    sent_at = datetime.fromtimestamp(int(header(request, "X-Acme-Timestamp")) / 1000, UTC)
    assert abs((sent_at - datetime.now(UTC)).total_seconds()) < 60
    assert not [name for name, _ in request.headers if name.lower().startswith("x-webhook-")]
    verify(SECRETS[1], request)

    for taken in ("webhook", "Svix", "stripe", "x-hub", "x-shopify", "x-stentor", "x-acme-", "x acme", "1x", ""):
        assert root.patch(path, {"signature_prefix": taken}).fields() == ["signature_prefix"], taken
    assert root.patch(path, {"signature_prefix": None}).expect(200)["signature_prefix"] == "x-webhook"
    event = publish(project, tenant, PAYLOAD, "order.paid").expect(202)
    check_apps(SECRETS[1], receiver.wait_for(3)[2], event)
