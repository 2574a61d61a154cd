"""A durable actor that says what it does, for the tests of what happens at the end of a burst."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gristmill import Actor, Command, Context, Durable, Event, Ref, Reject, Request, handles

CHANNEL = "bursts"


class Note(Command):
    """Remember a number."""

    number: int


class Notes(Request[list[int]]):
    """Tell what was noted."""


class Added(Event):
    """A number was added."""

    number: int


class Add(Command):
    """Add a number, and say so: to the peer at least once, and on the channel."""

    number: int
    fails: str = ""
    """``crash`` or ``reject``, when all that is said."""


class Numbers(Request[list[int]]):
    """Tell what was added."""


class FlushAndWait(Command):
    """Let what was told so far leave, and compute until there is a file."""

    path: str


class Nap(Command):
    """Add 0 if no other message comes within 0.05 s, and 99 after 0.3 s; flush."""


class AskPeer(Request[list[int]]):
    """Ask the peer for its notes."""


class Peer(Actor):
    """Notes numbers, each as often as it comes."""

    def __init__(self) -> None:
        self._numbers: list[int] = []

    @handles
    def note(self, msg: Note) -> None:
        self._numbers.append(msg.number)

    @handles
    def notes(self, msg: Notes) -> list[int]:
        return self._numbers


class Adder(Actor):
    """Keeps what was added, in a snapshot after every two events."""

    facets = (Durable(snapshot_every=2),)

    def __init__(self, peer: Ref[Any]) -> None:
        self._peer = peer
        self._numbers: list[int] = []

    def apply(self, event: Added) -> None:
        self._numbers.append(event.number)

    def snapshot(self) -> list[int]:
        return self._numbers

    def restore(self, state: list[int]) -> None:
        self._numbers = state

    @handles
    def add(self, msg: Add, ctx: Context) -> None:
        event = Added(msg.number)
        ctx.persist(event)
        ctx.publish(CHANNEL, event)
        self._peer.tell(Note(msg.number), delivery="at_least_once")
        if msg.fails == "crash":
            raise ValueError(msg.number)
        if msg.fails == "reject":
            raise Reject("no")

    @handles
    def numbers(self, msg: Numbers) -> list[int]:
        return self._numbers

    @handles
    def flush_and_wait(self, msg: FlushAndWait, ctx: Context) -> None:
        ctx.flush()
        while not Path(msg.path).exists():
            pass

    @handles
    def nap(self, msg: Nap, ctx: Context) -> None:
        ctx.send_after(0.3, Add(99))
        ctx.idle_timeout(0.05, Add(0))
        ctx.flush()

    @handles
    async def ask_peer(self, msg: AskPeer, ctx: Context) -> list[int]:
        return await ctx.ask(self._peer, Notes())
