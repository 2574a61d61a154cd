"""``OrderProcessorActor``: takes orders in and leads each one through its saga."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from gristmill import Actor, Context, Durable, handles
from gristmill.placement.ring import HashRing
from gristmill.ref import AnyRef
from gristmill_orders import effects as fx
from gristmill_orders import events as ev
from gristmill_orders import messages as msg
from gristmill_orders.book import OrderBook
from gristmill_orders.saga import SagaPolicy
from gristmill_orders.states import OrderState
from gristmill_orders.values import OrderAnswer, OrderSummary, OrderView

ORDERS = "orders"
"""The channel of all order events, keyed by order id."""
DEAD_LETTERS = "orders.dead-letter"
"""The channel of what a person should look at."""


class OrderProcessorActor(Actor):
    """Commands, timers and the services' answers move orders on; queries look at them.

    It never waits: each step is a message, its answer comes back as a message, a delay is a timer.

    Args:
        policy: the settings of the saga.
        services: the names of the actors of each service; none of one that is an elastic pool.
        metrics: count the events by type.
    """

    facets = (Durable(),)

    def __init__(
        self, policy: SagaPolicy, services: dict[str, tuple[str, ...]], *, metrics: bool = True
    ) -> None:
        self._book = OrderBook(policy)
        self._choices = {service: _choice(names) for service, names in services.items() if names}
        self._names = [name for names in services.values() for name in names]
        self._services: dict[str, AnyRef] = {}
        """The refs of services by the names of their actors, or by that of their elastic pool."""
        self._seen: Counter[type[ev.OrderEvent]] | None = Counter() if metrics else None

    def on_start(self, ctx: Context) -> None:
        """Find the services, and arm the timers that an incarnation before this one had set."""
        for name in self._names:
            if (service := ctx.lookup(name)) is not None:
                self._services[name] = service
        for timer in self._book.pending_timers(ctx.now()):
            ctx.send_after(timer.delay, timer.command)

    def apply(self, event: ev.OrderEvent) -> None:
        """Take an event in, live or from the journal."""
        self._book.apply(event)
        if self._seen is not None:
            self._seen[type(event)] += 1

    @handles
    def move(self, message: msg.SagaMessage, ctx: Context) -> None:
        """Let a message move its order on."""
        self._move(message, ctx)

    @handles
    def place(self, request: msg.PlaceOrder, ctx: Context) -> OrderAnswer:
        """Accept an order, or say why not."""
        return self._book.answer(request.order.order_id, self._move(request.order, ctx))

    @handles
    def withdraw(self, request: msg.WithdrawOrder, ctx: Context) -> OrderAnswer:
        """Cancel an order, or say why not."""
        return self._book.answer(request.cancel.order_id, self._move(request.cancel, ctx))

    def _move(self, message: msg.SagaMessage, ctx: Context) -> list[ev.OrderEvent]:
        events = self._book.decide(message, ctx.now())
        for event in events:
            ctx.persist(event)
            ctx.publish(ORDERS, event, key=event.order_id)
            if effect := self._book.reaction(event):
                self._perform(effect, ctx)
        return events

    def _perform(self, effect: fx.Effect, ctx: Context) -> None:
        if type(effect) is fx.Tell:
            ref = self._service(effect.service, effect.command.order_id, ctx)
            ref.tell(effect.command, delivery="at_least_once")
        elif type(effect) is fx.StartTimer:
            ctx.send_after(effect.delay, effect.command)
        elif type(effect) is fx.DeadLetter:
            event = effect.event
            ctx.log.warning("order %s (%s): %s", event.order_id, event.order_key, effect.reason)
            ctx.publish(DEAD_LETTERS, event, key=event.order_id)

    def _service(self, service: str, order_id: str, ctx: Context) -> AnyRef:
        """Give a service. Its ref stays good while the service itself is being restarted.

        Of an elastic pool each command finds its member when it is sent.
        """
        choose = self._choices.get(service)
        name = choose(order_id) if choose is not None else service
        found = self._services.get(name)
        if found is None:
            found = ctx.lookup(name) if choose is not None else ctx.lookup_pool(name)
        if found is None:
            raise LookupError(f"there is no service {name!r} on this node")
        self._services[name] = found
        return found

    @handles
    def order(self, query: msg.GetOrder) -> OrderView:
        """Describe an order."""
        return self._book.order(query.order_id).view()

    @handles
    def status(self, query: msg.GetOrderStatus) -> OrderState:
        """Say where an order stands."""
        return self._book.order(query.order_id).state

    @handles
    def orders(self, query: msg.ListOrders) -> tuple[OrderSummary, ...]:
        """List orders."""
        return self._book.list_orders(query)

    @handles
    def counters(self, query: msg.GetCounters) -> dict[str, int]:
        """Give what was counted; with metrics, the events by type as well."""
        del query
        seen = {kind.__name__: count for kind, count in (self._seen or {}).items()}
        return self._book.counters() | seen


def _choice(names: tuple[str, ...]) -> Callable[[str], str]:
    """Give what tells, for an order id, which actor of a service the order belongs to."""
    return HashRing(names).owner if len(names) > 1 else lambda _: names[0]
