"""``Child``: a child of a supervisor, as it is listed, and how one is named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from gristmill.errors import UsageError
from gristmill.ref import KEYED, AnyRef, Post, Ref
from gristmill.supervision import State
from gristmill.transport.child_operations import ChildRow


class Child(NamedTuple):
    """One child of a supervisor, as it was when it was asked."""

    id: str
    """What its supervisor knows it by: its name if it has one."""
    kind: Literal["actor", "supervisor"]
    state: State
    path: str
    """Where it stands in the tree."""
    ref: Ref[Any] | None
    """None of a supervisor, and of an actor that is stopped."""


def listed(rows: Iterable[ChildRow], post: Post) -> list[Child]:
    """Make what a person gets of what the supervisor process has answered."""
    return [
        Child(
            row.info.id,
            row.info.kind,
            row.info.state,
            row.path,
            Ref(row.address, post) if row.address is not None else None,
        )
        for row in rows
    ]


def named(child: str | AnyRef) -> str | int:
    """Give the id or key of a child that is named by its id or ref.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(child, str):
        return child
    if isinstance(child, Ref):
        address = child.address
        return address.name.partition("/")[2] if address.home == KEYED else address.key
    raise UsageError(f"a child is named by its id, a text, or by its ref, not by {child!r}")
