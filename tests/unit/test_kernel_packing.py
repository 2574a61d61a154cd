"""Packing on known cases, and the verifier: each rule broken once."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from gristmill.errors import UsageError
from gristmill_orders.compute.catalogue import Product
from gristmill_orders.compute.packing import (
    CARTONS,
    LARGEST,
    Carton,
    Item,
    Packing,
    Placement,
    UnpackableError,
    carton_lower_bound,
    items_of,
    pack,
)
from gristmill_orders.compute.packing_verifier import PackingError, verify

BRICK = Product("BRICK", 200, 100, 50, 500)


def generated_order(rng: random.Random) -> tuple[Item, ...]:
    lines = min(60, max(1, round(rng.lognormvariate(2.2, 1.0))))
    quantity = (1, 1, 2, 3, 4, 6, 6, 12, 12, 24, 48, 96)
    skus = (f"{rng.randrange(20_000, 24_000)}" for _ in range(lines))
    return items_of((sku, rng.choice(quantity)) for sku in skus)


def test_the_last_carton_is_the_largest_and_the_list_rises() -> None:
    assert len(CARTONS) == 12
    assert [c.volume_mm3 for c in CARTONS] == sorted({c.volume_mm3 for c in CARTONS})
    assert max(c.max_weight_g for c in CARTONS) == LARGEST.max_weight_g


def test_nothing_needs_no_carton() -> None:
    assert pack(()) == Packing(())
    assert carton_lower_bound(()) == 0
    verify((), Packing(()))


def test_lines_of_one_sku_are_one_item() -> None:
    items = items_of([("B", 2), ("A", 1), ("B", 3)])
    assert [(item.product.sku, item.quantity) for item in items] == [("B", 5), ("A", 1)]


def test_bricks_fill_a_carton_without_a_gap() -> None:
    cube = Product("CUBE", 100, 100, 100, 300)
    items = (Item(cube, 96),)
    packing = pack(items)
    verify(items, packing)
    assert len(packing.cartons) == carton_lower_bound(items) == 1
    assert packing.cartons[0].type is LARGEST


def test_the_last_carton_is_the_smallest_that_takes_the_rest() -> None:
    cube = Product("CUBE", 100, 100, 100, 300)
    items = (Item(cube, 96 + 8),)
    packing = pack(items)
    verify(items, packing)
    assert [carton.type.name for carton in packing.cartons] == ["C12", "C06"]
    (only,) = pack((Item(BRICK, 1),)).cartons
    assert only.type.name == "C02"


def test_weight_ends_a_carton_before_its_space_does() -> None:
    lead = Product("LEAD", 50, 50, 50, 4_000)
    items = (Item(lead, 20),)
    packing = pack(items)
    verify(items, packing)
    assert len(packing.cartons) == carton_lower_bound(items) == 3
    assert all(carton.content_g <= carton.type.max_weight_g for carton in packing.cartons)


def test_a_unit_is_turned_to_fit() -> None:
    pole = Product("POLE", 60, 60, 590, 900)
    items = (Item(pole, 3),)
    verify(items, pack(items))


def test_twelve_thousand_units_are_packed_as_blocks() -> None:
    items = items_of((f"{sku}", 1_200) for sku in range(22_000, 22_010))
    packing = pack(items)
    verify(items, packing)
    distinct = set(packing.cartons)
    assert len(distinct) <= len(packing.cartons) // 2
    assert sum(len(c.placements) for c in packing.cartons) < 12_000 / 4


def test_cartons_stay_within_a_quarter_of_the_lower_bound() -> None:
    rng = random.Random(11)
    cartons = bound = 0
    for _ in range(150):
        items = generated_order(rng)
        packing = pack(items)
        verify(items, packing)
        cartons += len(packing.cartons)
        bound += carton_lower_bound(items)
    assert bound > 250, "the orders must need more than a carton each to say anything"
    assert cartons <= 1.25 * bound


def test_a_packing_survives_the_wire() -> None:
    packing = pack(items_of([("85123A", 30), ("71053", 7)]))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(packing), type=Packing) == packing


@pytest.mark.parametrize(
    "unit",
    [
        Product("LONG", 601, 10, 10, 10),
        Product("WIDE", 401, 401, 10, 9),
        Product("X", 9, 9, 9, 30_001),
    ],
)
def test_a_unit_that_no_carton_takes_is_named(unit: Product) -> None:
    with pytest.raises(UnpackableError, match=unit.sku):
        pack((Item(BRICK, 1), Item(unit, 1)))


@pytest.mark.parametrize("items", [(Item(BRICK, 0),), (Item(BRICK, 1), Item(BRICK, 2))])
def test_items_that_make_no_sense_are_refused(items: tuple[Item, ...]) -> None:
    with pytest.raises(UsageError, match="BRICK"):
        pack(items)


ITEMS = (Item(BRICK, 4), Item(Product("BALL", 60, 60, 60, 100), 1))
GOOD = Carton(
    CARTONS[5],
    (
        Placement("BRICK", (0, 0, 0), (200, 100, 50), (1, 2, 2)),
        Placement("BALL", (200, 0, 0), (60, 60, 60), (1, 1, 1)),
    ),
    2_100,
)
Break = Callable[[Carton], Carton]


def replaced(carton: Carton, index: int, **changes: object) -> Carton:
    blocks = list(carton.placements)
    blocks[index] = msgspec.structs.replace(blocks[index], **changes)
    return msgspec.structs.replace(carton, placements=tuple(blocks))


def test_the_verifier_passes_a_good_packing() -> None:
    verify(ITEMS, Packing((GOOD,)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: replaced(c, 1, origin_mm=(199, 0, 0)), "overlaps"),
        (lambda c: replaced(c, 1, origin_mm=(0, 0, 0)), "overlaps"),
        (lambda c: replaced(c, 1, origin_mm=(250, 0, 0)), "sticks out"),
        (lambda c: replaced(c, 1, origin_mm=(200, -1, 0)), "sticks out"),
        (lambda c: replaced(c, 0, unit_mm=(200, 100, 49)), "it is"),
        (lambda c: replaced(c, 0, counts=(1, 2, 1)), r"units of BRICK|weighs"),
        (lambda c: replaced(c, 0, counts=(1, 2, 0)), "no units"),
        (lambda c: replaced(c, 0, sku="OTHER"), "not ordered"),
        (lambda c: msgspec.structs.replace(c, content_g=2_000), "weighs 2100 g"),
        (
            lambda c: msgspec.structs.replace(
                c, type=msgspec.structs.replace(c.type, max_weight_g=2_099)
            ),
            "over its limit",
        ),
    ],
)
def test_the_verifier_names_a_broken_rule(change: Break, reason: str) -> None:
    with pytest.raises(PackingError, match=reason):
        verify(ITEMS, Packing((change(GOOD),)))


def test_the_verifier_finds_a_unit_that_is_missing_or_packed_twice() -> None:
    with pytest.raises(PackingError, match="0 units of BRICK"):
        verify(ITEMS, Packing(()))
    with pytest.raises(PackingError, match="8 units of BRICK"):
        verify(ITEMS, Packing((GOOD, GOOD)))
