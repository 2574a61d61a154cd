"""The inventory: all or none, once, under optimistic locking; nothing is ever lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from gristmill.errors import InvalidStateTransition
from gristmill.facets.versions import VersionConflict
from gristmill_orders import messages as msg
from gristmill_orders.events import StockReserved
from gristmill_orders.inventory import (
    AMPLE,
    WAREHOUSES,
    AllocationError,
    Inventory,
    StockView,
    initial_stock,
)
from gristmill_orders.values import StockLine, StockMove

SEED = 7
EMPTY = initial_stock(SEED, "A").index(0)


def first_fit(view: StockView) -> tuple[StockMove, ...]:
    fullest = (units.index(max(units)) for units in view.available)
    pairs = zip(view.lines, fullest, strict=True)
    return tuple(StockMove(line.sku, warehouse, line.quantity) for line, warehouse in pairs)


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

    def interrupted(view: StockView) -> tuple[StockMove, ...]:
        seen.append(view.versions)
        if len(seen) == 1:
            put(inventory, "o2", ("A", 5))
        return first_fit(view)

    events, reply = inventory.reserve(reserve("o1", ("A", 3)), interrupted)
    assert reply == msg.ReservationMade("o1")
    assert seen == [(0,), (1,)]
    assert inventory.conflicts == 1
    assert len(events) == 1


def test_an_order_that_was_reserved_meanwhile_gets_its_answer_again() -> None:
    inventory = Inventory(SEED)

    def overtaken(view: StockView) -> tuple[StockMove, ...]:
        put(inventory, "o1", ("A", 3))
        return first_fit(view)

    answer = inventory.reserve(reserve("o1", ("A", 3)), overtaken)
    assert answer == ((), msg.ReservationMade("o1"))
    assert inventory.levels()["A"].reserved == 3


def test_endless_conflicts_give_up() -> None:
    inventory = Inventory(SEED, conflict_retries=2)
    others = iter(range(10))

    def interrupted(view: StockView) -> tuple[StockMove, ...]:
        put(inventory, f"other{next(others)}", ("A", 1))
        return first_fit(view)

    with pytest.raises(VersionConflict, match="'A'"):
        inventory.reserve(reserve("o1", ("A", 3)), interrupted)
    assert inventory.conflicts == 3


@pytest.mark.parametrize(
    "faulty",
    [
        lambda move: (),
        lambda move: (move, move),
        lambda move: (replace(move, quantity=-3),),
        lambda move: (move, replace(move, quantity=0)),
        lambda move: (replace(move, sku="B"),),
        lambda move: (replace(move, warehouse=WAREHOUSES),),
        lambda move: (replace(move, warehouse=-1),),
        lambda move: (replace(move, warehouse=EMPTY),),
    ],
)
def test_a_wrong_allocation_is_refused(
    faulty: Callable[[StockMove], tuple[StockMove, ...]],
) -> None:
    inventory = Inventory(SEED)
    with pytest.raises(AllocationError, match="order o1"):
        inventory.reserve(reserve("o1", ("A", 3)), lambda view: faulty(*first_fit(view)))


def test_taking_more_than_there_is_is_refused() -> None:
    inventory = Inventory(SEED)
    with pytest.raises(AllocationError, match="more than there is"):
        inventory.reserve(reserve("o1", ("A", AMPLE + 1)), first_fit)


def test_moves_name_every_warehouse_used() -> None:
    inventory = Inventory(SEED)
    view = inventory.view(reserve("o1", ("A", 4)))
    holders = [w for w, units in enumerate(view.available[0]) if units][:2]
    moves = tuple(StockMove("A", w, 4 // len(holders)) for w in holders)
    (event,), _ = inventory.commit("o1", view, moves)
    assert isinstance(event, StockReserved)
    inventory.apply(event)
    left = inventory.view(reserve("o2", ("A", 1))).available[0]
    assert [AMPLE - left[w] for w in holders] == [move.quantity for move in moves]
