"""``gristmill child`` beside a node that runs."""

from __future__ import annotations

from pathlib import Path

from gristmill import Node
from support.commands import gristmill
from support.fragile import Born, Fragile


def test_a_child_is_stopped_started_and_forgotten(node: Node, tmp_path: Path) -> None:
    ref = node.spawn(Fragile, args=(str(tmp_path / "switch"), "kept"), name="kept")
    at = ("-n", node.node_id)

    def states() -> dict[str, str]:
        return {child.id: child.state.value for child in node.supervisor().which_children()}

    refused = gristmill(tmp_path, "child", "restart", "kept", *at)
    assert refused.returncode == 1
    assert "can't restart root/kept: it is running; terminate it first" in refused.stderr
    assert gristmill(tmp_path, "child", "terminate", "kept", *at).stdout == "kept is stopped\n"
    assert states() == {"kept": "stopped"}
    told = gristmill(tmp_path, "child", "restart", "root/kept", *at).stdout
    assert told == "root/kept is running\n"
    assert ref.ask(Born()) == "kept"
    gristmill(tmp_path, "child", "terminate", "kept", *at)
    assert gristmill(tmp_path, "child", "delete", "kept", *at).stdout == "kept is deleted\n"
    assert states() == {}
    refused = gristmill(tmp_path, "child", "delete", "nobody/kept", *at)
    assert "the tree has no supervisor at 'root/nobody'" in refused.stderr
