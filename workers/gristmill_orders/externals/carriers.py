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
from gristmill_orders.messages import (
    LabelAnswer,
    LabelMade,
    LabelRefused,
    LabelUnavailable,
    ShipOrder,
)

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
        """Look a label up in the carrier's records.

        Raises:
            ExternalError: there was no answer.
        """

    def close(self) -> None:
        """Let go of what it holds; it can't be used any more."""


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
        """Look a label up in the carrier's records, which are there during an outage too."""
        label = self._ledger.look_up(self._entry_key(label_key))
        return label if isinstance(label, Label) else None

    def close(self) -> None:
        """Close the ledger, which its carriers share."""
        self._ledger.close()

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
    *,
    redelivered: bool = False,
) -> LabelAnswer:
    """Get one label for an order and put what came of it into an answer for the processor.

    A carrier that may have made a label, and does not say whether it has, has the order to itself
    until it does: the answer is ``LabelUnavailable`` then.

    Args:
        order: the command.
        offers: what each carrier would do, best first; a carrier's first offer is the one it gets.
            Those of carriers that are not given are left out.
        carriers: the carriers by name.
        call_for: gives, for a carrier's name, what makes the call, such as its breaker's
            ``guard.call_async``.
        redelivered: an earlier incarnation, or another member of the pool, may have had this
            command in hand.
    """
    # A killed predecessor may have got a label that nobody has heard of.
    seek = redelivered or order.attempt > 1
    if seek and (known := await _known_label(order, carriers)):
        return known
    failures: dict[str, str] = {}
    for offer in offers:
        name = offer.carrier
        if name in failures or name not in carriers:
            continue
        try:
            return _label_made(await call_for(name)(carriers[name].make_label, offer))
        except CircuitOpenError as error:
            failures[name] = str(error)
            continue
        except ExternalError as error:
            failures[name], uncertain = str(error), error.uncertain
        except TimeoutError:
            failures[name], uncertain = f"{name} took too long", True
        if uncertain and (known := await _known_label(order, {name: carriers[name]})):
            return known
    reason = "; ".join(failures.values()) or "no carrier offers to ship it"
    return LabelRefused(order.order_id, f"no label: {reason}")


async def _known_label(order: ShipOrder, carriers: Mapping[str, Carrier]) -> LabelAnswer | None:
    """Find the label that one of these carriers has made; None if none has."""
    silent: list[str] = []
    for carrier in carriers.values():
        try:
            label = await carrier.find_label(order.label_key)
        except ExternalError as error:
            silent.append(str(error))
        else:
            if label is not None:
                return _label_made(label)
    if silent:
        reason = f"there may be a label: {'; '.join(silent)}"
        return LabelUnavailable(order.order_id, order.attempt, reason)
    return None


def _label_made(label: Label) -> LabelMade:
    return LabelMade(
        label.order_id, label.carrier, label.service, label.tracking_number, label.cost_cents
    )
