"""Rules that say what to change. Each works on figures that the report itself shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from gristmill.metrics import batch_rows
from gristmill.metrics.classes import BUSY, COORD, TimeClass, total, unnamed
from gristmill.metrics.governor import MAX_BATCH, Governed, Limit
from gristmill.metrics.meter import Calibration
from gristmill.metrics.ratios import GOLDEN, IDEAL, MIN_COMPUTE_NS, MIN_MESSAGES, quotient
from gristmill.metrics.schema import Advice, Fit, Report, Totals, TypeRow, WorkerRow
from gristmill.metrics.snapshot import TypeSnapshot
from gristmill.metrics.units import duration, multiple, unqualified

ASK_WAIT_SHARE: Final = 0.2
BOTTLENECK_SHARE: Final = 0.7
CONTENDED: Final = 0.95
BALANCED: Final = 0.8
GC_SHARE: Final = 0.1
COARSE: Final = 1000
"""From this ratio on messages can be made smaller, if workers idle."""
IDLE_SHARE: Final = 0.3
_SMALL_BYTES: Final = 256

BATCH, PAYLOAD, OVERLAP, SHARD, BALANCE, GC, CONTENTION, SPLIT, GRAIN = 1, 2, 4, 5, 6, 7, 8, 9, 10
"""The numbers of the rules."""


def label(row: TypeRow | TypeSnapshot) -> str:
    """Give the short name of a type row: class names without their modules."""
    return f"{unqualified(row.actor)}.{unqualified(row.message)}"


def fit(row: TypeSnapshot, shared: float = 0.0) -> Fit:
    """Split the coordination of a type into a fixed part a message and a part an item.

    Decoding and encoding count as the part that grows with the items. For messages of one item
    that is an upper bound, so the batches advised are rather too large than too small. Where the
    handler takes batches, the fixed part is that of a call.

    Args:
        row: the type.
        shared: coordination in ns for each message of the run that belongs to no type.
    """
    variable = row.coord_ns.deser + row.coord_ns.ser
    fixed = row.coord_ns.total() - variable + shared * row.messages
    return Fit(
        o_f_ns=quotient(fixed, row.batches or row.messages),
        o_v_ns_per_item=quotient(variable, row.items),
    )


def for_type(row: TypeSnapshot, model: Fit, calibration: Calibration) -> tuple[Advice, ...]:
    """Give the advice for one type below 10x, if its messages suffice to judge it."""
    if row.governed is not None:
        return _governed(row, row.governed)
    fixed, per_item = model.o_f_ns, model.o_v_ns_per_item
    if row.messages < MIN_MESSAGES or fixed is None or per_item is None:
        return ()
    calls = row.batches or row.messages
    if row.compute_ns >= GOLDEN * (fixed * calls + per_item * row.items):
        return ()
    grain = row.compute_ns / row.items
    cold = (calibration.cold_fixed_ns or 0) - per_item
    k_lo = _batch(grain, fixed, per_item)
    k_hi = _batch(grain, max(fixed, cold), per_item)
    if k_lo is None or k_hi is None:
        return (_payload(row, grain, per_item),)
    predicted = k_hi * grain / (max(fixed, cold) + k_hi * per_item)
    batch = f"{k_lo}-{k_hi}" if k_hi > k_lo else f"{k_lo}"
    what = "messages per call" if row.batches else "items per message"
    text = (
        f"{_finding(row)}: batch {batch} {what} to reach {GOLDEN}x (predicted "
        f"{multiple(predicted)}; fixed {duration(fixed)}, {duration(per_item)} per item; adds "
        f"about {duration((k_hi - 1) * grain)}). {_beyond(grain, fixed, per_item)}"
    )
    return (Advice(BATCH, text, k_lo, k_hi, predicted),)


def _governed(row: TypeSnapshot, governed: Governed) -> tuple[Advice, ...]:
    reason = batch_rows.why(governed)
    if not reason or row.messages < MIN_MESSAGES:
        return ()
    rule = PAYLOAD if governed.limit is Limit.PAYLOAD else BATCH
    text = f"{_finding(row)}, governed: {reason}."
    return (Advice(rule, text, predicted_ratio=governed.predicted_ratio),)


def _batch(grain: float, fixed: float, per_item: float) -> int | None:
    margin = grain - GOLDEN * per_item
    items = GOLDEN * fixed / margin if margin > 0 else math.inf
    return max(math.ceil(items), 1) if items <= MAX_BATCH else None


def _beyond(grain: float, fixed: float, per_item: float) -> str:
    margin = grain - IDEAL * per_item
    if margin > 0:
        return f"{IDEAL}x needs {math.ceil(IDEAL * fixed / margin):,}."
    return f"{IDEAL}x is out of reach by batching (cap {multiple(grain / per_item)})."


def _payload(row: TypeSnapshot, grain: float, per_item: float) -> Advice:
    costs = f"compute {duration(grain)}, decode and encode {duration(per_item)} per item"
    small = row.bytes_in + row.bytes_out < _SMALL_BYTES * row.items
    if small or grain >= GOLDEN * per_item:
        remedy = "too little work for a message: call it inline, or let one message ask for more"
        return Advice(PAYLOAD, f"{_finding(row)}: {remedy} ({costs}).")
    cap = grain / per_item
    text = (
        f"{_finding(row)}: payload-bound, at most {multiple(cap)} by batching ({costs}): pass a "
        "reference, use shared memory or a smaller dtype."
    )
    return Advice(PAYLOAD, text, predicted_ratio=cap)


def _finding(row: TypeSnapshot) -> str:
    ratio = quotient(row.compute_ns, row.coord_ns.total())
    return f"{label(row)} {multiple(ratio)} over {row.messages:,} messages"


def ranked(report: Report, limit: int = 5) -> list[Advice]:
    """Give the advice for types and for the run, the most time to be won first."""
    found = [
        (row.coord_ns.total() - row.compute_ns / GOLDEN, advice)
        for row in report.types
        for advice in row.advice
    ]
    found += [
        *_grain(report.totals),
        *_overlap(report),
        *_shard(report.workers),
        *_contention(report.workers),
    ]
    found += [*_balance(report), *_collections(report.workers), *_split(report)]
    found.sort(key=lambda entry: -entry[0])
    return [advice for _, advice in found[:limit]]


def _grain(totals: Totals) -> Iterable[tuple[float, Advice]]:
    """Say what the run as a whole lacks: the sums hold what belongs to no type, as commits do."""
    classes = unnamed(totals.classes)
    compute, coord = classes[TimeClass.COMPUTE], total(classes, COORD)
    enough = totals.messages >= MIN_MESSAGES and compute >= MIN_COMPUTE_NS
    if not enough or compute >= GOLDEN * coord:
        return
    top = max(COORD, key=lambda each: (classes[each], -each))
    grain, cost = compute / totals.messages, coord / totals.messages
    text = (
        f"the whole run, {multiple(compute / coord)} over {totals.messages:,} messages: a message "
        f"computes {duration(grain)} and costs {duration(cost)}, most of it {top.name.lower()} "
        f"({classes[top] / coord:.0%}). {GOLDEN}x takes {duration(GOLDEN * cost)} of compute a "
        f"message, or a cost of {duration(grain / GOLDEN)}."
    )
    yield coord - compute / GOLDEN, Advice(GRAIN, text)


def _overlap(report: Report) -> Iterable[tuple[float, Advice]]:
    waiting = [
        row
        for row in report.workers
        if row.classes["ask_wait"] > ASK_WAIT_SHARE * row.wall_ns > 0 and row.kind == "worker"
    ]
    if not waiting:
        return
    lost = sum(row.classes["ask_wait"] for row in waiting)
    share = lost / sum(row.wall_ns for row in waiting)
    most = max(report.types, key=lambda row: row.ask_wait_ns, default=None)
    culprit = f", most in {label(most)}" if most is not None and most.ask_wait_ns else ""
    text = (
        f"ask_wait is {share:.0%} of {listed(waiting)}{culprit}: gather() the asks of a handler "
        "instead of awaiting one by one."
    )
    yield lost, Advice(OVERLAP, text)


def _shard(rows: Iterable[WorkerRow]) -> Iterable[tuple[float, Advice]]:
    for row in rows:
        busy = busy_share(row)
        if row.kind != "worker" and busy > BOTTLENECK_SHARE:
            text = (
                f"{row.id} is {busy:.0%} busy and the next bottleneck: shard what it does, or let "
                "actors send to each other directly."
            )
            yield busy * row.wall_ns, Advice(SHARD, text)


def _balance(report: Report) -> Iterable[tuple[float, Advice]]:
    workers = [row for row in report.workers if row.kind == "worker"]
    computes = [row.classes["compute"] for row in workers]
    balance = report.totals.pop.lb if report.totals.pop is not None else None
    if balance is None or balance >= BALANCED or sum(computes) < MIN_COMPUTE_NS:
        return
    busiest = max(workers, key=lambda row: row.classes["compute"])
    text = (
        f"load balance {balance:.2f}: {busiest.id} did {max(computes) / sum(computes):.0%} of the "
        f"compute of {len(workers)} workers: spread it over more actors, or a pool; with the same "
        f"messages the ratio stays {multiple(report.totals.ratio)}."
    )
    gain = max(computes) * len(workers) - sum(computes)
    yield gain, Advice(BALANCE, text, predicted_ratio=report.totals.ratio)


def _collections(rows: Iterable[WorkerRow]) -> Iterable[tuple[float, Advice]]:
    hit = [row for row in rows if row.classes["gc_user"] > GC_SHARE * row.wall_ns > 0]
    if hit:
        lost = sum(row.classes["gc_user"] for row in hit)
        text = (
            f"garbage collection is {lost / sum(row.wall_ns for row in hit):.0%} of "
            f"{listed(hit)}: call gc.freeze() once the state is loaded, declare kept values "
            "that can't be part of a cycle with gc=False, or raise the threshold."
        )
        yield lost, Advice(GC, text)


def _split(report: Report) -> Iterable[tuple[float, Advice]]:
    workers = [row for row in report.workers if row.kind == "worker"]
    idle = sum(row.classes["idle"] for row in workers)
    ratio = report.totals.ratio or 0
    if ratio >= COARSE and idle > IDLE_SHARE * sum(row.wall_ns for row in workers):
        text = (
            f"{multiple(ratio)} while workers idle for {duration(idle)} in all: messages are "
            f"coarse enough to be split, each into up to {int(ratio // IDEAL)}."
        )
        yield idle, Advice(SPLIT, text)


def busy_share(row: WorkerRow) -> float:
    """Give the part of its wall time in which a process did anything."""
    return (quotient(total(unnamed(row.classes), BUSY), row.wall_ns)) or 0.0


def _contention(rows: Iterable[WorkerRow]) -> Iterable[tuple[float, Advice]]:
    hit = [row for row in rows if contended(row)]
    if hit:
        lost = sum(
            (1 - (row.contention or 0)) * total(unnamed(row.classes), {*BUSY, TimeClass.OTHER})
            for row in hit
        )
        text = (
            f"CPU contended on {listed(hit)}: run fewer workers, or limit the threads of "
            "BLAS and the like to one."
        )
        yield lost, Advice(CONTENTION, text)


def contended(row: WorkerRow) -> bool:
    """Tell whether other threads took the core of a worker while it was busy."""
    return row.kind == "worker" and row.contention is not None and row.contention < CONTENDED


def listed(rows: list[WorkerRow], limit: int = 4) -> str:
    """Name processes, all of them if they are few."""
    names = ", ".join(row.id for row in rows[:limit])
    return f"{names} and {len(rows) - limit} more" if len(rows) > limit else names
