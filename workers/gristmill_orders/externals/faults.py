"""What goes wrong in the simulated world, drawn from a seed per operation and attempt.

No draw depends on time or on the order of calls, so a call that is repeated after a crash, with
the same attempt number, meets the same fate. Only an outage is a window of time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

import msgspec

from gristmill.errors import GristmillError

P = ParamSpec("P")
T = TypeVar("T")


class ExternalError(GristmillError):
    """The other side gave no answer; asking again may help.

    Attributes:
        uncertain: it may have done what it was asked to.
    """

    def __init__(self, message: str, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class Call(Protocol):
    """Makes a call to the outside, such as ``Guard.call_async`` with its circuit breaker."""

    async def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await ``fn(*args, **kwargs)`` and give its result."""


async def call_directly(
    fn: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Make a call without anything in between."""
    return await fn(*args, **kwargs)


class Outage(msgspec.Struct, frozen=True):
    """A window of time in which nobody answers, in seconds on the simulator's clock."""

    start: float = 0.0
    end: float = float("inf")


class FaultPlan(msgspec.Struct, frozen=True):
    """What goes wrong. Shares are from 0 to 1, of calls."""

    fault_share: float = 0.03
    """Calls that fail and may be retried; nothing was done."""
    lost_reply_share: float = 0.0
    """Calls that do what they were asked to, and whose answer is lost."""
    outages: tuple[Outage, ...] = ()
    latency_seconds: float = 0.0
    """The mean time that a call takes; each takes between a half and one and a half of it."""


def draw(seed: int, *what: object) -> float:
    """Draw a number from 0 up to 1 that depends on the seed and on what it is for, only."""
    text = "\x1f".join(map(str, (seed, *what)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


class Faults:
    """Disturbs the calls to one external as its plan says.

    Args:
        name: the external, as it stands in errors.
        seed: the seed of the run.
        plan: what goes wrong.
        clock: tells the time in seconds.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        plan: FaultPlan,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._name = name
        self._seed = seed
        self._plan = plan
        self._clock = clock
        self._sleep = sleep

    async def before(self, key: str, attempt: int) -> None:
        """Pass the time that the call takes, and fail if it is to fail.

        Raises:
            ExternalError: an outage, or a fault of this attempt. Nothing was done.
        """
        plan = self._plan
        if plan.latency_seconds > 0:
            share = draw(self._seed, "latency", self._name, key, attempt)
            await self._sleep(plan.latency_seconds * (0.5 + share))
        if plan.outages and any(o.start <= self._clock() < o.end for o in plan.outages):
            raise ExternalError(f"{self._name} can't be reached")
        if draw(self._seed, "fault", self._name, key, attempt) < plan.fault_share:
            raise ExternalError(f"{self._name} failed on attempt {attempt}")

    def after(self, key: str, attempt: int) -> None:
        """Lose the answer if it is to be lost.

        Raises:
            ExternalError: the call was carried out, and nobody is told.
        """
        share = self._plan.lost_reply_share
        if share and draw(self._seed, "lost", self._name, key, attempt) < share:
            message = f"{self._name} did not answer attempt {attempt}"
            raise ExternalError(message, uncertain=True)
