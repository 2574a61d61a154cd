"""The services' compute, as functions to be handed to them: the real kernels, or stand-ins.

The stand-ins cost next to nothing and decide by the simplest rule, so that a run shows what
coordination alone costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np

from gristmill_orders.compute.allocation import (
    Allocation,
    Shortage,
    allocate,
    shipment_costs,
    unit_costs,
)
from gristmill_orders.compute.fraud import FraudModel, OrderFacts, features_of
from gristmill_orders.compute.packing import items_of, pack
from gristmill_orders.compute.rates import CARRIERS, SERVICES, quotes
from gristmill_orders.compute.zones import zone_of
from gristmill_orders.externals.carriers import LabelRequest
from gristmill_orders.inventory import WAREHOUSES, Allocate, AllocationError, StockView
from gristmill_orders.messages import ProcessPayment, ShipOrder
from gristmill_orders.values import StockMove

Scores = Callable[[Sequence[ProcessPayment]], Sequence[float]]
"""Gives the risks of fraud of orders, from 0 to 1."""
Offers = Callable[[ShipOrder], Iterable[LabelRequest]]
"""Packs an order and gives what each carrier would do, best first."""


def fraud_scores(seed: int, *, compute: bool) -> Scores:
    """Give the scoring of orders; ``seed`` fixes the model.

    An order's score does not depend on those beside it, to the last bit.
    """
    if not compute:
        return lambda payments: [0.0] * len(payments)
    model = FraudModel.seeded(seed)

    def scores(payments: Sequence[ProcessPayment]) -> Sequence[float]:
        features = np.stack([features_of(_facts(payment)) for payment in payments])
        return list(map(float, model.score(features)))

    return scores


def allocation(*, compute: bool) -> Allocate:
    """Give the allocation of lines to warehouses."""
    return _cheapest_allocation if compute else _first_allocation


def label_offers(*, compute: bool) -> Offers:
    """Give the packing and rate shopping."""
    return _packed_offers if compute else _flat_offers


def _facts(payment: ProcessPayment) -> OrderFacts:
    items = payment.items
    goods = sum(item.quantity * item.unit_price_cents for item in items)
    return OrderFacts(
        payment.customer_id,
        payment.payment_method,
        payment.country,
        tuple(item.sku for item in items),
        tuple(item.quantity for item in items),
        tuple(item.unit_price_cents for item in items),
        payment.cents - goods,
    )


def _cheapest_allocation(view: StockView) -> tuple[StockMove, ...]:
    ordered = np.array([line.quantity for line in view.lines], dtype=np.int64)
    stock = np.array(view.available, dtype=np.int64).reshape(len(ordered), WAREHOUSES).T
    match allocate(ordered, stock, shipment_costs(view.country), unit_costs()):
        case Allocation(quantities=quantities):
            return tuple(
                StockMove(view.lines[line].sku, warehouse, int(quantities[warehouse, line]))
                for warehouse, line in np.argwhere(quantities).tolist()
            )
        case Shortage(lines=lines):
            skus = ", ".join(view.lines[line].sku for line in lines)
            raise AllocationError(f"there is too little stock of {skus}")


def _first_allocation(view: StockView) -> tuple[StockMove, ...]:
    """Take from the first warehouses that have anything."""
    moves = []
    for line, units in zip(view.lines, view.available, strict=True):
        sku, missing = line.sku, line.quantity
        for warehouse, there in enumerate(units):
            if there >= missing:
                moves.append(StockMove(sku, warehouse, missing))
                break
            if there:
                moves.append(StockMove(sku, warehouse, there))
                missing -= there
    return tuple(moves)


def _packed_offers(order: ShipOrder) -> Iterable[LabelRequest]:
    packing = pack(items_of((line.sku, line.quantity) for line in order.lines))
    for quote in quotes(packing.cartons, order.country):
        yield LabelRequest(
            order.order_id, order.label_key, quote.carrier, quote.service, quote.cents
        )


def _flat_offers(order: ShipOrder) -> Iterable[LabelRequest]:
    for cents, carrier in _flat_rates(order.country):
        yield LabelRequest(order.order_id, order.label_key, carrier, SERVICES[0].name, cents)


@cache
def _flat_rates(country: str) -> tuple[tuple[int, str], ...]:
    """Give what one light parcel costs with each carrier, the cheapest first."""
    zone = zone_of(country)
    return tuple(sorted((tariff.parcel_cents[zone], tariff.name) for tariff in CARRIERS))
