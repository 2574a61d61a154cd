"""Actors and messages of the tests; workers import this module."""

from __future__ import annotations

import faulthandler
import logging
import os
import secrets
import signal
import time
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from gristmill import (
    Actor,
    Command,
    Context,
    Durable,
    Event,
    Mailbox,
    OverflowPolicy,
    Ref,
    Reject,
    Request,
    handles,
)
from gristmill.behaviours.actor_host import Timer
from gristmill.supervision import ExitReason, describe

GATE_LIMIT = 20.0


def append_line(path: str, text: str) -> None:
    """Write one line where it outlives every process."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


def read_lines(path: Path) -> list[str]:
    """Give the lines written so far."""
    return path.read_text().splitlines() if path.exists() else []


class Quote(msgspec.Struct, frozen=True):
    """A price."""

    sku: str
    cents: int


class GetQuote(Request[Quote]):
    """What does it cost?"""

    sku: str
    quantity: int = 1


class Add(Request[int]):
    """What is the sum?"""

    a: int
    b: int


class Pid(Request[int]):
    """Which process are you in?"""


class Incarnation(Request[str]):
    """Something that differs between incarnations."""


class Nap(Request[int]):
    """Answer after a while, without holding the worker."""

    seconds: float


class Hold(Request[int]):
    """Answer when the file is there, without holding the worker."""

    gate: str


class HoldAgain(Request[int], idempotent=True):
    """Answer when the file is there; another incarnation may do that too."""

    gate: str


class Compute(Request[int]):
    """Answer when the file is there, holding the worker's core."""

    gate: str


class Fail(Request[int]):
    """Raise."""

    text: str


class Crash(Command):
    """Raise."""

    text: str


class Refuse(Request[int]):
    """Refuse."""

    reason: str


class Lie(Request[int]):
    """Answer with something else than an int."""


class Unheard(Request[int]):
    """Nobody handles this."""


class UnheardCommand(Command):
    """Nobody handles this."""


class Blob(Request[int]):
    """How many bytes are these?"""

    data: bytes


class Die(Request[int]):
    """End the worker: ``kill``, ``segv``, or ``exit`` with a status behind it (7)."""

    how: str


class Note(Command):
    """Remember a number."""

    number: int


class Notes(Request[list[int]]):
    """What do you remember?"""


class Say(Request[None]):
    """Print and log."""

    text: str


class Subscribe(Request[None]):
    """Listen to a channel."""

    channel: str


class Leave(Command):
    """Stop yourself."""


class Noted(Event):
    """A number was noted."""

    number: int


class BlockingAsk(Request[int]):
    """Ask with a ref in a synchronous handler."""

    to: Ref[Any]


class AskSelf(Request[int]):
    """Ask yourself."""


class Forward(Request[int]):
    """Ask somebody else for a sum."""

    to: Ref[Any]
    a: int
    b: int


class ForwardWithin(Request[str]):
    """Ask somebody else for a sum, for so many seconds, and say which error came."""

    to: Ref[Any]
    seconds: float


class ForwardHold(Request[str]):
    """Ask somebody else to die, and say which error came."""

    to: Ref[Any]
    how: str


class Pump(Command):
    """Tell somebody numbers from 1 on, with plain tells."""

    to: Ref[Any]
    count: int


class PumpWaiting(Command):
    """Tell somebody numbers from 1 on, waiting for room."""

    to: Ref[Any]
    count: int


def _die(how: str) -> NoReturn:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segv":
        faulthandler._sigsegv()  # type: ignore[attr-defined]  # made for tests, and not in typeshed
    os._exit(int(how.removeprefix("exit") or 7))


def wait_at(gate: str) -> None:
    """Hold the core until the file is there."""
    deadline = time.monotonic() + GATE_LIMIT
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.001)


