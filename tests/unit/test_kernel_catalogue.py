"""Product facts and zones: the same everywhere, and plausible."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gristmill_orders.compute.catalogue import Product, product
from gristmill_orders.compute.packing import LARGEST
from gristmill_orders.compute.zones import Zone, zone_of

SKUS = [f"{number}{suffix}" for number in range(20_000, 21_000) for suffix in ("", "A", "b")]

KNOWN = {
    "85123A": Product("85123A", 138, 115, 81, 511),
    "71053": Product("71053", 158, 88, 94, 643),
}


def test_known_products_never_change() -> None:
    assert product("85123A") == KNOWN["85123A"]
    assert product("71053") == KNOWN["71053"]


def test_another_process_knows_the_same_products() -> None:
    code = (
        "from gristmill_orders.compute.catalogue import product;"
        "print(product('85123A'), product('Größe M'))"
    )
    env = os.environ | {"PYTHONHASHSEED": "77"}
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
    assert output.stdout.decode().strip() == f"{product('85123A')} {product('Größe M')}"


def test_every_unit_fits_the_largest_carton_and_has_weight() -> None:
    inner = sorted((LARGEST.length_mm, LARGEST.width_mm, LARGEST.height_mm))
    for sku in SKUS:
        unit = product(sku)
        edges = sorted(unit.dimensions_mm)
        assert all(0 < edge <= limit for edge, limit in zip(edges, inner, strict=True)), unit
        assert 0 < unit.weight_g <= LARGEST.max_weight_g


def test_products_differ() -> None:
    assert len({product(sku).dimensions_mm for sku in SKUS}) > len(SKUS) * 0.9


@pytest.mark.parametrize(
    ("country", "zone"),
    [
        ("United Kingdom", Zone.HOME),
        (" united kingdom ", Zone.HOME),
        ("EIRE", Zone.NEAR),
        ("Germany", Zone.EUROPE),
        ("Norway", Zone.OUTER_EUROPE),
        ("Japan", Zone.WORLD),
        ("Unspecified", Zone.WORLD),
    ],
)
def test_zones(country: str, zone: Zone) -> None:
    assert zone_of(country) is zone
