"""Who a process's coordination was for: each ns belongs to one message type, or to none.

What is stamped for each message (decoding, dispatch, encoding) is known. Frames are read and sent
as a whole, so that time is shared out by the number of messages. Nothing is attributed twice: what
the types of a process got of a class is never more than the class holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gristmill.metrics.classes import TimeClass
from gristmill.metrics.schema import Edge
from gristmill.metrics.sent import SentSnapshot, merge_sent
from gristmill.metrics.snapshot import Coordination, TypeSnapshot, WorkerSnapshot


def attributed(row: WorkerSnapshot) -> WorkerSnapshot:
    """Share the classes of a process out among its types and what it sent."""
    classes, types, sent = row.classes, row.types, row.sent
    there = len(types)
    deser = fitted([*(t.coord_ns.deser for t in types), *(s.deser_ns for s in sent)],
                   classes[TimeClass.DESER])  # fmt: skip
    ser = fitted([*(t.coord_ns.ser for t in types), *(s.ser_ns for s in sent)],
                 classes[TimeClass.SER])  # fmt: skip
    dispatch = fitted([t.coord_ns.dispatch for t in types], classes[TimeClass.DISPATCH])
    recv = shared([*(t.messages for t in types), *(s.replies for s in sent)],
                  classes[TimeClass.RECV])  # fmt: skip
    send = shared([*(t.replies for t in types), *(s.messages for s in sent)],
                  classes[TimeClass.SEND])  # fmt: skip
    ask_wait = shared([t.ask_wait_ns for t in types], classes[TimeClass.ASK_WAIT])
    gc = fitted([t.gc_ns for t in types], classes[TimeClass.GC_USER])
    cpu = fitted([t.compute_cpu_ns for t in types], row.cpu_ns)  # it is estimated from a sample
    return msgspec.structs.replace(
        row,
        types=tuple(
            msgspec.structs.replace(
                kind,
                coord_ns=Coordination(
                    deser[at], dispatch[at], ser[at], send[at], recv[at], kind.coord_ns.peer
                ),
                compute_cpu_ns=cpu[at],
                ask_wait_ns=ask_wait[at],
                gc_ns=gc[at],
            )
            for at, kind in enumerate(types)
        ),
        sent=tuple(
            msgspec.structs.replace(
                one, ser_ns=ser[at], deser_ns=deser[at], send_ns=send[at], recv_ns=recv[at]
            )
            for at, one in enumerate(sent, there)
        ),
    )


def fitted(parts: Sequence[int], whole: int) -> list[int]:
    """Give the parts, made smaller in proportion where they are more than the whole."""
    return list(parts) if sum(parts) <= whole else shared(parts, whole)


def shared(weights: Sequence[int], whole: int) -> list[int]:
    """Share a whole out by weights, to the last ns; nothing where there is no weight."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    given, seen, parts = 0, 0, []
    for weight in weights:
        seen += weight
        parts.append(seen * whole // total - given)
        given += parts[-1]
    return parts


def peers(sent: Iterable[SentSnapshot]) -> list[TypeSnapshot]:
    """Give rows of the receivers' names with what the other end of each message has spent."""
    return [
        TypeSnapshot(row.target, row.message, coord_ns=Coordination(peer=row.cost()))
        for row in sent
    ]


def edges(sent: Iterable[SentSnapshot], types: Iterable[TypeSnapshot]) -> tuple[Edge, ...]:
    """Say who sends to whom, and what that costs at both ends.

    Args:
        sent: what all processes have sent.
        types: the rows of all processes, merged. Each sender of a type gets its own costs and, by
            the number of messages, a part of the receiver's.
    """
    rows = merge_sent(list(sent))
    received = {
        (row.actor, row.message): (row.messages, row.coord_ns.total() - row.coord_ns.peer)
        for row in types
    }
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        counts[row.target, row.message] = counts.get((row.target, row.message), 0) + row.messages
    sums: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        handled, cost = received.get((row.target, row.message), (0, 0))
        most = max(handled, counts[row.target, row.message], 1)
        total = sums.setdefault((row.source, row.target), [0, 0, 0])
        total[0] += row.messages
        total[1] += row.bytes
        total[2] += row.cost() + cost * row.messages // most
    return tuple(Edge(*ends, *total) for ends, total in sums.items())
