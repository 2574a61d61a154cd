"""The inventory under any order of commands: nothing is lost, nothing goes below zero."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.errors import InvalidStateTransition
from gristmill_orders import messages as msg
from gristmill_orders.events import StockEvent
from gristmill_orders.inventory import Inventory, StockView
from gristmill_orders.values import StockLine, StockMove


def first_fit(view: StockView) -> tuple[StockMove, ...]:
    fullest = (units.index(max(units)) for units in view.available)
    pairs = zip(view.lines, fullest, strict=True)
    return tuple(StockMove(line.sku, warehouse, line.quantity) for line, warehouse in pairs)


steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "release", "ship"]),
        st.integers(0, 5),
        st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 50)), min_size=1, max_size=3),
    ),
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_initial_is_available_plus_reserved_plus_shipped(
    steps: list[tuple[str, int, list[tuple[str, int]]]],
) -> None:
    inventory = Inventory(7, short_share=0.3)
    journal: list[StockEvent] = []
    events: tuple[StockEvent, ...]
    for what, number, lines in steps:
        order_id = f"o{number}"
        try:
            match what:
                case "reserve":
                    stock_lines = tuple(StockLine(*line) for line in dict(lines).items())
                    message = msg.ReserveStock(order_id, stock_lines, "France")
                    events = inventory.reserve(message, first_fit).events
                case "release":
                    events = inventory.release(msg.ReleaseStock(order_id)).events
                case _:
                    events = inventory.ship(msg.ShipStock(order_id)).events
        except InvalidStateTransition:
            continue
        journal += events
        for event in events:
            inventory.apply(event)
        for level in inventory.levels().values():
            assert level.initial == level.available + level.reserved + level.shipped
            assert min(level) >= 0
    again = Inventory(7, short_share=0.3)
    for event in journal:
        again.apply(event)
    assert again.levels().items() <= inventory.levels().items()
