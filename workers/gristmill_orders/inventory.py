"""The stock of all products: pure state with optimistic locking, rebuilt from its events alone.

A reservation is made in two steps, so that the allocation may be computed anywhere: ``view`` reads
the stock with its versions, ``commit`` writes if no version has changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from gristmill.errors import GristmillError, InvalidStateTransition
from gristmill.facets.versions import VersionConflict
from gristmill_orders import events as ev
from gristmill_orders import messages as msg
from gristmill_orders.values import StockLine, StockMove

WAREHOUSES = 8
AMPLE = 1_000_000_000
"""Units that a warehouse holds of a product that it has: more than any run can use up."""
SHORT_SHARE = 0.001
"""The share of products without any stock."""

_RESERVED, _RELEASED, _SHIPPED = "reserved", "released", "shipped"

Quantities = NDArray[np.int64]
"""Units per warehouse (rows) and line (columns)."""


class AllocationError(GristmillError):
    """An allocation does not fill the lines exactly, or takes more than there is."""


class StockView(msgspec.Struct, frozen=True):
    """The stock that an allocation is made on."""

    lines: tuple[StockLine, ...]
    country: str
    """Where the goods go."""
    available: Quantities
    versions: tuple[int, ...]
    """The version of each line's product when it was read."""

    @property
    def short_skus(self) -> tuple[str, ...]:
        """The products of which all warehouses together have too little."""
        totals = self.available.sum(axis=0)
        return tuple(
            line.sku
            for line, total in zip(self.lines, totals.tolist(), strict=True)
            if total < line.quantity
        )


Allocate = Callable[[StockView], Quantities]
"""Fills lines of which there is enough stock."""


class Stock(msgspec.Struct):
    """The stock of one product, per warehouse."""

    available: list[int]
    reserved: list[int]
    shipped: list[int]
    version: int = 0
    """How often it has been written."""


class StockLevel(NamedTuple):
    """The stock of one product over all warehouses, in units."""

    initial: int
    available: int
    reserved: int
    shipped: int


class Answer(NamedTuple):
    """The events to journal for a command, and the answer to its sender."""

    events: tuple[ev.StockEvent, ...]
    reply: msg.StockAnswer


class _Reservation(msgspec.Struct):
    moves: tuple[StockMove, ...]
    state: str = _RESERVED


def initial_stock(seed: int, sku: str, short_share: float = SHORT_SHARE) -> tuple[int, ...]:
    """Give the stock of a product before any order, per warehouse: ample in some, or none at all.

    Args:
        seed: the seed of the run.
        sku: the product.
        short_share: the share of products without stock, from 0 to 1.
    """
    digest = hashlib.blake2b(f"stock/{seed}/{sku}".encode(), digest_size=10).digest()
    if int.from_bytes(digest[:8]) < short_share * 2**64:
        return (0,) * WAREHOUSES
    holders = digest[8] | 1 << digest[9] % WAREHOUSES
    return tuple(AMPLE * (holders >> warehouse & 1) for warehouse in range(WAREHOUSES))


