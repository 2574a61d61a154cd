"""``node.map``: plain functions on all workers, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from gristmill.errors import ActorCrashed, UsageError
from gristmill.importing import import_path
from gristmill.node.post import ClientPost
from gristmill.ref import Address
from gristmill.worker.functions import RunBatch, signature_of

T = TypeVar("T")
U = TypeVar("U")

_BATCHES_PER_WORKER = 4
_OPEN_PER_WORKER = 2


def map_batches(
    post: ClientPost,
    runners: Sequence[Address],
    function: Callable[[T], U],
    items: Iterable[T],
    *,
    batch: int | None,
    timeout: float | None,
) -> Iterator[U]:
    """Call ``function`` with each item on the runners; give the results in order."""
    path = import_path(function)
    _, result = signature_of(function)
    everything = list(items)
    if batch is None:
        batch = -(-len(everything) // (_BATCHES_PER_WORKER * len(runners))) or 1
    if batch < 1:
        raise UsageError(f"batch is {batch}; it is how many items go in one message: 1 or more")
    size = batch
    requests = (
        RunBatch(path, everything[start : start + size])
        for start in range(0, len(everything), size)
    )
    turn = _RoundRobin(runners)
    window = _OPEN_PER_WORKER * len(runners)
    for outcome in post.ask_each(turn, requests, window, timeout):
        for value in outcome.values:
            yield value if result is Any else msgspec.convert(value, result)
        if outcome.error is not None:
            raise ActorCrashed(f"{path} raised {outcome.error}", outcome.error)


class _RoundRobin:
    def __init__(self, targets: Sequence[Address]) -> None:
        self._targets = targets
        self._next = 0

    def __call__(self, _: Any) -> Address:  # noqa: ANN401 - any request
        target = self._targets[self._next % len(self._targets)]
        self._next += 1
        return target
