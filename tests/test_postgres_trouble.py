"""A PostgreSQL server in trouble (hostile cases AP-35 and AP-36).

Whatever becomes of the database: publishes are answered with 2xx or, soon, with 503 and `Retry-After`; what was
answered with 2xx is there and is delivered by itself once the trouble is over; nothing is delivered twice without need.
"""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.api import deliveries, make_endpoint, make_tenant, publish
from support.client import Answer
from support.crowd import ANSWER_SECONDS_MAX, Crowd
from support.pgbouncer import pgbouncer
from support.ports import HOST
from support.postgres import SUPERUSER, Cluster, Postgres
from support.receiver import Receiver
from support.server import Server
from support.small_disk import SmallDisk
from support.waiting import observe_for, until

# Everybody else needs a password.
TRUST_SUPERUSER = f"host all {SUPERUSER} {HOST}/32 trust\n"
TERMINATIONS = 20
RESTARTS = 3
# Longer than every timeout of the server's towards its database, and as long as hostile case AP-36 says.
PAUSES_SECONDS = [8, 30]
LOCKED_SECONDS = 6
DISK_MEBIBYTES = 64
PAYLOAD_BYTES = 200_000
PUBLISHED_MAX = 1_000
REFUSED_SECONDS_MAX = 20


def timed(ask: Callable[[], Answer]) -> Answer:
    """One answer, which must come soon."""
    before = time.monotonic()
    answer = ask()
    seconds = time.monotonic() - before
    assert seconds <= ANSWER_SECONDS_MAX, f"{seconds:.1f} s: {answer}"
    return answer


def unavailable(answer: Answer) -> None:
    """The answer is a 503 that says when to come again."""
    answer.problem(503)
    assert int(answer.headers["retry-after"]) >= 1, answer.headers


def server_on(servers: Callable[..., Server], postgres: Cluster) -> tuple[Server, str]:
    """A running server, and its database."""
    database = postgres.create_database()
    return servers(database_url=postgres.url(database)).start(), database


@pytest.fixture
def crowds(rng: random.Random) -> Iterator[Callable[..., Crowd]]:
    """Makes crowds that are publishing; afterwards sends them home."""
    with ExitStack() as made:

        def make(server: Server, **options) -> Crowd:
            crowd = Crowd(server, rng, **options)
            made.callback(crowd.close)
            made.callback(crowd.finish)
            crowd.start()
            crowd.accepts(100)
            return crowd

        yield make


def test_connections_that_are_terminated_again_and_again(
    servers: Callable[..., Server], postgres: Cluster, crowds: Callable[..., Crowd], rng: random.Random
):
    server, database = server_on(servers, postgres)
    # So many that there is hardly a moment without a commit under way.
    crowd = crowds(server, pause_seconds_max=0.2)
    terminated = 0
    for _ in range(TERMINATIONS):
        terminated += postgres.terminate_backends(database)
        observe_for(rng.uniform(0.05, 0.7))
    assert terminated >= TERMINATIONS, "there was nothing to terminate"
    crowd.accepts(100)
    print(terminated, "connections terminated:", crowd.judge())


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_database_that_is_restarted(
    servers: Callable[..., Server],
    private_postgres: Callable[..., Postgres],
    crowds: Callable[..., Crowd],
    mode: str,
):
    postgres = private_postgres()
    server, _ = server_on(servers, postgres)
    crowd = crowds(server)
    for _ in range(RESTARTS):
        postgres.stop(mode)
        until(crowd.refused, "publishes are refused")
        postgres.start()
        crowd.accepts(100)
    print(crowd.judge())


@pytest.mark.parametrize("seconds", PAUSES_SECONDS)
def test_a_database_that_stands_still(
    servers: Callable[..., Server],
    private_postgres: Callable[..., Postgres],
    crowds: Callable[..., Crowd],
    seconds: int,
):
    postgres = private_postgres()
    server, _ = server_on(servers, postgres)
    crowd = crowds(server)
    tenant = crowd.targets[0].tenant
    postgres.pause()
    end = time.monotonic() + seconds
    try:
        until(crowd.refused, "publishes are refused", ANSWER_SECONDS_MAX)
        # Reading and changing wait no longer than publishing.
        for ask in (
            lambda: server.root.for_tenant(tenant).get("/v1/deliveries?limit=1"),
            lambda: server.root.post("/v1/tenants", {"name": "too late"}),
        ):
            unavailable(timed(ask))
        assert server.answers("/healthz") == 200
        observe_for(end - time.monotonic())
    finally:
        postgres.resume()
    crowd.accepts(100)
    make_tenant(server.root, "in time")
    print(crowd.judge())


