"""Verification by the official `standardwebhooks` libraries, in Python and in JavaScript; never by code of ours."""

import base64
import json
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from standardwebhooks.webhooks import Webhook

from support.receiver import Received

NODE_TESTS = Path(__file__).resolve().parents[1] / "node"
NODE_SECONDS_MAX = 120
NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")


def signature_headers(request: Received) -> dict[str, str]:
    """The three headers of Standard Webhooks; fails when one is missing or doubled."""
    values = {name: request.header(name) for name in NAMES}
    missing = [name for name, value in values.items() if value is None]
    assert not missing, f"{missing} missing in {request.raw_head!r}"
    return {name: value for name, value in values.items() if value is not None}


def verify(secret: str, request: Received) -> None:
    """Verifies a delivery of the last minutes (the library refuses older ones); raises if it is not right."""
    Webhook(secret).verify(request.body, signature_headers(request))


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
