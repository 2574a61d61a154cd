"""What the supervision tree asks its driver to do, in order."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeAlias

import msgspec

from gristmill.supervision.reasons import ExitReason, describe
from gristmill.supervision.spec import ChildSpec


class Decision(StrEnum):
    """What a supervisor made of a failure."""

    RESTART = "restarting"
    NOT_RESTARTED = "not restarted"
    GAVE_UP = "restart intensity exceeded, giving up"
    START_FAILED = "start failed, stopping"
    STOPPING = "was being stopped"
    OWN_RESTART = "restarting, as its on_failure says"
    REPLAY = "restarting from its journal"
    OWN_STOP = "stopped for good, as its on_failure says"


class ErrorRecord(msgspec.Struct, frozen=True):
    """One failure: whose it was, why, and what its supervisor decided."""

    supervisor: str
    """Path of the supervisor."""
    child: str
    """Id of the child under it."""
    key: int
    incarnation: int
    reason: ExitReason
    decision: Decision
    restarts: int
    """Restarts in the supervisor's window, this one included."""
    max_restarts: int
    within: float
    """Length of the window in seconds."""
    delay: float = 0.0
    """Seconds of backoff before the restart."""

    def __str__(self) -> str:
        used = f"{self.restarts} of {self.max_restarts} restarts in {self.within:g} s"
        wait = f" in {self.delay:.3g} s" if self.delay else ""
        what = describe(self.reason)
        return f"{self.supervisor}/{self.child}: {what}; {self.decision}{wait} ({used})"


class Ending(StrEnum):
    """How a supervisor came to its end."""

    STOPPED = "stopped"
    START_FAILED = "start failed"
    INTENSITY = "restart intensity exceeded"
    AUTO_SHUTDOWN = "auto-shutdown"


class Started(msgspec.Struct, frozen=True, tag=True):
    """The child runs."""

    key: int
    incarnation: int


class Ignored(msgspec.Struct, frozen=True, tag=True):
    """The child chose not to run, which is no failure."""


class Terminated(msgspec.Struct, frozen=True, tag=True):
    """The child is stopped."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The child could not be started."""

    reason: ExitReason


Outcome: TypeAlias = Started | Ignored | Terminated | Failed


class StartActor(NamedTuple):
    """Start an incarnation; answer with ``actor_started`` or ``start_failed``."""

    key: int
    incarnation: int
    spec: ChildSpec


class StopActor(NamedTuple):
    """Ask it to end, behind its start if that is under way; its exit must come back.

    ``timeout`` (seconds, None: no limit) is for the driver to know; the tree keeps the deadline.
    """

    key: int
    incarnation: int
    reason: ExitReason
    timeout: float | None


class KillActor(NamedTuple):
    """End it at once and unconditionally; its exit must come back."""

    key: int
    incarnation: int


class ArmTimer(NamedTuple):
    """Call ``timer_fired(id)`` at the monotonic time ``at``."""

    id: int
    at: float


class CancelTimer(NamedTuple):
    """Forget the timer. One that fires all the same is ignored."""

    id: int


class Report(NamedTuple):
    """Log the record."""

    record: ErrorRecord


class Completed(NamedTuple):
    """An operation that was asked for is over."""

    operation: int
    outcome: Outcome


class TreeStarted(NamedTuple):
    """Every static child has started."""


class TreeStopped(NamedTuple):
    """The root has ended and nothing is left running. Comes once, as the last action.

    ``causes`` is the chain from the first failure up to the root; empty after ``stop``.
    """

    reason: ExitReason
    ending: Ending
    causes: tuple[str, ...]


Action: TypeAlias = (
    StartActor
    | StopActor
    | KillActor
    | ArmTimer
    | CancelTimer
    | Report
    | Completed
    | TreeStarted
    | TreeStopped
)
