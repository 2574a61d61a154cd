"""The values that messages and events of the order service are made of.

They can't be part of a cycle, and a service keeps many of them: ``gc=False`` tells the garbage
collector to look at none.
"""

from __future__ import annotations

import msgspec

from gristmill_orders.states import OrderState


class OrderItem(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of an order. Prices are integer cents."""

    sku: str
    description: str
    quantity: int
    unit_price_cents: int


class Address(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where an order goes. Only the country is always known."""

    country: str
    name: str = ""
    street: str = ""
    city: str = ""
    postcode: str = ""


class StockLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A quantity of one product, whatever its price; a product stands on one line at most."""

    sku: str
    quantity: int


class StockMove(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A quantity of one product at one warehouse, numbered from 0."""

    sku: str
    warehouse: int
    quantity: int


class RefundLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A quantity of one product to be refunded at the price that was paid for it, in cents."""

    sku: str
    quantity: int
    unit_price_cents: int


class OrderView(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An order as a reader sees it."""

    order_id: str
    order_key: str
    customer_id: str
    state: OrderState
    items: tuple[OrderItem, ...]
    fees_cents: int
    total_cents: int
    charged_cents: int
    refunded_cents: int
    payment_attempts: int
    carrier: str
    tracking_number: str
    reason: str
    """Why it was cancelled or failed; empty otherwise."""
    open_refunds: int = 0
    """How many refunds are asked for and not yet made."""


class OrderAnswer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What came of a request to create or to cancel an order."""

    view: OrderView | None
    """The order as it is now; None if it was not accepted."""
    new: bool = False
    """The request has changed something; else it is a repetition."""
    code: str = ""
    """Why it was refused, as one of the codes of ``OrderRefused`` or ``too_late``; else empty."""
    reason: str = ""
    """The same in a sentence."""


class OrderSummary(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An order in one line of a list."""

    order_id: str
    order_key: str
    state: OrderState
    total_cents: int
