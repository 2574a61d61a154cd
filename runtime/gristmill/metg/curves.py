"""Efficiency by granularity, and METG: the least granularity that keeps an efficiency.

The granularity of a task is wall time x cores / tasks, so it contains overhead and idle time. Its
efficiency is the rate of the run through the peak rate, which all runs share. The data is the
JSON schema ``metg/1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final, Literal

import msgspec

from gristmill.errors import GristmillError

SCHEMA: Final = "metg/1"
GOALS: Final = {"50": 0.5, "90.9": 10 / 11, "99": 100 / 101}
"""The efficiencies of compute/coordinate = 1, 10 and 100 where coordination is the only loss."""


class MetgFormatError(GristmillError):
    """A file holds no METG measurement that this version can read."""

    exit_code = 2


class Point(msgspec.Struct, frozen=True):
    """One size of task, as measured."""

    iterations: int
    granularity_us: float
    efficiency: float


class Metg(msgspec.Struct, frozen=True):
    """The least granularity at which an efficiency was kept, in us."""

    us: float | None
    """None: the efficiency was never reached."""
    below: bool = False
    """It is less than that: the smallest tasks still kept the efficiency."""


def metg(points: Sequence[Point], efficiency: float) -> Metg:
    """Find where efficiency falls below a threshold.

    Linear between the smallest task above and the next smaller one, as Task Bench does.

    Args:
        points: of one sweep, largest task first.
        efficiency: the threshold, from 0 to 1.
    """
    above = [place for place, point in enumerate(points) if point.efficiency >= efficiency]
    if not above:
        return Metg(None)
    last = above[-1]
    coarse = points[last]
    if last + 1 == len(points):
        return Metg(coarse.granularity_us, below=True)
    fine = points[last + 1]
    part = (coarse.efficiency - efficiency) / (coarse.efficiency - fine.efficiency)
    return Metg(coarse.granularity_us + part * (fine.granularity_us - coarse.granularity_us))


def middle(points: Sequence[Point]) -> Point:
    """Give the medians of repetitions of one size."""
    return Point(
        points[0].iterations,
        median(point.granularity_us for point in points),
        median(point.efficiency for point in points),
    )


class Curve(msgspec.Struct, frozen=True):
    """One sweep of one system."""

    system: str
    pattern: str
    points: tuple[Point, ...]
    """Largest task first; medians of the repetitions."""
    metg: dict[str, Metg]
    """By the efficiency in percent: ``50``, ``90.9``, ``99``."""
    floor_us: float
    """Granularity of tasks that compute nothing."""

    @classmethod
    def of(cls, system: str, pattern: str, points: Sequence[Point], floor_us: float) -> Curve:
        """Make it with its METGs."""
        found = {name: metg(points, goal) for name, goal in GOALS.items()}
        return cls(system, pattern, tuple(points), found, floor_us)


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What ``gristmill metg`` found."""

    schema: Literal["metg/1"] = "metg/1"
    host: str
    python: str
    runtime_version: str
    workers: int
    width: int
    """Points of a step."""
    kernel: str
    repetitions: int
    peak_ns: float
    """The least time of an iteration on one core, that every efficiency is measured by."""
    curves: tuple[Curve, ...]


def encode(measurement: Measurement) -> bytes:
    """Give a measurement as JSON."""
    return msgspec.json.encode(measurement)


def decode(data: bytes) -> Measurement:
    """Read a measurement from JSON.

    Raises:
        MetgFormatError: it is no JSON, or something else.
    """
    try:
        return msgspec.json.decode(data, type=Measurement)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MetgFormatError(
            f"this is no {SCHEMA} measurement: {error}; give what gristmill metg --json printed"
        ) from None
