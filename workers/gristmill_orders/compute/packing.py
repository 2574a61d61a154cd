"""Packs an order's units into cartons: 3-D guillotine packing of homogeneous blocks.

A carton is filled space by space, the smallest first. In each space goes the block (a grid of equal
units in one of six rotations) that counts most, awkward and heavy units counting more than their
volume; what is left of the space is cut into three.
Units of one product are never looked at one by one, and a filled carton is repeated for as long as
the stock of its units lasts, so the time grows with the number of products, not of units.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from gristmill.errors import GristmillError, UsageError
from gristmill_orders.compute.catalogue import Product, product

Ints = NDArray[np.int64]
Space = tuple[int, int, int, int, int, int, int]
"""Volume, origin (x, y, z) and edges (length, width, height) of a free box in a carton."""


class UnpackableError(GristmillError):
    """A unit is larger or heavier than any carton takes."""


class Item(msgspec.Struct, frozen=True):
    """A number of units of one product."""

    product: Product
    quantity: int


class CartonType(msgspec.Struct, frozen=True):
    """A size of carton: inner edges in mm, the content's weight limit and its own weight in g."""

    name: str
    length_mm: int
    width_mm: int
    height_mm: int
    max_weight_g: int
    tare_g: int

    @property
    def volume_mm3(self) -> int:
        """The inner volume in mm^3."""
        return self.length_mm * self.width_mm * self.height_mm


class Placement(msgspec.Struct, frozen=True):
    """A block of equal units: where it starts, a unit's edges as turned, and units per axis."""

    sku: str
    origin_mm: tuple[int, int, int]
    unit_mm: tuple[int, int, int]
    counts: tuple[int, int, int]

    @property
    def units(self) -> int:
        """The number of units in the block."""
        return self.counts[0] * self.counts[1] * self.counts[2]


class Carton(msgspec.Struct, frozen=True):
    """A packed carton: its type, the blocks in it and the weight of its content in g."""

    type: CartonType
    placements: tuple[Placement, ...]
    content_g: int


class Packing(msgspec.Struct, frozen=True):
    """The cartons of one order, in the order in which they were filled."""

    cartons: tuple[Carton, ...]


CARTONS: Final = (
    CartonType("C01", 160, 110, 60, 2_000, 60),
    CartonType("C02", 220, 160, 80, 3_000, 90),
    CartonType("C03", 250, 200, 100, 5_000, 130),
    CartonType("C04", 550, 120, 100, 6_000, 210),
    CartonType("C05", 305, 230, 120, 8_000, 190),
    CartonType("C06", 305, 305, 200, 10_000, 290),
    CartonType("C07", 380, 280, 220, 12_000, 360),
    CartonType("C08", 400, 300, 300, 15_000, 450),
    CartonType("C09", 450, 350, 320, 18_000, 560),
    CartonType("C10", 500, 400, 300, 20_000, 640),
    CartonType("C11", 600, 400, 300, 25_000, 760),
    CartonType("C12", 600, 400, 400, 30_000, 900),
)
"""The carton sizes by rising volume; the last one holds the most by volume and by weight."""
LARGEST: Final = CARTONS[-1]


def items_of(lines: Iterable[tuple[str, int]]) -> tuple[Item, ...]:
    """Give the items of ``(sku, quantity)`` lines, one item a SKU, in order of first sight."""
    totals: dict[str, int] = {}
    for sku, quantity in lines:
        totals[sku] = totals.get(sku, 0) + quantity
    return tuple(Item(product(sku), quantity) for sku, quantity in totals.items())


