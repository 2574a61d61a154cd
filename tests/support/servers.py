"""Servers of the conformance tests; workers import this module."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from gristmill import DEFERRED, Command, Context, GenServer, Mailbox, Ref, Request, handles
from gristmill.behaviours.actor_host import AwaitedReply
from gristmill.behaviours.context import Deferred
from gristmill.deferred import Reply
from gristmill.errors import AskTimeoutError, ErrorData
from gristmill.supervision import Crash, ExitReason, Shutdown, describe


class Log(Request[list[str]]):
    """What has happened?"""


class Note(Command):
    """Note a text."""

    text: str


class Unwanted(Command):
    """Nobody handles this."""


class Fail(Command):
    """Crash."""


class Wait(Request[str]):
    """Answer when the file is there."""

    path: str


class Later(Request[int]):
    """Answer when told to."""


class Answer(Command):
    """Answer what waits, twice."""

    value: int


class HandOver(Request[int]):
    """Let another actor answer."""

    to: Ref[Any]


class AnswerFor(Command):
    """Answer in another's place, twice."""

    reply: Reply[int]
    value: int


class TakeReply(Request[Reply[int]]):
    """Give away the way to answer."""


class Junk(Request[int]):
    """Answered by something else."""


class WorkOn(Request[str]):
    """Answer, then continue until the file is there."""

    path: str


class GoOn(Command, internal=True):
    """Continue."""

    path: str


class LoseThread(Request[str]):
    """Continue with what nobody handles."""


class End(Command):
    """Stop with a reason."""

    how: str


class Silence(Command):
    """Note it when nothing comes for a while; compute for a while first."""

    seconds: float | None
    computing: float = 0.0


class Silent(Command, internal=True):
    """Nothing has come."""


class Mark(Command):
    """Note a text after a while."""

    seconds: float
    text: str


class BadSilence(Request[str]):
    """Ask for an idle timeout that is none."""

    seconds: float


class Server(GenServer):
    """Notes what it handles, and where told to also in a file."""

    def __init__(self, start: str = "", file: str = "") -> None:
        if start == "constructor":
            raise OSError("no disk")
        self.start = start
        self.file = file
        self.log: list[str] = []
        self.open: list[Reply[int]] = []

    async def on_start(self, ctx: Context) -> Any:
        await ctx.sleep(0.01)
        self.log.append("started")
        match self.start:
            case "raise":
                raise OSError("no disk")
            case "stop":
                ctx.stop(Shutdown("not today"))
            case "junk":
                return 17
            case "continue":
                ctx.continue_with(Note("continued"))
        return None

    @handles
    def get_log(self, msg: Log) -> list[str]:
        return self.log

    @handles
    def note(self, msg: Note) -> None:
        self.log.append(msg.text)

    @handles
    def fail(self, msg: Fail) -> None:
        raise ValueError("as told")

    @handles
    async def wait(self, msg: Wait, ctx: Context) -> str:
        self.log.append("waiting")
        Path(f"{msg.path}.begun").touch()
        await _file(msg.path, ctx)
        self.log.append("waited")
        return "waited"

    @handles
    def later(self, msg: Later, ctx: Context) -> int | Deferred:
        self.open.append(ctx.defer_reply())
        return DEFERRED

    @handles
    def answer(self, msg: Answer) -> None:
        for reply in self.open:
            reply(msg.value)
            reply(msg.value + 1)
        self.open.clear()

    @handles
    def hand_over(self, msg: HandOver, ctx: Context) -> int | Deferred:
        msg.to.tell(AnswerFor(ctx.defer_reply(), 7))
        return DEFERRED

    @handles
    def answer_for(self, msg: AnswerFor) -> None:
        msg.reply(msg.value)
        msg.reply(msg.value + 1)

    @handles
    def take_reply(self, msg: TakeReply) -> Reply[int]:
        return self.open.pop()

    @handles
    def junk(self, msg: Junk) -> int:
        return "junk"  # type: ignore[return-value]  # what is tested

    @handles
    def work_on(self, msg: WorkOn, ctx: Context) -> str:
        ctx.continue_with(GoOn(msg.path))
        return "answered"

    @handles
    async def go_on(self, msg: GoOn, ctx: Context) -> None:
        await _file(msg.path, ctx)
        self.log.append("continued")

    @handles
    def lose_thread(self, msg: LoseThread, ctx: Context) -> str:
        ctx.continue_with(Unwanted())
        return "never"

    @handles
    def end(self, msg: End, ctx: Context) -> None:
        ctx.stop(Crash(ErrorData("Odd", "as told")) if msg.how == "crash" else Shutdown(msg.how))

    @handles
    def silence(self, msg: Silence, ctx: Context) -> None:
        ctx.idle_timeout(msg.seconds, Silent())
        until = time.monotonic() + msg.computing
        while time.monotonic() < until:
            pass

    @handles
    def silent(self, msg: Silent) -> None:
        self.log.append("silent")

    @handles
    def mark(self, msg: Mark, ctx: Context) -> None:
        ctx.send_after(msg.seconds, Note(msg.text))

    @handles
    def bad_silence(self, msg: BadSilence, ctx: Context) -> str:
        ctx.idle_timeout(msg.seconds, Unwanted())
        return "never"


