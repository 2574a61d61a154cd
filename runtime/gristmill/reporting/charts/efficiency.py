"""Efficiency by granularity: the messages of a run, beside a METG sweep or an estimate of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gristmill.metg.curves import GOALS, Curve, Measurement, Metg
from gristmill.metrics import Report
from gristmill.metrics.advice import label as type_label
from gristmill.metrics.ratios import IDEAL, quotient
from gristmill.metrics.schema import TypeRow
from gristmill.metrics.units import duration, shortened, unqualified
from gristmill.reporting.charts.models import SERIES
from gristmill.reporting.charts.plot import (
    Chart,
    Labels,
    Linear,
    Log,
    Plot,
    dot,
    picture,
    shortest,
)
from gristmill.reporting.charts.types import coord_of
from gristmill.reporting.markup import Markup, Table

_TITLE: Final = "Efficiency by granularity"
_NAMED: Final = 6
_WHAT: Final = "Part of its time that a message computes, by the time that it takes in all."
_MULTIPLES: Final = {"50": "1x", "90.9": "10x", "99": f"{IDEAL}x"}


def efficiency(report: Report, measured: Measurement | None) -> Chart:
    """Set each type at its granularity and its efficiency, beside the curves of the machine.

    Args:
        report: the run.
        measured: the curves; None has one estimated from the mean cost of a message.
    """
    rows = [row for row in report.types if row.messages]
    cost = quotient(sum(row.coord_ns.total() for row in rows), sum(row.messages for row in rows))
    curves = measured.curves[:SERIES] if measured is not None else ()
    if not cost:
        return Chart("efficiency", _TITLE, "No coordination was measured.", Markup())
    totals = [(row.grain_ns or 0) + coord_of(row) for row in rows]
    sizes = [1e3 * point.granularity_us for curve in curves for point in curve.points]
    x = Log.around([*totals, *(sizes or [cost, 2 * IDEAL * cost])])
    plot = Plot(x, Linear(1), height=280)
    marks = [plot.axes(("compute and coordination per message", shortest), ("", "{:.0%}".format))]
    if measured is not None and curves:
        text = f"{_WHAT} The lines are the METG sweeps that were measured on {_where(measured)}."
        marks += [
            plot.path([(1e3 * p.granularity_us, p.efficiency) for p in curve.points], f"s{number}")
            for number, curve in enumerate(curves)
        ]
        goals = _measured_goals(measured.curves)
    else:
        text = (
            f"{_WHAT} The curve is a message of the mean cost, {duration(cost)}: no METG sweep "
            "(gristmill metg), but what these figures say."
        )
        steps = [10 ** (x.low + (x.high - x.low) * step / 120) for step in range(121)]
        marks.append(
            plot.path([(size, 1 - cost / size) for size in steps if size >= cost], "model")
        )
        goals = [(f"needed for {_goal(name)}", duration(cost / (1 - goal)), "")
                 for name, goal in GOALS.items()]  # fmt: skip
    marks += _messages(plot, rows, totals)
    head = ("message", "compute and coordination", "efficiency")
    return Chart(
        "efficiency",
        _TITLE,
        text,
        picture("efficiency", _TITLE, text, plot.height, *marks),
        Table(head, [*goals, *_cells(rows, totals)]),
        [(f"s{number}", _name(curve)) for number, curve in enumerate(curves)],
    )


def _messages(plot: Plot, rows: Sequence[TypeRow], totals: Sequence[float]) -> list[Markup]:
    """Draw a dot for each type, and name the first ones."""
    shares = [_share(row, size) for row, size in zip(rows, totals, strict=True)]
    places = [(*plot.at(size, share), 4) for size, share in zip(totals, shares, strict=True)]
    labels = Labels(plot, places)
    marks = []
    for row, size, share, place in zip(rows, totals, shares, places, strict=True):
        tip = f"{type_label(row)}: {share:.1%} at {duration(size)}, {row.messages:,} messages"
        marks.append(dot(*place, "c-compute point", tip))
    for row, place in zip(rows[:_NAMED], places, strict=False):
        marks.append(labels.beside(shortened(unqualified(row.message), 20), *place))
    return marks


def _cells(rows: Sequence[TypeRow], totals: Sequence[float]) -> list[tuple[str, str, str]]:
    return [
        (type_label(row), duration(size), f"{_share(row, size):.1%}")
        for row, size in zip(rows, totals, strict=True)
    ]


def _share(row: TypeRow, size: float) -> float:
    return quotient(row.grain_ns or 0, size) or 0.0


def _goal(name: str) -> str:
    return f"{name}% ({_MULTIPLES[name]})"


def _measured_goals(curves: Sequence[Curve]) -> list[tuple[str, str, str]]:
    return [
        (f"METG of {_name(curve)}, {_goal(name)}", _duration(found), "")
        for curve in curves
        for name, found in curve.metg.items()
    ]


def _duration(found: Metg) -> str:
    if found.us is None:
        return "never reached"
    return f"{'below ' if found.below else ''}{duration(1e3 * found.us)}"


def _name(curve: Curve) -> str:
    return curve.pattern if curve.system == "gristmill" else f"{curve.pattern}, {curve.system}"


def _where(measured: Measurement) -> str:
    return f"{measured.host}, {measured.workers} workers"
