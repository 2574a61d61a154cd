"""What a file of invoices becomes: invoices, cancellations, refunds, and rows that map to nothing.

Amounts are integer cents (pence in a file of pounds). Line numbers count from 1, the header's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

GUEST = "guest"
"""The customer id of an invoice that names no customer."""


class InvoiceLine(msgspec.Struct, frozen=True):
    """One row of an invoice: a product, how many of it, and what one of it costs."""

    line: int
    sku: str
    description: str
    quantity: int
    unit_price_cents: int

    @property
    def cents(self) -> int:
        """The price of the whole line."""
        return self.quantity * self.unit_price_cents


class FeeLine(InvoiceLine, frozen=True):
    """A row that is charged and not shipped, such as postage. ``sku`` is its code."""


class Invoice(msgspec.Struct, frozen=True):
    """One order of the file, with at least one product line, its lines in the file's order."""

    number: str
    customer_id: str
    country: str
    lines: tuple[InvoiceLine, ...]
    fees: tuple[FeeLine, ...]

    @property
    def items_cents(self) -> int:
        """The price of the product lines."""
        return _total(self.lines)

    @property
    def fees_cents(self) -> int:
        """The price of the fee lines."""
        return _total(self.fees)

    @property
    def rows(self) -> tuple[InvoiceLine, ...]:
        """Product lines and fee lines together."""
        return self.lines + self.fees


class Cancellation(msgspec.Struct, frozen=True):
    """A ``C`` invoice that undoes a whole order. ``rows`` are its own line numbers."""

    whole: ClassVar[bool] = True

    number: str
    undoes: str
    rows: tuple[int, ...]


class RefundLine(msgspec.Struct, frozen=True):
    """A part of one line of an order that is given back.

    ``unit_price_cents`` is what the order was charged. ``stated_price_cents`` is what the
    cancellation says, which now and then is another price.
    """

    sku: str
    quantity: int
    unit_price_cents: int
    stated_price_cents: int

    @property
    def cents(self) -> int:
        """The amount to give back for the line."""
        return self.quantity * self.unit_price_cents


class Refund(msgspec.Struct, frozen=True):
    """A ``C`` invoice that undoes a part of one order. ``rows`` are its own line numbers."""

    whole: ClassVar[bool] = False

    number: str
    undoes: str
    lines: tuple[RefundLine, ...]
    rows: tuple[int, ...]

    @property
    def cents(self) -> int:
        """The amount to give back."""
        return sum(line.cents for line in self.lines)


class Unmapped(msgspec.Struct, frozen=True):
    """A row that maps to nothing: where it stands, why, and its text (cut when it is long)."""

    line: int
    reason: str
    text: str


class InvoiceFile(msgspec.Struct, frozen=True):
    """All that a file of invoices holds. Every row read is mapped or unmapped, once.

    Invoices, cancellations and refunds are in order of first appearance, ``unmapped`` by line.
    """

    path: str
    rows_read: int
    invoices: tuple[Invoice, ...]
    cancellations: tuple[Cancellation, ...]
    refunds: tuple[Refund, ...]
    unmapped: tuple[Unmapped, ...]

    @property
    def rows_mapped(self) -> int:
        """How many rows became a part of an invoice, a cancellation or a refund."""
        of_orders = sum(len(invoice.rows) for invoice in self.invoices)
        return of_orders + sum(len(entry.rows) for entry in self.undone)

    @property
    def undone(self) -> tuple[Cancellation | Refund, ...]:
        """What undoes an order, whole or in part."""
        return (*self.cancellations, *self.refunds)


def _total(lines: Iterable[InvoiceLine]) -> int:
    return sum(line.cents for line in lines)
