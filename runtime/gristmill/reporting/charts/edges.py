"""Which actors cost each other most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from gristmill.metrics import Report
from gristmill.metrics.ratios import quotient
from gristmill.metrics.schema import Edge
from gristmill.metrics.units import duration, shortened, unqualified
from gristmill.reporting.charts.plot import WIDTH, Chart, label, picture, rectangle
from gristmill.reporting.markup import Markup, Table, element

_MAX_ACTORS: Final = 10
_NAME: Final = 13
_LEFT: Final = 108
_TOP: Final = 88
_RIGHT: Final = 68  # the last name above leans over the edge of the matrix
_LARGEST: Final = 30
_TITLE: Final = "Which actors cost each other"


def edges(report: Report) -> Chart:
    """Shade a matrix of actor types by what their messages cost in coordination."""
    found = sorted(report.edges, key=lambda edge: -edge.coord_ns)
    if not found:
        return Chart("edges", _TITLE, "This run did not record who sends to whom.", Markup())
    text = "Coordination from the actor type on the left to the one above; stronger is more."
    names = list(dict.fromkeys(name for edge in found for name in (edge.source, edge.target)))
    matrix = _Matrix(names[:_MAX_ACTORS])
    marks = [*matrix.names_and_cells(), *matrix.shades(found)]
    return Chart(
        "edges",
        _TITLE,
        text,
        picture("edges", _TITLE, text, _TOP + matrix.side * len(matrix.names) + 8, *marks),
        Table(
            ("from, to", "messages", "bytes", "coordination"),
            [
                (_ends(edge), f"{edge.messages:,}", f"{edge.bytes:,}", duration(edge.coord_ns))
                for edge in found
            ],
        ),
    )


class _Matrix(msgspec.Struct, frozen=True):
    names: list[str]

    @property
    def side(self) -> float:
        return min(_LARGEST, (WIDTH - _LEFT - _RIGHT) / len(self.names))

    def names_and_cells(self) -> Iterator[Markup]:
        side = self.side
        for row, name in enumerate(self.names):
            short, middle = shortened(unqualified(name), _NAME), side * (row + 0.5)
            yield label(short, _LEFT - 5, _TOP + middle + 4, "name", "end")
            yield label(short, _LEFT + middle + 3, _TOP - 5, "name", turn=-50)
            for column in range(len(self.names)):
                x, y = _LEFT + column * side, _TOP + row * side
                yield element("rect", x=x, y=y, width=side, height=side, class_="cell")

    def shades(self, found: Sequence[Edge]) -> Iterator[Markup]:
        side, largest = self.side, found[0].coord_ns
        for edge in found:
            if edge.source in self.names and edge.target in self.names:
                x = _LEFT + side * self.names.index(edge.target)
                y = _TOP + side * self.names.index(edge.source)
                tip = f"{_ends(edge)}: {duration(edge.coord_ns)} over {edge.messages:,} messages"
                fade = 0.15 + 0.85 * (quotient(edge.coord_ns, largest) or 0)
                yield rectangle(x + 1, y + 1, side - 2, side - 2, "heat", tip, fade)


def _ends(edge: Edge) -> str:
    return f"{unqualified(edge.source)} to {unqualified(edge.target)}"
