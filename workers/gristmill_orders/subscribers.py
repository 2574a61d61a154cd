"""Who listens to the events of orders: the revenue of each day, an audit log, notices.

Each is a group of its own, so each gets every event at least once, on Redis or on Kafka. They need
a backend with groups, and are part of the tree when one is on.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gristmill import Actor, Context, Durable, Event, GenEvent, Request, handles
from gristmill.behaviours.event_handler import EventHandler
from gristmill.channels import Start
from gristmill.supervision import ExitReason
from gristmill_orders import events as ev
from gristmill_orders.messages import AnyOrderEvent
from gristmill_orders.processor import ORDERS

REVENUE = "revenue"
AUDIT_LOG = "audit-log"
NOTICES = "notices"
SUBSCRIBERS = (REVENUE, AUDIT_LOG, NOTICES)
"""The names of the subscribers; the group of each is its name, with the run's name behind it."""

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def group_of(subscriber: str, run: str) -> str:
    """Give the consumer group of a subscriber: it goes with the journal of its state."""
    return f"{subscriber}-{run}" if run else subscriber


def start_of(run: str) -> Start:
    """Give where a subscriber begins: a run is on its own, the service has a past."""
    return Start.NEW if run else Start.EARLIEST


class RevenueChanged(Event):
    """What an order has brought so far, in cents; journaled by the projection."""

    order_id: str
    sequence: int
    """The event of the order that has changed it."""
    day: str
    charged_cents: int
    refunded_cents: int


class GetRevenue(Request[dict[str, int]]):
    """Ask for the revenue of each day in cents, by the day on which an order was made (UTC)."""


class RevenueActor(Actor):
    """Counts charges less refunds by day; exact, however often an event comes.

    The mark of an event commits with what was counted, so one that comes again counts once.

    Args:
        run: the name of the run, empty for the service itself.
    """

    facets = (Durable(),)

    def __init__(self, run: str) -> None:
        self._group, self._start = group_of(REVENUE, run), start_of(run)
        self._days: Counter[str] = Counter()
        self._orders: dict[str, tuple[int, int]] = {}

    def on_start(self, ctx: Context) -> None:
        """Listen to orders."""
        ctx.subscribe(ORDERS, group=self._group, start=self._start)

    def apply(self, event: RevenueChanged) -> None:
        """Take a change in, live or from the journal."""
        charged, refunded = self._orders.get(event.order_id, (0, 0))
        self._orders[event.order_id] = (event.charged_cents, event.refunded_cents)
        net = event.charged_cents - event.refunded_cents
        self._days[event.day] += net - (charged - refunded)

    @handles
    def paid(self, event: ev.PaymentCompleted, ctx: Context) -> None:
        """Count a charge."""
        _, refunded = self._orders.get(event.order_id, (0, 0))
        self._change(event, event.cents, refunded, ctx)

    @handles
    def refunded(self, event: ev.PaymentRefunded | ev.LinesRefunded, ctx: Context) -> None:
        """Count a refund; it can bring to light a charge whose answer was lost."""
        charged, refunded = self._orders.get(event.order_id, (0, 0))
        refunded += event.cents
        self._change(event, max(charged, refunded), refunded, ctx)

    def _change(self, event: ev.OrderEvent, charged: int, refunded: int, ctx: Context) -> None:
        day = day_of(event.order_id)
        ctx.persist(RevenueChanged(event.order_id, event.sequence, day, charged, refunded))

    @handles
    def revenue(self, query: GetRevenue) -> dict[str, int]:
        """Give the revenue of each day."""
        del query
        return dict(self._days)


def day_of(order_id: str) -> str:
    """Give the day (UTC) on which an order was made: its id is a ULID, which begins with the time.

    An id that is none has no day: an empty string.
    """
    head = order_id[:10].upper()
    if len(order_id) != 26 or any(letter not in _CROCKFORD for letter in head):
        return ""
    milliseconds = 0
    for letter in head:
        milliseconds = milliseconds * 32 + _CROCKFORD.index(letter)
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()


class AuditLogActor(Actor):
    """Appends every event to a file, a line of JSON each.

    A line may stand there twice after a kill; the order's id and the event's sequence tell.

    Args:
        path: the file.
        run: the name of the run, empty for the service itself.
    """

    def __init__(self, path: str, run: str) -> None:
        self._group, self._start = group_of(AUDIT_LOG, run), start_of(run)
        self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - open for the actor's life

    def on_start(self, ctx: Context) -> None:
        """Listen to orders."""
        ctx.subscribe(ORDERS, group=self._group, start=self._start)

    @handles
    def log(self, event: AnyOrderEvent) -> None:
        """Write an event down before it is acknowledged."""
        self._file.write(msgspec.json.encode(event) + b"\n")

    def terminate(self, reason: ExitReason, ctx: Context) -> None:
        """Close the file."""
        del reason, ctx
        self._file.close()


class CustomerNotices(EventHandler):
    """Tells customers how their orders have ended; a log line stands for the letter."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()

    def handle_event(
        self, event: ev.OrderCompleted | ev.OrderCancelled | ev.OrderFailed, ctx: Context
    ) -> None:
        """Send one notice."""
        kind = type(event).__name__
        self.sent[kind] += 1
        ctx.log.debug("order %s (%s): %s", event.order_id, event.order_key, kind)

    def handle_call(self, request: object, ctx: Context) -> dict[str, int]:
        """Give how many notices of each kind were sent."""
        del request, ctx
        return dict(self.sent)


class ShippingNotices(EventHandler):
    """Tells customers how to follow their parcels."""

    def __init__(self) -> None:
        self.sent = 0

    def handle_event(self, event: ev.ShipmentCreated, ctx: Context) -> None:
        """Send one notice."""
        self.sent += 1
        ctx.log.debug("order %s: parcel %s", event.order_id, event.tracking_number)

    def handle_call(self, request: object, ctx: Context) -> int:
        """Give how many notices were sent."""
        del request, ctx
        return self.sent


class NoticesActor(GenEvent):
    """The event manager whose handlers tell customers what becomes of their orders.

    Args:
        run: the name of the run, empty for the service itself.
    """

    handlers = {"customer": CustomerNotices, "shipping": ShippingNotices}  # noqa: RUF012 - GenEvent reads it once

    def __init__(self, run: str) -> None:
        self._group, self._start = group_of(NOTICES, run), start_of(run)

    def on_start(self, ctx: Context) -> None:
        """Listen to orders."""
        ctx.subscribe(ORDERS, group=self._group, start=self._start)
