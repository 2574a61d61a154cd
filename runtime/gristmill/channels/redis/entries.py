"""An entry of a stream as a delivery."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gristmill.channels.records import Delivery

_headers = msgspec.msgpack.Decoder(dict[str, str])


def delivery_of(
    partition: int, entry: bytes, fields: Mapping[bytes, bytes], deaths: int = 0
) -> Delivery:
    """Give an entry as a delivery. One that no program of ours has written has what it has."""
    number = fields.get(b"i", b"0")
    count = fields.get(b"n", b"0")
    headers = fields.get(b"h", b"")
    return Delivery(
        partition,
        entry.decode(),
        fields.get(b"k", b"").decode(errors="replace"),
        fields.get(b"p", b"").decode(errors="replace"),
        int(number) if number.isdigit() else 0,
        fields.get(b"b", b""),
        deaths,
        int(count) if count.isdigit() else 0,
        _headers.decode(headers) if headers else {},
    )


class Gaps:
    """Counts the events that were dropped from a stream before they were read."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def begin(self, partition: int, seen: int) -> None:
        """A partition's events up to the ``seen``-th have been handled."""
        self._seen[partition] = seen

    def missing(self, delivery: Delivery) -> int:
        """Take an event in, in order; give how many are missing before it."""
        ordinal = delivery.ordinal
        seen = self._seen.get(delivery.partition, ordinal - 1)
        if ordinal <= seen:
            return 0
        self._seen[delivery.partition] = ordinal
        return ordinal - seen - 1
