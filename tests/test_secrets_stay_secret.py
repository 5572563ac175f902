"""Canaries: secrets, payloads and tokens of URLs appear in no log and no error, and secrets not on disk."""

import base64
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import process
from support.api import make_endpoint, make_key, make_tenant, publish
from support.client import Client
from support.postgres import Cluster
from support.receiver import Receiver, Reply, in_turn
from support.server import ROOT_KEY, Server
from support.waiting import until

SIGNING_KEY = b"canary-signing-secret-of-32-byte"
SIGNING_SECRET = "whsec_" + base64.b64encode(SIGNING_KEY).decode()
PLAIN_SECRET = "canary-plain-signing-secret"
HEADER_VALUE = "canary-header-value"
TOKEN = "canary-url-token"
PAYLOAD = "canary-payload-marker"
ANSWER = "canary-answer-body"
PASSWORD = "canary-url-password"

pytestmark = pytest.mark.engines("sqlite", "postgres")


@dataclass
class Scene:
    """A server that has seen every canary, in success and in failure."""

    server: Server
    client: Client
    keys: list[str]
    drawn: str
    errors: list[bytes]


def refusals(client: Client, root: Client, tenant: str) -> list[bytes]:
    """The bodies of refusals of requests that carried canaries."""
    secret = {"name": "n", "url": "https://example.com/", "secret": SIGNING_SECRET}
    header = {"headers_json": {"X-Api-Key": HEADER_VALUE}}
    answers = [
        publish(root, tenant, f'{{"a":"{PAYLOAD}", nonsense}}'),
        publish(root, tenant, f'{{"a":"{PAYLOAD}"}}', event_type="no good"),
        publish(root, "nobody", f'"{PAYLOAD}"'),
        root.post("/v1/events", f'{{"payload":"{PAYLOAD}"'.encode()),
        root.post("/v1/events", f'"{PAYLOAD}"'.encode(), {"Content-Type": "text/plain"}),
        publish(root, tenant, f'"{PAYLOAD}{"x" * 300_000}"'),
        client.post("/v1/endpoints", secret | header | {"timeout_seconds": 0}),
        client.post("/v1/endpoints", secret | {"url": f"http://example.com/?token={TOKEN}"}),
        client.post("/v1/endpoints", secret | {"url": f"https://a:{PASSWORD}@example.com/"}),
        client.post("/v1/endpoints", secret | {"secret": PLAIN_SECRET * 20}),
        client.post("/v1/endpoints", secret | {"headers_json": {"Host": HEADER_VALUE}}),
        client.post("/v1/endpoints", secret | {"headers_json": {"X-Api-Key": HEADER_VALUE + "\n"}}),
        client.post("/v1/endpoints", f'{{"secret":"{SIGNING_SECRET}", nonsense}}'.encode()),
        # A parser's own words quote the value of the wrong type.
        client.post("/v1/endpoints", secret | {"headers_json": HEADER_VALUE}),
        client.post("/v1/endpoints", secret | {"retry_schedule": SIGNING_SECRET}),
        root.post("/v1/events", f'"{PAYLOAD}"'.encode()),
        root.post("/v1/events/batch", f'{{"events":["{PAYLOAD}"]}}'.encode()),
        client.with_key(ROOT_KEY[:-1] + "!").get("/v1/tenants"),
    ]
    assert all(400 <= answer.status < 500 for answer in answers), [answer.status for answer in answers]
    return [answer.body for answer in answers]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str | None]) -> Iterator[Scene]:
    """Sets the scene once, and stops the server so that everything is written."""
    receiver = Receiver()
    options = ["--log-level", "trace"]
    server = Server(tmp_path_factory.mktemp("secrets"), options=options, database_url=new_database()).start()
    try:
        root = server.root
        tenant = make_tenant(root)
        keys = [
            make_key(root, role, **fields)["key"] for role, fields in (("project", {}), ("tenant", {"tenant": tenant}))
        ]
        client = server.client(keys[1])
        headers = {"X-Api-Key": HEADER_VALUE, "X-Plain": HEADER_VALUE}
        statuses = in_turn([500, 200])
        # The receiver repeats a header that nobody is shown.
        answer = f"{ANSWER} {HEADER_VALUE}".encode()
        urls = {
            SIGNING_SECRET: receiver.url(
                f"/a?token={TOKEN}", lambda request: Reply(statuses(request).status, body=answer)
            ),
            PLAIN_SECRET: f"http://127.0.0.1:1/?token={TOKEN}",
        }
        for secret, url in urls.items():
            make_endpoint(client, url, secret=secret, headers_json=headers, retry_schedule=[1])
        drawn = client.post("/v1/endpoints", {"name": "n", "url": receiver.url("/b")}).expect(201)
        publish(root, tenant, f'"{PAYLOAD}"', event_id="e-1").expect(202)
        client.post(f"/v1/endpoints/{drawn['id']}/test", {}).expect(200)
        rotated = client.post(f"/v1/endpoints/{drawn['id']}/rotate-secret", {}).expect(200)
        errors = refusals(client, root, tenant)
        until(lambda: not client.get("/v1/deliveries?status=pending").expect(200)["data"], "nothing is pending")
        assert HEADER_VALUE in receiver.requests("/a")[0].raw_head.decode(), "the canary was never sent"
        server.stop()
        yield Scene(server, client, [ROOT_KEY, *keys], drawn["secret"] + "\n" + rotated["secret"], errors)
    finally:
        server.discard()
        receiver.close()


