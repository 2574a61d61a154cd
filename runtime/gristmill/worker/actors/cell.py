"""``Cell``: one actor inside a worker: its mailbox, its incarnation and what is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, NoReturn

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import Context
from gristmill.behaviours.protocol import Handler
from gristmill.death import Suspect
from gristmill.facets.specs import Durable
from gristmill.messages import Message
from gristmill.metrics import TypeStats
from gristmill.ref import KEYED, Address, Mailbox
from gristmill.supervision import FailureHistory
from gristmill.transport.control import ActorSpec
from gristmill.transport.credit import lot
from gristmill.worker.actors.history import History

CONTINUE = -1
"""The kind of a message that an actor has put in front of its own mailbox."""
TIMER = -2
"""The kind of a message to oneself that was due."""
STOP = -3
"""The kind of the entry that marks where an ordered stop stands."""
SIGNAL = -4
"""The kind of a message about the end of another actor."""
INSPECTION = -5
"""The kind of an inspection, which keeps its place among the messages."""
RECORD = -6
"""The kind of an event from a broker; one that was not handled comes from there again."""
REMINDER = -7
"""The kind of a reminder that was due."""


class Entry(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A message in a mailbox."""

    kind: int
    """``TELL``, ``ASK`` or ``EVENT``; below 0 it belongs to the incarnation."""
    source: int
    """The process that sent it; 0 for a channel's event, and for what is the actor's own."""
    sender: int | str | list[Any]
    """The key of the actor that sent it, or 0; of an at-least-once message its name, or ""; of an
    ask that an actor waits for, the chain of those who wait; see
    :mod:`~gristmill.worker.messaging.cycles`."""
    number: int
    """The request's number, or that of an at-least-once message, or 0."""
    deadline: float
    """Monotonic seconds after which nobody waits; 0 for none."""
    body: bytes
    message: Message | None
    """The message itself where it never was on a wire (timers)."""
    arrived: int
    """When it came in, perf_counter ns."""
    holds_place: bool = False
    """Whether its sender gets a place in the mailbox back when it has been handled."""


class State(IntEnum):
    """Where an actor's life stands."""

    HELD = 0
    """No incarnation; the mailbox keeps what comes for the next one."""
    STARTING = 1
    SUSPENDED = 2
    """Takes nothing but inspections; its mailbox keeps the rest."""
    PAUSED = 3
    """Takes nothing; its worker is about to be replaced."""
    RUNNING = 4
    STOPPING = 5
    """Will end when it has handled what was there before the stop."""


_MOVING = (State.STARTING, State.STOPPING)
_ANY_MAILBOX = Mailbox()
_NO_PLANS: Mapping[bytes, Any] = {}


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("nothing can be put into what all idle cells share; see Cell.own")


class _NoList(list[Any]):
    append = extend = insert = _refuse


class _NoDict(dict[Any, Any]):
    __setitem__ = _refuse
    setdefault: Any = _refuse
    update: Any = _refuse


class _NoSet(set[Any]):
    add = update = _refuse


class _NoDeque(deque[Any]):
    append = appendleft = extend = extendleft = insert = _refuse


_CONTAINERS: dict[str, Callable[[], Any]] = {
    "acknowledged": dict, "attempts": dict, "blocked": deque,
    "deferred": dict, "effects": list, "failures": FailureHistory, "handlers": dict,
    "in_hand": list, "marks": dict, "owed": dict, "postponed": list, "queue": deque,
    "stats": dict, "timers": set,
}  # fmt: skip
_EMPTY: dict[Callable[[], Any], Any] = {
    deque: _NoDeque(), dict: _NoDict(), list: _NoList(), set: _NoSet(), FailureHistory: None,
}  # fmt: skip
_SHARED = {name: _EMPTY[kind] for name, kind in _CONTAINERS.items()}
"""What all cells have as long as they have nothing of their own in it."""


