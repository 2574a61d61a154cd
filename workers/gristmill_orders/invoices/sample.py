"""The sample of invoices that the package ships, and the generator that made it.

An invented shop: its products, customers and numbers stand for nobody's. The file has what real
files have: guests, fees, cancellations of all kinds, rows of an invoice that stand apart, and a
few rows that are wrong. ``python -m gristmill_orders.invoices.sample OUT`` writes it anew.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from random import Random

import msgspec

from gristmill_orders.invoices.reader import COLUMNS

ORDERS = 300
PRODUCTS = 320
CUSTOMERS = 90
SEED = 9
MEDIAN_LINES = 9
MAX_LINES = 60

_FIRST_NUMBER = 700_001
_GUEST_SHARE = 0.12
_CANCEL_EVERY = 11
_APART_EVERY = 50
_WRONG_EVERY = 37
_COUNTRIES = ("United Kingdom",) * 8 + ("Germany", "France", "Netherlands", "Spain")
_MAKES = ("ENAMEL", "WALNUT", "LINEN", "COPPER", "STRIPED", "SLATE", "WOVEN", "FROSTED")
_THINGS = ("JUG", "TRAY", "CANDLE", "BASKET", "APRON", "TEAPOT", "LANTERN", "CUSHION", "CAFÉ CUP")
_STYLES = ("SMALL", "LARGE", "GREEN", "SET OF 4", "WITH LID", "FOR TWO, BOXED")
_QUANTITIES = (1, 1, 1, 2, 2, 3, 4, 6, 6, 12, 24)
_KINDS = ("whole", "part", "part", "nothing", "named whole", "part", "whole", "named part", "fee")


class _Row(msgspec.Struct, frozen=True):
    number: str
    sku: str
    description: str
    quantity: int
    pence: int
    customer: str
    country: str

    def undone_by(self, number: str, quantity: int) -> _Row:
        return msgspec.structs.replace(self, number=number, quantity=-quantity)

    def __str__(self) -> str:
        price = f"{self.pence / 100:.2f}"
        cells = (self.number, self.sku, self.description, self.quantity, price)
        return _csv_line((*cells, self.customer, self.country))


def sample_path() -> Path:
    """Give the path of the sample that the package ships."""
    return Path(str(files("gristmill_orders") / "data" / "sample_orders.csv"))


def sample_text(seed: int = SEED) -> str:
    """Make the sample's text, the same for the same seed."""
    lines = [_csv_line(COLUMNS), *_body(Random(seed))]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the sample to the file that is named, or explain how to call this."""
    if len(arguments) != 1:
        print("usage: python -m gristmill_orders.invoices.sample OUT", file=sys.stderr)
        return 2
    Path(arguments[0]).write_text(sample_text(), encoding="utf-8", newline="")
    return 0


def _csv_line(cells: tuple[object, ...]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


def _body(rng: Random) -> Iterator[str]:
    """Make all lines behind the header, one order after another with the odd ones between."""
    products = _products(rng)
    customers = [(str(40_001 + k), rng.choice(_COUNTRIES)) for k in range(CUSTOMERS)]
    open_orders: list[list[_Row]] = []
    wrong = _wrong_lines()
    apart: list[_Row] = []
    kinds = 0
    for index in range(ORDERS):
        rows = _order(rng, str(_FIRST_NUMBER + 2 * index), products, customers)
        late = rows[-1:] if index % _APART_EVERY == 7 and len(rows) > 1 else []
        yield from map(str, (*rows[: len(rows) - len(late)], *apart))
        apart = late
        if rows[0].customer and len(rows) > 2:
            open_orders.append(rows)
        if index % _CANCEL_EVERY == _CANCEL_EVERY - 1:
            undone = open_orders.pop(-rng.randint(1, min(5, len(open_orders))))
            number = f"C{_FIRST_NUMBER + 2 * index + 1}"
            yield from map(str, _cancellation(rng, _KINDS[kinds % len(_KINDS)], number, undone))
            kinds += 1
        if index % _WRONG_EVERY == 3 and wrong:
            yield wrong.pop(0)


def _products(rng: Random) -> list[tuple[str, str, int]]:
    products = []
    for k in range(PRODUCTS):
        name = f"{rng.choice(_MAKES)} {rng.choice(_THINGS)} {rng.choice(_STYLES)}"
        pence = round(math.exp(rng.gauss(math.log(240), 0.8)))
        products.append((f"{30_001 + 7 * k}", name, max(pence, 19)))
    return products


def _order(
    rng: Random,
    number: str,
    products: list[tuple[str, str, int]],
    customers: list[tuple[str, str]],
) -> list[_Row]:
    customer, country = rng.choice(customers)
    if rng.random() < _GUEST_SHARE:
        customer = ""
    size = round(math.exp(rng.gauss(math.log(MEDIAN_LINES), 0.75)))
    rows = [
        _Row(number, sku, name, rng.choice(_QUANTITIES), pence, customer, country)
        for sku, name, pence in rng.sample(products, min(max(size, 1), MAX_LINES))
    ]
    if country != "United Kingdom":
        rows.append(_Row(number, "POST", "POSTAGE", rng.randint(1, 3), 1_500, customer, country))
    return rows


def _cancellation(rng: Random, kind: str, number: str, order: list[_Row]) -> list[_Row]:
    """Undo an order whole or in part, by number or not; or undo what was never sold."""
    first = order[0]
    if kind == "fee":
        return [_Row(number, "D", "Discount", -1, 995, first.customer, first.country)]
    if kind == "nothing":
        return [first.undone_by(number, first.quantity + 1_000)]
    if kind.startswith("named"):
        number = f"C{first.number}"
    if kind.endswith("whole"):
        return [row.undone_by(number, row.quantity) for row in reversed(order)]
    # The last row may be postage, which is not given back with a part of the order.
    chosen = rng.sample(order[:-1], min(2, len(order) - 1))
    return [row.undone_by(number, rng.randint(1, row.quantity)) for row in chosen]


def _wrong_lines() -> list[str]:
    return [
        "700009,30008,SAMPLE WITHOUT A PRICE,4,0.00,40003,United Kingdom",
        "700059,30015,COUNTED IN WORDS,six,2.50,40004,United Kingdom",
        ",30022,NOBODY'S INVOICE,1,1.25,40005,United Kingdom",
        "700159,30029,CUT OFF,2",
        '700209,30036,"QUOTE NEVER CLOSED,2,3.10,40006,United Kingdom',
        "700259,30043,STOCK CORRECTION,-12,0.85,,United Kingdom",
        "700309,,NO PRODUCT,1,4.20,40007,United Kingdom",
        "700359,30050,HALF A PENNY,10,0.125,40008,Germany",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
