"""One endpoint through all contracts: made in one, it is the same endpoint in every other, by the table of
`contracts/README`: listed, changed, paused, switched, tested and deleted wherever its owner looks.
"""

from dataclasses import dataclass
from typing import Any

import pytest

from support.api import make_key, make_tenant, publish
from support.client import Client
from support.receiver import Receiver, always, in_turn
from support.server import Server
from support.waiting import until

pytestmark = pytest.mark.engines("sqlite", "postgres")

HOURLY = [3_600] * 48
USUAL = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
# Another contract's word for what all of them show of one endpoint.
WORDS = {
    "ACTIVE": {"organization": True, "apps": True, "subscriptions": True},
    "PAUSED": {"organization": False, "apps": False, "subscriptions": False},
    "DISABLED by owner": {"organization": False, "apps": False, "subscriptions": False},
    "DISABLED by gone": {"organization": False, "apps": False, "subscriptions": True},
}


@dataclass
class Owner:
    """A tenant's own key, and the endpoint's names in every contract."""

    client: Client
    tenant: str

    def make(self, contract: str, url: str) -> str:
        """Makes an endpoint through a contract; gives v1's id of it."""
        match contract:
            case "v1":
                return self.client.post("/v1/endpoints", {"name": "one", "url": url}).expect(201)["id"]
            case "organization":
                made = self.client.post("/webhooks", {"url": url, "events": ["*"]}).expect(201)
                return made["id"].replace("wh-", "ep_")
            case "apps":
                made = self.client.post(f"/apps/{self.tenant}/webhooks", {"url": url, "events": ["*"]}).expect(201)
                return "ep_" + made["data"]["id"]
        number = self.client.post("/api/v1/webhooks/", {"url": url}).expect(200)["id"]
        [known] = [one for one in self.client.get("/v1/endpoints").expect(200) if one["number"] == number]
        return known["id"]

    def paths(self, endpoint: str) -> dict[str, str]:
        """Where the endpoint is, in each contract."""
        uuid = endpoint.removeprefix("ep_")
        number = self.native(endpoint)["number"]
        return {
            "v1": f"/v1/endpoints/{endpoint}",
            "organization": f"/webhooks/wh-{uuid}",
            "apps": f"/apps/{self.tenant}/webhooks/{uuid}",
            "subscriptions": f"/api/v1/webhooks/{number}",
        }

    def native(self, endpoint: str) -> dict[str, Any]:
        """The endpoint as v1 shows it."""
        return self.client.get(f"/v1/endpoints/{endpoint}").expect(200)

    def shown(self, endpoint: str) -> dict[str, dict[str, Any]]:
        """The endpoint as every contract shows it."""
        uuid, number = endpoint.removeprefix("ep_"), self.native(endpoint)["number"]
        organization = self.client.get("/webhooks").expect(200)["data"]
        apps = self.client.get(f"/apps/{self.tenant}/webhooks").expect(200)["data"]
        [in_organization] = [one for one in organization if one["id"] == f"wh-{uuid}"]
        [in_apps] = [one for one in apps if one["id"] == uuid]
        return {
            "v1": self.native(endpoint),
            "organization": in_organization,
            "apps": in_apps,
            "subscriptions": self.client.get(f"/api/v1/webhooks/{number}").expect(200),
        }

    def switch(self, contract: str, endpoint: str, on: bool) -> None:
        """Sets a contract's switch."""
        path = self.paths(endpoint)[contract]
        match contract:
            case "v1":
                self.client.patch(path, {"status": "ACTIVE" if on else "PAUSED"}).expect(200)
            case "subscriptions":
                self.client.patch(path, {"enabled": on}).expect(200)
            case _:
                self.client.put(path, {"active": on}).expect(200)

    def check_switches(self, endpoint: str, state: str) -> None:
        """What every contract shows of the endpoint's state."""
        shown = self.shown(endpoint)
        assert shown["v1"]["status"] == state.split(" ")[0]
        reasons = {"DISABLED by owner": "owner", "DISABLED by gone": "gone"}
        assert shown["v1"]["disabled_reason"] == reasons.get(state)
        assert (shown["v1"]["paused_at"] is not None) == (state == "PAUSED")
        switches = {
            "organization": shown["organization"]["active"],
            "apps": shown["apps"]["active"],
            "subscriptions": shown["subscriptions"]["enabled"],
        }
        assert switches == WORDS[state], state


