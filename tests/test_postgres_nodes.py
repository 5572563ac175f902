"""Processes on one PostgreSQL database: one works, the next one takes its place, a second one gives way (AP-42)."""

import base64
import random
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from support import process
from support.api import SOON, deliveries, make_endpoint, make_key, make_tenant, publish
from support.crowd import Crowd
from support.postgres import Cluster
from support.receiver import Receiver, Reply
from support.server import Server
from support.waiting import until

# The lease of a node, in which its deliveries are its own.
LEASE_SECONDS = 3.0
# Two leases, and what a start and an end cost on a busy machine.
GIVES_WAY_SECONDS_MAX = 2 * LEASE_SECONDS + 6
TAKES_OVER_SECONDS_MAX = LEASE_SECONDS + 5
READY_SECONDS_MAX = 2.0
AT_ONCE_SECONDS_MAX = 2.0
OTHER_MASTER_KEY = {"STENTOR_MASTER_KEY": base64.b64encode(b"o" * 32).decode()}

pytestmark = pytest.mark.engines("postgres")


@pytest.fixture
def tenant(server: Server) -> str:
    """A tenant's id."""
    return make_tenant(server.root)


def run(server: Server, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command on the server's data and database."""
    return process.run(*words, "--data", server.data, cwd=server.directory, variables=server.database_variables)


def beside(servers: Callable[..., Server], server: Server) -> Server:
    """Another node on the same database, with the same master key."""
    return servers(data=server.data, database_url=server.database_url)


def refused(server: Server) -> str:
    """Starts a server that must end by itself, and gives what it said last."""
    server.spawn()
    assert server.wait() == 1, server.log
    return server.log[server.log.rindex("error: ") :]


def held(server: Server, tenant: str, receiver: Receiver) -> tuple[str, threading.Event]:
    """Publishes an event whose receiver answers when the gate is opened, and waits until it is in flight."""
    gate = threading.Event()
    url = receiver.url("/held", lambda _: Reply(gate=gate))
    make_endpoint(server.root.for_tenant(tenant), url, retry_schedule=SOON, timeout_seconds=60)
    event = publish(server.root, tenant, event_type="held").expect(202)["id"]
    receiver.wait_for(1, "/held")
    return event, gate


# --- Two at once ---------------------------------------------------------------------------------------------------


def test_a_second_node_gives_way_and_the_first_one_goes_on(
    server: Server, servers: Callable[..., Server], receiver: Receiver, rng: random.Random
):
    crowd = Crowd(server, rng)
    try:
        crowd.start()
        crowd.accepts(100)
        second = beside(servers, server).start()
        started = time.monotonic()
        # What it accepts while it waits is sent, by itself or by the first one.
        tenant = make_tenant(second.root)
        make_endpoint(second.root.for_tenant(tenant), receiver.url())
        events = {publish(second.root, tenant).expect(202)["id"] for _ in range(20)}
        receiver.wait_for(len(events))

        assert second.wait() == 1
        assert time.monotonic() - started < GIVES_WAY_SECONDS_MAX
        said = second.log[second.log.rindex("error: ") :]
        # The holder, by its machine and process.
        assert str(server.pid) in said and "in use" in said, said
        crowd.accepts(100)
        assert crowd.refused() == 0, "the first one was disturbed"
        crowd.judge()
        client = server.root.for_tenant(tenant)
        until(lambda: not deliveries(client, "status=pending"), "all are recorded")
        assert sorted(request.webhook_id for request in receiver.requests()) == sorted(events)
    finally:
        crowd.finish()
        crowd.close()


def test_what_a_second_node_leaves_unfinished_is_finished_by_the_first(
    server: Server, servers: Callable[..., Server], receiver: Receiver, tenant: str
):
    second = beside(servers, server).start()
    until(lambda: second.root.get(f"/v1/tenants/{tenant}").status == 200, "the second one knows the tenant")
    event, gate = held(second, tenant, receiver)
    second.kill()
    gate.set()
    # Nobody comes back to say what became of it: the first one finds out that the second one has died.
    receiver.wait_for(2, "/held", TAKES_OVER_SECONDS_MAX)
    client = server.root.for_tenant(tenant)
    until(lambda: deliveries(client, "status=delivered"), "it is delivered")
    assert {request.webhook_id for request in receiver.requests()} == {event}


def test_what_a_second_node_has_in_flight_when_it_gives_way_is_not_lost(
    servers: Callable[..., Server], server: Server, receiver: Receiver, tenant: str
):
    grace = ["--shutdown-grace-seconds", "1"]
    second = servers(data=server.data, database_url=server.database_url, options=grace).start()
    until(lambda: second.root.get(f"/v1/tenants/{tenant}").status == 200, "the second one knows the tenant")
    event, gate = held(second, tenant, receiver)
    assert second.wait() == 1
    gate.set()
    receiver.wait_for(2, "/held", AT_ONCE_SECONDS_MAX)
    client = server.root.for_tenant(tenant)
    until(lambda: deliveries(client, "status=delivered"), "it is delivered")
    assert {request.webhook_id for request in receiver.requests()} == {event}


# --- One after the other -------------------------------------------------------------------------------------------


def test_after_a_kill_the_next_node_serves_at_once_and_takes_over_after_the_lease(
    server: Server, receiver: Receiver, tenant: str
):
    event, _ = held(server, tenant, receiver)
    make_endpoint(server.root.for_tenant(tenant), receiver.url("/fresh"), events=["fresh"])
    server.kill()
    killed = time.monotonic()
    receiver.scripts.clear()
    server.start()
    assert time.monotonic() - killed < READY_SECONDS_MAX, "ready at once"
    before = time.monotonic()
    fresh = publish(server.root, tenant, event_type="fresh").expect(202)["id"]
    receiver.wait_for(1, "/fresh")
    assert time.monotonic() - before < AT_ONCE_SECONDS_MAX, "what is new is sent at once"
    again = receiver.wait_for(2 + 1, "/held")
    assert time.monotonic() - killed < TAKES_OVER_SECONDS_MAX, "what is old is sent after the lease"
    assert [request.webhook_id for request in again].count(event) == 2
    assert {request.webhook_id for request in again} == {event, fresh}
    client = server.root.for_tenant(tenant)
    until(lambda: not deliveries(client, "status=pending"), "nothing is pending")
    assert "took over" in server.log


def test_after_a_clean_stop_the_next_node_takes_over_at_once(
    servers: Callable[..., Server], receiver: Receiver
):
    server = servers(options=["--shutdown-grace-seconds", "0"]).start()
    tenant = make_tenant(server.root)
    event, _ = held(server, tenant, receiver)
    assert server.stop() == 0
    receiver.scripts.clear()
    server.start()
    ready = time.monotonic()
    arrived = receiver.wait_for(2, "/held")
    assert time.monotonic() - ready < AT_ONCE_SECONDS_MAX
    assert {request.webhook_id for request in arrived} == {event}


def database_of(server: Server) -> str:
    """The name of a server's database."""
    return (server.database_url or "").rpartition("/")[2]


def test_a_take_over_may_take_longer_than_a_beat_and_a_lease(
    server: Server, postgres: Cluster, receiver: Receiver, tenant: str
):
    # As it does where millions of deliveries wait, since all of them are gone through.
    event, _ = held(server, tenant, receiver)
    server.kill()
    postgres.sql(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(6); RETURN NULL; END'; "
        "CREATE TRIGGER slowly BEFORE UPDATE ON shards FOR EACH STATEMENT EXECUTE FUNCTION slowly()",
        database_of(server),
    )
    receiver.scripts.clear()
    server.start()
    arrived = receiver.wait_for(2, "/held", TAKES_OVER_SECONDS_MAX + 6)
    assert {request.webhook_id for request in arrived} == {event}
    assert "cannot beat" not in server.log and "took over" in server.log, server.log


def test_a_transaction_that_a_dead_node_left_open_does_not_keep_the_next_one_out(
    server: Server, postgres: Cluster, receiver: Receiver, tenant: str
):
    # As a machine leaves it that has vanished: the database does not know yet that nobody is there any more.
    event, _ = held(server, tenant, receiver)
    database = database_of(server)
    epoch = postgres.value("SELECT to_hex(epoch) FROM nodes", database)
    left_open = (
        f"SET application_name = 'stentor {epoch} claim 99'; "
        "SELECT epoch FROM nodes FOR KEY SHARE; UPDATE work SET due_at = due_at"
    )
    with postgres.holding(left_open, database):
        server.kill()
        receiver.scripts.clear()
        server.start()
        arrived = receiver.wait_for(2, "/held", TAKES_OVER_SECONDS_MAX)
    assert {request.webhook_id for request in arrived} == {event}


def test_a_cancel_that_comes_during_a_take_over_loses_no_delivery(
    server: Server, postgres: Cluster, receiver: Receiver, tenant: str
):
    event, _ = held(server, tenant, receiver)
    server.kill()
    database = database_of(server)
    # Somebody asks for its end when the take-over has just ended those that were to end.
    postgres.sql(
        "CREATE FUNCTION ask() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN UPDATE work SET cancel_requested = 1; RETURN NULL; END'; "
        "CREATE TRIGGER ask AFTER INSERT ON deliveries FOR EACH STATEMENT EXECUTE FUNCTION ask()",
        database,
    )
    receiver.scripts.clear()
    server.start()
    client = server.root.for_tenant(tenant)
    until(lambda: deliveries(client, "status=delivered"), "it is delivered")
    assert {request.webhook_id for request in receiver.requests()} == {event}
def test_a_node_that_was_stopped_and_continues_finds_itself_replaced_and_sends_nothing_more(
    server: Server, servers: Callable[..., Server], receiver: Receiver, tenant: str
):
    gate = threading.Event()
    # Only the first request is held.
    held_ones = iter([Reply(gate=gate)])
    url = receiver.url("/one-by-one", lambda _: next(held_ones, Reply()))
    make_endpoint(server.root.for_tenant(tenant), url, max_in_flight=1, timeout_seconds=60, retry_schedule=SOON)
    in_flight, in_memory = [publish(server.root, tenant).expect(202)["id"] for _ in range(2)]
    receiver.wait_for(1)
    server.signal(signal.SIGSTOP)
    second = beside(servers, server).start()
    client = second.root.for_tenant(tenant)
    until(lambda: len(deliveries(client, "status=delivered")) == 2, "the second one has done both")
    gate.set()
    server.signal(signal.SIGCONT)
    assert server.wait() == 1
    said = server.log[server.log.rindex("error: ") :]
    assert "another node took this one's place" in said, said
    publish(second.root, tenant).expect(202)
    receiver.wait_for(4)
    sent = Counter(request.webhook_id for request in receiver.requests())
    assert (sent[in_flight], sent[in_memory], sent.total()) == (2, 1, 4), sent
    assert {shown["status"] for shown in deliveries(client)} <= {"delivered", "pending"}
    until(lambda: len(deliveries(client, "status=delivered")) == 3, "all are delivered")


# --- The master key ------------------------------------------------------------------------------------------------


def test_another_data_folder_has_no_master_key_for_the_database_and_makes_none(
    server: Server, servers: Callable[..., Server]
):
    stranger = servers(database_url=server.database_url)
    said = refused(stranger)
    assert "master key" in said and "master.key" in said, said
    assert not list(stranger.data.glob("*.key")), "it made a key that opens nothing"
    make_tenant(server.root, "the first one goes on")


def test_another_master_key_is_refused(server: Server, servers: Callable[..., Server]):
    said = refused(servers(database_url=server.database_url, variables=OTHER_MASTER_KEY))
    assert "master key" in said, said
    make_tenant(server.root, "the first one goes on")


# --- Commands ------------------------------------------------------------------------------------------------------


def test_a_key_made_beside_a_running_server_works_at_once(server: Server):
    done = run(server, "key", "create", "--role", "project", "--name", "backend")
    assert done.returncode == 0, done.stderr
    [key] = re.findall(r"stn_project_[0-9A-Za-z]{43}", done.stdout)
    client = server.client(key)
    until(lambda: client.get("/v1/tenants").status == 200, "the running server knows the key", AT_ONCE_SECONDS_MAX)


def test_a_key_made_beside_a_running_server_disturbs_nothing(server: Server, receiver: Receiver, tenant: str):
    event, gate = held(server, tenant, receiver)
    assert run(server, "key", "create", "--role", "root").returncode == 0
    gate.set()
    client = server.root.for_tenant(tenant)
    until(lambda: deliveries(client, "status=delivered"), "what was in flight is recorded")
    assert [request.webhook_id for request in receiver.requests()] == [event]
    make_key(server.root, "root")


def test_of_several_that_find_days_missing_at_once_each_goes_on(server: Server, postgres: Cluster):
    database = database_of(server)
    made = "relname ~ '^(events|deliveries)_[0-9]{8}$' AND relkind = 'r'"
    days = [row[0] for row in postgres.sql(f"SELECT relname FROM pg_class WHERE {made}", database)]
    for _ in range(3):
        postgres.sql("; ".join(f"DROP TABLE {day}" for day in days), database)
        done: list[subprocess.CompletedProcess[str]] = []
        command = ("key", "create", "--role", "root")
        threads = [threading.Thread(target=lambda: done.append(run(server, *command))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [one.returncode for one in done] == [0] * len(threads), [one.stderr for one in done]
        assert postgres.value(f"SELECT count(*) FROM pg_class WHERE {made}", database) == str(len(days))


def test_a_row_that_keeps_its_day_from_being_made_keeps_no_server_from_starting(server: Server, postgres: Cluster):
    database = database_of(server)
    [after, missing] = postgres.sql(
        "SELECT relname, substring(pg_get_expr(relpartbound, oid) FROM '[0-9]+') FROM pg_class "
        "WHERE relname ~ '^deliveries_[0-9]{8}$' AND relkind = 'r' ORDER BY relname DESC LIMIT 2",
        database,
    )
    (after, _), (missing, least) = after, missing
    postgres.sql(
        f"DROP TABLE {missing}; DROP TABLE {after}; INSERT INTO deliveries "
        "(n, tag, event, endpoint, tenant, state, cause, attempts, finished_at) "
        # Of an event as young as itself: one of an older event would be purged.
        f"VALUES ({least}, 1, {least}, 1, 1, 'delivered', 'event', 1, 1)",
        database,
    )
    assert server.stop() == 0
    server.start()
    assert missing in server.log and "default partition" in server.log, server.log
    assert postgres.value(f"SELECT count(*) FROM pg_class WHERE relname = '{after}'", database) == "1"
    make_tenant(server.root)


def test_a_backup_is_left_to_the_databases_own_tools(server: Server, tmp_path: Path):
    done = run(server, "backup", tmp_path / "copy.db")
    assert done.returncode == 1 and "pg_dump" in done.stderr, done.stderr
    assert not (tmp_path / "copy.db").exists()


def test_migrating_beside_a_running_server_changes_nothing(server: Server):
    done = run(server, "migrate")
    assert done.returncode == 0, done.stderr
    make_tenant(server.root)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(server: Server, postgres: Cluster):
    assert server.stop() == 0
    database = (server.database_url or "").rpartition("/")[2]
    postgres.sql("UPDATE schema_version SET version = 9999", database)
    said = refused(server)
    assert "newer" in said and "9999" in said, said
    done = run(server, "migrate")
    assert done.returncode == 1 and "newer" in done.stderr, done.stderr
    assert postgres.value("SELECT version FROM schema_version", database) == "9999"
    assert postgres.value("SELECT count(*) FROM nodes", database) == "0"


def test_of_several_that_migrate_at_once_each_succeeds(servers: Callable[..., Server], postgres: Cluster):
    database = postgres.create_database()
    server = servers(database_url=postgres.url(database))
    done: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: done.append(run(server, "migrate"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in done] == [0] * len(threads), [one.stderr for one in done]
    server.start()
    make_tenant(server.root)
    server.kill()
    postgres.drop_database(database)
