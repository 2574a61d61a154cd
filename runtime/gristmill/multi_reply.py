"""``MultiReply``: what comes of asking many actors the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gristmill.errors import GristmillError
from gristmill.ref import AnyRef

R = TypeVar("R")


@dataclass(slots=True)
class MultiReply(Generic[R]):
    """The outcome for each actor that was asked, in the order of asking."""

    replies: list[tuple[AnyRef, R]] = field(default_factory=list)
    """Who has answered, and what."""
    failed: list[tuple[AnyRef, GristmillError]] = field(default_factory=list)
    """Who has not, and why: what :meth:`Ref.ask` would have raised."""
