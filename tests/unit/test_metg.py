"""METG without a node: the sweep on systems whose cost is known, text, files, charts."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gristmill.cli.main import app
from gristmill.metg import grid
from gristmill.metg.curves import Measurement, MetgFormatError, decode, encode
from gristmill.metg.grid import BUSY_WAIT_NS, KERNELS, Grid
from gristmill.metg.sweep import Plan, Sweep
from gristmill.metg.text import render
from gristmill.metrics import encode as encode_report
from support.reports import process, quote, report


class Model:
    """Takes a fixed time a task besides its iterations; where it was slow once, much more."""

    def __init__(self, cost_us: float, slow_at: int = 0) -> None:
        self._cost = cost_us
        self._slow_at = slow_at

    def run(self, grid: Grid, steps: int, kernel: str, iterations: int) -> float:
        assert kernel == "busy_wait"
        each = self._cost + iterations * 0.5 + 1000 * (iterations == self._slow_at > 0)
        return each * grid.tasks(steps) / 2 / 1e6


def swept(**systems: Model) -> Sweep:
    plan = Plan(("stencil_1d",), workers=2, width=8, kernel="busy_wait", repetitions=3)
    sweep = Sweep(systems, plan, lambda _: None)
    sweep.measure()
    return sweep


def measurement(sweep: Sweep) -> Measurement:
    return Measurement(
        host="h", python="3.11", runtime_version="0", workers=2, width=8, kernel="busy_wait",
        repetitions=3, peak_ns=sweep.peak_ns,
        curves=tuple(found.curve(sweep.peak_ns) for found in sweep.swept.values()),
    )  # fmt: skip


def test_a_sweep_finds_the_cost_of_each_system_by_one_peak() -> None:
    sweep = swept(gristmill=Model(10.0), other=Model(100.0))
    assert sweep.peak_ns == pytest.approx(500, rel=0.02)
    for name, cost in (("gristmill", 10.0), ("other", 100.0)):
        curve = sweep.swept[name, "stencil_1d"].curve(sweep.peak_ns)
        assert curve.metg["50"].us == pytest.approx(2 * cost, rel=0.1)
        assert curve.metg["90.9"].us == pytest.approx(11 * cost, rel=0.2)
        assert curve.floor_us == pytest.approx(cost)
        assert curve.points[0].iterations > curve.points[-1].iterations
        assert (
            sweep.swept[name, "stencil_1d"].metgs(sweep.peak_ns, 0.5)
            == [pytest.approx(2 * cost, rel=0.1)] * 3
        )


def test_one_slow_size_does_not_end_a_sweep() -> None:
    sweep = swept(gristmill=Model(10.0, slow_at=256))
    curve = sweep.swept["gristmill", "stencil_1d"].curve(sweep.peak_ns)
    assert curve.metg["50"].us == pytest.approx(20, rel=0.1)


def test_a_measurement_is_text_and_a_file() -> None:
    found = measurement(swept(gristmill=Model(10.0), other=Model(100.0)))
    assert decode(encode(found)) == found
    text = render(found, 100)
    assert "METG(90.9%)" in text
    assert "other, stencil_1d" in text
    assert "  stencil_1d   11" in text  # handlers of about 110 us
    assert max(map(len, text.splitlines())) <= 100
    with pytest.raises(MetgFormatError, match="give what gristmill metg --json printed"):
        decode(b'{"schema": "metg/1"}')


def test_a_system_without_a_cost_is_below_what_can_be_measured() -> None:
    found = measurement(swept(gristmill=Model(0.0)))
    assert found.curves[0].metg["99"].below
    assert "less than" in render(found, 100)


def test_the_page_draws_the_sweep_of_the_runs_folder(tmp_path: Path) -> None:
    (tmp_path / "granularity.json").write_bytes(
        encode_report(report(process(types=(quote(),), compute=5)))
    )
    runner = CliRunner()
    without = runner.invoke(app, ["report", "html", str(tmp_path)])
    assert "no METG sweep (gristmill metg)" in without.stdout
    found = measurement(swept(gristmill=Model(10.0)))
    (tmp_path / "metg.json").write_bytes(encode(found))
    beside = runner.invoke(app, ["report", "html", str(tmp_path)])
    assert beside.exit_code == 0
    assert "METG of stencil_1d, 50% (1x)" in beside.stdout
    given = runner.invoke(app, ["report", "html", str(tmp_path), "--metg", str(tmp_path / "no")])
    assert given.exit_code == 2
    assert "can't read" in given.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pattern", "star"], "error: --pattern star: known are trivial, stencil_1d"),
        (["--kernel", "dgemm"], "error: --kernel dgemm: known are compute_bound, busy_wait"),
        (["--workers", "4000"], "each is pinned to a core of its own"),
    ],
)
def test_what_can_not_be_measured_is_named(options: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["metg", *options])
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""


def test_the_busy_kernel_lasts_as_long_as_it_is_told() -> None:
    begin = time.perf_counter_ns()
    KERNELS["busy_wait"](40)
    assert time.perf_counter_ns() - begin >= 40 * BUSY_WAIT_NS


def test_the_computing_kernel_does_each_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    start = np.linspace(-0.9, -0.1, 64)
    monkeypatch.setattr(grid, "_state", start.copy())
    KERNELS["compute_bound"](400)
    expected = start.tolist()
    for _ in range(400):
        expected = [each * each + each for each in expected]
    assert grid._state.tolist() == expected
