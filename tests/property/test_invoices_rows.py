"""Whatever a file holds: every row is mapped or unmapped once, and nothing is given back twice."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill_orders.invoices import InvoiceFile, read_invoices

HEADER = "InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID,Country"

cells = st.tuples(
    st.sampled_from(["1", "2", "3", "C1", "C2", "C8", "C9", ""]),
    st.sampled_from(["A", "B", "POST", ""]),
    st.sampled_from(["X", '"X, Y"', '"open', 'in"ner', '"two\nlines"', "é"]),
    st.sampled_from(["1", "2", "5", "-1", "-2", "-5", "0", "six"]),
    st.sampled_from(["1.00", "2.5", "0", "-1", "x"]),
    st.sampled_from(["c", "d", ""]),
    st.sampled_from(["UK", "UK", "FR"]),
)
good = st.tuples(
    st.sampled_from(["1", "2", "3"]),
    st.sampled_from(["A", "B", "POST"]),
    st.just("X"),
    st.sampled_from(["1", "2", "5"]),
    st.sampled_from(["1.00", "2.5"]),
    st.just("c"),
    st.just("UK"),
)
undoing = st.tuples(
    st.sampled_from(["C1", "C7", "C8", "C9"]),
    st.sampled_from(["A", "B", "POST"]),
    st.just("X"),
    st.sampled_from(["-1", "-2", "-5"]),
    st.sampled_from(["1.00", "2.5"]),
    st.just("c"),
    st.just("UK"),
)
junk = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
lines = st.lists((cells | good | undoing).map(",".join) | junk, max_size=25)


def read(body: list[str]) -> InvoiceFile:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders.csv"
        path.write_text("\n".join([HEADER, "x", *body]), encoding="utf-8")
        return read_invoices(path)


@settings(max_examples=150, deadline=None)
@given(lines)
def test_every_row_is_mapped_or_unmapped_once(body: list[str]) -> None:
    file = read(body)
    mapped = [row.line for invoice in file.invoices for row in invoice.rows]
    for entry in file.undone:
        mapped += entry.rows
    all_lines = mapped + [row.line for row in file.unmapped]
    assert file.rows_read == file.rows_mapped + len(file.unmapped) == len(all_lines)
    assert len(set(all_lines)) == len(all_lines)
    assert all(row.reason for row in file.unmapped)


@settings(max_examples=150, deadline=None)
@given(st.lists((good | undoing).map(",".join), min_size=1, max_size=25))
def test_no_more_is_given_back_than_was_sold(body: list[str]) -> None:
    file = read(body)
    sold = {
        (invoice.number, row.sku, row.unit_price_cents): 0
        for invoice in file.invoices
        for row in invoice.rows
    }
    for invoice in file.invoices:
        for row in invoice.rows:
            sold[invoice.number, row.sku, row.unit_price_cents] += row.quantity
    given_back = Counter[tuple[str, str, int]]()
    for refund in file.refunds:
        for line in refund.lines:
            given_back[refund.undoes, line.sku, line.unit_price_cents] += line.quantity
    assert all(quantity <= sold[key] for key, quantity in given_back.items())
    undone = [entry.undoes for entry in file.cancellations]
    assert len(set(undone)) == len(undone)
    assert not {refund.undoes for refund in file.refunds} & set(undone)


@settings(max_examples=50, deadline=None)
@given(st.lists(undoing.map(",".join), min_size=1, max_size=4), st.lists(good.map(",".join)))
def test_a_refund_gives_back_the_quantities_of_its_rows(body: list[str], sold: list[str]) -> None:
    file = read([*sold, *body])
    by_line = dict(enumerate([HEADER, "x", *sold, *body], start=1))
    for refund in file.refunds:
        stated = Counter[str]()
        for line in refund.rows:
            stated[by_line[line].split(",")[1]] -= int(by_line[line].split(",")[3])
        found = Counter[str]()
        for part in refund.lines:
            found[part.sku] += part.quantity
        assert found == stated
