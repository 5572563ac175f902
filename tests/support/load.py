"""Producers and receivers that make a history for the checker.

Five endpoints of two tenants: good ones, a slow one, one that fails every third event once, one that fails some for ever; none
fails often enough in a row to open its breaker. Producers publish single events and batches until they lose the server;
`settle` then publishes again, under the same `event_id`, whatever was not acknowledged, as a producer would.
"""

import base64
import json
import random
import threading
from dataclasses import dataclass, field
from http.client import HTTPException

from support import signatures
from support.api import deliveries, event_text, make_endpoint, make_tenant
from support.checker import Arrival, History, Publication, Shown
from support.client import Answer, Client
from support.receiver import Receiver, Reply, Script, always, in_turn, to_some
from support.server import Server
from support.waiting import until

PRODUCERS = 4
BATCH_EVENTS_MAX = 20
PADDING_BYTES_MAX = 3_000
SLOW_SECONDS_MAX = 0.1
# Events that fail for ever, each tried twice: fewer failures in a row than open a breaker.
FAILING = 4
# The server's default of requests under way to one endpoint.
IN_FLIGHT_PER_ENDPOINT = 16
QUIET_SECONDS_MAX = 120.0
# Longer than any pause of these tests: an attempt that is merely slow is not a failed one.
TIMEOUT_SECONDS = 60


@dataclass
class Target:
    """A tenant and the ids of its endpoints, by path."""

    tenant: str
    endpoints: dict[str, str] = field(default_factory=dict)


@dataclass
class Attempted:
    """An event that a producer tried to publish."""

    target: Target
    payload: bytes
    event: str | None = None
    # Published without an `event_id`: to publish it again would make another event.
    once: bool = False


class Load:
    """One run of producers against a running server, with a receiver and tenants of its own."""

    def __init__(self, server: Server, rng: random.Random, producers: int = PRODUCERS) -> None:
        self.server = server
        self.receiver = Receiver()
        self.secrets: dict[str, str] = {}
        self.refusals: list[str] = []
        self._attempted: dict[str, Attempted] = {}
        self._acknowledged = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        slow = random.Random(rng.random())
        good = always(200)
        self.targets = [
            self._target(
                rng,
                good=good,
                slow=lambda _: Reply(wait_seconds=slow.uniform(0, SLOW_SECONDS_MAX)),
                flaky=to_some(in_turn([500, 200]), lambda number: number % 3 == 0),
            ),
            self._target(rng, good=good, failing=to_some(always(500), lambda number: number < FAILING)),
        ]
        self._threads = [
            threading.Thread(target=self._produce, args=(number, random.Random(rng.random())), daemon=True)
            for number in range(producers)
        ]

    def _target(self, rng: random.Random, **scripts: Script) -> Target:
        target = Target(make_tenant(self.server.root))
        client = self.server.root.for_tenant(target.tenant)
        for name, script in scripts.items():
            path = f"/{target.tenant}/{name}"
            secret = "whsec_" + base64.b64encode(rng.randbytes(32)).decode()
            endpoint = make_endpoint(
                client,
                self.receiver.url(path, script),
                secret=secret,
                retry_schedule=[1] if name == "failing" else [1] * 20,
                timeout_seconds=TIMEOUT_SECONDS,
            )
            target.endpoints[path] = endpoint["id"]
            self.secrets[path] = secret
        return target

    @property
    def acknowledged(self) -> int:
        """Events answered with 2xx so far."""
        return self._acknowledged

    def start(self) -> "Load":
        """Starts the producers."""
        for thread in self._threads:
            thread.start()
        return self

    def publish_until_acknowledged(self, count: int) -> None:
        """Starts the producers and waits for that many acknowledgements, or for the producers to give up."""
        self.start()
        until(
            lambda: self._acknowledged >= count or not any(thread.is_alive() for thread in self._threads),
            f"{count} events are acknowledged",
        )
        assert self._acknowledged >= count, f"the producers gave up: {self.refusals}"

    def finish(self) -> None:
        """Stops the producers and waits for them."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def settle(self) -> int:
        """Publishes again what was not acknowledged, each under its own `event_id`. Gives how many were there."""
        client = self.server.root
        there = 0
        for key, attempted in self._attempted.items():
            if attempted.event is None and not attempted.once:
                answer = client.post("/v1/events", self._text(key, attempted))
                assert answer.status in (200, 202), answer
                attempted.event = answer.json()["id"]
                there += answer.status == 200
        return there

    def quiet(self, seconds: float = QUIET_SECONDS_MAX) -> None:
        """Waits until no delivery waits for an attempt."""
        for target in self.targets:
            client = self.server.root.for_tenant(target.tenant)
            until(
                lambda client=client: not client.get("/v1/deliveries?status=pending&limit=1").expect(200)["data"],
                "no delivery is pending",
                seconds,
            )

    def history(self, kills: int) -> History:
        """Everything that was said and seen."""
        by_path = {path: id for target in self.targets for path, id in target.endpoints.items()}
        shown = [
            Shown(item["event"], item["endpoint"], item["status"], item["reason"], item["attempt_count"])
            for target in self.targets
            for item in deliveries(self.server.root.for_tenant(target.tenant))
        ]
        return History(
            publications=[
                Publication(key, one.payload, frozenset(one.target.endpoints.values()), one.event)
                for key, one in self._attempted.items()
            ],
            arrivals=[
                Arrival(
                    by_path[request.path],
                    request.webhook_id,
                    request.body,
                    signatures.signed_by(self.secrets[request.path], request),
                    request.answered,
                )
                for request in self.receiver.requests()
            ],
            deliveries=shown,
            kills=kills,
            in_flight_max=IN_FLIGHT_PER_ENDPOINT * len(by_path),
        )

    def close(self) -> None:
        """Ends the producers and the receiver."""
        self._stop.set()
        self.receiver.close()

    def _produce(self, number: int, rng: random.Random) -> None:
        client = self.server.root
        made = 0
        while not self._stop.is_set():
            count = rng.randint(2, BATCH_EVENTS_MAX) if rng.random() < 0.2 else 1
            batch: dict[str, Attempted] = {}
            for _ in range(count):
                made += 1
                key = f"{number}-{made}"
                padding = "x" * rng.randrange(PADDING_BYTES_MAX)
                payload = json.dumps({"key": key, "run": id(self), "padding": padding}).encode()
                batch[key] = Attempted(rng.choice(self.targets), payload)
            with self._lock:
                self._attempted |= batch
            try:
                answer = self._send(client, batch)
            except (OSError, HTTPException):
                break
            if answer.status not in (200, 202):
                self.refusals.append(f"{answer.status} {answer.body[:300]!r}")
                break
            made_events = answer.json() if count > 1 else [answer.json()]
            with self._lock:
                for attempted, event in zip(batch.values(), made_events, strict=True):
                    attempted.event = event["id"]
                self._acknowledged += count
        client.close()

    def _send(self, client: Client, batch: dict[str, Attempted]) -> Answer:
        texts = [self._text(key, attempted) for key, attempted in batch.items()]
        if len(texts) == 1:
            return client.post("/v1/events", texts[0])
        return client.post("/v1/events/batch", b'{"events": [' + b", ".join(texts) + b"]}")

    def _text(self, key: str, attempted: Attempted) -> bytes:
        named = {} if attempted.once else {"event_id": key}
        return event_text(attempted.target.tenant, "order.completed", attempted.payload, **named)
