"""An entry of a stream as a delivery."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gristmill.channels.records import NO_HEADERS, Delivery

_NAMES = [b"n", b"k", b"p", b"i", b"b"]
"""An entry's fields, as ``PUBLISH`` writes them: ordinal, key, publisher, number, body."""
_HEADERS = b"h"
"""What a dead letter has besides."""
_headers = msgspec.msgpack.Decoder(dict[str, str])


def delivery_of(partition: int, entry: bytes, fields: Sequence[bytes], deaths: int = 0) -> Delivery:
    """Give an entry as a delivery. One that no program of ours has written has what it has."""
    if fields[::2] == _NAMES:  # nearly all: what else there can be takes longer
        count, key, publisher, number, body = fields[1::2]
        headers = b""
    else:
        found = dict(zip(fields[::2], fields[1::2], strict=False))
        count, key, publisher, number, body, headers = (
            found.get(name, b"") for name in (*_NAMES, _HEADERS)
        )
    return Delivery(
        partition,
        entry.decode(),
        key.decode(errors="replace"),
        publisher.decode(errors="replace"),
        int(number) if number.isdigit() else 0,
        body,
        deaths,
        int(count) if count.isdigit() else 0,
        _headers.decode(headers) if headers else NO_HEADERS,
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
