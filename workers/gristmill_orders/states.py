"""The states of an order and the transitions that are drawn between them, as plain data."""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum

from gristmill.facets.transitions import TransitionTable


class OrderState(StrEnum):
    """Where an order stands."""

    PENDING = "Pending"
    PAYMENT_PROCESSING = "PaymentProcessing"
    RESERVED = "Reserved"
    SHIPPED = "Shipped"
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"
    FAILED = "Failed"


TRANSITIONS: dict[OrderState, dict[Hashable, OrderState]] = {
    OrderState.PENDING: {
        "PaymentRequested": OrderState.PAYMENT_PROCESSING,
        "OrderCancelled": OrderState.CANCELLED,
    },
    OrderState.PAYMENT_PROCESSING: {
        "InventoryReserved": OrderState.RESERVED,
        "OrderFailed": OrderState.FAILED,
        "OrderCancelled": OrderState.CANCELLED,
    },
    OrderState.RESERVED: {
        "ShipmentCreated": OrderState.SHIPPED,
        "OrderFailed": OrderState.FAILED,
        "OrderCancelled": OrderState.CANCELLED,
    },
    OrderState.SHIPPED: {"OrderCompleted": OrderState.COMPLETED},
    OrderState.COMPLETED: {},
    OrderState.CANCELLED: {},
    OrderState.FAILED: {},
}
"""State -> name of the event that leaves it -> next state. Other events leave the state alone."""

INITIAL = OrderState.PENDING
TERMINAL = frozenset({OrderState.COMPLETED, OrderState.CANCELLED, OrderState.FAILED})
TABLE = TransitionTable(TRANSITIONS, initial=INITIAL, terminal=TERMINAL)
