"""Recorded exchanges: each request to a contract and its whole answer, as a file that a person can read beside the
contract's published text.

Only what differs between two runs is masked: ids, secrets, times, ports, cursors, signatures and durations. Everything
else must be exactly what is in the file: the status, every header, every key of the body and their order, every value.

`STENTOR_RECORD_EXCHANGES=1` writes the files anew; read the difference before it is kept.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from .client import Answer, Client, Json

ROOT = Path(__file__).parent.parent / "exchanges"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
# In this order: the later ones would match parts of the earlier ones.
MASKS = [
    (re.compile(r"whs_[0-9a-f]{42}\b"), "whs_{42 hex}"),
    (re.compile(r"whsec_[A-Za-z0-9+/]{43}="), "whsec_{32 bytes}"),
    (re.compile(r"whsk_[A-Za-z0-9+/]{86}=="), "whsk_{64 bytes}"),
    (re.compile(r"stn_(\w+?)_[0-9A-Za-z]{43}"), r"stn_\1_{key}"),
    (re.compile(UUID), "{uuid}"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "{time with milliseconds}"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "{time in whole seconds}"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:{port}"),
    (re.compile(r"\bcursor=[A-Za-z0-9_-]{20,}"), "cursor={cursor}"),
    (re.compile(r"v1,[A-Za-z0-9+/]{43}="), "v1,{signature}"),
    (re.compile(r"v1=[0-9a-f]{64}\b"), "v1={signature}"),
    (re.compile(r"try again in \d+ s\b"), "try again in {seconds} s"),
    (re.compile(r"^(stentor_\w+(?:\{[^}]*\})?) \S+$", re.MULTILINE), r"\1 {number}"),
    (re.compile(r"(;r=\d+;t=)\d+\b"), r"\1{seconds}"),
]
# What tells when, how long, and where a page begins: by name, since any number would do.
MASKED_HEADERS = {"x-ratelimit-reset": "{unix seconds}", "retry-after": "{seconds}"}
MASKED_FIELDS = {
    "responseTime": "{milliseconds}",
    "response_time_ms": "{milliseconds}",
    "nextCursor": "{cursor}",
    "next_cursor": "{cursor}",
    "webhook-timestamp": "{unix seconds}",
    "x-webhook-timestamp": "{unix seconds}",
    "connect_ms": "{milliseconds}",
    "first_byte_ms": "{milliseconds}",
    "total_ms": "{milliseconds}",
    "p50": "{milliseconds}",
    "p95": "{milliseconds}",
    "p99": "{milliseconds}",
}
# Said of every answer by HTTP itself.
LEFT_OUT_HEADERS = {"date", "content-length"}


class Exchanges:
    """The files of one contract. `close` fails where one of them was not made by a request."""

    def __init__(self, contract: str) -> None:
        self.folder = ROOT / contract
        self.recording = os.environ.get("STENTOR_RECORD_EXCHANGES") == "1"
        self.made: set[str] = set()

    def exchange(
        self,
        name: str,
        client: Client,
        method: str,
        path: str,
        body: Json | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Sends a request and compares it and its answer with the file `name`; gives the answer."""
        assert name not in self.made, f"{name} is made twice"
        self.made.add(name)
        answer = client.request(method, path, body, headers)
        sent = {"x-tenant": "{tenant}"} if "X-Tenant" in client.headers else {}
        if client.key is not None:
            sent["authorization"] = "Bearer {key}"
        sent |= {header.lower(): value for header, value in (headers or {}).items()}
        told = {header: value for header, value in answer.headers.items() if header not in LEFT_OUT_HEADERS}
        text = shown(f"{method} {path}", sent, body) + "\n" + shown(str(answer.status), told, answer.body)
        file = self.folder / f"{name}.txt"
        if self.recording:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        assert text == file.read_text(), f"{file.name}: the exchange differs from what is recorded"
        return answer

    def close(self) -> None:
        """Fails where a file is left that no exchange made."""
        recorded = {file.stem for file in self.folder.glob("*.txt")}
        assert recorded == self.made, f"left over: {recorded - self.made}"


def shown(first: str, headers: dict[str, str], body: Json | bytes | None) -> str:
    """One side of an exchange, masked: its first line, its headers by name, its body."""
    lines = [first, *(f"{name}: {MASKED_HEADERS.get(name, value)}" for name, value in sorted(headers.items()))]
    if body:
        lines += ["", body_shown(body)]
    return masked("\n".join(lines)) + "\n"


def body_shown(body: Json | bytes) -> str:
    """A body with its keys in their own order; what is no JSON as it is."""
    if isinstance(body, bytes):
        try:
            body = json.loads(body)
        except ValueError:
            return body.decode(errors="replace")
    return json.dumps(without_varying(body), indent=2, ensure_ascii=False)


def without_varying(value: Any) -> Any:
    """The same with what differs between two runs masked by name, where there is any."""
    if isinstance(value, dict):
        return {
            name: MASKED_FIELDS[name] if name in MASKED_FIELDS and inner is not None else without_varying(inner)
            for name, inner in value.items()
        }
    return [without_varying(inner) for inner in value] if isinstance(value, list) else value


def masked(text: str) -> str:
    """A text without what differs between two runs."""
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    return text
