"""Changes that meet what a node does with the same delivery at that moment: on PostgreSQL they are not one after the other
by themselves."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from support.api import deliveries, make_endpoint, make_tenant, publish
from support.postgres import Cluster
from support.receiver import Receiver, Reply
from support.server import Server
from support.waiting import until

# An endpoint whose deliveries fail once and then wait.
LATER = [3600]

pytestmark = pytest.mark.engines("postgres")


@pytest.fixture
def meanwhile(server: Server, postgres: Cluster) -> Callable:
    """Runs a statement whose transaction ends a moment later, when what is done meanwhile has had to wait for it."""
    database = (server.database_url or "").rpartition("/")[2]

    @contextmanager
    def run(statement: str) -> Iterator[None]:
        thread = threading.Thread(target=postgres.sql, args=(f"{statement}; SELECT pg_sleep(1)", database))
        thread.start()
        asleep = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event = 'PgSleep'"
        until(lambda: postgres.value(asleep) == "1", "the statement has run")
        try:
            yield
        finally:
            thread.join()

    return run


@pytest.fixture
def waiting(server: Server, receiver: Receiver) -> tuple:
    """The client of a tenant, and its delivery, which has failed once."""
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    make_endpoint(client, receiver.url("/fails", lambda _: Reply(status=500)), retry_schedule=LATER)
    publish(server.root, tenant).expect(202)
    receiver.wait_for(1, "/fails")
    return client, until(lambda: [one for one in deliveries(client) if one["attempt_count"] == 1], "it failed")[0]


OWNED = "UPDATE work SET owner = (SELECT epoch FROM nodes)"
GIVEN_BACK = "UPDATE work SET owner = NULL"


def test_what_is_claimed_while_it_is_cancelled_is_not_forgotten(
    waiting: tuple, meanwhile: Callable, server: Server, postgres: Cluster
):
    client, delivery = waiting
    with meanwhile(OWNED):
        answer = client.post(f"/v1/deliveries/{delivery['id']}/cancel")
    # It is in the memory of a node now, whose attempt brings the end.
    assert answer.expect(202)["status"] == "pending", answer
    database = (server.database_url or "").rpartition("/")[2]
    assert postgres.sql("SELECT cancel_requested FROM work", database) == [["1"]]


def test_what_is_given_back_while_it_is_cancelled_ends(
    waiting: tuple, meanwhile: Callable, server: Server, postgres: Cluster
):
    client, delivery = waiting
    postgres.sql(OWNED, (server.database_url or "").rpartition("/")[2])
    with meanwhile(GIVEN_BACK):
        answer = client.post(f"/v1/deliveries/{delivery['id']}/cancel")
    assert answer.expect(200)["status"] == "cancelled", answer


def test_what_is_claimed_while_it_is_retried_is_tried(waiting: tuple, meanwhile: Callable):
    client, delivery = waiting
    with meanwhile(OWNED):
        client.post(f"/v1/deliveries/{delivery['id']}/retry").expect(202)
