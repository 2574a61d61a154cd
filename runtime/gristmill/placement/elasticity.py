"""How large an elastic pool is to be: from how many of its members are at work. Pure."""

from __future__ import annotations

import math
from collections import deque

import msgspec

from gristmill.errors import UsageError

_SAMPLES = 5
"""Looks at a pool in the time of a cooldown."""


class Elasticity(msgspec.Struct, frozen=True, array_like=True):
    """The bounds of a pool's size, and when it changes.

    The utilisation is the share of members with a message in hand or in their mailboxes, averaged
    over the cooldown.
    """

    minimum: int
    maximum: int
    scale_up: float = 0.8
    """The utilisation above which there are to be more members."""
    scale_down: float = 0.3
    """The utilisation below which there are to be fewer."""
    cooldown: float = 5.0
    """Seconds from one change to the next, at least."""

    @property
    def interval(self) -> float:
        """Seconds from one look at the pool to the next."""
        return self.cooldown / _SAMPLES


def check_elasticity(rule: Elasticity, size: int, name: str) -> None:
    """Refuse what can't work.

    Raises:
        UsageError: the bounds don't hold the size, or the limits would make the size swing.
    """
    if not 1 <= rule.minimum <= size <= rule.maximum:
        raise UsageError(
            f"pool {name!r} needs 1 <= min <= size <= max, and has min = {rule.minimum}, "
            f"size = {size}, max = {rule.maximum}"
        )
    # one above scale_up that is doubled must not fall below scale_down at once
    if not (0 <= rule.scale_down < rule.scale_up / 2 and rule.scale_up < 1):
        raise UsageError(
            f"pool {name!r} needs 0 <= scale_down < scale_up / 2 and scale_up < 1, and has "
            f"scale_down = {rule.scale_down}, scale_up = {rule.scale_up}"
        )
    if not 0 < rule.cooldown < math.inf:
        raise UsageError(f"pool {name!r}: cooldown is {rule.cooldown}; write seconds above 0")


class Scaler:
    """Decides how large one pool is to be.

    Args:
        rule: bounds and limits.
        now: monotonic seconds.
    """

    def __init__(self, rule: Elasticity, now: float) -> None:
        self._rule = rule
        self._changed = now
        self._seen: deque[tuple[int, int]] = deque(maxlen=_SAMPLES)

    def look(self, size: int, at_work: int, waiting: int, now: float) -> int:
        """Take in how things stand; give the size that the pool is to have now.

        Args:
            size: how many members there are.
            at_work: how many of them have something to do.
            waiting: messages that wait in mailboxes.
            now: monotonic seconds.
        """
        if size < self._rule.minimum:  # some have ended for good
            self._changed = now
            self._seen.clear()
            return self._rule.minimum
        self._seen.append((at_work, waiting))
        if now - self._changed < self._rule.cooldown or len(self._seen) < _SAMPLES:
            return size
        busy = sum(at_work for at_work, _ in self._seen) / _SAMPLES
        queued = sum(waiting for _, waiting in self._seen) / _SAMPLES
        wanted = target(self._rule, size, busy, queued)
        if wanted != size:
            self._changed = now
            self._seen.clear()
        return wanted


def target(rule: Elasticity, size: int, busy: float, waiting: float) -> int:
    """Give the size for a steady load: twice the present one at most.

    Up: enough for all that is in hand or waits, at a utilisation of ``scale_up``. Down: enough for
    what is in hand at one in the middle between the two limits. (As the Kubernetes horizontal
    autoscaler does, with the queue as part of the demand.)
    """
    if busy > rule.scale_up * size:
        enough = math.ceil((busy + waiting) / rule.scale_up)
        return max(min(enough, 2 * size, rule.maximum), min(size + 1, rule.maximum))
    if busy < rule.scale_down * size:
        enough = math.ceil(busy / ((rule.scale_up + rule.scale_down) / 2))
        return max(min(enough, size - 1), rule.minimum)
    return size
