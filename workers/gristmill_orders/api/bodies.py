"""The JSON of the service API, as types: what comes in is checked against them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gristmill_orders.states import OrderState
from gristmill_orders.values import OrderSummary, OrderView

MOST_ITEMS = 1000
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Cents = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class NewItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a new order. Prices are integer cents."""

    sku: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    unit_price_cents: Annotated[int, msgspec.Meta(ge=1, le=10**9)]
    description: Annotated[str, msgspec.Meta(max_length=200)] = ""


class NewAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the order goes. Only the country is needed."""

    country: _Text
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    street: Annotated[str, msgspec.Meta(max_length=200)] = ""
    city: Annotated[str, msgspec.Meta(max_length=200)] = ""
    postcode: Annotated[str, msgspec.Meta(max_length=200)] = ""


class NewOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order to be placed."""

    customer_id: _Text
    items: Annotated[tuple[NewItem, ...], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]
    address: NewAddress
    payment_method: _Text = "card"
    fees_cents: _Cents = 0
    order_key: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """The name of the order on the client's side, such as an invoice number; its id if empty."""


class Item(msgspec.Struct, frozen=True):
    """One line of an order."""

    sku: str
    description: str
    quantity: int
    unit_price_cents: int


class Order(msgspec.Struct, frozen=True):
    """An order as it is now. All amounts are integer cents."""

    order_id: str
    order_key: str
    customer_id: str
    state: OrderState
    items: tuple[Item, ...]
    fees_cents: int
    total_cents: int
    charged_cents: int
    refunded_cents: int
    payment_attempts: int
    carrier: str
    tracking_number: str
    reason: str
    """Why it was cancelled, is being cancelled, or failed; empty otherwise."""
    open_refunds: int

    @classmethod
    def of(cls, view: OrderView) -> Order:
        """Take over what the processor says."""
        items = tuple(
            Item(item.sku, item.description, item.quantity, item.unit_price_cents)
            for item in view.items
        )
        fields = {name: getattr(view, name) for name in cls.__struct_fields__}
        return cls(**fields | {"items": items})


class Status(msgspec.Struct, frozen=True):
    """Where an order stands."""

    order_id: str
    state: OrderState


class ListedOrder(msgspec.Struct, frozen=True):
    """An order in one line of a list."""

    order_id: str
    order_key: str
    state: OrderState
    total_cents: int

    @classmethod
    def of(cls, summary: OrderSummary) -> ListedOrder:
        """Take over what the processor says."""
        return cls(summary.order_id, summary.order_key, summary.state, summary.total_cents)


class OrderList(msgspec.Struct, frozen=True):
    """Some orders."""

    orders: tuple[ListedOrder, ...]
