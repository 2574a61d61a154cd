"""``Bodies``: many encoded values in one message, within what a message may carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Self

import msgspec
import numpy as np

from gristmill.errors import PayloadTooLargeError
from gristmill.transport.arrays import ArrayBody
from gristmill.transport.codec import MAX_BODY

ROOM = MAX_BODY // 2
"""Bytes of bodies to which no more are added in one message."""
MOST = MAX_BODY - (1 << 20)
"""Bytes of bodies that a message carries at most, for there is more in it."""


def size_in_band(body: bytes) -> int:
    """Give the bytes that a body may take in a message, if its arrays find no room elsewhere."""
    if not isinstance(body, ArrayBody):
        return len(body)
    return len(body) + sum(each.nbytes for each in body.arrays if isinstance(each, np.ndarray))


class Bodies(msgspec.Struct, array_like=True):
    """Encoded values in one message, each of which is decoded by itself."""

    near: list[msgspec.Raw] = msgspec.field(default_factory=list)
    arrays: dict[int, list[Any]] = msgspec.field(default_factory=dict)
    """The large arrays of bodies, by the places of those."""
    aside: list[Any] = msgspec.field(default_factory=list)
    """Lists of the bodies before those in ``near``, encoded, in arrays of bytes."""
    size: int = 0
    """Bytes of those in ``near``."""
    count: int = 0
    """How many bodies there are."""

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Make one of one body."""
        bodies = cls()
        bodies.append(body)
        return bodies

    def append(self, body: bytes) -> None:
        """Add a body."""
        if type(body) is bytes:
            self.size += len(body)
        elif isinstance(body, ArrayBody):
            self.arrays[self.count] = list(body.arrays)
            self.size += size_in_band(body)
        self.near.append(msgspec.Raw(body))
        self.count += 1

    def pop(self) -> int:
        """Remove the body that was added last, whose arrays are shared; give its size."""
        size = len(bytes(self.near.pop()))
        self.count -= 1
        self.arrays.pop(self.count, None)
        self.size -= size
        return size

    def put_aside(self, encode: Callable[[object], bytes]) -> bool:
        """Let all bodies lie in shared memory; give whether there was room."""
        packed = np.frombuffer(msgspec.msgpack.encode(self.near), np.uint8)
        try:
            body = encode(packed)
        except PayloadTooLargeError:
            return False
        if not isinstance(body, ArrayBody):
            return False
        self.aside += body.arrays
        self.near, self.size = [], 0
        return True

    def __iter__(self) -> Iterator[bytes | msgspec.Raw]:
        """Give each, to be decoded."""
        if not self.arrays and not self.aside:
            return iter(self.near)
        return self._each()

    def _each(self) -> Iterator[bytes | msgspec.Raw]:
        for place, body in enumerate(chain(*map(_decode_list, self.aside), self.near)):
            arrays = self.arrays.get(place)
            yield ArrayBody(bytes(body), arrays) if arrays else body


_decode_list = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