class Worker(Actor):
    """Does a little of everything, and remembers numbers."""

    def __init__(self, base: int = 0) -> None:
        self.base = base
        self.notes: list[int] = []
        self.life = secrets.token_hex(4)

    @handles
    def quote(self, msg: GetQuote) -> Quote:
        return Quote(msg.sku, 100 * msg.quantity)

    @handles
    def add(self, msg: Add) -> int:
        return self.base + msg.a + msg.b

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()

    @handles
    def incarnation(self, msg: Incarnation) -> str:
        return self.life

    @handles
    async def nap(self, msg: Nap, ctx: Context) -> int:
        await ctx.sleep(msg.seconds)
        return os.getpid()

    @handles
    async def hold(self, msg: Hold, ctx: Context) -> int:
        while not Path(msg.gate).exists():
            await ctx.sleep(0.002)
        return os.getpid()

    @handles
    async def hold_again(self, msg: HoldAgain, ctx: Context) -> int:
        return await self.hold(Hold(msg.gate), ctx)

    @handles
    def compute(self, msg: Compute) -> int:
        wait_at(msg.gate)
        return os.getpid()

    @handles
    def fail(self, msg: Fail) -> int:
        try:
            raise KeyError(msg.text)
        except KeyError as error:
            raise ValueError(msg.text) from error

    @handles
    def crash(self, msg: Crash) -> None:
        raise ValueError(msg.text)

    @handles
    def refuse(self, msg: Refuse) -> int:
        raise Reject(msg.reason, code="too_much")

    @handles
    def lie(self, msg: Lie) -> int:
        answer: Any = "seven"
        return answer  # type: ignore[no-any-return]  # the point of it

    @handles
    def blob(self, msg: Blob) -> int:
        return len(msg.data)

    @handles
    def die(self, msg: Die) -> int:
        _die(msg.how)

    @handles
    def note(self, msg: Note) -> None:
        self.notes.append(msg.number)

    @handles
    def noted(self, msg: Noted) -> None:
        self.notes.append(msg.number)

    @handles
    def all_notes(self, msg: Notes) -> list[int]:
        return self.notes

    @handles
    def say(self, msg: Say, ctx: Context) -> None:
        print(msg.text)
        ctx.log.warning("logged %s", msg.text)
        logging.getLogger("app").error("app %s", msg.text)

    @handles
    def subscribe(self, msg: Subscribe, ctx: Context) -> None:
        ctx.subscribe(msg.channel)

    @handles
    def leave(self, msg: Leave, ctx: Context) -> None:
        ctx.stop()

    @handles
    def blocking(self, msg: BlockingAsk) -> int:
        try:
            return int(msg.to.ask(Add(1, 2)))
        except Exception as error:
            raise Reject(str(error)) from None

    @handles
    async def ask_self(self, msg: AskSelf, ctx: Context) -> int:
        try:
            return await ctx.ask(ctx.ref, Add(1, 2))
        except Exception as error:
            raise Reject(str(error)) from None

    @handles
    async def forward(self, msg: Forward, ctx: Context) -> int:
        return await ctx.ask(msg.to, Add(msg.a, msg.b))

    @handles
    async def forward_within(self, msg: ForwardWithin, ctx: Context) -> str:
        try:
            await ctx.ask(msg.to, Add(1, 2), timeout=msg.seconds)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "answered"

    @handles
    async def forward_hold(self, msg: ForwardHold, ctx: Context) -> str:
        try:
            await ctx.ask(msg.to, Die(msg.how), timeout=None)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "answered"

    @handles
    def pump(self, msg: Pump) -> None:
        for number in range(1, msg.count + 1):
            msg.to.tell(Note(number))

    @handles
    async def pump_waiting(self, msg: PumpWaiting, ctx: Context) -> None:
        for number in range(1, msg.count + 1):
            await ctx.tell(msg.to, Note(number))


class Witness(Actor):
    """Writes its life and its messages into a file."""

    def __init__(self, path: str, label: str = "") -> None:
        self.path = path
        self.label = label

    def on_start(self, ctx: Context) -> None:
        append_line(self.path, f"start {self.label or ctx.name}")

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        append_line(self.path, f"terminate {self.label or ctx.name} {describe(reason)}")

    @handles
    def note(self, msg: Note) -> None:
        append_line(self.path, f"note {msg.number}")

    @handles
    def crash(self, msg: Crash) -> None:
        raise ValueError(msg.text)

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()

    @handles
    def compute(self, msg: Compute) -> int:
        wait_at(msg.gate)
        return os.getpid()

    @handles
    def leave(self, msg: Leave, ctx: Context) -> None:
        ctx.stop()


