"""The message types: what they compute against what they cost, and how their grains spread."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from gristmill.metrics import Report, Verdict, histogram
from gristmill.metrics.advice import label as type_label
from gristmill.metrics.ratios import GOLDEN, IDEAL, quotient, verdict
from gristmill.metrics.schema import TypeRow
from gristmill.metrics.units import duration, multiple, short, shortened, unqualified
from gristmill.reporting.charts.plot import (
    WIDTH,
    Chart,
    Labels,
    Linear,
    Log,
    Plot,
    dot,
    label,
    line,
    picture,
    rectangle,
    shortest,
)
from gristmill.reporting.markup import Markup, Table, join

COLOURS: Final = {
    Verdict.IDEAL: ("v-ideal", f"{IDEAL}x or more"),
    Verdict.OK: ("v-ok", f"{GOLDEN}x or more"),
    Verdict.FINE_GRAINED: ("v-fine", f"below {GOLDEN}x"),
    Verdict.COORDINATION_BOUND: ("v-bound", "below 1x"),
    Verdict.INSUFFICIENT_DATA: ("v-few", "too few to judge"),
}
"""CSS class and legend of each verdict."""
_LARGEST: Final = 17
_LEAST: Final = 3
_SHOWN: Final = 8
_NAMED: Final = 6
_ROW: Final = 46


def coord_of(row: TypeRow) -> float:
    """Give the coordination of one message, in ns."""
    return quotient(row.coord_ns.total(), row.messages) or 0.0


def scatter(report: Report) -> Chart:
    """Set each type at its grain and its coordination; the diagonals are ratios."""
    title = "Compute against coordination, by message type"
    text = (
        "Each bubble is a message type, as large as its core-seconds. Right of a diagonal, its "
        f"ratio is better. The goal is to be right of {GOLDEN}x."
    )
    rows = [row for row in report.types if row.messages]
    if not rows:
        return Chart("types", title, "No message was handled.", Markup())
    x = Log.around(row.grain_ns or 0 for row in rows)
    y = Log.around(map(coord_of, rows))
    plot = Plot(x, y, height=330)
    axes = plot.axes(("grain: compute per message", shortest), ("coordination", shortest))
    marks = (axes, *_diagonals(plot, x, y), *_bubbles(plot, rows))
    judged = [_judged(row) for row in rows]
    return Chart(
        "types",
        title,
        text,
        picture("types", title, text, plot.height, *marks),
        _type_table(rows),
        [colour for found, colour in COLOURS.items() if found in judged],
    )


def _bubbles(plot: Plot, rows: list[TypeRow]) -> Iterator[Markup]:
    spent = [row.compute_ns + row.coord_ns.total() for row in rows]
    largest = max(spent) or 1
    places = [
        (
            *plot.at(row.grain_ns or 0, coord_of(row)),
            max(_LARGEST * math.sqrt(ns / largest), _LEAST),
        )
        for row, ns in zip(rows, spent, strict=True)
    ]
    for row, place in zip(rows, places, strict=True):
        tip = f"{type_label(row)}: {multiple(row.ratio)} over {row.messages:,} messages"
        yield dot(*place, f"bubble {COLOURS[_judged(row)][0]}", tip)
    labels = Labels(plot, places)
    for row, place in zip(rows[:_NAMED], places, strict=False):
        yield labels.beside(shortened(unqualified(row.message), 20), *place)


def _judged(row: TypeRow) -> Verdict:
    return verdict(row.compute_ns, row.coord_ns.total(), row.messages)


def _diagonals(plot: Plot, x: Log, y: Log) -> list[Markup]:
    marks = []
    for ratio in (1, GOLDEN, IDEAL):
        begin = max(10.0**x.low, ratio * 10.0**y.low)
        end = min(10.0**x.high, ratio * 10.0**y.high)
        if begin < end:
            (x1, y1), (x2, y2) = plot.at(begin, begin / ratio), plot.at(end, end / ratio)
            marks.append(line(x1, y1, x2, y2, f"limit r{ratio}"))
            marks.append(label(f"{ratio}x", x2 - 4, y2 + 12, "limit-name", "end"))
    return marks


def _type_table(rows: list[TypeRow]) -> Table:
    return Table(
        ("type", "messages", "grain", "coordination", "ratio", "strict", "core-seconds"),
        [
            (
                type_label(row),
                f"{row.messages:,}",
                duration(row.grain_ns or 0),
                duration(coord_of(row)),
                multiple(row.ratio),
                multiple(row.strict_ratio),
                f"{(row.compute_ns + row.coord_ns.total()) / 1e9:.2f}",
            )
            for row in rows
        ],
    )


def grains(report: Report) -> Chart:
    """Draw how the compute of single messages spreads, and the grain that 10x needs."""
    title = "How long handlers compute"
    text = (
        f"Compute of single messages; the line is the mean grain that {GOLDEN}x needs at today's "
        "coordination. Right: the ratio, and of how many messages."
    )
    rows = [row for row in report.types if row.hist.compute][:_SHOWN]
    if not rows:
        return Chart("grains", title, "No message was handled.", Markup())
    ends = [histogram.lower(end) for row in rows for end in _ends(row)]
    x = Log.around([*ends, *(GOLDEN * coord_of(row) for row in rows)])
    height = 44 + _ROW * len(rows)
    plot = Plot(x, Linear(1), height, left=22, right=22, top=6, bottom=38)
    marks = []
    for value in x.ticks():
        at = plot.across(value)
        marks.append(line(at, plot.top, at, height - plot.bottom, "grid"))
        marks.append(label(shortest(value), at, height - 24, anchor="middle"))
    marks.append(label("compute per message", WIDTH / 2, height - 6, "axis", "middle"))
    for number, row in enumerate(rows):
        marks.append(_spread(plot, row, plot.top + number * _ROW))
    return Chart(
        "grains",
        title,
        text,
        picture("grains", title, text, height, *marks),
        _grain_table([row for row in report.types if row.hist.compute]),
    )


def _ends(row: TypeRow) -> tuple[int, int]:
    return min(row.hist.compute), max(row.hist.compute) + 1


def _pairs(buckets: Mapping[int, int]) -> dict[int, int]:
    """Join buckets two by two: narrower bars can't be told apart."""
    found: Counter[int] = Counter()
    for bucket, count in buckets.items():
        found[bucket & ~1] += count
    return found


