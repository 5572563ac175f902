"""A pgbouncer in front of a PostgreSQL server of the tests."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ports import HOST, free_port
from support.postgres import Postgres, as_owner
from support.waiting import until


@contextmanager
def pgbouncer(
    postgres: Postgres, database: str, pool_mode: str, user: str, port: int | None = None
) -> Iterator[str]:
    """A pool in front of a database, as the folder of its server sees it; gives the URL that goes through it."""
    port = port or free_port()
    folder = postgres.make_folder(postgres.folder / f"pgbouncer-{pool_mode}")
    users = postgres.write(folder / "users.txt", f'"{user}" ""\n')
    lines = [
        "[databases]",
        f"{database} = host={HOST} port={postgres.port}",
        "[pgbouncer]",
        f"listen_addr = {HOST}",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = trust",
        f"auth_file = {users}",
        f"pool_mode = {pool_mode}",
    ]
    configuration = postgres.write(folder / "pgbouncer.ini", "\n".join(lines) + "\n")
    process = subprocess.Popen(
        [*as_owner(), _program(), str(configuration)],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: _listens(port), "pgbouncer listens")
        yield f"postgres://{user}@{HOST}:{port}/{database}"
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def _program() -> str:
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    assert found is not None, "pgbouncer is not installed: install Debian's package pgbouncer"
    return found
