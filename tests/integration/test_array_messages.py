"""Arrays in messages: the same in worker processes and in one process."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gristmill import Actor, Mailbox, Node, Ref
from gristmill.config import Transport
from gristmill.errors import PayloadTooLargeError, UsageError
from gristmill.node.client.post import ClientPost
from gristmill.transport import codec as codec_module
from gristmill.transport.codec import MAX_BODY, Codec
from support.array_actors import (
    Artist,
    Burn,
    Crowd,
    First,
    Frame,
    Hit,
    Hits,
    Keep,
    Kept,
    Lent,
    Make,
    MakeLater,
    Mean,
    Numbers,
    Pair,
    PassOn,
    Peak,
    Positive,
    Scribble,
    Show,
    Slide,
    Statistician,
    Sum,
    Summarise,
    TellOn,
    Viewer,
    fill,
    halves,
)
from support.traces import segments
from support.transports import transport  # noqa: F401 - a fixture, used by all tests
from support.waiting import eventually

SIZE = 100_000
"""Items of an array that is large enough for shared memory, and for sending it in place."""


@pytest.fixture(scope="module", params=["processes", "one process"])
def any_node(
    request: pytest.FixtureRequest,
    nothing_is_left: None,
    transport: Transport,  # noqa: F811 - the fixture
) -> Iterator[Node]:
    with Node(workers=2, in_process=request.param == "one process", max_restarts=1000) as node:
        yield node


@pytest.fixture
def artists(any_node: Node) -> Iterator[tuple[Ref[Artist], Ref[Artist]]]:
    near, far = (any_node.spawn(Artist, placement=place) for place in ("w1", "w2"))
    yield near, far
    near.stop()
    far.stop()


def post_of(ref: Ref[Any]) -> ClientPost:
    assert isinstance(ref._post, ClientPost)
    return ref._post


def made_by_workers() -> list[str]:
    return [path.name for path in segments() if path.name.startswith(("1-", "2-"))]


def all_given_back(*refs: Ref[Artist]) -> None:
    """Wait until nobody holds an array of the client's, nor of the workers'."""
    gc.collect()
    pool = post_of(refs[0]).arrays.pool

    def nothing_held() -> bool:
        refs[0].ask(Lent())  # in one process what is given back goes with the next message
        return not pool.holding

    eventually(nothing_held, "the client holds nothing")

    def nothing_lent() -> bool:
        lent = [ref.ask(Lent()) for ref in refs]  # the reply brings what the worker gives back
        return not any(lent) and not pool.lent

    eventually(nothing_lent, "nothing is lent")


def test_arrays_arrive_wherever_they_stand(artists: tuple[Ref[Artist], Ref[Artist]]) -> None:
    ref, _ = artists
    ones = np.ones(SIZE)
    assert ref.ask(Sum(ones)) == SIZE
    pairs = {"a": [Pair(ones, ones[::2]), Pair(ones[:10], ones)], "b": []}
    assert ref.ask(Sum(ones[::-1], pairs)) == SIZE * 3.5 + 10
    assert asyncio.run(ref.ask_async(Sum(ones))) == SIZE
    sums = ref.ask_many((Sum(np.full(SIZE, float(i))) for i in range(40)), window=7)
    assert list(sums) == [SIZE * i for i in range(40)]
    all_given_back(ref)


def test_a_reply_stays_valid_for_as_long_as_a_view_of_it_lives(
    artists: tuple[Ref[Artist], Ref[Artist]],
) -> None:
    ref, _ = artists
    views = [ref.ask(Make(SIZE, value))[5:9] for value in (1.0, 2.0)]
    for value in range(30):
        assert (ref.ask(Make(SIZE, float(value))) == value).all()
    assert [view.tolist() for view in views] == [[1.0] * 4, [2.0] * 4]
    later = ref.ask(MakeLater(SIZE, 3.0))
    assert (later == 3.0).all()
    assert not later.flags.writeable
    del views, later
    all_given_back(ref)


def test_nobody_can_write_to_what_others_read(artists: tuple[Ref[Artist], Ref[Artist]]) -> None:
    ref, _ = artists
    for size in (10, SIZE):
        numbers = np.ones(size)
        assert "cannot set WRITEABLE" in ref.ask(Scribble(numbers))
        ref.tell(Keep(numbers))
        numbers.fill(2.0)
    assert ref.ask(Kept()) == [1.0, 1.0]


def test_an_array_made_in_place_is_sent_as_it_was_then(
    any_node: Node, artists: tuple[Ref[Artist], Ref[Artist]]
) -> None:
    ref, _ = artists
    numbers = any_node.empty(SIZE)
    numbers.fill(1.0)
    ref.tell(Keep(numbers))
    numbers.fill(2.0)
    ref.tell(Keep(numbers))
    assert (numbers == 2.0).all()
    assert ref.ask(Kept()) == [1.0, 2.0]
    assert any_node.empty((2, 3), np.int8).shape == (2, 3)
    with pytest.raises(UsageError, match="Python objects"):
        any_node.empty(3, object)


def test_arrays_are_passed_on_without_a_copy(artists: tuple[Ref[Artist], Ref[Artist]]) -> None:
    near, far = artists
    numbers, before = np.ones(SIZE), made_by_workers()
    assert near.ask(PassOn(numbers, far)) == SIZE / 2
    near.tell(TellOn(numbers, far))
    near.tell(TellOn(numbers, near))
    assert eventually(lambda: far.ask(Kept()), "it is kept") == [1.0]
    assert eventually(lambda: near.ask(Kept()), "it is kept") == [1.0]
    assert made_by_workers() == before
    all_given_back(near, far)


def test_tells_that_wait_for_room_keep_their_arrays(any_node: Node, tmp_path: Path) -> None:
    slow = any_node.spawn(Artist, placement="w2", mailbox=Mailbox(capacity=2))
    near = any_node.spawn(Artist, placement="w1")
    for number in range(30):
        near.tell(TellOn(np.full(SIZE, float(number)), slow))
    kept: list[float] = []

    def all_have_come() -> bool:
        more = slow.ask(Kept())
        kept.extend(more)
        return len(kept) == 30

    eventually(all_have_come, "all have come")
    assert kept == [float(number) for number in range(30)]
    all_given_back(near, slow)
    near.stop()
    slow.stop()


def test_messages_that_nobody_handles_let_go_of_their_arrays(any_node: Node) -> None:
    ref = any_node.spawn(Artist, placement="w1", name="gone")
    near = any_node.spawn(Artist, placement="w1")
    before = len(any_node.dead_letters())
    ref.tell(Burn(np.ones(SIZE)))
    numbers = np.full(SIZE, 7.0)
    ref.stop()
    ref.tell(Keep(numbers))
    eventually(lambda: len(any_node.dead_letters()) == before + 2, "both are recorded")
    letters = any_node.dead_letters()
    decode: Callable[[bytes], Keep] = Codec(None).decoder(Keep).decode
    assert (decode(letters[-1].body).numbers == 7.0).all()
    assert "100000 numbers are too many" in letters[-2].reason
    all_given_back(near)
    near.stop()


def test_a_dead_letter_that_is_too_large_says_so(any_node: Node) -> None:
    ref = any_node.spawn(Artist, placement="w1")
    ref.tell(Burn(np.ones(MAX_BODY // 8 + 1)))
    near = any_node.spawn(Artist, placement="w1")
    (letter,) = eventually(
        lambda: [each for each in any_node.dead_letters() if "67,1" in each.reason],
        "it is recorded",
    )
    assert letter.body == b""
    assert letter.message_type == "Burn"
    all_given_back(near)


def all_have(viewers: list[Ref[Viewer]], frames: list[float]) -> None:
    """Wait until viewers keep frames, in this order."""
    expected = [frames] * len(viewers)
    eventually(lambda: [each.ask(Kept()) for each in viewers] == expected, "all have come")


def test_events_with_arrays_reach_every_subscriber(any_node: Node) -> None:
    viewers = [any_node.spawn(Viewer, placement=place) for place in ("w1", "w1", "w2")]
    artist = any_node.spawn(Artist, placement="w1")
    with any_node.subscribe("frames", Frame) as frames:
        any_node.publish("frames", Frame(np.full(SIZE, 1.0)))
        assert frames.get(5).numbers[0] == 1.0
        all_have(viewers, [1.0])  # of two senders, either may come first
        artist.tell(Show(SIZE, [2.0, 3.0]))
        assert [frames.get(5).numbers[-1] for _ in range(2)] == [2.0, 3.0]
    all_have(viewers, [1.0, 2.0, 3.0])
    for viewer in viewers:
        viewer.stop()
    all_given_back(artist)
    artist.stop()


def test_a_message_larger_than_any_body_goes_by_shared_memory(
    artists: tuple[Ref[Artist], Ref[Artist]],
) -> None:
    size = MAX_BODY // 8 + 1
    assert artists[0].ask(Sum(np.ones(size)), timeout=30) == size


def test_without_room_arrays_go_in_band_up_to_the_limit(
    any_node: Node,
    artists: tuple[Ref[Artist], Ref[Artist]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ref, _ = artists
    monkeypatch.setattr(post_of(ref).arrays.pool._segments, "_limit", 0)
    monkeypatch.setattr(codec_module, "MAX_BODY", 2 * 8 * SIZE)
    assert ref.ask(Sum(any_node.empty(SIZE) * 0 + 1)) == SIZE
    several = Sum(np.ones(SIZE), {"": [Pair(*np.ones((2, SIZE)))]})
    remedy = r"1,600,000; send it in parts.*the limit is 0"
    for too_many in (Sum(np.ones(3 * SIZE)), several):
        with pytest.raises(PayloadTooLargeError, match=remedy):
            ref.ask(too_many)
    assert ref.ask(Sum(np.ones(SIZE))) == SIZE


@pytest.mark.parametrize("size", [10, SIZE])
def test_what_is_no_plain_array_is_refused(
    artists: tuple[Ref[Artist], Ref[Artist]], size: int
) -> None:
    ref, _ = artists
    with pytest.raises(UsageError, match=r"masked array can't travel.*its data and its mask"):
        ref.tell(Keep(np.ma.masked_array(np.ones(size))))
    with pytest.raises(UsageError, match="Python objects"):
        ref.tell(Keep(np.full(size, None)))
    assert ref.ask(Kept()) == []


@pytest.mark.parametrize("size", [3, SIZE])
def test_what_numpy_computes_is_a_reply(any_node: Node, size: int) -> None:
    ref = any_node.spawn(Statistician)
    numbers: Numbers = np.ones(size)
    answers = [ref.ask(kind(numbers)) for kind in (Positive, Peak, Mean, First)]
    assert answers == [True, 0, 1.0, 1.0]
    assert list(map(type, answers)) == [bool, int, float, float]
    summary = ref.ask(Summarise(numbers))
    assert (summary["mean"], summary["numbers"].size) == (1.0, size)
    assert ref.ask(Hits(numbers[:2])) == [Hit(0), Hit(1)]
    assert ref.ask(First(numbers[:0])) is None
    ref.stop()


def test_functions_take_and_give_arrays(any_node: Node) -> None:
    results = list(any_node.map(fill, [1.0, 2.0, 3.0, 4.0], batch=2))
    assert [(result == value).all() for result, value in zip(results, (1, 2, 3, 4), strict=True)]
    assert not results[0].flags.writeable
    with any_node.executor() as executor:
        first, second = executor.submit(halves, np.arange(2.0 * SIZE)).result(10)
        assert (first[-1], second[0]) == (SIZE - 1, SIZE)


def test_arguments_of_actors_are_kept_for_their_restarts(any_node: Node) -> None:
    numbers: Numbers = np.full(SIZE, 4.0)
    ref: Ref[Actor] = any_node.spawn(Artist, args=(numbers,))
    assert ref.ask(Kept()) == [4.0]
    ref.tell(Burn(np.ones(1)))
    assert eventually(lambda: ref.ask(Kept()), "it is there again") == [4.0]
    ref.stop()


def test_an_idle_client_hears_what_is_given_back(any_node: Node) -> None:
    ref = any_node.spawn(Artist)
    pool = post_of(ref).arrays.pool
    if any_node.status().workers[0].pid >= 1 << 30:
        pytest.skip("in one process nothing happens while nobody calls")
    stragglers = post_of(ref)._outgoing.stragglers
    for _ in range(2):
        for number in range(10):
            ref.tell(Slide(np.full(SIZE, float(number))))
        eventually(lambda: not pool.lent, "all is given back, and nobody has called")
        eventually(lambda: stragglers.looks_in is None, "it sleeps until it is woken")
    assert ref.ask(Kept()) == []
    ref.stop()


def test_a_full_mailbox_of_arrays_is_kept_in_order(any_node: Node, tmp_path: Path) -> None:
    ref = any_node.spawn(Artist, placement="w1")
    if any_node.status().workers[0].pid < 1 << 30:  # in one process a tell is handled at once
        ref.tell(Crowd(str(tmp_path / "gate")))
    for number in range(100):
        ref.tell(Keep(np.full(SIZE, float(number))))
    (tmp_path / "gate").touch()
    assert ref.ask(Kept()) == [float(number) for number in range(100)]
    all_given_back(ref)
    ref.stop()
