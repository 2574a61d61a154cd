"""What a handler has told leaves when it says so, and not before it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill import Node, Reject
from support.flushing import Careful, Hasty, TellAndRefuse, TellAndWait, Touched, Toucher


def test_what_was_told_is_handled_while_the_handler_goes_on(node: Node, tmp_path: Path) -> None:
    toucher, hasty = node.spawn(Toucher, placement="w2"), node.spawn(Hasty, placement="w1")
    assert hasty.ask(TellAndWait(toucher, str(tmp_path / "touched")), timeout=30)


def test_a_durable_actor_still_tells_behind_its_commit(tmp_path: Path) -> None:
    with Node(workers=2, journal=tmp_path / "journal") as node:
        toucher = node.spawn(Toucher, placement="w2")
        careful = node.spawn(Careful, name="careful", placement="w1")
        with pytest.raises(Reject, match="after all"):
            careful.ask(TellAndRefuse(toucher, str(tmp_path / "touched")))
        assert toucher.ask(Touched()) == 0
