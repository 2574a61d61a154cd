from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gristmill import ActorCrashed, ActorDied, Node, Ref
from support.actors import Add, Die, Fail, ForwardHold, Pid, Worker
from support.deaths import SayAndDie, Slow, SlowStart, Spin
from support.processes import kill, worker_pids
from support.waiting import eventually


def _death_of(ref: Ref[Slow], how: str, lines: int = 0) -> ActorDied:
    with pytest.raises(ActorDied) as caught:
        ref.ask(SayAndDie(lines, how), timeout=None)
    return caught.value


def test_an_asker_learns_who_died_of_what_and_what_becomes_of_it(node: Node) -> None:
    ref = node.spawn(Slow, name="pricer", placement="w1")
    pid = ref.ask(Pid())
    error = _death_of(ref, "kill", lines=2)
    death, fate = error.death, error.fate
    assert death is not None
    assert fate is not None
    assert (error.actor, error.incarnation) == ("pricer", 1)
    assert (death.worker, death.pid, death.signal, death.exit_code) == ("w1", pid, 9, None)
    assert (death.actor, death.message) == ("pricer", "SayAndDie")
    assert 0 <= death.seconds < 1
    assert death.output == ("[w1 pricer] ERROR app: line 0", "[w1 pricer] ERROR app: line 1")
    assert (fate.decision, fate.max_restarts, fate.within) == ("restarting", 1000, 1.0)
    assert fate.restarts >= 1
    text = str(error)
    for part in ("killed by SIGKILL", f"pid {pid}", "SayAndDie of pricer", "line 1", "restarting"):
        assert part in text
    assert ref.ask(Add(1, 1)) == 2
    assert _death_of(ref, "kill").incarnation == 2
    ref.stop()


def test_only_the_last_lines_are_kept(node: Node) -> None:
    ref = node.spawn(Slow, name="chatty", placement="w1")
    death = _death_of(ref, "kill", lines=500).death
    assert death is not None
    assert death.output == tuple(f"[w1 chatty] ERROR app: line {n}" for n in range(490, 500))
    ref.stop()


def test_a_crash_in_c_shows_the_stack_of_the_users_code(node: Node) -> None:
    ref = node.spawn(Slow, placement="w1")
    death = _death_of(ref, "segv").death
    assert death is not None
    assert death.signal == signal.SIGSEGV
    assert "in _die" in death.stack[0]
    assert "in say_and_die" in death.stack[-1]
    ref.stop()


def test_an_exit_code_is_told(node: Node) -> None:
    ref = node.spawn(Slow, placement="w1")
    death = _death_of(ref, "exit 7").death
    assert death is not None
    assert (death.exit_code, death.signal, death.out_of_memory) == (7, None, "no")
    ref.stop()


def test_a_sibling_learns_whose_handler_took_the_worker_along(node: Node) -> None:
    guilty = node.spawn(Slow, name="guilty", placement="w1")
    sibling = node.spawn(Slow, name="sibling", placement="w1")
    with ThreadPoolExecutor(2) as threads:
        held = threads.submit(guilty.ask, Spin(20), timeout=None)
        eventually(lambda: _in_hand(node) == "Spin", "it computes")
        waiting = threads.submit(sibling.ask, Add(1, 1), timeout=None)
        kill(worker_pids(node)["w1"])
        errors = [call.exception(5) for call in (held, waiting)]
    for error, name in zip(errors, ("guilty", "sibling"), strict=True):
        assert isinstance(error, ActorDied)
        assert error.death is not None
        assert (error.actor, error.death.actor, error.death.message) == (name, "guilty", "Spin")
    guilty.stop()
    sibling.stop()


def _in_hand(node: Node) -> str:
    return next(w.message for w in node.activity() if w.worker == "w1")


def test_an_idle_worker_had_nothing_in_hand(tmp_path: Path) -> None:
    with Node(workers=1) as node:
        ref = node.spawn(Worker, name="idle")
        ref.ask(Add(1, 1))
        kill(worker_pids(node)["w1"])
        exit_of = lambda: node.status().workers[0].last_exit  # noqa: E731 - asked again and again
        assert eventually(exit_of, "it is known") == "killed by SIGKILL"
        with pytest.raises(ActorDied, match=r"was idle|had Die"):
            ref.ask(Die("kill"))


def test_an_actor_that_asks_learns_the_same(node: Node) -> None:
    callee = node.spawn(Worker, name="callee", placement="w1")
    caller = node.spawn(Worker, placement="w2")
    told = caller.ask(ForwardHold(callee, "kill"), timeout=None)
    assert "had Die of callee in hand" in told
    assert "callee (incarnation 1): restarting" in told
    callee.stop()
    caller.stop()


def test_a_death_in_a_constructor_is_told_as_one(capfd: pytest.CaptureFixture[str]) -> None:
    with Node(workers=1) as node:
        with pytest.raises(Exception, match="SIGSEGV"):
            node.spawn(SlowStart, name="dies", placement="w1", restart="temporary")
        eventually(lambda: "had the start of dies in hand" in capfd.readouterr().err, "it is told")


def test_a_crashed_actor_tells_where(node: Node) -> None:
    ref = node.spawn(Worker, name="crasher", placement="w1")
    pid = ref.ask(Pid())
    with pytest.raises(ActorCrashed) as caught:
        ref.ask(Fail("no"))
    site = caught.value.site
    assert site is not None
    assert (site.actor, site.worker, site.pid, site.message) == ("crasher", "w1", pid, "Fail")
    assert site.incarnation == 1
    assert os.getpid() != pid
    ref.stop()


def test_a_death_of_many_is_told_in_few_lines(capfd: pytest.CaptureFixture[str]) -> None:
    with Node(workers=1) as node:
        many = node.spawn_many(Worker, [()] * 200, names=[f"cell-{n}" for n in range(200)])
        with pytest.raises(ActorDied) as died:
            many[0].ask(Die("kill"), timeout=None)
        assert died.value.death is not None
        (fate,) = died.value.death.fates
        assert len(fate.actors) == 200
        assert many[-1].ask(Add(1, 1)) == 2
    told = capfd.readouterr().err
    assert told.count("restarting (1 of 3 restarts in 5 s) [incarnation 1]") == 5
    assert "and 195 more, of the same cause" in told


def test_the_supervisor_says_where_a_handler_raised(capfd: pytest.CaptureFixture[str]) -> None:
    with Node(workers=1) as node:
        ref = node.spawn(Worker, name="crasher")
        pid = ref.ask(Pid())
        with pytest.raises(ActorCrashed):
            ref.ask(Fail("no"))
        assert ref.ask(Add(1, 1)) == 2
    assert f"[incarnation 1, worker w1, pid {pid}]" in capfd.readouterr().err
