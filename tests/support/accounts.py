"""Durable accounts; workers import this module."""

from __future__ import annotations

import gc
from typing import Any

import msgspec

from gristmill import Actor, Command, Context, Durable, Idempotency, Request, handles
from gristmill.durability.writer import SqliteStore
from gristmill.facets import Replay


class Deposit(Command):
    """Pay in."""

    cents: int


class DepositOnce(Request[int]):
    """Pay in, once a key."""

    key: str
    cents: int


class Balance(Request[int]):
    """How much is there?"""


class Replayed(Request[tuple[int, int]]):
    """How many snapshots and events did the start take?"""


class FsyncEachCommit(Request[list[tuple[str, int]]]):
    """Which journal mode and synchronous setting has what writes the journal?"""


class Deposited(Command):
    """It was paid in."""

    cents: int


class State(msgspec.Struct, frozen=True):
    """An account as its snapshots keep it."""

    cents: int


def _pragma(store: SqliteStore, name: str) -> Any:
    return store._database.execute(f"PRAGMA {name}").fetchone()[0]


class Plain(Actor):
    """An account without snapshots."""

    facets = (Durable(),)

    def __init__(self) -> None:
        self.cents = self.snapshots = self.events = 0

    @handles
    def deposit(self, msg: Deposit, ctx: Context) -> None:
        ctx.persist(Deposited(msg.cents))

    @handles
    def balance(self, msg: Balance) -> int:
        return self.cents

    @handles
    def replayed(self, msg: Replayed) -> tuple[int, int]:
        return self.snapshots, self.events

    @handles
    def fsync(self, msg: FsyncEachCommit) -> list[tuple[str, int]]:
        stores = [each for each in gc.get_objects() if isinstance(each, SqliteStore)]
        return [(_pragma(each, "journal_mode"), _pragma(each, "synchronous")) for each in stores]

    def apply(self, event: Deposited) -> None:
        self.cents += event.cents
        self.events += 1


class Account(Plain):
    """An account with snapshots."""

    facets = (Durable(snapshot_every=10), Idempotency())

    @handles
    def deposit_once(self, msg: DepositOnce, ctx: Context) -> int:
        keys = ctx.facets.idempotency
        claim = keys.claim(msg.key, msg)
        if isinstance(claim, Replay):
            return msgspec.msgpack.decode(claim.outcome, type=int)
        ctx.persist(Deposited(msg.cents))
        keys.complete(msg.key, msgspec.msgpack.encode(self.cents))
        return self.cents

    def snapshot(self) -> State:
        return State(self.cents)

    def restore(self, state: State) -> None:
        self.cents = state.cents
        self.snapshots += 1
        self.events = 0


class Moody(Account):
    """Gives no snapshot."""

    def snapshot(self) -> State:
        raise ValueError("not today")