def carton_lower_bound(items: Sequence[Item]) -> int:
    """Give a number of cartons below which no packing of ``items`` can go, by volume and weight."""
    volume = sum(item.product.volume_mm3 * item.quantity for item in items)
    weight = sum(item.product.weight_g * item.quantity for item in items)
    return max(-(-volume // LARGEST.volume_mm3), -(-weight // LARGEST.max_weight_g))


def pack(items: Sequence[Item]) -> Packing:
    """Pack all units of ``items``; the same items in the same order give the same packing.

    Largest cartons are filled until the rest fits into one; that one is the smallest that takes it.

    Args:
        items: the units to pack, each SKU at most once (see :func:`items_of`).

    Raises:
        UsageError: a quantity is below one, or a SKU is there twice.
        UnpackableError: a unit is too large or too heavy for every carton.
    """
    _check(items)
    goods = _Goods([item.product for item in items], [item.quantity for item in items])
    cartons: list[Carton] = []
    while goods.units:
        carton, packed = _next_carton(goods)
        used = packed > 0
        # The pattern is as good a second time, for as long as there are units to repeat it.
        repeats = int(np.min(goods.remaining[used] // packed[used]))
        cartons.extend([carton] * repeats)
        goods = goods.without(packed * repeats)
    return Packing(tuple(cartons))


def _check(items: Sequence[Item]) -> None:
    limits = sorted((LARGEST.length_mm, LARGEST.width_mm, LARGEST.height_mm))
    seen: set[str] = set()
    for item in items:
        unit = item.product
        if item.quantity < 1:
            raise UsageError(f"item {unit.sku}: a quantity of {item.quantity} can't be packed")
        if unit.sku in seen:
            raise UsageError(f"item {unit.sku} is there twice; add its quantities up first")
        seen.add(unit.sku)
        fits = all(e <= limit for e, limit in zip(sorted(unit.dimensions_mm), limits, strict=True))
        if not fits or unit.weight_g > LARGEST.max_weight_g:
            raise UnpackableError(
                f"item {unit.sku} ({unit.dimensions_mm} mm, {unit.weight_g} g) exceeds the largest "
                f"carton ({limits} mm, {LARGEST.max_weight_g} g); ship it outside of cartons"
            )


class _Goods:
    """The units still to pack, as arrays: one row a product, and one row a product and rotation."""

    def __init__(self, products: Sequence[Product], quantities: Sequence[int] | Ints) -> None:
        self.products = products
        self.remaining: Ints = np.asarray(quantities, dtype=np.int64)
        self.weights: Ints = np.array([unit.weight_g for unit in products], dtype=np.int64)
        self.volumes: Ints = np.array([unit.volume_mm3 for unit in products], dtype=np.int64)
        turned = [sorted(set(itertools.permutations(unit.dimensions_mm))) for unit in products]
        self.row_product: Ints = np.repeat(np.arange(len(products)), [len(t) for t in turned])
        flat = np.array([edges for t in turned for edges in t], dtype=np.int64).reshape(-1, 3)
        self.edges: Ints = np.ascontiguousarray(flat.T)
        self.shares: Ints = self._shares()
        self._sum_up()

    def _shares(self) -> Ints:
        """Give the share of a largest carton (in mm^3) that a unit takes among its like, by row.

        Unlike a unit's volume it counts the gaps around awkward units and the weight of heavy ones.
        """
        inner = np.array([[LARGEST.length_mm], [LARGEST.width_mm], [LARGEST.height_mm]])
        grids = np.zeros(len(self.products), dtype=np.int64)
        np.maximum.at(grids, self.row_product, np.prod(inner // self.edges, axis=0))
        alone = np.minimum(grids, LARGEST.max_weight_g // self.weights)
        return (LARGEST.volume_mm3 // alone)[self.row_product]

    def _sum_up(self) -> None:
        self.units = int(self.remaining.sum())
        self.volume_mm3 = int(self.remaining @ self.volumes)
        self.weight_g = int(self.remaining @ self.weights)

    def without(self, packed: Ints) -> _Goods:
        """Give what is left when ``packed`` units of each product are gone."""
        rest = object.__new__(_Goods)
        remaining = self.remaining - packed
        kept = remaining > 0
        rows = kept[self.row_product]
        rest.products = [unit for unit, keep in zip(self.products, kept, strict=True) if keep]
        rest.remaining, rest.weights = remaining[kept], self.weights[kept]
        rest.volumes = self.volumes[kept]
        rest.row_product = (np.cumsum(kept) - 1)[self.row_product[rows]]
        rest.shares = self.shares[rows]
        rest.edges = np.ascontiguousarray(self.edges[:, rows])
        rest._sum_up()
        return rest

    def best_block(
        self, edges: tuple[int, int, int], limits: Ints
    ) -> tuple[int, tuple[int, int, int]] | None:
        """Find the block for a space that takes the greatest share of a carton (see ``shares``).

        Args:
            edges: the space's length, width and height in mm.
            limits: for each product, how many units of it may still come into this carton.

        Returns:
            The row (product and rotation) and its units per axis, or None if no unit fits.
        """
        limit = limits[self.row_product]
        along = np.minimum(edges[0] // self.edges[0], limit)
        across = np.minimum(edges[1] // self.edges[1], limit // np.maximum(along, 1))
        layer = along * across
        up = np.minimum(edges[2] // self.edges[2], limit // np.maximum(layer, 1))
        share = layer * up * self.shares
        row = int(share.argmax())
        if not share[row]:
            return None
        return row, (int(along[row]), int(across[row]), int(up[row]))


def _next_carton(goods: _Goods) -> tuple[Carton, Ints]:
    """Fill the smallest carton that takes all of ``goods``, or else the largest one."""
    for kind in CARTONS[:-1]:
        spare = kind.volume_mm3 - goods.volume_mm3
        if spare >= 0 and goods.weight_g <= kind.max_weight_g:
            carton, packed = _fill(goods, kind, spare)
            if int(packed.sum()) == goods.units:
                return carton, packed
    return _fill(goods, LARGEST, LARGEST.volume_mm3)


def _fill(goods: _Goods, kind: CartonType, spare_mm3: int) -> tuple[Carton, Ints]:
    """Fill one carton; give up early when more than ``spare_mm3`` of it stays empty."""
    remaining, weight_left = goods.remaining.copy(), kind.max_weight_g
    placements: list[Placement] = []
    whole = (kind.volume_mm3, 0, 0, 0, kind.length_mm, kind.width_mm, kind.height_mm)
    spaces: list[Space] = [whole]
    limits = np.minimum(remaining, weight_left // goods.weights)
    while spaces and spare_mm3 >= 0:
        volume, x, y, z, *free = heapq.heappop(spaces)
        length, width, height = free
        block = goods.best_block((length, width, height), limits)
        if block is None:
            spare_mm3 -= volume
            continue
        row, counts = block
        item = int(goods.row_product[row])
        a, b, c = goods.edges[:, row].tolist()
        placement = Placement(goods.products[item].sku, (x, y, z), (a, b, c), counts)
        placements.append(placement)
        remaining[item] -= placement.units
        weight_left -= placement.units * int(goods.weights[item])
        limits = np.minimum(remaining, weight_left // goods.weights)
        if not limits.any():
            break
        taken = (a * counts[0], b * counts[1], c * counts[2])
        for space in _cut((x, y, z), (length, width, height), taken):
            heapq.heappush(spaces, space)
    content = kind.max_weight_g - weight_left
    return Carton(kind, tuple(placements), content), goods.remaining - remaining


def _cut(
    origin: tuple[int, int, int], edges: tuple[int, int, int], taken: tuple[int, int, int]
) -> list[Space]:
    """Cut what a block at ``origin`` leaves of a space, straight through, largest piece first."""
    pieces: list[Space] = []
    free = list(edges)
    for axis in sorted(range(3), key=lambda axis: taken[axis] / edges[axis]):
        gap = free[axis] - taken[axis]
        if gap:
            start, size = list(origin), free.copy()
            start[axis] += taken[axis]
            size[axis] = gap
            volume = size[0] * size[1] * size[2]
            pieces.append((volume, start[0], start[1], start[2], size[0], size[1], size[2]))
        free[axis] = taken[axis]
    return pieces
