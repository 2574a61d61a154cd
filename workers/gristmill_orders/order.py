"""One order: its state, rebuilt from its events alone.

``apply`` trusts the events, except for the state machine: an event that the drawn table does not
have in the order's state is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from itertools import starmap
from typing import Any

import msgspec
from msgspec.structs import replace

from gristmill.errors import InvalidStateTransition
from gristmill_orders import events as ev
from gristmill_orders.states import TABLE, TERMINAL, OrderState
from gristmill_orders.values import (
    Address,
    OrderItem,
    OrderSummary,
    OrderView,
    RefundLine,
    StockLine,
)


class Step(StrEnum):
    """What an order waits for."""

    PAYMENT_DUE = "payment due"
    PAYMENT = "payment"
    RESERVATION = "reservation"
    LABEL_DUE = "label due"
    LABEL = "label"
    GOODS_ISSUE = "goods issue"
    COMPENSATION = "compensation"
    NOTHING = "nothing"


class RefundCall(msgspec.Struct, frozen=True):
    """A refund that is asked for and not yet confirmed."""

    key: str
    cents: int
    attempt: int
    delay: float = 0.0
    retry_at: float | None = None
    """When the next attempt is due; None while an answer is awaited."""


class LineRefund(msgspec.Struct, frozen=True):
    """Lines that a customer gets back the money for, once the order is completed."""

    refund_id: str
    lines: tuple[RefundLine, ...]
    cents: int


class Order(msgspec.Struct, frozen=True, gc=False):
    """The state of one order after ``sequence`` events. All amounts are integer cents."""

    order_id: str
    order_key: str
    sequence: int
    customer_id: str
    items: tuple[OrderItem, ...]
    fees_cents: int
    payment_method: str
    address: Address
    idempotency_key: str
    total_cents: int
    stock_lines: tuple[StockLine, ...]
    """The ordered quantity of each product, in order of first appearance."""
    retry_at: float
    """When the next attempt is due; holds while ``step`` is ``PAYMENT_DUE`` or ``LABEL_DUE``."""
    delay: float = 0.0
    state: OrderState = OrderState.PENDING
    step: Step = Step.PAYMENT_DUE
    attempt: int = 0
    uncertain: bool = False
    """A call that failed may have charged."""
    charged_cents: int = 0
    refunded_cents: int = 0
    reserved: bool = False
    carrier: str = ""
    tracking_number: str = ""
    cancel_reason: str | None = None
    failure: str = ""
    refunds: tuple[LineRefund, ...] = ()
    refund_calls: tuple[RefundCall, ...] = ()
    label_attempt: int = 0

    @property
    def payment_key(self) -> str:
        """The idempotency key of the charge."""
        return f"{self.idempotency_key}:payment"

    @property
    def label_key(self) -> str:
        """The idempotency key of the label."""
        return f"{self.idempotency_key}:label"

    @property
    def compensation_key(self) -> str:
        """The idempotency key of the refund of the whole payment."""
        return f"{self.idempotency_key}:refund"

    def refund_key(self, refund_id: str) -> str:
        """Give the idempotency key of a refund of lines."""
        return f"{self.idempotency_key}:refund:{refund_id}"

    @property
    def is_terminal(self) -> bool:
        """Whether the order is Completed, Cancelled or Failed."""
        return self.state in TERMINAL

    @property
    def is_cancelling(self) -> bool:
        """Whether the order shall be cancelled."""
        return self.cancel_reason is not None

    def refund_call(self, key: str) -> RefundCall | None:
        """Give the open refund with this key, if there is one."""
        return next((call for call in self.refund_calls if call.key == key), None)

    def view(self) -> OrderView:
        """Describe the order for a reader."""
        return OrderView(
            self.order_id,
            self.order_key,
            self.customer_id,
            self.state,
            self.items,
            self.fees_cents,
            self.total_cents,
            self.charged_cents,
            self.refunded_cents,
            self.attempt,
            self.carrier,
            self.tracking_number,
            self.cancel_reason or self.failure,
            len(self.refund_calls),
        )

    def summary(self) -> OrderSummary:
        """Describe the order in one line of a list."""
        return OrderSummary(self.order_id, self.order_key, self.state, self.total_cents)


def amount_cents(items: tuple[OrderItem, ...], fees_cents: int) -> int:
    """Add up the lines and fees of an order, in cents."""
    return sum([item.quantity * item.unit_price_cents for item in items]) + fees_cents


def apply(order: Order | None, event: ev.OrderEvent) -> Order:
    """Give the order as it is after ``event``.

    Args:
        order: the order so far; None before ``OrderCreated``.
        event: its next event.

    Raises:
        InvalidStateTransition: the state machine has no such transition. Nothing has changed.
    """
    if order is None:
        if not isinstance(event, ev.OrderCreated):
            raise InvalidStateTransition("no order", type(event).__name__, detail=event.order_id)
        return _created(event)
    return _APPLY[type(event)](order, event)


def _created(event: ev.OrderCreated) -> Order:
    return Order(
        event.order_id,
        event.order_key,
        event.sequence,
        event.customer_id,
        event.items,
        event.fees_cents,
        event.payment_method,
        event.address,
        event.idempotency_key,
        amount_cents(event.items, event.fees_cents),
        _stock_lines(event.items),
        event.created_at,
    )


def _stock_lines(items: tuple[OrderItem, ...]) -> tuple[StockLine, ...]:
    wanted: dict[str, int] = {}
    for item in items:
        wanted[item.sku] = wanted.get(item.sku, 0) + item.quantity
    return tuple(starmap(StockLine, wanted.items()))


def _created_again(order: Order, event: ev.OrderCreated) -> Order:
    raise InvalidStateTransition(order.state, OrderState.PENDING, detail=event.order_id)


def _payment_requested(order: Order, event: ev.PaymentRequested) -> Order:
    # The second and later attempts stay in the state that the first one entered.
    first = order.state is OrderState.PENDING
    return replace(
        order,
        sequence=event.sequence,
        state=TABLE.next(order.state, "PaymentRequested") if first else order.state,
        step=Step.PAYMENT,
        attempt=event.attempt,
    )


def _payment_deferred(order: Order, event: ev.PaymentDeferred) -> Order:
    return replace(
        order,
        sequence=event.sequence,
        step=Step.PAYMENT_DUE,
        delay=event.delay,
        retry_at=event.retry_at,
        uncertain=order.uncertain or event.uncertain,
    )


def _payment_completed(order: Order, event: ev.PaymentCompleted) -> Order:
    return replace(
        order,
        sequence=event.sequence,
        step=Step.RESERVATION,
        charged_cents=event.cents,
        uncertain=False,
    )


def _payment_failed(order: Order, event: ev.PaymentFailed) -> Order:
    return replace(
        order,
        sequence=event.sequence,
        step=Step.NOTHING,
        failure=event.reason,
        uncertain=order.uncertain or event.uncertain,
    )


def _inventory_reserved(order: Order, event: ev.InventoryReserved) -> Order:
    state = TABLE.next(order.state, "InventoryReserved")
    return replace(
        order,
        sequence=event.sequence,
        state=state,
        step=Step.LABEL,
        reserved=True,
        label_attempt=1,
    )


def _label_requested(order: Order, event: ev.LabelRequested) -> Order:
    return replace(order, sequence=event.sequence, step=Step.LABEL, label_attempt=event.attempt)


def _shipment_deferred(order: Order, event: ev.ShipmentDeferred) -> Order:
    return replace(
        order,
        sequence=event.sequence,
        step=Step.LABEL_DUE,
        delay=event.delay,
        retry_at=event.retry_at,
    )


def _step_failed(order: Order, event: ev.InventoryFailed | ev.ShipmentFailed) -> Order:
    return replace(order, sequence=event.sequence, step=Step.NOTHING, failure=event.reason)


def _shipment_created(order: Order, event: ev.ShipmentCreated) -> Order:
    return replace(
        order,
        sequence=event.sequence,
        state=TABLE.next(order.state, "ShipmentCreated"),
        step=Step.GOODS_ISSUE,
        carrier=event.carrier,
        tracking_number=event.tracking_number,
    )


def _cancel_requested(order: Order, event: ev.CancelRequested) -> Order:
    return replace(order, sequence=event.sequence, cancel_reason=event.reason)


def _cancel_refused(order: Order, event: ev.CancelRefused) -> Order:
    # A cancelled order stays what it is; one that was to be cancelled goes on.
    reason = order.cancel_reason if order.is_terminal else None
    return replace(order, sequence=event.sequence, cancel_reason=reason)


def _compensation_started(order: Order, event: ev.CompensationStarted) -> Order:
    return replace(order, sequence=event.sequence, step=Step.COMPENSATION)


def _inventory_released(order: Order, event: ev.InventoryReleased) -> Order:
    return replace(order, sequence=event.sequence, reserved=False)


def _other_calls(order: Order, key: str) -> tuple[RefundCall, ...]:
    return tuple(call for call in order.refund_calls if call.key != key)


def _refund_asked(order: Order, event: ev.RefundAsked) -> Order:
    call = RefundCall(event.refund_key, event.cents, event.attempt)
    calls = (*_other_calls(order, event.refund_key), call)
    return replace(order, sequence=event.sequence, refund_calls=calls)


def _refund_deferred(order: Order, event: ev.RefundDeferred) -> Order:
    calls = tuple(
        replace(call, delay=event.delay, retry_at=event.retry_at)
        if call.key == event.refund_key
        else call
        for call in order.refund_calls
    )
    return replace(order, sequence=event.sequence, refund_calls=calls)


def _refunded(order: Order, event: ev.PaymentRefunded | ev.LinesRefunded) -> Order:
    refunded = order.refunded_cents + event.cents
    return replace(
        order,
        sequence=event.sequence,
        refund_calls=_other_calls(order, event.refund_key),
        refunded_cents=refunded,
        # A refund can bring to light a charge whose answer was lost.
        charged_cents=max(order.charged_cents, refunded),
        uncertain=False,
    )


def _refund_requested(order: Order, event: ev.RefundRequested) -> Order:
    refund = LineRefund(event.refund_id, event.lines, event.cents)
    return replace(order, sequence=event.sequence, refunds=(*order.refunds, refund))


def _refund_refused(order: Order, event: ev.RefundRefused) -> Order:
    left = tuple(refund for refund in order.refunds if refund.refund_id != event.refund_id)
    return replace(order, sequence=event.sequence, refunds=left)


def _ended(order: Order, event: ev.OrderEvent) -> Order:
    state = TABLE.next(order.state, type(event).__name__)
    return replace(order, sequence=event.sequence, state=state, step=Step.NOTHING)


_APPLY: dict[type[ev.OrderEvent], Callable[[Order, Any], Order]] = {
    ev.OrderCreated: _created_again,
    ev.PaymentRequested: _payment_requested,
    ev.PaymentDeferred: _payment_deferred,
    ev.PaymentCompleted: _payment_completed,
    ev.PaymentFailed: _payment_failed,
    ev.InventoryReserved: _inventory_reserved,
    ev.InventoryFailed: _step_failed,
    ev.LabelRequested: _label_requested,
    ev.ShipmentDeferred: _shipment_deferred,
    ev.ShipmentCreated: _shipment_created,
    ev.ShipmentFailed: _step_failed,
    ev.CancelRequested: _cancel_requested,
    ev.CancelRefused: _cancel_refused,
    ev.CompensationStarted: _compensation_started,
    ev.InventoryReleased: _inventory_released,
    ev.RefundAsked: _refund_asked,
    ev.RefundDeferred: _refund_deferred,
    ev.PaymentRefunded: _refunded,
    ev.LinesRefunded: _refunded,
    ev.RefundRequested: _refund_requested,
    ev.RefundRefused: _refund_refused,
    ev.OrderCompleted: _ended,
    ev.OrderCancelled: _ended,
    ev.OrderFailed: _ended,
}
