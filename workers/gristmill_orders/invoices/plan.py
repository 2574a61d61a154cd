"""What to do with the orders of a file: in which order, how often, and which to cancel when.

Every draw depends on the seed and the order's key alone, so a plan is the same whatever is done
first, and an order is treated alike in a file and in a part of it.
"""

from __future__ import annotations

import enum
import hashlib

import msgspec

from gristmill.errors import UsageError
from gristmill_orders.invoices.model import Invoice, InvoiceFile, Refund


class CancelPoint(enum.StrEnum):
    """When in an order's life its cancellation is sent."""

    AFTER_CREATE = "after_create"
    """Right behind its ``CreateOrder``."""
    AFTER_PAYMENT = "after_payment"
    """After its ``PaymentCompleted``."""
    AFTER_COMPLETION = "after_completion"
    """After its ``OrderCompleted``, which is too late."""


_POINTS = tuple(CancelPoint)


class PlannedOrder(msgspec.Struct, frozen=True):
    """An order to send. ``order_key`` is the invoice number, with ``#2`` behind it in round 2."""

    order_key: str
    invoice: Invoice
    cancel: CancelPoint | None
    refunds: tuple[Refund, ...]


def plan(
    file: InvoiceFile, *, seed: int, cancel_share: float = 0.0, repeat: int = 1
) -> tuple[PlannedOrder, ...]:
    """Plan the orders of a file, in the file's order, round after round.

    An order that the file undoes whole is cancelled at a drawn point; one that it undoes in part
    carries the refunds.

    Args:
        file: the invoices, as read.
        seed: fixes all draws.
        cancel_share: the share, 0 to 1, of the other orders that is cancelled as well.
        repeat: how many rounds; each is orders of its own, with keys and draws of their own.

    Raises:
        UsageError: an argument is out of range, or two orders would get the same key.
    """
    if not 0.0 <= cancel_share <= 1.0:
        raise UsageError(f"cancel_share is {cancel_share}; give a share from 0 to 1")
    if repeat < 1:
        raise UsageError(f"repeat is {repeat}; give 1 or more")
    undone = {cancellation.undoes for cancellation in file.cancellations}
    refunds: dict[str, tuple[Refund, ...]] = {}
    for refund in file.refunds:
        refunds[refund.undoes] = (*refunds.get(refund.undoes, ()), refund)
    orders: dict[str, PlannedOrder] = {}
    for turn in range(1, repeat + 1):
        for invoice in file.invoices:
            key = invoice.number if turn == 1 else f"{invoice.number}#{turn}"
            if key in orders:
                raise UsageError(f"order key {key} stands for two orders; plan with repeat=1")
            cancels = invoice.number in undone or _draw(seed, key, "cancel") < cancel_share
            point = _POINTS[int(_draw(seed, key, "point") * len(_POINTS))] if cancels else None
            orders[key] = PlannedOrder(key, invoice, point, refunds.get(invoice.number, ()))
    return tuple(orders.values())


def _draw(seed: int, key: str, purpose: str) -> float:
    """Draw from [0, 1), the same for the same arguments in every process."""
    digest = hashlib.blake2b(f"{seed}\0{purpose}\0{key}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48