class Witnessed(Server):
    """Writes down how it ends."""

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        Path(self.file).write_text(f"{describe(reason)} | {self.log[1:]}")


async def _file(path: str, ctx: Context) -> None:
    while not Path(path).exists():
        await ctx.sleep(0.002)


# --- who asks ---


class AskFor(Request[str]):
    """Ask another actor to wait for a file."""

    to: Ref[Any]
    path: str


class Open(Command):
    """Send a request."""

    to: Ref[Any]


class Poll(Request[bool]):
    """Has the reply come?"""

    seconds: float


class Fetch(Request[int]):
    """Fetch the reply."""

    seconds: float


class AskAll(Request[tuple[list[int], list[str]]]):
    """Ask many; give the replies and the names of the errors."""

    to: list[Ref[Any]]
    seconds: float


class TimeAsks(Request[float]):
    """Give the seconds that so many asks take, once so many notes wait."""

    to: Ref[Any]
    asks: int
    waiting: int


class Count(Command):
    """One of many."""


class Asker(GenServer):
    mailbox = Mailbox(capacity=600_000)

    def __init__(self) -> None:
        self.pending: AwaitedReply[int] | None = None

    @handles
    async def ask_for(self, msg: AskFor, ctx: Context) -> str:
        return await ctx.ask(msg.to, Wait(msg.path), timeout=None)

    @handles
    def open(self, msg: Open, ctx: Context) -> None:
        self.pending = ctx.request(msg.to, Later())

    @handles
    async def poll(self, msg: Poll) -> bool:
        assert self.pending is not None
        return await self.pending.wait(msg.seconds) and self.pending.done

    @handles
    async def fetch(self, msg: Fetch) -> int:
        assert self.pending is not None
        try:
            return await self.pending.result(msg.seconds)
        except AskTimeoutError:
            return -1

    @handles
    async def ask_all(self, msg: AskAll, ctx: Context) -> tuple[list[int], list[str]]:
        outcome = await ctx.multi_ask(msg.to, Vote(), timeout=msg.seconds)
        assert [ref for ref, _ in outcome.replies] == msg.to[: len(outcome.replies)]
        return [n for _, n in outcome.replies], [type(e).__name__ for _, e in outcome.failed]

    @handles
    async def time_asks(self, msg: TimeAsks, ctx: Context) -> float:
        for _ in range(msg.waiting):
            ctx.ref.tell(Count())
        begun = ctx.now()
        for _ in range(msg.asks):
            await ctx.ask(msg.to, Vote())
        return ctx.now() - begun

    @handles
    def count(self, msg: Count) -> None:
        """Do nothing."""


class Vote(Request[int]):
    """Say a number."""


class Voter(GenServer):
    def __init__(self, how: str = "answer") -> None:
        self.how = how

    @handles
    async def vote(self, msg: Vote, ctx: Context) -> int:
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "hang":
            await ctx.sleep(3600)
        return 1


def doubled(state: dict[str, Any]) -> dict[str, Any]:
    """Replace a server's state."""
    return state | {"log": state["log"] * 2}


def half_way(state: dict[str, Any]) -> dict[str, Any]:
    """Fail when something is changed already."""
    state["log"].clear()
    raise RuntimeError("half way")


def no_state(state: dict[str, Any]) -> Any:
    """Give no state."""
    return len(state)
