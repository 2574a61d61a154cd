"""Bar charts as SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

_WIDTH, _LABELS, _NUMBERS = 760, 230, 110
"""Of the page, of the column of labels at the least, and of that of numbers."""
_LETTER = 7.3
"""Width of a letter of 12 px in a wide font, on average."""
_BAR, _GAP, _TITLE = 16, 5, 34
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}"
    ".ours{fill:#1f6feb}.floor{fill:#8c959f}.other{fill:#9ec1f5}"
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


def chart(panels: Sequence[Panel]) -> str:
    """Draw panels one below the other."""
    parts: list[str] = []
    y = 0
    letters = max((len(bar.label) for panel in panels for bar in panel.bars), default=0)
    labels = max(_LABELS, round(letters * _LETTER) + 20)
    for panel in panels:
        parts.append(f'<text class="title" x="12" y="{y + 23}">{escape(panel.title)}</text>')
        y += _TITLE
        longest = max((bar.value for bar in panel.bars), default=0.0) or 1.0
        for bar in panel.bars:
            parts.append(_drawn(bar, y, longest, labels))
            y += _BAR + _GAP
    height = y + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}"><style>{_STYLE}</style>'
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _drawn(bar: Bar, y: int, longest: float, labels: int) -> str:
    length = max(1.0, bar.value / longest * (_WIDTH - labels - _NUMBERS))
    middle = y + _BAR - 4
    return (
        f'<text x="{labels - 8}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>'
        f'<rect class="{bar.kind}" x="{labels}" y="{y}" width="{length:.1f}" height="{_BAR}"/>'
        f'<text x="{labels + length + 6:.1f}" y="{middle}">{escape(bar.text)}</text>'
    )
