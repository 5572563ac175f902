"""Fixtures: real servers, each in a directory of its own, and receivers on loopback.

What a test's servers keep their data in is its *engine*: a file of their own, or a database of their own on one
PostgreSQL server for all tests. A file of tests names the engines it is about with
`pytestmark = pytest.mark.engines(...)`, and runs once on each; without it, on `sqlite`.
"""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import process
from support.api import make_endpoint, make_tenant, publish
from support.postgres import Cluster, Postgres
from support.receiver import Receiver
from support.server import Server

SQLITE, POSTGRES = "sqlite", "postgres"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test with servers once on each engine of its closest mark."""
    mark = metafunc.definition.get_closest_marker("engines")
    if mark is not None and "engine" in metafunc.fixturenames:
        assert set(mark.args) <= {SQLITE, POSTGRES}, mark
        metafunc.parametrize("engine", mark.args, indirect=True, scope="module")


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> str:
    """What the servers of a test keep their data in."""
    return getattr(request, "param", SQLITE)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """The PostgreSQL server of all tests, for databases of their own; nobody harms it."""
    if url := os.environ.get("STENTOR_TEST_POSTGRES"):
        yield Cluster(url)
        return
    private = Postgres()
    try:
        yield private.create().start()
    finally:
        private.discard()


@pytest.fixture
def private_postgres() -> Iterator[Callable[..., Postgres]]:
    """Makes PostgreSQL servers of this test alone, which it may harm; they run."""
    made: list[Postgres] = []

    def make(**options) -> Postgres:
        made.append(Postgres(**options))
        return made[-1].create().start()

    yield make
    for private in made:
        private.discard()


@pytest.fixture(scope="session")
def template(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database that `stentor migrate` made: its copies need no migration."""
    name = postgres.create_database()
    folder = tmp_path_factory.mktemp("template")
    done = process.run("migrate", "--data", folder, cwd=folder, variables={"STENTOR_DATABASE_URL": postgres.url(name)})
    assert done.returncode == 0, done.stderr
    yield name
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def new_database(engine: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], str | None]]:
    """Makes databases: gives the URL of a new one, or `None` where each server makes its own file."""
    if engine == SQLITE:
        yield lambda: None
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    template: str = request.getfixturevalue("template")
    made: list[str] = []

    def make() -> str:
        made.append(cluster.create_database(template=template))
        return cluster.url(made[-1])

    yield make
    for name in made:
        cluster.drop_database(name)


@pytest.fixture
def servers(tmp_path: Path, new_database: Callable[[], str | None]) -> Iterator[Callable[..., Server]]:
    """Makes servers that are not started yet; afterwards ends them and fails if one of them panicked."""
    made: list[Server] = []

    def make(**options) -> Server:
        if "database_url" not in options:
            options["database_url"] = new_database()
        server = Server(tmp_path / f"server-{len(made)}", **options)
        made.append(server)
        return server

    yield make
    for server in made:
        server.discard()


@pytest.fixture
def server(servers: Callable[..., Server]) -> Server:
    """A running server of this test alone."""
    return servers().start()


@pytest.fixture(scope="module")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str | None]
) -> Iterator[Server]:
    """A running server for the tests of one file, each of which makes a tenant of its own."""
    options = ["--failed-authentication-per-minute", "0"]
    server = Server(tmp_path_factory.mktemp("shared"), options=options, database_url=new_database())
    try:
        yield server.start()
    finally:
        server.discard()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def rng() -> random.Random:
    """Chance from a seed that a failed test prints; STENTOR_TEST_SEED repeats it."""
    seed = int(os.environ.get("STENTOR_TEST_SEED") or random.randrange(2**32))
    print(f"STENTOR_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def unharmed(shared_server: Server) -> Iterator[None]:
    """After all tests of a file its one server still accepts and delivers."""
    yield
    receiver = Receiver()
    try:
        tenant = make_tenant(shared_server.root)
        make_endpoint(shared_server.root.for_tenant(tenant), receiver.url())
        publish(shared_server.root, tenant).expect(202)
        receiver.wait_for(1)
    finally:
        receiver.close()
