"""Whatever is packed passes the verifier, and never goes below the lower bound."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill_orders.compute.catalogue import Product
from gristmill_orders.compute.packing import Item, carton_lower_bound, pack
from gristmill_orders.compute.packing_verifier import verify
from gristmill_orders.compute.rates import quotes

EDGE = st.integers(1, 400)
UNIT = st.tuples(st.integers(1, 600), EDGE, EDGE, st.integers(1, 30_000))
ORDER = st.lists(st.tuples(UNIT, st.integers(1, 200)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(ORDER)
def test_every_packing_is_valid(order: list[tuple[tuple[int, int, int, int], int]]) -> None:
    items = [Item(Product(f"P{i}", *unit), quantity) for i, (unit, quantity) in enumerate(order)]
    packing = pack(items)
    verify(items, packing)
    assert len(packing.cartons) >= carton_lower_bound(items)
    assert pack(items) == packing
    assert len(quotes(packing.cartons, "Germany")) == 12
