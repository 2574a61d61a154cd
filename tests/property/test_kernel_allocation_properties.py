"""Allocation against brute force: every way to take the units, priced one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill_orders.compute.allocation import Allocation, Shortage, allocate

COSTS = st.lists(st.integers(0, 9), min_size=8, max_size=8)
STOCK = st.lists(st.integers(0, 2), min_size=8, max_size=8)


def ways(quantity: int, stock: list[int]) -> Iterator[tuple[int, ...]]:
    for way in itertools.product(*(range(min(quantity, units) + 1) for units in stock)):
        if sum(way) == quantity:
            yield way


def brute_force(
    ordered: list[int], stock: list[list[int]], shipment: list[int], unit: list[int], split: int
) -> int | None:
    """Give the least cost over all ways, or None if there is no way."""
    least: dict[tuple[bool, ...], int] = {(False,) * 8: 0}
    for quantity, units in zip(ordered, stock, strict=True):
        following: dict[tuple[bool, ...], int] = {}
        for way in ways(quantity, units):
            price = sum(n * cents for n, cents in zip(way, unit, strict=True))
            for used, cost in least.items():
                now = tuple(u or n > 0 for u, n in zip(used, way, strict=True))
                following[now] = min(following.get(now, cost + price), cost + price)
        least = following
    totals = [
        cost + sum(s for s, u in zip(shipment, used, strict=True) if u) + split * (sum(used) - 1)
        for used, cost in least.items()
    ]
    return min(totals, default=None)


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(st.tuples(st.integers(1, 4), STOCK), min_size=1, max_size=2),
    shipment=COSTS,
    unit=COSTS,
    split=st.integers(0, 6),
)
def test_the_cost_is_the_least_there_is(
    lines: list[tuple[int, list[int]]], shipment: list[int], unit: list[int], split: int
) -> None:
    ordered, by_line = [line[0] for line in lines], [line[1] for line in lines]
    stock = np.array(by_line).T
    found = allocate(np.array(ordered), stock, np.array(shipment), np.array(unit), split)
    expected = brute_force(ordered, by_line, shipment, unit, split)
    if expected is None:
        assert found == Shortage(tuple(i for i, (n, units) in enumerate(lines) if sum(units) < n))
        return
    assert isinstance(found, Allocation)
    assert found.cost_cents == expected
    assert (found.quantities >= 0).all()
    assert (found.quantities <= stock).all()
    assert found.quantities.sum(axis=0).tolist() == ordered
    used = found.quantities.any(axis=1)
    units = int(found.quantities.sum(axis=1) @ unit)
    assert found.cost_cents == units + int(np.array(shipment)[used].sum()) + split * (
        int(used.sum()) - 1
    )
