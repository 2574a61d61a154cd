"""Reads a CSV file into records of named columns, and says precisely why a file can't be read.

A file that is no CSV of invoices at all is an error. A bad line in a good file is a value like any
other: it comes out as a record without columns, and the lines behind it are read as usual.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gristmill.errors import GristmillError

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "UnitPrice",
    "CustomerID",
    "Country",
)
"""The columns that a file of invoices must have, in any order; others are not looked at."""

MAX_RECORD_LINES = 10
"""How many lines a quoted field may span; a quote still open then is a mistake of its line."""

_TEXT_SHOWN = 200
_SIGNATURES = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
# The UTF-32 mark begins with the UTF-16 one, so it is looked for first.
_FOREIGN_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


class InputFileError(GristmillError):
    """An input file can't be read as a whole. Names the file, what is wrong and the remedy."""

    exit_code = 2


class Record(NamedTuple):
    """One record of the file: its first line's number, its text, and its columns by name.

    ``values`` is None where the line is no CSV or has another number of columns than the header;
    ``problem`` then says which.
    """

    line: int
    text: str
    values: dict[str, str] | None
    problem: str = ""


def read_records(path: Path) -> Iterator[Record]:
    """Read the file's records, lazily, after its header has been checked.

    Blank lines are no records. Values come without the blanks around them.

    Args:
        path: a CSV file in UTF-8 (a byte order mark is fine), comma-separated, with a header.

    Raises:
        InputFileError: the file is missing, a folder, unreadable, no text, in another encoding,
            empty or without rows, or a column is missing.
    """
    text = _decode(path, _load(path))
    # A StringIO with newline=None turns all three kinds of line end into "\n".
    lines = io.StringIO(text, newline=None).read().split("\n")
    header = _header(path, lines[0])
    if not any(line.strip() for line in lines[1:]):
        raise InputFileError(f"{path} has a header and no rows: there is nothing to read")
    return _records(lines, header)


def _load(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputFileError(f"{path} does not exist; {_neighbours(path)}") from None
    except IsADirectoryError:
        raise InputFileError(f"{path} is a folder; name a CSV file in it") from None
    except OSError as error:
        raise InputFileError(f"{path} can't be read: {error.strerror}") from error


def _neighbours(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"nor does the folder {folder}"
    near = difflib.get_close_matches(path.name, [entry.name for entry in folder.glob("*")], n=1)
    return f"did you mean {folder / near[0]}?" if near else f"looked in {folder.resolve()}"


def _decode(path: Path, data: bytes) -> str:
    if not data.strip():
        raise InputFileError(f"{path} is empty ({len(data)} bytes)")
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            raise InputFileError(f"{path} is {kind} and no CSV; export it as CSV in UTF-8")
    for mark, encoding in _FOREIGN_MARKS:
        if data.startswith(mark):
            raise InputFileError(f"{path} is {encoding} and not UTF-8; {_convert(path, encoding)}")
    offset = data.find(b"\x00")
    if offset >= 0:
        raise InputFileError(
            f"{path} is binary and no CSV: byte {offset} (line {_line(data, offset)}) is zero; "
            "if it is UTF-16 without a byte order mark, convert it to UTF-8"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The decoder counts from behind the byte order mark, if there is one.
        offset = error.start + len(data) - len(error.object)
        raise InputFileError(
            f"{path} is not UTF-8: byte {offset} (line {_line(data, offset)}) is "
            f"0x{data[offset]:02x}; {_convert(path, 'WINDOWS-1252')} (if that is its encoding)"
        ) from None


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _convert(path: Path, encoding: str) -> str:
    return f"convert it: iconv -f {encoding} -t UTF-8 {path} > {path.stem}.utf8.csv"


def _header(path: Path, line: str) -> list[str]:
    found = [name.strip() for name in _parse(line) or []]
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise InputFileError(f"{path} {_missing(line, found, missing)}")
    twice = sorted(name for name in COLUMNS if found.count(name) > 1)
    if twice:
        raise InputFileError(f"{path} has more than one column named {', '.join(twice)}")
    return found


def _missing(line: str, found: list[str], missing: list[str]) -> str:
    for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        parts = {part.strip().strip('"') for part in line.split(delimiter)}
        if not parts.isdisjoint(missing):
            return f"is separated by {name}; save it with commas"
    known = {name.casefold(): name for name in found}
    near = {}
    for name in missing:
        match = difflib.get_close_matches(name.casefold(), known, n=1)
        if match:
            near[known[match[0]]] = name
    renames = "; ".join(f"rename {old!r} to {new!r}" for old, new in near.items())
    shown = ", ".join(found)[:_TEXT_SHOWN] or "nothing"
    return f"lacks {_columns(missing)}; its first line has {shown}" + (renames and f"; {renames}")


def _columns(names: list[str]) -> str:
    return f"the column{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _records(lines: list[str], header: list[str]) -> Iterator[Record]:
    index = 1
    while index < len(lines):
        if not lines[index].strip():
            index += 1
            continue
        values, taken = _one_record(lines, index, len(header))
        text = "\n".join(lines[index : index + taken])[:_TEXT_SHOWN]
        if values is None:
            yield Record(
                index + 1, text, None, "no valid CSV: a quote is misplaced or never closed"
            )
        elif len(values) != len(header):
            problem = f"{len(values)} columns instead of {len(header)}"
            yield Record(index + 1, text, None, problem)
        else:
            stripped = (value.strip() for value in values)
            yield Record(index + 1, text, dict(zip(header, stripped, strict=True)))
        index += taken


def _one_record(lines: list[str], index: int, width: int) -> tuple[list[str] | None, int]:
    """Parse the record that begins at ``index``; give its values and how many lines it took.

    Lines are joined only where the first alone is no CSV and the whole has the right width, so
    that a quote that was never closed costs its own line and not those behind it.
    """
    values = _parse(lines[index])
    if values is not None:
        return values, 1
    for taken in range(2, MAX_RECORD_LINES + 1):
        values = _parse("\n".join(lines[index : index + taken]))
        if values is not None and len(values) == width:
            return values, taken
    return None, 1


def _parse(text: str) -> list[str] | None:
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None
