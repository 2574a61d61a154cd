"""Bar charts as SVG, readable on light and dark pages.

Where bars would leave nothing to see of the short ones, dots stand on a logarithmic scale instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

_WIDTH, _LABELS, _NUMBERS = 760, 230, 110
"""Of the page, of the column of labels at the least, and of that of numbers."""
_LETTER = 7.3
"""Width of a letter of 12 px in a wide font, on average."""
_BAR, _GAP, _TITLE = 16, 5, 34
_WIDEST = 100
"""How many times the least value the greatest may be where bars show both."""
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}"
    ".ours{fill:#1f6feb}.floor{fill:#8c959f}.other{fill:#9ec1f5}"
    ".decade{stroke:#d8dee4}.power{font-size:10px;fill:#656d76}"
)

Kind = Literal["ours", "floor", "other"]


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its length, and the text at its end."""

    label: str
    value: float
    text: str
    kind: Kind


@dataclass(frozen=True)
class Panel:
    """Bars of one unit, which share a scale."""

    title: str
    bars: Sequence[Bar]


class _Bars:
    """Lengths in proportion to values."""

    def __init__(self, values: Sequence[float], width: float) -> None:
        self._width = width
        self._longest = max(values, default=0.0) or 1.0

    def end(self, value: float) -> float:
        """Give how far from the labels a bar ends."""
        return max(1.0, value / self._longest * self._width)

    def grid(self, x: int, y: int, bottom: int) -> str:
        """Draw nothing: bars begin at zero, which all can see."""
        del x, y, bottom
        return ""

    def mark(self, bar: Bar, x: int, y: int) -> str:
        """Draw a bar."""
        length = self.end(bar.value)
        return f'<rect class="{bar.kind}" x="{x}" y="{y}" width="{length:.1f}" height="{_BAR}"/>'


class _Dots:
    """Places by the logarithms of values, between powers of ten."""

    def __init__(self, values: Sequence[float], width: float) -> None:
        self._first = math.floor(math.log10(min(values)))
        self._last = math.ceil(math.log10(max(values)))
        self._decade = width / (self._last - self._first)

    def end(self, value: float) -> float:
        """Give how far from the labels a dot is."""
        return (math.log10(value) - self._first) * self._decade

    def grid(self, x: int, y: int, bottom: int) -> str:
        """Draw the powers of ten."""
        lines = []
        for power in range(self._first, self._last + 1):
            at = x + self.end(10.0**power)
            lines.append(
                f'<line class="decade" x1="{at:.1f}" x2="{at:.1f}" y1="{y}" y2="{bottom}"/>'
                f'<text class="power" x="{at:.1f}" y="{bottom + 8}" text-anchor="middle">'
                f"{10**power:,}</text>"
            )
        return "\n".join(lines)

    def mark(self, bar: Bar, x: int, y: int) -> str:
        """Draw a dot."""
        at, middle = x + self.end(bar.value), y + _BAR / 2
        return f'<circle class="{bar.kind}" cx="{at:.1f}" cy="{middle:g}" r="5"/>'


def _scale(values: Sequence[float], width: float) -> _Bars | _Dots:
    if values and max(values) > _WIDEST * min(values) > 0:
        return _Dots(values, width)
    return _Bars(values, width)


def chart(panels: Sequence[Panel]) -> str:
    """Draw panels one below the other."""
    parts: list[str] = []
    y = 0
    letters = max((len(bar.label) for panel in panels for bar in panel.bars), default=0)
    labels = max(_LABELS, round(letters * _LETTER) + 20)
    for panel in panels:
        parts.append(f'<text class="title" x="12" y="{y + 23}">{escape(panel.title)}</text>')
        y += _TITLE
        scale = _scale([bar.value for bar in panel.bars], _WIDTH - labels - _NUMBERS)
        parts.append(scale.grid(labels, y, y + len(panel.bars) * (_BAR + _GAP)))
        for bar in panel.bars:
            parts.append(_drawn(bar, y, scale, labels))
            y += _BAR + _GAP
    height = y + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}"><style>{_STYLE}</style>'
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>\n'
        + "\n".join(filter(None, parts))
        + "\n</svg>\n"
    )


def _drawn(bar: Bar, y: int, scale: _Bars | _Dots, labels: int) -> str:
    middle = y + _BAR - 4
    return (
        f'<text x="{labels - 8}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>'
        f"{scale.mark(bar, labels, y)}"
        f'<text x="{labels + scale.end(bar.value) + 8:.1f}" y="{middle}">{escape(bar.text)}</text>'
    )
