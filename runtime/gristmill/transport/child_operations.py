"""What may be asked of a supervisor of the tree about its children, as operations of a ``Call``."""

from __future__ import annotations

import msgspec

from gristmill.ref import Address
from gristmill.supervision import ChildInfo


class Incarnation(msgspec.Struct, frozen=True, array_like=True):
    """One life of an actor."""

    key: int
    number: int


class ChildOperation(msgspec.Struct, frozen=True, array_like=True):
    """The base of them: whose children are meant."""

    supervisor: str | Incarnation
    """A supervisor's path (empty: the root), or the actor whose own children are meant."""


class TerminateChild(ChildOperation, tag="TerminateChild", frozen=True):
    """Stop a child as its shutdown policy says; answered when it is down."""

    child: str | int
    """Its id or key, as in what follows."""


class RestartChild(ChildOperation, tag="RestartChild", frozen=True):
    """Start a stopped child; answered by the addresses of the actors at and below it."""

    child: str | int


class DeleteChild(ChildOperation, tag="DeleteChild", frozen=True):
    """Forget a stopped child."""

    child: str | int


class WhichChildren(ChildOperation, tag="WhichChildren", frozen=True):
    """List the children; answered by a :class:`ChildRow` of each, the newest first."""


class CountChildren(ChildOperation, tag="CountChildren", frozen=True):
    """Count the children; answered by :class:`~gristmill.supervision.ChildCounts`."""


class ChildRow(msgspec.Struct, frozen=True, array_like=True):
    """A child as it is listed."""

    info: ChildInfo
    path: str
    address: Address | None
    """Where an actor lives; None of a supervisor, and of an actor that is stopped."""
