"""`/metrics`, read as Prometheus reads it: by the parsers of its own client library."""

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as read_by_older_scrapers

from support.api import deliveries, make_endpoint, make_key, make_tenant, publish
from support.client import Client
from support.receiver import Receiver, always
from support.server import Server
from support.waiting import until

MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# Labels, and how many values each can have in all.
LABELS = {"version": 1, "outcome": 14, "code": 30, "kind": 4, "le": 20}

pytestmark = pytest.mark.engines("sqlite", "postgres")


def scraped(root: Client) -> dict[str, Metric]:
    """The metrics, by name. The parser is strict: names, units, suffixes, order and cumulative buckets must be right."""
    answer = root.get("/metrics")
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == MEDIA_TYPE
    text = answer.body.decode()
    assert list(read_by_older_scrapers(text))
    return {metric.name: metric for metric in text_string_to_metric_families(text)}


def value(metrics: dict[str, Metric], sample: str, **labels: str) -> float:
    """The value of one sample, 0 where there is none."""
    samples = [one for metric in metrics.values() for one in metric.samples]
    return sum(one.value for one in samples if one.name == sample and labels.items() <= one.labels.items())


def test_what_happens_is_counted(server: Server, receiver: Receiver):
    root = server.root
    tenant = make_tenant(root)
    client = root.for_tenant(tenant)
    before = scraped(root)
    make_endpoint(client, receiver.url("/good"), retry_schedule=[])
    failing = make_endpoint(client, receiver.url("/failing", always(429)), retry_schedule=[3_600])["id"]
    for _ in range(3):
        publish(root, tenant)
    root.post("/v1/events", {"tenant": "nobody", "type": "a", "payload": 1}).expect(404)
    root.post("/v1/events", {"tenant": tenant, "payload": 1}).expect(422)
    root.post("/v1/events", b"{").problem(400, "malformed_json")
    until(lambda: len(deliveries(client, "status=delivered")) == 3, "the good endpoint has all")

    def tried() -> bool:
        return any(one["attempt_count"] for one in deliveries(client, f"endpoint={failing}"))

    until(tried, "the failing endpoint was asked")
    metrics = scraped(root)

    def more(sample: str, **labels: str) -> float:
        return value(metrics, sample, **labels) - value(before, sample, **labels)

    assert more("stentor_events_accepted_total") == 3
    for code in ("not_found", "invalid_request", "malformed_json"):
        assert more("stentor_publishes_refused_total", code=code) == 1, code
    assert more("stentor_attempts_total", outcome="succeeded") == 3
    failed = more("stentor_attempts_total", outcome="http_status")
    assert 1 <= failed <= 3
    assert more("stentor_attempt_duration_seconds_count") == 3 + failed
    assert 0 < more("stentor_attempt_duration_seconds_sum") < 60
    assert more("stentor_publish_to_first_attempt_seconds_count") == 3 + failed
    groups = more("stentor_commit_members_count")
    assert groups > 0
    assert more("stentor_commit_members_sum") >= groups
    assert more("stentor_commit_duration_seconds_count") == groups
    assert value(metrics, "stentor_attempts_in_flight") <= 3
    assert value(metrics, "stentor_deliveries_in_memory") <= 3
    assert value(metrics, "stentor_database_errors_total") == 0
    assert 0 < value(metrics, "stentor_oldest_unfinished_seconds") < 600
    assert value(metrics, "stentor_oldest_due_seconds") < 600
    # The failing endpoint asked for a pause.
    assert value(metrics, "stentor_open_breakers") == 1
    [build] = metrics["stentor_build_info"].samples
    assert build.value == 1


def test_only_root_keys_see_them(server: Server):
    root = server.root
    tenant = make_tenant(root)
    server.client(None).get("/metrics").problem(401, "unauthenticated")
    for role, fields in (("project", {}), ("tenant", {"tenant": tenant})):
        key = make_key(root, role, **fields)["key"]
        server.client(key).get("/metrics").problem(403, "forbidden")
    read_only = make_key(root, "root", read_only=True)["key"]
    assert server.client(read_only).get("/metrics").status == 200


def test_ap44_tenants_and_urls_are_no_labels(server: Server, receiver: Receiver):
    root = server.root
    names = [f"tenant-{number}" for number in range(20)]
    for name in names:
        root.post("/v1/tenants", {"name": name, "uid": name}).expect(201)
        make_endpoint(root.for_tenant(name), receiver.url(f"/{name}"))
        publish(root, name)
        root.post(f"/v1/{name}", {}).expect(404)
        root.post("/v1/events", {"tenant": name, "type": f"bad type {name}", "payload": 1}).expect(422)
    receiver.wait_for(len(names))
    metrics = scraped(root)
    text = str([metric.samples for metric in metrics.values()])
    assert not any(told in text for told in ("tenant-", "ten_", "ep_", "127.0.0.1"))
    for metric in metrics.values():
        values: dict[str, set[str]] = {}
        for sample in metric.samples:
            for label, told in sample.labels.items():
                values.setdefault(label, set()).add(told)
        for label, told in values.items():
            assert len(told) <= LABELS[label], (metric.name, label, told)
