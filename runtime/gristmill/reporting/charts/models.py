"""What the figures predict: the ratio by batch size."""

from __future__ import annotations

from typing import Final

import msgspec

from gristmill.metrics import Report
from gristmill.metrics.advice import label as type_label
from gristmill.metrics.ratios import GOLDEN, IDEAL, MIN_MESSAGES, quotient
from gristmill.metrics.schema import TypeRow
from gristmill.metrics.units import duration, multiple
from gristmill.reporting.charts.plot import (
    WIDTH,
    Chart,
    Log,
    Plot,
    dot,
    label,
    line,
    picture,
    times,
)
from gristmill.reporting.markup import Markup, Table, join

SERIES: Final = 5
"""Types that a chart of lines can tell apart."""
LIMITS: Final = 40
"""Margin on the right that the names of :func:`limits` need."""
_DECADES: Final = 3  # of batch sizes
_STEPS: Final = 48


class _Model(msgspec.Struct, frozen=True):
    """Compute per item, and coordination per message and per item, in ns."""

    row: TypeRow
    compute: float
    fixed: float
    per_item: float

    def ratio(self, items: float) -> float:
        return items * self.compute / (self.fixed + items * self.per_item)

    def items_for(self, ratio: float) -> str:
        margin = self.compute - ratio * self.per_item
        return f"{max(1, -(-ratio * self.fixed // margin)):,.0f}" if margin > 0 else "out of reach"


def _models(report: Report) -> list[_Model]:
    found = []
    for row in report.types:
        fixed, per_item = row.fit.o_f_ns, row.fit.o_v_ns_per_item
        enough = row.messages >= MIN_MESSAGES and row.compute_ns and row.items
        if not enough or fixed is None or per_item is None:
            continue
        if min(fixed, per_item) >= 0 and fixed + per_item > 0:
            found.append(_Model(row, row.compute_ns / row.items, fixed, per_item))
    return found


def batching(report: Report) -> Chart:
    """Draw the ratio that the cost model predicts for more items in a message."""
    title = "What batching would bring"
    text = (
        "Predicted ratio by items per message, from the fixed cost of a message and the cost of an "
        "item. The dot is today, the ring the batch that is advised."
    )
    models = _models(report)
    if not models:
        return Chart("batching", title, "No type has enough messages for a prediction.", Markup())
    shown = models[:SERIES]
    largest = 10**_DECADES
    now = [model.ratio(model.row.items / model.row.messages) for model in shown]
    y = Log.around([*now, *(model.ratio(largest) for model in shown), 1, IDEAL])
    plot = Plot(Log(0, _DECADES), y, height=300, right=LIMITS)
    marks = [plot.axes(("items per message", "{:g}".format), ("ratio", times)), limits(plot)]
    sizes = [10 ** (_DECADES * step / _STEPS) for step in range(_STEPS + 1)]
    marks += [
        plot.path([(size, model.ratio(size)) for size in sizes], f"s{number}")
        for number, model in enumerate(shown)
    ]
    for number, model in enumerate(shown):
        items = model.row.items / model.row.messages
        tip = f"{type_label(model.row)}: {multiple(model.ratio(items))} at {items:.3g} items"
        marks.append(dot(*plot.at(items, model.ratio(items)), 4, f"s{number} point", tip))
        for size in (found.k_hi for found in model.row.advice if found.k_hi is not None):
            tip = f"{type_label(model.row)}: {multiple(model.ratio(size))} at {size} items"
            marks.append(dot(*plot.at(size, model.ratio(size)), 5, f"s{number} ring", tip))
    return Chart(
        "batching",
        title,
        text,
        picture("batching", title, text, plot.height, *marks),
        _batch_table(models),
        [(f"s{number}", type_label(model.row)) for number, model in enumerate(shown)],
    )


def limits(plot: Plot) -> Markup:
    """Draw the lines of 10x and 100x; their names stand in the margin on the right."""
    marks = []
    for ratio in (GOLDEN, IDEAL):
        at = plot.down(ratio)
        marks.append(line(plot.left, at, WIDTH - plot.right, at, f"limit r{ratio}"))
        marks.append(label(f"{ratio}x", WIDTH - plot.right + 4, at + 4, "limit-name"))
    return join(*marks)


def _batch_table(models: list[_Model]) -> Table:
    return Table(
        ("type", "compute per item", "fixed per message", "coordination per item", "at most",
         f"items for {GOLDEN}x", f"for {IDEAL}x"),
        [
            (
                type_label(model.row),
                duration(model.compute),
                duration(model.fixed),
                duration(model.per_item),
                multiple(quotient(model.compute, model.per_item)),
                model.items_for(GOLDEN),
                model.items_for(IDEAL),
            )
            for model in models
        ],
    )  # fmt: skip
