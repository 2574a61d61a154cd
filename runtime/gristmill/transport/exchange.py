"""``ArrayExchange``: the arrays of the envelopes that leave a process and that come to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from gristmill.transport.arrays import (
    ArrayBody,
    ArrayGoneError,
    ArrayPool,
    Handle,
    Release,
    SharedArray,
)
from gristmill.transport.envelope import (
    ANSWER,
    ARRAYS,
    ASK,
    EVENT,
    RELEASE,
    REPLY,
    RUNS,
    TELL,
    Envelope,
    pack,
)
from gristmill.transport.segment_directory import Process, segment_directory

_encode = msgspec.msgpack.Encoder().encode
_decode_handles = msgspec.msgpack.Decoder(list[Handle]).decode
_decode_releases = msgspec.msgpack.Decoder(list[Release]).decode
_CARRIERS = (TELL, ASK, REPLY, EVENT, ANSWER)


class ArrayExchange:
    """Lends what leaves, accepts what comes, and gives back what nobody here holds any more.

    Args:
        pool: the process's arrays.
    """

    def __init__(self, pool: ArrayPool) -> None:
        self.pool = pool
        self.on_lent: Callable[[], None] | None = None
        """Is called when arrays have been lent."""

    @classmethod
    def of(cls, run_dir: str | Path, address: int, incarnation: int) -> Self:
        """Make that of a process of a run."""
        directory = segment_directory(Path(run_dir))
        return cls(ArrayPool(directory, Process(address, incarnation)))

    def seal(self, items: tuple[Any, ...], to: int) -> tuple[Any, ...]:
        """Lend the arrays of an envelope that is posted now; give the envelope that carries it.

        Args:
            items: the envelope; its last item is an :class:`ArrayBody`.
            to: the address of the process that it is posted to.
        """
        body: ArrayBody = items[-1]
        lend = self.pool.lend
        handles = [lend(array, to) for array in body.arrays if isinstance(array, SharedArray)]
        if self.on_lent is not None:
            self.on_lent()
        carried: Any = [bytes(body)] if items[0] in RUNS else bytes(body)
        return ARRAYS, (*items[:-1], carried), _encode(handles)

    def open(self, envelope: Envelope) -> Envelope:
        """Accept the arrays of an envelope that has come; give the envelope that it carries.

        An array that is gone is an error for whoever decodes the body.

        Raises:
            ValueError: it carries none that may have arrays.
        """
        _, inner, handles = envelope
        if inner[0] not in _CARRIERS:
            raise ValueError(f"an envelope of kind {inner[0]!r} has no arrays")
        arrays = [self._accept(each) for each in _decode_handles(handles)]
        carried = inner[-1]
        if inner[0] in RUNS:
            (alone,) = carried
            return [*inner[:-1], [ArrayBody(alone, arrays)]]
        return [*inner[:-1], ArrayBody(carried, arrays)]  # the frame must not keep them

    def _accept(self, handle: Handle) -> SharedArray | ArrayGoneError:
        try:
            return self.pool.accept(handle)
        except ArrayGoneError as error:
            return error

    def give_back(self, post: Callable[[int, bytes], None]) -> None:
        """Post what is due to those who lent it."""
        for address, releases in self.pool.take_releases().items():
            post(address, pack((RELEASE, _encode(releases))))

    def take_back(self, header: Envelope, envelope: Envelope) -> None:
        """Take in what another process gives back."""
        source = Process(header[1], header[2])
        self.pool.on_releases(source, _decode_releases(envelope[1]))
