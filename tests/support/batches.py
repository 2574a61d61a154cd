"""Actors that take batches; workers import this module."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from gristmill import (
    Actor,
    Command,
    Context,
    Durable,
    Event,
    Ref,
    Reject,
    Request,
    handles,
)


class Square(Request[int]):
    """Square a number."""

    number: int


class SquareLater(Request[int]):
    """Square a number behind an await."""

    number: int


class Cube(Request[int]):
    """Cube a number, one by one."""

    number: int


class Wrong(Request[int]):
    """Be answered wrongly, in this way."""

    how: str


class Misuse(Request[int]):
    """Use what is about one message."""

    what: str


class Put(Command):
    """Keep a number."""

    number: int


class Happened(Event):
    """A number was called out."""

    number: int


class Sizes(Request[list[int]]):
    """How large were the batches?"""


class Kept(Request[list[int]]):
    """Which numbers were kept?"""


class Relay(Request[int]):
    """Send numbers to another actor, from here."""

    to: Ref[Any]
    numbers: tuple[int, ...]


class WhoAmI(Request[str]):
    """Say who has asked."""


class AskWho(Request[str]):
    """Ask another actor who has asked it."""

    to: Ref[Any]


class Squares(Actor):
    """Answers batches of at most 8, and of one with what is not for batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    @handles(batch=8)
    def squares(self, msgs: list[Square]) -> list[int | Reject]:
        self.sizes.append(len(msgs))
        if any(msg.number == -1 for msg in msgs):
            raise ValueError("minus one")
        if any(msg.number == -2 for msg in msgs):
            raise Reject("minus two", code="negative")
        return [
            Reject("unlucky", code="luck") if msg.number == 13 else msg.number**2 for msg in msgs
        ]

    @handles(batch=8)
    async def squares_later(self, msgs: list[SquareLater], ctx: Context) -> list[int]:
        self.sizes.append(len(msgs))
        await ctx.sleep(0.001)
        if any(msg.number == -1 for msg in msgs):
            raise ValueError("minus one")
        if any(msg.number == -3 for msg in msgs):
            await ctx.sleep(3600)
        return [msg.number**2 for msg in msgs]

    @handles
    def cube(self, msg: Cube) -> int:
        self.sizes.append(0)
        return msg.number**3

    @handles(batch=8)
    def wrong(self, msgs: list[Wrong]) -> list[int]:
        answers: dict[str, Any] = {
            "short": [1] * (len(msgs) - 1),
            "none": None,
            "type": [1] * (len(msgs) - 1) + ["x"],
        }
        return answers[msgs[0].how]  # type: ignore[no-any-return]  # that is the point

    @handles(batch=8)
    def misuse(self, msgs: list[Misuse], ctx: Context) -> list[int]:
        if msgs[0].what == "postpone":
            ctx.postpone()
        elif msgs[0].what == "defer":
            ctx.defer_reply()
        return [ctx.sender is None] * len(msgs)

    @handles(batch=8)
    def who(self, msgs: list[WhoAmI], ctx: Context) -> list[str]:
        self.sizes.append(len(msgs))
        return [sender.address.label if sender is not None else "client" for sender in ctx.senders]

    @handles
    def sizes_so_far(self, msg: Sizes) -> list[int]:
        return self.sizes


class Asker(Actor):
    @handles
    async def ask_who(self, msg: AskWho, ctx: Context) -> str:
        return await ctx.ask(msg.to, WhoAmI())

    @handles
    def relay(self, msg: Relay, ctx: Context) -> int:
        for number in msg.numbers:
            msg.to.tell(Put(number), delivery="at_least_once")
        return len(msg.numbers)


class Counted(msgspec.Struct, frozen=True, tag=True):
    """A number was kept."""

    number: int


class Keeper(Actor):
    """Keeps numbers, at most 8 at once, and its state in the journal.

    13 crashes it, and 666 its worker.
    """

    facets = (Durable(),)
    channels = ("calls",)

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.sizes: list[int] = []

    def apply(self, event: Counted) -> None:
        self.numbers.append(event.number)

    @handles(batch=8)
    def put(self, msgs: list[Put], ctx: Context) -> None:
        self.sizes.append(len(msgs))
        for msg in msgs:
            ctx.persist(Counted(msg.number))
        if any(msg.number == 13 for msg in msgs):
            raise ValueError("thirteen")
        if any(msg.number == 666 for msg in msgs):
            os._exit(7)

    @handles(batch=8)
    def happened(self, msgs: list[Happened], ctx: Context) -> None:
        self.sizes.append(len(msgs))
        for msg in msgs:
            ctx.persist(Counted(msg.number))

    @handles
    def kept(self, msg: Kept) -> list[int]:
        return self.numbers

    @handles
    def sizes_so_far(self, msg: Sizes) -> list[int]:
        return self.sizes


class Patient(Actor):
    """Waits for a full batch, up to 10 s, or up to 20 ms."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    @handles(batch=4, batch_wait=10.0)
    def squares(self, msgs: list[Square]) -> list[int]:
        self.sizes.append(len(msgs))
        return [msg.number**2 for msg in msgs]

    @handles(batch=1000, batch_wait=0.02)
    def cubes(self, msgs: list[Cube]) -> list[int]:
        self.sizes.append(len(msgs))
        return [msg.number**3 for msg in msgs]

    @handles
    def sizes_so_far(self, msg: Sizes) -> list[int]:
        return self.sizes


class Governed(Actor):
    """Batches as its governor says; computes a number of rounds for each message."""

    def __init__(self, rounds: int = 0) -> None:
        self.sizes: list[int] = []
        self.rounds = rounds

    @handles(batch="auto")
    def squares(self, msgs: list[Square]) -> list[int]:
        self.sizes.append(len(msgs))
        for _ in msgs:
            for _ in range(self.rounds):
                pass
        return [msg.number**2 for msg in msgs]

    @handles
    def sizes_so_far(self, msg: Sizes) -> list[int]:
        return self.sizes
