"""Acceptance survives `kill -9` at any instant.

Each round publishes under load, kills the server at a random instant (sometimes again while it recovers), starts it on
the same data, waits for quiet and has the checker judge the whole history.
"""

import os
import random
import threading
from collections.abc import Callable

import pytest

from support.checker import check
from support.load import Load
from support.server import Server

ROUNDS = int(os.environ.get("STENTOR_TEST_KILL_ROUNDS", "30"))
ACKNOWLEDGED_MAX = 600
INSTANT_SECONDS_MAX = 0.05
KILLED_AGAIN_SHARE = 0.3
RECOVERY_SECONDS_MAX = 0.3

pytestmark = pytest.mark.engines("sqlite", "postgres")


def let_pass(seconds: float) -> None:
    """The random part of the instant of a kill."""
    threading.Event().wait(seconds)


def recover(server: Server, rng: random.Random) -> int:
    """Starts the server again, and kills it once more in the middle of that in some rounds. Gives those kills."""
    if rng.random() >= KILLED_AGAIN_SHARE:
        server.start()
        return 0
    server.spawn()
    let_pass(rng.uniform(0, RECOVERY_SECONDS_MAX))
    server.kill()
    server.start()
    return 1


def test_nothing_acknowledged_is_lost_by_kills(servers: Callable[..., Server], rng: random.Random):
    server = servers().start()
    acknowledged = kills = 0
    for number in range(ROUNDS):
        load = Load(server, rng)
        try:
            load.publish_until_acknowledged(rng.randint(1, ACKNOWLEDGED_MAX))
            let_pass(rng.uniform(0, INSTANT_SECONDS_MAX))
            server.kill()
            load.finish()
            assert not load.refusals, load.refusals
            round_kills = 1 + recover(server, rng)
            load.settle()
            load.quiet()
            faults = check(load.history(round_kills))
            assert not faults, f"round {number}:\n" + "\n".join(faults[:20])
        finally:
            load.close()
        acknowledged += load.acknowledged
        kills += round_kills
    print(f"{ROUNDS} rounds, {kills} kills, {acknowledged} events acknowledged under load, none lost")


def test_without_a_kill_every_request_is_a_recorded_attempt(server: Server, rng: random.Random):
    load = Load(server, rng)
    try:
        load.publish_until_acknowledged(ACKNOWLEDGED_MAX)
        load.finish()
        assert not load.refusals, load.refusals
        load.quiet()
        history = load.history(kills=0)
        assert check(history) == []
        assert sum(shown.attempt_count for shown in history.deliveries) == len(history.arrivals)
    finally:
        load.close()
