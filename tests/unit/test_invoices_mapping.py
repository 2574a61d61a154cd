"""Invoices, cancellations and refunds out of rows; the real file's counts; the sample."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from gristmill_orders.invoices import Cancellation, InvoiceFile, Refund, RefundLine, read_invoices
from gristmill_orders.invoices.sample import main, sample_path, sample_text

HEADER = "InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID,Country"
REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "online_retail.csv"


def read(tmp_path: Path, *rows: str) -> InvoiceFile:
    """Read rows of the form ``number sku quantity price [customer]``."""
    lines = [HEADER]
    for row in rows:
        number, sku, quantity, price, *customer = row.split()
        lines.append(f"{number},{sku},THING,{quantity},{price},{''.join(customer)},UK")
    path = tmp_path / "orders.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_invoices(path)


def test_rows_are_grouped_by_number_and_not_by_adjacency(tmp_path: Path) -> None:
    file = read(tmp_path, "2 A 1 1.00 c", "1 A 1 1.00 c", "2 B 1 1.00 c")
    assert [(i.number, [row.sku for row in i.lines]) for i in file.invoices] == [
        ("2", ["A", "B"]),
        ("1", ["A"]),
    ]


def test_fees_stand_apart_and_a_missing_customer_is_a_guest(tmp_path: Path) -> None:
    (invoice,) = read(tmp_path, "1 POST 2 18", "1 A 3 2.5", "1 m 1 0.10").invoices
    assert invoice.customer_id == "guest"
    assert [line.sku for line in invoice.fees] == ["POST", "m"]
    assert (invoice.items_cents, invoice.fees_cents) == (750, 3_610)


@pytest.mark.parametrize(
    ("price", "cents"), [("2.55", 255), ("1.1", 110), ("7", 700), ("7.", 700), ("0.290", 29)]
)
def test_prices_are_exact(tmp_path: Path, price: str, cents: int) -> None:
    assert read(tmp_path, f"1 A 1 {price}").invoices[0].lines[0].unit_price_cents == cents


def test_a_cancellation_undoes_the_order_of_its_number(tmp_path: Path) -> None:
    file = read(tmp_path, "1 A 2 1", "1 B 1 1", "2 A 2 1", "C1 B -1 1", "C1 A -2 1", "C2 A -1 1")
    assert file.cancellations == (Cancellation("C1", "1", (5, 6)),)
    assert file.refunds == (Refund("C2", "2", (RefundLine("A", 1, 100, 100),), (7,)),)


def test_a_cancellation_undoes_the_first_order_of_its_customer_that_holds_its_lines(
    tmp_path: Path,
) -> None:
    file = read(tmp_path, "1 A 1 1 x", "2 A 2 1 y", "3 A 2 1 x", "4 A 5 1 x", "C9 A -2 1 x")
    assert file.cancellations == (Cancellation("C9", "3", (6,)),)
    assert file.refunds == ()


def test_lines_of_one_product_count_together(tmp_path: Path) -> None:
    file = read(tmp_path, "1 A 1 1 x", "1 A 2 1 x", "C9 A -3 1 x")
    assert [entry.undoes for entry in file.cancellations] == ["1"]


def test_a_refund_gives_back_what_was_charged_at_the_stated_price_first(tmp_path: Path) -> None:
    file = read(tmp_path, "1 A 5 2 x", "1 A 2 3 x", "1 B 1 4 x", "C8 A -4 3 x", "C9 B -1 9 x")
    first, second = file.refunds
    assert first.lines == (RefundLine("A", 2, 300, 300), RefundLine("A", 2, 200, 300))
    assert first.cents == 1_000
    assert second.lines == (RefundLine("B", 1, 400, 900),)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (("1 A 1 1", "C9 A -1 1"), "a guest has no others"),
        (("1 A 1 1 x", "C9 A -1 1 y"), "customer y has no order before it"),
        (("C9 A -1 1 x", "1 A 1 1 x"), "customer x has no order before it"),
        (("1 A 1 1 x", "2 B 1 1 x", "C9 A -1 1 x", "C9 B -1 1 x"), "no one order before it with"),
        (("1 A 1 1 x", "C9 A -2 1 x"), "no one order before it with all its lines"),
        (("1 A 1 1 x", "C1 A -1 1 y"), "customer y, but 1 is of x"),
        (("1 A 1 1 x", "C1 A -2 1 x"), "order 1 does not hold all its lines"),
    ],
)
def test_what_undoes_nothing_is_unmapped_with_every_row(
    tmp_path: Path, rows: tuple[str, ...], reason: str
) -> None:
    file = read(tmp_path, *rows)
    assert not file.cancellations
    assert not file.refunds
    assert len(file.unmapped) == sum(row.startswith("C") for row in rows)
    assert all(reason in row.reason for row in file.unmapped)


def test_an_order_is_undone_once_and_no_more_than_it_held(tmp_path: Path) -> None:
    file = read(tmp_path, "1 A 2 1 x", "C7 A -2 1 x", "C8 A -2 1 x", "C9 A -1 1 x")
    assert [entry.number for entry in file.cancellations] == ["C7"]
    assert ["given back already" in row.reason for row in file.unmapped] == [True, True]
    file = read(tmp_path, "1 A 2 1 x", "C7 A -1 1 x", "C8 A -2 1 x", "C9 A -1 1 x")
    assert [entry.number for entry in file.refunds] == ["C7", "C9"]
    assert [row.line for row in file.unmapped] == [4]


@pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL} is not there")
def test_the_real_file_maps_as_it_is_known_to() -> None:
    file = read_invoices(REAL)
    numbers = {invoice.number for invoice in file.invoices}
    whole, part = len(file.cancellations), len(file.refunds)
    nothing = {row.text.split(",")[0] for row in file.unmapped if row.text.startswith("C")}
    assert sum(entry.number[1:] in numbers for entry in file.undone) == 0
    assert (whole, part, len(nothing)) == (7, 151, 226)
    assert nothing.isdisjoint(entry.number for entry in file.undone)
    assert (file.rows_read, file.rows_mapped + len(file.unmapped)) == (50_062, 50_062)
    assert len(file.invoices) == 1_789


def test_the_sample_is_what_its_generator_makes(tmp_path: Path) -> None:
    assert sample_path().read_bytes() == sample_text().encode()
    assert main([str(tmp_path / "out.csv")]) == 0
    assert (tmp_path / "out.csv").read_bytes() == sample_path().read_bytes()
    assert main([]) == 2


def test_the_sample_has_what_real_files_have() -> None:
    file = read_invoices(sample_path())
    assert len(file.invoices) == 300
    assert statistics.median(len(invoice.lines) for invoice in file.invoices) == 9
    numbers = {invoice.number for invoice in file.invoices}
    for undone in (file.cancellations, file.refunds):
        assert {True, False} <= {entry.number[1:] in numbers for entry in undone}
    assert sum(row.text.startswith("C") for row in file.unmapped) >= 3
    assert sum(not row.text.startswith("C") for row in file.unmapped) == 8
    assert any(invoice.customer_id == "guest" for invoice in file.invoices)
    assert any(invoice.fees for invoice in file.invoices)
    assert any(not row.description.isascii() for i in file.invoices for row in i.lines)
    rows = [sorted(row.line for row in invoice.rows) for invoice in file.invoices]
    assert any(lines[-1] - lines[0] >= len(lines) for lines in rows)
