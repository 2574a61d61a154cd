"""The carriers: their interface, a simulator, and the shipping service's way of asking them."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from gristmill.errors import CircuitOpenError
from gristmill_orders.externals.faults import (
    Call,
    ExternalError,
    FaultPlan,
    Faults,
    call_directly,
)
from gristmill_orders.ledger import Label, Ledger
from gristmill_orders.messages import LabelAnswer, LabelMade, LabelRefused, ShipOrder

_ATTEMPT = 1  # a carrier is asked once; another one is the retry


class LabelRequest(msgspec.Struct, frozen=True):
    """What a carrier needs to know to make a label."""

    order_id: str
    label_key: str
    carrier: str
    service: str
    cost_cents: int


class Carrier(Protocol):
    """A carrier that knows idempotency keys."""

    async def make_label(self, request: LabelRequest) -> Label:
        """Make a label, once per label key.

        Raises:
            ExternalError: there was no answer.
        """

    async def find_label(self, label_key: str) -> Label | None:
        """Look a label up in the carrier's records, which are there during an outage too."""


class SimulatedCarrier:
    """A carrier that keeps its books in a ledger file, which it may share with others.

    Args:
        name: the carrier.
        seed: the seed of the run.
        ledger: its books.
        plan: what goes wrong.
        clock: tells the time in seconds, such as ``ctx.now``.
        sleep: waits for so many seconds, such as ``ctx.sleep``.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        ledger: Ledger,
        plan: FaultPlan,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.name = name
        self._seed = seed
        self._ledger = ledger
        self._faults = Faults(name, seed, plan, clock, sleep)

    async def make_label(self, request: LabelRequest) -> Label:
        """Make a label, once per label key, across processes and restarts.

        Raises:
            ExternalError: there was no answer.
        """
        key = self._entry_key(request.label_key)
        await self._faults.before(key, _ATTEMPT)
        with self._ledger.locked():
            label = self._ledger.find(key)
            if not isinstance(label, Label):
                label = self._new_label(key, request)
                self._ledger.append(label)
        self._faults.after(key, _ATTEMPT)
        return label

    async def find_label(self, label_key: str) -> Label | None:
        """Look a label up in the carrier's records."""
        label = self._ledger.look_up(self._entry_key(label_key))
        return label if isinstance(label, Label) else None

    def _entry_key(self, label_key: str) -> str:
        return f"{self.name}/{label_key}"

    def _new_label(self, key: str, request: LabelRequest) -> Label:
        digest = hashlib.blake2b(f"{self._seed}/{key}".encode(), digest_size=6).hexdigest()
        tracking = f"{self.name[:2].upper()}{digest.upper()}"
        return Label(
            key, request.order_id, self.name, request.service, tracking, request.cost_cents
        )


def _unguarded(_: str) -> Call:
    return call_directly


async def ship_order(
    order: ShipOrder,
    offers: Iterable[LabelRequest],
    carriers: Mapping[str, Carrier],
    call_for: Callable[[str], Call] = _unguarded,
) -> LabelAnswer:
    """Get one label for an order and put what came of it into an answer for the processor.

    Args:
        order: the command.
        offers: what each carrier would do, best first; a carrier's first offer is the one it gets.
        carriers: the carriers by name.
        call_for: gives, for a carrier's name, what makes the call, such as its breaker's
            ``guard.call_async``.
    """
    # A killed predecessor may have got a label that nobody has heard of.
    for carrier in carriers.values():
        if label := await carrier.find_label(order.label_key):
            return _label_made(label)
    failures: dict[str, str] = {}
    for offer in offers:
        if offer.carrier in failures:
            continue
        carrier = carriers[offer.carrier]
        try:
            return _label_made(await call_for(offer.carrier)(carrier.make_label, offer))
        except (ExternalError, CircuitOpenError, TimeoutError) as error:
            failures[offer.carrier] = str(error) or f"{offer.carrier} took too long"
        # The failed call may have made a label all the same; a second one must not follow.
        if label := await carrier.find_label(order.label_key):
            return _label_made(label)
    reason = "; ".join(failures.values()) or "no carrier offers to ship it"
    return LabelRefused(order.order_id, f"no label: {reason}")


def _label_made(label: Label) -> LabelMade:
    return LabelMade(
        label.order_id, label.carrier, label.service, label.tracking_number, label.cost_cents
    )
