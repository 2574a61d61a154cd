"""The one ratio that everything is held against: compute time over coordination time."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

GOLDEN: Final = 10
"""The ratio that a job should reach."""
IDEAL: Final = 100
"""The ratio from which on coordination no longer matters."""
MIN_MESSAGES: Final = 30
MIN_COMPUTE_NS: Final = 10_000_000


class Verdict(StrEnum):
    """What a ratio means."""

    IDEAL = "ideal"
    OK = "ok"
    FINE_GRAINED = "fine-grained"
    COORDINATION_BOUND = "coordination-bound"
    INSUFFICIENT_DATA = "insufficient data"


def quotient(numerator: float, denominator: float) -> float | None:
    """Divide, or give None where the denominator is not positive."""
    return numerator / denominator if denominator > 0 else None


def verdict(compute_ns: int, coord_ns: int, messages: int | None = None) -> Verdict:
    """Judge compute against coordination.

    Args:
        compute_ns: time in the user's code.
        coord_ns: time spent coordinating.
        messages: how many messages the times come from, None if they come from none.

    Returns:
        ``INSUFFICIENT_DATA`` below 30 messages or 10 ms of compute, else what the ratio says.
    """
    few = messages is not None and messages < MIN_MESSAGES
    if few or compute_ns < MIN_COMPUTE_NS:
        return Verdict.INSUFFICIENT_DATA
    if compute_ns >= IDEAL * coord_ns:
        return Verdict.IDEAL
    if compute_ns >= GOLDEN * coord_ns:
        return Verdict.OK
    return Verdict.FINE_GRAINED if compute_ns >= coord_ns else Verdict.COORDINATION_BOUND
