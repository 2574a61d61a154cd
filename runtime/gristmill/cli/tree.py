"""``gristmill tree``: the living supervision tree, and where its actors are."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from gristmill.cli.nodes import ANSWER, COLOURS, attached, counted
from gristmill.cli.output import console, print_json
from gristmill.errors import UsageError
from gristmill.facets.breaker_state import CircuitState, SharedState
from gristmill.node.client.connection import Connection
from gristmill.node.status import NodeTree
from gristmill.supervision import Snapshot
from gristmill.transport import control as c

_EVERY = 1.0


def show(node_id: str | None, *, watch: bool, as_json: bool) -> None:
    """Print a node's supervision tree, once or until Ctrl-C.

    Raises:
        UsageError: JSON is to be watched.
    """
    if watch and as_json:
        raise UsageError("--watch draws on the terminal; call tree --json again and again instead")
    with attached(node_id) as (connection, _):
        if as_json:
            print_json(as_data(_get(connection)))
        elif watch:
            with Live(draw(_get(connection)), console=console(), auto_refresh=False) as live:
                while True:
                    live.update(draw(_get(connection)), refresh=True)
                    time.sleep(_EVERY)
        else:
            console().print(draw(_get(connection)))


def _get(connection: Connection) -> NodeTree:
    found: NodeTree = connection.call(c.GetTree(), NodeTree, timeout=ANSWER)
    return found


def as_data(node: NodeTree) -> dict[str, Any]:
    """Give the root as nested data, each actor with its ``worker``, ``pid`` and ``mailbox``.

    Each actor, pool and group also has its ``breakers`` that have ever moved.
    """
    pids = {worker.worker: worker.pid for worker in node.workers}
    breakers: dict[str, list[dict[str, Any]]] = {}
    for state in node.breakers:
        breakers.setdefault(state.service, []).append(_breaker_as_data(node, state))

    def place(member: dict[str, Any]) -> dict[str, Any]:
        member["breakers"] = breakers.get(member["id"], [])
        if member["kind"] == "supervisor":
            member["children"] = [place(child) for child in member["children"]]
            return member
        home = node.homes.get(member["key"], "")
        member |= {"worker": home, "pid": pids.get(home, 0), "mailbox": _mailbox(node, member)}
        return member

    return place(msgspec.to_builtins(node.tree))


def _breaker_as_data(node: NodeTree, state: SharedState) -> dict[str, Any]:
    return {
        "name": state.breaker,
        "state": state.state.value,
        "seconds": max(0.0, node.now - state.at),
        "reason": state.reason,
    }


def _mailbox(node: NodeTree, member: dict[str, Any]) -> int | None:
    """Give how many messages wait; None if the worker did not say."""
    silent = node.homes.get(member["key"]) in node.silent
    return None if silent else node.mailboxes.get(member["key"], 0)


def draw(node: NodeTree) -> Tree:
    """Lay a supervision tree out."""
    drawn = Tree(_label(node, node.tree), guide_style="dim")
    _grow(drawn, node, node.tree)
    return drawn


def _grow(branch: Tree, node: NodeTree, member: Snapshot) -> None:
    for child in member.children:
        _grow(branch.add(_label(node, child)), node, child)


def _label(node: NodeTree, member: Snapshot) -> Text:
    state = member.state.value
    label = Text.assemble((member.id, "bold"), "  ", (state, COLOURS.get(state, "yellow")))
    if member.strategy is not None:
        label.append(f"  {member.strategy.value}, ", style="dim")
        label.append(
            f"{member.restarts_in_window} of {member.max_restarts} restarts in {member.within:g} s",
            style="dim",
        )
    else:
        _place(label, node, member.key)
    for shared in node.breakers:
        if shared.service == member.id:
            _add_breaker(label, shared, node.now)
    if member.restarts:
        label.append(f"  restarted {counted(member.restarts, 'time')}", style="yellow")
    if member.last_exit:
        label.append(f" ({member.last_exit})", style="dim")
    return label


def _add_breaker(label: Text, shared: SharedState, now: float) -> None:
    closed = shared.state is CircuitState.CLOSED
    label.append(f"  {shared.breaker} {shared.state.value}", style="dim" if closed else "red")
    if not closed:
        label.append(f" for {max(0.0, now - shared.at):.0f} s: {shared.reason}", style="dim")


def _place(label: Text, node: NodeTree, key: int) -> None:
    """Add where an actor is and what it does."""
    home = node.homes.get(key, "")
    worker = next((worker for worker in node.workers if worker.worker == home), None)
    if worker is None:
        return
    label.append(f"  {home} ({worker.pid})" if worker.pid else f"  {home} (down)", style="dim")
    if worker.state == "stopped":
        label.append("  stopped by a signal", style="red")
    if worker.key == key:
        label.append(f"  {worker.message} for {worker.seconds:.3g} s", style="cyan")
    if home in node.silent:
        label.append("  ? waiting", style="dim")
    elif key in node.mailboxes:
        label.append(f"  {node.mailboxes[key]:,} waiting", style="yellow")