class Cell:
    """One actor. Its fields belong to the worker's core.

    An idle actor needs none of its containers, so all idle ones share empty ones. Whoever puts
    something into one asks for it with :meth:`own`.
    """

    __slots__ = (
        "acknowledged", "actor", "asked_ns", "attempts", "awaited", "blocked", "busy", "context",
        "credit_lot", "current", "decode", "deferred", "durable", "effects", "failures",
        "given_up", "handlers", "history", "in_hand", "incarnation", "inserted", "key", "label",
        "mailbox", "marks", "owed", "path", "plans", "postponed", "queue", "scheduled", "spec",
        "state", "stats", "stop_reason", "task", "timers",
    )  # fmt: skip

    handlers: dict[type[Message], Handler]
    stats: dict[type, TypeStats]
    queue: deque[Entry]
    postponed: list[Entry]
    """Messages that wait for the actor to want them."""
    in_hand: list[Entry]
    """The messages of the batch in hand; then there is no current one."""
    deferred: dict[tuple[int, int], Entry]
    """Requests whose handlers have finished and whose replies are still to come."""
    owed: dict[int, int]
    """Places freed since the last credit, by sending process."""
    marks: dict[str, int]
    """The highest at-least-once number handled, by sending process's name."""
    acknowledged: dict[int, int]
    """The highest at-least-once number to acknowledge after the burst, by sending process."""
    effects: list[tuple[Any, ...]]
    """What the handler in progress wants to happen when it has finished."""
    failures: FailureHistory | None
    """What its class's ``on_failure`` has decided up to now, over its incarnations."""
    blocked: deque[tuple[Address, bytes]]
    """Sends that wait for credit."""
    attempts: dict[tuple[int, int], Suspect]
    """The at-least-once messages that this actor has ended with, by sender and number."""
    timers: set[Any]

    def __init__(self, key: int) -> None:
        for name, shared in _SHARED.items():
            setattr(self, name, shared)
        self.key = key
        self.incarnation = 0
        self.path = ""
        self.label = f"#{key}"
        self.spec: ActorSpec | None = None
        self.mailbox = _ANY_MAILBOX
        self.credit_lot = lot(self.mailbox.capacity)
        """Places that are given back together."""
        self.state = State.HELD
        self.actor: Actor | None = None
        self.context: Context | None = None
        self.decode: Any = None
        self.plans: Mapping[bytes, Any] = _NO_PLANS
        """How messages are batched, by the head of their bodies; empty if none is."""
        self.inserted = 0
        """Entries that the handler in progress has put in front of the mailbox."""
        self.scheduled = False
        self.busy = False
        """An async handler is under way, or a send waits for credit."""
        self.current: Entry | None = None
        self.given_up: Entry | None = None
        """The message in hand if its asker has taken it back."""
        self.awaited: tuple[Address, ...] = ()
        """The actors whose replies its handler waits for now."""
        self.durable = False
        self.history: History | None = None
        """Its journal, if it is durable."""
        self.task: asyncio.Task[None] | None = None
        self.asked_ns = 0
        """How long the handler in progress has waited for answers."""
        self.stop_reason: Any = None

    def own(self, name: str) -> Any:  # noqa: ANN401 - each container has another type
        """Give a container of this actor's own, to put something into."""
        found = getattr(self, name)
        if found is _SHARED[name]:
            found = _CONTAINERS[name]()
            setattr(self, name, found)
        return found

    @property
    def at_rest(self) -> bool:
        """Whether nothing of it is under way: no handler, no start, no stop, no deferred reply."""
        return not (self.busy or self.task or self.state in _MOVING or self.deferred)

    @property
    def is_occupied(self) -> bool:
        """Whether it has something in hand: a handler waits, or an asker waits for it."""
        return self.busy or bool(self.deferred or self.postponed)

    @property
    def has_ended(self) -> bool:
        """Whether there is no incarnation, not even one that is being made."""
        return self.actor is None and self.state is State.HELD

    def take_owed(self) -> dict[int, int]:
        """Give the places freed since the last credit, by sending process, and owe them no more."""
        owed, self.owed = self.owed, _SHARED["owed"]
        return {source: places for source, places in owed.items() if places}

    def prepare(self, spec: ActorSpec, path: str, incarnation: int) -> None:
        """Make ready for a new incarnation; the mailbox stays."""
        self.spec = spec
        self.path = path
        self.mailbox = spec.mailbox
        self.credit_lot = lot(spec.mailbox.capacity)
        self.label = spec.name or f"{spec.type.rpartition(':')[2]}#{self.key}"
        self.incarnation = incarnation
        self.state = State.STARTING
        self.inserted = 0
        self.busy = False
        self.current = None
        self.given_up = None
        self.awaited = ()
        self.durable = any(isinstance(facet, Durable) for facet in spec.facets)
        self.stop_reason = None

    def is_at(self, to: Address) -> bool:
        """Tell whether an address is this actor's own."""
        return to.key == self.key or (to.home == KEYED and to.name == self.label)

    @property
    def type(self) -> str:
        """The import path of the actor's class."""
        return self.spec.type if self.spec is not None else ""

    @property
    def type_name(self) -> str:
        """The actor class's name, as reports show it."""
        return self.spec.type.rpartition(":")[2] if self.spec else "?"
