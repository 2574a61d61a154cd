"""The driver of a run: sends planned orders, follows each one to its end, and cancels and refunds.

Events are at-most-once, so an order without news is asked for; what is asked for may be on a
worker that is just dying, so a question without an answer is asked again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast, get_args

from gristmill.channels import Listen
from gristmill.errors import ActorError, AskTimeoutError, Reject
from gristmill.messages import Command
from gristmill.ref import DeliveryGuarantee
from gristmill.ulid import ulid
from gristmill_orders import events as ev
from gristmill_orders import messages as msg
from gristmill_orders.app import OrderService
from gristmill_orders.book import REFUSED
from gristmill_orders.externals.faults import draw
from gristmill_orders.invoices import CancelPoint, Invoice, PlannedOrder
from gristmill_orders.processor import ORDERS
from gristmill_orders.states import TERMINAL, OrderState
from gristmill_orders.values import Address, OrderItem, OrderView, RefundLine

SILENCE = 1.0
"""Seconds without news after which an order is asked for."""
_ASK_SECONDS = 0.25
_LOOK_EVERY = 0.25
_WINDOW = 0.9
"""Share of the orders that a processor may have open which a run keeps open in all of them."""
_LOT = 32
"""Orders that are sent together, at least, where only the window holds them back."""
_BATCH = 64
"""Orders that are sent before the events are looked at again."""
_METHODS = ("card", "wallet", "transfer", "invoice", "voucher")
_ENDS: dict[type[ev.OrderEvent], OrderState | None] = {
    ev.OrderCompleted: OrderState.COMPLETED,
    ev.OrderCancelled: OrderState.CANCELLED,
    ev.OrderFailed: OrderState.FAILED,
    ev.OrderRefused: None,
}


@dataclass(slots=True)
class _Sent:
    """An order that was sent."""

    planned: PlannedOrder
    order_id: str
    at: float
    heard: float
    ended: bool = False
    cancelled: bool = False
    """Its cancellation has been sent."""
    waits_for: int = 0
    """Answers to a late cancellation and to refunds that are still to come."""


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    planned: int
    sent: int = 0
    open: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    """Orders by their ends: ``completed``, ``cancelled``, ``failed``, ``refused``."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from sending ``CreateOrder`` to seeing the order's end."""