CONTRACTS = ["v1", "organization", "apps", "subscriptions"]


@pytest.fixture
def owner(shared_server: Server) -> Owner:
    tenant = make_tenant(shared_server.root)
    key = make_key(shared_server.root, "tenant", tenant=tenant)["key"]
    return Owner(shared_server.client(key), tenant)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_what_a_contract_documents_is_a_property_of_the_endpoint_and_is_seen_and_changed_through_v1(
    owner: Owner, contract: str
):
    endpoint = owner.make(contract, "https://hooks.example.com/in")
    known = owner.native(endpoint)
    hourly = contract == "subscriptions"
    assert known["timeout_seconds"] == (10 if contract in ("v1", "organization") else 20)
    assert known["retry_schedule"] == (HOURLY if hourly else USUAL)
    assert known["retry_anchor"] == ("first" if hourly else "previous")
    beside = [] if contract == "subscriptions" else [contract]
    assert known["header_styles"] == ["standard", *beside]
    assert known["name"] == ("one" if contract == "v1" else "hooks.example.com")
    changed = {"timeout_seconds": 7, "retry_schedule": [60], "retry_anchor": "previous", "header_styles": ["standard"]}
    assert changed.items() <= owner.client.patch(f"/v1/endpoints/{endpoint}", changed).expect(200).items()


@pytest.mark.parametrize("contract", CONTRACTS)
def test_it_is_the_same_everywhere(owner: Owner, contract: str):
    endpoint = owner.make(contract, "https://hooks.example.com/in?a=%20b")
    shown = owner.shown(endpoint)
    assert {one["url"] for one in shown.values()} == {"https://hooks.example.com/in?a=%20b"}
    assert shown["v1"]["events"] == shown["organization"]["events"] == shown["apps"]["events"] == ["*"]
    descriptions = [shown[name]["description"] for name in ("v1", "organization", "subscriptions")]
    assert descriptions == [None, None, None]
    owner.check_switches(endpoint, "ACTIVE")


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_change_through_one_is_seen_through_all(owner: Owner, contract: str):
    endpoint = owner.make("v1", "https://hooks.example.com/in")
    path, url = owner.paths(endpoint)[contract], f"https://hooks.example.com/{contract}"
    ask = owner.client.put if contract in ("organization", "apps") else owner.client.patch
    ask(path, {"url": url}).expect(200)
    assert {one["url"] for one in owner.shown(endpoint).values()} == {url}
    if contract != "apps":
        ask(path, {"description": f"by {contract}"}).expect(200)
        shown = owner.shown(endpoint)
        for name in ("v1", "organization", "subscriptions"):
            assert shown[name]["description"] == f"by {contract}"
        assert shown["v1"]["name"] == "one", "a name is fixed where it was made"


@pytest.mark.parametrize("contract", CONTRACTS[1:])
def test_switches_follow_one_another(owner: Owner, contract: str):
    endpoint = owner.make(contract, "https://hooks.example.com/in")
    owner.switch(contract, endpoint, on=False)
    owner.check_switches(endpoint, "DISABLED by owner")
    owner.switch(contract, endpoint, on=True)
    owner.check_switches(endpoint, "ACTIVE")
    owner.switch("v1", endpoint, on=False)
    owner.check_switches(endpoint, "PAUSED")
    # A whole object sent back as it was read must not turn paused into disabled.
    owner.switch(contract, endpoint, on=False)
    owner.check_switches(endpoint, "PAUSED")
    owner.switch(contract, endpoint, on=True)
    owner.check_switches(endpoint, "ACTIVE")


