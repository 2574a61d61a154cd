"""What the bench scripts share: the raw floor, rounds of pairs, the table and the JSON."""

from __future__ import annotations

from harness.floor import RawPair
from harness.report import (
    Bench,
    Pairs,
    Result,
    add_libraries,
    add_transport,
    arguments,
    named,
    options,
    two_cores,
)

__all__ = [
    "Bench",
    "Pairs",
    "RawPair",
    "Result",
    "add_libraries",
    "add_transport",
    "arguments",
    "named",
    "options",
    "two_cores",
]
