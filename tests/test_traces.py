"""`--traceparent`: the trace of a publish goes on to its receivers, where the operator wants that."""

from collections.abc import Callable

import pytest

from support.api import event_text, make_endpoint, make_tenant
from support.receiver import Receiver
from support.server import Server

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STATE = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"

pytestmark = pytest.mark.engines("sqlite", "postgres")


def sent_on(server: Server, receiver: Receiver, headers: dict[str, str]) -> tuple[str | None, str | None]:
    """What a receiver gets of the trace of a publish with these headers."""
    tenant = make_tenant(server.root)
    own = {"Traceparent": "mine", "Tracestate": "mine"} if "own" in headers else {}
    before = len(receiver.requests())
    make_endpoint(server.root.for_tenant(tenant), receiver.url(f"/{before}"), headers_json=own)
    body = event_text(tenant, "order.completed", "{}")
    sent = {name: value for name, value in headers.items() if name != "own"}
    server.root.request("POST", "/v1/events", body, sent).expect(202)
    [*_, request] = receiver.wait_for(before + 1)
    return request.header("traceparent"), request.header("tracestate")


def test_valid_traces_go_on_and_others_are_ignored(servers: Callable[..., Server], receiver: Receiver):
    server = servers(options=["--traceparent", "forward"]).start()
    both = {"traceparent": PARENT, "tracestate": STATE}
    assert sent_on(server, receiver, both) == (PARENT, STATE)
    assert sent_on(server, receiver, both | {"own": "1"}) == (PARENT, STATE)
    assert sent_on(server, receiver, {"traceparent": PARENT, "own": "1"}) == (PARENT, None)
    assert sent_on(server, receiver, {"traceparent": PARENT, "tracestate": "x" * 600}) == (PARENT, None)
    assert sent_on(server, receiver, {"traceparent": PARENT.upper(), "tracestate": STATE}) == (None, None)
    assert sent_on(server, receiver, {"tracestate": STATE}) == (None, None)
    assert sent_on(server, receiver, {}) == (None, None)


def test_without_the_option_nothing_of_a_trace_goes_on(server: Server, receiver: Receiver):
    assert sent_on(server, receiver, {"traceparent": PARENT, "tracestate": STATE}) == (None, None)
