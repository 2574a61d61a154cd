"""Tells by the short way, by the long one, and from several threads: in order, none lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from gristmill import Node
from gristmill.node.client.post import ClientPost
from support.actors import Add, Note, Noted, Notes, Worker
from support.reports import during
from support.transports import transport  # noqa: F401 - a fixture, used by all tests

MANY = 5000


def test_types_and_targets_in_turns_keep_their_order(node: Node) -> None:
    refs = [node.spawn(Worker, placement=place) for place in ("w1", "w2")]
    for number in range(MANY):
        message = Noted(number) if number % 7 == 0 else Note(number)
        for ref in refs if number % 11 == 0 else refs[:1]:
            ref.tell(message)
        if number % 500 == 0:
            assert refs[0].ask(Add(number, 1)) == number + 1
    assert refs[0].ask(Notes()) == list(range(MANY))
    assert refs[1].ask(Notes()) == list(range(0, MANY, 11))


def test_threads_share_a_ref(node: Node) -> None:
    ref = node.spawn(Worker)

    def tell(thread: int) -> None:
        for number in range(MANY):
            ref.tell(Note(thread * MANY + number))

    def from_threads() -> None:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(tell, range(4)))
        ref.ask(Notes(), timeout=20.0)

    report = during(node, from_threads)
    came = sorted(ref.ask(Notes()), key=lambda number: number // MANY)  # a stable sort
    by_thread = {thread: list(own) for thread, own in groupby(came, lambda n: n // MANY)}
    assert by_thread == {n: list(range(n * MANY, (n + 1) * MANY)) for n in range(4)}
    (row,) = (row for row in report.types if row.message == "Note")
    assert row.messages == 4 * MANY
    assert node.counters().balanced


class Window:
    """Stands for the thread that sends what was left behind; its window ends when it is told to."""

    awake = False
    looks_in = None

    def wake(self) -> None:
        self.awake = True

    def close(self) -> None:
        self.awake = False


def test_a_tell_does_not_rely_on_a_window_that_ends_in_the_midst_of_it() -> None:
    with Node(workers=1) as node:
        ref = node.spawn(Worker)
        post = ref._post
        assert isinstance(post, ClientPost)
        window = post._outgoing.stragglers = Window()
        ref.tell(Note(0))
        assert window.awake
        ref.tell(Note(1))
        assert post.plane.unsent  # it waits for others
        lock = post._outgoing.lock

        def wait_for_the_end_of_the_window() -> bool:
            window.awake = False
            post.flush()
            return lock.acquire()

        assert post._telling is not None
        post._telling._acquire = wait_for_the_end_of_the_window
        ref.tell(Note(2))
        assert not post.plane.unsent, "nobody would send it"
        assert ref.ask(Notes()) == [0, 1, 2]
