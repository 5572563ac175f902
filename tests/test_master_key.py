"""Master keys: one takes the place of another, while a server runs and without one, and whatever is killed meanwhile."""

import base64
import hashlib
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import process, signatures
from support.api import make_endpoint, make_tenant, publish
from support.checker import check
from support.load import Load
from support.receiver import Receiver
from support.server import Server
from support.waiting import until

# More values than a server seals anew in one step.
ENDPOINTS, ENDPOINTS_OF_TENANT = 150, 50
KILLS = int(os.environ.get("STENTOR_TEST_MASTER_KEY_KILLS", "3"))
# A server looks into the file every second; then it is sealed anew in less than one.
INSTANT_SECONDS_MAX = 1.6
REFUSED_SECONDS_MAX = 20
HEADER = "Bearer of good news"

pytestmark = pytest.mark.engines("sqlite", "postgres")


def new_key() -> str:
    """A key as an operator makes one."""
    return base64.b64encode(os.urandom(32)).decode()


def name(key: str) -> str:
    """What a key is called."""
    return hashlib.sha256(base64.b64decode(key)).hexdigest()[:16]


def key_file(server: Server) -> Path:
    return server.data / "master.key"


def keys(server: Server) -> list[str]:
    """The names of the keys in the data folder, the one in front first."""
    return [name(key) for key in key_file(server).read_text().strip().split(",")]


def command(server: Server, word: str) -> subprocess.CompletedProcess[str]:
    """`stentor master-key WORD` on a server's data, with what is set for that server."""
    return process.run("master-key", word, "--data", server.data, cwd=server.directory, variables=server.variables)


