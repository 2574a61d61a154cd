"""Rate shopping: what each carrier asks for an order's cartons, in integer cents.

A carton is billed by its weight or by its dimensional weight (volume by the carrier's divisor),
whichever is more, in started steps of 500 g.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from gristmill.errors import UsageError
from gristmill_orders.compute.packing import Carton, CartonType
from gristmill_orders.compute.zones import Zone, zone_of

Parcel = tuple[CartonType, int]
"""A carton's type and the weight of its content in g: all that its price depends on."""

STEP_G: Final = 500
"""Weight is billed in started steps of this many grams."""
HEAVY_G: Final = 20_000
"""From this weight on a carton needs two people and costs a surcharge."""
LONG_MM: Final = 500
"""From this edge on a carton is no machine's and costs a surcharge."""


class Service(msgspec.Struct, frozen=True):
    """A speed of delivery: its price in percent of the base rate, and days by zone."""

    name: str
    percent: int
    days: tuple[int, int, int, int, int]


class Tariff(msgspec.Struct, frozen=True):
    """A carrier's prices in cents; the tuples go by zone, from HOME to WORLD."""

    name: str
    parcel_cents: tuple[int, int, int, int, int]
    step_cents: tuple[int, int, int, int, int]
    divisor_mm3_per_g: int
    fuel_percent: int
    heavy_cents: int
    long_cents: int
    further_parcel_percent: int
    """What each carton after the first costs, in percent: one stop delivers them all."""


class Quote(msgspec.Struct, frozen=True):
    """An offer for all cartons of an order: the price in cents and the working days."""

    carrier: str
    service: str
    cents: int
    days: int


SERVICES: Final = (
    Service("economy", 100, (4, 5, 7, 9, 15)),
    Service("standard", 135, (2, 3, 4, 5, 8)),
    Service("express", 240, (1, 1, 2, 2, 4)),
)
CARRIERS: Final = (
    Tariff(
        "Fellrunner",
        (310, 540, 990, 1_290, 2_350),
        (14, 31, 58, 81, 190),
        *(5_000, 9, 450, 380, 92),
    ),
    Tariff(
        "Harrier Post",
        (265, 610, 1_080, 1_240, 2_190),
        (19, 36, 64, 78, 175),
        *(6_000, 6, 700, 520, 100),
    ),
    Tariff(
        "Oxbow Freight",
        (620, 820, 1_150, 1_520, 3_100),
        (7, 16, 34, 52, 120),
        *(4_000, 11, 120, 90, 70),
    ),
    Tariff(
        "Quayline",
        (395, 450, 870, 1_180, 2_050),
        (16, 24, 47, 66, 165),
        *(5_000, 8, 520, 310, 88),
    ),
)
"""The carriers by name, which also breaks ties."""


def quotes(cartons: Sequence[Carton], country: str) -> tuple[Quote, ...]:
    """Ask all carriers for all services.

    Args:
        cartons: the packed cartons of one order, at least one.
        country: the destination's English name.

    Returns:
        Twelve quotes, the cheapest first; of equal ones by carrier and service.

    Raises:
        UsageError: there is no carton to ship.
    """
    if not cartons:
        raise UsageError("there is no carton to ship, so there is nothing to quote")
    zone = zone_of(country)
    parcels = Counter((carton.type, carton.content_g) for carton in cartons)
    offers: list[Quote] = []
    for tariff in CARRIERS:
        base = _base_cents(tariff, parcels, zone)
        for service in SERVICES:
            price = -(-base * service.percent * (100 + tariff.fuel_percent) // 10_000)
            offers.append(Quote(tariff.name, service.name, price, service.days[zone]))
    return tuple(sorted(offers, key=lambda quote: (quote.cents, quote.carrier, quote.service)))


def _base_cents(tariff: Tariff, parcels: Counter[Parcel], zone: Zone) -> int:
    """Give the price of all parcels at 100 percent and without fuel; only the dearest is full."""
    prices = {parcel: _parcel_cents(tariff, parcel, zone) for parcel in parcels}
    total = sum(prices[parcel] * count for parcel, count in parcels.items())
    dearest = max(prices.values())
    return dearest + -(-(total - dearest) * tariff.further_parcel_percent // 100)


def _parcel_cents(tariff: Tariff, parcel: Parcel, zone: Zone) -> int:
    kind, content_g = parcel
    weight = content_g + kind.tare_g
    billed = max(weight, -(-kind.volume_mm3 // tariff.divisor_mm3_per_g))
    price = tariff.parcel_cents[zone] + -(-billed // STEP_G) * tariff.step_cents[zone]
    if weight >= HEAVY_G:
        price += tariff.heavy_cents
    if max(kind.length_mm, kind.width_mm, kind.height_mm) >= LONG_MM:
        price += tariff.long_cents
    return price
