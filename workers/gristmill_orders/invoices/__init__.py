"""Reads files of invoices and maps them to orders, cancellations and refunds."""

from __future__ import annotations

from gristmill_orders.invoices.mapping import read_invoices
from gristmill_orders.invoices.model import (
    GUEST,
    Cancellation,
    FeeLine,
    Invoice,
    InvoiceFile,
    InvoiceLine,
    Refund,
    RefundLine,
    Unmapped,
)
from gristmill_orders.invoices.plan import CancelPoint, PlannedOrder, plan
from gristmill_orders.invoices.reader import InputFileError

__all__ = [
    "GUEST",
    "CancelPoint",
    "Cancellation",
    "FeeLine",
    "InputFileError",
    "Invoice",
    "InvoiceFile",
    "InvoiceLine",
    "PlannedOrder",
    "Refund",
    "RefundLine",
    "Unmapped",
    "plan",
    "read_invoices",
]
