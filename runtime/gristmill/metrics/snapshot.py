"""What a process says of its time: values that cross the wire and add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from gristmill.metrics import histogram
from gristmill.metrics.classes import NAMES
from gristmill.metrics.governor import Governed
from gristmill.metrics.sent import SentSnapshot, merge_sent

Kind = Literal["worker", "supervisor", "client"]


class Coordination(msgspec.Struct, frozen=True):
    """Coordination of one message type by class, in ns."""

    deser: int = 0
    dispatch: int = 0
    ser: int = 0
    send: int = 0
    recv: int = 0
    peer: int = 0
    """What the other end spent: the sender's encode and send, the asker's receive and decode."""

    def total(self) -> int:
        """Give the sum."""
        return self.deser + self.dispatch + self.ser + self.send + self.recv + self.peer

    def __add__(self, other: Coordination) -> Coordination:
        return Coordination(
            self.deser + other.deser,
            self.dispatch + other.dispatch,
            self.ser + other.ser,
            self.send + other.send,
            self.recv + other.recv,
            self.peer + other.peer,
        )


class TypeSnapshot(msgspec.Struct, frozen=True):
    """Counts and times of one (actor type, message type); see ``TypeStats``."""

    actor: str
    message: str
    messages: int = 0
    items: int = 0
    compute_ns: int = 0
    compute_cpu_ns: int = 0
    """CPU time of the compute, from some of the messages; 0 if none was measured."""
    coord_ns: Coordination = Coordination()
    ask_wait_ns: int = 0
    gc_ns: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    replies: int = 0
    """Messages that were answered."""
    compute_hist: dict[int, int] = {}
    wait_hist: dict[int, int] = {}
    batches: int = 0
    """Calls of a batch handler that they came in; 0 for messages that come one by one."""
    governed: Governed | None = None
    """What the governor of their batches has come to."""


class WorkerSnapshot(msgspec.Struct, frozen=True):
    """Where the time of one process went, from its start until now."""

    id: str
    """Name of the process within its run; it stays across restarts."""
    pid: int
    kind: Kind
    wall_ns: int
    """Wall time by a clock of its own, so that it can be held against the sum of ``classes``."""
    cpu_ns: int
    """CPU time of the whole process since the end of its startup."""
    classes: tuple[int, ...]
    """Time of each class as metered, probes not yet taken out."""
    transitions: int = 0
    probe_ns: int = 0
    """What the accounting has cost: all probes, and what is done with what they tell."""
    messages: int = 0
    """Messages that it handled."""
    complete: bool = True
    """False: it was killed, and this is what it last wrote down."""
    types: tuple[TypeSnapshot, ...] = ()
    sample_n: int = 1
    """One message in so many is stamped."""
    sent: tuple[SentSnapshot, ...] = ()
    """What it sent to whom."""
    stood_still_ns: int = 0
    """The part of ``OTHER`` in which its thread is known to have had no core."""
    lone_hist: dict[int, int] = {}
    """Coordination of turns that handled one message after a sleep, in ns, by bucket."""

    @classmethod
    def of_page(
        cls,
        id: str,  # noqa: A002 - the field's name
        pid: int,
        kind: Kind,
        page: Mapping[str, int],
        *,
        types: tuple[TypeSnapshot, ...] = (),
        sent: tuple[SentSnapshot, ...] = (),
    ) -> WorkerSnapshot:
        """Describe a killed process by the counter page that it left.

        Args:
            id: name of the process.
            pid: its process id.
            kind: what it was.
            page: what ``CounterPage.read`` gave.
            types: the last per-type figures that it had handed over.
            sent: the last figures of what it sent.
        """
        return cls(
            id=id,
            pid=pid,
            kind=kind,
            wall_ns=page["last"] - page["start"],
            cpu_ns=page["cpu_ns"],
            classes=tuple(page[name] for name in NAMES),
            transitions=page["transitions"],
            probe_ns=page["probe_ns"],
            stood_still_ns=page["stood_still"],
            messages=page["messages"],
            complete=False,
            types=types,
            sent=sent,
        )


def merge(snapshots: Iterable[WorkerSnapshot]) -> list[WorkerSnapshot]:
    """Add up the incarnations of each process; in the order in which the processes first appear.

    The pid is that of the last incarnation. One incomplete incarnation makes the sum incomplete.
    """
    rows: dict[tuple[str, str], WorkerSnapshot] = {}
    for snapshot in snapshots:
        key = (snapshot.kind, snapshot.id)
        rows[key] = _sum(rows[key], snapshot) if key in rows else snapshot
    return list(rows.values())


def _sum(a: WorkerSnapshot, b: WorkerSnapshot) -> WorkerSnapshot:
    return WorkerSnapshot(
        id=a.id,
        pid=b.pid,
        kind=a.kind,
        wall_ns=a.wall_ns + b.wall_ns,
        cpu_ns=a.cpu_ns + b.cpu_ns,
        classes=tuple(x + y for x, y in zip(a.classes, b.classes, strict=True)),
        transitions=a.transitions + b.transitions,
        probe_ns=a.probe_ns + b.probe_ns,
        stood_still_ns=a.stood_still_ns + b.stood_still_ns,
        messages=a.messages + b.messages,
        complete=a.complete and b.complete,
        types=tuple(merge_types((*a.types, *b.types))),
        sample_n=max(a.sample_n, b.sample_n),
        sent=tuple(merge_sent([*a.sent, *b.sent])),
        lone_hist=histogram.merged((a.lone_hist, b.lone_hist)),
    )


def merge_types(types: Iterable[TypeSnapshot]) -> list[TypeSnapshot]:
    """Add up the rows of each (actor type, message type), whichever process they come from."""
    rows: dict[tuple[str, str], list[TypeSnapshot]] = {}
    for row in types:
        rows.setdefault((row.actor, row.message), []).append(row)
    return [_sum_types(group) for group in rows.values()]


def busiest(governed: Iterable[Governed | None]) -> Governed | None:
    """Give what the governor of several has come to that has seen the most messages."""
    known = [each for each in governed if each is not None]
    return max(known, key=lambda each: each.messages, default=None)


def _sum_types(group: list[TypeSnapshot]) -> TypeSnapshot:
    return TypeSnapshot(
        actor=group[0].actor,
        message=group[0].message,
        messages=sum(row.messages for row in group),
        items=sum(row.items for row in group),
        compute_ns=sum(row.compute_ns for row in group),
        compute_cpu_ns=sum(row.compute_cpu_ns for row in group),
        coord_ns=sum((row.coord_ns for row in group), Coordination()),
        ask_wait_ns=sum(row.ask_wait_ns for row in group),
        gc_ns=sum(row.gc_ns for row in group),
        bytes_in=sum(row.bytes_in for row in group),
        bytes_out=sum(row.bytes_out for row in group),
        replies=sum(row.replies for row in group),
        compute_hist=histogram.merged(row.compute_hist for row in group),
        wait_hist=histogram.merged(row.wait_hist for row in group),
        batches=sum(row.batches for row in group),
        governed=busiest(row.governed for row in group),
    )
