"""The size of an elastic pool, for any load."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gristmill.placement.elasticity import Elasticity, Scaler, target

loads = st.floats(0, 200, allow_nan=False)


@st.composite
def rules(draw: st.DrawFn) -> Elasticity:
    minimum = draw(st.integers(1, 20))
    up = draw(st.floats(0.5, 0.95))
    down = draw(st.floats(0.05, up / 2 - 0.01))
    return Elasticity(minimum, minimum + draw(st.integers(0, 80)), up, down, 1.0)


def sizes(rule: Elasticity) -> st.SearchStrategy[int]:
    return st.integers(rule.minimum, rule.maximum)


@given(st.data(), rules(), loads)
def test_the_size_stays_within_its_bounds(
    data: st.DataObject, rule: Elasticity, demand: float
) -> None:
    size = data.draw(sizes(rule))
    busy = min(demand, size)
    wanted = target(rule, size, busy, demand - busy)
    assert rule.minimum <= wanted <= rule.maximum
    assert wanted <= 2 * size


@given(st.data(), rules(), loads)
def test_it_grows_above_the_one_limit_and_shrinks_below_the_other(
    data: st.DataObject, rule: Elasticity, demand: float
) -> None:
    size = data.draw(sizes(rule))
    busy = min(demand, size)
    wanted = target(rule, size, busy, demand - busy)
    if busy > rule.scale_up * size:
        assert wanted > size or size == rule.maximum
    elif busy < rule.scale_down * size:
        assert wanted < size or size == rule.minimum
    else:
        assert wanted == size


@given(st.data(), rules(), loads)
def test_more_to_do_never_means_fewer(data: st.DataObject, rule: Elasticity, demand: float) -> None:
    size = data.draw(sizes(rule))
    less, more = sorted((demand, data.draw(loads)))
    assert target(rule, size, min(less, size), max(0.0, less - size)) <= target(
        rule, size, min(more, size), max(0.0, more - size)
    )


@given(st.data(), rules(), loads)
def test_under_a_steady_load_it_comes_to_rest_in_one_direction(
    data: st.DataObject, rule: Elasticity, demand: float
) -> None:
    size = data.draw(sizes(rule))
    seen = [size]
    for _ in range(100):
        busy = min(demand, seen[-1])
        wanted = target(rule, seen[-1], busy, demand - busy)
        if wanted == seen[-1]:
            break
        seen.append(wanted)
    else:
        raise AssertionError(f"it never rests: {seen}")
    assert seen in (sorted(seen), sorted(seen, reverse=True))


@given(st.lists(st.tuples(st.floats(0.05, 0.5), loads), min_size=1, max_size=80))
def test_two_changes_are_a_cooldown_apart(steps: list[tuple[float, float]]) -> None:
    rule = Elasticity(1, 100, cooldown=1.0)
    scaler, now, size = Scaler(rule, 0.0), 0.0, 5
    changes = [0.0]
    for passed, demand in steps:
        now += passed
        busy = min(int(demand), size)
        wanted = scaler.look(size, busy, int(demand) - busy, now)
        if wanted != size:
            changes.append(now)
            size = wanted
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(changes))


def test_five_become_fifty_in_four_steps() -> None:
    rule, sizes_seen = Elasticity(5, 50), [5]
    while sizes_seen[-1] < 50:
        size = sizes_seen[-1]
        sizes_seen.append(target(rule, size, size, 200))
    assert sizes_seen == [5, 10, 20, 40, 50]
    assert target(rule, 50, 0.0, 0.0) == 5


@given(st.data(), rules())
def test_members_that_have_ended_for_good_are_replaced_at_once(
    data: st.DataObject, rule: Elasticity
) -> None:
    left = data.draw(st.integers(0, rule.minimum))
    scaler = Scaler(rule, 0.0)
    assert scaler.look(left, left, 0, 0.1) == rule.minimum
    assert scaler.look(rule.minimum, 0, 0, 0.2) == rule.minimum
