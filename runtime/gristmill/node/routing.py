"""Routing: which member of a pool gets a message. Pure."""

from __future__ import annotations

from enum import StrEnum


class Routing(StrEnum):
    """How a pool chooses."""

    ROUND_ROBIN = "round_robin"
    LEAST_LOADED = "least_loaded"
    """The member with the fewest open requests of this client."""
    HASH = "hash"
    """One key always goes to the same member."""
