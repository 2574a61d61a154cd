"""The saga of an order: which events follow from a message.

``decide`` turns a message into events, ``order.apply`` turns events into state, and
``effects.reactions`` turns events into what is sent, published and timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from gristmill.errors import UsageError
from gristmill.messages import Command
from gristmill_orders import events as ev
from gristmill_orders import messages as msg
from gristmill_orders.order import Order, Step, apply
from gristmill_orders.states import TABLE, OrderState
from gristmill_orders.values import RefundLine

E = TypeVar("E", bound=ev.OrderEvent)


class SagaPolicy(msgspec.Struct, frozen=True):
    """The settings of the saga.

    Raises:
        UsageError: ``backoff`` is empty.
    """

    backoff: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    """Seconds before each further attempt at a gateway that failed. A payment that has failed once
    more than there are entries is given up; a refund, and a label that a carrier may have made
    already, is never given up and repeats the last one."""
    max_orders: int = 1000
    """How many orders may be open at once."""

    def __post_init__(self) -> None:
        """Refuse a policy that could not space out the attempts at a refund."""
        if not self.backoff:
            raise UsageError("SagaPolicy: backoff is empty; give at least one delay in seconds")


class _Turn:
    """The events that one message leads to."""

    def __init__(self, order: Order, policy: SagaPolicy, now: float) -> None:
        self._order = order
        self._applied = 0
        self.policy = policy
        self.now = now
        self.events: list[ev.OrderEvent] = []

    @property
    def order(self) -> Order:
        """The order as it is after the events so far; they are applied when someone looks."""
        while self._applied < len(self.events):
            self._order = apply(self._order, self.events[self._applied])
            self._applied += 1
        return self._order

    def emit(self, kind: type[E], *fields: Any) -> None:  # noqa: ANN401 - the event's own fields
        order = self._order
        sequence = order.sequence + len(self.events) - self._applied + 1
        self.events.append(kind(order.order_id, order.order_key, sequence, *fields))


def decide(
    order: Order | None, message: msg.SagaMessage, now: float, policy: SagaPolicy
) -> list[ev.OrderEvent]:
    """Give the events to journal for a message; nothing has changed yet.

    A message that the order does not wait for, such as a repeated answer, leads to no events.

    Args:
        order: the order that the message names; None for ``CreateOrder``.
        message: what has arrived.
        now: seconds on the processor's clock.
        policy: the saga's settings.

    Raises:
        InvalidStateTransition: the order can't be cancelled any more.
    """
    if order is None:
        return [_created(message, now)] if isinstance(message, msg.CreateOrder) else []
    turn = _Turn(order, policy, now)
    if handler := _DECISIONS.get(type(message)):
        handler(turn, message)
    return turn.events


def _created(message: msg.CreateOrder, now: float) -> ev.OrderCreated:
    return ev.OrderCreated(
        message.order_id,
        message.order_key,
        1,
        message.customer_id,
        message.items,
        message.fees_cents,
        message.payment_method,
        message.address,
        message.idempotency_key,
        now,
    )


def _on_payment_due(turn: _Turn, message: msg.PaymentDue) -> None:
    if turn.order.step is Step.PAYMENT_DUE and message.attempt == turn.order.attempt + 1:
        turn.emit(ev.PaymentRequested, message.attempt)


def _awaits_payment(order: Order, message: msg.PaymentAnswer) -> bool:
    return order.step is Step.PAYMENT and message.attempt == order.attempt


def _on_authorised(turn: _Turn, message: msg.PaymentAuthorised) -> None:
    order = turn.order
    if _awaits_payment(order, message):
        turn.emit(ev.PaymentCompleted, message.cents, message.attempt)
        if order.is_cancelling:
            _undo(turn)


def _on_refused(turn: _Turn, message: msg.PaymentRefused) -> None:
    if _awaits_payment(turn.order, message):
        turn.emit(ev.PaymentFailed, message.reason, True, False, message.attempt)
        _undo(turn)


def _on_unavailable(turn: _Turn, message: msg.PaymentUnavailable) -> None:
    if not _awaits_payment(turn.order, message):
        return
    attempt, backoff = message.attempt, turn.policy.backoff
    if turn.order.is_cancelling or attempt > len(backoff):
        turn.emit(ev.PaymentFailed, message.reason, False, message.uncertain, attempt)
        _undo(turn)
    else:
        delay = backoff[attempt - 1]
        retry_at = turn.now + delay
        turn.emit(ev.PaymentDeferred, attempt, message.reason, message.uncertain, delay, retry_at)


def _on_reserved(turn: _Turn, _: msg.ReservationMade) -> None:
    order = turn.order
    if order.step is Step.RESERVATION:
        turn.emit(ev.InventoryReserved, turn.now)
        if order.is_cancelling:
            _undo(turn)


def _on_short(turn: _Turn, message: msg.ReservationRefused) -> None:
    if turn.order.step is Step.RESERVATION:
        turn.emit(ev.InventoryFailed, message.reason, message.skus)
        _undo(turn)


def _on_label(turn: _Turn, message: msg.LabelMade) -> None:
    order = turn.order
    if order.step is not Step.LABEL:
        return
    label = (message.carrier, message.service, message.tracking_number, message.cost_cents)
    turn.emit(ev.ShipmentCreated, *label)
    if order.is_cancelling:
        turn.emit(ev.CancelRefused, turn.order.state, "the label was made before the cancel")


def _on_no_label(turn: _Turn, message: msg.LabelRefused) -> None:
    if turn.order.step is Step.LABEL:
        turn.emit(ev.ShipmentFailed, message.reason)
        _undo(turn)


def _on_label_unavailable(turn: _Turn, message: msg.LabelUnavailable) -> None:
    order, attempt, backoff = turn.order, message.attempt, turn.policy.backoff
    if order.step is Step.LABEL and attempt == order.label_attempt:
        delay = backoff[min(attempt, len(backoff)) - 1]
        turn.emit(ev.ShipmentDeferred, attempt, message.reason, delay, turn.now + delay)


def _on_label_due(turn: _Turn, message: msg.LabelDue) -> None:
    order = turn.order
    if order.step is Step.LABEL_DUE and message.attempt == order.label_attempt + 1:
        turn.emit(ev.LabelRequested, message.attempt, turn.now)


def _on_shipped(turn: _Turn, _: msg.ReservationShipped) -> None:
    order = turn.order
    if order.step is Step.GOODS_ISSUE:
        turn.emit(ev.OrderCompleted, order.total_cents)
        for refund in order.refunds:
            turn.emit(ev.RefundAsked, order.refund_key(refund.refund_id), refund.cents, 1)


def _on_released(turn: _Turn, _: msg.ReservationReleased) -> None:
    if turn.order.step is Step.COMPENSATION and turn.order.reserved:
        turn.emit(ev.InventoryReleased)
        _end_if_undone(turn)


def _on_cancel(turn: _Turn, message: msg.CancelOrder) -> None:
    if turn.order.is_cancelling and not turn.order.is_terminal:
        return
    TABLE.check(turn.order.state, OrderState.CANCELLED)
    turn.emit(ev.CancelRequested, message.reason)
    # Between two attempts to charge nothing is under way; any other step ends first.
    if turn.order.step is Step.PAYMENT_DUE:
        _undo(turn)


def _undo(turn: _Turn) -> None:
    """Compensate what was done, or end the order at once if that is nothing."""
    order = turn.order
    refund = order.charged_cents > 0 or order.uncertain
    if order.reserved or refund:
        turn.emit(ev.CompensationStarted, order.reserved, refund)
        if refund:
            turn.emit(ev.RefundAsked, order.compensation_key, order.total_cents, 1)
    else:
        _end(turn)


def _end_if_undone(turn: _Turn) -> None:
    if not turn.order.reserved and not turn.order.refund_calls:
        _end(turn)


def _end(turn: _Turn) -> None:
    if turn.order.cancel_reason is not None:
        turn.emit(ev.OrderCancelled, turn.order.cancel_reason)
    else:
        turn.emit(ev.OrderFailed, turn.order.failure)
    for refund in turn.order.refunds:
        turn.emit(ev.RefundRefused, refund.refund_id, _not_refundable(turn.order))


def _not_refundable(order: Order) -> str:
    return f"the order is {order.state}: there is no payment left to refund lines of"


def _on_refund_lines(turn: _Turn, message: msg.RefundLines) -> None:
    order = turn.order
    if any(refund.refund_id == message.refund_id for refund in order.refunds):
        return
    if reason := _refund_refusal(order, message.lines):
        turn.emit(ev.RefundRefused, message.refund_id, reason)
        return
    cents = sum(line.quantity * line.unit_price_cents for line in message.lines)
    turn.emit(ev.RefundRequested, message.refund_id, message.lines, cents)
    if order.state is OrderState.COMPLETED:
        turn.emit(ev.RefundAsked, order.refund_key(message.refund_id), cents, 1)


def _refund_refusal(order: Order, lines: tuple[RefundLine, ...]) -> str:
    """Say why these lines can't be refunded; empty if they can."""
    if order.is_terminal and order.state is not OrderState.COMPLETED:
        return _not_refundable(order)
    if not lines:
        return "no lines are named"
    left: dict[tuple[str, int], int] = {}
    for item in order.items:
        line = (item.sku, item.unit_price_cents)
        left[line] = left.get(line, 0) + item.quantity
    earlier = (line for refund in order.refunds for line in refund.lines)
    for line_refund in (*earlier, *lines):
        line = (line_refund.sku, line_refund.unit_price_cents)
        left[line] = left.get(line, 0) - line_refund.quantity
        if line_refund.quantity <= 0 or left[line] < 0:
            return (
                f"{line_refund.quantity} of {line_refund.sku} at {line_refund.unit_price_cents} "
                "cents is not what is left of the order"
            )
    return ""


