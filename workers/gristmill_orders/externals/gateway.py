"""The payment gateway: its interface, a simulator, and the payment service's way of asking it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from gristmill.errors import CircuitOpenError, GristmillError
from gristmill_orders.externals.faults import (
    Call,
    ExternalError,
    FaultPlan,
    Faults,
    call_directly,
    draw,
)
from gristmill_orders.ledger import Charge, Ledger, Refund
from gristmill_orders.messages import (
    PaymentAnswer,
    PaymentAuthorised,
    PaymentRefused,
    PaymentUnavailable,
    ProcessPayment,
    RefundAnswer,
    RefundMade,
    RefundPayment,
    RefundUnavailable,
)


class CardRefusedError(GristmillError):
    """The card was refused; asking again is of no use."""


class PaymentGateway(Protocol):
    """A payment gateway that knows idempotency keys."""

    async def charge(self, payment: ProcessPayment) -> int:
        """Charge once per payment key, and give the cents charged.

        Raises:
            CardRefusedError: the card was refused, for good.
            ExternalError: there was no answer.
        """

    async def refund(self, refund: RefundPayment) -> int:
        """Refund once per refund key, at most what is left of the charge; give the cents.

        Raises:
            ExternalError: there was no answer.
        """

    def close(self) -> None:
        """Let go of what it holds; it can't be used any more."""


class GatewayPlan(FaultPlan, frozen=True):
    """What goes wrong at the gateway."""

    refused_share: float = 0.02
    """Cards that are refused, at every attempt alike."""


class SimulatedGateway:
    """A gateway that keeps its books in a ledger file.

    Args:
        seed: the seed of the run.
        ledger: its books.
        plan: what goes wrong.
        clock: tells the time in seconds, such as ``ctx.now``.
        sleep: waits for so many seconds, such as ``ctx.sleep``.
    """

    def __init__(
        self,
        seed: int,
        ledger: Ledger,
        plan: GatewayPlan,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._seed = seed
        self._ledger = ledger
        self._plan = plan
        self._faults = Faults("gateway", seed, plan, clock, sleep)

    async def charge(self, payment: ProcessPayment) -> int:
        """Charge once per payment key, across processes and restarts.

        Raises:
            CardRefusedError: the card was refused, or the key belongs to another payment.
            ExternalError: there was no answer.
        """
        key = payment.payment_key
        await self._faults.before(key, payment.attempt)
        if draw(self._seed, "card", key) < self._plan.refused_share:
            raise CardRefusedError("the card was refused")
        charge = Charge(key, payment.order_id, payment.cents)
        with self._ledger.locked():
            known = self._ledger.find(key)
            if known is None:
                self._ledger.append(charge)
        if known not in {None, charge}:
            raise CardRefusedError(f"payment key {key!r} belongs to another payment")
        self._faults.after(key, payment.attempt)
        return charge.cents

    async def refund(self, refund: RefundPayment) -> int:
        """Refund once per refund key, across processes and restarts.

        Raises:
            ExternalError: there was no answer.
        """
        key = refund.refund_key
        await self._faults.before(key, refund.attempt)
        with self._ledger.locked():
            cents = self._record(refund)
        self._faults.after(key, refund.attempt)
        return cents

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def _record(self, refund: RefundPayment) -> int:
        known = self._ledger.find(refund.refund_key)
        if isinstance(known, Refund):
            return known.cents
        charge = self._ledger.find(refund.payment_key)
        if not isinstance(charge, Charge):
            return 0
        cents = min(refund.cents, charge.cents - self._ledger.refunded(charge.key))
        if cents > 0:
            entry = Refund(refund.refund_key, charge.key, refund.order_id, cents)
            self._ledger.append(entry)
        return cents


async def take_payment(
    payment: ProcessPayment,
    gateway: PaymentGateway,
    call: Call = call_directly,
    *,
    redelivered: bool = False,
) -> PaymentAnswer:
    """Charge an order and put what came of it into an answer for the processor.

    Args:
        payment: the command.
        gateway: whom to ask.
        call: makes the call, such as ``guard.call_async``.
        redelivered: an earlier incarnation, or another member of the pool, may have had this
            command in hand, and have charged.
    """
    order_id, attempt = payment.order_id, payment.attempt
    try:
        cents = await call(gateway.charge, payment)
    except CardRefusedError as error:
        return PaymentRefused(order_id, attempt, str(error))
    except ExternalError as error:
        uncertain = error.uncertain or redelivered
        return PaymentUnavailable(order_id, attempt, str(error), uncertain)
    except CircuitOpenError as error:
        return PaymentUnavailable(order_id, attempt, str(error), redelivered)
    except TimeoutError:
        return PaymentUnavailable(order_id, attempt, "the gateway took too long", True)
    return PaymentAuthorised(order_id, attempt, cents)


async def make_refund(
    refund: RefundPayment, gateway: PaymentGateway, call: Call = call_directly
) -> RefundAnswer:
    """Refund a payment and put what came of it into an answer for the processor.

    Args:
        refund: the command.
        gateway: whom to ask.
        call: makes the call, such as ``guard.call_async``.
    """
    order_id, key, attempt = refund.order_id, refund.refund_key, refund.attempt
    try:
        return RefundMade(order_id, key, await call(gateway.refund, refund))
    except (ExternalError, CircuitOpenError) as error:
        return RefundUnavailable(order_id, key, attempt, str(error))
    except TimeoutError:
        return RefundUnavailable(order_id, key, attempt, "the gateway took too long")
