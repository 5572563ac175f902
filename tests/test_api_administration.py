"""Projects, keys, tenants, event types, the audit log, and what tells how the server is."""

import re

import openapi_spec_validator
import pytest

from support.api import make_endpoint, make_key, make_tenant, publish
from support.client import Client
from support.receiver import Receiver
from support.server import ROOT_KEY, Server
from support.waiting import until

MILLISECONDS = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")

pytestmark = pytest.mark.engines("sqlite", "postgres")


@pytest.fixture
def root(shared_server: Server) -> Client:
    """A client with the root key."""
    return shared_server.root


# --- Lists ---------------------------------------------------------------------------------------------------------


def test_lists_are_newest_first_and_pages_neither_miss_nor_repeat(root: Client):
    made = [make_tenant(root, f"paged {number}") for number in range(7)]
    listed = [tenant["id"] for tenant in root.pages("/v1/tenants", limit=3)]
    assert listed[:7] == made[::-1]
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("limit", ["0", "251", "-1", "x", "1.5", "99999999999999999999"])
def test_a_bad_limit_is_422(root: Client, limit: str):
    assert root.get(f"/v1/tenants?limit={limit}").fields() == ["limit"]


@pytest.mark.parametrize("cursor", ["x", "0", "%00", "a" * 5_000, "../x"])
def test_a_bad_cursor_is_400(root: Client, cursor: str):
    root.get(f"/v1/tenants?cursor={cursor}").problem(400)


# --- Projects ------------------------------------------------------------------------------------------------------


def test_a_first_start_makes_project_default(root: Client):
    assert "default" in [project["name"] for project in root.pages("/v1/projects")]


def test_a_project_is_made_shown_renamed_and_deleted(root: Client):
    project = root.post("/v1/projects", {"name": "preview"}).expect(201)
    assert project["id"].startswith("prj_") and project["name"] == "preview"
    path = f"/v1/projects/{project['id']}"
    assert root.get(path).expect(200) == project
    assert root.patch(path, {"name": "preview-2"}).expect(200)["name"] == "preview-2"
    assert root.delete(path).status == 204
    root.get(path).problem(404)


def test_a_project_that_is_not_empty_and_default_are_not_deleted(root: Client):
    project = root.post("/v1/projects", {"name": "full"}).expect(201)
    root.post(f"/v1/tenants?project={project['id']}", {"name": "x"}).expect(201)
    root.delete(f"/v1/projects/{project['id']}").problem(409)
    [default] = [one for one in root.pages("/v1/projects") if one["name"] == "default"]
    root.delete(f"/v1/projects/{default['id']}").problem(409)


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": None}, {"name": 1}, {"name": "x" * 300}], ids=str)
def test_a_project_without_a_good_name_is_422(root: Client, body: dict):
    assert root.post("/v1/projects", body).fields() == ["name"]


# --- Keys ----------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once(root: Client):
    made = make_key(root, "project", name="backend")
    assert made["id"].startswith("key_") and re.fullmatch(r"stn_project_[0-9A-Za-z]{43}", made["key"])
    answer = root.get("/v1/keys?limit=250")
    [listed] = [key for key in answer.expect(200)["data"] if key["id"] == made["id"]]
    assert "key" not in listed and (listed["role"], listed["name"]) == ("project", "backend")
    assert made["key"].encode() not in answer.body and ROOT_KEY.encode() not in answer.body


def test_a_repeated_key_creation_does_not_show_the_key_again(root: Client):
    body = {"role": "project", "name": "once"}
    first = root.post("/v1/keys", body, {"Idempotency-Key": "once"}).expect(201)
    again = root.post("/v1/keys", body, {"Idempotency-Key": "once"})
    assert again.expect(201)["id"] == first["id"] and "key" not in again.json()
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "role"),
        ({"role": "king"}, "role"),
        ({"role": "tenant"}, "tenant"),
        ({"role": "project", "read_only": "yes"}, "read_only"),
        ({"role": "project", "expires_at": "tomorrow"}, "expires_at"),
    ],
    ids=str,
)
def test_a_bad_key_is_422_and_named(root: Client, body: dict, field: str):
    assert root.post("/v1/keys", body).fields() == [field]


def test_revoking_twice_is_404(root: Client):
    id = make_key(root, "project")["id"]
    assert root.delete(f"/v1/keys/{id}").status == 204
    root.delete(f"/v1/keys/{id}").problem(404)


# --- Tenants -------------------------------------------------------------------------------------------------------


def test_a_tenant_is_known_by_id_and_uid(root: Client):
    tenant = root.post("/v1/tenants", {"name": "Acme", "uid": "acme-1", "metadata": {"plan": "gold"}}).expect(201)
    assert tenant["id"].startswith("ten_") and (tenant["name"], tenant["uid"]) == ("Acme", "acme-1")
    assert tenant["metadata"] == {"plan": "gold"} and MILLISECONDS.fullmatch(tenant["created_at"])
    assert root.get("/v1/tenants/acme-1").expect(200) == root.get(f"/v1/tenants/{tenant['id']}").expect(200) == tenant
    changed = root.patch("/v1/tenants/acme-1", {"name": "Acme Ltd"}).expect(200)
    assert (changed["name"], changed["uid"], changed["metadata"]) == ("Acme Ltd", "acme-1", {"plan": "gold"})
    root.post("/v1/tenants", {"name": "x", "uid": "acme-1"}).problem(409, "uid_taken")


@pytest.mark.parametrize("uid", ["ten_x", "a b", "../x", "a%00", "", "x" * 257, "größe", 7])
def test_a_bad_uid_is_422(root: Client, uid: object):
    assert root.post("/v1/tenants", {"name": "x", "uid": uid}).fields() == ["uid"]


