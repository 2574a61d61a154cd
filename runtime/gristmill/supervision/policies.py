"""What an actor class makes of its own exceptions: go on, start again, or stop.

An exception without a policy is a crash, and the supervisor decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from gristmill.errors import UsageError
from gristmill.supervision.backoff import Backoff, is_number
from gristmill.supervision.intensity import RestartIntensity


class Directive(StrEnum):
    """What becomes of an actor that has failed."""

    RESUME = "resume"
    """It goes on with the state that it has."""
    RESTART = "restart"
    """It is started again, at no cost to its supervisor's restart intensity."""
    REPLAY = "replay"
    """It is started again like that, because only its journal has its true state."""
    STOP = "stop"
    """It ends for good, whatever its restart type."""


class FailurePolicy(msgspec.Struct, frozen=True):
    """What becomes of an actor that raised: an entry of its class's ``on_failure``.

    Make it with :meth:`resume`, :meth:`restart` or :meth:`stop`.
    """

    directive: Directive
    limit: int | None = None
    """How many restarts ``within`` seconds; the next failure stops the actor. None is no limit."""
    within: float = 5.0
    backoff: Backoff | None = None
    """None: the delay of the actor's own spec, if it has one."""

    def __post_init__(self) -> None:
        """Refuse numbers that can't work."""
        limit, backoff = self.limit, self.backoff
        whole = isinstance(limit, int) and not isinstance(limit, bool)
        if limit is not None and not (whole and limit >= 0):
            raise UsageError(f"limit is {limit!r}; it must be a whole number >= 0, or None")
        if not is_number(self.within) or self.within <= 0:
            raise UsageError(f"within is {self.within!r}; it must be finite seconds > 0")
        if backoff is not None and not isinstance(backoff, Backoff):
            raise UsageError(f"backoff is {backoff!r}; it must be a Backoff or None")
        if backoff is not None and backoff.fault:
            raise UsageError(f"backoff is {backoff!r}; it must be {backoff.fault}")

    @classmethod
    def resume(cls) -> FailurePolicy:
        """Go on with the state as it is; only the message has failed."""
        return cls(Directive.RESUME)

    @classmethod
    def restart(
        cls,
        limit: int | None = None,
        *,
        within: float = 5.0,
        backoff: Backoff | None = None,
    ) -> FailurePolicy:
        """Start again; stop at the failure that would make more than ``limit`` restarts.

        Args:
            limit: restarts in the sliding window; None for any number, 0 to stop at the first.
            within: length of the window in seconds.
            backoff: delays before the restarts. With it, a restart that fails with the same
                exception is tried again; without, that is the supervisor's business.

        Raises:
            UsageError: a number can't work.
        """
        return cls(Directive.RESTART, limit, within, backoff)

    @classmethod
    def stop(cls) -> FailurePolicy:
        """End for good."""
        return cls(Directive.STOP)


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """What a policy has decided about one failure."""

    directive: Directive
    delay: float | None = None
    """Seconds before a restart; None: as the actor's spec says."""


class Rule(NamedTuple):
    """The entry of ``on_failure`` that holds for an exception."""

    kind: type[BaseException]
    policy: FailurePolicy


def find_rule(
    policies: Mapping[type[Exception], FailurePolicy], error: BaseException
) -> Rule | None:
    """Give the entry for the class of ``error``, or for the nearest of its bases."""
    for kind in type(error).__mro__ if policies else ():
        policy = policies.get(kind)
        if policy is not None:
            return Rule(kind, policy)
    return None


class FailureHistory:
    """The failures of one actor up to now, over its incarnations; decides on the next one."""

    __slots__ = ("_in_a_row", "_since", "_windows")

    def __init__(self) -> None:
        self._windows: dict[type[BaseException], RestartIntensity] = {}
        self._in_a_row = 0
        self._since: float | None = None
        """When the present incarnation began to run."""

    def started(self, now: float) -> None:
        """Take note that an incarnation runs."""
        self._since = now

    def decide(
        self, rule: Rule, now: float, rand: float, *, starting: bool = False
    ) -> Verdict | None:
        """Decide on a failure; None if it is the supervisor's business.

        Args:
            rule: what holds for the exception.
            now: monotonic seconds.
            rand: a random number in [0, 1), for the jitter.
            starting: a restart has failed, so there is no state to go on with.
        """
        policy = rule.policy
        if policy.directive is Directive.RESUME:
            return None if starting else Verdict(Directive.RESUME)
        if policy.directive is Directive.STOP:
            return Verdict(Directive.STOP)
        if starting and policy.backoff is None:
            return None
        if policy.limit is not None:
            window = self._windows.get(rule.kind)
            if window is None:
                window = self._windows[rule.kind] = RestartIntensity(policy.limit, policy.within)
            if not window.record(now):
                return Verdict(Directive.STOP)
        return Verdict(Directive.RESTART, self._delay(policy.backoff, now, rand))

    def _delay(self, backoff: Backoff | None, now: float, rand: float) -> float | None:
        since, self._since = self._since, None
        if backoff is None:
            return None
        restarts = backoff.in_a_row(self._in_a_row, None if since is None else now - since)
        self._in_a_row = restarts + 1
        return backoff.delay(restarts, rand)
