"""Actors whose costs are known, for the truth tests of the accounting."""

from __future__ import annotations

import gc
import signal
import time
from collections import Counter
from types import FrameType
from typing import Any

import msgspec

from gristmill import Actor, Command, Context, Durable, Event, Ref, Request, handles

SLOW_NS = 200_000


def spin(ns: int) -> int:
    """Compute for so many ns; give what it took."""
    began = time.perf_counter_ns()
    while (spent := time.perf_counter_ns() - began) < ns:
        pass
    return spent


def count(steps: int) -> int:
    """Compute for so many steps."""
    state = 1
    for _ in range(steps):
        state = (1664525 * state + 1013904223) & 0xFFFFFFFF
    return state


class Count(Request[int]):
    """Take so many steps."""

    steps: int


class TimeCount(Request[int]):
    """Compute for so many steps, and answer with the CPU time that it took, in ns."""

    steps: int


class Checked(msgspec.Struct, frozen=True):
    """Takes long to decode."""

    number: int

    def __post_init__(self) -> None:
        spin(SLOW_NS)


class Check(Request[int]):
    """Carries what takes long to decode."""

    checked: Checked


class Quiet(Request[int]):
    """Nothing is to be computed."""


class Hinder(Request[int]):
    """From now on sending a frame takes so many ns more."""

    ns: int


class Doze(Request[int]):
    """Let so much time pass, in seconds."""

    seconds: float


class Collect(Request[int]):
    """Collect garbage among so many objects; answered by the ns that it took."""

    objects: int


class Fail(Command):
    """Raise."""


class Relay(Request[int]):
    """Ask oneself's peer, who asks its own, so often."""

    depth: int


class Chatter(Request[int]):
    """Tell the peer so many notes."""

    notes: int


class Note(Command):
    """Says nothing."""


class Watch(Request[dict[str, int]]):
    """Sample from now on; answered by what was seen until now."""

    on: bool


class Known(Actor):
    """Has known costs."""

    def __init__(self, peer: Ref[Any] | None = None) -> None:
        self._peer = peer
        self._seen: Counter[str] = Counter()
        self._graph: list[Any] = []

    @handles
    def count(self, msg: Count) -> int:
        return count(msg.steps)

    @handles
    def time_count(self, msg: TimeCount) -> int:
        began = time.thread_time_ns()
        count(msg.steps)
        return time.thread_time_ns() - began

    @handles
    def check(self, msg: Check) -> int:
        return msg.checked.number

    @handles
    def quiet(self, msg: Quiet) -> int:
        return 1

    @handles
    def hinder(self, msg: Hinder, ctx: Context) -> int:
        plane = ctx._host._core.shell.plane
        send = plane._send_frame

        def slow(*frame: Any) -> Any:
            spin(msg.ns)
            return send(*frame)

        plane._send_frame = slow
        return msg.ns

    @handles
    async def doze(self, msg: Doze, ctx: Context) -> int:
        if self._peer is None:
            await ctx.sleep(msg.seconds)
            return 1
        return await ctx.ask(self._peer, msg)

    @handles
    def collect(self, msg: Collect) -> int:
        if len(self._graph) != msg.objects:
            self._graph = [[i] for i in range(msg.objects)]
            return 0
        began = time.perf_counter_ns()
        gc.collect()
        return time.perf_counter_ns() - began

    @handles
    def fail(self, msg: Fail) -> None:
        raise ValueError("as asked")

    @handles
    async def relay(self, msg: Relay, ctx: Context) -> int:
        if self._peer is None or not msg.depth:
            return 0
        return 1 + await ctx.ask(self._peer, Relay(msg.depth - 1))

    @handles
    def chatter(self, msg: Chatter) -> int:
        assert self._peer is not None
        for _ in range(msg.notes):
            self._peer.tell(Note())
        return msg.notes

    @handles
    def note(self, msg: Note) -> None:
        pass

    @handles
    def watch(self, msg: Watch) -> dict[str, int]:
        seen, self._seen = dict(self._seen), Counter()
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, 0.001 if msg.on else 0, 0.001 if msg.on else 0)
        return seen

    def _look(self, _number: int, frame: FrameType | None) -> None:
        """See whether a handler is on the stack where CPU time has just been taken."""
        codes = set()
        while frame is not None:
            codes.add(frame.f_code.co_name)
            frame = frame.f_back
        self._seen["compute" if codes & {"count", "chatter"} else "other"] += 1


class Filed(Event):
    """Something was filed."""


class File(Command):
    """Journal an event, and send it to the archive so many times, at least once."""

    copies: int


class Filing(Request[int]):
    """Tell what the calls of the handler of ``File`` took, in ns."""


class Copy(Command):
    """Keep a copy."""


class Copies(Request[int]):
    """Tell how many copies came."""


class Archive(Actor):
    """Counts copies."""

    def __init__(self) -> None:
        self._copies = 0

    @handles
    def keep(self, msg: Copy) -> None:
        self._copies += 1

    @handles
    def copies(self, msg: Copies) -> int:
        return self._copies


class Clerk(Actor):
    """Knows what its handler takes; what is journaled and sent behind it is not in that."""

    facets = (Durable(),)

    def __init__(self, archive: Ref[Archive]) -> None:
        self._archive = archive
        self._ns = 0

    def apply(self, event: Filed) -> None:
        pass

    @handles
    def file(self, msg: File, ctx: Context) -> None:
        began = time.perf_counter_ns()
        ctx.persist(Filed())
        for _ in range(msg.copies):
            self._archive.tell(Copy(), delivery="at_least_once")
        self._ns += time.perf_counter_ns() - began

    @handles
    def filing(self, msg: Filing) -> int:
        return self._ns
