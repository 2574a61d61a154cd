"""The audit of the revenue projection: exact, whatever came again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from gristmill_orders.order import Order
from gristmill_orders.subscribers import RevenueChanged, day_of


class ProjectionAudit:
    """Compares what the projection has counted with what the orders themselves say."""

    def __init__(self) -> None:
        self._last: dict[str, RevenueChanged] = {}
        self._times: Counter[tuple[str, int]] = Counter()

    def read(self, event: RevenueChanged) -> None:
        """Take in what the projection has journaled."""
        self._last[event.order_id] = event
        self._times[event.order_id, event.sequence] += 1

    def check(self, orders: Mapping[str, Order], behind: Mapping[str, int]) -> Iterator[str]:
        """Say what is not as it should be.

        Args:
            orders: the orders of the journal.
            behind: how many events each subscriber had not handled.
        """
        for group, events in behind.items():
            if events:
                yield f"subscriber {group} has not handled {events} events"
        for (order_id, sequence), times in self._times.items():
            if times > 1:
                yield f"order {order_id}: the projection has counted event {sequence} {times} times"
        for order_id, order in orders.items():
            counted = self._last.get(order_id)
            found = (counted.charged_cents, counted.refunded_cents) if counted else (0, 0)
            if found != (order.charged_cents, order.refunded_cents):
                yield (
                    f"order {order_id}: the projection has {found[0]} cents charged and {found[1]} "
                    f"refunded, the order {order.charged_cents} and {order.refunded_cents}"
                )
            if counted is not None and counted.day != day_of(order_id):
                yield f"order {order_id} was counted on {counted.day}"
