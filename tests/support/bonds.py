"""Actors that watch, link and spawn; workers import this module."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import Any

from gristmill import (
    Actor,
    Command,
    Context,
    Down,
    Event,
    Exited,
    Ignore,
    MonitorRef,
    Ref,
    Request,
    handles,
)
from gristmill.errors import GristmillError
from gristmill.supervision import ExitReason, Killed, Normal, Shutdown, describe
from support.actors import append_line, read_lines


class Watch(Request[MonitorRef]):
    """Monitor it."""

    ref: Ref[Any]


class Observe(Request[None]):
    """Have the end of its incarnation as an event of your own; ``broken``: of none that works."""

    ref: Ref[Any]
    broken: bool = False


class Observed(Event):
    """What was observed has ended."""

    how: str


class Forget(Request[None]):
    """End a monitor."""

    monitor: MonitorRef
    flush: bool = True


class Link(Request[None]):
    """Link to it."""

    ref: Ref[Any]


class LinkTo(Command):
    """Link to it, and let nobody wait."""

    ref: Ref[Any]


class LinkAndSleep(Command):
    """Link to it and wait for ever."""

    ref: Ref[Any]


class SendBoth(Command):
    """Send it two exit signals."""

    ref: Ref[Any]
    first: str
    second: str


class Unlink(Request[None]):
    """Break the link."""

    ref: Ref[Any]


class SendExit(Request[None]):
    """Send it an exit signal: ``kill``, ``normal`` or the detail of a shutdown."""

    ref: Ref[Any]
    how: str


class Ping(Request[int]):
    """Which incarnation of which process are you? (its counter)"""


class Finish(Command):
    """End: ``normal``, ``crash`` or the detail of a shutdown."""

    how: str


class DieHard(Command):
    """Take the worker along."""

    how: str = "kill"


class SayAndEnd(Command):
    """Tell someone numbers, then end."""

    to: Ref[Any]
    count: int
    how: str


class SayAndDie(Command):
    """Tell someone numbers, then take the worker along, when ``through`` has answered."""

    to: Ref[Any]
    count: int
    through: Ref[Any] | None = None


class Number(Command):
    """A number."""

    n: int


class Wait(Request[None]):
    """Take the file away and wait, without holding the worker, until it is there again."""

    gate: str


class WaitThenForget(Request[None]):
    """Do what :class:`Wait` says, then end a monitor."""

    gate: str
    monitor: MonitorRef
    flush: bool


class Block(Request[None]):
    """Take the file away and compute until it is there again."""

    gate: str


class SpawnChild(Request[Ref[Any]]):
    """Start a child."""

    name: str
    restart: str = "permanent"
    placement: str = "any"
    start_timeout: float = 0.0
    stops_in: float = 0.0
    """Seconds that it takes to stop."""


class Remind(Command):
    """Send yourself lines, each after a delay."""

    lines: tuple[tuple[float, str], ...]


class Line(Command):
    """Write a line."""

    text: str


class TimersLeft(Request[int]):
    """How many timers does the worker's loop hold?"""


class GetRef(Request[Ref[Any]]):
    """What is your own ref?"""


