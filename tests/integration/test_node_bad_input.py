"""What people get wrong, and the one message that names the culprit and the remedy."""

from __future__ import annotations

import pytest

from gristmill import Actor, Command, Node, Request, handles
from gristmill.errors import (
    ActorTypeError,
    GristmillError,
    NodeStartError,
    ProtocolError,
    UsageError,
)
from support.actors import Add, Worker


@pytest.mark.parametrize("workers", [0, -1, 2.5, True, "many"])
def test_workers_that_make_no_sense(workers: int) -> None:
    with pytest.raises(UsageError, match="whole number from 1 on, or 'auto'"):
        Node(workers=workers)


def test_a_node_id_that_is_taken() -> None:
    with Node(workers=1, node_id="taken"):  # noqa: SIM117 - the second one fails in the block
        with pytest.raises(NodeStartError, match=r"'taken' runs already.*gristmill stop"):
            Node(workers=1, node_id="taken").start()
    with Node(workers=1, node_id="taken"):
        pass


def test_a_node_that_does_not_run() -> None:
    node = Node(workers=1)
    with pytest.raises(UsageError, match="does not run"):
        node.spawn(Worker)
    with node:
        ref = node.spawn(Worker)
        with pytest.raises(UsageError, match="has been started"):
            node.start()
    with pytest.raises(UsageError, match="does not run"):
        node.spawn(Worker)
    with pytest.raises(Exception, match=r"(stopped|closed)"):
        ref.ask(Add(1, 1))


def test_actors_that_no_worker_could_import(node: Node) -> None:
    class Inner(Actor):
        pass

    with pytest.raises(ActorTypeError, match="inside a function"):
        node.spawn(Inner)
    with pytest.raises(ActorTypeError, match="no actor class"):
        node.spawn(int)  # type: ignore[type-var]  # the point of it


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"placement": "w99"}, "'w99' is unknown.*w1, w2"),
        ({"restart": "sometimes"}, "permanent, transient, temporary"),
        ({"on_restart": "forget"}, "'keep' or 'drop'"),
    ],
)
def test_spawn_options_that_make_no_sense(node: Node, options: dict[str, str], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        node.spawn(Worker, **options)  # type: ignore[arg-type]  # the point of it


def test_protocols_are_checked_when_the_class_is_created() -> None:
    with pytest.raises(ProtocolError, match="two handlers for Add: first and second"):

        class Twice(Actor):
            @handles
            def first(self, msg: Add) -> int:
                return 1

            @handles
            def second(self, msg: Add) -> int:
                return 2

    with pytest.raises(ProtocolError, match="answered by int"):

        class Liar(Actor):
            @handles
            def add(self, msg: Add) -> str:
                return ""

    with pytest.raises(UsageError, match=r"Request\[ReplyType\]"):

        class Vague(Request):  # type: ignore[type-arg]  # the point of it
            pass

    assert issubclass(Command, object)


@pytest.mark.parametrize(
    ("options", "match"), [({"shutdown": -1}, "shutdown is -1"), ({"supervisor": "x"}, "'root/x'")]
)
def test_specs_that_make_no_sense(node: Node, options: dict[str, str], match: str) -> None:
    with pytest.raises(GristmillError, match=match):
        node.spawn(Worker, **options)  # type: ignore[arg-type]  # the point of it