class Stubborn(Actor):
    """Does not come to an end of its handler."""

    @handles
    def compute(self, msg: Compute) -> int:
        wait_at(msg.gate)
        return 0

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()


class BadStart(Actor):
    """Can't start."""

    def __init__(self, text: str = "no table") -> None:
        raise RuntimeError(text)


class Counted(msgspec.Struct, frozen=True, tag=True):
    """Something was counted."""

    number: int


class Ledger(Actor):
    """A durable list of numbers."""

    facets = (Durable(),)

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.numbers: list[int] = []

    def apply(self, event: Counted) -> None:
        self.numbers.append(event.number)

    @handles
    def note(self, msg: Note, ctx: Context) -> None:
        ctx.persist(Counted(msg.number))

    @handles
    def pump(self, msg: Pump) -> None:
        for number in range(1, msg.count + 1):
            msg.to.tell(Note(number))

    @handles
    def numbers_so_far(self, msg: Notes) -> list[int]:
        return self.numbers

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()

    @handles
    def die(self, msg: Die) -> int:
        _die(msg.how)

    @handles
    def fail(self, msg: Fail, ctx: Context) -> int:
        ctx.persist(Counted(-1))
        raise ValueError(msg.text)


class Poisoned(Actor):
    """Crashes on the number 13, and writes each attempt down."""

    def __init__(self, path: str) -> None:
        self.path = path

    @handles
    def note(self, msg: Note) -> None:
        append_line(self.path, str(msg.number))
        if msg.number == 13:
            raise ValueError("thirteen")

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()


class Narrow(Worker):
    """Has room for 4."""

    mailbox = Mailbox(capacity=4)


class Strict(Worker):
    """Has room for 4, and fails its senders beyond."""

    mailbox = Mailbox(capacity=4, overflow=OverflowPolicy.FAIL)


class Forgetful(Worker):
    """Has room for 4, and drops the oldest beyond."""

    mailbox = Mailbox(capacity=4, overflow=OverflowPolicy.DROP_OLDEST)


class Arm(Request[None]):
    """Send yourself numbers after delays."""

    delays: list[float]


class Disarm(Request[list[bool]]):
    """Arm a timer, cancel it twice; then cancel the ones that have fired."""


class BadDelay(Request[str]):
    """Arm a timer that can't be."""

    delay: float | str


class Alarms(Request[list[float]]):
    """How long after its arming did each timer fire, in seconds?"""


class Ring(Command):
    """A timer has fired."""

    armed: float
    delay: float


class Clock(Actor):
    """Uses timers."""

    def __init__(self) -> None:
        self.fired: list[float] = []
        self.timers: list[Timer] = []

    @handles
    def arm(self, msg: Arm, ctx: Context) -> None:
        self.timers = [ctx.send_after(delay, Ring(ctx.now(), delay)) for delay in msg.delays]

    @handles
    def ring(self, msg: Ring, ctx: Context) -> None:
        self.fired.append(ctx.now() - msg.armed)

    @handles
    def disarm(self, msg: Disarm, ctx: Context) -> list[bool]:
        live = ctx.send_after(60, Ring(ctx.now(), 60))
        return [live.cancel(), live.cancel(), *(timer.cancel() for timer in self.timers)]

    @handles
    def bad(self, msg: BadDelay, ctx: Context) -> str:
        try:
            ctx.send_after(msg.delay, Ring(0.0, 0.0))  # type: ignore[arg-type]  # the point of it
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "armed"

    @handles
    def alarms(self, msg: Alarms) -> list[float]:
        return self.fired

    @handles
    def crash(self, msg: Crash) -> None:
        raise ValueError(msg.text)


class Speaker(Actor):
    """Publishes numbers."""

    @handles
    def pump(self, msg: Pump, ctx: Context) -> None:
        for number in range(1, msg.count + 1):
            ctx.publish("numbers", Noted(number), key="k")


class Listener(Worker):
    """Hears numbers from its start on."""

    channels = ("numbers",)


def square(x: int) -> int:
    """Compute."""
    return x * x


def invert(x: int) -> float:
    """Compute, except for 0."""
    return 1 / x
