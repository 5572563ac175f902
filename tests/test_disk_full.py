"""A full disk refuses what it cannot keep, and nothing else (hostile case AP-35).

For a PostgreSQL server that has no space left see test_postgres_trouble.py.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.api import deliveries, make_endpoint, make_tenant, publish
from support.receiver import Receiver
from support.server import Server
from support.small_disk import SmallDisk
from support.waiting import until

PAYLOAD = '"' + "x" * 200_000 + '"'
PUBLISHED_MAX = 2_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk for the data of a server."""
    disk = SmallDisk(tmp_path / "disk")
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
