"""METG: grids, their blocks, and where a sweep crosses a threshold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.metg.blocks import Block
from gristmill.metg.curves import Metg, Point, metg
from gristmill.metg.grid import PATTERNS, Grid, WrongInputError, perform

patterns = st.sampled_from(PATTERNS)
widths = st.integers(1, 40)


@given(patterns, widths, st.integers(1, 12))
def test_tasks_need_points_of_the_step_before_in_order(
    pattern: str, width: int, steps: int
) -> None:
    grid = Grid(pattern, width)
    counted = 0
    for step in range(steps):
        phase = grid.phase(step)
        before = range(grid.points(grid.phase(step - 1))) if step else range(0)
        for point in range(grid.points(phase)):
            needs = grid.needs(phase, point)
            assert list(needs) == sorted(set(needs))
            assert all(need in before for need in needs)
            assert bool(needs) == (step > 0 and pattern != "trivial")
            counted += 1
    assert grid.tasks(steps) == counted


@given(patterns, widths, st.integers(1, 5), st.integers(2, 10))
def test_blocks_share_all_points_and_what_is_sent_is_what_is_needed(
    pattern: str, width: int, blocks: int, steps: int
) -> None:
    grid = Grid(pattern, width)
    parts = [Block(grid, number, min(blocks, width)) for number in range(min(blocks, width))]
    outputs: list[dict[int, tuple[int, int]]] = [{} for _ in parts]
    for step in range(steps):
        done: list[dict[int, tuple[int, int]]] = []
        for part, known in zip(parts, outputs, strict=True):
            exchange = part.exchange(step)
            assert sorted(exchange.edge + exchange.inner) == list(part.tasks(step))
            done.append(
                {
                    point: perform(grid, step, point, [known[n] for n in needs], lambda _: None, 0)
                    for point, needs in exchange.edge + exchange.inner
                }
            )
        assert sorted(p for part in done for p in part) == [*range(grid.points(grid.phase(step)))]
        outputs = [dict(own) for own in done]
        received = [0] * len(parts)
        for part, own in zip(parts, done, strict=True):
            exchange = part.exchange(step)
            assert {point for _, points in exchange.sends for point in points} == {
                point for point, _ in exchange.edge
            }
            for home, points in exchange.sends:
                outputs[home].update((point, own[point]) for point in points)
                received[home] += 1
        assert received == [part.exchange(step + 1).sources for part in parts]


def test_a_wrong_input_is_named() -> None:
    grid = Grid("stencil_1d", 4)
    assert perform(grid, 2, 0, [(1, 0), (1, 1)], lambda _: None, 0) == (2, 0)
    with pytest.raises(WrongInputError, match="got 1 inputs; it needs 2"):
        perform(grid, 2, 0, [(1, 0)], lambda _: None, 0)
    with pytest.raises(WrongInputError, match="output of step 0, point 1; it needs that of step 1"):
        perform(grid, 2, 0, [(1, 0), (0, 1)], lambda _: None, 0)


@given(st.floats(0.5, 1e4), st.floats(0.05, 0.95), st.integers(4, 30))
def test_metg_of_a_constant_cost_is_what_the_model_says(
    cost: float, efficiency: float, sizes: int
) -> None:
    works = [cost * 64 / 2**size for size in range(sizes)]
    points = [Point(1, work + cost, work / (work + cost)) for work in works]
    found = metg(points, efficiency)
    exact = cost / (1 - efficiency)  # work = efficiency * granularity
    if efficiency > points[0].efficiency:
        assert found == Metg(None)
    elif efficiency < points[-1].efficiency:
        assert found == Metg(points[-1].granularity_us, below=True)
    else:
        assert found.us is not None
        assert exact <= found.us * 1.0001  # the chord lies below the curve
        assert found.us <= 1.2 * exact


def test_one_inefficient_size_among_larger_ones_is_passed_over() -> None:
    points = [Point(8, 10, 0.9), Point(4, 30, 0.3), Point(2, 6, 0.8), Point(1, 4, 0.4)]
    assert metg(points, 0.6).us == pytest.approx(5)