def test_a_database_that_becomes_read_only(
    servers: Callable[..., Server], private_postgres: Callable[..., Postgres], crowds: Callable[..., Crowd]
):
    postgres = private_postgres()
    server, database = server_on(servers, postgres)
    crowd = crowds(server)
    client = server.root.for_tenant(crowd.targets[0].tenant)
    [*_, first] = client.pages("/v1/events")

    postgres.alter(default_transaction_read_only="on")
    until(crowd.refused, "publishes are refused")
    unavailable(timed(lambda: server.root.post("/v1/tenants", {"name": "too late"})))
    timed(lambda: client.get(f"/v1/events/{first['id']}")).expect(200)
    # New connections find it as the old ones did.
    postgres.terminate_backends(database)
    refused = crowd.refused()
    until(lambda: crowd.refused() > refused + 10, "publishes are still refused")

    postgres.alter(default_transaction_read_only="off")
    crowd.accepts(100)
    print(crowd.judge())


def test_connections_that_were_made_while_the_database_was_read_only(
    servers: Callable[..., Server], postgres: Cluster, crowds: Callable[..., Crowd]
):
    # As those that lead to a standby for a moment, after a failover: they stay read-only for as long as they are kept.
    server, database = server_on(servers, postgres)
    crowd = crowds(server)
    postgres.sql(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
    postgres.terminate_backends(database)
    until(crowd.refused, "publishes are refused")
    unavailable(timed(lambda: server.root.post("/v1/tenants", {"name": "too late"})))
    observe_for(LOCKED_SECONDS)
    postgres.sql(f'ALTER DATABASE "{database}" RESET default_transaction_read_only')
    crowd.accepts(100)
    until(lambda: server.root.post("/v1/tenants", {"name": "in time"}).status == 201, "changes go on")
    print(crowd.judge())


def test_commits_whose_outcome_nobody_tells(
    servers: Callable[..., Server], private_postgres: Callable[..., Postgres], crowds: Callable[..., Crowd]
):
    postgres = private_postgres()
    server, _ = server_on(servers, postgres)
    crowd = crowds(server)
    # Every commit is done here, and waits until a standby that is not there has it too.
    postgres.alter(synchronous_standby_names="nobody")
    until(crowd.refused, "publishes are refused")
    observe_for(LOCKED_SECONDS)
    postgres.alter(synchronous_standby_names="")
    crowd.accepts(100)
    print(crowd.judge())
    # Otherwise there was no doubt.
    assert crowd.there_all_the_same > 0


def test_connections_that_others_have_taken(
    servers: Callable[..., Server], private_postgres: Callable[..., Postgres], crowds: Callable[..., Crowd]
):
    places = 20
    postgres = private_postgres(settings={"max_connections": str(places + 3), "superuser_reserved_connections": "3"})
    postgres.sql("CREATE ROLE owner LOGIN")
    database = postgres.create_database()
    postgres.sql(f'ALTER DATABASE "{database}" OWNER TO owner')
    server = servers(database_url=postgres.url(database, user="owner"))
    with ExitStack() as others:
        for _ in range(places):
            others.enter_context(postgres.holding("SELECT 1", "postgres", user="owner"))
        server.spawn()
        assert server.wait(REFUSED_SECONDS_MAX) not in (0, None)
        said = server.log[server.log.rindex("error: ") :]
        assert "max_connections" in said, said
    server.start()
    crowd = crowds(server)
    with ExitStack() as others:
        # They come while the server has lost its own.
        postgres.sql(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')
        postgres.terminate_backends(database)
        for _ in range(places):
            others.enter_context(postgres.holding("SELECT 1", "postgres", user="owner"))
        postgres.sql(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')
        until(crowd.refused, "publishes are refused")
        observe_for(LOCKED_SECONDS)
    crowd.accepts(100)
    print(crowd.judge())


@pytest.mark.parametrize("lock", ["LOCK TABLE config_clock", "SELECT seq FROM config_clock FOR UPDATE"])
def test_a_change_that_somebody_locks_out(
    servers: Callable[..., Server], postgres: Cluster, crowds: Callable[..., Crowd], lock: str
):
    server, database = server_on(servers, postgres)
    crowd = crowds(server)
    with postgres.holding(lock, database):
        unavailable(timed(lambda: server.root.post("/v1/tenants", {"name": "too late"})))
        crowd.accepts(100)
        # Many that wait do not pile up, and take nothing from the publishers.
        for _ in range(2):
            unavailable(timed(lambda: server.root.post("/v1/tenants", {"name": "too late"})))
        crowd.accepts(100)
    until(lambda: server.root.post("/v1/tenants", {"name": "in time"}).status == 201, "changes go on")
    assert crowd.refused() == 0, "changes that wait hold up publishers"
    print(crowd.judge())


def test_publishes_that_somebody_locks_out(
    servers: Callable[..., Server], postgres: Cluster, crowds: Callable[..., Crowd]
):
    server, database = server_on(servers, postgres)
    crowd = crowds(server)
    with postgres.holding("LOCK TABLE work", database):
        until(crowd.refused, "publishes are refused", ANSWER_SECONDS_MAX)
        observe_for(LOCKED_SECONDS)
        assert server.answers("/healthz") == 200
    crowd.accepts(100)
    print(crowd.judge())


def test_a_pool_of_sessions_that_is_restarted(
    servers: Callable[..., Server], private_postgres: Callable[..., Postgres], crowds: Callable[..., Crowd]
):
    postgres = private_postgres()
    database = postgres.create_database()
    with ExitStack() as pools:
        url = pools.enter_context(pgbouncer(postgres, database, "session", SUPERUSER))
        server = servers(database_url=url).start()
        crowd = crowds(server)
        pools.close()
        until(crowd.refused, "publishes are refused")
        port = urlsplit(url).port
        pools.enter_context(pgbouncer(postgres, database, "session", SUPERUSER, port=port))
        crowd.accepts(100)
        print(crowd.judge())
        assert server.stop() == 0


def test_a_standby_that_takes_the_place_of_its_primary(
    servers: Callable[..., Server], private_postgres: Callable[..., Postgres], crowds: Callable[..., Crowd]
):
    primary = private_postgres()
    standby = primary.standby()
    try:
        # What is acknowledged is on both.
        primary.alter(synchronous_standby_names="*")
        database = primary.create_database()
        url = f"postgres://{SUPERUSER}@{HOST}:{standby.port},{HOST}:{primary.port}/{database}"
        server = servers(database_url=url).start()
        crowd = crowds(server)
        primary.stop("immediate")
        until(crowd.refused, "publishes are refused")
        standby.promote()
        crowd.accepts(100)
        print(crowd.judge())
    finally:
        standby.discard()


def test_trouble_shows_no_password(
    servers: Callable[..., Server], private_postgres: Callable[..., Postgres], crowds: Callable[..., Crowd]
):
    password = "canary-password"
    postgres = private_postgres(authentication=f"{TRUST_SUPERUSER}host all all {HOST}/32 scram-sha-256\n")
    postgres.sql(f"CREATE ROLE owner LOGIN PASSWORD '{password}'")
    postgres.sql("CREATE DATABASE own OWNER owner")
    server = servers(
        database_url=postgres.url("own", user="owner"),
        variables={"STENTOR_DATABASE_PASSWORD": password},
        options=["--log-level", "trace"],
    ).start()
    crowd = crowds(server)
    postgres.stop("immediate")
    until(crowd.refused, "publishes are refused")
    postgres.start()
    postgres.sql(f"ALTER ROLE owner PASSWORD 'another-{password}'")
    postgres.terminate_backends("own")
    refused = crowd.refused()
    until(lambda: crowd.refused() > refused + 10, "the password is refused, too")
    postgres.sql(f"ALTER ROLE owner PASSWORD '{password}'")
    crowd.accepts(100)
    crowd.judge()
    assert "DEBUG" in server.log, "the log is not verbose, and so proves nothing"
    assert password not in server.log


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """A small disk that the database's user may reach."""
    folder = Path(tempfile.mkdtemp(prefix="stentor-disk-"))
    folder.chmod(0o755)
    disk = SmallDisk(folder / "disk", DISK_MEBIBYTES)
    yield disk
    disk.close()
    shutil.rmtree(folder)


def fill(server: Server, tenant: str, disk: SmallDisk, rng: random.Random) -> list[str]:
    """Publishes until the disk is full and three publishes in a row were refused; gives those that were not."""
    disk.fill()
    acknowledged: list[str] = []
    refused = 0
    for _ in range(PUBLISHED_MAX):
        # Chance, because the database packs what repeats itself.
        payload = f'"{rng.randbytes(PAYLOAD_BYTES // 2).hex()}"'
        answer = timed(lambda payload=payload: publish(server.root, tenant, payload))
        if answer.status == 202:
            acknowledged.append(answer.json()["id"])
            refused = 0
            continue
        unavailable(answer)
        refused += 1
        if refused == 3:
            return acknowledged
    raise AssertionError("the disk never became full")


def recovers(server: Server, tenant: str, receiver: Receiver, acknowledged: list[str]) -> None:
    """The server accepts again, and delivers what it accepted, without a restart of its own."""
    client = server.root.for_tenant(tenant)

    def accepted() -> bool:
        answer = timed(lambda: publish(server.root, tenant, '{"after":true}'))
        if answer.status == 202:
            acknowledged.append(answer.json()["id"])
        return answer.status == 202

    until(accepted, "it accepts events again once there is space")
    until(lambda: not deliveries(client, "status=pending"), "nothing is pending")
    shown = {delivery["event"]: delivery["status"] for delivery in deliveries(client)}
    # What was refused may be there all the same; what was not must be.
    assert set(acknowledged) <= shown.keys()
    assert set(shown.values()) == {"delivered"}
    arrived = [request.webhook_id for request in receiver.requests()]
    assert sorted(arrived) == sorted(shown), "each once"


def test_a_full_disk_under_the_tables(
    servers: Callable[..., Server],
    private_postgres: Callable[..., Postgres],
    disk: SmallDisk,
    receiver: Receiver,
    rng: random.Random,
):
    postgres = private_postgres(wrap=disk.wrap, root=disk.root)
    postgres.sql(f"CREATE TABLESPACE small LOCATION '{postgres.make_folder(disk.path / 'tables')}'")
    postgres.sql("CREATE DATABASE small TABLESPACE small")
    server = servers(database_url=postgres.url("small")).start()
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    endpoint = make_endpoint(client, receiver.url(), timeout_seconds=60)
    acknowledged = [publish(server.root, tenant, '{"before":true}').expect(202)["id"]]
    acknowledged += fill(server, tenant, disk, rng)
    # What needs no space goes on.
    assert server.answers("/healthz") == 200
    for path in (f"/v1/endpoints/{endpoint['id']}", f"/v1/events/{acknowledged[0]}", "/v1/deliveries?limit=1"):
        timed(lambda path=path: client.get(path)).expect(200)
    disk.free()
    recovers(server, tenant, receiver, acknowledged)


def test_a_full_disk_under_the_log_which_ends_the_database(
    servers: Callable[..., Server],
    private_postgres: Callable[..., Postgres],
    disk: SmallDisk,
    receiver: Receiver,
    rng: random.Random,
):
    small = {"min_wal_size": "8MB", "max_wal_size": "8MB"}
    postgres = private_postgres(wrap=disk.wrap, root=disk.root, log_folder=disk.path / "log", settings=small)
    server, _ = server_on(servers, postgres)
    tenant = make_tenant(server.root)
    make_endpoint(server.root.for_tenant(tenant), receiver.url(), timeout_seconds=60)
    acknowledged = [publish(server.root, tenant, '{"before":true}').expect(202)["id"]]
    acknowledged += fill(server, tenant, disk, rng)
    assert server.answers("/healthz") == 200
    assert "PANIC" in postgres.log, "the database never stopped"
    disk.free()
    if not postgres.running():
        # As an operator does.
        postgres.start()
    recovers(server, tenant, receiver, acknowledged)
