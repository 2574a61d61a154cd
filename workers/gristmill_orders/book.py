"""All orders of one processor: who may come in, what each message does, what a reader sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from gristmill.errors import InvalidStateTransition, Reject
from gristmill_orders import events as ev
from gristmill_orders import messages as msg
from gristmill_orders.effects import Effect, StartTimer, pending_timers, reaction
from gristmill_orders.order import Order, amount_cents, apply
from gristmill_orders.saga import SagaPolicy, decide
from gristmill_orders.states import TERMINAL, OrderState
from gristmill_orders.values import OrderAnswer, OrderSummary

REFUSED = "refused"
"""The code of the rejection of a query about an order that was not accepted."""
UNKNOWN = "unknown_order"
"""The code of the rejection of what is about an order that nobody has placed."""
INVALID, KEY_IN_USE, FULL = "invalid", "key_in_use", "full"
"""Codes of ``OrderRefused``."""
TOO_LATE = "too_late"
"""The code of an answer about an order that can't be cancelled any more."""


class Progress(NamedTuple):
    """What a message has led to: journal and publish the events, carry out the effects."""

    events: list[ev.OrderEvent]
    effects: list[Effect]


class OrderBook:
    """The orders of one processor.

    Live, a message goes through ``handle``. After a restart, every journaled event goes through
    ``apply``, and ``pending_timers`` tells which timers to arm.

    Args:
        policy: the settings of the saga.
    """

    def __init__(self, policy: SagaPolicy | None = None) -> None:
        self.policy = policy or SagaPolicy()
        self._orders: dict[str, Order] = {}
        self._open: dict[str, None] = {}
        self._id_of_key: dict[str, str] = {}
        self._refusals: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def handle(self, message: msg.SagaMessage, now: float) -> Progress:
        """Decide a message and apply its events.

        Args:
            message: what has arrived.
            now: seconds on the processor's clock.

        Raises:
            Reject: the order is unknown here. Nothing has changed.
        """
        events = self.decide(message, now)
        effects: list[Effect] = []
        for event in events:
            self.apply(event)
            if effect := self.reaction(event):
                effects.append(effect)
        return Progress(events, effects)

    def reaction(self, event: ev.OrderEvent) -> Effect | None:
        """Give the effect of the event that was applied last."""
        order = self._orders.get(event.order_id)
        return None if order is None else reaction(order, event)

    def decide(self, message: msg.SagaMessage, now: float) -> list[ev.OrderEvent]:
        """Give the events that a message leads to; nothing has changed yet.

        Args:
            message: what has arrived.
            now: seconds on the processor's clock.

        Raises:
            Reject: the order is unknown here.
        """
        if type(message) is msg.CreateOrder:
            return self._admit(message, now)
        order = self.order(message.order_id)
        try:
            return decide(order, message, now, self.policy)
        except InvalidStateTransition as error:
            head = (order.order_id, order.order_key, order.sequence + 1)
            return [ev.CancelRefused(*head, order.state, str(error))]

    def _admit(self, message: msg.CreateOrder, now: float) -> list[ev.OrderEvent]:
        known = self._id_of_key.get(message.idempotency_key)
        if known is not None and _repeats(self._orders[known], message):
            return []
        if refusal := self._refusal(message, known):
            code, reason = refusal
            return [ev.OrderRefused(message.order_id, message.order_key, 0, reason, code)]
        return decide(None, message, now, self.policy)

    def _refusal(self, message: msg.CreateOrder, known: str | None) -> tuple[str, str] | None:
        """Say why an order can't be accepted, as a code and in a sentence; None if it can."""
        if known is not None:
            key = message.idempotency_key
            return KEY_IN_USE, f"idempotency key {key!r} belongs to order {known}"
        if message.order_id in self._orders:
            return "id_in_use", f"order id {message.order_id} is in use"
        if not message.items:
            return INVALID, "the order has no items"
        for item in message.items:
            if item.quantity <= 0 or item.unit_price_cents <= 0:
                return INVALID, f"{item.sku}: quantity and price must be more than zero"
        if message.fees_cents < 0 and amount_cents(message.items, message.fees_cents) <= 0:
            return INVALID, "the amount of the order is not more than zero"
        if len(self._open) >= self.policy.max_orders:
            return FULL, f"{len(self._open)} orders are open, which is the limit (max_orders)"
        return None

    def answer(self, order_id: str, events: list[ev.OrderEvent]) -> OrderAnswer:
        """Say what came of a message that has led to ``events``.

        Raises:
            Reject: the order is unknown here.
        """
        for event in events:
            if isinstance(event, ev.OrderRefused):
                return OrderAnswer(None, code=event.code, reason=event.reason)
            if isinstance(event, ev.CancelRefused):
                view = self.order(order_id).view()
                return OrderAnswer(view, code=TOO_LATE, reason=event.reason)
        return OrderAnswer(self.order(order_id).view(), new=bool(events))

    def apply(self, event: ev.OrderEvent) -> Order | None:
        """Take an event in, live or from the journal; give its order, None if it was refused.

        Raises:
            InvalidStateTransition: the state machine has no such transition. Nothing has changed.
        """
        if type(event) is ev.OrderRefused:
            self._counts["refused"] += 1
            self._refusals[event.order_id] = event.reason
            return None
        before = self._orders.get(event.order_id)
        order = apply(before, event)
        self._orders[event.order_id] = order
        if before is None:
            self._id_of_key[order.idempotency_key] = order.order_id
            self._open[order.order_id] = None
            self._counts["created"] += 1
            return order
        if order.state is not before.state and order.is_terminal:
            del self._open[order.order_id]
            self._counts[order.state.lower()] += 1
        if type(event) in _PAYMENTS:
            self._counts["charged_cents"] += order.charged_cents - before.charged_cents
            self._counts["refunded_cents"] += order.refunded_cents - before.refunded_cents
        return order

    def pending_timers(self, now: float) -> Iterator[StartTimer]:
        """Give the timers to arm after a restart.

        Args:
            now: seconds on the processor's clock.
        """
        for order in self._orders.values():
            yield from pending_timers(order, now)

    def order(self, order_id: str) -> Order:
        """Give an order.

        Raises:
            Reject: it was refused, or is unknown here.
        """
        try:
            return self._orders[order_id]
        except KeyError:
            if reason := self._refusals.get(order_id):
                text = f"order {order_id!r} was refused: {reason}"
                raise Reject(text, code=REFUSED) from None
            raise Reject(f"order {order_id!r} is unknown here", code=UNKNOWN) from None

    def list_orders(self, query: msg.ListOrders) -> tuple[OrderSummary, ...]:
        """Give at most ``query.limit`` orders, in order of acceptance."""
        is_open = query.state is not None and query.state not in TERMINAL
        found: list[OrderSummary] = []
        for order_id in self._open if is_open else self._orders:
            if len(found) >= query.limit:
                break
            order = self._orders[order_id]
            if query.state in {None, order.state}:
                found.append(order.summary())
        return tuple(found)

    @property
    def open_count(self) -> int:
        """How many orders are in no terminal state."""
        return len(self._open)

    def counters(self) -> dict[str, int]:
        """Give what was counted since the history began; amounts are in cents."""
        names = ("created", "refused", *(state.lower() for state in _ENDS))
        counts = {name: self._counts[name] for name in (*names, "charged_cents", "refunded_cents")}
        return {"open": self.open_count} | counts


_PAYMENTS = {ev.PaymentCompleted, ev.PaymentRefunded, ev.LinesRefunded}
_ENDS = (OrderState.COMPLETED, OrderState.CANCELLED, OrderState.FAILED)


def _repeats(order: Order, message: msg.CreateOrder) -> bool:
    return (
        order.order_id == message.order_id
        and order.order_key == message.order_key
        and order.customer_id == message.customer_id
        and order.items == message.items
        and order.fees_cents == message.fees_cents
        and order.payment_method == message.payment_method
        and order.address == message.address
    )
