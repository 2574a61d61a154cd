"""Conditions with deadlines instead of sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL = 0.002


def eventually(condition: Callable[[], T], what: str, within: float = 5.0) -> T:
    """Poll ``condition`` until it is true and give it; fail after ``within`` seconds."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what} (last seen: {value!r})")
        time.sleep(_POLL)
