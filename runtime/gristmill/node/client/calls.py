"""Calls of plain functions: encoded when they are made, whenever a worker is free for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gristmill.errors import PayloadTooLargeError
from gristmill.node.client.sending import ClientExporter
from gristmill.transport.arrays import LIMIT, Beside, NoSharedMemoryError
from gristmill.transport.codec import Codec
from gristmill.worker.turns.bodies import ROOM, Bodies, size_in_band
from gristmill.worker.turns.functions import RunBatch

if TYPE_CHECKING:
    from gristmill.node.client.post import ClientPost
    from gristmill.transport.arrays.layout import Array


class Calls:
    """Encodes calls, so that nobody sees what their caller does to the arguments afterwards."""

    def __init__(self, post: ClientPost) -> None:
        self._encode = Codec(post, _Kept(ClientExporter(post))).encode

    def encode(self, path: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Encode one call of the function with an import path.

        Raises:
            PayloadTooLargeError: the arguments don't fit into a message.
            UsageError: an argument can't travel.
        """
        try:
            return self._encode((args, kwargs))
        except PayloadTooLargeError as error:
            raise PayloadTooLargeError(f"the arguments of {path}: {error}") from None


def batches(path: str, calls: Iterable[bytes], most: int) -> Iterator[RunBatch]:
    """Put encoded calls together, ``most`` at most, and no more than a message has room for."""
    batch = Bodies()
    for call in calls:
        if batch.count == most or (batch.count and batch.size + size_in_band(call) > ROOM):
            yield RunBatch(path, batch)
            batch = Bodies()
        batch.append(call)
    if batch.count:
        yield RunBatch(path, batch)


class _Kept:
    """Takes the arrays of calls that wait: into shared memory, or copies while that is full."""

    def __init__(self, exporter: ClientExporter) -> None:
        self._export = exporter.export

    def export(self, array: Array) -> Beside:
        try:
            return self._export(array)
        except NoSharedMemoryError:
            if array.nbytes > LIMIT:
                raise  # there will never be room
            return array.copy(order="K")  # there may be room when it is sent
