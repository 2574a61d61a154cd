"""A METG measurement as plain text."""

from __future__ import annotations

from collections.abc import Iterable

from gristmill.metg.curves import GOALS, Measurement, Metg
from gristmill.metrics.text import table
from gristmill.metrics.units import duration

_GOLDEN = "90.9"


def render(measurement: Measurement, width: int) -> str:
    """Give the table of METGs and what it means for handlers, at most ``width`` columns wide."""
    m = measurement
    head = ("us a task: wall x cores / tasks", *(f"METG({name}%)" for name in GOALS), "floor")
    rows = [
        (
            curve.pattern if curve.system == "gristmill" else f"{curve.system}, {curve.pattern}",
            *(_cell(curve.metg[name]) for name in GOALS),
            f"{curve.floor_us:.3g}",
        )
        for curve in m.curves
    ]
    facts = (
        f"METG  {m.workers} workers, pinned  {m.width} points a step  {m.repetitions} runs a size",
        f"{m.kernel}, {duration(m.peak_ns)} an iteration",
    )
    lines = [
        "  ".join(facts),
        *table([head, *rows], "<>>>>", width),
        "The smallest handler that obeys the golden rule here (compute/coordinate = 10):",
        *_handlers(m),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cell(found: Metg) -> str:
    if found.us is None:
        return "-"
    figure = f"{found.us:,.0f}" if found.us >= 1000 else f"{found.us:.3g}"
    return f"< {figure}" if found.below else figure


def _handlers(measurement: Measurement) -> Iterable[str]:
    curves = [curve for curve in measurement.curves if curve.system == "gristmill"]
    for curve in curves:
        found = curve.metg[_GOLDEN]
        if found.us is None:
            said = "no size of task was efficient enough; measure again on a quiet machine"
        else:
            said = f"{'less than ' if found.below else ''}{duration(1e3 * found.us)}"
        yield f"  {curve.pattern:12} {said}"
