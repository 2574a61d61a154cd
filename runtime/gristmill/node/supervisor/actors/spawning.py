"""``Spawning``: actors that are started together, and count as started only together."""

from __future__ import annotations

from collections.abc import Callable

from gristmill.errors import (
    AlreadyStartedError,
    GristmillError,
    Ignore,
    StartFailedError,
    StartTimeoutError,
)
from gristmill.supervision import Crash, Failed, Started, describe


class Spawning:
    """Waits for the outcome of several starts.

    Args:
        starts: the actors' keys, by the numbers of the operations that start them.
        done: called when every one has an outcome, with those that did not start.
    """

    def __init__(self, starts: dict[int, int], done: Callable[[dict[int, object]], None]) -> None:
        self._left = dict(starts)
        self._failed: dict[int, object] = {}
        self._done = done

    def ended(self, operation: int, outcome: object) -> None:
        """One of the starts has ended."""
        key = self._left.pop(operation)
        if not isinstance(outcome, Started):
            self._failed[key] = outcome
        if not self._left:
            self._done(self._failed)


def why_not_started(label: str, outcome: object) -> GristmillError:
    """Give the error for who wanted the start of ``label``, which came to ``outcome``."""
    if not isinstance(outcome, Failed):
        return Ignore(f"{label} chose not to run")
    reason = outcome.reason
    error = reason.error if isinstance(reason, Crash) else None
    if error is not None and error.type == StartTimeoutError.__qualname__:
        return StartTimeoutError(f"{label}: {error.message}")
    if error is not None and error.type == AlreadyStartedError.__qualname__:
        return AlreadyStartedError(error.message)
    return StartFailedError(f"{label} could not start: {describe(reason)}", error)
