"""The running server against the document of each contract: requests made from the document, right and wrong, with
schemathesis. Every answer is as the document says, none is a fault of the server's, and nothing that another tenant
keeps is ever in one.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.api import make_key, make_tenant, publish
from support.client import Client
from support.ports import HOST
from support.server import Server

# In names, descriptions and payloads of the other tenant, and in no request of the run.
CANARY = "canary7f3a"
# About half a minute for each document: the native one has six times as many operations.
EXAMPLES_PER_OPERATION = {"v1": 25, "organization": 150, "apps": 100, "subscriptions": 150}
RUN_SECONDS_MAX = 240
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ignored_auth",
]
UNLIMITED = [
    "--failed-authentication-per-minute=0",
    "--organization-requests-per-minute=0",
    "--organization-sandbox-requests-per-minute=0",
    "--subscriptions-requests-per-minute=0",
    "--subscriptions-patch-requests-per-minute=0",
]


@dataclass(frozen=True)
class Foreign:
    """What another tenant has."""

    tenant: str
    endpoint: str
    event: str
    delivery: str
    replay: str
    key: str

    def named(self, contract: str, path: str, parameter: str) -> str | None:
        """How a contract names it in the parameter of a path."""
        uuid = self.endpoint.removeprefix("ep_")
        match contract, parameter:
            case "organization", _:
                return f"wh-{uuid}"
            case "apps", "appId":
                return self.tenant
            case "apps", _:
                return uuid
            case "subscriptions", _:
                return "1"
        resources = {"endpoints": self.endpoint, "events": self.event, "deliveries": self.delivery, "keys": self.key}
        resources["replays"] = self.replay
        return resources.get(path.split("/")[2], self.tenant)


def make_foreign(root: Client) -> Foreign:
    """Fills another tenant with things that tell where they come from."""
    tenant = make_tenant(root, CANARY, uid=CANARY, metadata={"note": CANARY})
    client = root.for_tenant(tenant)
    fields = {"name": CANARY, "url": f"http://127.0.0.1:9/{CANARY}", "description": CANARY, "uid": CANARY}
    endpoint = client.post("/v1/endpoints", fields).expect(201)["id"]
    event = publish(root, tenant, payload=f'"{CANARY}"').expect(202)["id"]
    [delivery] = client.get(f"/v1/deliveries?event={event}").expect(200)["data"]
    replay = client.post("/v1/replays", {"endpoint": endpoint, "since": "2024-01-01T00:00:00Z"}).expect(202)["id"]
    key = make_key(root, "tenant", tenant=tenant, name=CANARY)["id"]
    return Foreign(tenant, endpoint, event, delivery["id"], replay, key)


def with_foreign_names(document: dict[str, Any], contract: str, foreign: Foreign) -> dict[str, Any]:
    """The document with the other tenant's things as the examples of its paths' parameters."""
    for path, item in document["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    parameter["examples"] = {"foreign": {"value": foreign.named(contract, path, parameter["name"])}}
    return document


def answered(report: Path) -> list[bytes]:
    """The bodies of all answers of a run."""
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    recorders = [line["ScenarioFinished"]["recorder"] for line in lines if "ScenarioFinished" in line]
    made = [made for recorder in recorders for made in recorder.get("interactions", {}).values()]
    contents = [(one.get("response") or {}).get("content") or {} for one in made]
    return [base64.b64decode(content["$base64"]) for content in contents if "$base64" in content]


def tenant_key(root: Client) -> str:
    """A key of a tenant."""
    return make_key(root, "tenant", tenant=make_tenant(root, "own", uid="own"))["key"]


def project_key(root: Client) -> str:
    """A key of another project than the one that all else is in."""
    project = root.post("/v1/projects", {"name": "own"}).expect(201)["id"]
    return make_key(root, "project", project=project)["key"]


@pytest.mark.parametrize(
    ("contract", "make"),
    [
        ("v1", tenant_key),
        ("v1", project_key),
        ("organization", tenant_key),
        ("apps", tenant_key),
        ("subscriptions", tenant_key),
    ],
)
def test_every_answer_is_as_the_document_says_and_nobody_elses(
    servers: Callable[..., Server], tmp_path: Path, contract: str, make: Callable[[Client], str]
):
    server = servers(options=UNLIMITED).start()
    root = server.root
    foreign = make_foreign(root)
    for name in ("order.completed", "order.failed"):
        root.post("/v1/event-types", {"name": name, "description": "An order"}).expect(201)
    document = root.get(f"/openapi/{contract}.json").expect(200)
    schema = tmp_path / "openapi.json"
    schema.write_text(json.dumps(with_foreign_names(document, contract, foreign)))
    report = tmp_path / "report.ndjson"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(schema)),
        *("--url", f"http://{HOST}:{server.port}", "--header", f"Authorization: Bearer {make(root)}"),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing,stateful"),
        *("--max-examples", str(EXAMPLES_PER_OPERATION[contract]), "--seed", os.environ.get("STENTOR_TEST_SEED", "1")),
        *("--report", "ndjson", "--report-ndjson-path", str(report), "--warnings", "off", "--no-color"),
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "Test cases:" in run.stdout, run.stdout[-2000:]
    bodies = answered(report)
    assert len(bodies) > EXAMPLES_PER_OPERATION[contract], "the report holds the answers"
    told = [body for body in bodies if CANARY.encode() in body]
    assert not told, f"the other tenant's things were told: {told[0][:2000]!r}"
    # The other tenant's things are as they were.
    kept = root.for_tenant(foreign.tenant).get(f"/v1/endpoints/{foreign.endpoint}").expect(200)
    assert (kept["name"], kept["status"]) == (CANARY, "ACTIVE")
    root.get(f"/v1/events/{foreign.event}").expect(200)
