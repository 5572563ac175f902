"""What hostile clients try on every contract alike: keys that are none, guessing at keys, ids that are nearly
somebody's, and pages in a browser that reach for the server. Each contract says no in its own words, and no word tells
more.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from support.api import make_key, make_tenant
from support.client import Answer, Client, Json
from support.server import ROOT_KEY, Server
from support.waiting import until

URL = "https://example.com/webhook"
HOST = "hooks.example.com"
GUESSES_MAX = 5
PROBLEM = ["type", "title", "status", "detail", "code"]
REFUSED = ["statusCode", "message", "error", "code"]

pytestmark = pytest.mark.engines("sqlite", "postgres")


@dataclass(frozen=True)
class Contract:
    """How a contract is asked, and how it says no."""

    name: str
    # Where its endpoints are, and what makes one; `{tenant}` stands for the tenant's id.
    path: str
    new: dict[str, Any]
    # What can be done with one: the method and what follows its id.
    operations: tuple[tuple[str, str], ...]

    def endpoints(self, tenant: str) -> str:
        """The path of a tenant's endpoints."""
        return self.path.format(tenant=tenant)

    def check_refusal(self, answer: Answer, status: int, code: str) -> None:
        """Fails unless a refusal is in this contract's own words, with nothing more in it."""
        document = answer.expect(status)
        media_type = "application/problem+json" if self.name == "v1" else "application/json"
        assert answer.headers["content-type"] == media_type
        match self.name:
            case "v1":
                assert list(document) == PROBLEM
                assert (document["status"], document["code"]) == (status, code)
            case "organization":
                assert list(document) == REFUSED and isinstance(document["message"], str)
                assert (document["statusCode"], document["code"]) == (status, code)
            case "apps":
                assert list(document) == ["success", "error"] and document["success"] is False
                assert list(document["error"]) == ["code", "message"] and document["error"]["code"] == code
            case "subscriptions":
                assert list(document) == ["message"] and document["message"].endswith(".")


V1_OPERATIONS = (("GET", ""), ("PATCH", ""), ("POST", "/rotate-secret"), ("POST", "/test"), ("DELETE", ""))
ORGANIZATION_OPERATIONS = (("PUT", ""), ("POST", "/test"), ("DELETE", ""))
APPS_OPERATIONS = (
    ("PUT", ""),
    ("GET", "/deliveries"),
    ("POST", "/rotate-secret"),
    ("POST", "/test-ping"),
    ("DELETE", ""),
)
CONTRACTS = [
    Contract("v1", "/v1/endpoints", {"name": "one", "url": URL}, V1_OPERATIONS),
    Contract("organization", "/webhooks", {"url": URL, "events": ["*"]}, ORGANIZATION_OPERATIONS),
    Contract("apps", "/apps/{tenant}/webhooks", {"url": URL, "events": ["*"]}, APPS_OPERATIONS),
    Contract("subscriptions", "/api/v1/webhooks", {"url": URL}, (("GET", ""), ("PATCH", ""), ("DELETE", ""))),
]
each_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)


@dataclass(frozen=True)
class Owner:
    """A tenant with a key and one endpoint: its UUID."""

    tenant: str
    client: Client
    uuid: str

    def id(self, contract: Contract) -> str:
        """The endpoint as a contract spells it; it is the tenant's first."""
        return {"v1": f"ep_{self.uuid}", "organization": f"wh-{self.uuid}", "apps": self.uuid}.get(contract.name, "1")

    def one(self, contract: Contract) -> str:
        """The endpoint's path in a contract."""
        return f"{contract.endpoints(self.tenant)}/{self.id(contract)}"


def owner_on(server: Server) -> Owner:
    """A new owner."""
    tenant = make_tenant(server.root)
    client = server.client(make_key(server.root, "tenant", tenant=tenant)["key"])
    made = client.post("/v1/endpoints", {"name": "one", "url": URL}).expect(201)
    return Owner(tenant, client, made["id"].removeprefix("ep_"))


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str | None]
) -> Iterator[Callable[..., Server]]:
    """Starts servers for the tests of this file."""
    made: list[Server] = []

    def start(*options: str) -> Server:
        made.append(Server(tmp_path_factory.mktemp("hostile"), options=options, database_url=new_database()))
        return made[-1].start()

    yield start
    for server in made:
        server.discard()


@pytest.fixture(scope="module")
def shared_server(start: Callable[..., Server]) -> Server:
    """A server that answers for one host, and for the address that the tests' own calls go to. They make many."""
    hosts = ["--public-host", HOST, "--public-host", "127.0.0.1"]
    requests = ["organization-requests", "subscriptions-requests", "subscriptions-patch-requests"]
    return start(*hosts, *(f"--{name}-per-minute=0" for name in ["failed-authentication", *requests]))


