"""A chain of asks that comes back to an actor that waits is named, and not waited out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill import ActorCrashed, Node, Ref
from support.chains import Begin, BeginAt, Link, Outcome, Through
from support.waiting import eventually

SOON = 3.0
"""Seconds that are less than any timeout in the chain."""


@pytest.fixture(scope="module", params=["processes", "in_process"])
def either(
    request: pytest.FixtureRequest, own_temporary_directory: object, nothing_is_left: None
) -> Iterator[Node]:
    """Give a node of each kind."""
    in_process = request.param == "in_process"
    with Node(workers=2, max_restarts=1000, within=1.0, in_process=in_process) as started:
        yield started


@pytest.fixture
def links(either: Node) -> Iterator[list[Ref[Link]]]:
    refs = [either.spawn(Link, name=f"link-{n}", placement=f"w{n % 2 + 1}") for n in range(3)]
    yield refs
    for ref in refs:
        ref.stop()


def test_a_cycle_across_workers_is_named_at_once(links: list[Ref[Link]]) -> None:
    one, two, three = links
    began = time.monotonic()
    with pytest.raises(ActorCrashed) as caught:
        one.ask(Through([two, three, one]), timeout=10.0)
    assert time.monotonic() - began < SOON
    assert "AskCycle: the asks link-0 -> link-1 -> link-2 -> link-0 come back" in str(caught.value)


def test_a_cycle_of_two_below_a_third_is_named(links: list[Ref[Link]]) -> None:
    one, two, three = links
    with pytest.raises(ActorCrashed, match="the asks link-1 -> link-2 -> link-1 come back"):
        one.ask(Through([two, three, two]), timeout=10.0)


def test_a_cycle_that_a_command_began_is_named(links: list[Ref[Link]]) -> None:
    one, two, _ = links
    one.tell(Begin([two, one]))
    outcome = eventually(lambda: one.ask(Outcome()), "an outcome", within=SOON)
    assert "ActorCrashed" in outcome
    assert "AskCycle: the asks link-0 -> link-1 -> link-0 come back" in outcome


def test_a_chain_may_pass_two_of_a_kind_and_end(links: list[Ref[Link]]) -> None:
    one, two, three = links
    assert one.ask(Through([two, three]), timeout=10.0) == "the end"
    assert three.ask(Through([two, one]), timeout=10.0) == "the end"


def test_who_waits_for_an_earlier_request_is_found_too(links: list[Ref[Link]]) -> None:
    one, two, _ = links
    began = time.monotonic()
    with pytest.raises(ActorCrashed, match="AskCycle: the asks link-0 -> link-1 -> link-0 come"):
        one.ask(Through([two, one], how="request"), timeout=10.0)
    assert time.monotonic() - began < SOON


def test_a_tell_breaks_a_chain(links: list[Ref[Link]]) -> None:
    one, two, _ = links
    assert one.ask(Through([two, one], how="tell"), timeout=10.0) == "told"


def test_an_answer_given_before_breaks_a_chain(links: list[Ref[Link]]) -> None:
    one, two, _ = links
    assert one.ask(Through([two], how="defer"), timeout=10.0) == "answered before"
    assert one.ask(Through([two]), timeout=10.0) == "the end"


@pytest.mark.parametrize("count", [2, 3])
def test_those_that_ask_each_other_at_the_same_time_are_found(
    either: Node, links: list[Ref[Link]], tmp_path: Path, count: int
) -> None:
    ring = links[:count]
    gates = [tmp_path / str(number) for number in range(count)]
    for number, link in enumerate(ring):
        link.tell(BeginAt(str(gates[number]), ring[(number + 1) % count]))
    for gate in gates:
        eventually(lambda g=gate: either.status() and Path(f"{g}.held").exists(), "it is held")
    for gate in gates:
        gate.touch()
    outcomes = [ref.ask(Outcome(), timeout=SOON) for ref in ring]
    assert any("AskCycle: the asks" in outcome for outcome in outcomes)
    names = [f"link-{n}" for n in range(count)] * 2
    circle = [" -> ".join(names[n : n + count]) for n in range(count)]
    assert any(path in outcome for path in circle for outcome in outcomes)
