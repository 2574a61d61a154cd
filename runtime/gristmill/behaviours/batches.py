"""What ``@handles(batch=...)`` asks for, and the signature that a batch handler has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin

from gristmill.errors import ProtocolError, Reject, UsageError
from gristmill.metrics.governor import MAX_BATCH
from gristmill.metrics.ratios import GOLDEN

DEFAULT_WAIT: Final = 0.002
"""Seconds by which a governed batch may delay a message if nothing else is said."""

Size = int | Literal["auto"]


@dataclass(frozen=True, slots=True)
class Batch:
    """How many messages a handler takes at once.

    Raises:
        UsageError: a number is out of range, or says nothing here.
    """

    size: Size
    """The most messages of one call; ``"auto"``: the governor finds it."""
    wait: float
    """Seconds by which a batch may delay a message."""
    target: float
    """The ratio of compute to coordination that the governor goes for."""

    def __post_init__(self) -> None:
        """Refuse what can't be meant."""
        size = self.size
        if size != "auto" and (not _is_whole(size) or not 1 <= size <= MAX_BATCH):
            raise UsageError(
                f"batch is {size!r}; give the most messages of one call, from 1 to {MAX_BATCH}, "
                'or "auto"'
            )
        if not _is_number(self.wait) or not 0 <= self.wait <= 60:
            raise UsageError(f"batch_wait is {self.wait!r}; give seconds from 0 to 60")
        if not _is_number(self.target) or not self.target > 0:
            raise UsageError(f"batch_target is {self.target!r}; give a ratio above 0")

    @classmethod
    def of(cls, size: Size | None, wait: float | None, target: float | None) -> Batch | None:
        """Read the arguments of ``@handles``.

        Raises:
            UsageError: one is out of range, or has no effect without another.
        """
        if size is None:
            if wait is not None or target is not None:
                raise UsageError("batch_wait and batch_target take effect with batch=... only")
            return None
        if target is not None and size != "auto":
            raise UsageError(f'batch_target takes effect with batch="auto", not batch={size!r}')
        if wait is None:
            wait = DEFAULT_WAIT if size == "auto" else 0.0
        return cls(size, wait, GOLDEN if target is None else target)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def message_of(where: str, annotation: Any) -> Any:
    """Give what a batch handler takes a list of.

    Raises:
        ProtocolError: its parameter is no list.
    """
    inside = get_args(annotation)
    if get_origin(annotation) is not list or len(inside) != 1:
        raise ProtocolError(
            f"handler {where} takes batches: annotate its messages as list[M], M being one "
            "message type"
        )
    return inside[0]


def reply_of(where: str, annotation: Any) -> Any:
    """Give what a batch handler returns a list of, refusals left out.

    Raises:
        ProtocolError: it returns no list.
    """
    inside = get_args(annotation)
    if get_origin(annotation) is not list or len(inside) != 1:
        raise ProtocolError(
            f"handler {where} takes batches of requests: annotate that it returns list[R], with "
            "a reply of type R for each, in order"
        )
    reply = inside[0]
    left = [part for part in get_args(reply) if part is not Reject]
    if Reject not in get_args(reply) or not left:
        return reply
    union = left[0]
    for part in left[1:]:
        union |= part
    return union
