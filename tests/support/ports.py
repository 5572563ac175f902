"""Addresses on this machine that the tests listen on."""

import random
import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """A port below the range from which the kernel takes the ports of outgoing connections: nobody else takes it while
    a server is down between two starts."""
    for _ in range(1_000):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
