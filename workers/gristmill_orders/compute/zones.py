"""Shipping zones: how far a country is from the warehouses."""

from __future__ import annotations

import enum
from typing import Final


class Zone(enum.IntEnum):
    """A shipping zone, the farther the higher."""

    HOME = 0
    NEAR = 1
    EUROPE = 2
    OUTER_EUROPE = 3
    WORLD = 4


_COUNTRIES: Final = {
    Zone.HOME: ("United Kingdom",),
    Zone.NEAR: ("EIRE", "Ireland", "Channel Islands", "Isle of Man"),
    Zone.EUROPE: (
        *("Austria", "Belgium", "Denmark", "France", "Germany", "Italy", "Luxembourg"),
        *("Netherlands", "Portugal", "Spain", "Switzerland", "European Community"),
    ),
    Zone.OUTER_EUROPE: (
        *("Bulgaria", "Croatia", "Cyprus", "Czech Republic", "Estonia", "Finland", "Greece"),
        *("Hungary", "Iceland", "Latvia", "Lithuania", "Malta", "Norway", "Poland", "Romania"),
        *("Slovakia", "Slovenia", "Sweden"),
    ),
}
_ZONES: Final = {
    country.casefold(): zone for zone, countries in _COUNTRIES.items() for country in countries
}


def zone_of(country: str) -> Zone:
    """Give the zone of a country by its English name; one that is not listed is overseas."""
    return _ZONES.get(country.strip().casefold(), Zone.WORLD)
