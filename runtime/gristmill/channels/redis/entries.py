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
    headers = fields.get(b"h", b"")
    return Delivery(
        partition,
        entry.decode(),
        fields.get(b"k", b"").decode(errors="replace"),
        fields.get(b"p", b"").decode(errors="replace"),
        int(number) if number.isdigit() else 0,
        fields.get(b"b", b""),
        deaths,
        _headers.decode(headers) if headers else {},
    )


def count_of(fields: Mapping[bytes, bytes]) -> int:
    """Give the how-manieth event of its partition an entry is; 0 if it does not say."""
    count = fields.get(b"n", b"0")
    return int(count) if count.isdigit() else 0


class Gaps:
    """Counts the events that were dropped from a stream before they were read."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def begin(self, partition: int, seen: int) -> None:
        """A partition's events up to the ``seen``-th have been handled."""
        self._seen[partition] = seen

    def missing(self, partition: int, fields: Mapping[bytes, bytes]) -> int:
        """Take an entry in, in order; give how many are missing before it."""
        count = count_of(fields)
        seen = self._seen.get(partition, count - 1)
        if count <= seen:
            return 0
        self._seen[partition] = count
        return count - seen - 1