@pytest.fixture(scope="module")
def guarded(start: Callable[..., Server]) -> Server:
    """A server that counts failed authentications, and believes its clients where they come from."""
    return start("--failed-authentication-per-minute", str(GUESSES_MAX), "--trusted-proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def owner(shared_server: Server) -> Owner:
    """An owner whose endpoint nobody of this file changes."""
    return owner_on(shared_server)


def refused_alike(answer: Answer, other: Answer) -> bool:
    """Are two refusals the same, but for the moment?"""
    headers = [{name: told.headers[name] for name in told.headers.keys() - {"date"}} for told in (answer, other)]
    return (answer.status, answer.body, headers[0]) == (other.status, other.body, headers[1])


# --- Keys -----------------------------------------------------------------------------------------------------------

# Three parts, each base64: {"alg":"none"}; {"alg":"HS256","kid":"../../dev/null"}; {"sub":"root","role":"root"}.
CLAIMS = "eyJzdWIiOiJyb290Iiwicm9sZSI6InJvb3QifQ"
BAD_KEYS = {
    "unknown": "stn_tenant_" + "A" * 43,
    "the root key less a character": ROOT_KEY[:-1],
    "the root key in another case": ROOT_KEY.swapcase(),
    "a word": "hunter2",
    "10 kB": "stn_root_" + "x" * 10_000,
    "not ASCII": "stn_root_\xe9\xff",
    "a token without a signature": f"eyJhbGciOiJub25lIn0.{CLAIMS}.",
    "a token whose key is a path": f"eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uL2Rldi9udWxsIn0.{CLAIMS}.AAAA",
    "a quote": "' OR '1'='1",
}


@pytest.fixture(scope="module")
def ended_keys(shared_server: Server, owner: Owner) -> dict[str, str]:
    """Keys of the owner that were valid once."""
    root = shared_server.root
    revoked = make_key(root, "tenant", tenant=owner.tenant)
    root.delete(f"/v1/keys/{revoked['id']}").expect(204)
    end = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    expired = shared_server.client(make_key(root, "tenant", tenant=owner.tenant, expires_at=end)["key"])
    until(lambda: expired.get("/v1/endpoints").status == 401, "the key has expired")
    assert expired.key is not None
    return {"revoked": revoked["key"], "expired": expired.key}


@each_contract
def test_whatever_is_no_valid_key_is_401_in_one_and_the_same_words(
    shared_server: Server, owner: Owner, ended_keys: dict[str, str], contract: Contract
):
    nobody = shared_server.client(None)
    requests: list[tuple[str, str, Json | None]] = [
        ("GET", contract.endpoints(owner.tenant), None),
        ("POST", contract.endpoints(owner.tenant), contract.new),
        ("DELETE", owner.one(contract), None),
        # There is nothing there, and nobody without a key hears of it.
        ("DELETE", owner.one(contract)[:-1] + "9", None),
    ]
    for method, path, body in requests:
        plain = nobody.request(method, path, body)
        contract.check_refusal(plain, 401, "unauthenticated")
        assert plain.headers["www-authenticate"] == "Bearer"
        for name, key in (BAD_KEYS | ended_keys).items():
            for header in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
                answer = nobody.request(method, path, body, header)
                assert refused_alike(answer, plain), (method, path, name, answer)
        for scheme in ("Basic ", "Digest ", "bearer", ""):
            answer = nobody.request(method, path, body, {"Authorization": f"{scheme}{owner.client.key}"})
            assert refused_alike(answer, plain), (method, path, scheme, answer)
    assert [one["id"] for one in owner.client.get("/v1/endpoints").expect(200)] == [f"ep_{owner.uuid}"]


@each_contract
def test_another_tenants_key_finds_nothing(shared_server: Server, owner: Owner, contract: Contract):
    stranger = owner_on(shared_server).client
    known = owner.client.get(f"/v1/endpoints/ep_{owner.uuid}").body
    for method, below in contract.operations:
        target = contract.endpoints(owner.tenant)
        # The stranger has a number 1, too.
        unknown = "2" if contract.name == "subscriptions" else owner.id(contract)
        body = {} if method in ("PUT", "PATCH") else None
        contract.check_refusal(stranger.request(method, f"{target}/{unknown}{below}", body), 404, "not_found")
    assert owner.client.get(f"/v1/endpoints/ep_{owner.uuid}").body == known


@each_contract
def test_guessing_at_keys_is_429_for_that_address_and_no_valid_key(guarded: Server, contract: Contract):
    owner = owner_on(guarded)
    path, number = contract.endpoints(owner.tenant), CONTRACTS.index(contract)

    def ask(address: str, key: str, where: str = path) -> Answer:
        return guarded.client(key).get(where, **{"X-Forwarded-For": address})

    def guess(address: str) -> Answer:
        return ask(address, "stn_root_guess")

    guesser, neighbour = f"192.0.2.{number}", f"198.51.100.{number}"
    assert [guess(guesser).status for _ in range(GUESSES_MAX)] == [401] * GUESSES_MAX
    refused = guess(guesser)
    contract.check_refusal(refused, 429, "too_many_failed_authentications")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    # The address has one count in all contracts, and each says so in its own words.
    for other in CONTRACTS:
        elsewhere = ask(guesser, "stn_root_guess", other.endpoints(owner.tenant))
        other.check_refusal(elsewhere, 429, "too_many_failed_authentications")
    assert owner.client.key is not None
    assert ask(guesser, owner.client.key).status == 200
    contract.check_refusal(guess(neighbour), 401, "unauthenticated")

    # Who has one address of IPv6 has all of its /64.
    networks = [f"2001:db8:0:{number}::{host}" for host in range(1, GUESSES_MAX + 2)]
    assert [guess(address).status for address in networks] == [401] * GUESSES_MAX + [429]
    assert guess(f"2001:db8:1:{number}::1").status == 401


# --- Ids ------------------------------------------------------------------------------------------------------------


def near_misses(id: str) -> dict[str, str]:
    """Spellings that nearly are an endpoint's id, for a path."""
    full_width = quote(chr(ord(id[-1]) - ord("!") + ord("\uff01")))
    return {
        "a space": "%20",
        "NUL after it": f"{id}%00",
        "NUL alone": "%00",
        "a newline after it": f"{id}%0A",
        "a space before it": f"%20{id}",
        "no UTF-8": f"{id}%FF",
        "overlong": "%C0%AE%C0%AE%2F" + id,
        "10 kB": id + "0" * 10_000,
        "a full-width digit": id[:-1] + full_width,
        "a zero-width space": f"{id}%E2%80%8B",
        "text that runs backwards": f"%E2%80%AE{id}",
        "a dot": f"{id}.",
        "two dots": f"{id}%2F..",
        "up and down": f"..%2F{id}",
        "a query in it": f"{id}%3Fx=1",
        "a quote": f"{id}'",
        "a wildcard": "%25",
        "all": "*",
    }


def near_uuids(id: str, uuid: str) -> dict[str, str]:
    """The same for ids with a UUID in them."""
    prefix = id.removesuffix(uuid)
    spellings = {
        "upper case": prefix + uuid.upper(),
        "without hyphens": prefix + uuid.replace("-", ""),
        "in braces": f"{prefix}%7B{uuid}%7D",
        "as a URN": f"{prefix}urn:uuid:{uuid}",
        "a hyphen of another kind": prefix + uuid.replace("-", "%E2%80%90", 1),
        "a Cyrillic letter": (prefix + uuid).replace("e", "%D0%B5").replace("a", "%D0%B0"),
    }
    for other in ("ep_", "wh-", "EP_", "Wh-", "evt_", "", "ep_ep_"):
        if other != prefix:
            spellings[f"prefix '{other}'"] = other + uuid
    return {name: spelling for name, spelling in spellings.items() if spelling != id}


@each_contract
@pytest.mark.parametrize("whose", ["owner", "stranger", "project"])
def test_what_is_nearly_an_id_is_nobodys(shared_server: Server, contract: Contract, whose: str):
    target = owner_on(shared_server)
    client = {
        "owner": target.client,
        "stranger": owner_on(shared_server).client,
        "project": shared_server.client(make_key(shared_server.root, "project")["key"]).for_tenant(target.tenant),
    }[whose]
    id, path = target.id(contract), contract.endpoints(target.tenant)
    spellings = near_misses(id)
    if contract.name == "subscriptions":
        spellings |= {"Arabic": "%D9%A1", "exponent": "1e0", "a fraction": "1.0", "hexadecimal": "0x1", "minus": "-1"}
    else:
        spellings |= near_uuids(id, target.uuid)
    before = target.client.get(f"/v1/endpoints/ep_{target.uuid}").body
    statuses = {404, 422} if contract.name == "subscriptions" else {404}
    for name, spelling in spellings.items():
        for method, below in contract.operations:
            body = {"url": "https://example.org/stolen"} if method in ("PUT", "PATCH") else None
            answer = client.request(method, f"{path}/{spelling}{below}", body)
            assert answer.status in statuses, (name, method, below, answer)
    assert target.client.get(f"/v1/endpoints/ep_{target.uuid}").body == before
    # It is there all the time, under its own name.
    assert target.client.request("DELETE", f"{path}/{id}").status == 204


@each_contract
def test_a_path_is_never_walked_upwards(owner: Owner, contract: Contract):
    path, native = contract.endpoints(owner.tenant), f"v1/endpoints/ep_{owner.uuid}"
    climbs = [f"{path}/../" + "../" * depth + native for depth in range(4)]
    climbs += [f"{path}/%2e%2e/%2e%2e/{native}", f"{path}/..;/{native}", f"{path}//{native}"]
    climbs += [f"/.{path}", f"/%2e{path}"]
    for climb in climbs:
        for method in ("GET", "DELETE"):
            assert owner.client.request(method, climb).status in (404, 405), (method, climb)
    owner.client.get(f"/{native}").expect(200)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_nearly_an_apps_id_is_no_app(shared_server: Server, owner: Owner, method: str):
    [apps] = [contract for contract in CONTRACTS if contract.name == "apps"]
    uuid = owner.tenant.removeprefix("ten_")
    spellings = near_misses(owner.tenant) | near_uuids(owner.tenant, uuid)
    for client in (owner.client, shared_server.client(make_key(shared_server.root, "project")["key"])):
        for name, spelling in spellings.items():
            body = apps.new if method == "POST" else None
            answer = client.request(method, f"/apps/{spelling}/webhooks", body)
            assert answer.status == 404, (name, answer)
    assert len(owner.client.get("/v1/endpoints").expect(200)) == 1


# --- Browsers -------------------------------------------------------------------------------------------------------


@each_contract
def test_only_the_operators_hosts_are_answered_for(shared_server: Server, contract: Contract):
    owner = owner_on(shared_server)
    path = contract.endpoints(owner.tenant)
    for host in (HOST, f"{HOST}:8080", HOST.upper(), f"127.0.0.1:{shared_server.port}"):
        assert owner.client.get(path, Host=host).status == 200, host
    for host in ("evil.example", f"{HOST}.evil.example", f"evil.{HOST}", f"{HOST}@evil.example", "localhost", ""):
        # A page that was rebound to this address has the key, or has none.
        for client in (owner.client, shared_server.client(None)):
            forwarded = {"X-Forwarded-Host": HOST, "Forwarded": f"host={HOST}"}
            contract.check_refusal(client.get(path, Host=host, **forwarded), 421, "unknown_host")
            document = client.get(f"/openapi/{contract.name}.json", Host=host)
            assert document.status == 421, host
        unmade = owner.client.request("POST", path, contract.new, {"Host": host})
        contract.check_refusal(unmade, 421, "unknown_host")
    assert len(owner.client.get("/v1/endpoints").expect(200)) == 1


ORIGINS = ["null", "https://evil.example", f"https://{HOST}"]


@each_contract
@pytest.mark.parametrize("origin", ORIGINS)
def test_no_page_of_any_origin_is_let_in(shared_server: Server, contract: Contract, origin: str):
    owner = owner_on(shared_server)
    path = contract.endpoints(owner.tenant)
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    requests = {
        "a list": (owner.client, "GET", path, {}),
        "a preflight": (shared_server.client(None), "OPTIONS", path, preflight),
        "a preflight for one": (shared_server.client(None), "OPTIONS", owner.one(contract), preflight),
        "without a key": (shared_server.client(None), "GET", path, {}),
        "with cookies": (shared_server.client(None), "GET", path, {"Cookie": f"key={owner.client.key}"}),
        "another host": (owner.client, "GET", path, {"Host": "evil.example"}),
        "nothing there": (owner.client, "DELETE", f"{path}/nothing-here", {}),
        "the document": (shared_server.client(None), "GET", f"/openapi/{contract.name}.json", {}),
    }
    statuses = {}
    for name, (client, method, where, headers) in requests.items():
        plain = client.request(method, where, None, headers)
        answer = client.request(method, where, None, headers | {"Origin": origin})
        assert (answer.status, answer.body) == (plain.status, plain.body), name
        assert answer.headers.keys() == plain.headers.keys(), name
        assert not [header for header in answer.headers if header.startswith("access-control-")], name
        statuses[name] = answer.status
    expected = [200, 405, 405, 401, 401, 421, 422 if contract.name == "subscriptions" else 404, 200]
    assert list(statuses.values()) == expected
    made = owner.client.request("POST", path, contract.new, {"Origin": origin})
    assert made.status in (200, 201) and "access-control-allow-origin" not in made.headers
