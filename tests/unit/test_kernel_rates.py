"""Rate shopping: twelve quotes, in order, by the rules of the tariffs."""

from __future__ import annotations

import pytest

from gristmill.errors import UsageError
from gristmill_orders.compute.packing import CARTONS, Carton
from gristmill_orders.compute.rates import CARRIERS, SERVICES, Quote, quotes

SMALL = Carton(CARTONS[0], (), 400)
BULKY = Carton(CARTONS[9], (), 1_000)
HEAVY = Carton(CARTONS[9], (), 19_500)


def cents(cartons: list[Carton], carrier: str, service: str, country: str = "France") -> int:
    (quote,) = (q for q in quotes(cartons, country) if (q.carrier, q.service) == (carrier, service))
    return quote.cents


def test_every_carrier_quotes_every_service_cheapest_first() -> None:
    offers = quotes([SMALL, HEAVY], "Germany")
    pairs = {(offer.carrier, offer.service) for offer in offers}
    assert pairs == {(c.name, s.name) for c in CARRIERS for s in SERVICES}
    assert len(offers) == len(CARRIERS) * len(SERVICES) == 12
    assert list(offers) == sorted(offers, key=lambda q: (q.cents, q.carrier, q.service))
    assert all(isinstance(offer.cents, int) and offer.cents > 0 for offer in offers)


def test_a_price_by_hand() -> None:
    # 460 g with its carton, 1 056 000 mm3 / 6000 = 176 g: one step, 265 + 19, and 6 % fuel.
    expected = Quote("Harrier Post", "economy", 302, 4)
    assert expected in quotes([SMALL], "United Kingdom")


def test_a_bulky_light_carton_pays_for_its_volume() -> None:
    lighter = Carton(CARTONS[9], (), 10)
    for tariff in CARRIERS:
        assert cents([BULKY], tariff.name, "economy") == cents([lighter], tariff.name, "economy")
        assert cents([BULKY], tariff.name, "economy") > cents([SMALL], tariff.name, "economy")


def test_a_heavy_carton_costs_a_surcharge() -> None:
    just_below = Carton(CARTONS[9], (), 19_350)
    just_heavy = Carton(CARTONS[9], (), 19_360)
    for tariff in CARRIERS:
        below = cents([just_below], tariff.name, "economy")
        heavy = cents([just_heavy], tariff.name, "economy")
        assert heavy - below >= tariff.heavy_cents


def test_further_parcels_are_not_dearer_than_two_orders() -> None:
    for tariff in CARRIERS:
        one = cents([BULKY], tariff.name, "standard")
        two = cents([BULKY, BULKY], tariff.name, "standard")
        assert one < two <= 2 * one


def test_the_order_of_cartons_does_not_matter() -> None:
    assert quotes([SMALL, BULKY, HEAVY], "Japan") == quotes([HEAVY, SMALL, BULKY], "Japan")


def test_farther_is_dearer_and_slower() -> None:
    for tariff in CARRIERS:
        for service in SERVICES:
            prices = [
                cents([SMALL], tariff.name, service.name, country)
                for country in ("United Kingdom", "EIRE", "Spain", "Cyprus", "Australia")
            ]
            assert prices == sorted(set(prices))
            assert list(service.days) == sorted(service.days)


def test_faster_is_dearer() -> None:
    for tariff in CARRIERS:
        prices = [cents([HEAVY], tariff.name, service.name) for service in SERVICES]
        assert prices == sorted(set(prices))


def test_nothing_to_ship_is_an_error() -> None:
    with pytest.raises(UsageError, match="no carton"):
        quotes([], "France")
