"""The part of the audit that counts stock, from the inventory's events and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from gristmill_orders import events as ev
from gristmill_orders.inventory import StockLevel, initial_stock
from gristmill_orders.order import Order
from gristmill_orders.states import OrderState
from gristmill_orders.values import StockMove

_NOTHING, _RESERVED, _RELEASED, _SHIPPED = "not reserved", "reserved", "released", "shipped"

_EXPECTED = {
    OrderState.PENDING: {_NOTHING},
    OrderState.RESERVED: {_RESERVED, _RELEASED},
    OrderState.SHIPPED: {_RESERVED, _SHIPPED},
    OrderState.COMPLETED: {_SHIPPED},
    OrderState.CANCELLED: {_NOTHING, _RELEASED},
    OrderState.FAILED: {_NOTHING, _RELEASED},
}
"""What may have become of the stock of an order in each state, also between two messages."""


class StockAudit:
    """Counts what left each shelf, and for which order.

    Args:
        seed: the seed of the initial stock.
        short_share: the share of products without stock.
    """

    def __init__(self, seed: int, short_share: float) -> None:
        self._seed = seed
        self._short_share = short_share
        self._moves: dict[str, tuple[StockMove, ...]] = {}
        self._fate: dict[str, str] = {}
        self._taken: Counter[tuple[str, int]] = Counter()
        self._initial: dict[str, tuple[int, ...]] = {}
        self._violations: list[str] = []

    def read(self, event: ev.StockEvent) -> None:
        """Take in the next event of the inventory."""
        order_id = event.order_id
        fate = self._fate.get(order_id, _NOTHING)
        if isinstance(event, ev.StockReserved):
            self._expect(order_id, fate, _NOTHING, _RESERVED)
            self._moves[order_id] = event.moves
            for move in event.moves:
                self._take(order_id, move)
            return
        self._expect(order_id, fate, _RESERVED, _RELEASED if _is_release(event) else _SHIPPED)
        if _is_release(event):
            for move in self._moves.get(order_id, ()):
                self._taken[move.sku, move.warehouse] -= move.quantity

    def _expect(self, order_id: str, fate: str, before: str, after: str) -> None:
        if fate != before:
            self._violations.append(f"order {order_id}: its stock went from {fate} to {after}")
        self._fate[order_id] = after

    def _take(self, order_id: str, move: StockMove) -> None:
        shelf = (move.sku, move.warehouse)
        self._taken[shelf] += move.quantity
        there = self._initial_of(move.sku)[move.warehouse]
        if move.quantity <= 0 or self._taken[shelf] > there:
            self._violations.append(
                f"order {order_id} takes {move.quantity} of {move.sku} from warehouse "
                f"{move.warehouse}, which then has {there - self._taken[shelf]} left"
            )

    def _initial_of(self, sku: str) -> tuple[int, ...]:
        if sku not in self._initial:
            self._initial[sku] = initial_stock(self._seed, sku, self._short_share)
        return self._initial[sku]

    def check(self, orders: Mapping[str, Order], levels: Mapping[str, StockLevel]) -> Iterator[str]:
        """Say what is wrong with the stock.

        Args:
            orders: the accepted orders by id.
            levels: what the inventory says that it holds; empty if it was not asked.
        """
        yield from self._violations
        for order_id in self._fate.keys() - orders.keys():
            yield f"order {order_id} has stock reserved, but nobody has accepted it"
        for order in orders.values():
            yield from self._check_order(order)
        yield from self._check_levels(levels)

    def _check_order(self, order: Order) -> Iterator[str]:
        fate = self._fate.get(order.order_id, _NOTHING)
        if fate not in _EXPECTED.get(order.state, {fate}):
            yield f"order {order.order_id} is {order.state}, but its stock is: {fate}"
        if fate == _NOTHING:
            return
        moved: Counter[str] = Counter()
        for move in self._moves.get(order.order_id, ()):
            moved[move.sku] += move.quantity
        if moved != {line.sku: line.quantity for line in order.stock_lines}:
            yield f"order {order.order_id} has other quantities reserved than it ordered"

    def _check_levels(self, levels: Mapping[str, StockLevel]) -> Iterator[str]:
        totals: dict[str, Counter[str]] = {_RESERVED: Counter(), _SHIPPED: Counter()}
        for order_id, moves in self._moves.items():
            total = totals.get(self._fate[order_id], Counter())
            for move in moves:
                total[move.sku] += move.quantity
        for sku, level in levels.items():
            initial = sum(self._initial_of(sku))
            reserved, shipped = totals[_RESERVED][sku], totals[_SHIPPED][sku]
            counted = StockLevel(initial, initial - reserved - shipped, reserved, shipped)
            if level != counted:
                yield f"product {sku}: the inventory has {level}, its events make {counted}"


def _is_release(event: ev.StockEvent) -> bool:
    return isinstance(event, ev.StockReleased)
