"""Circuit breakers that outlive incarnations and workers, and that pools share."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from gristmill import Node
from gristmill.cli.nodes import attached
from gristmill.cli.tree import as_data, draw
from gristmill.errors import ActorError
from gristmill.facets import BREAKERS, BreakerMoved, CircuitState
from gristmill.node.building.node_builder import NodeBuilder
from gristmill.node.status import NodeTree
from gristmill.testing import Simulation
from gristmill.transport.control import GetTree
from support.breaking import BANK, Call, Die, Teller, Where, facet
from support.waiting import eventually


@pytest.fixture(params=["processes", "in process"])
def either(request: pytest.FixtureRequest, node: Node) -> Iterator[Node]:
    """Give a node that runs in processes, and one that does not."""
    if request.param == "processes":
        yield node
        return
    with Node(workers=1, in_process=True) as started:
        yield started


def trip(teller: Any) -> None:
    assert [teller.ask(Call(works=False)) for _ in range(3)] == ["failed"] * 3
    assert teller.ask(Call()) == "open"


def crash(teller: Any, *, worker_too: bool = False) -> None:
    with pytest.raises(ActorError):
        teller.ask(Die(worker_too))


def states(node: Node, service: str) -> list[CircuitState]:
    return [each.state for each in node.status().breakers if each.service == service]


def test_a_crash_does_not_close_an_open_breaker(either: Node) -> None:
    teller = either.spawn(Teller, name="crashing", facets=[facet(600.0)])
    trip(teller)
    crash(teller)
    assert teller.ask(Call()) == "open"
    assert states(either, "crashing") == [CircuitState.OPEN]
    teller.stop()
    assert states(either, "crashing") == []
    again = either.spawn(Teller, name="crashing", facets=[facet(600.0)])
    assert again.ask(Call()) == "done"


def test_a_crash_does_not_forget_the_failures_before(node: Node) -> None:
    teller = node.spawn(Teller, name="failing", facets=[facet(600.0)])
    for _ in range(2):
        teller.ask(Call(works=False))
    crash(teller)
    assert teller.ask(Call(works=False)) == "failed"
    assert teller.ask(Call()) == "open"


def test_the_death_of_the_worker_does_not_close_an_open_breaker(node: Node) -> None:
    teller = node.spawn(Teller, name="dying", facets=[facet(600.0)])
    trip(teller)
    eventually(lambda: states(node, "dying") == [CircuitState.OPEN], "the node has heard of it")
    crash(teller, worker_too=True)
    assert teller.ask(Call()) == "open"


def test_an_actor_without_a_name_has_breakers_of_its_own(node: Node) -> None:
    first, second = (node.spawn(Teller, facets=[facet(600.0)]) for _ in range(2))
    trip(first)
    assert second.ask(Call()) == "done"


def test_a_pool_shares_its_breaker_and_everybody_hears_of_it_once(node: Node) -> None:
    events = node.subscribe(BREAKERS, BreakerMoved)
    node.pool(Teller, size=2, name="tellers", facets=[facet(0.3)])
    members = [node.lookup(f"tellers-{number}") for number in (1, 2)]
    assert {member.ask(Where()) for member in members} == {"w1", "w2"}
    here, there = members
    assert [here.ask(Call(works=False)) for _ in range(3)] == ["failed"] * 3
    eventually(lambda: there.ask(Call()) == "open", "the other worker follows")
    assert states(node, "tellers") == [CircuitState.OPEN]  # the other worker knows it from there
    eventually(lambda: there.ask(Call()) == "done", "its wait is over, and its probe closes it")
    eventually(lambda: here.ask(Call()) == "done", "the first worker follows")
    eventually(lambda: states(node, "tellers") == [CircuitState.CLOSED], "all agree")
    seen: list[BreakerMoved] = []
    eventually(lambda: seen.extend(events.drain()) or len(seen) >= 3, "the events come")
    moves = [(each.source, each.target) for each in seen]
    assert moves == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]
    assert {(each.service, each.breaker) for each in seen} == {("tellers", BANK)}
    assert seen[0].reason == "3 failures in a row"


def test_the_tree_shows_where_breakers_stand(node: Node) -> None:
    teller = node.spawn(Teller, name="shown", facets=[facet(600.0)])
    trip(teller)
    with attached(node.node_id) as (connection, _):
        tree: NodeTree = connection.call(GetTree(), NodeTree)
    drawn = io.StringIO()
    Console(width=200, file=drawn).print(draw(tree))
    (line,) = [each for each in drawn.getvalue().splitlines() if "shown" in each]
    assert "bank open for 0 s: 3 failures in a row" in line
    (member,) = [each for each in as_data(tree)["children"] if each["id"] == "shown"]
    (told,) = member["breakers"]
    assert (told["name"], told["state"]) == (BANK, "open")


def test_a_simulation_shares_breakers_too() -> None:
    with Simulation.of(NodeBuilder().workers(2), 1) as simulation:
        simulation.pool(Teller, size=2, name="tellers", facets=[facet(30.0)])
        here, there = (simulation.lookup(f"tellers-{number}") for number in (1, 2))
        trip(here)
        assert there.ask(Call()) == "open"
        simulation.advance(30.0)
        assert there.ask(Call()) == "done"
        simulation.advance(0.1)  # the supervisor process hears of it after the reply
        assert states(simulation, "tellers") == [CircuitState.CLOSED]
