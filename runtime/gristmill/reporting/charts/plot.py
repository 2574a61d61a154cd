"""What the charts are drawn with: scales, a plot area with its axes, and a finished chart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from gristmill.reporting.markup import Markup, Table, element, join

WIDTH: Final = 400
"""Of every chart, in units of its view box: about one pixel on a phone as on a desktop."""
_CHARACTER: Final = 7.0  # width of an average one at the size of the labels


class Chart(msgspec.Struct, frozen=True):
    """A picture, what it shows in words, and the same as a table."""

    id: str
    title: str
    text: str
    picture: Markup
    """An ``svg`` element; empty where the report does not hold what it takes."""
    table: Table | None = None
    legend: Sequence[tuple[str, str]] = ()
    """Colours that the picture uses: CSS class and name."""


class Log(msgspec.Struct, frozen=True):
    """A logarithmic scale over whole decades; what lies outside is set on its edge."""

    low: int
    """Exponent of 10 at which it begins."""
    high: int

    @classmethod
    def around(cls, values: Iterable[float], least: int = 2) -> Log:
        """Give the scale that shows all positive values, and ``least`` decades."""
        shown = [value for value in values if 0 < value < math.inf]
        low = math.floor(math.log10(min(shown, default=1)))
        high = math.ceil(math.log10(max(shown, default=1)))
        return cls(low, max(high, low + least))

    def __call__(self, value: float) -> float:
        """Place a value between 0 and 1."""
        exponent = math.log10(value) if value > 0 else self.low
        return min(max((exponent - self.low) / (self.high - self.low), 0.0), 1.0)

    def ticks(self) -> Iterable[float]:
        """Give the decades, every second or third of many."""
        step = math.ceil((self.high - self.low) / 7)
        return (10.0**exponent for exponent in range(self.low, self.high + 1, step))


class Linear(msgspec.Struct, frozen=True):
    """A linear scale from 0 on."""

    high: float

    def __call__(self, value: float) -> float:
        """Place a value between 0 and 1."""
        return min(max(value / self.high, 0.0), 1.0)

    def ticks(self) -> Iterable[float]:
        """Give round values, at most seven."""
        decade = 10.0 ** math.floor(math.log10(self.high))
        step = next(decade * part for part in (0.2, 0.5, 1, 2) if decade * part * 6 >= self.high)
        return (step * number for number in range(int(self.high / step * 1.001) + 1))


Scale = Log | Linear
Format = Callable[[float], str]
"""Writes a value."""


class Plot(msgspec.Struct, frozen=True):
    """An area with two axes; places values in it."""

    x: Scale
    y: Scale
    height: float = 280
    left: float = 62
    right: float = 22
    top: float = 14
    bottom: float = 40

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Give where a pair of values lies."""
        return self.across(x), self.down(y)

    def across(self, x: float) -> float:
        """Give how far from the left a value lies."""
        return self.left + self.x(x) * (WIDTH - self.left - self.right)

    def down(self, y: float) -> float:
        """Give how far from the top a value lies."""
        return self.height - self.bottom - self.y(y) * (self.height - self.top - self.bottom)

    def axes(self, x: tuple[str, Format], y: tuple[str, Format]) -> Markup:
        """Draw grid and ticks; an axis is given by its name and how its values are written."""
        bottom, end = self.height - self.bottom, WIDTH - self.right
        parts: list[Markup] = []
        for value in self.x.ticks():
            at = self.across(value)
            parts.append(line(at, self.top, at, bottom, "grid"))
            parts.append(label(x[1](value), at, bottom + 14, anchor="middle"))
        for value in self.y.ticks():
            at = self.down(value)
            parts.append(line(self.left, at, end, at, "grid"))
            parts.append(label(y[1](value), self.left - 5, at + 4, anchor="end"))
        middle = (self.top + bottom) / 2
        parts.append(label(x[0], (self.left + end) / 2, self.height - 6, "axis", anchor="middle"))
        parts.append(label(y[0], 11, middle, "axis", "middle", turn=-90))
        return join(*parts)

    def path(self, points: Iterable[tuple[float, float]], class_: str) -> Markup:
        """Draw a line through pairs of values."""
        places = " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y in points)
        return element("polyline", points=places, class_=f"curve {class_}")


