"""The egress proxy of a real server: everything leaves through it, and what it does wrong costs no receiver anything."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.api import deliveries, make_endpoint, make_tenant, publish
from support.client import Client
from support.ports import free_port
from support.proxy import Proxy
from support.receiver import Receiver
from support.server import Server
from support.waiting import until

CREDENTIALS = "stentor:canary-proxy-password"
CREDENTIALS_IN_BASE64 = "c3RlbnRvcjpjYW5hcnktcHJveHktcGFzc3dvcmQ="
VERBOSE = ["--log-level", "trace"]


@pytest.fixture
def proxies() -> Iterator[Callable[..., Proxy]]:
    """Makes proxies."""
    made: list[Proxy] = []

    def make(**options: Any) -> Proxy:
        made.append(Proxy(**options))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def attempts(client: Client) -> list[dict[str, Any]]:
    """The attempts of the only delivery."""
    [delivery] = deliveries(client)
    return client.get(f"/v1/deliveries/{delivery['id']}").expect(200)["attempts"]


def test_a_delivery_leaves_by_a_tunnel_and_the_password_is_shown_nowhere(
    servers: Callable[..., Server], proxies: Callable[..., Proxy], receiver: Receiver
):
    proxy = proxies(credentials=CREDENTIALS)
    variables = {"STENTOR_EGRESS_PROXY": proxy.url, "STENTOR_EGRESS_PROXY_CREDENTIALS": CREDENTIALS}
    server = servers(options=VERBOSE, variables=variables).start()
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    make_endpoint(client, receiver.url())
    publish(server.root, tenant, '{"a": 1}').expect(202)
    [received] = receiver.wait_for(1)
    assert received.body == b'{"a": 1}'
    assert received.header("proxy-authorization") is None
    assert proxy.asked == [f"CONNECT 127.0.0.1:{receiver.port}"]
    until(lambda: [one["status"] for one in deliveries(client)] == ["delivered"], "it is delivered")
    server.stop()
    for secret in (CREDENTIALS, CREDENTIALS.partition(":")[2], CREDENTIALS_IN_BASE64):
        assert secret not in server.log


@pytest.mark.parametrize(("trouble", "told"), [("down", "no connection to it"), (407, "(407)"), (502, "(502)")])
def test_a_proxy_that_fails_costs_the_receiver_no_attempt_and_its_operator_reads_why(
    trouble: str | int,
    told: str,
    servers: Callable[..., Server],
    proxies: Callable[..., Proxy],
    receiver: Receiver,
):
    port = free_port()
    broken = None if trouble == "down" else proxies(status=trouble, port=port)
    server = servers(options=["--egress-proxy", f"http://127.0.0.1:{port}"]).start()
    tenant = make_tenant(server.root)
    client = server.root.for_tenant(tenant)
    # One attempt, and no retry.
    make_endpoint(client, receiver.url(), retry_schedule=[])
    publish(server.root, tenant).expect(202)
    until(lambda: len(attempts(client)) >= 2, "it was tried twice")
    for attempt in attempts(client)[:2]:
        assert attempt["error"] == "proxy", attempt
        assert told in attempt["error_message"], attempt
        assert str(port) not in attempt["error_message"], "where the proxy is, is nobody's business"
    [delivery] = deliveries(client)
    assert delivery["status"] == "pending"
    assert receiver.requests() == []
    warnings = [line for line in server.log.splitlines() if "the egress proxy failed" in line]
    assert len(warnings) == 1 and told in warnings[0], server.log

    if broken:
        broken.close()
    until(lambda: _listens(proxies, port), "the port is free")
    receiver.wait_for(1)
    until(lambda: [one["status"] for one in deliveries(client)] == ["delivered"], "it is delivered")


def _listens(proxies: Callable[..., Proxy], port: int) -> bool:
    try:
        proxies(port=port)
    except OSError:
        return False
    return True


def test_proxies_of_the_environment_are_ignored(servers: Callable[..., Server], receiver: Receiver):
    nobody = f"http://127.0.0.1:{free_port()}"
    names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
    server = servers(variables=dict.fromkeys(names, nobody)).start()
    tenant = make_tenant(server.root)
    make_endpoint(server.root.for_tenant(tenant), receiver.url())
    publish(server.root, tenant).expect(202)
    receiver.wait_for(1)


@pytest.mark.parametrize(
    ("options", "variables", "named"),
    [
        (["--egress-proxy", f"http://{CREDENTIALS}@127.0.0.1:1"], {}, "--egress-proxy"),
        (["--egress-proxy", "socks5://127.0.0.1:1"], {}, "http://"),
        ([], {"STENTOR_EGRESS_PROXY_CREDENTIALS": CREDENTIALS}, "names no proxy"),
        (["--egress-proxy", "http://127.0.0.1:1"], {"STENTOR_EGRESS_PROXY_CREDENTIALS": "hunter2"}, "USER:PASSWORD"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_the_start_and_not_repeated(
    options: list[str], variables: dict[str, str], named: str, servers: Callable[..., Server]
):
    server = servers(options=options, variables=variables).spawn()
    assert server.process is not None
    assert server.process.wait(30) != 0
    assert named in server.log
    assert "canary" not in server.log and "hunter2" not in server.log
