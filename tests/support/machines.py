"""State machines of the conformance tests; workers import this module."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from gristmill import (
    DEFERRED,
    Command,
    Context,
    Event,
    GenStateMachine,
    Request,
    handles,
    on,
)
from gristmill.behaviours.context import Deferred
from gristmill.deferred import Reply
from gristmill.facets.transitions import TransitionTable
from gristmill.supervision import ExitReason, Shutdown, describe


class At(StrEnum):
    A = "a"
    B = "b"
    C = "c"


class Log(Request[list[str]]):
    """What has happened?"""


class Go(Request[str]):
    """Go to a state, after inserting texts; answered by where it began."""

    to: str
    insert: tuple[str, ...] = ()
    arm: dict[str, float] | None = None
    fail: str = ""


class Hold(Command):
    """Postponed in a; noted elsewhere."""

    text: str


class HoldAndGo(Request[str]):
    """Postponed in a, which it leaves."""


class Note(Command):
    """Noted in any state."""

    text: str


class Heard(Event):
    """Noted in any state."""

    text: str


class Inside(Command, internal=True):
    """Noted in any state, and only the machine's own."""

    text: str


class InsertAll(Command):
    """Insert one of each kind of message."""


class Due(Command, internal=True):
    """A timeout."""

    name: str


class Arm(Command):
    """Arm timeouts by name: "state", "event", and others; None and infinity cancel."""

    seconds: dict[str, float | None]
    absolute: bool = False


class Again(Request[str]):
    """Enter the state again."""


class Later(Request[str]):
    """Answered on entering c."""


class OnlyInB(Request[int]):
    """Handled in b only."""


class Misbehave(Request[int]):
    """Do something wrong."""

    how: str


class MisbehaveQuietly(Command):
    """Give something from a command."""


class StopAll(Request[str]):
    """Answer all, and stop."""


class Machine(GenStateMachine):
    """Notes what it handles, with the state in which it did."""

    table = TransitionTable(
        {At.A: {"b": At.B, "c": At.C}, At.B: {"a": At.A, "c": At.C}, At.C: {"a": At.A}},
        initial=At.A,
    )

    def __init__(self, file: str = "", start: dict[str, float] | None = None) -> None:
        self.file = file
        self.start = start or {}
        self.log: list[str] = []
        self.open: list[Reply[str]] = []
        self.on_entry: dict[str, float] = {}

    def on_start(self, ctx: Context) -> None:
        self.log.append("started")
        ctx.continue_with(Note("first"))
        for name, seconds in self.start.items():
            self._arm(name, seconds)

    def on_enter(self, old: At, ctx: Context) -> None:
        self.log.append(f"{old}>{self.state}")
        if self.state is At.C:
            for reply in self.open:
                reply("c")
            self.open.clear()
        for name, seconds in self.on_entry.items():
            self._arm(name, seconds)

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        if self.file:
            Path(self.file).write_text(f"{describe(reason)} | {self.state} | {self.log}")

    def _arm(self, name: str, seconds: float | None, *, absolute: bool = False) -> None:
        match name:
            case "state":
                self.state_timeout(seconds, Due(name), absolute=absolute)
            case "event":
                self.event_timeout(seconds, Due(name), absolute=absolute)
            case _:
                self.timeout(name, seconds, Due(name), absolute=absolute)

    @on(At.A)
    def hold(self, msg: Hold, ctx: Context) -> None:
        ctx.postpone()

    @on(At.A)
    def hold_and_go(self, msg: HoldAndGo, ctx: Context) -> str:
        self.log.append("held and gone")
        self.become(At.B)
        ctx.postpone()

    @on(At.B, At.C)
    def gone(self, msg: HoldAndGo) -> str:
        return str(self.state)

    @on(At.B, At.C)
    def held(self, msg: Hold) -> None:
        self.log.append(f"{msg.text} in {self.state}")

    @handles
    def note(self, msg: Note | Heard | Inside) -> None:
        self.log.append(f"{msg.text} in {self.state}")

    @handles
    def insert_all(self, msg: InsertAll, ctx: Context) -> None:
        for each in (Note("note"), Heard("heard"), Inside("inside"), Due("due")):
            ctx.continue_with(each)

    @handles
    def due(self, msg: Due, ctx: Context) -> None:
        self.log.append(f"due {msg.name} in {self.state}")

    @handles
    def go(self, msg: Go, ctx: Context) -> str:
        for text in msg.insert:
            ctx.continue_with(Inside(text))
        for name, seconds in (msg.arm or {}).items():
            self._arm(name, seconds)
        if msg.to != self.state:
            self.become(At(msg.to))
        if msg.fail:
            self.fire(msg.fail)
        return str(self.state)

    @handles
    def arm(self, msg: Arm, ctx: Context) -> None:
        for name, seconds in msg.seconds.items():
            at = ctx.now() + seconds if msg.absolute and seconds is not None else seconds
            self._arm(name, at, absolute=msg.absolute)

    @handles
    def again(self, msg: Again) -> str:
        self.repeat()
        return str(self.state)

    @on(At.A, At.B)
    def later(self, msg: Later, ctx: Context) -> str | Deferred:
        self.open.append(ctx.defer_reply())
        return DEFERRED

    @on(At.B)
    def only_in_b(self, msg: OnlyInB) -> int:
        return 1

    @handles
    def misbehave(self, msg: Misbehave, ctx: Context) -> int:
        match msg.how:
            case "return":
                return "text"  # type: ignore[return-value]  # what is tested
            case "return and go":
                self.become(At.B)
                return "text"  # type: ignore[return-value]  # what is tested
            case "state":
                self.become("nowhere")
            case "timeout":
                self.state_timeout(-1, Due("state"))
            case "not a number":
                self.timeout("x", "soon", Due("state"))  # type: ignore[arg-type]  # what is tested
            case "no clause":
                self.event_timeout(1, Talker())
            case "no message":
                self.state_timeout(1)
            case "insert":
                ctx.continue_with(Talker())
        return 0

    @handles
    def misbehave_quietly(self, msg: MisbehaveQuietly) -> None:
        return 17  # type: ignore[return-value]  # what is tested

    @handles
    def stop_all(self, msg: StopAll, ctx: Context) -> str:
        for reply in self.open:
            reply("stopping")
        self.open.clear()
        ctx.stop(Shutdown("all"))
        return "stopped"

    @handles
    def get_log(self, msg: Log) -> list[str]:
        return self.log


class Talker(Command):
    """Nobody handles this."""


class Meddler(Machine):
    """Changes its state on entering b, or gives something, or raises."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def on_enter(self, old: At, ctx: Context) -> Any:
        if self.how == "become" and self.state is At.B:
            self.become(At.C)
        if self.how == "raise" and self.state is At.B:
            raise RuntimeError("no entry")
        return 17 if self.how == "give" and self.state is At.B else None


class Stopper(Machine):
    """Its start fails in some way."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def on_start(self, ctx: Context) -> Any:
        match self.how:
            case "raise":
                raise OSError("no disk")
            case "stop":
                ctx.stop(Shutdown("not today"))
            case "junk":
                return 17
        return None


def arms_on_entry(state: dict[str, Any]) -> dict[str, Any]:
    """For replace_state: a Machine that arms a timeout whenever it enters a state."""
    return state | {"on_entry": {"state": 0.05}}
