"""Fixtures: real servers, each in a directory of its own, and receivers on loopback."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.api import make_endpoint, make_tenant, publish
from support.receiver import Receiver
from support.server import Server


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers that are not started yet; afterwards ends them and fails if one of them panicked."""
    made: list[Server] = []

    def make(**options) -> Server:
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
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server for the tests of one file, each of which makes a tenant of its own."""
    server = Server(tmp_path_factory.mktemp("shared"), options=["--failed-authentication-per-minute", "0"])
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
