"""Actors whose handlers are cut off, and what they want meanwhile; for simulations."""

from __future__ import annotations

from typing import Any, ClassVar

from gristmill import (
    DEFERRED,
    Actor,
    ActorDied,
    Command,
    Context,
    Durable,
    Event,
    Mailbox,
    OverflowPolicy,
    Ref,
    Reminders,
    Request,
    handles,
)
from support.simulated import Ping


class Added(Event):
    """A number was added."""

    number: int


class Add(Command):
    """Add a number, wait, and raise if ``fails``."""

    number: int
    fails: bool = False


class Poke(Command):
    """Do nothing."""


class Numbers(Request[list[int]]):
    """Which numbers were added?"""


class Durably(Actor):
    """Adds numbers, and waits before its handler is done."""

    facets = (Durable(),)
    mailbox = Mailbox(capacity=2, overflow=OverflowPolicy.DROP_OLDEST)

    def __init__(self, linked: Ref[Any] | None = None) -> None:
        self.linked = linked
        self.numbers: list[int] = []

    def on_start(self, ctx: Context) -> None:
        if self.linked is not None:
            ctx.link(self.linked)

    def apply(self, event: Added) -> None:
        self.numbers.append(event.number)

    @handles
    async def add(self, msg: Add, ctx: Context) -> None:
        ctx.persist(Added(msg.number))
        await ctx.sleep(2.0)
        if msg.fails:
            raise ValueError("too late")

    @handles
    def poke(self, msg: Poke) -> None:
        pass

    @handles
    def all(self, msg: Numbers) -> list[int]:
        return self.numbers


class FailsOnce(Durably):
    """Adds the number 1 at the second attempt."""

    attempts: ClassVar[list[int]] = []

    @handles
    async def add(self, msg: Add, ctx: Context) -> None:
        self.attempts.append(msg.number)
        await ctx.sleep(2.0)
        if self.attempts == [1]:
            raise ValueError("once")
        ctx.persist(Added(msg.number))


class Passing(Actor):
    """Tells somebody else what it is told: numbers at least once."""

    def __init__(self, to: Ref[Any]) -> None:
        self.to = to

    @handles
    def add(self, msg: Add) -> None:
        self.to.tell(msg, delivery="at_least_once")

    @handles
    def poke(self, msg: Poke) -> None:
        self.to.tell(msg)


class Boom(Command):
    """Crash."""


class Crasher(Actor):
    """Crashes."""

    @handles
    def boom(self, msg: Boom) -> None:
        raise ValueError("boom")

    @handles
    def ping(self, msg: Ping) -> int:
        return 0


class Wait(Command):
    """Wait until somebody ends you."""


class Tick(Command, internal=True):
    """A timer of an incarnation has fired."""

    born: float


class Ticking(Actor):
    """Arms a timer, goes on and tells when its handler is cut off."""

    seen: ClassVar[list[tuple[float, float]]] = []

    def __init__(self, linked: Ref[Any]) -> None:
        self.linked = linked
        self.born = 0.0

    def on_start(self, ctx: Context) -> None:
        ctx.link(self.linked)
        self.born = ctx.now()

    @handles
    async def wait(self, msg: Wait, ctx: Context) -> None:
        try:
            await ctx.sleep(100.0)
        finally:
            ctx.send_after(3.0, Tick(self.born))
            ctx.continue_with(Tick(self.born))
            ctx.idle_timeout(1.0, Tick(self.born))
            ctx.stop()

    @handles
    def tick(self, msg: Tick) -> None:
        self.seen.append((msg.born, self.born))

    @handles
    def ping(self, msg: Ping) -> int:
        return 1


class Touch(Command):
    """Arm an idle timeout, or just be something else."""

    arm: bool


class Expired(Command, internal=True):
    """Nobody came."""


class Touched(Request[list[str]]):
    """What came?"""


class Idle(Actor):
    """Notes what comes."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @handles
    def touch(self, msg: Touch, ctx: Context) -> None:
        self.seen.append("touched")
        if msg.arm:
            ctx.idle_timeout(1.0, Expired())

    @handles
    def expired(self, msg: Expired) -> None:
        self.seen.append("expired")

    @handles
    def all(self, msg: Touched) -> list[str]:
        return self.seen


class Later(Request[int]):
    """Answer after half a minute, without anything in hand meanwhile."""

    number: int


class AskAll(Command):
    """Ask a pool by its name."""

    pool: str
    count: int


class Due(Command, internal=True):
    """An answer is due."""

    number: int


class Deferring(Actor):
    """Answers later."""

    def __init__(self) -> None:
        self.open: dict[int, Any] = {}

    @handles
    def later(self, msg: Later, ctx: Context) -> Any:
        self.open[msg.number] = ctx.defer_reply()
        ctx.send_after(30.0, Due(msg.number))
        return DEFERRED

    @handles
    def due(self, msg: Due) -> None:
        self.open.pop(msg.number)(msg.number)


class Asking(Actor):
    """Asks a pool, and keeps what comes of it."""

    def __init__(self) -> None:
        self.replies: list[str] = []

    @handles
    async def ask(self, msg: AskAll, ctx: Context) -> None:
        pool = ctx.lookup_pool(msg.pool)
        assert pool is not None
        asked = [ctx.request(pool, Later(number)) for number in range(msg.count)]
        for each in asked:
            try:
                self.replies.append(str(await each.result(timeout=100.0)))
            except ActorDied as error:
                self.replies.append(repr(error))

    @handles
    def all(self, msg: Touched) -> list[str]:
        return self.replies


class Remind(Command):
    """Set a reminder."""


class Reminded(Command):
    """It is due."""


class Reminding(Actor):
    """A keyed actor with reminders."""

    facets = (Durable(), Reminders())

    @handles
    def remind(self, msg: Remind, ctx: Context) -> None:
        ctx.facets.reminders.set("r", 5.0, Reminded())

    @handles
    def reminded(self, msg: Reminded) -> None:
        pass

    @handles
    def boom(self, msg: Boom) -> None:
        raise ValueError("boom")
