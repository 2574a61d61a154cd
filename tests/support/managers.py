"""Event managers of the conformance tests; workers import this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gristmill import (
    Actor,
    Command,
    Context,
    Event,
    EventHandler,
    GenEvent,
    GenServer,
    Ref,
    Request,
    handles,
)
from gristmill.behaviours.gen_event import (
    REMOVE,
    HandlerLeft,
    Removal,
    Remove,
    SwapHandler,
    add_handler,
)
from gristmill.supervision import describe


class Rang(Event):
    """A bell rang."""

    number: int


class Knock(Command):
    """A plain message to the manager."""

    text: str


class Ignored(Command):
    """Another one, that only some handlers know."""


class Log(Request[list[str]]):
    """What have the handlers seen?"""


class Act(Request[None]):
    """Add a supervised handler, or swap one."""

    manager: Ref[Any]
    how: str
    id: str
    other: str = ""


class Leave(Command):
    """Stop."""


class Crash(Command):
    """Crash."""


class Recorder(EventHandler):
    """Records in the manager's log what it sees; does as its arguments say."""

    def __init__(self, name: str, how: str = "", gate: str = "") -> None:
        self.name = name
        self.how = how
        self.gate = gate
        self.seen: list[int] = []

    def init(self, previous: Any, ctx: Context) -> None:
        if self.how == "bad init":
            raise OSError("no disk")
        if previous is not None:
            LOG.append(f"{self.name} got {previous}")

    def handle_event(self, event: Rang, ctx: Context) -> Remove | None:
        while self.gate and not Path(self.gate).exists():
            pass
        LOG.append(f"{self.name} {event.number}")
        self.seen.append(event.number)
        match self.how:
            case "raise":
                raise RuntimeError("as told")
            case "junk":
                return 17  # type: ignore[return-value]  # what is tested
            case "leave":
                return REMOVE
        return None

    def handle_call(self, request: Any, ctx: Context) -> Any:
        if request == "raise":
            raise KeyError(request)
        return [request, *self.seen]

    def terminate(self, removal: Removal, ctx: Context) -> Any:
        why = removal.error.type if removal.error is not None else ""
        if removal.reason is not None:
            why = describe(removal.reason)
        LOG.append(f"{self.name} {removal.cause}" + (f" {why}" if why else ""))
        if self.how == "bad end":
            raise RuntimeError("can't end")
        return f"seen by {self.name}: {self.seen}"


class Listener(Recorder):
    def handle_info(self, message: Command, ctx: Context) -> Remove | None:
        if isinstance(message, Knock):
            LOG.append(f"{self.name} {message.text}")
            if message.text == "raise":
                raise RuntimeError("as told")
        return None


LOG: list[str] = []


class Manager(GenEvent):
    events = (Rang,)
    infos = (Knock, Ignored)

    def on_start(self, ctx: Context) -> None:
        LOG.clear()

    @handles
    def get_log(self, msg: Log) -> list[str]:
        log = list(LOG)
        LOG.clear()
        return log


class Survivor(Manager):
    """Gives the log of a manager that has ended on the same worker."""

    def on_start(self, ctx: Context) -> None:
        """Keep the log."""


class Starter(Actor):
    """Adds a supervised handler whenever it starts."""

    def __init__(self, manager: Ref[Any]) -> None:
        self.manager = manager

    async def on_start(self, ctx: Context) -> None:
        name = ctx.new_id()
        await ctx.ask(self.manager, add_handler(name, Recorder, name, supervised=True))


class Adder(GenServer):
    """Adds supervised handlers, and notes how they leave."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @handles
    async def act(self, msg: Act, ctx: Context) -> None:
        new = add_handler(msg.other or msg.id, Recorder, msg.other or msg.id, supervised=True)
        match msg.how:
            case "add":
                await ctx.ask(msg.manager, new)
            case "swap":
                plain = add_handler(msg.other, Recorder, msg.other)
                await ctx.ask(msg.manager, SwapHandler(msg.id, plain))
            case "take over":
                await ctx.ask(msg.manager, SwapHandler(msg.id, new))

    @handles
    def left(self, msg: HandlerLeft) -> None:
        why = msg.removal.error.type if msg.removal.error is not None else ""
        if msg.removal.reason is not None:
            why = describe(msg.removal.reason)
        self.log.append(f"{msg.id} {msg.removal.cause}" + (f" {why}" if why else ""))

    @handles
    def leave(self, msg: Leave, ctx: Context) -> None:
        ctx.stop()

    @handles
    def crash(self, msg: Crash) -> None:
        raise ValueError("as told")

    @handles
    def get_log(self, msg: Log) -> list[str]:
        return self.log
