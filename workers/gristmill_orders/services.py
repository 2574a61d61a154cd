"""The three services: payment, inventory and shipping.

Each takes commands, and answers whoever sent one with a command, at least once. What a service has
decided is journaled in the same transaction as its answer, so that after a kill it neither
forgets nor repeats.

Commands come in batches, as large as the governor finds worth while. Each command of a batch has
its own claim and its own answer, as if it had come alone.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import msgspec

from gristmill import Actor, Breaker, Context, Durable, Idempotency, handles
from gristmill.behaviours.facet_set import IdempotencyFacet
from gristmill.errors import IdempotencyConflictError
from gristmill.facets import Guard, Replay
from gristmill.messages import Command, Event
from gristmill.ref import AnyRef
from gristmill.supervision import ExitReason
from gristmill_orders import events as ev
from gristmill_orders import messages as msg
from gristmill_orders.compute.fraud import is_refused
from gristmill_orders.compute.rates import CARRIERS
from gristmill_orders.externals.carriers import ship_order
from gristmill_orders.externals.faults import Call
from gristmill_orders.externals.gateway import make_refund, take_payment
from gristmill_orders.inventory import Answer, Inventory
from gristmill_orders.kernels import allocation, fraud_scores, label_offers
from gristmill_orders.ledger import Charge
from gristmill_orders.time_limit import within
from gristmill_orders.world import CALL_SECONDS, World

P = ParamSpec("P")
T = TypeVar("T")

GATEWAY = "gateway"
"""The payment service's circuit breaker."""


class PaymentServiceStarted(Event):
    """A payment service began to work; journaled once for each incarnation."""


class PaymentServiceActor(Actor):
    """Scores orders for fraud, charges and refunds. The same key never charges twice.

    Args:
        world: the externals.
        shared: it is a member of an elastic pool, so that any message may have been in the hands of
            another one. What that has decided is not known here; the gateway knows the key.
    """

    facets = (Durable(), Idempotency(), Breaker(GATEWAY))

    def __init__(self, world: World, *, shared: bool = False) -> None:
        self._world = world
        self._shared = shared
        self._scores = fraud_scores(world.seed, compute=world.compute)
        self._starts = 0

    def on_start(self, ctx: Context) -> None:
        """Open the gateway."""
        self._gateway = self._world.open_gateway(ctx)
        self._call = _with_time_limit(ctx.facets.breaker(GATEWAY))
        ctx.persist(PaymentServiceStarted())

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        """Close the gateway."""
        del reason, ctx
        self._gateway.close()

    def apply(self, event: PaymentServiceStarted) -> None:
        """Count the incarnations."""
        del event
        self._starts += 1

    @handles(batch="auto")
    async def process_payments(self, messages: list[msg.ProcessPayment], ctx: Context) -> None:
        """Charge orders, unless they have been charged or refused before."""
        scores = self._scores(messages)
        for message, score, sender in zip(messages, scores, ctx.senders, strict=True):
            _answer(await self._process(message, score, ctx.facets.idempotency), sender)

    async def _process(
        self, message: msg.ProcessPayment, score: float, keys: IdempotencyFacet
    ) -> msg.PaymentAnswer:
        key = message.payment_key
        try:
            claim = keys.claim(key, Charge(key, message.order_id, message.cents))
        except IdempotencyConflictError as error:
            return msg.PaymentRefused(message.order_id, message.attempt, str(error))
        if isinstance(claim, Replay):
            known = msgspec.msgpack.decode(claim.outcome, type=_FINAL_ANSWER)
            return msgspec.structs.replace(known, attempt=message.attempt)
        answer = await self._charge(message, score)
        if isinstance(answer, msg.PaymentUnavailable):
            keys.release(key)
        else:
            keys.complete(key, msgspec.msgpack.encode(answer))
        return answer

    async def _charge(self, message: msg.ProcessPayment, score: float) -> msg.PaymentAnswer:
        if is_refused(score):
            reason = f"the risk of fraud is too high ({score:.2f})"
            return msg.PaymentRefused(message.order_id, message.attempt, reason)
        # Any message may have been in the hands of an incarnation that was killed.
        redelivered = self._shared or self._starts > 1
        return await take_payment(message, self._gateway, self._call, redelivered=redelivered)

    @handles
    async def refund_payment(self, message: msg.RefundPayment, ctx: Context) -> None:
        """Give a payment back, or a part of it; the gateway knows the key."""
        _answer(await make_refund(message, self._gateway, self._call), ctx.sender)


