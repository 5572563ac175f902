"""Verification by the official libraries, in Python and in JavaScript, and of ed25519, which they do not know, by PyNaCl and
Node's own cryptography; never by code of ours."""

import base64
import json
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from standardwebhooks.webhooks import Webhook

from support.receiver import Received

NODE_TESTS = Path(__file__).resolve().parents[1] / "node"
NODE_SECONDS_MAX = 120
PREFIX = "webhook"
ED25519 = "v1a,"


def signature_headers(request: Received, prefix: str = PREFIX) -> dict[str, str]:
    """The three headers of Standard Webhooks, or of another prefix; fails when one is missing or doubled."""
    values = {name: request.header(name) for name in (f"{prefix}-{part}" for part in ("id", "timestamp", "signature"))}
    missing = [name for name, value in values.items() if value is None]
    assert not missing, f"{missing} missing in {request.raw_head!r}"
    return {name: value for name, value in values.items() if value is not None}


def verify(secret: str, request: Received) -> None:
    """Verifies a delivery of the last minutes (the library refuses older ones); raises if it is not right."""
    Webhook(secret).verify(request.body, signature_headers(request))


def verify_under(prefix: str, secret: str, request: Received) -> None:
    """Verifies the same headers under another prefix, which no library knows: as its receivers would, who rename them."""
    headers = signature_headers(request, prefix)
    renamed = {name.replace(prefix, PREFIX, 1): value for name, value in headers.items()}
    Webhook(secret).verify(request.body, renamed)


def verify_ed25519(public_key: str, request: Received) -> None:
    """Verifies the `v1a` signature of a delivery with its endpoint's public key alone; raises if none is by it."""
    headers = signature_headers(request)
    assert public_key.startswith("whpk_")
    key = VerifyKey(base64.b64decode(public_key.removeprefix("whpk_"), validate=True))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    faults = []
    for one in headers["webhook-signature"].split(" "):
        if one.startswith(ED25519):
            try:
                key.verify(signed, base64.b64decode(one.removeprefix(ED25519), validate=True))
                return
            except BadSignatureError as fault:
                faults.append(fault)
    raise AssertionError(f"no signature by {public_key}: {headers['webhook-signature']} {faults}")


def line_ed25519(public_key: str, request: Received) -> dict[str, Any]:
    """A delivery signed with ed25519, as `verify_in_javascript` takes it."""
    return {
        "public_key": public_key,
        "body": base64.b64encode(request.body).decode(),
        "headers": signature_headers(request),
    }


def line_svix(secret: str, request: Received) -> dict[str, Any]:
    """A delivery's `svix-` headers, and no others, as `verify_in_javascript` takes them for Svix's library."""
    return {
        "secret": secret,
        "library": "svix",
        "body": base64.b64encode(request.body).decode(),
        "headers": signature_headers(request, "svix"),
    }


def signed_by(secret: str, request: Received) -> bool:
    """Is one of the signatures what the official library signs? For deliveries of any age."""
    headers = signature_headers(request)
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret).sign(headers["webhook-id"], at, request.body.decode())
    return expected in headers["webhook-signature"].split(" ")


def line(secret: str, request: Received) -> dict[str, Any]:
    """A delivery as `verify_in_javascript` takes it."""
    return {
        "secret": secret,
        "body": base64.b64encode(request.body).decode(),
        "headers": signature_headers(request),
    }


def verify_in_javascript(lines: Iterable[dict[str, Any]]) -> int:
    """Has one Node process verify all lines, and gives their number; fails with the first ones that do not hold."""
    done = subprocess.run(
        ["node", "verify.mjs"],
        cwd=NODE_TESTS,
        input="".join(json.dumps(one) + "\n" for one in lines),
        capture_output=True,
        text=True,
        timeout=NODE_SECONDS_MAX,
        check=False,
    )
    assert done.stdout, f"node printed nothing: {done.stderr}"
    found = json.loads(done.stdout)
    assert done.returncode == 0 and not found["faults"], found
    return found["verified"]
