"""Two runs side by side: the ratio of the run, of each process and of each type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from gristmill.metrics import advice
from gristmill.metrics.classes import COORD, total, unnamed
from gristmill.metrics.ratios import quotient
from gristmill.metrics.schema import Report

Subject = tuple[Literal["run", "worker", "type"], str]
"""What a ratio is of: its kind and its name."""

RUN: Final[Subject] = ("run", "run")


class Measured(msgspec.Struct, frozen=True):
    """The times that a ratio is made of, in ns, and how many messages they come from."""

    messages: int = 0
    compute_ns: int = 0
    coord_ns: int = 0
    ask_wait_ns: int = 0

    def ratio(self, *, strict: bool = False) -> float | None:
        """Give compute over coordination; strict: asks that were waited for are coordination."""
        return quotient(self.compute_ns, self.coord_ns + self.ask_wait_ns * strict)

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            self.messages + other.messages,
            self.compute_ns + other.compute_ns,
            self.coord_ns + other.coord_ns,
            self.ask_wait_ns + other.ask_wait_ns,
        )


def measured(report: Report) -> dict[Subject, Measured]:
    """Give what a report measured of the run, its processes and its types, in its order."""
    found = {RUN: _of_classes(report.totals.messages, report.totals.classes)}
    for row in report.workers:
        found["worker", row.id] = _of_classes(row.messages, row.classes)
    for kind in report.types:
        times = Measured(kind.messages, kind.compute_ns, kind.coord_ns.total(), kind.ask_wait_ns)
        subject: Subject = ("type", advice.label(kind))
        found[subject] = found.get(subject, Measured()) + times
    return found


def _of_classes(messages: int, classes: Mapping[str, int]) -> Measured:
    coord = total(unnamed(classes), COORD)
    return Measured(messages, classes["compute"], coord, classes["ask_wait"])


class Change(msgspec.Struct, frozen=True):
    """One ratio before and after. None where one of the runs does not have it."""

    kind: Literal["run", "worker", "type"]
    name: str
    base_ratio: float | None
    ratio: float | None
    change: float | None
    """Relative change of the ratio: -0.2 is a fifth less."""
    base_messages: int
    messages: int


def compare(base: Report, new: Report) -> tuple[Change, ...]:
    """Compare two runs: the run first, then processes and types, each with the worst first."""
    before, after = measured(base), measured(new)
    subjects = dict.fromkeys((*after, *before))
    changes = [_change(subject, before.get(subject), after.get(subject)) for subject in subjects]
    order = ("run", "worker", "type")
    changes.sort(key=lambda row: (order.index(row.kind), row.change is None, row.change or 0))
    return tuple(changes)


def _change(subject: Subject, before: Measured | None, after: Measured | None) -> Change:
    base_ratio = before.ratio() if before else None
    ratio = after.ratio() if after else None
    relative = None if base_ratio is None or ratio is None else quotient(ratio, base_ratio)
    return Change(
        *subject,
        base_ratio,
        ratio,
        None if relative is None else relative - 1,
        before.messages if before else 0,
        after.messages if after else 0,
    )
