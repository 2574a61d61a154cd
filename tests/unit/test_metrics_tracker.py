"""The tracker for the user's own code, and numbers as text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gristmill.errors import UsageError
from gristmill.metrics import CoordinationComputeTracker, Verdict
from gristmill.metrics.ratios import verdict
from gristmill.metrics.units import duration, multiple, short, shortened

MS = 1_000_000


def tracked(*stamps_ms: int) -> CoordinationComputeTracker:
    stamps = iter(stamps_ms)
    return CoordinationComputeTracker("resize", clock=lambda: next(stamps) * MS)


def test_phases_add_up_and_the_gaps_do_not_count() -> None:
    tracker = tracked(0, 20, 100, 102, 200, 220)
    tracker.start_compute()
    tracker.end_compute()
    with tracker.coordinate():
        pass
    with tracker.compute():
        pass
    summary = tracker.finalize()
    assert (summary.compute_ns, summary.coordinate_ns, summary.computes) == (40 * MS, 2 * MS, 2)
    assert summary.ratio == 20
    assert summary.efficiency == pytest.approx(20 / 21)
    assert summary.verdict is Verdict.OK
    assert str(summary) == (
        "resize: compute 40.0 ms in 2 phases, coordinate 2.00 ms, compute/coordinate = 20x (ok)"
    )
    assert tracker.finalize() is summary


def test_nothing_tracked_has_no_ratio() -> None:
    summary = tracked().finalize()
    assert (summary.ratio, summary.efficiency) == (None, None)
    assert summary.verdict is Verdict.INSUFFICIENT_DATA


def test_compute_alone_is_ideal() -> None:
    tracker = tracked(0, 50)
    with tracker.compute():
        pass
    summary = tracker.finalize()
    assert (summary.ratio, summary.efficiency, summary.verdict) == (None, 1.0, Verdict.IDEAL)


def test_a_block_that_raises_is_counted() -> None:
    tracker = tracked(0, 30)
    with pytest.raises(ZeroDivisionError), tracker.compute():
        _ = 1 / 0
    assert tracker.finalize().compute_ns == 30 * MS


@pytest.mark.parametrize(
    ("misuse", "says"),
    [
        (lambda t: t.end_compute(), "end_compute.. without start_compute..; nothing is running"),
        (lambda t: (t.start_compute(), t.end_coordinate()), "compute is running"),
        (lambda t: (t.start_compute(), t.start_compute()), "don't nest, call end_compute"),
        (lambda t: (t.start_compute(), t.start_coordinate()), "can't start coordinate"),
        (lambda t: (t.start_coordinate(), t.finalize()), "call end_coordinate.. before finalize"),
        (lambda t: (t.finalize(), t.start_compute()), "is finalized"),
    ],
)
def test_misuse_is_named(misuse: Callable[[CoordinationComputeTracker], object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        misuse(CoordinationComputeTracker("resize"))


@pytest.mark.parametrize(
    ("compute_ms", "coord_ms", "messages", "expected"),
    [
        (100, 1, 30, Verdict.IDEAL),
        (100, 2, 30, Verdict.OK),
        (100, 10, 30, Verdict.OK),
        (100, 11, 30, Verdict.FINE_GRAINED),
        (100, 100, 30, Verdict.FINE_GRAINED),
        (100, 101, 30, Verdict.COORDINATION_BOUND),
        (100, 1, 29, Verdict.INSUFFICIENT_DATA),
        (9, 1, 30, Verdict.INSUFFICIENT_DATA),
    ],
)
def test_verdicts(compute_ms: int, coord_ms: int, messages: int, expected: Verdict) -> None:
    assert verdict(compute_ms * MS, coord_ms * MS, messages) is expected


def test_units() -> None:
    assert [duration(ns) for ns in (0, 0.5, 7, 999.9, 1900, 12_040_000_000, 4e12)] == [
        "0 ns", "0.50 ns", "7.00 ns", "1.00 us", "1.90 us", "12.0 s", "4,000 s",
    ]  # fmt: skip
    assert [short(n) for n in (0, 0.4, 9, 44, 999, 1000, 51_640, 999_999, 2.5e9)] == [
        "0", "0.4", "9", "44", "999", "1.0k", "51.6k", "1.0M", "2.5G",
    ]  # fmt: skip
    assert [multiple(r) for r in (None, 0, 0.001, 0.7, 4.23, 64.4, 99.7, 1234)] == [
        "-", "0x", "<0.01x", "0.7x", "4.2x", "64x", "100x", "1,200x",
    ]  # fmt: skip
    assert shortened("OrderProcessor.CreateOrder", 11) == "Order\u2026Order"
    assert shortened("short", 11) == "short"
