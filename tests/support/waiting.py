"""Bounded waits for a condition."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

POLL_SECONDS = 0.02
DEADLINE_SECONDS = 30.0

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, seconds: float = DEADLINE_SECONDS) -> T:
    """Polls until `condition` is truthy and returns its value; fails, naming `what`, when `seconds` have passed."""
    pause = Event()
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        pause.wait(POLL_SECONDS)


def observe_for(seconds: float) -> None:
    """Lets time pass that is itself the subject of a test: a window of measurement, a process that is stopped."""
    Event().wait(seconds)
