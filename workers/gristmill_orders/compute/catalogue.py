"""Product facts for packing: size and weight of a unit, derived from its SKU.

The order data knows no sizes, so each SKU gets plausible ones from a stable hash of its name. They
are the same in every process and on every machine.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

import msgspec


class Product(msgspec.Struct, frozen=True):
    """One unit of a product as it is packed: its boxed size in mm and its weight in g."""

    sku: str
    length_mm: int
    width_mm: int
    height_mm: int
    weight_g: int

    @property
    def dimensions_mm(self) -> tuple[int, int, int]:
        """The unit's length, width and height in mm."""
        return self.length_mm, self.width_mm, self.height_mm

    @property
    def volume_mm3(self) -> int:
        """The unit's volume in mm^3."""
        return self.length_mm * self.width_mm * self.height_mm


class _Shape(msgspec.Struct, frozen=True):
    """A class of goods: its share in 256 products and the range of each edge (mm) and density."""

    share: int
    length_mm: tuple[int, int]
    width_mm: tuple[int, int]
    height_mm: tuple[int, int]
    density_g_per_litre: tuple[int, int]


_SHAPES: Final = (
    _Shape(64, (110, 240), (90, 180), (4, 25), (300, 700)),  # cards, napkins, signs
    _Shape(112, (50, 130), (40, 100), (30, 80), (150, 600)),  # ornaments, candles, tins
    _Shape(52, (90, 170), (80, 130), (60, 110), (150, 500)),  # mugs, clocks, lanterns
    _Shape(12, (280, 520), (40, 80), (40, 70), (150, 450)),  # umbrellas, garlands
    _Shape(16, (200, 360), (150, 260), (70, 180), (80, 300)),  # cushions, lamps, baskets
)


@lru_cache(maxsize=65_536)
def product(sku: str) -> Product:
    """Give the size and weight of one unit of ``sku``.

    Args:
        sku: the stock code, taken as it is: case and blanks count.

    Returns:
        The product, the same one for the same SKU everywhere. Every product fits the largest
        carton.
    """
    draw = hashlib.blake2b(sku.encode(), digest_size=9, person=b"product").digest()
    shape = _shape(draw[0])
    length, width, height, density = (
        low + int.from_bytes(draw[at : at + 2]) * (high - low) // 0xFFFF
        for at, (low, high) in zip(
            (1, 3, 5, 7),
            (shape.length_mm, shape.width_mm, shape.height_mm, shape.density_g_per_litre),
            strict=True,
        )
    )
    weight = max(1, length * width * height * density // 1_000_000)
    return Product(sku, length, width, height, weight)


def _shape(draw: int) -> _Shape:
    for shape in _SHAPES:
        if draw < shape.share:
            return shape
        draw -= shape.share
    raise AssertionError("the shares of the shapes sum to 256")
