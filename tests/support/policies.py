"""Actors whose classes say what becomes of their own exceptions; workers import this module."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from gristmill import (
    Actor,
    Backoff,
    Command,
    Context,
    Durable,
    FailurePolicy,
    GenServer,
    GenStateMachine,
    Request,
    handles,
    on,
)
from gristmill.facets.transitions import TransitionTable
from gristmill.supervision import ExitReason, describe
from support.actors import Note, Notes, append_line

ERRORS: dict[str, type[Exception]] = {
    error.__name__: error
    for error in (
        KeyError, IndexError, LookupError, ValueError, UnicodeError, OSError, ConnectionError,
        TimeoutError, ZeroDivisionError, PermissionError,
    )
}  # fmt: skip


class Break(Request[int]):
    """Raise the error of this name."""

    error: str


class BreakLater(Request[int]):
    """Raise it behind an await."""

    error: str


class BreakTold(Command):
    """Raise it; nobody waits."""

    error: str


class Count(Request[int]):
    """Count up, and give the count."""


class BreakStopping(Request[int]):
    """Ask to stop, then raise."""

    error: str


class Fragile(Actor):
    """Counts; writes its life into a file; can't start while a file of that name is there."""

    on_failure: ClassVar = {
        LookupError: FailurePolicy.resume(),
        IndexError: FailurePolicy.stop(),
        ValueError: FailurePolicy.restart(),
        UnicodeError: FailurePolicy.restart(0),
        PermissionError: FailurePolicy.stop(),
        ConnectionError: FailurePolicy.restart(2, within=10.0),
        TimeoutError: FailurePolicy.restart(
            backoff=Backoff(1.0, 8.0, jitter=0.0, reset_after=20.0)
        ),
    }

    def __init__(self, log: str, hindrance: str = "", error: str = "") -> None:
        self.log = log
        self.count = 0
        if hindrance and Path(hindrance).exists():
            append_line(log, "no start")
            raise ERRORS[error]("hindered")

    def on_start(self, ctx: Context) -> None:
        append_line(self.log, f"start {ctx.now():.3f}")

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        append_line(self.log, f"terminate {describe(reason)}")

    def before_restart(self, reason: ExitReason, ctx: Context) -> None:
        append_line(self.log, f"before restart {describe(reason)}")

    @handles
    def counts(self, msg: Count) -> int:
        self.count += 1
        return self.count

    @handles
    def breaks(self, msg: Break) -> int:
        raise ERRORS[msg.error]("broken")

    @handles
    async def breaks_later(self, msg: BreakLater, ctx: Context) -> int:
        await ctx.sleep(0.001)
        raise ERRORS[msg.error]("broken")

    @handles
    def breaks_told(self, msg: BreakTold) -> None:
        raise ERRORS[msg.error]("broken")

    @handles
    def breaks_stopping(self, msg: BreakStopping, ctx: Context) -> int:
        ctx.stop()
        raise ERRORS[msg.error]("broken")


class Frail(Fragile):
    """Cleans up in one place, whatever its end."""

    def before_restart(self, reason: ExitReason, ctx: Context) -> None:
        Actor.before_restart(self, reason, ctx)


class Breed(Request[str]):
    """Start a child of this name."""

    name: str


class Breeder(Fragile):
    """Has children."""

    @handles
    async def breeds(self, msg: Breed, ctx: Context) -> str:
        await ctx.spawn(Fragile, (self.log,), name=msg.name)
        return msg.name


class PersistThen(Request[int]):
    """Persist a number, then raise the error of this name."""

    number: int
    error: str


class Accountant(GenServer):
    """Durable; resumes after a ``KeyError``."""

    facets = (Durable(),)
    on_failure: ClassVar = {KeyError: FailurePolicy.resume()}

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def apply(self, event: Note) -> None:
        self.numbers.append(event.number)

    @handles
    def note(self, msg: Note, ctx: Context) -> None:
        if msg.number == 13:
            raise KeyError("thirteen")
        ctx.persist(msg)

    @handles
    def persists(self, msg: PersistThen, ctx: Context) -> int:
        ctx.persist(Note(msg.number))
        raise ERRORS[msg.error]("broken")

    @handles
    def notes(self, msg: Notes) -> list[int]:
        return self.numbers


class Gate(GenStateMachine):
    """A machine that resumes in the state that it was in."""

    on_failure: ClassVar = {KeyError: FailurePolicy.resume()}
    table = TransitionTable({"shut": {"open": "open"}, "open": {"shut": "shut"}}, initial="shut")

    @on("shut")
    def opens(self, msg: Count) -> int:
        self.fire("open")
        return 1

    @on("open", "shut")
    def breaks(self, msg: Break) -> int:
        self.become("open" if self.state == "shut" else "shut")
        raise ERRORS[msg.error]("broken")

    @on("open")
    def counts(self, msg: Count) -> int:
        return 2


# --- a bounded stash ---


class Put(Request[int]):
    """Wait until the store is open; answered by how many came before."""

    number: int


class Open(Command):
    """From now on numbers up to this one are taken."""

    up_to: int


class Kept(Request[list[int]]):
    """Which were taken, in order?"""


class Tried(Request[list[int]]):
    """Which were tried since it opened last?"""


class Stash(Actor):
    """Postpones what it does not want yet; of an ordinary actor."""

    def __init__(self) -> None:
        self.up_to = 0
        self.tried: list[int] = []
        self.kept: list[int] = []

    @handles
    def puts(self, msg: Put, ctx: Context) -> int:
        self.tried.append(msg.number)
        if msg.number > self.up_to:
            ctx.postpone()
        self.kept.append(msg.number)
        return len(self.kept)

    @handles
    def opens(self, msg: Open, ctx: Context) -> None:
        self.up_to = msg.up_to
        self.tried.clear()
        ctx.retry_postponed()

    @handles
    def keeps(self, msg: Kept) -> list[int]:
        return self.kept

    @handles
    def tries(self, msg: Tried) -> list[int]:
        return self.tried


# --- dead letters ---


class Loud(Command):
    """Nobody handles it, and its dead letters are logged."""


class Quiet(Command, log_dead_letters=False):
    """Nobody handles it, and nobody need be told."""
