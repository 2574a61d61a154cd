"""``DeadLetterLog``: the first dead letters of a storm are logged, the rest are counted."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gristmill.messages import is_logged_when_dead

LIMIT = 10
"""Lines within :data:`PAUSE` seconds, after which nothing is logged for as long."""
PAUSE = 10.0


class DeadLetterLog:
    """Logs the dead letters of one process that nobody else is told of.

    Args:
        log: where to.
        now: gives monotonic seconds.
    """

    def __init__(self, log: logging.Logger, now: Callable[[], float]) -> None:
        self._log = log
        self._now = now
        self._lines = 0
        self._until = 0.0
        """The end of the window that the lines are counted in."""
        self._skipped = 0

    def tell(self, message_type: str, reason: str, actor: str = "") -> None:
        """Log a dead letter, unless its type or a storm says not to.

        Args:
            message_type: the tag of its message.
            reason: why nobody handled it.
            actor: whom it was for.
        """
        if not is_logged_when_dead(message_type):
            return
        now = self._now()
        if now >= self._until:
            self._lines, self._until = 0, now + PAUSE
        if self._lines == LIMIT:
            self._skipped += 1
            return
        self._lines += 1
        text = f"dead letter: {message_type}: {reason}"
        if self._skipped:
            text += f" (and {self._skipped:,} before it that were not logged)"
            self._skipped = 0
        if self._lines == LIMIT:
            self._until = now + PAUSE
            text += f"; the next ones are not logged for {PAUSE:g} s"
        self._log.warning("%s", text, extra={"actor": actor})
