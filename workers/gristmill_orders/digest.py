"""One number for the outcome of a run, the same however many workers there were, or kills."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

import msgspec

from gristmill_orders.states import OrderState


class Outcome(msgspec.Struct, frozen=True, order=True):
    """How an order ended, with what the gateway charged and refunded, in cents."""

    order_key: str
    state: OrderState
    charged_cents: int
    refunded_cents: int


def outcome_digest(outcomes: Iterable[Outcome], cancelled_midway: Collection[str] = ()) -> str:
    """Hash the outcomes of a run, whatever order they come in.

    Args:
        outcomes: how each accepted order ended.
        cancelled_midway: keys of the orders that were cancelled in the middle of their saga. How
            far those came depends on timing, so they are left out.
    """
    left_out = frozenset(cancelled_midway)
    counted = sorted(o for o in outcomes if o.order_key not in left_out)
    rows = [(o.order_key, o.state.value, o.charged_cents, o.refunded_cents) for o in counted]
    return hashlib.blake2b(msgspec.json.encode(rows), digest_size=16).hexdigest()