_FINAL_ANSWER = msg.PaymentAuthorised | msg.PaymentRefused


class InventoryServiceActor(Actor):
    """Keeps the stock of all products; each item has a version, and writers check it."""

    facets = (Durable(),)

    def __init__(self, world: World) -> None:
        self._inventory = Inventory(world.seed, short_share=world.short_share)
        self._allocate = allocation(compute=world.compute)

    def apply(self, event: ev.StockEvent) -> None:
        """Take a journaled event in."""
        self._inventory.apply(event)

    @handles(batch="auto")
    def reserve(self, messages: list[msg.ReserveStock], ctx: Context) -> None:
        """Reserve all lines of each order, or none of them."""
        for message, sender in zip(messages, ctx.senders, strict=True):
            self._carry_out(self._inventory.reserve(message, self._allocate), sender, ctx)

    @handles
    def release(self, message: msg.ReleaseStock, ctx: Context) -> None:
        """Make the stock of an order available again."""
        self._carry_out(self._inventory.release(message), ctx.sender, ctx)

    @handles(batch="auto")
    def ship(self, messages: list[msg.ShipStock], ctx: Context) -> None:
        """Let the goods of orders leave."""
        for message, sender in zip(messages, ctx.senders, strict=True):
            self._carry_out(self._inventory.ship(message), sender, ctx)

    def _carry_out(self, answer: Answer, sender: AnyRef | None, ctx: Context) -> None:
        for event in answer.events:
            ctx.persist(event)
        _answer(answer.reply, sender)

    @handles
    def counters(self, message: msg.GetCounters) -> dict[str, int]:
        """Give what was counted."""
        del message
        return self._inventory.counters()

    @handles
    def levels(self, message: msg.GetStockLevels) -> dict[str, tuple[int, int, int, int]]:
        """Give the units of every product seen so far."""
        del message
        levels = self._inventory.levels()
        return {
            sku: (lv.initial, lv.available, lv.reserved, lv.shipped) for sku, lv in levels.items()
        }


class ShippingServiceActor(Actor):
    """Packs orders, shops for rates and makes one label for each.

    Args:
        world: the externals.
        shared: it is a member of an elastic pool, so that any message may have been in the hands of
            another one, which may have a label: the carriers are asked for it first.
    """

    facets = (Durable(), Idempotency(), *(Breaker(tariff.name) for tariff in CARRIERS))

    def __init__(self, world: World, *, shared: bool = False) -> None:
        self._world = world
        self._shared = shared
        self._offers = label_offers(compute=world.compute)

    def on_start(self, ctx: Context) -> None:
        """Open the carriers."""
        self._carriers = self._world.open_carriers(ctx)
        facets = ctx.facets
        self._calls = {name: _with_time_limit(facets.breaker(name)) for name in self._carriers}
        self._started_at = ctx.now()

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        """Close the carriers."""
        del reason, ctx
        for carrier in self._carriers.values():
            carrier.close()

    @handles(batch="auto")
    async def ship(self, messages: list[msg.ShipOrder], ctx: Context) -> None:
        """Make the labels of orders, or say which ones they have."""
        for message, sender in zip(messages, ctx.senders, strict=True):
            _answer(await self._label(message, ctx), sender)

    async def _label(self, message: msg.ShipOrder, ctx: Context) -> msg.LabelAnswer:
        keys = ctx.facets.idempotency
        key = message.label_key
        same = msgspec.structs.replace(message, attempt=0, asked_at=0.0)  # at every attempt
        claim = keys.claim(key, same)
        if isinstance(claim, Replay):
            return msgspec.msgpack.decode(claim.outcome, type=msg.LabelAnswer)
        # A clock that began anew with the machine leaves what was asked before in its future.
        redelivered = self._shared or not self._started_at <= message.asked_at <= ctx.now()
        answer = await ship_order(
            message,
            self._offers(message),
            self._carriers,
            self._calls.__getitem__,
            redelivered=redelivered,
        )
        if isinstance(answer, msg.LabelUnavailable):
            keys.release(key)
        else:
            keys.complete(key, msgspec.msgpack.encode(answer))
        return answer


def _answer(answer: Command, sender: AnyRef | None) -> None:
    assert sender is not None, "only actors send commands to services"
    sender.tell(answer, delivery="at_least_once")


def _with_time_limit(guard: Guard) -> Call:
    """Guard calls, each of which may take no longer than ``CALL_SECONDS``."""

    def call(
        fn: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]:
        return guard.call_async(lambda: within(CALL_SECONDS, fn, *args, **kwargs))

    return call
