"""Worker slots: the places for worker processes, and who goes where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from gristmill.errors import UsageError
from gristmill.transport.control import ControlMessage, PeerInfo

CLIENT = "client"
"""What the client that owns the node is called, and its slot of the journal."""
_RULES = ("any", "io", "dedicated")


class SlotState(Enum):
    """What stands in a slot."""

    BOOTING = auto()
    READY = auto()
    ENDED = auto()


@dataclass(slots=True, eq=False)
class Slot:
    """A place for a worker; its name and address outlive the processes in it."""

    address: int
    name: str
    shared: bool
    """Whether actors without a wish of their own may go here."""
    cpu: int = -1
    incarnation: int = 0
    """Of the worker that stands in it."""
    issued: int = 0
    """The last incarnation that was begun."""
    state: SlotState = SlotState.BOOTING
    pid: int = 0
    identity: bytes = b""
    peer: PeerInfo | None = None
    keys: set[int] = field(default_factory=set)
    """The actors that live here."""
    waiting: list[ControlMessage] = field(default_factory=list)
    """What to tell the worker once it is ready."""
    draining: bool = False
    """It is to be given up when its actors have moved."""
    leaving: bool = False
    """Its worker was told to exit, and nobody comes after it."""
    successor: Slot | None = None
    """The worker that is about to take its worker's place."""
    former: Slot | None = None
    """The worker that stood here before, while it passes on what still comes to it."""
    verdict: str = ""
    """Why the supervisor process is killing its worker; empty if it is not."""
    collateral: bool = False
    """Its actors do nothing wrong: their worker ends because of one that would not stop."""
    last_exit: str = ""
    """How the worker before ended; empty if there was none."""
    failed_boots: int = 0
    deaths: list[float] = field(default_factory=list)
    """When processes died here, for a slot without actors."""


class Slots:
    """All slots of a node, and the rule of placement."""

    def __init__(self, workers: int, cpus: Iterable[int]) -> None:
        self._slots: dict[int, Slot] = {}
        self._dedicated = 0
        self._last = 0
        self._numbered = workers
        self.gone: list[int] = []
        """The addresses of the slots that were given up."""
        self._pins = list(cpus)
        for number in range(1, workers + 1):
            self._add(f"w{number}", shared=True, cpu=self._pin(number))

    def add(self) -> Slot:
        """Make a slot for a worker that joins later; its name was never used before."""
        self._numbered += 1
        number = self._numbered
        return self._add(f"w{number}", shared=False, cpu=self._pin(number))

    def _pin(self, number: int) -> int:
        return self._pins[(number - 1) % len(self._pins)] if self._pins else -1

    def all(self) -> list[Slot]:
        """Give all slots in the order of their creation."""
        return list(self._slots.values())

    def ready(self) -> list[Slot]:
        """Give the slots with a worker that can be talked to."""
        return [slot for slot in self._slots.values() if slot.state is SlotState.READY]

    def others(self) -> list[Slot]:
        """Give the workers that are about to stand in a slot, and those that stood there."""
        pairs = ((slot.successor, slot.former) for slot in self._slots.values())
        return [other for pair in pairs for other in pair if other is not None]

    def reachable(self) -> list[Slot]:
        """Give every worker that can be talked to, in a slot or not."""
        return [s for s in (*self._slots.values(), *self.others()) if s.state is SlotState.READY]

    def get(self, address: int) -> Slot | None:
        """Give a slot by its address."""
        return self._slots.get(address)

    def by_pid(self, pid: int) -> Slot | None:
        """Give the slot that a process stands in."""
        return next((slot for slot in self._slots.values() if slot.pid == pid), None)

    def by_identity(self, identity: bytes) -> Slot | None:
        """Give the slot whose worker has this routing id, or the former worker that has it."""
        return next((slot for slot in self.reachable() if slot.identity == identity), None)

    def check(self, placement: str) -> None:
        """Check a placement before anything is started.

        Raises:
            UsageError: it names no worker.
        """
        if placement not in _RULES and self.named(placement) is None:
            names = ", ".join(slot.name for slot in self._slots.values())
            raise UsageError(
                f"placement {placement!r} is unknown; write 'any', 'io', 'dedicated' or one of "
                f"the workers: {names}"
            )

    def place(self, placement: str) -> tuple[Slot, bool]:
        """Choose the slot for an actor; give whether it is new and needs a process.

        Raises:
            UsageError: the placement names no worker.
        """
        self.check(placement)
        if placement == "any":
            shared = [slot for slot in self._slots.values() if slot.shared]
            return min(shared, key=lambda slot: (len(slot.keys), slot.address)), False
        if placement == "dedicated":
            self._dedicated += 1
            return self._add(f"dedicated-{self._dedicated}", shared=False), True
        found = self.named(placement)
        return (found, False) if found is not None else (self._add("io", shared=False), True)

    def named(self, name: str) -> Slot | None:
        """Give a slot by its name, unless it is being given up."""
        slots = self._slots.values()
        return next((slot for slot in slots if slot.name == name and not slot.leaving), None)

    def remove(self, slot: Slot) -> None:
        """Give up a slot."""
        del self._slots[slot.address]
        self.gone.append(slot.address)

    def _add(self, name: str, *, shared: bool, cpu: int = -1) -> Slot:
        self._last += 1
        slot = self._slots[self._last] = Slot(self._last, name, shared, cpu)
        return slot
