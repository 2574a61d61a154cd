"""A payment gateway over HTTP: ``POST /charges`` and ``POST /refunds``, once per key."""

from __future__ import annotations

import msgspec

from gristmill_orders.externals.faults import ExternalError
from gristmill_orders.externals.gateway import CardRefusedError
from gristmill_orders.externals.http import HttpExternal, Refusal
from gristmill_orders.messages import ProcessPayment, RefundPayment

_CARD_REFUSED, _OTHER_PAYMENT = 402, 422


class ChargeBody(msgspec.Struct, frozen=True):
    """What ``POST /charges`` sends. The key in the header is the payment key."""

    order_id: str
    cents: int
    payment_method: str
    customer_id: str


class RefundBody(msgspec.Struct, frozen=True):
    """What ``POST /refunds`` sends. The key in the header is the refund key."""

    order_id: str
    charge_key: str
    cents: int


class Amount(msgspec.Struct, frozen=True):
    """What both answer: the cents that were charged, or given back."""

    cents: int


class HttpGateway:
    """A :class:`~gristmill_orders.externals.gateway.PaymentGateway` over HTTP."""

    def __init__(self, http: HttpExternal) -> None:
        self._http = http

    async def charge(self, payment: ProcessPayment) -> int:
        """Charge once per payment key, and give the cents charged.

        Raises:
            CardRefusedError: the card was refused, or the key belongs to another payment.
            ExternalError: there was no answer.
        """
        body = ChargeBody(
            payment.order_id, payment.cents, payment.payment_method, payment.customer_id
        )
        answer = await self._http.post("charges", payment.payment_key, body, Amount)
        match answer:
            case Refusal(status, reason) if status in {_CARD_REFUSED, _OTHER_PAYMENT}:
                raise CardRefusedError(reason)
            case Refusal():
                raise _refused(self._http.name, answer)
            case Amount(cents) if cents == payment.cents:
                return cents
        text = f"{self._http.name} charged {answer.cents} cents instead of {payment.cents}"
        raise ExternalError(text, uncertain=True)

    async def refund(self, refund: RefundPayment) -> int:
        """Refund once per refund key, at most what is left of the charge; give the cents.

        Raises:
            ExternalError: there was no answer.
        """
        body = RefundBody(refund.order_id, refund.payment_key, refund.cents)
        answer = await self._http.post("refunds", refund.refund_key, body, Amount)
        match answer:
            case Refusal():
                raise _refused(self._http.name, answer)
            case Amount(cents) if 0 <= cents <= refund.cents:
                return cents
        text = f"{self._http.name} refunded {answer.cents} cents instead of {refund.cents}"
        raise ExternalError(text, uncertain=True)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _refused(name: str, refusal: Refusal) -> ExternalError:
    return ExternalError(f"{name} answered {refusal.status}: {refusal.reason}")