class Peer(Actor):
    """Writes down what it hears of others."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.started = time.monotonic()

    def on_start(self, ctx: Context) -> None:
        append_line(self.log, f"start {ctx.name}")

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        append_line(self.log, f"terminate {ctx.name} {describe(reason)}")

    @handles
    async def watch(self, msg: Watch, ctx: Context) -> MonitorRef:
        monitor = ctx.monitor(msg.ref)
        with contextlib.suppress(GristmillError):  # whoever is answered here is watched by now
            await ctx.ask(msg.ref, Ping(), timeout=0.2)
        return monitor

    @handles
    async def observe(self, msg: Observe, ctx: Context) -> None:
        def ended(reason: ExitReason) -> Observed:
            if msg.broken:
                raise LookupError("no words for it")
            return Observed(describe(reason))

        ctx.watch(msg.ref, ended)
        with contextlib.suppress(GristmillError):  # whoever is answered here is watched by now
            await ctx.ask(msg.ref, Ping(), timeout=5.0)

    @handles
    def observed(self, msg: Observed, ctx: Context) -> None:
        append_line(self.log, f"{ctx.name} observed {msg.how}")

    @handles
    def forget(self, msg: Forget, ctx: Context) -> None:
        ctx.demonitor(msg.monitor, flush=msg.flush)

    @handles
    def link(self, msg: Link, ctx: Context) -> None:
        ctx.link(msg.ref)

    @handles
    def link_to(self, msg: LinkTo, ctx: Context) -> None:
        ctx.link(msg.ref)

    @handles
    def send_both(self, msg: SendBoth, ctx: Context) -> None:
        ctx.exit(msg.ref, reason_of(msg.first))
        ctx.exit(msg.ref, reason_of(msg.second))

    @handles
    def unlink(self, msg: Unlink, ctx: Context) -> None:
        ctx.unlink(msg.ref)

    @handles
    def send_exit(self, msg: SendExit, ctx: Context) -> None:
        ctx.exit(msg.ref, reason_of(msg.how))

    @handles
    def ping(self, msg: Ping) -> int:
        return int(self.started * 1e6)

    @handles
    def finish(self, msg: Finish, ctx: Context) -> None:
        if msg.how == "crash":
            raise ValueError("on request")
        ctx.stop(reason_of(msg.how))

    @handles
    def die(self, msg: DieHard) -> None:
        if msg.how == "kill":
            os.kill(os.getpid(), 9)
        os._exit(7)

    @handles
    def say(self, msg: SayAndEnd, ctx: Context) -> None:
        for n in range(msg.count):
            msg.to.tell(Number(n))
        if msg.how == "crash":
            raise ValueError("on request")
        ctx.stop(reason_of(msg.how))

    @handles
    async def say_and_die(self, msg: SayAndDie, ctx: Context) -> None:
        for n in range(msg.count):
            msg.to.tell(Number(n))
        if msg.through is not None:
            await ctx.ask(msg.through, Ping())
        ctx.continue_with(DieHard())

    @handles
    def remind(self, msg: Remind, ctx: Context) -> None:
        for delay, text in msg.lines:
            ctx.send_after(delay, Line(text))

    @handles
    def line(self, msg: Line) -> None:
        append_line(self.log, msg.text)

    @handles
    def number(self, msg: Number, ctx: Context) -> None:
        append_line(self.log, f"{ctx.name} got {msg.n}")

    @handles
    def down(self, msg: Down, ctx: Context) -> None:
        append_line(self.log, f"{ctx.name} down {msg.ref.name} {describe(msg.reason)}")

    @handles
    async def wait(self, msg: Wait) -> None:
        await gate_opens(msg.gate)

    @handles
    async def wait_then_forget(self, msg: WaitThenForget, ctx: Context) -> None:
        await gate_opens(msg.gate)
        ctx.demonitor(msg.monitor, flush=msg.flush)

    @handles
    def block(self, msg: Block) -> None:
        Path(msg.gate).unlink()
        while not Path(msg.gate).exists():
            time.sleep(0.002)

    @handles
    async def spawn(self, msg: SpawnChild, ctx: Context) -> Ref[Any]:
        if msg.stops_in:
            return await ctx.spawn(
                Patient, (self.log, msg.stops_in), name=msg.name, placement=msg.placement
            )
        return await ctx.spawn(
            Peer,
            (self.log,),
            name=msg.name,
            restart=msg.restart,
            placement=msg.placement,
            start_timeout=msg.start_timeout or None,
        )

    @handles
    async def timers_left(self, msg: TimersLeft) -> int:
        armed = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]  # no public way
        own = [timer for timer in armed if not timer.cancelled() and "fire" in repr(timer)]
        return len(own)

    @handles
    def own_ref(self, msg: GetRef, ctx: Context) -> Ref[Any]:
        return ctx.ref


class Trapper(Peer):
    """Hears of linked actors' ends instead of ending too."""

    trap_exits = True

    @handles
    def exited(self, msg: Exited, ctx: Context) -> None:
        append_line(self.log, f"{ctx.name} exited {msg.ref.name} {describe(msg.reason)}")


class Sleeper(Peer):
    """Can wait for ever."""

    @handles
    async def link_and_sleep(self, msg: LinkAndSleep, ctx: Context) -> None:
        ctx.link(msg.ref)
        await ctx.sleep(3600.0)


class Keeper(Peer):
    """Its children outlive its restarts."""

    keep_children = True


class Chooser(Actor):
    """Runs only when the file says so."""

    def __init__(self, path: str, where: str) -> None:
        self.where = where
        if where == "constructor" and read_lines(Path(path)) != ["run"]:
            raise Ignore("not wanted")
        self.path = path

    async def on_start(self, ctx: Context) -> None:
        if self.where == "on_start" and read_lines(Path(self.path)) != ["run"]:
            raise Ignore("not wanted")

    @handles
    def ping(self, msg: Ping) -> int:
        return 1

    @handles
    def watch(self, msg: Watch, ctx: Context) -> MonitorRef:
        return ctx.monitor(msg.ref)


class Slow(Actor):
    """Does not start until the file is there."""

    def __init__(self, gate: str, how: str) -> None:
        self.gate = gate
        if how == "nap":
            time.sleep(0.25)
        while how == "computing" and not Path(gate).exists():
            time.sleep(0.002)
        self.how = how

    async def on_start(self, ctx: Context) -> None:
        while self.how == "waiting" and not Path(self.gate).exists():
            await asyncio.sleep(0.002)

    @handles
    def ping(self, msg: Ping) -> int:
        return 1

    @handles
    def crash(self, msg: Finish) -> None:
        raise ValueError("on request")


class Odd(Actor):
    """Starts in ways that can't work."""

    def __init__(self, how: str) -> None:
        self.how = how
        if how == "raise":
            raise ValueError("no start")
        if how == "exit":
            os._exit(3)

    def on_start(self, ctx: Context) -> Any:
        return 5 if self.how == "junk" else None


class Patient(Actor):
    """Takes long to stop."""

    def __init__(self, log: str, seconds: float) -> None:
        self.log = log
        self.seconds = seconds

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        time.sleep(self.seconds)
        append_line(self.log, "stopped")


async def gate_opens(gate: str) -> None:
    """Take the file away and wait until it is there again."""
    Path(gate).unlink()
    while not Path(gate).exists():
        await asyncio.sleep(0.002)


def reason_of(how: str) -> ExitReason:
    """Give the exit reason for a word."""
    if how == "normal":
        return Normal()
    return Killed(9) if how == "kill" else Shutdown(how)
