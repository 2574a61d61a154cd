"""Arrays in messages when workers die: what is lost, what is not, and what is given back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gristmill import ActorDied, Durable, Node, Ref
from gristmill.errors import ActorError
from gristmill.node.client.post import ClientPost
from gristmill.ref import AnyRef
from support.actors import read_lines
from support.array_actors import (
    Album,
    Artist,
    Frame,
    Keep,
    Kept,
    Lent,
    Make,
    PassOn,
    Show,
    Sum,
    SumOnce,
)
from support.processes import all_delivered, kill, worker_pids
from support.traces import segments
from support.transports import transport  # noqa: F401 - a fixture, used by all tests
from support.waiting import eventually

SIZE = 100_000


@pytest.fixture
def artists(node: Node) -> Iterator[tuple[Ref[Artist], Ref[Artist]]]:
    near, far = (node.spawn(Artist, placement=place) for place in ("w1", "w2"))
    yield near, far
    near.stop()
    far.stop()


def restarted(node: Node, worker: str, ref: AnyRef) -> None:
    """Kill a worker and wait until an actor of it answers again."""
    kill(worker_pids(node)[worker])

    def answers() -> bool:
        with contextlib.suppress(ActorError):
            return bool(ref.ask(Kept()) == [])
        return False

    eventually(answers, "it answers again")


def pool_of(ref: Ref[Any]) -> Any:
    assert isinstance(ref._post, ClientPost)
    return ref._post.arrays.pool


def made_by(process: int, incarnation: int) -> list[str]:
    """Give the segments of one incarnation of a process."""
    names = (path.name for path in segments())
    return [name for name in names if name.startswith(f"{process}-{incarnation}-")]


def test_arrays_of_a_killed_worker_stay_valid_and_can_be_passed_on(
    node: Node, artists: tuple[Ref[Artist], Ref[Artist]]
) -> None:
    near, far = artists
    numbers = near.ask(Make(SIZE, 3.0))
    dead = eventually(lambda: made_by(1, 1), "the worker has made it")
    restarted(node, "w1", near)
    assert (numbers == 3.0).all()
    assert far.ask(PassOn(numbers, near)) == 1.5 * SIZE
    far.tell(Keep(numbers))
    assert far.ask(Kept()) == [3.0]
    eventually(lambda: not set(dead) & set(made_by(1, 1)), "its segments are removed")
    assert (numbers == 3.0).all()
    assert near.ask(Sum(numbers)) == 3.0 * SIZE


def test_what_a_killed_worker_held_is_given_back(
    node: Node, artists: tuple[Ref[Artist], Ref[Artist]]
) -> None:
    near, far = artists
    for value in range(5):
        far.tell(Keep(np.full(SIZE, float(value))))
        near.ask(PassOn(np.ones(SIZE), far))
    assert pool_of(far).lent >= 5
    restarted(node, "w2", far)
    assert far.ask(Kept()) == []

    def nothing_lent() -> bool:
        return not near.ask(Lent()) and not far.ask(Lent()) and not pool_of(far).lent

    eventually(nothing_lent, "nothing is lent")
    assert far.ask(Sum(np.ones(SIZE))) == SIZE


def test_an_idempotent_request_is_sent_again_with_its_arrays(
    node: Node, artists: tuple[Ref[Artist], Ref[Artist]], tmp_path: Path
) -> None:
    near, _ = artists
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    with ThreadPoolExecutor(1) as threads:
        request = SumOnce(np.ones(SIZE), str(gate), str(begun))
        answer = threads.submit(near.ask, request, timeout=20.0)
        eventually(lambda: begun.exists() and read_lines(begun), "it has begun")
        kill(worker_pids(node)["w1"])
        eventually(lambda: len(read_lines(begun)) == 2, "it has begun again")
        gate.touch()
        assert answer.result(10) == SIZE


def test_an_ask_in_flight_fails_at_once_and_lets_go_of_its_arrays(
    node: Node, artists: tuple[Ref[Artist], Ref[Artist]], tmp_path: Path
) -> None:
    near, _ = artists
    begun = tmp_path / "begun"
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(
            near.ask, SumOnce(np.ones(SIZE), str(tmp_path / "never"), str(begun)), timeout=20.0
        )
        for deaths in (1, 2, 3):  # it is sent again twice
            eventually(lambda: len(read_lines(begun)) == deaths, "it has begun")  # noqa: B023 - now
            kill(worker_pids(node)["w1"])
        with pytest.raises(ActorDied):
            answer.result(5)
    eventually(lambda: not pool_of(near).lent, "nothing is lent")


def test_events_whose_arrays_have_gone_are_counted_as_dropped(
    node: Node, artists: tuple[Ref[Artist], Ref[Artist]]
) -> None:
    near, _ = artists
    size = 8 * 3 * SIZE
    with node.subscribe("frames", Frame) as frames:
        near.tell(Show(3 * SIZE, [1.0, 2.0]))
        made = eventually(
            lambda: len(new := [path for path in segments() if holds(path, size)]) == 2 and new,
            "both are made",
        )
        for path in made or []:  # as when their maker has been dead for a while
            path.unlink()
        assert near.ask(Kept()) == []  # the answer comes behind the events
        assert frames.get(0) is None
        assert frames.dropped == 2


def holds(path: Path, size: int) -> bool:
    """Tell whether a segment is of the class for so many bytes."""
    return path.is_file() and size <= path.stat().st_size < 1.25 * size


def test_journals_keep_copies(tmp_path: Path) -> None:
    with Node(workers=2, journal=tmp_path / "journal", max_restarts=10) as node:
        album = node.spawn(Album, name="album", facets=[Durable()], placement="w1")
        for value in range(5):
            numbers = np.full(SIZE, float(value))
            album.tell(Keep(numbers), delivery="at_least_once")
            numbers.fill(-1.0)
            if value == 2:
                kill(worker_pids(node)["w1"])
        all_delivered(album)
        assert album.ask(Kept()) == [0.0, 1.0, 2.0, 3.0, 4.0]
        kill(worker_pids(node)["w1"])
        expected = [0.0, 1.0, 2.0, 3.0, 4.0]

        def replayed() -> bool:
            with contextlib.suppress(ActorError):
                return bool(album.ask(Kept()) == expected)
            return False

        eventually(replayed, "they are replayed")