def _spread(plot: Plot, row: TypeRow, top: float) -> Markup:
    base, room = top + _ROW - 4, _ROW - 22
    pairs = _pairs(row.hist.compute)
    highest = max(pairs.values())
    bars = []
    for bucket, count in sorted(pairs.items()):
        begin, end = histogram.lower(bucket), histogram.lower(bucket + 2)
        left, right = plot.across(begin), plot.across(end)
        size = room * count / highest
        tip = f"{count:,} messages of {duration(begin)} to {duration(end)}"
        width = max(right - left, 1.5)
        bars.append(rectangle(left, base - size, width, size, "c-compute", tip))
    result = f"{multiple(row.ratio)} of {short(row.messages)}"
    needed = plot.across(GOLDEN * coord_of(row))
    return join(
        label(shortened(type_label(row), 38), plot.left, top + 12, "name"),
        label(result, WIDTH - plot.right, top + 12, "name", "end"),
        line(plot.left, base, WIDTH - plot.right, base, "grid"),
        *bars,
        line(needed, top + 16, needed, base, "limit r10"),
    )


def _grain_table(rows: list[TypeRow]) -> Table:
    return Table(
        ("type", "messages", "mean", "p50", "p90", "p99", f"needed for {GOLDEN}x"),
        [
            (
                type_label(row),
                f"{row.messages:,}",
                duration(row.grain_ns or 0),
                *(duration(histogram.percentile(row.hist.compute, p) or 0) for p in (50, 90, 99)),
                duration(GOLDEN * coord_of(row)),
            )
            for row in rows
        ],
    )
