"""Numbers as people read them."""

from __future__ import annotations

_TIMES = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns"))
_COUNTS = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))


def duration(ns: float) -> str:
    """Give a duration with three significant digits and its unit: ``1.90 ms``."""
    for size, unit in _TIMES:
        if abs(ns) >= 0.9995 * size:
            return f"{_three_digits(ns / size)} {unit}"
    return "0 ns" if ns == 0 else f"{ns:.2f} ns"


def _three_digits(value: float) -> str:
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def short(count: float) -> str:
    """Give a count in at most five characters: ``51.6k``."""
    for size, suffix in _COUNTS:
        if count >= 0.99995 * size:
            scaled = count / size
            return f"{scaled:.0f}{suffix}" if scaled >= 99.95 else f"{scaled:.1f}{suffix}"
    return f"{count:.0f}" if count >= 9.95 or count == int(count) else f"{count:.1f}"


def multiple(ratio: float | None) -> str:
    """Give a ratio with two significant digits: ``4.2x``; ``-`` if it is undefined."""
    if ratio is None:
        return "-"
    if 0 < ratio < 0.00995:
        return "<0.01x"
    if ratio >= 99.5:
        return f"{float(f'{ratio:.1e}'):,.0f}x"
    return f"{ratio:.2g}x"


def shortened(name: str, width: int) -> str:
    """Give ``name`` in at most ``width`` characters; an ellipsis stands for its cut middle."""
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}\u2026{name[len(name) - tail :]}"


def unqualified(name: str) -> str:
    """Give the name of a type without its module."""
    return name.rpartition(":")[2]
