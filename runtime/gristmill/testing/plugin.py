"""The pytest plugin: ``@pytest.mark.granularity(min=10)``, and fixtures for tests of actors.

``simulation`` is a simulated node, ``node`` a real one, ``probe`` makes actors that record what
they get, ``fault_injector`` kills and stops the workers of ``node``. A test that uses
``simulation`` or ``simulation_seed`` runs once for each seed, and a failure says how to replay it.

A test with the marker ``granularity`` fails if the nodes that it used did not reach the ratio:
those that it stopped, and those that it got from fixtures, of which only the time of the test
counts.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from gristmill.messages import Message
    from gristmill.node.node import Node
    from gristmill.testing.injector import FaultInjector
    from gristmill.testing.probe import Probe
    from gristmill.testing.simulation import Simulation

T = TypeVar("T")

_GRANULARITY = (
    "granularity(min=10, types={}, strict=False, min_messages=30, allow_contended=False): "
    "fail unless the nodes of the test reach this ratio of compute to coordination; types gives "
    "least ratios by name, as {'Pricer.GetQuote': 100}."
)
_SIMULATION = (
    "simulation(seeds=1, **options): run the test under so many seeds; the options are those of "
    "gristmill.testing.Simulation, for the fixture of that name."
)
_NODE = "node(**options): the options of gristmill.Node, for the fixture of that name."
_TRACE_LINES = 40


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of simulations."""
    group = parser.getgroup("gristmill")
    group.addoption(
        "--simulation-seed",
        default="0",
        metavar="SEED",
        help="the first seed of simulations: a number, or 'random' (default: 0)",
    )
    group.addoption(
        "--simulation-seeds",
        type=int,
        default=None,
        metavar="N",
        help="under how many seeds each simulated test runs (default: what its marker says, or 1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and settle on the first seed."""
    for marker in (_GRANULARITY, _SIMULATION, _NODE):
        config.addinivalue_line("markers", marker)
    given = config.getoption("--simulation-seed")
    try:
        first = random.randrange(2**32) if given == "random" else int(given)
    except ValueError:
        raise pytest.UsageError(
            f"--simulation-seed is {given!r}; give a whole number, or 'random'"
        ) from None
    config.stash[_FIRST_SEED] = first


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a simulated test once for each seed."""
    if "simulation_seed" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("simulation")
    wanted = metafunc.config.getoption("--simulation-seeds")
    count = wanted or (marker.kwargs.get("seeds", 1) if marker is not None else 1)
    first = metafunc.config.stash[_FIRST_SEED]
    seeds = range(first, first + count)
    ids = [f"seed={seed}" for seed in seeds]
    metafunc.parametrize("simulation_seed", seeds, ids=ids, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, T, T]:
    """Watch the nodes of a marked test, and judge them if it has passed."""
    try:
        if item.get_closest_marker("granularity") is None:
            return (yield)
        return (yield from _judged(item))
    except Exception:
        _tell_how_to_replay(item)
        raise


def _judged(item: pytest.Item) -> Generator[None, T, T]:
    from gristmill.metrics import render  # noqa: PLC0415 - only marked tests need it
    from gristmill.metrics.gate import Outcome, check  # noqa: PLC0415 - only marked tests need it
    from gristmill.node.node import Node  # noqa: PLC0415 - only marked tests need it
    from gristmill.testing import granularity  # noqa: PLC0415 - only marked tests need it

    marker = item.get_closest_marker("granularity")
    assert marker is not None
    fixtures = getattr(item, "funcargs", {}).values()
    limits = granularity.limits_of(marker.args, marker.kwargs)
    with granularity.watched(v for v in fixtures if isinstance(v, Node)) as reports:
        result = yield
    whole = granularity.whole_of(reports)
    checked = check([whole], limits)
    if checked.outcome is not Outcome.PASSED:
        item.add_report_section("call", "granularity", render(whole))
        pytest.fail(checked.verdict, pytrace=False)
    return result


def _tell_how_to_replay(item: pytest.Item) -> None:
    fixtures = getattr(item, "funcargs", {})
    seed = fixtures.get("simulation_seed")
    if seed is None:
        return
    test = item.nodeid.partition("[")[0]
    hashes = os.environ.get("PYTHONHASHSEED", "random")
    lines = [f"replay it with: pytest --simulation-seed={seed} --simulation-seeds=1 '{test}'"]
    if hashes == "random":
        lines.append(
            "(PYTHONHASHSEED is not fixed: actors that iterate over sets of strings may differ)"
        )
    else:
        lines.append(f"(with PYTHONHASHSEED={hashes})")
    simulation = fixtures.get("simulation")
    if simulation is not None:
        lines += ["the end of its trace:", *simulation.trace[-_TRACE_LINES:]]
    item.add_report_section("call", "simulation", "\n".join(lines))


@pytest.fixture
def simulation_seed(request: pytest.FixtureRequest) -> int:
    """Give the seed of this run of the test."""
    return int(request.param)


@pytest.fixture
def simulation(request: pytest.FixtureRequest, simulation_seed: int) -> Iterator[Simulation]:
    """Give a simulated node, made with the options of the marker ``simulation``."""
    from gristmill.testing.simulation import Simulation  # noqa: PLC0415 - not for every run

    marker = request.node.get_closest_marker("simulation")
    options = dict(marker.kwargs) if marker is not None else {}
    options.pop("seeds", None)
    with Simulation(simulation_seed, **options) as started:
        yield started


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """Give a real node, of two workers unless the marker ``node`` says otherwise."""
    from gristmill.node.node import Node  # noqa: PLC0415 - not for every run

    marker = request.node.get_closest_marker("node")
    options: dict[str, Any] = {"workers": 2} | (marker.kwargs if marker is not None else {})
    with Node(**options) as started:
        yield started


@pytest.fixture
def probe() -> Callable[..., Probe]:
    """Give what makes probes: ``probe(node, Type, ...)`` on a real or simulated node."""
    from gristmill.testing.probe import Probe  # noqa: PLC0415 - not for every run

    def make(on: Node, *kinds: type[Message], name: str = "") -> Probe:
        return Probe(on, *kinds, name=name)

    return make


@pytest.fixture
def fault_injector(node: Node) -> Iterator[FaultInjector]:
    """Give what kills and stops the workers of the fixture ``node``."""
    from gristmill.testing.injector import FaultInjector  # noqa: PLC0415 - not for every run

    with FaultInjector(node) as injector:
        yield injector


_FIRST_SEED = pytest.StashKey[int]()
