"""``gristmill child``: stop, start and forget one child of a supervisor."""

from __future__ import annotations

from typing import Any

from gristmill.cli.nodes import attached
from gristmill.cli.output import console
from gristmill.ref import Address
from gristmill.transport.child_operations import DeleteChild, RestartChild, TerminateChild
from gristmill.transport.control import Operation


def terminate(node_id: str | None, path: str) -> None:
    """Stop a child, and wait until it is down."""
    _call(node_id, TerminateChild(*_split(path)), type(None))
    console().print(f"{path} is stopped")


def restart(node_id: str | None, path: str) -> None:
    """Start a stopped child."""
    _call(node_id, RestartChild(*_split(path)), list[Address])
    console().print(f"{path} is running")


def delete(node_id: str | None, path: str) -> None:
    """Forget a stopped child."""
    _call(node_id, DeleteChild(*_split(path)), type(None))
    console().print(f"{path} is deleted")


def _call(node_id: str | None, operation: Operation, kind: Any) -> None:  # noqa: ANN401 - a type
    with attached(node_id) as (connection, _):
        connection.call(operation, kind, timeout=None)


def _split(path: str) -> tuple[str, str]:
    """Give the supervisor's path and the child's id."""
    supervisor, _, child = path.rpartition("/")
    return supervisor, child
