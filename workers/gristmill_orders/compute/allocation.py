"""Allocates an order's lines to eight warehouses at minimum cost, exactly.

The cost is what each used warehouse asks for a shipment to the destination, its handling per unit,
and a penalty for each warehouse beyond the first. All 255 sets of warehouses are tried at once. As
handling costs a warehouse the same for every line, filling from the cheapest on is optimal within
a set.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from gristmill.errors import UsageError
from gristmill_orders.compute.zones import zone_of

Ints = NDArray[np.int64]


class Warehouse(msgspec.Struct, frozen=True):
    """A warehouse: handling cost per unit and shipment cost per zone, in cents."""

    name: str
    unit_cents: int
    shipment_cents: tuple[int, int, int, int, int]
    """For HOME, NEAR, EUROPE, OUTER_EUROPE and WORLD."""


WAREHOUSES: Final = (
    Warehouse("north", 4, (310, 520, 940, 1_180, 1_900)),
    Warehouse("midlands", 5, (240, 480, 860, 1_120, 1_850)),
    Warehouse("south", 6, (260, 470, 760, 1_050, 1_700)),
    Warehouse("west", 5, (290, 390, 880, 1_150, 1_820)),
    Warehouse("dublin", 7, (450, 210, 900, 1_200, 1_900)),
    Warehouse("rotterdam", 8, (620, 760, 350, 640, 1_500)),
    Warehouse("poznan", 3, (880, 980, 520, 430, 1_600)),
    Warehouse("overflow", 2, (980, 1_150, 1_250, 1_400, 2_300)),
)
SPLIT_PENALTY_CENTS: Final = 400
"""What each warehouse beyond the first costs on top: one more parcel to pack and to receive."""

_MEMBERS: Final[Ints] = (
    np.arange(1, 2 ** len(WAREHOUSES))[:, None] >> np.arange(len(WAREHOUSES)) & 1
)
"""(255, 8): whether the set of warehouses with number ``row + 1`` has a warehouse."""
_SETS_WITH: Final = tuple(np.flatnonzero(column) for column in _MEMBERS.T)


class Allocation(msgspec.Struct, frozen=True, eq=False):
    """An allocation of all lines: units by warehouse (row) and line (column), and its cost."""

    quantities: Ints
    cost_cents: int


class Shortage(msgspec.Struct, frozen=True):
    """The lines (by position) of which all warehouses together have too little."""

    lines: tuple[int, ...]


def shipment_costs(country: str) -> Ints:
    """Give what a shipment to ``country`` costs from each warehouse, in cents."""
    zone = zone_of(country)
    return np.array([warehouse.shipment_cents[zone] for warehouse in WAREHOUSES], dtype=np.int64)


def unit_costs() -> Ints:
    """Give what handling a unit costs at each warehouse, in cents."""
    return np.array([warehouse.unit_cents for warehouse in WAREHOUSES], dtype=np.int64)


def allocate(
    ordered: Ints,
    stock: Ints,
    shipment_cents: Ints,
    unit_cents: Ints,
    split_cents: int = SPLIT_PENALTY_CENTS,
) -> Allocation | Shortage:
    """Find the cheapest allocation of all lines, or the lines that are short.

    Args:
        ordered: (lines,) units ordered, none negative.
        stock: (8, lines) units available, none negative.
        shipment_cents: (8,) cost of using a warehouse.
        unit_cents: (8,) cost of a unit from a warehouse.
        split_cents: cost of each used warehouse beyond the first.

    Returns:
        The allocation; of equal ones that of the set with the lowest number, in which warehouse
        ``w`` counts ``2**w``. A shortage if the stock of all warehouses does not suffice.

    Raises:
        UsageError: the shapes do not fit together, or a number is negative.
    """
    _check(ordered, stock, shipment_cents, unit_cents, split_cents)
    short = np.flatnonzero(stock.sum(axis=0) < ordered)
    if short.size:
        return Shortage(tuple(short.tolist()))
    if not ordered.any():
        return Allocation(np.zeros_like(stock), 0)
    cheapest_first = np.argsort(unit_cents, kind="stable").tolist()
    costs, filled = _set_costs(ordered, stock, unit_cents, cheapest_first)
    costs += _MEMBERS @ shipment_cents + (_MEMBERS.sum(axis=1) - 1) * split_cents
    best = int(np.argmin(np.where(filled, costs, np.iinfo(np.int64).max)))
    chosen = [warehouse for warehouse in cheapest_first if _MEMBERS[best, warehouse]]
    return Allocation(_fill(ordered, stock, chosen), int(costs[best]))


def _set_costs(
    ordered: Ints, stock: Ints, unit_cents: Ints, cheapest_first: list[int]
) -> tuple[Ints, NDArray[np.bool_]]:
    """Give for each set the cost of its units, and whether its stock fills all lines."""
    missing = np.tile(ordered, (len(_MEMBERS), 1))
    costs: Ints = np.zeros(len(_MEMBERS), dtype=np.int64)
    for warehouse in cheapest_first:
        sets = _SETS_WITH[warehouse]
        before = missing[sets]
        taken = np.minimum(before, stock[warehouse])
        missing[sets] = before - taken
        costs[sets] += taken.sum(axis=1) * unit_cents[warehouse]
    filled: NDArray[np.bool_] = missing.max(axis=1) == 0
    return costs, filled


def _fill(ordered: Ints, stock: Ints, chosen: list[int]) -> Ints:
    quantities = np.zeros_like(stock)
    missing = ordered
    for warehouse in chosen:
        quantities[warehouse] = np.minimum(missing, stock[warehouse])
        missing = missing - quantities[warehouse]
    return quantities


def _check(
    ordered: Ints, stock: Ints, shipment_cents: Ints, unit_cents: Ints, split_cents: int
) -> None:
    warehouses = len(WAREHOUSES)
    if stock.shape != (warehouses, ordered.size) or ordered.ndim != 1:
        raise UsageError(
            f"stock has shape {stock.shape}, but must have ({warehouses}, lines) for ordered "
            f"quantities of shape {ordered.shape}"
        )
    if shipment_cents.shape != (warehouses,) or unit_cents.shape != (warehouses,):
        raise UsageError(f"costs need one entry for each of the {warehouses} warehouses")
    amounts = (ordered, stock, shipment_cents, unit_cents)
    if split_cents < 0 or any((amount < 0).any() for amount in amounts):
        raise UsageError("quantities, stock and costs can't be negative")
