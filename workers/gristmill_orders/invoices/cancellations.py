"""Finds the order that a cancellation undoes, whole or in part.

The rule, in order:

1. ``C536365`` undoes ``536365`` if there is such an order of the same customer.
2. Else it undoes the first earlier order of its customer that still holds all of its lines: the
   same products in at least these quantities, less what was given back already. A guest has no
   other orders that anyone could know of.
3. It undoes that order whole if nothing else is in it, and else the lines that it names.

Prices play no part in finding the order: shops give back at other prices than they sold at. What
is given back is what was charged. Fee lines count like products. An order is undone whole once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from gristmill_orders.invoices.model import (
    GUEST,
    Cancellation,
    Invoice,
    InvoiceLine,
    Refund,
    RefundLine,
)


class CancelledInvoice(msgspec.Struct, frozen=True):
    """A ``C`` invoice: whose it is, and what it gives back, in positive quantities."""

    number: str
    customer_id: str
    lines: tuple[InvoiceLine, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """The line numbers of its rows."""
        return tuple(line.line for line in self.lines)

    @property
    def quantities(self) -> Counter[str]:
        """How many of each product it gives back."""
        return _quantities(self.lines)


class Unmatched(msgspec.Struct, frozen=True):
    """A ``C`` invoice that undoes nothing that can be found, and why."""

    number: str
    reason: str


def match(
    invoices: Iterable[Invoice], cancelled: Iterable[CancelledInvoice]
) -> Iterator[Cancellation | Refund | Unmatched]:
    """Find for each cancellation, in turn, what it undoes. See the module for the rule."""
    orders = {invoice.number: _Holding(invoice) for invoice in invoices}
    of_customer: defaultdict[str, list[_Holding]] = defaultdict(list)
    for holding in orders.values():
        of_customer[holding.invoice.customer_id].append(holding)
    for entry in cancelled:
        named = orders.get(entry.number.removeprefix("C"))
        if named is not None:
            yield _undo_named(entry, named)
        elif entry.customer_id == GUEST:
            yield Unmatched(entry.number, "undoes no order by number, and a guest has no others")
        else:
            yield _undo_found(entry, of_customer[entry.customer_id])


def _undo_named(entry: CancelledInvoice, order: _Holding) -> Cancellation | Refund | Unmatched:
    invoice = order.invoice
    if entry.customer_id != invoice.customer_id:
        reason = f"customer {entry.customer_id}, but {invoice.number} is of {invoice.customer_id}"
        return Unmatched(entry.number, reason)
    if not order.holds(entry.quantities):
        return Unmatched(entry.number, f"order {invoice.number} does not hold all its lines")
    return order.give_back(entry)


def _undo_found(
    entry: CancelledInvoice, orders: list[_Holding]
) -> Cancellation | Refund | Unmatched:
    wanted, begin = entry.quantities, entry.rows[0]
    earlier = [order for order in orders if order.invoice.rows[0].line < begin]
    for order in earlier:
        if order.holds(wanted):
            return order.give_back(entry)
    customer = f"customer {entry.customer_id}"
    for order in earlier:
        if order.held(wanted):
            number = order.invoice.number
            reason = f"order {number} of {customer} had its lines, and they are given back already"
            return Unmatched(entry.number, reason)
    found = "no order before it" if not earlier else "no one order before it with all its lines"
    return Unmatched(entry.number, f"{customer} has {found}")


class _Holding:
    """An order and what of it was not given back yet."""

    def __init__(self, invoice: Invoice) -> None:
        self.invoice = invoice
        self._sold = _quantities(invoice.rows)
        self._left = self._sold.copy()
        self._left_at: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for line in invoice.rows:
            self._left_at[line.sku][line.unit_price_cents] += line.quantity

    def held(self, wanted: Counter[str]) -> bool:
        """Whether all that is wanted was sold in this order."""
        return wanted <= self._sold

    def holds(self, wanted: Counter[str]) -> bool:
        """Whether all that is wanted is still there."""
        return wanted <= self._left

    def give_back(self, entry: CancelledInvoice) -> Cancellation | Refund:
        """Take the lines of ``entry``, all of which it holds, out of the order."""
        whole = entry.quantities == self._sold
        lines = tuple(part for line in entry.lines for part in self._take(line))
        number = self.invoice.number
        if whole:
            return Cancellation(entry.number, number, entry.rows)
        return Refund(entry.number, number, lines, entry.rows)

    def _take(self, line: InvoiceLine) -> Iterator[RefundLine]:
        """Take one line, at the price that it states first and then at others of the order."""
        self._left[line.sku] -= line.quantity
        prices, stated, wanted = self._left_at[line.sku], line.unit_price_cents, line.quantity
        for price in sorted(prices, key=lambda price: price != stated):
            quantity = min(wanted, prices[price])
            if quantity:
                prices[price] -= quantity
                wanted -= quantity
                yield RefundLine(line.sku, quantity, price, stated)


def _quantities(lines: Iterable[InvoiceLine]) -> Counter[str]:
    quantities: Counter[str] = Counter()
    for line in lines:
        quantities[line.sku] += line.quantity
    return quantities
