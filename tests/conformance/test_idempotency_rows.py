# ruff: noqa: N802 - named by the conformance row's id
"""Group 16 in a running node: duplicates that race."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from gristmill import Node
from support import tills as t


def test_ID04_of_duplicates_that_race_from_four_workers_one_runs() -> None:
    with Node(workers=4) as node, ThreadPoolExecutor(4) as threads:
        till = node.spawn(t.Till, placement="w1")
        racers = [node.spawn(t.Racer, placement=f"w{n}") for n in range(1, 5)]
        asked = [threads.submit(one.ask, t.Race(till, "k", 5), timeout=10) for one in racers]
        answers = [answer for future in asked for answer in future.result(10)]
        assert len(answers) == 20
        assert set(answers) <= {"paid 1", "in progress"}
        assert "paid 1" in answers
        assert till.ask(t.Pay("k")) == "paid 1"
        assert node.state_of(till)["paid"] == 1
