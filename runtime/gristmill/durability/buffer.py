"""What a store has been told since its last commit, grouped as it will be written.

The events of one actor that are committed together are one batch, and so are the messages to one
target. A batch is stored as one row with its first and last number: SQLite's cost is by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from gristmill.durability.store import Record

Item = TypeVar("Item")

_encode = msgspec.msgpack.Encoder().encode
_decode_events = msgspec.msgpack.Decoder(tuple[list[str], list[tuple[int, bytes]]]).decode
_decode_messages = msgspec.msgpack.Decoder(list[bytes]).decode


@dataclass(slots=True)
class Batch(Generic[Item]):
    """Items with consecutive numbers."""

    first: int
    """The number of the first item."""
    items: list[Item] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The number of the last item."""
        return self.first + len(self.items) - 1

    def add(self, item: Item) -> int:
        """Put an item behind the others and give its number."""
        items = self.items
        items.append(item)
        return self.first + len(items) - 1

    def add_all(self, items: Sequence[Item]) -> int:
        """Put items behind the others and give the number of the first of them."""
        first = self.first + len(self.items)
        self.items += items
        return first

    def beyond(self, number: int) -> Batch[Item]:
        """Give the items whose numbers are greater than ``number``."""
        if number < self.first:
            return self
        return Batch(number + 1, self.items[number + 1 - self.first :])


def encode_events(events: list[tuple[str, bytes]]) -> bytes:
    """Give the stored form of (kind, payload) pairs.

    That is a list of all kinds, as import paths are long, and of pairs (place of the kind in that
    list, payload).
    """
    kinds: dict[str, int] = {}
    placed = [(kinds.setdefault(kind, len(kinds)), payload) for kind, payload in events]
    return _encode((list(kinds), placed))


def decode_events(first: int, last: int, stored: bytes) -> list[Record]:
    """Read what ``encode_events`` gave.

    Args:
        first: the number of the first event.
        last: the number of the last.
        stored: the stored form.

    Raises:
        ValueError: it is damaged.
    """
    try:
        kinds, placed = _decode_events(stored)
        numbered = zip(range(first, last + 1), placed, strict=True)
        return [Record(seq, kinds[place], payload) for seq, (place, payload) in numbered]
    except (msgspec.DecodeError, IndexError) as error:
        raise ValueError(str(error)) from error


def encode_messages(payloads: list[bytes]) -> bytes:
    """Give the stored form of messages: a list of their payloads."""
    return _encode(payloads)


def decode_messages(first: int, last: int, stored: bytes) -> list[tuple[int, bytes]]:
    """Read what ``encode_messages`` gave; give (number, payload) of each message.

    Args:
        first: the number of the first message.
        last: the number of the last.
        stored: the stored form.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return list(zip(range(first, last + 1), _decode_messages(stored), strict=True))
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


@dataclass(slots=True)
class Buffer:
    """What a store has been told since its last commit."""

    events: dict[str, Batch[tuple[str, bytes]]] = field(default_factory=dict)
    """actor: (kind, payload) of its events"""
    snapshots: dict[str, Record] = field(default_factory=dict)
    """actor: its last snapshot"""
    outbox: dict[str, Batch[bytes]] = field(default_factory=dict)
    """target: the payloads of the messages to it"""
    acknowledged: dict[str, int] = field(default_factory=dict)
    """target: highest number"""
    marks: dict[tuple[str, str], int] = field(default_factory=dict)
    """(actor, sender): highest number"""
    values: dict[tuple[str, str], tuple[int, bytes | None]] = field(default_factory=dict)
    """(actor, key): (stamp, value); None outdates what another slot holds"""
    erased: set[tuple[str, str]] = field(default_factory=set)
    """(actor, key)"""

    def __bool__(self) -> bool:
        return bool(
            self.events
            or self.snapshots
            or self.outbox
            or self.acknowledged
            or self.marks
            or self.values
            or self.erased
        )

    def __len__(self) -> int:
        events = sum(len(batch.items) for batch in self.events.values())
        messages = sum(len(batch.items) for batch in self.outbox.values())
        single = len(self.acknowledged) + len(self.marks) + len(self.values) + len(self.erased)
        return events + messages + single + len(self.snapshots)

    def has_numbers_of(self, actor: str) -> bool:
        """Tell whether a sequence number or a stamp given to the actor waits here."""
        return (
            actor in self.events
            or actor in self.snapshots
            or any(key[0] == actor for key in self.values)
        )
