"""The marker ``granularity``: tests of a test file of its own, in a pytest of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

Run = Callable[[str], pytest.RunResult]

HEAD = """
import pytest
from gristmill import Node
from support.computing import Spin, Spinner

def spin(node, ns, count=60):
    assert len(list(node.pool(Spinner, 1).ask_many([Spin(ns)] * count))) == count

"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give a function that runs tests under the plugin, whether it is installed or not."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))

    def invoke(source: str) -> pytest.RunResult:
        pytester.makepyfile(HEAD + source)
        return pytester.runpytest_subprocess("-p", "gristmill.testing.plugin", "--strict-markers")

    return invoke


def test_coarse_work_passes_and_fine_work_fails_with_the_report(run: Run) -> None:
    result = run(
        """
@pytest.mark.granularity(min=1, types={"Spinner.Spin": 1}, allow_contended=True)
def test_coarse():
    with Node(workers=1, in_process=True) as node:
        spin(node, 2_000_000)

@pytest.mark.granularity(min=1e6, allow_contended=True)
def test_fine():
    with Node(workers=1, in_process=True) as node:
        spin(node, 500_000)
"""
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["BELOW: run * over 60 messages, needs 1,000,000x (minimum)"])
    result.stdout.fnmatch_lines(["*Captured granularity call*", "GRANULARITY*", "PER TYPE*"])


def test_worker_processes_are_asked_before_they_stop(run: Run) -> None:
    result = run(
        """
@pytest.mark.granularity(min=1e6, allow_contended=True)
def test_processes():
    with Node(workers=2) as node:
        spin(node, 500_000)
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["BELOW: run * over 60 messages*"])


def test_of_a_fixtures_node_only_the_time_of_the_test_counts(run: Run) -> None:
    result = run(
        """
@pytest.fixture(scope="module")
def node():
    with Node(workers=1, in_process=True) as node:
        yield node

@pytest.fixture
def work(node):
    return lambda count: spin(node, 5_000_000, count)

def test_before(work):
    work(50)

@pytest.mark.granularity(min=1e6, allow_contended=True)
def test_share(work):
    work(40)
"""
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["BELOW: run * over 40 messages*"])


def test_what_proves_nothing_fails(run: Run) -> None:
    result = run(
        """
@pytest.mark.granularity(min=0)
def test_few():
    with Node(workers=1, in_process=True) as node:
        spin(node, 1_000, count=3)

@pytest.mark.granularity
def test_no_node():
    pass

@pytest.mark.granularity(minimum=3)
def test_unknown_keyword():
    pass

@pytest.mark.granularity
def test_its_own_failure_comes_first():
    assert 1 == 2
"""
    )
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["UNTRUSTWORTHY:*only 3 messages (at least 30 are needed)*"])
    result.stdout.fnmatch_lines(["*found no node: stop one in the test*"])
    result.stdout.fnmatch_lines(["*does not take minimum; it takes the keywords min, types,*"])
    result.stdout.fnmatch_lines(["*assert 1 == 2*"])


def test_tests_without_the_marker_load_nothing(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.HEAD", "")
    result = run(
        """
import sys

def test_lazy():
    assert not [name for name in sys.modules if name.startswith(("gristmill.m", "gristmill.n"))]
"""
    )
    result.assert_outcomes(passed=1)
    markers = pytester.runpytest_subprocess("-p", "gristmill.testing.plugin", "--markers")
    markers.stdout.fnmatch_lines(["@pytest.mark.granularity(min=10, *"])
