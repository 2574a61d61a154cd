"""The stand-ins of the compute kernels keep the contracts of the real ones."""

from __future__ import annotations

import pytest

from gristmill_orders.compute.rates import CARRIERS
from gristmill_orders.inventory import StockView
from gristmill_orders.kernels import allocation, fraud_scores, label_offers
from gristmill_orders.messages import ProcessPayment, ShipOrder
from gristmill_orders.values import OrderItem, StockLine

LINES = (StockLine("85123A", 7), StockLine("22423", 3))


@pytest.mark.parametrize("compute", [True, False])
def test_an_allocation_fills_the_lines_from_what_there_is(compute: bool) -> None:
    available = ((2, 0, 9, 1, 0, 0, 0, 0), (0, 1, 0, 5, 0, 0, 0, 0))
    moves = allocation(compute=compute)(StockView(LINES, "France", available, (0, 0)))
    for line, units in zip(LINES, available, strict=True):
        taken = {move.warehouse: move.quantity for move in moves if move.sku == line.sku}
        assert sum(taken.values()) == line.quantity
        assert all(0 < quantity <= units[warehouse] for warehouse, quantity in taken.items())
    assert len({(move.sku, move.warehouse) for move in moves}) == len(moves)


@pytest.mark.parametrize("compute", [True, False])
def test_every_carrier_makes_an_offer_the_cheapest_first(compute: bool) -> None:
    offers = list(label_offers(compute=compute)(ShipOrder("o1", "k1:label", LINES, "France")))
    assert {offer.carrier for offer in offers} == {tariff.name for tariff in CARRIERS}
    costs = [offer.cost_cents for offer in offers]
    assert costs == sorted(costs)
    assert {(offer.order_id, offer.label_key) for offer in offers} == {("o1", "k1:label")}


@pytest.mark.parametrize("compute", [True, False])
def test_a_score_is_a_risk_and_the_same_every_time(compute: bool) -> None:
    items = (OrderItem("85123A", "HOLDER", 6, 255),)
    payment = ProcessPayment("o1", "k1", 1, 1530, "card", "17850", items, "France")
    scores = {*fraud_scores(7, compute=compute)([payment] * 3)}
    assert len(scores) == 1
    assert 0 <= scores.pop() < 1
