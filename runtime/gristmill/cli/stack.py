"""``gristmill stack``: what every worker does right now."""

from __future__ import annotations

from rich.text import Text

from gristmill.cli.nodes import COLOURS, attached
from gristmill.cli.output import console, print_json
from gristmill.node.rundir import find_node
from gristmill.node.stacks import WorkerStack, collect


def show(node_id: str | None, worker: str | None, *, as_json: bool) -> None:
    """Print what the workers of a node do, with their stacks."""
    run_dir = find_node(node_id).run_dir
    with attached(node_id) as (connection, _):
        found = collect(connection, run_dir, worker)
    if as_json:
        print_json(found)
        return
    out = console()
    for one in found:
        out.print(_heading(one))
        out.print(one.stack or "  it did not write its stacks within a second", end="\n\n")


def _heading(one: WorkerStack) -> Text:
    does = one.activity
    heading = Text.assemble(
        (does.worker, "bold"),
        f"  pid {does.pid}  ",
        (does.state, COLOURS.get(does.state, "yellow")),
    )
    if does.key:
        heading.append(f"  {does.actor} handles {does.message}, {does.seconds:.3g} s", style="cyan")
    else:
        heading.append("  no handler runs", style="dim")
    return heading
