"""The inventory: all or none, once, under optimistic locking; nothing is ever lost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gristmill.errors import InvalidStateTransition
from gristmill.facets.versions import VersionConflict
from gristmill_orders import messages as msg
from gristmill_orders.events import StockReserved
from gristmill_orders.inventory import (
    AMPLE,
    WAREHOUSES,
    AllocationError,
    Inventory,
    Quantities,
    StockView,
    initial_stock,
)
from gristmill_orders.values import StockLine, StockMove

SEED = 7


def first_fit(view: StockView) -> Quantities:
    quantities = np.zeros_like(view.available)
    for column, line in enumerate(view.lines):
        quantities[np.argmax(view.available[:, column]), column] = line.quantity
    return quantities


def reserve(order_id: str, *lines: tuple[str, int]) -> msg.ReserveStock:
    return msg.ReserveStock(order_id, tuple(StockLine(*line) for line in lines), "France")


def put(inventory: Inventory, order_id: str, *lines: tuple[str, int]) -> object:
    events, reply = inventory.reserve(reserve(order_id, *lines), first_fit)
    for event in events:
        inventory.apply(event)
    return reply


def short_sku() -> str:
    return next(f"s{n}" for n in range(100_000) if not any(initial_stock(SEED, f"s{n}")))


def test_a_product_has_ample_stock_or_none() -> None:
    stocks = [initial_stock(SEED, f"s{n}") for n in range(20_000)]
    assert {units for stock in stocks for units in stock} == {0, AMPLE}
    assert 5 <= sum(not any(stock) for stock in stocks) <= 45
    assert stocks[0] == initial_stock(SEED, "s0")


def test_all_lines_or_none() -> None:
    inventory = Inventory(SEED)
    short = short_sku()
    reply = put(inventory, "o1", ("A", 3), (short, 1))
    assert reply == msg.ReservationRefused("o1", (short,), f"no stock of {short}")
    assert inventory.levels()["A"].reserved == 0


def test_a_repeated_command_gets_its_answer_again() -> None:
    inventory = Inventory(SEED)
    for _ in range(2):
        assert put(inventory, "o1", ("A", 3)) == msg.ReservationMade("o1")
    assert inventory.levels()["A"].reserved == 3
    (event,), _ = inventory.ship(msg.ShipStock("o1"))
    inventory.apply(event)
    assert inventory.ship(msg.ShipStock("o1")).events == ()
    assert inventory.levels()["A"].shipped == 3
    assert inventory.counters() == {
        "products": 1,
        "reserved": 0,
        "released": 0,
        "shipped": 1,
        "conflicts": 0,
    }


def test_stock_is_released_once() -> None:
    inventory = Inventory(SEED)
    put(inventory, "o1", ("A", 3))
    (event,), reply = inventory.release(msg.ReleaseStock("o1"))
    inventory.apply(event)
    assert reply == msg.ReservationReleased("o1")
    assert inventory.release(msg.ReleaseStock("o1")) == ((), reply)
    assert put(inventory, "o1", ("A", 3)) == reply
    assert inventory.levels()["A"].reserved == 0


def test_what_is_not_reserved_can_be_released_and_not_shipped() -> None:
    inventory = Inventory(SEED)
    assert inventory.release(msg.ReleaseStock("o1")).events == ()
    with pytest.raises(InvalidStateTransition):
        inventory.ship(msg.ShipStock("o1"))
    put(inventory, "o1", ("A", 3))
    inventory.apply(inventory.ship(msg.ShipStock("o1")).events[0])
    with pytest.raises(InvalidStateTransition):
        inventory.release(msg.ReleaseStock("o1"))


def test_a_conflict_reads_again_and_is_counted() -> None:
    inventory = Inventory(SEED)
    seen = []

    def interrupted(view: StockView) -> Quantities:
        seen.append(view.versions)
        if len(seen) == 1:
            put(inventory, "o2", ("A", 5))
        return first_fit(view)

    events, reply = inventory.reserve(reserve("o1", ("A", 3)), interrupted)
    assert reply == msg.ReservationMade("o1")
    assert seen == [(0,), (1,)]
    assert inventory.conflicts == 1
    assert len(events) == 1


def test_endless_conflicts_give_up() -> None:
    inventory = Inventory(SEED, conflict_retries=2)
    others = iter(range(10))

    def interrupted(view: StockView) -> Quantities:
        put(inventory, f"other{next(others)}", ("A", 1))
        return first_fit(view)

    with pytest.raises(VersionConflict, match="'A'"):
        inventory.reserve(reserve("o1", ("A", 3)), interrupted)
    assert inventory.conflicts == 3


@pytest.mark.parametrize("fault", [np.ones_like, lambda q: q * 2, lambda q: -q, lambda q: q[:2]])
def test_a_wrong_allocation_is_refused(fault: Callable[[Quantities], Quantities]) -> None:
    inventory = Inventory(SEED)
    with pytest.raises(AllocationError, match="order o1"):
        inventory.reserve(reserve("o1", ("A", 3)), lambda view: fault(first_fit(view)))


def test_taking_more_than_there_is_is_refused() -> None:
    inventory = Inventory(SEED)
    with pytest.raises(AllocationError, match="more than there is"):
        inventory.reserve(reserve("o1", ("A", AMPLE + 1)), first_fit)


def test_moves_name_every_warehouse_used() -> None:
    inventory = Inventory(SEED)
    view = inventory.view(reserve("o1", ("A", 4)))
    holders = np.flatnonzero(view.available[:, 0])[:2].tolist()
    quantities = np.zeros((WAREHOUSES, 1), dtype=np.int64)
    quantities[holders] += 4 // len(holders)
    (event,), _ = inventory.commit(reserve("o1", ("A", 4)), view, quantities)
    assert isinstance(event, StockReserved)
    assert event.moves == tuple(StockMove("A", w, 4 // len(holders)) for w in holders)
