"""Allocation on cases whose answer can be seen."""

from __future__ import annotations

import numpy as np
import pytest

from gristmill.errors import UsageError
from gristmill_orders.compute.allocation import (
    WAREHOUSES,
    Allocation,
    Shortage,
    allocate,
    shipment_costs,
    unit_costs,
)

AMPLE = np.full((8, 3), 1_000)
ORDERED = np.array([5, 1, 12])
FLAT = np.full(8, 100)


def allocated(found: Allocation | Shortage) -> Allocation:
    assert isinstance(found, Allocation)
    return found


def test_ample_stock_ships_from_one_warehouse() -> None:
    found = allocated(allocate(ORDERED, AMPLE, shipment_costs("United Kingdom"), unit_costs()))
    assert np.count_nonzero(found.quantities.any(axis=1)) == 1
    assert found.quantities.sum(axis=0).tolist() == ORDERED.tolist()
    assert found.cost_cents == min(
        w.shipment_cents[0] + w.unit_cents * int(ORDERED.sum()) for w in WAREHOUSES
    )


def test_a_tie_goes_to_the_lowest_set() -> None:
    found = allocated(allocate(ORDERED, AMPLE, FLAT, np.ones(8, dtype=np.int64)))
    assert found.quantities[0].tolist() == ORDERED.tolist()


def test_a_split_is_made_only_when_it_pays() -> None:
    shipment = np.array([10, 10, *[10_000] * 6])
    unit = np.array([100, 1, *[100] * 6])
    stock = np.zeros((8, 1), dtype=np.int64)
    stock[0], stock[1] = 10, 6
    split = allocated(allocate(np.array([10]), stock, shipment, unit, split_cents=400))
    assert split.quantities[:2, 0].tolist() == [4, 6]
    assert split.cost_cents == 10 + 10 + 400 + 4 * 100 + 6
    single = allocated(allocate(np.array([10]), stock, shipment, unit, split_cents=700))
    assert single.quantities[:2, 0].tolist() == [10, 0]
    assert single.cost_cents == 10 + 1_000


def test_all_lines_or_none() -> None:
    stock = AMPLE.copy()
    stock[:, 0] = 0
    stock[:, 2] = 1
    found = allocate(ORDERED, stock, FLAT, FLAT)
    assert found == Shortage((0, 2))


def test_the_last_unit_of_every_warehouse_is_found() -> None:
    found = allocated(allocate(np.array([8]), np.ones((8, 1), dtype=np.int64), FLAT, FLAT))
    assert found.quantities[:, 0].tolist() == [1] * 8


def test_nothing_ordered_costs_nothing() -> None:
    found = allocated(allocate(np.array([0, 0]), AMPLE[:, :2], FLAT, FLAT))
    assert found.cost_cents == 0
    assert not found.quantities.any()


def test_the_arguments_are_not_changed() -> None:
    ordered, stock = ORDERED.copy(), AMPLE.copy()
    allocate(ordered, stock, FLAT, FLAT)
    assert ordered.tolist() == ORDERED.tolist()
    assert stock.tolist() == AMPLE.tolist()


@pytest.mark.parametrize(
    ("stock", "costs"),
    [(AMPLE[:7], FLAT), (AMPLE[:, :2], FLAT), (AMPLE, FLAT[:3]), (-AMPLE, FLAT), (AMPLE, -FLAT)],
)
def test_arguments_that_do_not_fit_are_refused(stock: np.ndarray, costs: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"shape|one entry|negative"):
        allocate(ORDERED, stock, costs, FLAT)
