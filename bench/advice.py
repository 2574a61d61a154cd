"""Advice that is followed: does the ratio come that a report predicts?

An actor computes the same for every item. First each message carries one item, and comes when the
one before it has been answered. The report then says how many items a message should carry; they
are sent so, and the ratio of the worker is measured again, over compute and coordination in the
same process. The floor is the target of 10, so ours / floor from 0.9 on is what was promised.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec

from gristmill import Actor, Node, Ref, Request, handles
from gristmill.metrics import Report
from gristmill.metrics.advice import BATCH
from harness import Bench, Result, arguments
from harness.compute import python_kernel

TARGET = 10.0
PAYLOADS = {"100 B": 100, "1 kB": 1_000, "10 kB": 10_000}
ROUNDS_OF_KERNEL = 700
"""Steps of the kernel for an item: some 20 us, and twice that for the largest payload."""


class Item(msgspec.Struct, frozen=True, array_like=True):
    """What one item carries."""

    payload: bytes


class Work(Request[int]):
    """Compute for each item."""

    items: tuple[Item, ...]
    steps: int


class Mill(Actor):
    """Computes for each item of a message."""

    @handles
    def work(self, msg: Work) -> int:
        """Give the number of items."""
        for item in msg.items:
            python_kernel(len(item.payload), msg.steps)
        return len(msg.items)


def messages(payload: int, steps: int, items: int, count: int) -> Iterator[Work]:
    """Give messages of so many items."""
    item = Item(bytes(payload))
    for _ in range(count):
        yield Work((item,) * items, steps)


def measured(payload: int, steps: int, items: int, count: int) -> Report:
    """Ask one thing after another on a node of its own; give its report."""
    with Node(workers=1) as node:
        ref: Ref[Mill] = node.spawn(Mill, name="mill")
        for message in messages(payload, steps, items, count):
            if ref.ask(message, timeout=60.0) != items:
                sys.exit("the worker answered another number of items")
        return node.granularity()


def worker_ratio(report: Report) -> float:
    """Give compute over coordination of the one worker."""
    (row,) = [row for row in report.workers if row.kind == "worker"]
    return row.ratio or 0.0


def advised(report: Report) -> int:
    """Give the printed number of items: the one for a receiver that sleeps between messages."""
    (row,) = report.types
    for advice in row.advice:
        if advice.rule == BATCH and advice.k_hi is not None:
            return advice.k_hi
    return 1  # the ratio is reached


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = arguments(__doc__ or "")
    rounds, count = (2, 200) if options.quick else (7, 1_000)
    results = []
    notes = []
    for name, payload in PAYLOADS.items():
        steps = ROUNDS_OF_KERNEL * (2 if payload >= 10_000 else 1)
        before, after, sizes = [], [], []
        for _ in range(rounds):
            report = measured(payload, steps, 1, count)
            items = advised(report)
            sizes.append(items)
            before.append(worker_ratio(report))
            after.append(worker_ratio(measured(payload, steps, items, max(count // items, 100))))
        results.append(Result.of(f"{name}, one item", "ratio", before, [TARGET] * rounds))
        results.append(Result.of(f"{name}, as advised", "ratio", after, [TARGET] * rounds))
        notes.append(f"{name}: advised {min(sizes)} to {max(sizes)} items a message")
    bench = Bench.of("advice", results)
    bench.show([f"{rounds} rounds, {count} items each; floor: the target", *notes])
    if options.json:
        bench.write(options.json)


if __name__ == "__main__":
    main()
