"""Durable accounts that refuse after they have persisted; workers import this module."""

from __future__ import annotations

from gristmill import (
    Actor,
    Command,
    Context,
    Durable,
    Event,
    GenStateMachine,
    Idempotency,
    Ref,
    Reject,
    Request,
    handles,
    on,
)
from gristmill.errors import UsageError
from gristmill.facets.transitions import TransitionTable
from support.actors import append_line


class Deposited(Event):
    """It was paid in."""

    cents: int


class Deposit(Request[int]):
    """Pay in; answered by the balance."""

    cents: int
    refuse: str = ""
    """Refuse after all: ``now`` or behind an ``await``."""


class DepositTold(Command):
    """Pay in; a negative sum is refused after all."""

    cents: int


class DepositOnce(Request[int]):
    """Pay in under an idempotency key, and refuse after all."""

    key: str
    cents: int


class DepositAndLeave(Request[int]):
    """Pay in, ask to stop, and refuse."""

    cents: int


class PayWhenCancelled(Request[int]):
    """Wait for ever; pay in when nobody wants to know any more."""

    cents: int
    log: str


class Balance(Request[int]):
    """How much is there?"""


class Postponing(Request[int]):
    """Pay in, and postpone it."""

    cents: int


class Heard(Command):
    """Somebody pays in."""

    cents: int


class Teller(Actor):
    """Pays in first and thinks afterwards; tells a listener what it does."""

    facets = (Durable(), Idempotency())

    def __init__(self, listener: Ref[Listener] | None = None) -> None:
        self.listener = listener
        self.cents = 0

    def apply(self, event: Deposited) -> None:
        self.cents += event.cents

    def _deposit(self, cents: int, ctx: Context) -> None:
        ctx.persist(Deposited(cents))
        if self.listener is not None:
            self.listener.tell(Heard(cents))

    @handles
    async def deposit(self, msg: Deposit, ctx: Context) -> int:
        self._deposit(msg.cents, ctx)
        if msg.refuse == "later":
            await ctx.sleep(0.001)
        if msg.refuse:
            raise Reject("after all", code=msg.refuse)
        return self.cents

    @handles
    def deposit_told(self, msg: DepositTold, ctx: Context) -> None:
        self._deposit(msg.cents, ctx)
        if msg.cents < 0:
            raise Reject("after all")

    @handles
    def deposit_once(self, msg: DepositOnce, ctx: Context) -> int:
        keys = ctx.facets.idempotency
        keys.claim(msg.key, msg)
        keys.complete(msg.key, b"")
        raise Reject("after all")

    @handles
    def deposit_and_leave(self, msg: DepositAndLeave, ctx: Context) -> int:
        self._deposit(msg.cents, ctx)
        ctx.stop()
        raise Reject("after all")

    @handles
    async def pay_when_cancelled(self, msg: PayWhenCancelled, ctx: Context) -> int:
        append_line(msg.log, "begun")
        try:
            await ctx.sleep(3600.0)
        finally:
            try:
                self._deposit(msg.cents, ctx)
            except UsageError as error:
                append_line(msg.log, str(error))
        return self.cents

    @handles
    def postponing(self, msg: Postponing, ctx: Context) -> int:
        self._deposit(msg.cents, ctx)
        ctx.postpone()

    @handles
    def balance(self, msg: Balance) -> int:
        return self.cents


class Listener(Actor):
    """Adds up what it hears of."""

    def __init__(self) -> None:
        self.cents = 0

    @handles
    def heard(self, msg: Heard) -> None:
        self.cents += msg.cents

    @handles
    def balance(self, msg: Balance) -> int:
        return self.cents


class Box(GenStateMachine):
    """A machine whose transitions can be refused."""

    facets = (Durable(),)
    table = TransitionTable({"shut": {"open": "open"}, "open": {"close": "shut"}}, initial="shut")

    def __init__(self) -> None:
        self.cents = 0

    def apply(self, event: Deposited) -> None:
        self.cents += event.cents

    @on("shut")
    def deposit(self, msg: Deposit, ctx: Context) -> int:
        ctx.persist(Deposited(msg.cents))
        if msg.refuse:
            self.fire(msg.refuse)
        return self.cents

    @on("shut", "open")
    def balance(self, msg: Balance) -> int:
        return self.cents