def spawn_rotation(server: Server) -> subprocess.Popen[bytes]:
    """The same, left to itself."""
    return subprocess.Popen(
        [str(process.binary()), "master-key", "rotate", "--data", str(server.data)],
        cwd=server.directory,
        env=process.environment(server.variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def listed(server: Server) -> dict[str, tuple[int, str]]:
    """What `list` shows: by key, how many values it has sealed, and what it is for."""
    done = command(server, "list")
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()[1:]]
    return {key: (int(values), role) for key, values, role in lines}


def rotated(server: Server) -> str:
    """Rotates to the end, and gives the name of the new key."""
    done = command(server, "rotate")
    assert done.returncode == 0, done.stderr
    new, *others = keys(server)
    assert f"Everything is sealed with master key {new}." in done.stdout, done.stdout
    shown = listed(server)
    assert shown[new][1] == "seals", shown
    assert all(shown[other][0] == 0 and "needed for nothing" in shown[other][1] for other in others), shown
    return new


def refused(server: Server) -> str:
    """Starts a server that must end by itself with an error, and gives what it said."""
    server.spawn()
    assert server.wait(REFUSED_SECONDS_MAX) == 1, server.log
    return server.log[server.log.rindex("error: ") :]


class Customer:
    """A tenant with an endpoint whose deliveries verify, or do not."""

    def __init__(self, server: Server, receiver: Receiver) -> None:
        self.server, self.receiver = server, receiver
        self.tenant = make_tenant(server.root)
        self.path = f"/{self.tenant}"
        client = server.root.for_tenant(self.tenant)
        headers = {"Authorization": HEADER}
        self.secret = make_endpoint(client, receiver.url(self.path), headers_json=headers)["secret"]

    def verifies(self) -> None:
        """Publishes an event and checks that its delivery is signed, and has its headers, as ever."""
        event = publish(self.server.root, self.tenant).expect(202)["id"]

        def arrived():
            return [request for request in self.receiver.requests(self.path) if request.webhook_id == event]

        [request, *_] = until(arrived, "the event is delivered")
        signatures.verify(self.secret, request)
        assert request.header("authorization") == HEADER


def make_crowd(server: Server) -> None:
    """Endpoints enough for several steps."""
    for number in range(ENDPOINTS):
        if number % ENDPOINTS_OF_TENANT == 0:
            client = server.root.for_tenant(make_tenant(server.root))
        make_endpoint(client, "https://example.com/", headers_json={"X-Number": str(number)})


def test_a_key_is_rotated_while_events_are_published_and_delivered(server: Server, rng: random.Random):
    make_crowd(server)
    [old] = keys(server)
    load = Load(server, rng)
    try:
        load.publish_until_acknowledged(100)
        before = load.acknowledged
        new = rotated(server)
        assert keys(server) == [new, old]
        assert command(server, "forget").returncode == 0
        assert keys(server) == [new]
        until(lambda: load.acknowledged >= before + 100, "publishing goes on")
        until(lambda: server.log.count("took the master keys from the file anew") == 2, "the server forgets the old key")
        load.finish()
        assert not load.refusals, load.refusals
        load.quiet()
        # Every delivery is there once, and signed with the secret of before.
        assert check(load.history(kills=0)) == []
    finally:
        load.close()
    assert "ERROR" not in server.log, server.log
    assert [row["action"] for row in server.root.pages("/v1/audit")].count("master_key.rotated") == 1


def test_what_was_killed_in_the_middle_goes_on(server: Server, receiver: Receiver, rng: random.Random):
    make_crowd(server)
    customer = Customer(server, receiver)
    for number in range(KILLS):
        known = keys(server)
        rotation = spawn_rotation(server)
        try:
            until(lambda known=known: keys(server) != known, "there is a new key")
            pause = rng.uniform(0, INSTANT_SECONDS_MAX)
            try:
                rotation.wait(pause)
            except subprocess.TimeoutExpired:
                pass
            if number % 2:
                rotation.kill()
            server.kill()
            if number % 2 == 0:
                rotation.kill()
            # On a file the command may have taken the lock when the server let it go.
            rotation.wait()
        finally:
            rotation.kill()
        server.start()
        new = keys(server)[0]
        until(lambda new=new: listed(server)[new][0] == 2 * ENDPOINTS + 2, "the server goes on by itself")
        customer.verifies()
    assert len(keys(server)) == KILLS + 1
    assert command(server, "forget").returncode == 0
    server.kill()
    server.start()
    customer.verifies()


def test_the_command_rotates_by_itself_where_no_server_runs_and_may_be_killed(
    server: Server, receiver: Receiver, rng: random.Random
):
    make_crowd(server)
    customer = Customer(server, receiver)
    server.stop()
    [old] = keys(server)
    rotation = spawn_rotation(server)
    until(lambda: keys(server) != [old], "there is a new key")
    try:
        rotation.wait(rng.uniform(0, 0.3))
    except subprocess.TimeoutExpired:
        rotation.send_signal(signal.SIGKILL)
        rotation.wait()
    [new, _] = keys(server)
    if listed(server)[old][0] or listed(server)[old][1].startswith("seals"):
        done = command(server, "rotate")
        assert done.returncode == 0 and f"Going on with the rotation to master key {new}." in done.stderr, done.stderr
    assert listed(server)[new][0] == 2 * ENDPOINTS + 2
    assert command(server, "forget").returncode == 0
    server.start()
    customer.verifies()


def test_a_start_without_a_key_that_is_needed_names_it(server: Server, receiver: Receiver, tmp_path: Path):
    customer = Customer(server, receiver)
    [old] = keys(server)
    before = key_file(server).read_text()
    new = rotated(server)
    server.stop()
    after = key_file(server).read_text()
    key_file(server).write_text(before)
    said = refused(server)
    assert f"needs key {new}, and there is key {old}" in said, said
    shown = listed(server)
    assert shown[new] == (2, "is needed, and missing here"), shown
    done = command(server, "rotate")
    assert done.returncode == 1 and f"master key {new} is missing" in done.stderr, done.stderr
    key_file(server).write_text(after)
    server.start()
    customer.verifies()


def test_a_running_server_does_not_forget_a_key_that_is_taken_away_too_early(server: Server, receiver: Receiver):
    customer = Customer(server, receiver)
    [old] = keys(server)
    before = key_file(server).read_text()
    stranger = new_key()
    key_file(server).write_text(stranger + "\n")
    until(lambda: f"needs key {old}, and there is key {name(stranger)}" in server.log, "the server complains")
    customer.verifies()
    Customer(server, receiver).verifies()
    assert listed(server)[old] == (4, "is needed, and missing here")
    done = command(server, "forget")
    assert done.returncode == 1 and f"master key {old} is missing" in done.stderr, done.stderr
    key_file(server).write_text(before)
    server.kill()
    server.start()
    customer.verifies()


def test_a_key_that_is_needed_is_not_forgotten(server: Server):
    make_tenant(server.root)
    done = command(server, "forget")
    assert done.returncode == 1 and "there is only one" in done.stderr, done.stderr
    server.stop()
    # Nothing is sealed with the new one yet.
    key_file(server).write_text(new_key() + "," + key_file(server).read_text())
    done = command(server, "forget")
    assert done.returncode == 1 and "each is still needed" in done.stderr, done.stderr


def test_keys_in_a_file_of_the_operators_are_rotated_by_its_owner(
    servers: Callable[..., Server], receiver: Receiver, tmp_path: Path
):
    file = tmp_path / "keys"
    old, new = new_key(), new_key()
    file.write_text(old)
    server = servers(variables={"STENTOR_MASTER_KEY_FILE": str(file)}).start()
    customer = Customer(server, receiver)
    done = command(server, "rotate")
    assert done.returncode == 1 and "put a new key" in done.stderr and str(file) in done.stderr, done.stderr
    assert file.read_text() == old and not key_file(server).exists()
    file.write_text(f"{new},{old}")
    done = command(server, "rotate")
    assert done.returncode == 0 and f"{name(old)} may be taken out of {file}" in done.stdout, done.stdout + done.stderr
    done = command(server, "forget")
    assert done.returncode == 1 and str(file) in done.stderr, done.stderr
    file.write_text(new)
    customer.verifies()
    server.kill()
    server.start()
    customer.verifies()


def test_keys_in_a_variable_are_rotated_by_a_restart(servers: Callable[..., Server], receiver: Receiver):
    old, new = new_key(), new_key()
    server = servers(variables={"STENTOR_MASTER_KEY": old}).start()
    customer = Customer(server, receiver)
    done = command(server, "rotate")
    assert done.returncode == 1 and "STENTOR_MASTER_KEY" in done.stderr, done.stderr
    server.stop()
    server.variables |= {"STENTOR_MASTER_KEY": f"{new},{old}"}
    server.start()
    assert command(server, "rotate").returncode == 0
    server.stop()
    server.variables |= {"STENTOR_MASTER_KEY": new}
    server.start()
    customer.verifies()


def test_a_cursor_from_before_a_rotation_goes_on(server: Server):
    tenants = [make_tenant(server.root) for _ in range(3)]
    cursor = server.root.get("/v1/tenants?limit=1").expect(200)["next_cursor"]
    rotated(server)
    page = server.root.get(f"/v1/tenants?limit=1&cursor={cursor}").expect(200)
    assert page["data"][0]["id"] == tenants[1]


def test_a_database_that_was_never_opened_has_nothing_to_rotate(servers: Callable[..., Server]):
    server = servers()
    server.data.mkdir(parents=True)
    key_file(server).write_text(new_key())
    done = command(server, "rotate")
    assert done.returncode == 1 and "nothing was ever sealed" in done.stderr, done.stderr
