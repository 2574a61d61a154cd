"""The fixtures of the pytest plugin: in tests of a test file of its own, in a pytest of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

Run = Callable[..., pytest.RunResult]

HEAD = """
import pytest
from gristmill import ActorDied
from gristmill.testing import Faults
from support.actors import Add, Note, Noted, Pump, Worker
from support.waiting import eventually

"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give a function that runs tests under the plugin, whether it is installed or not."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    tests = Path(__file__).parents[1]
    roots = (tests, tests.parent / "runtime", tests.parent / "workers")
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, roots)))
    monkeypatch.setenv("PYTHONHASHSEED", "0")

    def invoke(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(HEAD + source)
        return pytester.runpytest_subprocess(
            "-p", "gristmill.testing.plugin", "--strict-markers", *arguments
        )

    return invoke


def test_a_failure_says_how_to_replay_it_and_does(run: Run) -> None:
    source = """
@pytest.mark.simulation(seeds=30, workers=3)
def test_unlucky(simulation):
    refs = [simulation.spawn(Worker, placement=w) for w in ("w1", "w2")]
    begun = simulation.now()
    for ref in refs:
        ref.tell(Note(1))
    assert refs[0].ask(Add(1, 1)) == 2
    assert simulation.now() - begun < 0.01, f"took {simulation.now() - begun}"
"""
    result = run(source)
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] > 0
    assert outcomes["failed"] > 0
    text = result.stdout.str()
    seed = re.search(r"replay it with: pytest --simulation-seed=(\d+) --simulation-seeds=1", text)
    assert seed is not None
    assert "the end of its trace:" in text
    assert "(with PYTHONHASHSEED=0)" in text
    took = re.search(r"took ([0-9.]+)", text)
    again = run(source, f"--simulation-seed={seed[1]}", "--simulation-seeds=1")
    again.assert_outcomes(failed=1)
    assert took is not None
    assert took[0] in again.stdout.str()


def test_seeds_come_from_the_command_line(run: Run) -> None:
    source = "def test_it(simulation_seed):\n    assert simulation_seed >= 7\n"
    run(source, "--simulation-seed=7", "--simulation-seeds=3").assert_outcomes(passed=3)
    run(source, "--simulation-seed=random").assert_outcomes(passed=1)
    wrong = run(source, "--simulation-seed=often")
    wrong.stderr.fnmatch_lines(["*--simulation-seed is 'often'; give a whole number*"])


def test_probes_record_on_simulated_and_on_real_nodes(run: Run) -> None:
    source = """
def check(node, probe):
    seen = probe(node, Note, Noted)
    worker = node.spawn(Worker)
    worker.tell(Pump(seen.ref, 3))
    assert [seen.next().number for _ in range(3)] == [1, 2, 3]
    seen.ref.tell(Noted(4))
    assert seen.wait_for(lambda messages: len(messages) == 4)[-1] == Noted(4)
    with pytest.raises(AssertionError, match="the probe got:\\nNote"):
        seen.wait_for(lambda messages: len(messages) == 5, timeout=0.2)

def test_simulated(simulation, probe):
    check(simulation, probe)

@pytest.mark.node(workers=1)
def test_real(node, probe):
    assert node.workers == 1
    check(node, probe)
"""
    run(source).assert_outcomes(passed=2)


def test_workers_of_a_real_node_are_killed_and_stopped(run: Run) -> None:
    source = """
def test_faults(node, fault_injector):
    ref = node.spawn(Worker, placement="w1")
    assert ref.ask(Add(1, 1)) == 2
    fault_injector.kill("w1")
    eventually(lambda: node.status().worker_restarts == 1, "w1 comes back")
    fault_injector.delay("w1", 0.3)
    assert ref.ask(Add(1, 1)) == 2
    fault_injector.kill("w2", after=0.05)
    eventually(lambda: node.status().worker_restarts == 2, "w2 comes back")
    fault_injector.stop("w1")
    with pytest.raises(Exception, match="no worker is named 'w9'"):
        fault_injector.kill("w9")

@pytest.mark.simulation(faults=Faults(kill_every=0.3, until=3.0), max_restarts=100)
def test_simulated_faults(simulation):
    ref = simulation.spawn(Worker)
    simulation.advance(4.0)
    assert ref.ask(Add(1, 1)) == 2
    assert simulation.status().worker_restarts > 2
"""
    run(source).assert_outcomes(passed=2)
