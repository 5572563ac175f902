"""Who may do what: roles, tenants, revocation, expiry, and answers that give nothing away."""

from datetime import UTC, datetime, timedelta

import pytest

from support.api import make_endpoint, make_key, make_tenant, publish
from support.client import Client
from support.receiver import Receiver
from support.server import ROOT_KEY, Server
from support.waiting import until

PUBLIC = ["/healthz", "/readyz", "/openapi.json"]
PROTECTED = [
    "/v1/projects",
    "/v1/keys",
    "/v1/tenants",
    "/v1/event-types",
    "/v1/endpoints",
    "/v1/events",
    "/v1/deliveries",
    "/v1/audit",
]
FOREIGN = "stn_tenant_" + "A" * 43
BAD_KEYS = {
    "unknown": FOREIGN,
    "an unknown root key": "stn_root_" + "B" * 43,
    "the root key less one character": ROOT_KEY[:-1],
    "the root key in another case": ROOT_KEY.swapcase(),
    "empty": "",
    "a word": "hunter2",
    "10 kB": "stn_root_" + "x" * 10_000,
    "a token with alg none": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.",
    "a path": "../../etc/passwd",
    "a quote": "' OR '1'='1",
}

pytestmark = pytest.mark.engines("sqlite", "postgres")


@pytest.fixture
def tenants(shared_server: Server) -> tuple[str, str]:
    """Two tenants."""
    return make_tenant(shared_server.root, "Ours"), make_tenant(shared_server.root, "Theirs")


def tenant_client(server: Server, tenant: str, **fields) -> Client:
    """A client with a key of the tenant."""
    return server.client(make_key(server.root, "tenant", tenant=tenant, **fields)["key"])


@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public_needs_no_key(shared_server: Server, path: str):
    assert shared_server.client(None).get(path).status == 200


@pytest.mark.parametrize("path", PROTECTED)
def test_everything_else_is_401_without_a_key(shared_server: Server, path: str):
    answer = shared_server.client(None).get(path)
    answer.problem(401)
    assert "bearer" in answer.headers.get("www-authenticate", "").lower()


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_bad_key_is_401_with_one_and_the_same_answer(shared_server: Server, key: str):
    reference = shared_server.client(FOREIGN).get("/v1/tenants")
    answer = shared_server.client(key).get("/v1/tenants")
    answer.problem(401)
    if key:
        assert answer.body == reference.body
    assert shared_server.client(None).get("/v1/tenants", **{"X-API-Key": key}).status == 401


def test_either_header_carries_the_key_and_two_different_keys_are_401(shared_server: Server):
    plain = shared_server.client(None)
    assert plain.get("/v1/tenants", **{"X-API-Key": ROOT_KEY}).status == 200
    assert plain.get("/v1/tenants", Authorization=f"bearer {ROOT_KEY}").status == 200
    assert plain.get("/v1/tenants", Authorization=ROOT_KEY).status == 401
    assert plain.get("/v1/tenants", Authorization=f"Basic {ROOT_KEY}").status == 401
    both = {"Authorization": f"Bearer {ROOT_KEY}"}
    assert plain.get("/v1/tenants", **both, **{"X-API-Key": ROOT_KEY}).status == 200
    assert plain.get("/v1/tenants", **both, **{"X-API-Key": FOREIGN}).status == 401


def test_a_revoked_key_is_401_from_that_moment(shared_server: Server):
    made = make_key(shared_server.root, "project")
    client = shared_server.client(made["key"])
    client.get("/v1/tenants").expect(200)
    assert shared_server.root.delete(f"/v1/keys/{made['id']}").status == 204
    client.get("/v1/tenants").problem(401)


def test_an_expired_key_is_401(shared_server: Server):
    end = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    client = shared_server.client(make_key(shared_server.root, "project", expires_at=end)["key"])
    until(lambda: client.get("/v1/tenants").status == 401, "the key has expired", 10)


def test_a_key_that_would_expire_before_it_is_made_is_422(shared_server: Server):
    answer = shared_server.root.post("/v1/keys", {"role": "project", "expires_at": "2020-01-01T00:00:00Z"})
    assert answer.fields() == ["expires_at"]


def test_a_read_only_key_reads_and_changes_nothing(shared_server: Server, tenants: tuple[str, str]):
    ours, _ = tenants
    project = shared_server.client(make_key(shared_server.root, "project", read_only=True)["key"])
    project.get("/v1/tenants").expect(200)
    project.post("/v1/tenants", {"name": "x"}).problem(403)
    publish(project, ours).problem(403)
    endpoint = make_endpoint(shared_server.root.for_tenant(ours), "https://example.com/hook")
    client = tenant_client(shared_server, ours, read_only=True)
    path = f"/v1/endpoints/{endpoint['id']}"
    client.get(path).expect(200)
    for answer in (
        client.patch(path, {"name": "x"}),
        client.delete(path),
        client.post(f"{path}/rotate-secret", {}),
        client.post(f"{path}/test", {}),
        client.post("/v1/endpoints", {"name": "x", "url": "https://example.com/x"}),
    ):
        answer.problem(403)
    assert client.get(path).expect(200) == endpoint_without_secret(endpoint)


