"""Log-linear histograms of durations: 8 buckets per octave, so a bucket is at most 12.5 % wide.

While counting, a histogram is a plain list of ints (:func:`empty`); afterwards it is a sparse
``{bucket: count}`` (:func:`sparse`), which is what reports carry. Merging is addition.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

SCHEME: Final = "loglin8"
BUCKETS: Final = 480
"""60 octaves of 8: the last bucket begins at about 137 years."""


def empty() -> list[int]:
    """Give a histogram with nothing in it."""
    return [0] * BUCKETS


def bucket(ns: int) -> int:
    """Give the bucket of a duration; below 0 it is the first, above the range the last."""
    shift = ns.bit_length() - 4
    if ns < 0:
        return 0
    return min((shift << 3) + (ns >> shift), BUCKETS - 1) if shift > 0 else ns


def lower(index: int) -> int:
    """Give the smallest duration, in ns, that falls into the bucket ``index``."""
    shift = max((index >> 3) - 1, 0)
    return (index - (shift << 3)) << shift


def middle(index: int) -> int:
    """Give the middle of the durations, in ns, that fall into the bucket ``index``."""
    return (lower(index) + lower(index + 1) - 1) // 2


def octave(index: int) -> int:
    """Give the octave of the bucket ``index``; those of less than 16 ns are in the first two."""
    return index >> 3


def sparse(counts: Sequence[int]) -> dict[int, int]:
    """Give the buckets that hold something."""
    return {index: count for index, count in enumerate(counts) if count}


def merged(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Add sparse histograms up."""
    result: dict[int, int] = {}
    for histogram in histograms:
        for index, count in histogram.items():
            result[index] = result.get(index, 0) + count
    return dict(sorted(result.items()))


def percentile(histogram: Mapping[int, int], percent: float) -> int | None:
    """Give the duration, in ns, that ``percent`` of the counted ones don't exceed.

    Args:
        histogram: a sparse histogram.
        percent: above 0, at most 100.

    Returns:
        The middle of the bucket in which the percentile lies, or None if nothing was counted.
    """
    rank = math.ceil(sum(histogram.values()) * percent / 100)
    seen = 0
    for index, count in sorted(histogram.items()):
        seen += count
        if seen >= rank:
            return middle(index)
    return None
