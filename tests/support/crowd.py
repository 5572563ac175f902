"""Many producers that stay while the database is in trouble, and remember how each of their publishes was answered."""

import json
import random
import time
from collections import Counter
from dataclasses import dataclass

from support.checker import check
from support.load import Attempted, Load
from support.server import Server
from support.waiting import until

CROWD = 150
# Between two publishes of one producer.
PAUSE_SECONDS_MAX = 2.0
# An answer comes within this, whatever the database does. Its own limits are shorter; the rest is this machine's share.
ANSWER_SECONDS_MAX = 5.0
# How soon publishes are accepted again, and how soon everything is delivered, once the trouble is over.
ACCEPTED_AGAIN_SECONDS_MAX = 10.0
DELIVERED_SECONDS_MAX = 30.0


@dataclass(frozen=True)
class Answered:
    """How one publish was answered. `at` is when it was sent."""

    at: float
    seconds: float
    status: int
    retry_after: str | None
    body: bytes


class Crowd(Load):
    """Producers that do not give up. Half of them repeat what was refused, under its own `event_id`, until it is
    acknowledged; the others publish without one, and each event once."""

    def __init__(
        self,
        server: Server,
        rng: random.Random,
        producers: int = CROWD,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
    ) -> None:
        super().__init__(server, rng, producers)
        self.answers: list[Answered] = []
        self.there_all_the_same = 0
        self._pause_seconds_max = pause_seconds_max

    def refused(self) -> int:
        """Publishes that were not accepted so far."""
        return sum(answer.status == 503 for answer in list(self.answers))

    def accepts(self, count: int, seconds: float = ACCEPTED_AGAIN_SECONDS_MAX) -> None:
        """Waits until so many more are acknowledged."""
        at_first = self.acknowledged
        until(lambda: self.acknowledged >= at_first + count, f"{count} more events are accepted", seconds)

    def judge(self, repeats_max: int = 0, answer_seconds_max: float = ANSWER_SECONDS_MAX) -> str:
        """Ends the producers, waits until everything is delivered without anybody's help, and judges. Gives a summary;
        `there_all_the_same` are the events from then on whose publish was refused although they were accepted.

        `repeats_max` is how many requests the trouble may have cost the record of: those that were in flight."""
        self.finish()
        self.quiet(DELIVERED_SECONDS_MAX)
        self.there_all_the_same = self._refused_and_arrived() + self._found_again() + self.settle()
        self.quiet()
        self._judge_answers(answer_seconds_max)
        history = self.history(kills=1)
        history.in_flight_max = repeats_max
        faults = check(history)
        assert not faults, "\n".join(faults[:20])
        arrivals = Counter((arrival.webhook_id, arrival.endpoint) for arrival in history.arrivals)
        recorded = {(shown.event, shown.endpoint): shown.attempt_count for shown in history.deliveries}
        repeats = sum(max(0, count - recorded[pair]) for pair, count in arrivals.items())
        slowest = max(answer.seconds for answer in self.answers)
        return (
            f"{len(self.answers)} publishes, {self.acknowledged} acknowledged, {self.refused()} refused with 503, "
            f"{self.there_all_the_same} of them there all the same, {repeats} requests without a recorded attempt, "
            f"slowest answer {slowest:.2f} s"
        )

    def _refused_and_arrived(self) -> int:
        """Events of those who publish once: refused, and delivered all the same."""
        refused = {one.payload for one in self._attempted.values() if one.event is None and one.once}
        return len({request.body for request in self.receiver.requests()} & refused)

    def _found_again(self) -> int:
        """Events of those who repeat: refused, and there when they were published again."""
        return sum(answer.status == 200 for answer in self.answers)

    def _judge_answers(self, seconds_max: float) -> None:
        assert self.answers, "nobody published"
        assert not self.refusals, self.refusals[:5]
        for answer in self.answers:
            assert answer.status in (200, 202, 503), answer
            if answer.status == 503:
                assert answer.retry_after is not None and int(answer.retry_after) >= 1, answer
        slow = [answer for answer in self.answers if answer.seconds > seconds_max]
        assert not slow, f"{len(slow)} answers took longer than {seconds_max} s: {slow[:5]}"

    def _produce(self, number: int, rng: random.Random) -> None:
        client = self.server.root
        made = 0
        while not self._stop.is_set():
            made += 1
            key = f"{number}-{made}"
            payload = json.dumps({"key": key, "run": id(self)}).encode()
            attempted = Attempted(rng.choice(self.targets), payload, once=number % 2 == 0)
            with self._lock:
                self._attempted[key] = attempted
            text = self._text(key, attempted)
            while not self._stop.wait(rng.uniform(0, self._pause_seconds_max)):
                if self._publish(client, text, attempted) or attempted.once:
                    break
        client.close()

    def _publish(self, client, text: bytes, attempted: Attempted) -> bool:
        at = time.monotonic()
        answer = client.post("/v1/events", text)
        answered = Answered(
            at, time.monotonic() - at, answer.status, answer.headers.get("retry-after"), answer.body[:300]
        )
        with self._lock:
            self.answers.append(answered)
            if answer.status not in (200, 202):
                return False
            attempted.event = answer.json()["id"]
            self._acknowledged += 1
            return True
