"""``Cell``: one actor inside a worker: its mailbox, its incarnation and what is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import IntEnum
from typing import Any

import msgspec

from gristmill.behaviours.actor import Actor
from gristmill.behaviours.context import Context
from gristmill.behaviours.protocol import Handler
from gristmill.facets.specs import Durable
from gristmill.messages import Message
from gristmill.metrics import TypeStats
from gristmill.ref import Address, Mailbox
from gristmill.transport.control import ActorSpec
from gristmill.transport.credit import lot

CONTINUE = -1
"""The kind of a message that an actor has put in front of its own mailbox."""
TIMER = -2
"""The kind of a message to oneself that was due."""
STOP = -3
"""The kind of the entry that marks where an ordered stop stands."""


class Entry(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A message in a mailbox."""

    kind: int
    """``TELL``, ``ASK`` or ``EVENT``; below 0 it belongs to the incarnation."""
    source: int
    """The process that sent it; 0 when no credit is owed for it."""
    sender: int | str
    """The key of the actor that sent it, or 0; of an at-least-once message its name, or ""."""
    number: int
    """The request's number, or that of an at-least-once message, or 0."""
    deadline: float
    """Monotonic seconds after which nobody waits; 0 for none."""
    body: bytes
    message: Message | None
    """The message itself where it never was on a wire (timers)."""
    arrived: int
    """When it came in, perf_counter ns."""
    paid: bool = False
    """Whether its place in the mailbox has been given back already (it was postponed)."""


class State(IntEnum):
    """Where an actor's life stands."""

    HELD = 0
    """No incarnation; the mailbox keeps what comes for the next one."""
    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    """Will end when it has handled what was there before the stop."""


class Cell:
    """One actor. Its fields belong to the worker's core."""

    __slots__ = (
        "acknowledged", "actor", "attempts", "blocked", "busy", "context", "credit_lot", "current",
        "decode", "deferred", "durable", "effects", "handlers", "incarnation", "inserted", "key",
        "label", "mailbox", "marks", "owed", "path", "postponed", "queue", "scheduled", "spec",
        "state", "stats", "stop_reason", "task", "timers",
    )  # fmt: skip

    def __init__(self, key: int) -> None:
        self.key = key
        self.incarnation = 0
        self.path = ""
        self.label = f"#{key}"
        self.spec: ActorSpec | None = None
        self.mailbox = Mailbox()
        self.credit_lot = lot(self.mailbox.capacity)
        """Places that are given back together."""
        self.state = State.HELD
        self.actor: Actor | None = None
        self.context: Context | None = None
        self.handlers: dict[type[Message], Handler] = {}
        self.decode: Any = None
        self.stats: dict[type, TypeStats] = {}
        self.queue: deque[Entry] = deque()
        self.inserted = 0
        """Entries that the handler in progress has put in front of the mailbox."""
        self.postponed: list[Entry] = []
        """Messages that wait for the actor to want them."""
        self.deferred: dict[tuple[int, int], Entry] = {}
        """Requests whose handlers have finished and whose replies are still to come."""
        self.scheduled = False
        self.busy = False
        """An async handler is under way, or a send waits for credit."""
        self.current: Entry | None = None
        self.owed: dict[int, int] = {}
        """Places freed since the last credit, by sending process."""
        self.durable = False
        self.marks: dict[str, int] = {}
        """The highest at-least-once number handled, by sending process's name."""
        self.acknowledged: dict[int, int] = {}
        """The highest at-least-once number to acknowledge after the burst, by sending process."""
        self.effects: list[tuple[Any, ...]] = []
        """What the handler in progress wants to happen when it has finished."""
        self.blocked: deque[tuple[Address, bytes]] = deque()
        """Sends that wait for credit."""
        self.attempts: dict[tuple[int, int], int] = {}
        """How often an at-least-once message has crashed this actor."""
        self.task: asyncio.Task[None] | None = None
        self.timers: set[Any] = set()
        self.stop_reason: Any = None

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
        self.effects = []
        self.durable = any(isinstance(facet, Durable) for facet in spec.facets)
        self.stop_reason = None

    @property
    def type_name(self) -> str:
        """The actor class's name, as reports show it."""
        return self.spec.type.rpartition(":")[2] if self.spec else "?"
