"""What the soak judges by, and a short one of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.flatness import Sample, rises, slope
from harness.sabotage import Fault, plan_faults

BENCH = Path(__file__).parents[2] / "bench"


@given(st.floats(-5, 5), st.floats(-100, 100), st.integers(3, 30))
def test_a_slope_is_found_in_spite_of_outliers(rise: float, start: float, count: int) -> None:
    points = [(float(n), start + rise * n) for n in range(count)]
    assert slope(points) == pytest.approx(rise, abs=1e-6)
    if count > 10:
        points[count // 2] = (points[count // 2][0], 1e9)  # one of many
        assert slope(points) == pytest.approx(rise, abs=1e-6)


def test_what_rises_more_than_is_allowed_is_not_flat() -> None:
    samples = [Sample(float(n), {"a.fds": 10.0, "a.pss": 100.0 + n}) for n in range(31)]
    flat, steep = rises(samples, lambda _name, _first: 20.0)
    assert (flat.what, flat.by, flat.flat) == ("a.fds", 0.0, True)
    assert (steep.what, steep.flat) == ("a.pss", False)
    assert steep.by == pytest.approx(30.0)
    assert rises([], lambda _name, _first: 0.0) == []


def test_a_plan_depends_on_its_seed_alone_and_has_every_fault() -> None:
    first = list(islice(plan_faults(7, 0.5), 300))
    assert first == list(islice(plan_faults(7, 0.5), 300))
    assert first != list(islice(plan_faults(8, 0.5), 300))
    assert set(Counter(planned.fault for planned in first)) == set(Fault)
    assert 120 < first[-1].at < 180


def test_a_short_soak_finds_nothing_wrong(tmp_path: Path) -> None:
    found = tmp_path / "soak.json"
    command = [sys.executable, str(BENCH / "soak.py"), "--seconds", "9", "--json", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    wrong = [line for line in done.stderr.splitlines() if "rose by" not in line]
    assert wrong == []  # a few seconds are too short to judge by memory
    results = {row["name"]: row["median"] for row in json.loads(found.read_text())["results"]}
    assert results["orders"] > 0
    assert results["queries"] > 0
    assert sum(results[f"faults.{fault.name.lower()}"] for fault in Fault) >= 5