def picture(id: str, title: str, text: str, height: float, *content: str) -> Markup:  # noqa: A002 - the attribute's name
    """Wrap marks into an ``svg`` element that a screen reader names and describes."""
    return element(
        "svg",
        element("title", title, id=f"{id}-title"),
        element("desc", text, id=f"{id}-text"),
        *content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height:g}",
        role="img",
        aria_labelledby=f"{id}-title {id}-text",
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Draw a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def label(
    text: str,
    x: float,
    y: float,
    class_: str = "tick",
    anchor: str | None = None,
    turn: float | None = None,
) -> Markup:
    """Write a label; ``y`` is its base line, ``turn`` degrees that it is turned by."""
    turned = f"rotate({turn:g} {x:g} {y:g})" if turn is not None else None
    return element("text", text, x=x, y=y, class_=class_, text_anchor=anchor, transform=turned)


def rectangle(
    x: float, y: float, width: float, height: float, class_: str, tip: str, fade: float = 1
) -> Markup:
    """Draw a bar that says ``tip`` when it is pointed at; ``fade`` is its opacity."""
    return element(
        "rect", element("title", tip), x=x, y=y, width=max(width, 0), height=max(height, 0),
        class_=class_, fill_opacity=fade if fade < 1 else None,
    )  # fmt: skip


def dot(x: float, y: float, radius: float, class_: str, tip: str) -> Markup:
    """Draw a dot that says ``tip`` when it is pointed at."""
    return element("circle", element("title", tip), cx=x, cy=y, r=radius, class_=class_)


class Labels:
    """Names beside marks, as long as they find room: the first come are the first served.

    Args:
        plot: the area that they must stay in.
        marks: what they must not cover: middle and radius of each.
    """

    def __init__(self, plot: Plot, marks: Iterable[tuple[float, float, float]]) -> None:
        self._plot = plot
        self._taken = [(x - r, y - r, x + r, y + r) for x, y, r in marks]

    def beside(self, text: str, x: float, y: float, radius: float) -> Markup:
        """Write a name near a mark; nothing where there is no room."""
        width = _CHARACTER * len(text)
        for start, base, far in _places(x, y, radius, width):
            box = (start, base - 9, start + width, base + 3)
            if self._is_free(box):
                self._taken.append(box)
                end = base - 10 if base > y else base + 4
                leader = line(x, y, start + width / 2, end, "leader") if far else Markup()
                return join(leader, label(text, start, base, "name"))
        return Markup()

    def _is_free(self, box: tuple[float, float, float, float]) -> bool:
        left, top, right, bottom = box
        plot = self._plot
        inside = left >= plot.left and right <= WIDTH - 1 and top >= 0
        inside = inside and bottom <= plot.height - plot.bottom
        return inside and all(
            right < other[0] or left > other[2] or bottom < other[1] or top > other[3]
            for other in self._taken
        )


def _places(x: float, y: float, radius: float, width: float) -> Iterator[tuple[float, float, bool]]:
    """Give where a name can begin, the best first, and whether it is far from its mark."""
    right, middle, left = x + radius + 3, x - width / 2, x - radius - 3 - width
    yield right, y + 4, False
    yield left, y + 4, False
    for distance in (0, 16, 32):
        above, below = y - radius - 4 - distance, y + radius + 12 + distance
        for start in (right, middle, left):
            yield start, above, distance > 0
            yield start, below, distance > 0


def shortest(ns: float) -> str:
    """Write a duration of one digit for an axis: ``10 us``."""
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if ns >= size:
            return f"{ns / size:g} {unit}"
    return f"{ns:g} ns"


def times(ratio: float) -> str:
    """Write a ratio for an axis: ``10x``."""
    return f"{ratio:g}x"
