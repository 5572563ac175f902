"""A full disk refuses what it cannot keep, and nothing else (hostile case AP-35).

The data directory is a small tmpfs in a private mount namespace, which one holder process keeps alive over restarts of
the server. The test reaches into it through the holder's root directory in /proc. Root may do that as it is, anybody else
in a user namespace, where the system allows those.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.api import deliveries, make_endpoint, make_tenant, publish
from support.receiver import Receiver
from support.server import Server
from support.waiting import until

DISK_MEBIBYTES = 48
PAYLOAD = '"' + "x" * 200_000 + '"'
PUBLISHED_MAX = 2_000
BLOCK = b"\0" * 65_536
MOUNT = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo mounted && exec cat'


class SmallDisk:
    """A tmpfs of its own mount namespace at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_root = os.geteuid() == 0
        self._holder = subprocess.Popen(
            [
                "unshare",
                *([] if self._is_root else ["--map-root-user"]),
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                MOUNT,
                "sh",
                str(path),
                f"{DISK_MEBIBYTES}m",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None and self._holder.stderr is not None
        if self._holder.stdout.readline().strip() != "mounted":
            raise AssertionError(
                "a small disk needs mount namespaces (run ./test as root): " + self._holder.stderr.read()
            )

    @property
    def wrap(self) -> list[str]:
        """The command that runs another one in the namespace."""
        namespaces = f"/proc/{self._holder.pid}/ns"
        as_user = [] if self._is_root else [f"--user={namespaces}/user", "--preserve-credentials"]
        return ["nsenter", *as_user, f"--mount={namespaces}/mnt", "--"]

    @property
    def _filler(self) -> Path:
        return Path(f"/proc/{self._holder.pid}/root{self.path}/filler")

    def fill(self) -> None:
        """Takes all the space that is left."""
        with self._filler.open("ab", buffering=0) as filler:
            try:
                while filler.write(BLOCK):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """Gives the space back."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends the namespace, and with it the disk."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(10)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk for the data of a server."""
    path = tmp_path / "disk"
    path.mkdir()
    disk = SmallDisk(path)
    yield disk
    disk.close()


def test_a_full_disk_refuses_publishing_keeps_reading_and_recovers(
    servers: Callable[..., Server], disk: SmallDisk, receiver: Receiver
):
    server = servers(wrap=disk.wrap, data=disk.path / "data").start()
    root = server.root
    tenant = make_tenant(root)
    client = root.for_tenant(tenant)
    endpoint = make_endpoint(client, receiver.url(), timeout_seconds=60)
    acknowledged = [publish(root, tenant, '{"before":true}').expect(202)["id"]]

    disk.fill()
    refused = 0
    for _ in range(PUBLISHED_MAX):
        answer = publish(root, tenant, PAYLOAD)
        if answer.status == 202:
            acknowledged.append(answer.json()["id"])
            continue
        assert answer.status in (503, 507), answer
        answer.problem(answer.status)
        refused += 1
        if refused == 3:
            break
    assert refused == 3, "the disk never became full"

    # What needs no space goes on.
    assert server.answers("/healthz") == 200
    client.get(f"/v1/endpoints/{endpoint['id']}").expect(200)
    client.get(f"/v1/events/{acknowledged[0]}").expect(200)
    client.get("/v1/deliveries?limit=1").expect(200)

    disk.free()

    def accepted() -> bool:
        answer = publish(root, tenant, '{"after":true}')
        if answer.status == 202:
            acknowledged.append(answer.json()["id"])
        return answer.status == 202

    until(accepted, "it accepts events again once there is space")
    server.kill()
    server.start()
    until(lambda: not deliveries(client, "status=pending"), "nothing is pending")
    shown = {delivery["event"]: delivery["status"] for delivery in deliveries(client)}
    assert shown == dict.fromkeys(acknowledged, "delivered")
    assert {request.webhook_id for request in receiver.requests()} == set(acknowledged)