def endpoint_without_secret(endpoint: dict) -> dict:
    """An endpoint as it is shown after its creation."""
    return {name: value for name, value in endpoint.items() if name != "secret"}


def test_a_tenants_key_manages_its_endpoints_and_nothing_above(shared_server: Server, tenants: tuple[str, str]):
    ours, _ = tenants
    client = tenant_client(shared_server, ours)
    make_endpoint(client, "https://example.com/hook")
    for path in ("/v1/events", "/v1/deliveries", "/v1/event-types"):
        client.get(path).expect(200)
    for path in ("/v1/projects", "/v1/projects/default", "/v1/keys", "/v1/tenants", f"/v1/tenants/{ours}", "/v1/audit"):
        client.get(path).problem(403)
    for path, body in (
        ("/v1/projects", {"name": "x"}),
        ("/v1/keys", {"role": "tenant", "tenant": ours}),
        ("/v1/tenants", {"name": "x"}),
        ("/v1/event-types", {"name": "x", "description": "x"}),
    ):
        client.post(path, body).problem(403)
    publish(client, ours).problem(403)


def test_what_belongs_to_another_tenant_does_not_exist(
    shared_server: Server, tenants: tuple[str, str], receiver: Receiver
):
    ours, theirs = tenants
    endpoint = make_endpoint(shared_server.root.for_tenant(theirs), receiver.url())
    event = publish(shared_server.root, theirs).expect(202)
    [delivery] = shared_server.root.for_tenant(theirs).pages(f"/v1/deliveries?event={event['id']}")
    client = tenant_client(shared_server, ours)
    path = f"/v1/endpoints/{endpoint['id']}"
    for answer in (
        client.get(path),
        client.patch(path, {"name": "stolen"}),
        client.delete(path),
        client.post(f"{path}/rotate-secret", {}),
        client.post(f"{path}/test", {}),
        client.get(f"/v1/events/{event['id']}"),
        client.get(f"/v1/deliveries/{delivery['id']}"),
        client.post(f"/v1/deliveries/{delivery['id']}/retry"),
        client.post(f"/v1/deliveries/{delivery['id']}/cancel"),
    ):
        answer.problem(404)
    assert client.get("/v1/endpoints").expect(200) == []
    assert client.pages("/v1/deliveries") == [] and client.pages("/v1/events") == []
    assert shared_server.root.for_tenant(theirs).get(path).expect(200) == endpoint_without_secret(endpoint)


def test_a_tenants_key_cannot_act_for_another_tenant(shared_server: Server, tenants: tuple[str, str]):
    ours, theirs = tenants
    make_endpoint(shared_server.root.for_tenant(theirs), "https://example.com/hook")
    client = tenant_client(shared_server, ours)
    by_header = client.for_tenant(theirs).get("/v1/endpoints")
    by_query = client.get(f"/v1/endpoints?tenant={theirs}")
    for answer in (by_header, by_query):
        assert answer.status in (404, 422) or answer.json() == [], answer


def test_a_project_or_root_key_must_name_the_tenant(shared_server: Server, tenants: tuple[str, str]):
    ours, _ = tenants
    for client in (shared_server.root, shared_server.client(make_key(shared_server.root, "project")["key"])):
        client.get("/v1/endpoints").problem(422, "tenant_required")
        client.post("/v1/endpoints", {"name": "x", "url": "https://example.com"}).problem(422, "tenant_required")
        client.get(f"/v1/endpoints?tenant={ours}").expect(200)
        client.for_tenant(ours).get("/v1/endpoints").expect(200)
        client.for_tenant("nobody").get("/v1/endpoints").problem(404)


def test_a_project_key_sees_its_project_alone(shared_server: Server):
    root = shared_server.root
    project = root.post("/v1/projects", {"name": "staging"}).expect(201)
    inside = root.post(f"/v1/tenants?project={project['id']}", {"name": "Inside"}).expect(201)
    outside = make_tenant(root, "Outside")
    client = shared_server.client(make_key(root, "project", project=project["id"])["key"])
    assert [tenant["id"] for tenant in client.pages("/v1/tenants")] == [inside["id"]]
    client.get(f"/v1/tenants/{outside}").problem(404)
    publish(client, outside).problem(404)
    client.post("/v1/projects", {"name": "x"}).problem(403)
    client.post("/v1/keys", {"role": "root"}).problem(403)


def test_guessing_keys_is_429_while_valid_keys_go_on(server: Server):
    statuses = [server.client(f"stn_root_{number:043}").get("/v1/tenants").status for number in range(80)]
    assert set(statuses) == {401, 429}, statuses
    assert 55 <= statuses.index(429) <= 65, statuses
    server.root.get("/v1/tenants").expect(200)
    refused = server.client(FOREIGN).get("/v1/tenants")
    refused.problem(429)
    assert int(refused.headers["retry-after"]) >= 1
