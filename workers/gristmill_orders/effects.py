"""What the processor does because of an event, beyond publishing it: send, set a timer.

The events are journaled in one transaction with the messages that follow from them, so that after
a crash an order goes on from its events. Only timers are lost then; ``pending_timers`` gives them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gristmill_orders import events as ev
from gristmill_orders import messages as msg
from gristmill_orders.order import Order, Step

PAYMENT = "payment"
INVENTORY = "inventory"
SHIPPING = "shipping"


class Tell(msgspec.Struct, frozen=True):
    """Send ``command`` to a service: ``PAYMENT``, ``INVENTORY`` or ``SHIPPING``."""

    service: str
    command: msg.ServiceCommand


class StartTimer(msgspec.Struct, frozen=True):
    """Tell the processor itself ``command`` after ``delay`` seconds."""

    name: str
    delay: float
    command: msg.TimerCommand


class DeadLetter(msgspec.Struct, frozen=True):
    """Hand ``event`` to the dead-letter channel: a person should look at it."""

    event: ev.OrderEvent
    reason: str


Effect = Tell | StartTimer | DeadLetter


def reaction(order: Order, event: ev.OrderEvent) -> Effect | None:
    """Give the effect of an event, to be carried out once.

    Args:
        order: the order as it is after the event.
        event: what has happened.
    """
    react = _REACTIONS.get(type(event))
    return react(order, event) if react else None


def pending_timers(order: Order, now: float) -> list[StartTimer]:
    """Give the timers to arm anew after a restart of the processor.

    Args:
        order: the order as rebuilt from its events.
        now: seconds on the processor's clock. No timer gets longer than it was, so a clock that
            began anew with the machine does no harm.
    """
    timers = []
    if order.step is Step.PAYMENT_DUE:
        remaining = _remaining(order.retry_at, order.delay, now)
        timers.append(_payment_timer(order, remaining))
    if order.step is Step.LABEL_DUE:
        timers.append(_label_timer(order, _remaining(order.retry_at, order.delay, now)))
    for call in order.refund_calls:
        if call.retry_at is not None:
            remaining = _remaining(call.retry_at, call.delay, now)
            timers.append(_refund_timer(order.order_id, call.key, call.attempt + 1, remaining))
    return timers


def _remaining(due_at: float, delay: float, now: float) -> float:
    return min(max(due_at - now, 0.0), delay)


def _payment_timer(order: Order, delay: float) -> StartTimer:
    due = msg.PaymentDue(order.order_id, order.attempt + 1)
    return StartTimer(order.payment_key, delay, due)


def _label_timer(order: Order, delay: float) -> StartTimer:
    due = msg.LabelDue(order.order_id, order.label_attempt + 1)
    return StartTimer(order.label_key, delay, due)


def _refund_timer(order_id: str, key: str, attempt: int, delay: float) -> StartTimer:
    return StartTimer(key, delay, msg.RefundDue(order_id, key, attempt))


def _when_payment_due(order: Order, _: ev.OrderCreated | ev.PaymentDeferred) -> Effect:
    return _payment_timer(order, order.delay)


def _when_payment_requested(order: Order, event: ev.PaymentRequested) -> Effect:
    charge = msg.ProcessPayment(
        order.order_id,
        order.payment_key,
        event.attempt,
        order.total_cents,
        order.payment_method,
        order.customer_id,
        order.items,
        order.address.country,
    )
    return Tell(PAYMENT, charge)


def _when_paid(order: Order, _: ev.PaymentCompleted) -> Effect | None:
    if order.is_cancelling:
        return None
    country = order.address.country
    return Tell(INVENTORY, msg.ReserveStock(order.order_id, order.stock_lines, country))


def _when_payment_failed(order: Order, event: ev.PaymentFailed) -> Effect | None:
    if event.refused or order.is_cancelling:
        return None
    return DeadLetter(event, f"no answer from the gateway in {event.attempt} attempts")


def _when_reserved(order: Order, event: ev.InventoryReserved) -> Effect | None:
    return None if order.is_cancelling else _ask_for_label(order, event.at)


def _when_label_requested(order: Order, event: ev.LabelRequested) -> Effect:
    return _ask_for_label(order, event.at)


def _ask_for_label(order: Order, at: float) -> Effect:
    label = msg.ShipOrder(
        order.order_id,
        order.label_key,
        order.stock_lines,
        order.address.country,
        order.label_attempt,
        at,
    )
    return Tell(SHIPPING, label)


def _when_shipment_deferred(order: Order, _: ev.ShipmentDeferred) -> Effect:
    return _label_timer(order, order.delay)


def _when_labelled(order: Order, _: ev.ShipmentCreated) -> Effect:
    return Tell(INVENTORY, msg.ShipStock(order.order_id))


def _when_compensating(order: Order, event: ev.CompensationStarted) -> Effect | None:
    return Tell(INVENTORY, msg.ReleaseStock(order.order_id)) if event.release else None


def _when_refund_asked(order: Order, event: ev.RefundAsked) -> Effect:
    refund = msg.RefundPayment(
        order.order_id, order.payment_key, event.refund_key, event.attempt, event.cents
    )
    return Tell(PAYMENT, refund)


def _when_refund_deferred(order: Order, event: ev.RefundDeferred) -> Effect:
    return _refund_timer(order.order_id, event.refund_key, event.attempt + 1, event.delay)


_REACTIONS: dict[type[ev.OrderEvent], Callable[[Order, Any], Effect | None]] = {
    ev.OrderCreated: _when_payment_due,
    ev.PaymentDeferred: _when_payment_due,
    ev.PaymentRequested: _when_payment_requested,
    ev.PaymentCompleted: _when_paid,
    ev.PaymentFailed: _when_payment_failed,
    ev.InventoryReserved: _when_reserved,
    ev.LabelRequested: _when_label_requested,
    ev.ShipmentDeferred: _when_shipment_deferred,
    ev.ShipmentCreated: _when_labelled,
    ev.CompensationStarted: _when_compensating,
    ev.RefundAsked: _when_refund_asked,
    ev.RefundDeferred: _when_refund_deferred,
}