class Driver:
    """Sends orders and follows them.

    Args:
        service: the running service.
        orders: what to send, in this order.
        seed: the seed of the run; it fixes how customers pay.
        rate: orders a second, each at its time, whatever becomes of those before it; None: as
            many as the window of open orders lets in. Latencies count from an order's time on.
        now: gives monotonic seconds.
        new_id: makes the id of an order.
    """

    def __init__(
        self,
        service: OrderService,
        orders: Sequence[PlannedOrder],
        seed: int,
        *,
        rate: float | None = None,
        now: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self._now = now
        self._service = service
        self._waiting: Iterator[PlannedOrder] = iter(orders)
        self._more = True
        self._seed = seed
        random = Random()
        self._new_id = new_id or (lambda: ulid(time.time(), random.getrandbits(80)))
        self._window = max(1, int(service.max_orders * _WINDOW))
        self._lot = 1 if rate is not None else max(1, min(_LOT, self._window // 8))
        self._interval = 1 / rate if rate is not None else 0.0
        self._due = now()
        """When the next order is sent, if there is a rate."""
        self._orders: dict[str, _Sent] = {}
        self._live: dict[str, _Sent] = {}
        """Orders that have not ended, or wait for answers after their end."""
        self._look_at = 0.0
        self.progress = Progress(len(orders))
        self.observed: list[ev.OrderEvent] = []
        """All events seen, in order; created orders without their lines."""
        self._events = service.node.subscribe(ORDERS, *get_args(msg.AnyOrderEvent))
        self._comes_again = can_come_again(service)
        self._seen: dict[str, int] = {}
        """The last event seen of each order, where one can come again."""

    @property
    def done(self) -> bool:
        """Whether everything that was sent has come to its end."""
        return not self._live and not self._more and not self._service.node.undelivered

    @property
    def finished(self) -> bool:
        """Whether nothing that was sent is open any more."""
        return not self._live

    def stop_sending(self) -> None:
        """Send no more orders; those that are open go on to their ends."""
        self._more = False

    def step(self, wait: float) -> None:
        """Send what there is room for, then take in what has happened.

        Args:
            wait: seconds to wait for news if there is none.

        Raises:
            GristmillError: the node has ended.
        """
        with self._service.node.together():
            self._send_orders()
        if self._interval and self._more:
            wait = min(wait, max(self._due - self._now(), 0.0))
        first = self._events.get(timeout=wait)
        if first is not None:
            with self._service.node.together():  # what follows from them is journaled at once
                self._on_event(first)
                for event in self._events.drain():
                    self._on_event(event)
        now = self._now()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            self._ask_for_silent(now)

    # --- sending ---

    def _send_orders(self) -> None:
        if self._window - self.progress.open < self._lot:
            return
        for _ in range(_BATCH):
            if not self._more or self.progress.open >= self._window:
                return
            now = self._now()
            if self._interval and now < self._due:
                return
            planned = next(self._waiting, None)
            if planned is None:
                self._more = False
                return
            self._send_order(planned, self._due if self._interval else now)
            self._due += self._interval

    def _send_order(self, planned: PlannedOrder, at: float) -> None:
        order = _Sent(planned, self._new_id(), at, self._now())
        self._orders[order.order_id] = self._live[order.order_id] = order
        self.progress.sent += 1
        self.progress.open += 1
        self._tell(order, create_order(order.order_id, planned, self._seed))
        if planned.cancel is CancelPoint.AFTER_CREATE:
            self._cancel(order)

    def _cancel(self, order: _Sent) -> None:
        if not order.cancelled:
            order.cancelled = True
            self._tell(order, msg.CancelOrder(order.order_id, "the customer changed their mind"))

    def _tell(self, order: _Sent, command: Command) -> None:
        self._service.processor(order.order_id).tell(command, delivery="at_least_once")

    # --- following ---

    def _on_event(self, event: ev.OrderEvent) -> None:
        if self._comes_again and event.sequence:
            if event.sequence <= self._seen.get(event.order_id, 0):
                return
            self._seen[event.order_id] = event.sequence
        kind = type(event)
        self.observed.append(_without_lines(event) if type(event) is ev.OrderCreated else event)
        order = self._live.get(event.order_id)
        if order is None:
            return
        order.heard = self._now()
        if kind is ev.PaymentCompleted:
            self._paid(order)
        elif kind in _ENDS:
            self._end(order, _ENDS[kind])
        elif kind in _DEFERRALS:  # nothing happens before the next attempt
            order.heard += cast("_Deferral", event).delay
        elif kind in _ANSWERS and order.ended:
            order.waits_for -= 1
            self._settle(order)

    def _paid(self, order: _Sent) -> None:
        if order.planned.cancel is CancelPoint.AFTER_PAYMENT:
            self._cancel(order)

    def _end(self, order: _Sent, state: OrderState | None) -> None:
        """Take in the end of an order; ``None`` if it was refused."""
        if order.ended:
            return
        order.ended = True
        self.progress.open -= 1
        self.progress.ended[state.lower() if state else "refused"] += 1
        self.progress.latencies.append(self._now() - order.at)
        if state is OrderState.COMPLETED:
            self._after_completion(order)
        self._settle(order)

    def _after_completion(self, order: _Sent) -> None:
        planned = order.planned
        if planned.cancel is CancelPoint.AFTER_COMPLETION:
            order.waits_for += 1
            self._cancel(order)
        for refund in planned.refunds:
            order.waits_for += 1
            lines = tuple(
                RefundLine(line.sku, line.quantity, line.unit_price_cents) for line in refund.lines
            )
            self._tell(order, msg.RefundLines(order.order_id, refund.number, lines))

    def _settle(self, order: _Sent) -> None:
        if order.waits_for <= 0:
            self._live.pop(order.order_id, None)

    # --- orders without news ---

    def _ask_for_silent(self, now: float) -> None:
        dead: set[Any] = set()
        for order in [o for o in self._live.values() if now - o.heard >= SILENCE]:
            processor = self._service.processor(order.order_id)
            if processor in dead:
                continue
            order.heard = now
            handled = not self._service.node.undelivered
            try:
                view = processor.ask(msg.GetOrder(order.order_id), timeout=_ASK_SECONDS)
            except Reject as reject:
                if reject.code == REFUSED:
                    self._end(order, None)
            except (ActorError, AskTimeoutError):
                dead.add(processor)  # it is being restarted; the next round asks again
            else:
                self._on_view(order, view, settled=handled and not view.open_refunds)

    def _on_view(self, order: _Sent, view: OrderView, *, settled: bool) -> None:
        if order.ended:
            if settled:
                order.waits_for = 0
                self._settle(order)
        elif view.state in TERMINAL:
            self._end(order, view.state)
        elif view.charged_cents:
            self._paid(order)


def can_come_again(service: OrderService) -> bool:
    """Tell whether subscribers without a group get their events from a server."""
    chosen = service.node.channels.choose(Listen(ORDERS))
    return chosen.capabilities.delivery is DeliveryGuarantee.AT_LEAST_ONCE


_Deferral = ev.PaymentDeferred | ev.RefundDeferred | ev.ShipmentDeferred
_DEFERRALS = set(get_args(_Deferral))
_ANSWERS = {ev.CancelRefused, ev.LinesRefunded, ev.RefundRefused}


def create_order(order_id: str, planned: PlannedOrder, seed: int) -> msg.CreateOrder:
    """Give the command that places a planned order; its key makes it one order, ever."""
    invoice: Invoice = planned.invoice
    key = planned.order_key
    items = tuple(
        [
            OrderItem(line.sku, line.description, line.quantity, line.unit_price_cents)
            for line in invoice.lines
        ]
    )
    return msg.CreateOrder(
        order_id,
        key,
        invoice.customer_id,
        items,
        invoice.fees_cents,
        _METHODS[int(draw(seed, "method", key) * len(_METHODS))],
        Address(invoice.country),
        key,
    )


def _without_lines(event: ev.OrderCreated) -> ev.OrderCreated:
    return ev.OrderCreated(
        event.order_id,
        event.order_key,
        event.sequence,
        event.customer_id,
        (),
        event.fees_cents,
        event.payment_method,
        event.address,
        event.idempotency_key,
        event.created_at,
    )
