"""Secrets of the kind `whsk_`: what is signed is verified with the public key that the endpoint shows, and nothing else, by PyNaCl
and by Node's own cryptography."""

import base64
from typing import Any

import pytest
from nacl.signing import SigningKey

from support.api import make_endpoint, make_tenant, publish
from support.client import Client
from support.receiver import Receiver
from support.server import Server
from support.signatures import (
    line,
    line_ed25519,
    signature_headers,
    verify,
    verify_ed25519,
    verify_in_javascript,
)

PAIR = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
HMAC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PAYLOAD = '{"order": 7, "total": 1.50, "note": "Grüße"}'
HMAC_STYLES = ("organization", "apps", "v1", "stripe", "github", "shopify")

pytestmark = pytest.mark.engines("sqlite", "postgres")


def made_by(seed: bytes) -> tuple[str, str, str]:
    """The pair, the seed alone and the public key as an endpoint's owner would write them."""
    public = SigningKey(seed).verify_key.encode()
    encoded = (base64.b64encode(part).decode() for part in (seed + public, seed, public))
    return tuple(prefix + text for prefix, text in zip(("whsk_", "whsk_", "whpk_"), encoded, strict=True))


@pytest.fixture
def tenant(shared_server: Server) -> str:
    return make_tenant(shared_server.root)


@pytest.fixture
def client(shared_server: Server, tenant: str) -> Client:
    return shared_server.root.for_tenant(tenant)


def schemes(request: Any) -> list[str]:
    return [one.partition(",")[0] for one in signature_headers(request)["webhook-signature"].split(" ")]


@pytest.mark.parametrize("seed_alone", [False, True])
def test_a_receiver_verifies_with_the_public_key_alone(
    shared_server: Server, tenant: str, client: Client, receiver: Receiver, seed_alone: bool
):
    pair, seed, public = made_by(bytes(range(32)))
    made = make_endpoint(client, receiver.url(), secret=seed if seed_alone else pair)
    assert made["public_key"] == public and "secret" not in made
    publish(shared_server.root, tenant, PAYLOAD).expect(202)
    [request] = receiver.wait_for(1)
    assert request.body == PAYLOAD.encode() and schemes(request) == ["v1a"]
    verify_ed25519(public, request)
    assert verify_in_javascript([line_ed25519(public, request)]) == 1
    with pytest.raises(AssertionError, match="no signature by"):
        verify_ed25519(PUBLIC, request)


def test_endpoints_without_a_pair_have_no_public_key(client: Client, receiver: Receiver):
    assert make_endpoint(client, receiver.url())["public_key"] is None
    [listed] = client.get("/v1/endpoints").expect(200)
    assert listed["public_key"] is None


def test_a_rotation_draws_a_pair_and_both_sign_until_the_grace_ends(
    shared_server: Server, tenant: str, client: Client, receiver: Receiver
):
    made = make_endpoint(client, receiver.url(), secret=PAIR)
    path = f"/v1/endpoints/{made['id']}"
    drawn = client.post(f"{path}/rotate-secret").expect(200)["secret"]
    assert drawn.startswith("whsk_")
    public = client.get(path).expect(200)["public_key"]
    assert made_by(base64.b64decode(drawn.removeprefix("whsk_"))[:32])[::2] == (drawn, public)
    publish(shared_server.root, tenant, PAYLOAD).expect(202)
    [request] = receiver.wait_for(1)
    assert schemes(request) == ["v1a", "v1a"]
    lines = [line_ed25519(key, request) for key in (public, PUBLIC)]
    assert verify_in_javascript(lines) == len(lines)
    for key in (public, PUBLIC):
        verify_ed25519(key, request)


def test_receivers_of_both_kinds_verify_while_the_kind_changes(
    shared_server: Server, tenant: str, client: Client, receiver: Receiver
):
    made = make_endpoint(client, receiver.url(), secret=HMAC, header_styles=["standard", "svix"])
    path = f"/v1/endpoints/{made['id']}"
    assert client.post(f"{path}/rotate-secret", {"secret": PAIR}).expect(200) == {}
    assert client.get(path).expect(200)["public_key"] == PUBLIC
    publish(shared_server.root, tenant, PAYLOAD).expect(202)
    [request] = receiver.wait_for(1)
    assert schemes(request) == ["v1a", "v1"]
    assert request.header("svix-signature") == request.header("webhook-signature")
    verify_ed25519(PUBLIC, request)
    verify(HMAC, request)
    assert verify_in_javascript([line_ed25519(PUBLIC, request), line(HMAC, request)]) == 2

    client.patch(path, {"secret": PAIR}).expect(200)
    publish(shared_server.root, tenant, PAYLOAD).expect(202)
    assert schemes(receiver.wait_for(2)[1]) == ["v1a"]


@pytest.mark.parametrize(
    "secret",
    [
        "whsk_your_signing_secret",
        PAIR[:-2],
        PAIR.replace("Kvg==", "Kvw=="),
        "whsk_" + base64.b64encode(bytes(33)).decode(),
        "whsk_" + base64.b64encode(bytes(64)).decode(),
    ],
)
def test_what_is_no_pair_is_refused(client: Client, secret: str):
    body = {"name": "x", "url": "https://example.com/hook"}
    assert client.post("/v1/endpoints", body | {"secret": secret}).fields() == ["secret"]
    made = client.post("/v1/endpoints", body).expect(201)
    path = f"/v1/endpoints/{made['id']}"
    assert client.patch(path, {"secret": secret}).fields() == ["secret"]
    assert client.post(f"{path}/rotate-secret", {"secret": secret}).fields() == ["secret"]


@pytest.mark.parametrize("style", HMAC_STYLES)
def test_a_style_of_an_hmac_and_a_pair_are_refused_whichever_comes_second(client: Client, style: str):
    body = {"name": "x", "url": "https://example.com/hook"}
    styles = {"header_styles": ["standard", style]}
    assert client.post("/v1/endpoints", body | styles | {"secret": PAIR}).fields() == ["secret"]
    of_pair = client.post("/v1/endpoints", body | {"secret": PAIR}).expect(201)
    assert client.patch(f"/v1/endpoints/{of_pair['id']}", styles).fields() == ["header_styles"]
    of_hmac = client.post("/v1/endpoints", body | styles).expect(201)
    path = f"/v1/endpoints/{of_hmac['id']}"
    assert client.patch(path, {"secret": PAIR}).fields() == ["secret"]
    assert client.post(f"{path}/rotate-secret", {"secret": PAIR}).fields() == ["secret"]
    assert client.get(path).expect(200)["public_key"] is None
