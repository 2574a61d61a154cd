"""Replay: every order rebuilt from a log of its events, and proved equal to what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gristmill.channels import ChannelBackend
from gristmill.channels.contract import Start
from gristmill.channels.servers import make_driver
from gristmill.config import ChannelConfig
from gristmill.durability import JournalError
from gristmill.durability.journal import read_journal, slots
from gristmill.errors import InvalidStateTransition
from gristmill.importing import resolve
from gristmill_orders import events as ev
from gristmill_orders.messages import AnyOrderEvent
from gristmill_orders.order import Order, apply
from gristmill_orders.processor import ORDERS

_decoder = msgspec.msgpack.Decoder(AnyOrderEvent)


@dataclass
class Rebuilt:
    """The orders that a log tells of."""

    orders: dict[str, Order] = field(default_factory=dict)
    events: int = 0
    repeated: int = 0
    """Events that came again, which at-least-once allows."""
    problems: list[str] = field(default_factory=list)
    """What the log can't be right about, a sentence each."""


def rebuild(events: Iterable[ev.OrderEvent]) -> Rebuilt:
    """Rebuild every order from its events, in their order; one that comes again changes nothing."""
    found = Rebuilt()
    broken: set[str] = set()
    for event in events:
        found.events += 1
        if isinstance(event, ev.OrderRefused) or event.order_id in broken:
            continue
        order = found.orders.get(event.order_id)
        last = order.sequence if order is not None else 0
        if event.sequence <= last:
            found.repeated += 1
        elif event.sequence > last + 1:
            broken.add(event.order_id)
            found.problems.append(
                f"order {event.order_id}: event {event.sequence} comes behind event {last}"
            )
        else:
            try:
                found.orders[event.order_id] = apply(order, event)
            except InvalidStateTransition as error:
                broken.add(event.order_id)
                found.problems.append(f"order {event.order_id}: {error}")
    return found


def differences(rebuilt: Rebuilt, live: Rebuilt) -> Iterator[str]:
    """Say which orders of a journal a log does not give as they are; more orders are fine."""
    yield from live.problems
    for order_id, order in live.orders.items():
        other = rebuilt.orders.get(order_id)
        if other is None:
            yield f"order {order_id} ({order.order_key}) is not in the log"
        elif other != order:
            fields = [
                name
                for name in order.__struct_fields__
                if getattr(order, name) != getattr(other, name)
            ]
            yield (
                f"order {order_id} ({order.order_key}) differs in {', '.join(fields)}: the log has "
                f"event {other.sequence} as its last one, the journal {order.sequence}"
            )


def channel_events(backend: str, config: ChannelConfig) -> Iterator[ev.OrderEvent]:
    """Read the events of orders from a server.

    Raises:
        ConfigError: its client library is not installed.
        ChannelUnavailableError: it can't be reached.
    """
    driver = make_driver(ChannelBackend(backend), config)
    driver.check()
    for delivery in driver.read(ORDERS, Start.EARLIEST):
        yield _decoder.decode(delivery.body)


def journal_events(folder: str) -> Iterator[ev.OrderEvent]:
    """Read the events of orders from a journal: its own folder, or that of the run around it.

    Raises:
        JournalError: there is no journal, or it can't be read.
    """
    path = Path(folder)
    if (path / "journal").is_dir():
        path /= "journal"
    if path.is_dir() and not slots(path):
        raise JournalError(f"there is no journal at {path}: it has no *.db file")
    with read_journal(path) as journal:
        for _, record in journal.all_records():
            kind = resolve(record.kind)
            if isinstance(kind, type) and issubclass(kind, ev.OrderEvent):
                yield _decoder.decode(record.payload)
