"""The commands beside `serve`, on real data."""

import base64
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from support import process, signatures
from support.api import deliveries, make_endpoint, make_key, make_tenant, publish
from support.ports import free_port
from support.receiver import Receiver
from support.server import ROOT_KEY, Server
from support.waiting import until

MASTER_KEY = {"STENTOR_MASTER_KEY": base64.b64encode(b"m" * 32).decode()}
OTHER_MASTER_KEY = {"STENTOR_MASTER_KEY": base64.b64encode(b"o" * 32).decode()}
REFUSED_SECONDS_MAX = 20

both_engines = pytest.mark.engines("sqlite", "postgres")


def refused(server: Server) -> str:
    """Starts a server that must end by itself with an error, and gives what it said."""
    server.spawn()
    assert server.wait(REFUSED_SECONDS_MAX) not in (0, None)
    assert "error: " in server.log, server.log
    return server.log[server.log.rindex("error: ") :]


def test_the_demo_delivers_and_ends_with_0(tmp_path: Path):
    done = process.run("demo", "--once", "--listen", f"127.0.0.1:{free_port()}", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"delivered|verified", done.stdout, re.IGNORECASE), done.stdout
    assert list(tmp_path.iterdir()) == [], "the demo leaves nothing behind"


def test_a_backup_of_a_running_server_serves_the_same_events(
    servers: Callable[..., Server], receiver: Receiver, tmp_path: Path
):
    server = servers(variables=MASTER_KEY).start()
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    secret = make_endpoint(client, receiver.url())["secret"]
    ids = {publish(server.root, tenant, str(number)).expect(202)["id"] for number in range(20)}
    until(lambda: len(deliveries(client, "status=delivered")) == 20, "all are delivered")
    copy = tmp_path / "backup.db"
    done = process.run("backup", "--data", server.data, copy, cwd=tmp_path, variables=MASTER_KEY)
    assert done.returncode == 0, done.stderr
    after = publish(server.root, tenant).expect(202)["id"]

    restored = servers(variables=MASTER_KEY, options=["--database-url", f"sqlite:{copy}"]).start()
    assert {event["id"] for event in restored.root.for_tenant(tenant).pages("/v1/events")} == ids
    assert {shown["status"] for shown in deliveries(restored.root.for_tenant(tenant))} == {"delivered"}
    # The copy can open its secrets, and signs as before.
    receiver.wait_for(21)
    publish(restored.root, tenant).expect(202)
    last = receiver.wait_for(22)[-1]
    assert last.webhook_id not in ids | {after}
    signatures.verify(secret, last)


def test_a_backup_does_not_overwrite_what_is_there(server: Server, tmp_path: Path):
    existing = tmp_path / "precious"
    existing.write_text("precious")
    done = process.run("backup", "--data", server.data, existing, cwd=tmp_path)
    assert done.returncode != 0 and "precious" in done.stderr
    assert existing.read_text() == "precious"


@both_engines
def test_a_key_made_offline_works_after_the_start(server: Server, tmp_path: Path):
    tenant = make_tenant(server.root, uid="acme")
    assert server.stop() == 0
    keys = {}
    for role, words in (("root", []), ("project", ["--name", "backend"]), ("tenant", ["--tenant", "acme"])):
        command = ["key", "create", "--role", role, *words, "--data", server.data]
        done = process.run(*command, cwd=tmp_path, variables=server.database_variables)
        assert done.returncode == 0, done.stderr
        [keys[role]] = re.findall(rf"stn_{role}_[0-9A-Za-z]{{43}}", done.stdout)
    server.start()
    server.client(keys["root"]).get("/v1/projects").expect(200)
    server.client(keys["project"]).get(f"/v1/tenants/{tenant}").expect(200)
    server.client(keys["tenant"]).get("/v1/endpoints").expect(200)
    server.client(keys["tenant"]).get("/v1/tenants").problem(403)


def test_a_key_is_not_made_offline_while_a_server_runs(server: Server, tmp_path: Path):
    done = process.run("key", "create", "--role", "root", "--data", server.data, cwd=tmp_path)
    assert done.returncode != 0 and done.stdout == ""
    assert "/v1/keys" in done.stderr


@both_engines
def test_a_key_for_an_unknown_tenant_is_refused(server: Server, tmp_path: Path):
    server.stop()
    command = ["key", "create", "--role", "tenant", "--tenant", "nobody", "--data", server.data]
    done = process.run(*command, cwd=tmp_path, variables=server.database_variables)
    assert done.returncode != 0 and "nobody" in done.stderr and "stn_" not in done.stdout


@both_engines
def test_migrate_makes_a_database_that_serve_takes_and_may_be_repeated(servers: Callable[..., Server], tmp_path: Path):
    server = servers()
    for _ in range(2):
        done = process.run("migrate", "--data", server.data, cwd=tmp_path, variables=server.database_variables)
        assert done.returncode == 0, done.stderr
    server.start()
    make_tenant(server.root)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(server: Server):
    server.stop()
    database = server.data / "stentor.db"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    before = database.read_bytes()
    said = refused(server)
    assert "newer" in said and "9999" in said, said
    assert database.read_bytes() == before


@both_engines
def test_a_wrong_master_key_is_refused_and_the_right_one_still_works(servers: Callable[..., Server]):
    server = servers(variables=MASTER_KEY).start()
    tenant = make_tenant(server.root)
    endpoint = make_endpoint(server.root.for_tenant(tenant), "https://example.com/")
    server.stop()
    server.variables |= OTHER_MASTER_KEY
    assert "master key" in refused(server)
    server.variables |= MASTER_KEY
    server.start()
    server.root.for_tenant(tenant).get(f"/v1/endpoints/{endpoint['id']}").expect(200)


@both_engines
def test_a_lost_master_key_is_not_replaced_by_a_new_one(server: Server):
    make_tenant(server.root)
    server.stop()
    hidden = server.directory / "hidden"
    hidden.mkdir()
    for path in server.data.iterdir():
        if not path.name.startswith("stentor.db"):
            shutil.move(path, hidden / path.name)
    assert "master key" in refused(server)


@both_engines
def test_a_revoked_key_stays_revoked_after_a_restart(server: Server):
    made = make_key(server.root, "project")
    server.root.delete(f"/v1/keys/{made['id']}")
    server.kill()
    server.start()
    server.client(made["key"]).get("/v1/tenants").problem(401)
    server.client(ROOT_KEY).get("/v1/tenants").expect(200)


def test_an_address_in_use_is_said_clearly(server: Server, servers: Callable[..., Server]):
    second = servers()
    second.port = server.port
    assert str(server.port) in refused(second)
