"""The events of the order service: what is journaled, and what subscribers see.

The history of an order is its ``OrderEvent`` records, numbered 1, 2, 3 ... by ``sequence``. The
state of an order is rebuilt from them alone. The inventory journals ``StockEvent`` records.
"""

from __future__ import annotations

from gristmill.messages import Event
from gristmill_orders.states import OrderState
from gristmill_orders.values import Address, OrderItem, RefundLine, StockMove


class OrderEvent(Event, gc=False):
    """What every event of an order carries."""

    order_id: str
    order_key: str
    """The name of the order outside this service, such as an invoice number."""
    sequence: int
    """The position in the order's history, from 1; 0 for an order that was refused."""


class OrderCreated(OrderEvent):
    """The order was accepted. Carries all that was ordered."""

    customer_id: str
    items: tuple[OrderItem, ...]
    fees_cents: int
    payment_method: str
    address: Address
    idempotency_key: str
    created_at: float
    """Seconds on the clock of the actor that decided it."""


class OrderRefused(OrderEvent):
    """The order was not accepted; it has no history and no state."""

    reason: str
    code: str = ""
    """``invalid``, ``key_in_use`` (by another order), ``id_in_use`` or ``full`` (try again)."""


class PaymentRequested(OrderEvent):
    """The payment service is asked to charge, for the ``attempt``-th time."""

    attempt: int


class PaymentDeferred(OrderEvent):
    """The gateway failed; the next attempt follows after ``delay`` seconds."""

    attempt: int
    reason: str
    uncertain: bool
    """The failed call may have charged although no answer came."""
    delay: float
    retry_at: float
    """Seconds on the clock of the actor that decided it."""


class PaymentCompleted(OrderEvent):
    """The card was charged."""

    cents: int
    attempt: int


class PaymentFailed(OrderEvent):
    """The order won't be paid: the card was refused, or the gateway failed too often."""

    reason: str
    refused: bool
    uncertain: bool
    attempt: int


class InventoryReserved(OrderEvent):
    """All lines are reserved, and the shipping service is asked for a label."""

    at: float = 0.0
    """Seconds on the clock of the actor that decided it."""


class InventoryFailed(OrderEvent):
    """Stock is short; nothing is reserved."""

    reason: str
    skus: tuple[str, ...]


class LabelRequested(OrderEvent):
    """The shipping service is asked for the label again, for the ``attempt``-th time."""

    attempt: int
    at: float
    """Seconds on the clock of the actor that decided it."""


class ShipmentDeferred(OrderEvent):
    """A carrier may have made a label, and can't be asked; the next attempt is after ``delay``."""

    attempt: int
    reason: str
    delay: float
    retry_at: float
    """Seconds on the clock of the actor that decided it."""


class ShipmentCreated(OrderEvent):
    """The order has its label."""

    carrier: str
    service: str
    tracking_number: str
    cost_cents: int


class ShipmentFailed(OrderEvent):
    """No carrier made a label."""

    reason: str


class CancelRequested(OrderEvent):
    """The order shall be cancelled as soon as the step under way is known to have ended."""

    reason: str


class CancelRefused(OrderEvent):
    """The order can't be cancelled any more; it goes on as before."""

    state: OrderState
    reason: str


class CompensationStarted(OrderEvent):
    """What was done is being undone: stock released, payment refunded, or both."""

    release: bool
    refund: bool


class InventoryReleased(OrderEvent):
    """The reserved stock is available again."""


class RefundAsked(OrderEvent):
    """The payment service is asked to give ``cents`` back, for the ``attempt``-th time."""

    refund_key: str
    cents: int
    attempt: int


class RefundDeferred(OrderEvent):
    """The gateway failed to refund; the next attempt follows after ``delay`` seconds."""

    refund_key: str
    attempt: int
    reason: str
    delay: float
    retry_at: float


class PaymentRefunded(OrderEvent):
    """The payment was given back; 0 cents if it turned out that nothing had been charged."""

    refund_key: str
    cents: int


class RefundRequested(OrderEvent):
    """Lines of the order shall be refunded once it is completed."""

    refund_id: str
    lines: tuple[RefundLine, ...]
    cents: int


class RefundRefused(OrderEvent):
    """The lines are not refunded."""

    refund_id: str
    reason: str


class LinesRefunded(OrderEvent):
    """Lines of the completed order were refunded."""

    refund_id: str
    refund_key: str
    cents: int


class OrderCompleted(OrderEvent):
    """The goods have left; the order is done."""

    total_cents: int


class OrderCancelled(OrderEvent):
    """The order is cancelled, and all that was done for it is undone."""

    reason: str


class OrderFailed(OrderEvent):
    """The order failed, and all that was done for it is undone."""

    reason: str


class StockEvent(Event, gc=False):
    """What every event of the inventory carries."""

    order_id: str


class StockReserved(StockEvent):
    """Stock was set aside for an order."""

    moves: tuple[StockMove, ...]


class StockReleased(StockEvent):
    """The stock reserved for an order became available again."""


class StockShipped(StockEvent):
    """The stock reserved for an order left its warehouses."""
