"""Actors of the behaviours' tests; workers import this module."""

from __future__ import annotations

import threading
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from gristmill import (
    Actor,
    Command,
    Context,
    Event,
    EventHandler,
    GenEvent,
    GenServer,
    GenStateMachine,
    Ref,
    Request,
    handles,
    on,
)
from gristmill.behaviours.gen_event import REMOVE, Removal, Remove
from gristmill.errors import UsageError
from gristmill.facets.transitions import TransitionTable
from gristmill.supervision import Shutdown
from gristmill_orders.states import TABLE, OrderState


class GetLog(Request[list[str]]):
    """What has happened?"""


# --- GenServer ---


class StopWith(Request[str]):
    """Answer and end."""


class Hang(Request[int]):
    """Never answer."""


class Burst(Command):
    """Crash."""


class Server(GenServer):
    @handles
    def stop_with(self, msg: StopWith, ctx: Context) -> str:
        ctx.stop(Shutdown("done"))
        return "bye"

    @handles
    async def hang(self, msg: Hang, ctx: Context) -> int:
        await ctx.sleep(3600)
        return 0

    @handles
    def burst(self, msg: Burst) -> None:
        raise ValueError("burst")

    @handles
    def get_log(self, msg: GetLog) -> list[str]:
        return []


# --- GenEvent ---


class Rang(Event):
    """A bell rang."""

    times: int


class Broke(Event):
    """Something broke."""


class Tail(Request[str]):
    """Of the hybrid: what came last?"""


LOG: list[str] = []
"""What the handlers of this worker have seen."""


class Recorder(EventHandler):
    def __init__(self, name: str = "recorder") -> None:
        self.name = name
        self.seen: list[int] = []

    def init(self, previous: Any, ctx: Context) -> None:
        if self.name == "unable":
            raise OSError("no")
        self.seen = list(previous or [])

    def handle_event(self, event: Rang | Broke, ctx: Context) -> Remove | None:
        if isinstance(event, Broke):
            LOG.append(f"{self.name} broke")
            return None
        LOG.append(f"{self.name} {event.times}")
        self.seen.append(event.times)
        return REMOVE if event.times == 99 else None

    def handle_call(self, request: Any, ctx: Context) -> Any:
        if request == "raise":
            raise KeyError(request)
        return self.seen

    def terminate(self, removal: Removal, ctx: Context) -> Any:
        error = f" {removal.error.type}" if removal.error is not None else ""
        LOG.append(f"{self.name} {removal.cause}{error}")
        return self.seen


class Manager(GenEvent):
    handlers: ClassVar = {"first": Recorder, "second": lambda: Recorder("second")}
    events = (Rang, Broke)

    @handles
    def get_log(self, msg: GetLog) -> list[str]:
        log = list(LOG)
        LOG.clear()
        return log


class Hybrid(GenServer, GenEvent):
    handlers: ClassVar = {"recorder": Recorder}
    channels = ("bells",)

    @handles
    def tail(self, msg: Tail, ctx: Context) -> str:
        return LOG[-1] if LOG else ""


# --- GenStateMachine ---


class Lamp(StrEnum):
    OFF = "off"
    ON = "on"
    BROKEN = "broken"


class Press(Command):
    """Change."""


class Smash(Request[str]):
    """Break; answered by the state in which it began."""


class Mend(Request[None]):
    """Not in the table."""


class GetState(Request[str]):
    """Which state?"""


class LampMachine(GenStateMachine):
    table = TransitionTable(
        {
            Lamp.OFF: {"press": Lamp.ON, "smash": Lamp.BROKEN},
            Lamp.ON: {"press": Lamp.OFF, "smash": Lamp.BROKEN},
        },
        initial=Lamp.OFF,
        terminal={Lamp.BROKEN},
    )

    def __init__(self) -> None:
        self.log: list[str] = []

    def on_enter(self, old: Lamp, ctx: Context) -> None:
        self.log.append(f"{old}>{self.state}")

    @on(Lamp.OFF, Lamp.ON)
    def press(self, msg: Press) -> None:
        self.fire("press")

    @on(Lamp.OFF, Lamp.ON)
    async def smash(self, msg: Smash, ctx: Context) -> str:
        self.become(Lamp.BROKEN)
        await ctx.sleep(0)
        return str(self.state)

    @handles
    def mend(self, msg: Mend) -> None:
        self.log.append("mending")
        self.become(Lamp.OFF if self.state is Lamp.BROKEN else Lamp.BROKEN)
        self.become(Lamp.ON)

    @handles
    def get_state(self, msg: GetState) -> str:
        return str(self.state)

    @handles
    def get_log(self, msg: GetLog) -> list[str]:
        return self.log


class Advance(Request[None]):
    """The next event of an order."""

    event: str


class OrderMachine(GenStateMachine):
    """The order application's table as a machine of its own."""

    table = TABLE

    @on(*OrderState)
    def advance(self, msg: Advance) -> None:
        self.fire(msg.event)

    @handles
    def get_state(self, msg: GetState) -> str:
        return str(self.state)


# --- channels ---


class Tick(Event):
    """A number on a channel."""

    source: str
    number: int


class Ignored(Event):
    """Nobody wants this."""


class Publish(Command):
    """Publish so many ticks."""

    channel: str
    source: str
    count: int


class Seen(Request[list[tuple[str, int]]]):
    """Which ticks have come?"""


class Gate(Request[int]):
    """Hold the mailbox until the file is there; give what came before."""

    path: str


class Publisher(Actor):
    @handles
    def publish(self, msg: Publish, ctx: Context) -> None:
        for number in range(1, msg.count + 1):
            ctx.publish(msg.channel, Tick(msg.source, number), key=str(number))
        ctx.publish(msg.channel, Ignored())


class Follower(Actor):
    channels = ("ticks",)

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    @handles
    def tick(self, msg: Tick) -> None:
        self.seen.append((msg.source, msg.number))

    @handles
    async def gate(self, msg: Gate, ctx: Context) -> int:
        Path(f"{msg.path}.held").touch()
        while not Path(msg.path).exists():
            await ctx.sleep(0.005)
        return len(self.seen)

    @handles
    def get_seen(self, msg: Seen) -> list[tuple[str, int]]:
        return self.seen


# --- in one process ---


class Thread(Request[int]):
    """In which thread does the handler run?"""


class Ask(Request[int]):
    """Ask another actor for its thread."""

    to: Ref[Any]


class UseClient(Request[str]):
    """Use the client's own ref, which it should not."""


CLIENT_REFS: list[Ref[Any]] = []


class Inspector(Actor):
    def __init__(self) -> None:
        self.count = 0

    @handles
    def thread(self, msg: Thread) -> int:
        self.count += 1
        return threading.get_ident()

    @handles
    async def ask(self, msg: Ask, ctx: Context) -> int:
        return await ctx.ask(msg.to, Thread())

    @handles
    def use_client(self, msg: UseClient) -> str:
        try:
            CLIENT_REFS[0].ask(Thread())
        except UsageError as error:
            return str(error)
        return ""


def double(number: int) -> int:
    """Double a number."""
    return 2 * number