def _on_refund_made(turn: _Turn, message: msg.RefundMade) -> None:
    order = turn.order
    if order.refund_call(message.refund_key) is None:
        return
    if message.refund_key == order.compensation_key:
        turn.emit(ev.PaymentRefunded, message.refund_key, message.cents)
        _end_if_undone(turn)
        return
    for refund in order.refunds:
        if order.refund_key(refund.refund_id) == message.refund_key:
            turn.emit(ev.LinesRefunded, refund.refund_id, message.refund_key, message.cents)


def _on_refund_unavailable(turn: _Turn, message: msg.RefundUnavailable) -> None:
    call = turn.order.refund_call(message.refund_key)
    if call is None or call.retry_at is not None or call.attempt != message.attempt:
        return
    backoff = turn.policy.backoff
    delay = backoff[min(call.attempt, len(backoff)) - 1]
    retry_at = turn.now + delay
    turn.emit(ev.RefundDeferred, call.key, call.attempt, message.reason, delay, retry_at)


def _on_refund_due(turn: _Turn, message: msg.RefundDue) -> None:
    call = turn.order.refund_call(message.refund_key)
    if call and call.retry_at is not None and message.attempt == call.attempt + 1:
        turn.emit(ev.RefundAsked, call.key, call.cents, message.attempt)


_DECISIONS: dict[type[Command], Callable[[_Turn, Any], None]] = {
    msg.CancelOrder: _on_cancel,
    msg.RefundLines: _on_refund_lines,
    msg.PaymentDue: _on_payment_due,
    msg.PaymentAuthorised: _on_authorised,
    msg.PaymentRefused: _on_refused,
    msg.PaymentUnavailable: _on_unavailable,
    msg.RefundDue: _on_refund_due,
    msg.RefundMade: _on_refund_made,
    msg.RefundUnavailable: _on_refund_unavailable,
    msg.ReservationMade: _on_reserved,
    msg.ReservationRefused: _on_short,
    msg.ReservationReleased: _on_released,
    msg.ReservationShipped: _on_shipped,
    msg.LabelMade: _on_label,
    msg.LabelRefused: _on_no_label,
    msg.LabelUnavailable: _on_label_unavailable,
    msg.LabelDue: _on_label_due,
}
