"""The stock of all products: pure state with optimistic locking, rebuilt from its events alone.

A reservation is made in two steps, so that the allocation may be computed anywhere: ``view`` reads
the stock with its versions, ``commit`` writes if no version has changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple

import msgspec

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


class AllocationError(GristmillError):
    """An allocation does not fill the lines exactly, or takes more than there is."""


class StockView(msgspec.Struct, frozen=True):
    """The stock that an allocation is made on."""

    lines: tuple[StockLine, ...]
    country: str
    """Where the goods go."""
    available: tuple[tuple[int, ...], ...]
    """For each line, the units of its product at each warehouse."""
    versions: tuple[int, ...]
    """The version of each line's product when it was read."""

    @property
    def short_skus(self) -> tuple[str, ...]:
        """The products of which all warehouses together have too little."""
        pairs = zip(self.lines, self.available, strict=True)
        return tuple([line.sku for line, units in pairs if sum(units) < line.quantity])


Allocate = Callable[[StockView], tuple[StockMove, ...]]
"""Fills lines of which there is enough stock: says how much of what comes from where."""


class Stock(msgspec.Struct):
    """The stock of one product, per warehouse."""

    available: list[int]
    reserved: list[int]
    shipped: list[int]
    version: int = 0
    """How often it has been written."""


_Units = Callable[[Stock], list[int]]
_available, _reserved, _shipped = map(attrgetter, ("available", "reserved", "shipped"))


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


class _Reservation(msgspec.Struct, gc=False):
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


class _StockBySku(dict[str, Stock]):
    """The stock of each product; one that is new here has its initial stock."""

    def __init__(self, seed: int, short_share: float) -> None:
        super().__init__()
        self._seed = seed
        self._short_share = short_share

    def __missing__(self, sku: str) -> Stock:
        stock = Stock(list(self.initial(sku)), [0] * WAREHOUSES, [0] * WAREHOUSES)
        self[sku] = stock
        return stock

    def initial(self, sku: str) -> tuple[int, ...]:
        return initial_stock(self._seed, sku, self._short_share)


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
        self._conflict_retries = conflict_retries
        self._stock = _StockBySku(seed, short_share)
        self._reservations: dict[str, _Reservation] = {}
        self.conflicts = 0
        """Version conflicts seen by this incarnation."""

    def reserve(self, message: msg.ReserveStock, allocate: Allocate) -> Answer:
        """Reserve all lines or none, reading again after a conflict; nothing has changed yet.

        Apply the event of the answer. An order that is known gets its answer again.

        Raises:
            VersionConflict: the stock changed under every attempt.
            AllocationError: ``allocate`` gave moves that can't be.
        """
        order_id = message.order_id
        attempt = 0
        while True:
            if known := self._reservations.get(order_id):
                released = known.state == _RELEASED
                reply = msg.ReservationReleased if released else msg.ReservationMade
                return Answer((), reply(order_id))
            view = self.view(message)
            if short := view.short_skus:
                reason = f"no stock of {', '.join(short)}"
                return Answer((), msg.ReservationRefused(order_id, short, reason))
            try:
                return self.commit(order_id, view, allocate(view))
            except VersionConflict:
                attempt += 1
                if attempt > self._conflict_retries:
                    raise

    def view(self, message: msg.ReserveStock) -> StockView:
        """Read the stock of the lines of a command, with its versions."""
        stock = [self._stock[line.sku] for line in message.lines]
        available = tuple([tuple(s.available) for s in stock])
        versions = tuple([s.version for s in stock])
        return StockView(message.lines, message.country, available, versions)

    def commit(self, order_id: str, view: StockView, moves: tuple[StockMove, ...]) -> Answer:
        """Reserve what was allocated on a view, if its stock is unchanged.

        Raises:
            VersionConflict: the stock was written since it was read; counted in ``conflicts``.
            AllocationError: the moves don't fill the lines, or there is not so much.
        """
        self._check_versions(view)
        _check_moves(order_id, view, moves)
        return Answer((ev.StockReserved(order_id, moves),), msg.ReservationMade(order_id))

    def _check_versions(self, view: StockView) -> None:
        versions = tuple([self._stock[line.sku].version for line in view.lines])
        if versions != view.versions:
            self.conflicts += 1
            skus = [line.sku for line in view.lines]
            both = zip(skus, zip(view.versions, versions, strict=True), strict=True)
            raise VersionConflict({sku: pair for sku, pair in both if pair[0] != pair[1]})

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
        if type(event) is ev.StockReserved:
            self._shift(event.moves, _available, _reserved)
            self._reservations[event.order_id] = _Reservation(event.moves)
            return
        moves = self._reservations[event.order_id].moves
        released = type(event) is ev.StockReleased
        self._shift(moves, _reserved, _available if released else _shipped)
        self._reservations[event.order_id] = _Reservation((), _RELEASED if released else _SHIPPED)

    def _shift(self, moves: tuple[StockMove, ...], source: _Units, target: _Units) -> None:
        """Shift units within the stock of their products, which gets a new version."""
        stocks = self._stock
        for move in moves:
            stock, warehouse, quantity = stocks[move.sku], move.warehouse, move.quantity
            source(stock)[warehouse] -= quantity
            target(stock)[warehouse] += quantity
            stock.version += 1

    def levels(self) -> dict[str, StockLevel]:
        """Give the stock of every product seen so far."""
        return {
            sku: StockLevel(
                sum(self._stock.initial(sku)),
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


def _check_moves(order_id: str, view: StockView, moves: tuple[StockMove, ...]) -> None:
    missing = {line.sku: line.quantity for line in view.lines}
    left = dict(zip(missing, map(list, view.available), strict=True))
    for move in moves:
        sku, warehouse, quantity = move.sku, move.warehouse, move.quantity
        if sku not in missing or quantity <= 0 or not 0 <= warehouse < WAREHOUSES:
            raise AllocationError(f"order {order_id}: the allocation has an impossible {move}")
        missing[sku] -= quantity
        units = left[sku]
        units[warehouse] -= quantity
        if units[warehouse] < 0:
            raise AllocationError(f"order {order_id}: the allocation takes more than there is")
    if any(missing.values()):
        raise AllocationError(f"order {order_id}: the allocation does not fill the lines exactly")
