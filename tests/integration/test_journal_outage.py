"""A disk that takes nothing for a while: the worker says so once, and goes on when it can."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from gristmill import Node
from support.actors import Ledger, Note, Notes
from support.processes import worker_pids
from support.waiting import eventually

SAID = "nothing leaves this worker until it can be written"


def test_a_journal_that_can_not_be_written_is_said_once_and_tried_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = ""

    def seen() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return SAID in said

    with Node(workers=1, journal=tmp_path) as node:
        ledger = node.spawn(Ledger, name="ledger")
        assert ledger.ask(Notes()) == []
        (pid,) = worker_pids(node).values()
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        for number in range(3):
            ledger.tell(Note(number))
            reply = ledger.request(Notes())
            eventually(seen, "the worker says that it can't write")
        assert not reply.wait(0.3), "no reply leaves before what it tells of is safe"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        assert reply.result() == [0, 1, 2]
    seen()
    assert said.count(SAID) == 1, said
