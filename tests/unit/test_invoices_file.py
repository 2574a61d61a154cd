"""Files that can't be read, and bad lines in files that can."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill.errors import GristmillError
from gristmill_orders.invoices import InputFileError, InvoiceFile, read_invoices

HEADER = "InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID,Country"
GOOD = "536365,85123A,LIGHT HOLDER,6,2.55,17850,United Kingdom"


def read(tmp_path: Path, *lines: str) -> InvoiceFile:
    path = tmp_path / "orders.csv"
    path.write_text("\n".join((HEADER, *lines)) + "\n", encoding="utf-8")
    return read_invoices(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\n \n", "is empty (3 bytes)"),
        (HEADER.encode() + b"\n\n", "has a header and no rows"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is a PNG image and no CSV"),
        (b"PAR1\x15\x04", "is a Parquet file and no CSV"),
        (b"PK\x03\x04\x14\0", "an Excel workbook"),
        (b"\0\0\0\1rest", "byte 0 (line 1) is zero"),
        (f"{HEADER}\na\0b".encode(), "(line 2) is zero"),
        (
            f"{HEADER}\n{GOOD}".encode("utf-16"),
            "is UTF-16 and not UTF-8; convert it: iconv -f UTF-16",
        ),
        (f"{HEADER}\n{GOOD}".encode("utf-32"), "is UTF-32 and not UTF-8"),
        (f"{HEADER}\n".encode() + b"caf\xe9", "byte 73 (line 2) is 0xe9; convert it: iconv -f WIN"),
        (b"\xef\xbb\xbf" + b"Invoice\xe9", "byte 10 (line 1) is 0xe9"),
        (
            f"{HEADER}\n{GOOD}".replace(",", ";").encode(),
            "separated by semicolons; save it with com",
        ),
        (f"{HEADER}\n{GOOD}".replace(",", "\t").encode(), "separated by tabs"),
        (HEADER.replace("UnitPrice", "Price").encode() + b"\n1", "lacks the column UnitPrice;"),
        (HEADER.replace("UnitPrice", "unit price").encode(), "rename 'unit price' to 'UnitPrice'"),
        (b"a,b\n1,2\n", "its first line has a, b"),
        (f"{HEADER},Country\n1".encode(), "more than one column named Country"),
    ],
)
def test_a_file_that_is_no_invoices_is_refused_by_name(
    tmp_path: Path, data: bytes, said: str
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(data)
    with pytest.raises(InputFileError) as caught:
        read_invoices(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert caught.value.exit_code == 2
    assert isinstance(caught.value, GristmillError)


def test_a_missing_file_is_named_with_its_nearest(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(HEADER, encoding="utf-8")
    with pytest.raises(InputFileError, match=r"order\.csv does not exist; did you mean .*orders"):
        read_invoices(tmp_path / "order.csv")
    with pytest.raises(InputFileError, match="nor does the folder"):
        read_invoices(tmp_path / "no" / "order.csv")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="is a folder; name a CSV file in it"):
        read_invoices(tmp_path)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",85123A,X,6,2.55,17850,UK", "InvoiceNo is missing"),
        ("536366,,X,6,2.55,17850,UK", "StockCode is missing"),
        ("536366,85123A,X,6,2.55,17850,", "Country is missing"),
        ("536366,85123A,X,,2.55,17850,UK", "Quantity is missing"),
        ("536366,85123A,X,six,2.55,17850,UK", "Quantity 'six' is no whole number"),
        ("536366,85123A,X,1_0,2.55,17850,UK", "Quantity '1_0' is no whole number"),
        ("536366,85123A,X,1.5,2.55,17850,UK", "Quantity '1.5' is no whole number"),
        ("536366,85123A,X,0,2.55,17850,UK", "Quantity 0 must be above 0"),
        ("536366,85123A,X,-6,2.55,17850,UK", "Quantity -6 must be above 0"),
        ("536366,85123A,X,1000001,2.55,17850,UK", "is more than 1000000"),
        ("C536366,85123A,X,6,2.55,17850,UK", "must be below 0 on a cancellation"),
        ("536366,85123A,X,6,,17850,UK", "UnitPrice is missing"),
        ("536366,85123A,X,6,NaN,17850,UK", "UnitPrice 'NaN' is no plain decimal number"),
        ("536366,85123A,X,6,1e2,17850,UK", "UnitPrice '1e2' is no plain decimal number"),
        ('536366,85123A,X,6,"2,55",17850,UK', "UnitPrice '2,55' is no plain decimal number"),
        ("536366,85123A,X,6,0.00,17850,UK", "UnitPrice 0.00 must be above 0"),
        ("536366,85123A,X,6,-2.55,17850,UK", "UnitPrice -2.55 must be above 0"),
        ("536366,85123A,X,6,0.125,17850,UK", "UnitPrice 0.125 is no whole number of cents"),
        ("536366,85123A,X,6,10000000.01,17850,UK", "is more than 10000000"),
        ("536366,POST,POSTAGE,1,18.00,17850,UK", "invoice 536366 has fees only"),
        ("536366,85123A,X,6", "4 columns instead of 7"),
        ("536366,85123A,X,6,2.55,17850,UK,more", "8 columns instead of 7"),
        (",,,,,,", "InvoiceNo is missing"),
        ('536366,85123A,"X,6,2.55,17850,UK', "a quote is misplaced or never closed"),
        ('536366,85123A,"X"Y,6,2.55,17850,UK', "a quote is misplaced or never closed"),
        ("536365,85123A,X,6,2.55,99,United Kingdom", "customer 99 instead of 17850 as on line 2"),
        ("536365,85123A,X,6,2.55,17850,France", "country 'France' instead of 'United Kingdom'"),
    ],
)
def test_a_bad_line_is_unmapped_and_the_next_is_read(tmp_path: Path, row: str, reason: str) -> None:
    file = read(tmp_path, GOOD, row, GOOD)
    (bad,) = file.unmapped
    assert bad.line == 3
    assert reason in bad.reason
    assert bad.text == row
    assert [line.line for line in file.invoices[0].lines] == [2, 4]
    assert (file.rows_read, file.rows_mapped) == (3, 2)


def test_line_numbers_count_blank_lines_and_lines_in_quotes(tmp_path: Path) -> None:
    file = read(tmp_path, GOOD, "", '536365,1,"two\nlines",1,1,17850,United Kingdom', "x")
    assert [line.line for line in file.invoices[0].lines] == [2, 4]
    assert file.invoices[0].lines[1].description == "two\nlines"
    assert [(bad.line, bad.text) for bad in file.unmapped] == [(6, "x")]
    assert file.rows_read == 3


def test_an_open_quote_does_not_swallow_a_quoted_line_behind_it(tmp_path: Path) -> None:
    quoted = '536365,1,"METAL, RED",1,1.00,17850,United Kingdom'
    file = read(tmp_path, '1,2,"OPEN,1,1.00,,UK', quoted, quoted)
    assert [bad.line for bad in file.unmapped] == [2]
    assert [line.line for line in file.invoices[0].lines] == [3, 4]


def test_a_huge_field_is_a_bad_line_and_its_report_stays_short(tmp_path: Path) -> None:
    row = f"536365,1,X,{'9' * 200_000},1.00,17850,United Kingdom"
    few = f"536365,1,X,{'9' * 2_000},1.00,17850,United Kingdom"
    file = read(tmp_path, row, few, GOOD)
    assert [bad.line for bad in file.unmapped] == [2, 3]
    assert all(len(bad.reason) <= 200 and len(bad.text) <= 200 for bad in file.unmapped)
    assert file.rows_mapped == 1


def test_line_ends_byte_order_mark_and_further_columns_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "dos.csv"
    text = f"InvoiceDate,{HEADER}\n1/12/2010,{GOOD}\n".replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_invoices(path).invoices == read(tmp_path, GOOD).invoices


def test_progress_counts_rows_up_to_the_last(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("\n".join([HEADER, *[GOOD] * 2_500]), encoding="utf-8")
    seen: list[int] = []
    read_invoices(path, progress=seen.append)
    assert seen == [1_000, 2_000, 2_500]
