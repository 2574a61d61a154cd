from __future__ import annotations

import pytest

from gristmill import Durable, Mailbox, Node, Strategy, SupervisorSpec
from gristmill.errors import ActorNotFoundError, AlreadyStartedError, StartFailedError, UsageError
from support.functions import Numbered, SlowStarter, Where
from support.processes import kill, next_pid, worker_pids


def test_all_have_started_in_order_on_all_workers(node: Node) -> None:
    refs = node.spawn_many(Numbered, [(n,) for n in range(100, 400)])
    answers = [ref.ask(Where()) for ref in refs]
    assert [number for number, _ in answers] == list(range(100, 400))
    pids = [pid for _, pid in answers]
    assert {pids.count(pid) for pid in pids} == {150}


def test_arguments_may_have_defaults_and_actors_names(node: Node) -> None:
    names = ["many-a", "many-b"]
    refs = node.spawn_many(Numbered, [(2,), (3, 10)], names=names, mailbox=Mailbox(7))
    assert [ref.name for ref in refs] == names
    assert node.lookup("many-b").ask(Where())[0] == 30
    assert node.lookup("many-b").address == refs[1].address


def test_an_async_start_is_waited_for(node: Node) -> None:
    refs = node.spawn_many(SlowStarter, [(n,) for n in range(20, 50)])
    assert [ref.ask(Where())[0] for ref in refs] == list(range(20, 50))


def test_if_one_can_not_start_none_does(node: Node) -> None:
    before = node.status().actors
    with pytest.raises(StartFailedError, match=r"actor 8 of 30: .* thirteen .*; the 29 that") as e:
        node.spawn_many(Numbered, [(n,) for n in range(6, 36)])
    assert e.value.error is not None
    assert e.value.error.type == "ValueError"
    assert node.status().actors == before


def test_a_taken_name_stops_all_of_them(node: Node) -> None:
    node.spawn(Numbered, args=(1,), name="taken")
    before = node.status().actors
    with pytest.raises(AlreadyStartedError, match="'taken' is taken"):
        node.spawn_many(Numbered, [(1,), (2,)], names=["free", "taken"])
    with pytest.raises(AlreadyStartedError, match="two of the children have the id 'twice'"):
        node.spawn_many(Numbered, [(1,), (2,)], names=["twice", "twice"])
    assert node.status().actors == before
    with pytest.raises(ActorNotFoundError):
        node.lookup("free")


def test_what_makes_no_sense_is_refused(node: Node) -> None:
    assert node.spawn_many(Numbered, []) == []
    with pytest.raises(UsageError, match="1 names for 2 actors"):
        node.spawn_many(Numbered, [(1,), (2,)], names=["one"])
    with pytest.raises(ActorNotFoundError):
        node.spawn_many(Numbered, [(1,)], supervisor="nobody")
    with pytest.raises(StartFailedError, match="is durable: give it a name"):
        node.spawn_many(Numbered, [(1,), (2,)], facets=[Durable()])


def test_a_dynamic_supervisor_holds_them_and_stops_them_at_once(node: Node) -> None:
    node.start_supervisor(SupervisorSpec("cells", Strategy.DYNAMIC))
    refs = node.spawn_many(Numbered, [(n,) for n in range(50, 250)], supervisor="cells")
    assert refs[-1].ask(Where())[0] == 249
    with pytest.raises(StartFailedError, match="actor 1 of 2"):
        node.spawn_many(Numbered, [(13,), (14,)], supervisor="cells")
    assert refs[0].ask(Where())[0] == 50


def test_they_come_back_when_their_worker_dies() -> None:
    with Node(workers=2, max_restarts=1000, within=1.0) as node:
        refs = node.spawn_many(Numbered, [(n,) for n in range(20, 220)])
        before = worker_pids(node)
        kill(before["w1"])
        next_pid(node, "w1", [before["w1"]])
        answers = [ref.ask(Where(), timeout=10) for ref in refs]
        assert [number for number, _ in answers] == list(range(20, 220))
        assert {pid for _, pid in answers} == set(worker_pids(node).values())


def test_in_process() -> None:
    with Node(workers=2, in_process=True) as node:
        refs = node.spawn_many(Numbered, [(n,) for n in range(20, 40)])
        assert [ref.ask(Where())[0] for ref in refs] == list(range(20, 40))
        with pytest.raises(StartFailedError, match=r"Numbered could not start: .* thirteen"):
            node.spawn_many(Numbered, [(13,)])
