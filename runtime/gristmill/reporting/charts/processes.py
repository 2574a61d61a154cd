"""Where each process spent its time."""

from __future__ import annotations

from typing import Final

from gristmill.metrics import Report, TimeClass
from gristmill.metrics.classes import COORD
from gristmill.metrics.ratios import quotient
from gristmill.metrics.units import duration, multiple, shortened
from gristmill.reporting.charts.plot import (
    WIDTH,
    Chart,
    Linear,
    Plot,
    label,
    line,
    picture,
    rectangle,
)
from gristmill.reporting.markup import Markup, Table

ORDER: Final = (
    TimeClass.COMPUTE,
    TimeClass.GC_USER,
    *sorted(COORD),
    TimeClass.ASK_WAIT,
    TimeClass.IO_WAIT,
    TimeClass.IDLE,
    TimeClass.STARTUP,
    TimeClass.OTHER,
)
"""The classes as they are stacked: useful first, then lost, then waiting."""

_ROW: Final = 22
_NAME: Final = 10


def processes(report: Report) -> Chart:
    """Stack the shares of the time classes, a bar a process."""
    rows = report.workers
    height = 30 + _ROW * len(rows)
    plot = Plot(Linear(100), Linear(1), height, left=76, right=44, top=4, bottom=26)
    marks: list[Markup] = []
    for value in plot.x.ticks():
        at = plot.across(value)
        marks.append(line(at, plot.top, at, height - plot.bottom, "grid"))
        marks.append(label(f"{value:g}%", at, height - 10, anchor="middle"))
    for number, row in enumerate(rows):
        top, left = plot.top + number * _ROW, plot.left
        marks.append(label(shortened(row.id, _NAME), left - 5, top + 15, "name", "end"))
        for member in ORDER:
            name = member.name.lower()
            share = quotient(row.classes[name], sum(row.classes.values())) or 0
            if share:
                width = share * (WIDTH - plot.left - plot.right)
                tip = f"{row.id}: {name} {share:.1%}, {duration(row.classes[name])}"
                marks.append(rectangle(left, top + 3, width, _ROW - 6, f"c-{name}", tip))
                left += width
        ratio = multiple(row.ratio) if row.classes["compute"] else "-"
        marks.append(label(ratio, WIDTH - plot.right + 5, top + 15, "name"))
    title = "Where each process spent its time"
    text = "Shares of wall time. Blue is useful, warm colours are coordination. Right: the ratio."
    used = [m.name.lower() for m in ORDER if any(row.classes[m.name.lower()] for row in rows)]
    return Chart(
        "processes",
        title,
        text,
        picture("processes", title, text, height, *marks) if rows else Markup(),
        _process_table(report, used),
        [(f"c-{name}", name) for name in used],
    )


def _process_table(report: Report, used: list[str]) -> Table:
    return Table(
        ("process", "messages", "ratio", *used),
        [
            (
                row.id,
                f"{row.messages:,}",
                multiple(row.ratio) if row.classes["compute"] else "-",
                *(f"{quotient(row.classes[name], row.wall_ns) or 0:.1%}" for name in used),
            )
            for row in report.workers
        ],
    )
