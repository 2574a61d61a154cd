"""``gristmill status`` and ``stop``: clients of a node that somebody else owns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from rich.table import Table
from rich.text import Text

from gristmill.cli.output import console, print_json
from gristmill.errors import NodeConnectError
from gristmill.node.client.connection import Connection
from gristmill.node.rundir import find_node
from gristmill.node.status import NodeStatus, Reloaded
from gristmill.transport import control as c

ANSWER = 5.0
"""Seconds that a node has to answer."""
_GONE = 5.0
"""Seconds, beyond the timeout of the stop itself, for a node's processes to leave."""
_FOREVER = 1e6
"""Seconds; the milliseconds of no more than twice as many fit into what poll takes."""
COLOURS = {"running": "green", "ready": "green"}


@contextmanager
def attached(node_id: str | None) -> Iterator[tuple[Connection, int]]:
    """Join a running node of this user; give the connection and the supervisor process's pid.

    Raises:
        NodeConnectError: there is none, or several and no id, or it does not answer.
    """
    facts = find_node(node_id)
    connection = Connection(facts.run_dir, facts.control, facts.transport, owner=False)
    try:
        connection.wait_until_welcome(ANSWER, lambda: psutil.pid_exists(facts.supervisor))
        yield connection, facts.supervisor
    finally:
        connection.close()


def _status(node_id: str | None) -> NodeStatus:
    with attached(node_id) as (connection, _):
        found: NodeStatus = connection.call(c.GetStatus(), NodeStatus, timeout=ANSWER)
    return found


def show_status(node_id: str | None, *, as_json: bool) -> None:
    """Print a node's workers and counters."""
    status = _status(node_id)
    if as_json:
        print_json(status)
        return
    out = console()
    out.print(
        Text.assemble(
            (status.node_id, "bold"),
            f"  {status.phase}, {counted(len(status.workers), 'worker')}, "
            f"{counted(status.actors, 'actor')}",
        )
    )
    out.print(
        f"restarts: {counted(status.worker_restarts, 'worker')}, "
        f"{counted(status.actor_restarts, 'actor')}; "
        f"{counted(status.worker_replacements, 'replacement')} ({status.recycled:,} recycled); "
        f"{counted(status.dead_letters, 'dead letter')}"
    )
    out.print(f"messages: {status.messages}")
    out.print(workers_table(status))
    if status.names:
        out.print(f"names: {', '.join(status.names)}")


def stop(node_id: str | None, timeout: float) -> None:
    """Stop a node and wait until its supervisor process is gone.

    Raises:
        NodeConnectError: it is still there after the timeout.
    """
    with attached(node_id) as (connection, pid):
        name = connection.post.node
        process = psutil.Process(pid)
        connection.call(c.StopNode(timeout), type(None), timeout=ANSWER)
        try:
            process.wait(timeout + _GONE if timeout < _FOREVER else None)
        except psutil.TimeoutExpired:
            raise NodeConnectError(
                f"{name} has not stopped within {timeout + _GONE:g} s; its supervisor process is "
                f"{pid}, and killing it ends everything of the node"
            ) from None
    console().print(f"{name} stopped")


def reload(node_id: str | None) -> None:
    """Have a node take up the code as it is now, and wait until it has.

    Raises:
        ReloadError: the new code can't be taken up.
    """
    with attached(node_id) as (connection, _):
        done: Reloaded = connection.call(c.Reload(), Reloaded, timeout=None)
        name = connection.post.node
    console().print(f"{name} reloaded: {counted(done.workers, 'worker')} in {done.seconds:.2f} s")


def workers_table(status: NodeStatus) -> Table:
    """Lay the workers of a node out as a table."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("worker")
    for name in ("pid", "state", "actors", "starts", "last exit"):
        table.add_column(name, justify="left" if name in ("state", "last exit") else "right")
    for worker in status.workers:
        table.add_row(
            worker.name,
            str(worker.pid),
            Text(worker.state, style=COLOURS.get(worker.state, "yellow")),
            str(worker.actors),
            str(worker.incarnation),
            worker.last_exit,
        )
    return table


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 worker``, ``2 workers``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
