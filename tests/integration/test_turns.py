"""A busy worker sends what its actors have said, while it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill import Node
from support.bursts import Notes, Peer
from support.turns import ComputeUntil, Say, Spin, Spinner
from support.waiting import eventually


@pytest.mark.parametrize("milliseconds", [0.1, 1.0, 3.0])
def test_what_was_said_leaves_before_all_is_done(tmp_path: Path, milliseconds: float) -> None:
    gate = tmp_path / "gate"
    with Node(workers=2, journal=tmp_path / "journal") as node:
        peer = node.spawn(Peer, name="peer", placement="w2")
        speaker, busy, last = (
            node.spawn(Spinner, args=(peer,), name=name, placement="w1")
            for name in ("speaker", "busy", "last")
        )
        with node.together():  # so that one turn has all of it
            speaker.tell(Say(1), delivery="at_least_once")
            for _ in range(int(30 / milliseconds)):
                busy.tell(Spin(milliseconds), delivery="at_least_once")
            last.tell(ComputeUntil(str(gate)), delivery="at_least_once")
        try:
            eventually(lambda: peer.ask(Notes()) == [1], "what the speaker said")
        finally:
            gate.touch()
