"""A short supply of file descriptors turns clients away and harms nothing else (hostile case AP-37)."""

import socket
from collections.abc import Callable

from support import wire
from support.api import make_endpoint, make_tenant, publish
from support.receiver import Receiver
from support.server import Server
from support.waiting import observe_for, until

OPEN_FILES = 256
CROWD = 400
WINDOW_SECONDS = 3.0
# Of one core; a loop that spins takes all of it.
BUSY_SHARE_MAX = 0.3


def crowd(server: Server) -> list[socket.socket]:
    """More connections than the server may have files, each with half a request."""
    connections = []
    for _ in range(CROWD):
        connection = wire.connect(server.port, seconds=5)
        wire.send_as_far_as_taken(connection, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        connections.append(connection)
    return connections


def test_a_crowd_beyond_the_limit_of_files_is_survived_without_spinning(
    servers: Callable[..., Server], receiver: Receiver
):
    limit = ["sh", "-c", f'ulimit -n {OPEN_FILES} && exec "$@"', "sh"]
    server = servers(wrap=limit).start()
    tenant = make_tenant(server.root)
    make_endpoint(server.root.for_tenant(tenant), receiver.url())
    connections = crowd(server)
    before = server.cpu_seconds()
    observe_for(WINDOW_SECONDS)
    share = (server.cpu_seconds() - before) / WINDOW_SECONDS
    assert server.running()
    assert share < BUSY_SHARE_MAX, f"{share:.0%} of a core while nothing happens"
    for connection in connections:
        connection.close()
    until(lambda: server.answers("/healthz") == 200, "health answers once the crowd has gone")
    publish(server.root, tenant).expect(202)
    receiver.wait_for(1)


def test_connections_configured_beyond_the_limit_of_files_are_not_believed(
    servers: Callable[..., Server], receiver: Receiver
):
    limit = ["sh", "-c", f'ulimit -n {OPEN_FILES} && exec "$@"', "sh"]
    server = servers(wrap=limit, options=["--connections-max", "100000", "--in-flight-max", "10000"]).start()
    tenant = make_tenant(server.root)
    make_endpoint(server.root.for_tenant(tenant), receiver.url())
    connections = crowd(server)
    for connection in connections:
        connection.close()
    until(lambda: server.answers("/readyz") == 200, "it is ready once the crowd has gone")
    publish(server.root, tenant).expect(202)
    receiver.wait_for(1)