@pytest.mark.parametrize("contract", CONTRACTS)
def test_what_the_server_disabled_shows_so_and_resumes_with_what_it_held(
    shared_server: Server, receiver: Receiver, owner: Owner, contract: str
):
    url = receiver.url("/gone-at-first", in_turn([410, 204]))
    endpoint = owner.make(contract, url)
    event = publish(shared_server.root, owner.tenant).expect(202)["id"]
    until(lambda: owner.native(endpoint)["status"] == "DISABLED", "the endpoint is disabled")
    owner.check_switches(endpoint, "DISABLED by gone")
    [held] = owner.client.get(f"/v1/deliveries?event={event}").expect(200)["data"]
    assert held["status"] == "held", "the delivery that drew the 410 is held with the rest"
    owner.switch(contract, endpoint, on=True)
    owner.check_switches(endpoint, "ACTIVE")
    until(
        lambda: owner.client.get(f"/v1/deliveries/{held['id']}").expect(200)["status"] == "delivered",
        "what was held is delivered",
    )


def test_off_where_subscriptions_shows_on_is_the_owners_wish(
    shared_server: Server, receiver: Receiver, owner: Owner
):
    endpoint = owner.make("subscriptions", receiver.url("/gone", always(410)))
    publish(shared_server.root, owner.tenant).expect(202)
    until(lambda: owner.native(endpoint)["status"] == "DISABLED", "the endpoint is disabled")
    for contract in ("organization", "apps"):
        owner.switch(contract, endpoint, on=False)
        owner.check_switches(endpoint, "DISABLED by gone")
    owner.switch("subscriptions", endpoint, on=False)
    owner.check_switches(endpoint, "DISABLED by owner")


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_test_reaches_it_through_every_contract_that_has_one(owner: Owner, receiver: Receiver, contract: str):
    endpoint = owner.make(contract, receiver.url())
    paths = owner.paths(endpoint)
    reports = [
        owner.client.post(f"{paths['v1']}/test").expect(200),
        owner.client.post(f"{paths['organization']}/test").expect(200),
        owner.client.post(f"{paths['apps']}/test-ping").expect(200)["data"],
    ]
    assert [report["success"] for report in reports] == [True, True, True]
    assert len(receiver.wait_for(3)) == 3
    assert owner.client.get(f"{paths['apps']}/deliveries").expect(200)["data"]["items"] == []


@pytest.mark.parametrize("contract", CONTRACTS)
def test_deleted_in_one_it_is_gone_everywhere(owner: Owner, contract: str):
    endpoint = owner.make("v1", "https://hooks.example.com/in")
    paths = owner.paths(endpoint)
    owner.client.delete(paths[contract]).expect(204)
    for path in paths.values():
        owner.client.delete(path).expect(404)
    assert owner.client.get("/webhooks").expect(200) == {"data": []}
    assert owner.client.get("/api/v1/webhooks").expect(200) == []


def test_a_secret_that_was_shown_once_is_shown_nowhere_else(shared_server: Server, owner: Owner):
    secrets = [
        owner.client.post("/webhooks", {"url": "https://a.example.com", "events": ["*"]}).expect(201)["signingSecret"],
        owner.client.post(
            f"/apps/{owner.tenant}/webhooks", {"url": "https://a.example.com", "events": ["*"]}
        ).expect(201)["data"]["secret"],
        owner.client.post("/api/v1/webhooks", {"url": "https://a.example.com"}).expect(200)["client_secret"],
    ]
    for path in ("/v1/endpoints", "/webhooks", f"/apps/{owner.tenant}/webhooks", "/api/v1/webhooks"):
        body = owner.client.get(path).body.decode()
        assert not [secret for secret in secrets if secret in body], path
    assert not [secret for secret in secrets if secret in shared_server.log]
