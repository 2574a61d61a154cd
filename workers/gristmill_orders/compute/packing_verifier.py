"""Checks a packing against its items, by rules of its own and no code of the packer's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from gristmill.errors import GristmillError
from gristmill_orders.compute.catalogue import Product
from gristmill_orders.compute.packing import Carton, Item, Packing, Placement


class PackingError(GristmillError):
    """A packing breaks a rule. Says which carton, which block and why."""


def verify(items: Sequence[Item], packing: Packing) -> None:
    """Check that every unit is packed once, in its own size, inside, without overlap or overweight.

    Args:
        items: what was to be packed, each SKU once.
        packing: what came out.

    Raises:
        PackingError: the first rule that is broken.
    """
    products = {item.product.sku: item.product for item in items}
    packed: Counter[str] = Counter()
    for number, carton in enumerate(packing.cartons, start=1):
        where = f"carton {number} ({carton.type.name})"
        for block in carton.placements:
            _check_block(where, carton, block, products.get(block.sku))
            packed[block.sku] += block.units
        _check_overlap(where, carton)
        _check_weight(where, carton, products)
    for item in items:
        if packed[item.product.sku] != item.quantity:
            raise PackingError(
                f"{packed[item.product.sku]} units of {item.product.sku} are packed, "
                f"{item.quantity} were ordered"
            )


def _check_block(where: str, carton: Carton, block: Placement, unit: Product | None) -> None:
    if unit is None:
        raise PackingError(f"{where}: {block.sku} was not ordered")
    if min(block.counts) < 1:
        raise PackingError(f"{where}: the block of {block.sku} has no units: {block.counts}")
    if sorted(block.unit_mm) != sorted(unit.dimensions_mm):
        raise PackingError(
            f"{where}: {block.sku} is packed as {block.unit_mm} mm, it is {unit.dimensions_mm} mm"
        )
    inner = (carton.type.length_mm, carton.type.width_mm, carton.type.height_mm)
    for start, edge, count, limit in zip(
        block.origin_mm, block.unit_mm, block.counts, inner, strict=True
    ):
        if start < 0 or start + edge * count > limit:
            raise PackingError(f"{where}: {block} sticks out of {inner} mm")


def _check_overlap(where: str, carton: Carton) -> None:
    low = np.array([block.origin_mm for block in carton.placements]).reshape(-1, 3)
    units = np.array([block.unit_mm for block in carton.placements]).reshape(-1, 3)
    counts = np.array([block.counts for block in carton.placements]).reshape(-1, 3)
    high = low + units * counts
    crossing = np.all((low[:, None] < high[None]) & (low[None] < high[:, None]), axis=2)
    np.fill_diagonal(crossing, val=False)
    if crossing.any():
        first, second = (int(index) for index in np.argwhere(crossing)[0])
        raise PackingError(
            f"{where}: {carton.placements[first]} overlaps {carton.placements[second]}"
        )


def _check_weight(where: str, carton: Carton, products: dict[str, Product]) -> None:
    weight = sum(block.units * products[block.sku].weight_g for block in carton.placements)
    if weight != carton.content_g:
        raise PackingError(f"{where}: its content weighs {weight} g, it says {carton.content_g} g")
    if weight > carton.type.max_weight_g:
        raise PackingError(f"{where}: {weight} g is over its limit of {carton.type.max_weight_g} g")