class Inventory:
    """The stock of all products. A product appears, with its initial stock, when first asked for.

    Args:
        seed: the seed of the initial stock.
        short_share: the share of products without stock, from 0 to 1.
        conflict_retries: how often ``reserve`` reads again after a conflict.
    """

    def __init__(
        self, seed: int, *, short_share: float = SHORT_SHARE, conflict_retries: int = 10
    ) -> None:
        self._seed = seed
        self._short_share = short_share
        self._conflict_retries = conflict_retries
        self._stock: dict[str, Stock] = {}
        self._reservations: dict[str, _Reservation] = {}
        self.conflicts = 0
        """Version conflicts seen by this incarnation."""

    def reserve(self, message: msg.ReserveStock, allocate: Allocate) -> Answer:
        """Reserve all lines or none, reading again after a conflict; nothing has changed yet.

        Raises:
            VersionConflict: the stock changed under every attempt.
            AllocationError: ``allocate`` gave quantities that can't be.
        """
        attempt = 0
        while True:
            view = self.view(message)
            enough = not (self.is_known(message.order_id) or view.short_skus)
            quantities = allocate(view) if enough else np.zeros_like(view.available)
            try:
                return self.commit(message, view, quantities)
            except VersionConflict:
                attempt += 1
                if attempt > self._conflict_retries:
                    raise

    def view(self, message: msg.ReserveStock) -> StockView:
        """Read the stock of the lines of a command, with its versions."""
        stock = [self._of(line.sku) for line in message.lines]
        available = np.array([s.available for s in stock], dtype=np.int64)
        versions = tuple([s.version for s in stock])
        available = available.reshape(len(stock), WAREHOUSES).T
        return StockView(message.lines, message.country, available, versions)

    def commit(self, message: msg.ReserveStock, view: StockView, quantities: Quantities) -> Answer:
        """Reserve what was allocated on a view, if its stock is unchanged.

        Nothing has changed yet; ``apply`` the events. An order that is known gets its answer again.

        Raises:
            VersionConflict: the stock was written since it was read; counted in ``conflicts``.
            AllocationError: the quantities don't fill the lines, or there is not so much.
        """
        if known := self._reservations.get(message.order_id):
            released = known.state == _RELEASED
            reply = msg.ReservationReleased if released else msg.ReservationMade
            return Answer((), reply(message.order_id))
        self._check_versions(view)
        if short := view.short_skus:
            reason = f"no stock of {', '.join(short)}"
            return Answer((), msg.ReservationRefused(message.order_id, short, reason))
        _check_quantities(message.order_id, view, quantities)
        moves = tuple(
            StockMove(line.sku, warehouse, quantity)
            for warehouse, row in enumerate(quantities.tolist())
            if any(row)
            for line, quantity in zip(view.lines, row, strict=True)
            if quantity
        )
        return Answer(
            (ev.StockReserved(message.order_id, moves),), msg.ReservationMade(message.order_id)
        )

    def _check_versions(self, view: StockView) -> None:
        stale: dict[Hashable, tuple[int, int]] = {
            line.sku: (seen, now)
            for line, seen in zip(view.lines, view.versions, strict=True)
            if (now := self._of(line.sku).version) != seen
        }
        if stale:
            self.conflicts += 1
            raise VersionConflict(stale)

    def release(self, message: msg.ReleaseStock) -> Answer:
        """Make the stock of an order available again; an order without any gets the same answer.

        Raises:
            InvalidStateTransition: its goods have left. Nothing has changed.
        """
        known = self._reservations.get(message.order_id)
        if known is not None and known.state == _SHIPPED:
            raise InvalidStateTransition(_SHIPPED, _RELEASED, detail=message.order_id)
        events = (ev.StockReleased(message.order_id),)
        is_reserved = known is not None and known.state == _RESERVED
        return Answer(events if is_reserved else (), msg.ReservationReleased(message.order_id))

    def ship(self, message: msg.ShipStock) -> Answer:
        """Let the reserved stock of an order leave; nothing has changed yet.

        Raises:
            InvalidStateTransition: nothing is reserved for the order. Nothing has changed.
        """
        known = self._reservations.get(message.order_id)
        state = known.state if known else "nothing reserved"
        if state not in {_RESERVED, _SHIPPED}:
            raise InvalidStateTransition(state, _SHIPPED, detail=message.order_id)
        events = (ev.StockShipped(message.order_id),) if state == _RESERVED else ()
        return Answer(events, msg.ReservationShipped(message.order_id))

    def apply(self, event: ev.StockEvent) -> None:
        """Take an event in, live or from the journal."""
        if isinstance(event, ev.StockReserved):
            self._reservations[event.order_id] = _Reservation(event.moves)
            for move, stock in self._each(event.moves):
                _shift(move, stock.available, stock.reserved)
            return
        reservation = self._reservations[event.order_id]
        if isinstance(event, ev.StockReleased):
            for move, stock in self._each(reservation.moves):
                _shift(move, stock.reserved, stock.available)
            self._reservations[event.order_id] = _Reservation((), _RELEASED)
        else:
            for move, stock in self._each(reservation.moves):
                _shift(move, stock.reserved, stock.shipped)
            self._reservations[event.order_id] = _Reservation((), _SHIPPED)

    def _each(self, moves: tuple[StockMove, ...]) -> Iterator[tuple[StockMove, Stock]]:
        """Give each move and the stock it changes, which gets a new version."""
        for move in moves:
            stock = self._of(move.sku)
            stock.version += 1
            yield move, stock

    def _of(self, sku: str) -> Stock:
        stock = self._stock.get(sku)
        if stock is None:
            available = list(initial_stock(self._seed, sku, self._short_share))
            stock = Stock(available, [0] * WAREHOUSES, [0] * WAREHOUSES)
            self._stock[sku] = stock
        return stock

    def is_known(self, order_id: str) -> bool:
        """Tell whether stock is or was reserved for an order."""
        return order_id in self._reservations

    def levels(self) -> dict[str, StockLevel]:
        """Give the stock of every product seen so far."""
        return {
            sku: StockLevel(
                sum(initial_stock(self._seed, sku, self._short_share)),
                sum(stock.available),
                sum(stock.reserved),
                sum(stock.shipped),
            )
            for sku, stock in self._stock.items()
        }

    def counters(self) -> dict[str, int]:
        """Give what was counted: products seen, reservations by state, conflicts."""
        counts = {_RESERVED: 0, _RELEASED: 0, _SHIPPED: 0}
        for reservation in self._reservations.values():
            counts[reservation.state] += 1
        return {"products": len(self._stock), **counts, "conflicts": self.conflicts}


def _shift(move: StockMove, source: list[int], target: list[int]) -> None:
    source[move.warehouse] -= move.quantity
    target[move.warehouse] += move.quantity


def _check_quantities(order_id: str, view: StockView, quantities: Quantities) -> None:
    wanted = [line.quantity for line in view.lines]
    if quantities.shape != view.available.shape:
        raise AllocationError(
            f"order {order_id}: allocation has shape {quantities.shape}, "
            f"but must have {view.available.shape} (warehouses, lines)"
        )
    if quantities.sum(axis=0).tolist() != wanted:
        raise AllocationError(f"order {order_id}: the allocation does not fill the lines exactly")
    if ((quantities < 0) | (quantities > view.available)).any():
        raise AllocationError(f"order {order_id}: the allocation takes more than there is")
