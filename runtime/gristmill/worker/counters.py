"""The delivery counters of a worker: no message disappears without being counted."""

from __future__ import annotations

from typing import Final

NAMES: Final = ("received", "handled", "rejected", "dead_lettered", "dropped", "sent", "published")
RECEIVED, HANDLED, REJECTED, DEAD_LETTERED, DROPPED, SENT, PUBLISHED = range(len(NAMES))