def canaries(scene: Scene) -> list[str]:
    """Everything that no log and no error may show."""
    encoded = SIGNING_SECRET.removeprefix("whsec_")
    known = [encoded, SIGNING_KEY.decode(), PLAIN_SECRET, HEADER_VALUE, TOKEN, PAYLOAD, ANSWER, PASSWORD]
    return [*known, *scene.keys, *scene.drawn.split("\n")]


def test_the_log_at_its_most_verbose_level_shows_none(scene: Scene):
    log = scene.server.log
    assert "TRACE" in log or "DEBUG" in log, "the log is not verbose, and so proves nothing"
    shown = [canary for canary in canaries(scene) if canary in log]
    assert not shown, shown


def test_no_error_shows_one(scene: Scene):
    shown = [(canary, body) for canary in canaries(scene) for body in scene.errors if canary.encode() in body]
    assert not shown, shown


def stored_bytes(server: Server) -> bytes:
    """Every byte of every file of the data directory, and of every value of every table on a PostgreSQL server."""
    content = b"".join(path.read_bytes() for path in sorted(server.data.rglob("*")) if path.is_file())
    if server.database_url is None:
        return content
    cluster, database = Cluster(server.database_url), server.database_url.rpartition("/")[2]
    for [table] in cluster.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database):
        for row in cluster.sql(f'SELECT one::text FROM ONLY "{table}" AS one', database):
            text = "\t".join(row)
            # Bytes are shown as \\x and hexadecimal digits.
            content += text.encode() + b"".join(map(bytes.fromhex, re.findall(r"\\x((?:[0-9a-f]{2})+)", text)))
    return content


def test_what_is_stored_holds_no_secret_header_value_or_key(scene: Scene):
    content = stored_bytes(scene.server)
    assert PAYLOAD.encode() in content, "the payload is stored in clear: the search sees what it should"
    drawn = [base64.b64decode(secret.removeprefix("whsec_")) for secret in scene.drawn.split("\n")]
    sealed = [SIGNING_SECRET, SIGNING_KEY, PLAIN_SECRET, HEADER_VALUE, *scene.keys, *scene.drawn.split("\n"), *drawn]
    found = [secret for secret in sealed if (secret.encode() if isinstance(secret, str) else secret) in content]
    assert not found, found


def test_the_master_key_that_was_made_is_for_its_owner_only(scene: Scene):
    others = stat.S_IRWXG | stat.S_IRWXO
    files = [path for path in scene.server.data.rglob("*") if path.is_file() and not path.name.startswith("stentor.db")]
    assert files, "no master key was made"
    open_to_others = [path.name for path in files if path.stat().st_mode & others]
    assert not open_to_others


def test_a_made_root_key_is_printed_once_and_not_logged_again(servers: Callable[..., Server]):
    server = servers(root_key=None, options=["--log-level", "trace"])
    server.start()
    server.stop()
    server.start()
    server.stop()
    made = [word.strip("\"'.,;:") for word in server.log.split() if "stn_root_" in word]
    assert len(made) == 1, f"printed {len(made)} times"


def test_help_does_not_show_secrets(tmp_path: Path):
    done = process.run("serve", "--help", cwd=tmp_path, variables={"STENTOR_ROOT_KEY": ROOT_KEY})
    assert ROOT_KEY not in done.stdout + done.stderr