def test_a_uid_may_be_taken_again_after_the_tenant_is_deleted(root: Client):
    root.post("/v1/tenants", {"name": "x", "uid": "again"}).expect(201)
    assert root.delete("/v1/tenants/again").status == 204
    root.post("/v1/tenants", {"name": "x", "uid": "again"}).expect(201)


def test_deleting_a_tenant_takes_its_endpoints_and_its_keys_with_it(shared_server: Server, root: Client):
    tenant = make_tenant(root)
    key = make_key(root, "tenant", tenant=tenant)["key"]
    make_endpoint(root.for_tenant(tenant), "https://example.com/")
    assert root.delete(f"/v1/tenants/{tenant}").status == 204
    root.get(f"/v1/tenants/{tenant}").problem(404)
    publish(root, tenant).problem(404)
    root.for_tenant(tenant).get("/v1/endpoints").problem(404)
    assert shared_server.client(key).get("/v1/endpoints").status in (401, 404)


# --- Event types ---------------------------------------------------------------------------------------------------


def test_an_event_type_is_made_shown_changed_and_archived(root: Client):
    made = root.post("/v1/event-types", {"name": "invoice.paid", "description": "An invoice was paid"}).expect(201)
    assert (made["name"], made["description"]) == ("invoice.paid", "An invoice was paid")
    path = "/v1/event-types/invoice.paid"
    assert root.get(path).expect(200) == made
    assert root.patch(path, {"description": "Paid in full"}).expect(200)["description"] == "Paid in full"
    assert "invoice.paid" in [kind["name"] for kind in root.pages("/v1/event-types")]
    assert root.delete(path).status == 204
    assert "invoice.paid" not in [kind["name"] for kind in root.pages("/v1/event-types")]
    publish(root, make_tenant(root), event_type="invoice.paid").expect(202)


@pytest.mark.parametrize("name", ["", "a b", ".a", "a.*", "x" * 256, 7, None])
def test_a_bad_name_of_an_event_type_is_422(root: Client, name: object):
    assert root.post("/v1/event-types", {"name": name, "description": "x"}).fields() == ["name"]


def test_the_same_event_type_twice_is_409(root: Client):
    body = {"name": "twice.made", "description": "x"}
    root.post("/v1/event-types", body).expect(201)
    root.post("/v1/event-types", body).problem(409)


# --- The audit log -------------------------------------------------------------------------------------------------


def test_the_audit_log_says_who_did_what_without_secrets(shared_server: Server, root: Client):
    made = make_key(root, "project", name="audited")
    client = shared_server.client(made["key"])
    tenant = make_tenant(client)
    endpoint = make_endpoint(
        client.for_tenant(tenant),
        "https://example.com/?token=audit-canary-1",
        secret="audit-canary-2 of a secret",
        headers_json={"X-A": "audit-canary-3"},
    )
    answer = root.get("/v1/audit?limit=20")
    entries = answer.expect(200)["data"]
    about = [entry for entry in entries if endpoint["id"] in str(entry)]
    assert about and made["id"] in str(about[0]) and "127.0.0.1" in str(about[0]), entries
    for secret in (b"audit-canary", made["key"].encode()):
        assert secret not in answer.body


# --- How the server is ---------------------------------------------------------------------------------------------


def test_unknown_paths_are_404_and_wrong_methods_405(root: Client):
    for path in ("/", "/v1", "/v1/nothing", "/v1/tenants/a/b/c", "/.env", "/v2/events"):
        assert root.get(path).status == 404, path
    refused = root.request("PUT", "/v1/tenants", {"name": "x"})
    refused.problem(405)
    assert {"GET", "POST"} <= {method.strip() for method in refused.headers["allow"].split(",")}


def test_the_openapi_document_describes_every_resource(root: Client):
    document = root.get("/openapi.json").expect(200)
    assert document["openapi"].startswith("3.1")
    paths = set(document["paths"])
    for resource in ("projects", "keys", "tenants", "event-types", "endpoints", "events", "deliveries", "audit"):
        assert f"/v1/{resource}" in paths, resource
    for path in ("/v1/events/batch", "/healthz", "/readyz"):
        assert path in paths, path
    assert document["webhooks"], "the outgoing webhook is described"
    openapi_spec_validator.validate(document)


def test_every_get_of_the_openapi_document_answers_without_a_fault_of_the_server(root: Client):
    document = root.get("/openapi.json").expect(200)
    tenant = make_tenant(root)
    for path, operations in document["paths"].items():
        if "get" in operations:
            filled = re.sub(r"\{[^}]+\}", "unknown", path)
            answer = root.for_tenant(tenant).get(filled)
            assert answer.status < 500, (filled, answer)


def test_answers_carry_no_headers_that_let_a_page_of_another_origin_read_them(root: Client):
    answer = root.get("/v1/tenants", Origin="null")
    assert "access-control-allow-origin" not in answer.headers


def test_a_restart_keeps_everything(server: Server, receiver: Receiver):
    tenant = make_tenant(server.root, uid="kept")
    client = server.root.for_tenant("kept")
    made = make_endpoint(client, receiver.url())
    event = publish(server.root, "kept").expect(202)["id"]
    receiver.wait_for(1)
    until(lambda: client.get("/v1/deliveries?status=delivered").expect(200)["data"], "it is delivered")
    paths = ["/v1/endpoints", "/v1/deliveries", f"/v1/events/{event}", f"/v1/tenants/{tenant}"]
    before = [client.get(path).body for path in paths]
    assert server.stop() == 0
    server.start()
    assert [client.get(path).body for path in paths] == before
    assert made["id"].encode() in before[0]
    assert len(receiver.requests()) == 1
