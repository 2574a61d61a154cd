"""Keyed actors of the tests; workers import this module."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from gristmill import Actor, Command, Context, Durable, Mailbox, Request, handles
from gristmill.keyed import KeyedGroup
from gristmill.supervision import ExitReason
from support.actors import append_line


class Where(msgspec.Struct, frozen=True):
    """Who answers."""

    key: str
    worker: str
    pid: int
    incarnation: str


class WhoAreYou(Request[Where]):
    """Where do you live?"""


class Put(Command):
    """Remember a number."""

    number: int


class GetAll(Request[list[int]]):
    """Which numbers do you remember?"""


class Slowly(Request[int]):
    """Answer when the file is there, without holding the worker."""

    gate: str


class Stubborn(Command):
    """Don't come back before the file is there."""

    gate: str


class Boom(Command):
    """Raise."""


class Leave(Command):
    """End by yourself."""


class Late(Actor):
    """Has started when the file is there."""

    mailbox = Mailbox(capacity=2)

    def __init__(self, gate: str) -> None:
        self.gate = gate

    async def on_start(self, ctx: Context) -> None:
        while not Path(self.gate).exists():
            await ctx.sleep(0.002)

    @handles
    def all(self, msg: GetAll) -> list[int]:
        return []


class Account(Actor):
    """Remembers numbers; writes down when it starts and ends."""

    def __init__(self, log: str = "") -> None:
        self.log = log
        self.numbers: list[int] = []
        self.born = ""

    def on_start(self, ctx: Context) -> None:
        self.born = ctx.new_id()
        if ctx.key == "refuses to start":
            raise ValueError("not me")
        if self.log:
            append_line(self.log, f"start {ctx.key} {ctx.worker}")

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        if self.log:
            append_line(self.log, f"end {ctx.key} {ctx.worker} {len(self.numbers)}")

    @handles
    def where(self, msg: WhoAreYou, ctx: Context) -> Where:
        return Where(ctx.key, ctx.worker, os.getpid(), self.born)

    @handles
    def put(self, msg: Put, ctx: Context) -> None:
        self.numbers.append(msg.number)
        if self.log:
            append_line(self.log, f"put {ctx.key} {msg.number}")

    @handles
    def all(self, msg: GetAll) -> list[int]:
        return self.numbers

    @handles
    async def slowly(self, msg: Slowly, ctx: Context) -> int:
        while not Path(msg.gate).exists():
            await ctx.sleep(0.002)
        return len(self.numbers)

    @handles
    async def stubborn(self, msg: Stubborn, ctx: Context) -> None:
        while not Path(msg.gate).exists():
            await ctx.sleep(0.002)

    @handles
    def boom(self, msg: Boom) -> None:
        raise ValueError("boom")

    @handles
    def leave(self, msg: Leave, ctx: Context) -> None:
        ctx.stop()


class Stored(msgspec.Struct, frozen=True, tag=True):
    """A number was stored."""

    number: int


class Savings(Actor):
    """Remembers numbers for ever."""

    facets = (Durable(),)

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def apply(self, event: Stored) -> None:
        self.numbers.append(event.number)

    @handles
    def where(self, msg: WhoAreYou, ctx: Context) -> Where:
        return Where(ctx.key, ctx.worker, os.getpid(), "")

    @handles
    def put(self, msg: Put, ctx: Context) -> None:
        ctx.persist(Stored(msg.number))

    @handles
    def all(self, msg: GetAll) -> list[int]:
        return self.numbers


class Relay(Command):
    """Tell the account of a key numbers."""

    group: KeyedGroup[Any]
    key: str
    first: int
    last: int


class RelayByName(Request[list[int]]):
    """Tell the account of a key a number, then ask it for all."""

    group: str
    key: str
    number: int


class Teller(Actor):
    """Sends to accounts from inside a worker."""

    @handles
    def relay(self, msg: Relay) -> None:
        for number in range(msg.first, msg.last):
            msg.group.tell(msg.key, Put(number))

    @handles
    async def relay_by_name(self, msg: RelayByName, ctx: Context) -> list[int]:
        group = ctx.lookup_keyed(msg.group)
        assert group is not None
        group.tell(msg.key, Put(msg.number))
        return await ctx.ask(group[msg.key], GetAll())
