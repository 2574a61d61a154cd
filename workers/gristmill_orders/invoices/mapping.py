"""Maps the rows of an invoice file to orders and what undoes them. Never guesses.

Rows are grouped by invoice number, wherever they stand. A number that begins with ``C`` is a
cancellation; its quantities are negative. Prices are pounds, read exactly into integer cents; a
price that is no whole number of cents is unmapped and not rounded, for no rounding is known to be
the shop's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path

import msgspec

from gristmill_orders.invoices.cancellations import CancelledInvoice, Unmatched, match
from gristmill_orders.invoices.model import (
    GUEST,
    Cancellation,
    FeeLine,
    Invoice,
    InvoiceFile,
    InvoiceLine,
    Refund,
    Unmapped,
)
from gristmill_orders.invoices.reader import Record, read_records

FEE_CODES = frozenset(
    {
        "POST",  # postage
        "DOT",  # postage of the web shop
        "C2",  # carriage
        "CARRIAGE",
        "M",  # manual: an amount typed in by hand
        "D",  # discount
        "S",  # samples
        "AMAZONFEE",
        "BANK CHARGES",
    }
)
"""Stock codes that are charged and not shipped, in upper case; all others are products.

A gift voucher is a product: it is a card in an envelope.
"""

MAX_QUANTITY = 1_000_000
MAX_UNIT_PRICE_CENTS = 1_000_000_000
"""Larger numbers are taken for mistakes; an order's total stays far below 64 bits."""

PROGRESS_EVERY = 1_000
"""Rows between two reports of progress."""

_REASON_SHOWN = 200
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{0,12})?")


class _BadRow(Exception):  # noqa: N818 - it never leaves this module
    """Why a row is unmapped."""


class _Group(msgspec.Struct):
    """The good rows of one invoice number, in the file's order; the first says whose it is."""

    number: str
    customer_id: str
    country: str
    records: list[Record]
    lines: list[InvoiceLine]


def read_invoices(
    path: str | Path, *, progress: Callable[[int], None] | None = None
) -> InvoiceFile:
    """Read a file of invoices, and report what can't be mapped line by line.

    Args:
        path: a CSV file in UTF-8 with the columns of ``reader.COLUMNS``.
        progress: called now and then, and at the end, with the number of rows read so far.

    Raises:
        InputFileError: the file as a whole can't be read.
    """
    rows_read = 0
    groups: dict[str, _Group] = {}
    unmapped: list[Unmapped] = []
    for record in read_records(Path(path)):
        rows_read += 1
        try:
            _sort_in(groups, record)
        except _BadRow as reason:
            unmapped.append(Unmapped(record.line, str(reason)[:_REASON_SHOWN], record.text))
        if progress is not None and rows_read % PROGRESS_EVERY == 0:
            progress(rows_read)
    if progress is not None:
        progress(rows_read)
    invoices = _invoices(groups.values(), unmapped)
    undone = _undone(groups.values(), invoices, unmapped)
    return InvoiceFile(
        path=str(path),
        rows_read=rows_read,
        invoices=tuple(invoices),
        cancellations=tuple(entry for entry in undone if isinstance(entry, Cancellation)),
        refunds=tuple(entry for entry in undone if isinstance(entry, Refund)),
        unmapped=tuple(sorted(unmapped, key=lambda row: row.line)),
    )


def _invoices(groups: Iterable[_Group], unmapped: list[Unmapped]) -> list[Invoice]:
    invoices = []
    for group in groups:
        if _is_cancellation(group.number):
            continue
        fees = tuple(line for line in group.lines if isinstance(line, FeeLine))
        lines = tuple(line for line in group.lines if not isinstance(line, FeeLine))
        if lines:
            invoices.append(Invoice(group.number, group.customer_id, group.country, lines, fees))
        else:
            unmapped += _all_of(group, f"invoice {group.number} has fees only: nothing to ship")
    return invoices


def _undone(
    groups: Iterable[_Group], invoices: list[Invoice], unmapped: list[Unmapped]
) -> list[Cancellation | Refund]:
    cancelled = {
        group.number: CancelledInvoice(group.number, group.customer_id, tuple(group.lines))
        for group in groups
        if _is_cancellation(group.number)
    }
    by_number = {group.number: group for group in groups}
    undone: list[Cancellation | Refund] = []
    for found in match(invoices, cancelled.values()):
        if isinstance(found, Unmatched):
            unmapped += _all_of(by_number[found.number], found.reason)
        else:
            undone.append(found)
    return undone


def _all_of(group: _Group, reason: str) -> list[Unmapped]:
    return [Unmapped(record.line, reason, record.text) for record in group.records]


def _is_cancellation(number: str) -> bool:
    return number.startswith("C")


def _sort_in(groups: dict[str, _Group], record: Record) -> None:
    values = record.values
    if values is None:
        raise _BadRow(record.problem)
    number, line = _required(values, "InvoiceNo"), _line(record.line, values)
    customer_id, country = values["CustomerID"] or GUEST, _required(values, "Country")
    group = groups.get(number)
    if group is None:
        group = groups[number] = _Group(number, customer_id, country, [], [])
    first = f"as on line {group.records[0].line}" if group.records else ""
    if customer_id != group.customer_id:
        raise _BadRow(f"customer {customer_id} instead of {group.customer_id} {first}")
    if country != group.country:
        raise _BadRow(f"country {country!r} instead of {group.country!r} {first}")
    group.records.append(record)
    group.lines.append(line)


def _line(number: int, values: dict[str, str]) -> InvoiceLine:
    """Make a line of a row; its quantity is positive, on a cancellation too."""
    sku = _required(values, "StockCode")
    quantity = _quantity(
        values["Quantity"], sign=-1 if _is_cancellation(values["InvoiceNo"]) else 1
    )
    kind = FeeLine if sku.upper() in FEE_CODES else InvoiceLine
    return kind(number, sku, values["Description"], quantity, _cents(values["UnitPrice"]))


def _required(values: dict[str, str], column: str) -> str:
    if not values[column]:
        raise _BadRow(f"{column} is missing")
    return values[column]


def _quantity(text: str, *, sign: int) -> int:
    if not _INTEGER.fullmatch(text):
        raise _BadRow(
            f"Quantity {text!r} is no whole number of up to 12 digits"
            if text
            else "Quantity is missing"
        )
    quantity = sign * int(text)
    if quantity <= 0:
        rule = "above 0" if sign > 0 else "below 0 on a cancellation"
        raise _BadRow(f"Quantity {text} must be {rule}")
    if quantity > MAX_QUANTITY:
        raise _BadRow(f"Quantity {text} is more than {MAX_QUANTITY}")
    return quantity


def _cents(text: str) -> int:
    if not _DECIMAL.fullmatch(text):
        raise _BadRow(
            f"UnitPrice {text!r} is no plain decimal number" if text else "UnitPrice is missing"
        )
    cents = Decimal(text) * 100
    if cents <= 0:
        raise _BadRow(f"UnitPrice {text} must be above 0")
    if cents != int(cents):
        raise _BadRow(f"UnitPrice {text} is no whole number of cents")
    if cents > MAX_UNIT_PRICE_CENTS:
        raise _BadRow(f"UnitPrice {text} is more than {MAX_UNIT_PRICE_CENTS // 100}")
    return int(cents)
