"""How often a broker is talked to while events come one by one."""

from typing import Final

PACE: Final = 0.02
"""Seconds between two round trips that are not full: events that come meanwhile share the next one.

The first event behind a rest goes at once. A round trip costs as much for one event as for dozens,
and each takes the interpreter from the handlers: without the pace, the latency of an order at half
load was three times as long.
"""
