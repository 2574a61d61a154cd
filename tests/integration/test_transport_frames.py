"""Raw bytes pushed into a worker's socket never crash it, and never spoil what comes behind."""

from __future__ import annotations

from collections.abc import Iterator

import msgpack
import msgspec
import pytest
import zmq

from gristmill import Node, Ref
from gristmill.config import Transport
from gristmill.transport.envelope import ACK, ASK, CREDIT, ERROR, EVENT, HEADER, REPLY, TELL
from gristmill.transport.sockets import Way, open_sockets
from support.actors import Add, Incarnation, Note, Notes, Worker
from support.processes import worker_pids
from support.traces import run_directories
from support.transports import transport  # noqa: F401 - a fixture, used by all tests
from support.waiting import eventually


@pytest.fixture(scope="module")
def target(node: Node) -> Ref[Worker]:
    return node.spawn(Worker, name="target", placement="w1")


@pytest.fixture(scope="module")
def wire(target: Ref[Worker], transport: Transport) -> Iterator[Way]:  # noqa: F811 - the fixture
    (run_dir,) = run_directories()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets = open_sockets(transport, context, f"{run_dir}/hostile")
    way = sockets.open(sockets.endpoint.replace("hostile", "w1.1"))
    yield way
    way.close(0.0)
    sockets.close()
    context.term()


def send(way: Way, frame: bytes) -> None:
    """Send a frame as soon as the way is open."""
    eventually(lambda: way.send(frame), "there is room")


def frame(*envelopes: object, header: object = None) -> bytes:
    """Make a frame of a client that does not exist."""
    start = [HEADER, 4242, 1, 0, len(envelopes), 0, 0, 0] if header is None else header
    return msgpack.packb([start, *envelopes])  # type: ignore[no-any-return]  # bytes


KEY = object()
"""Stands for the target's key."""
KEYS = [KEY]
"""Stands for a list of it."""
BODY = msgspec.msgpack.encode(Note(1))
HOSTILE: dict[str, list[object] | bytes] = {
    "empty": b"",
    "no message pack": b"\xc1\xc1\xc1",
    "a number": b"\x07",
    "half a header": frame(["x"])[:4],
    "fewer envelopes than announced": frame(header=[HEADER, 4242, 1, 0, 3, 0, 0, 0]),
    "a header without a count": frame(header=[HEADER, 4242, 1, 0, 0, 0]),
    "a header with counts of text": frame(header=[HEADER, 4242, 1, "a", 0, 0, "b", 0]),
    "a header with counts too large": frame(header=[HEADER, 4242, 1, 0, 0, 0, 1 << 63, 0]),
    "a header with news of text": frame(header=[HEADER, 4242, 1, 0, 0, 0, 0, "all"]),
    "a header with news that never come": frame(header=[HEADER, 4242, 1, 0, 0, 0, 0, 1 << 63]),
    "half an envelope behind a whole one": frame() + b"\x95\x01",
    "a header of strings": frame(header=["a", "b", "c", "d", "e", "f", "g", "h"]),
    "a header of lists": frame(
        [TELL, 1, 0, 0, [BODY]], header=[HEADER, [], [], [], 1, [], [1], []]
    ),
    "an array of two thousand million": b"\xdd\x7f\xff\xff\xf0",
    "a map of two thousand million": b"\xdf\x7f\xff\xff\xf0",
    "bytes of two thousand million": b"\xc6\x7f\xff\xff\xf0",
    "deeply nested": b"\x91" * 5000,
    "unknown kind": [99, 1, 2, 3],
    "no kind": [],
    "kind of a wrong type": ["tell", 1],
    "too short a tell": [TELL, KEY],
    "too long a tell": [TELL, KEY, 0, 0, [BODY], 1, 2],
    "an ask with a deadline of text": [ASK, KEY, 0, "soon", 1, [BODY]],
    "an ask with a number of text": [ASK, KEY, 0, 0.0, "one", [BODY]],
    "an ask to a list": [ASK, [], 0, 0.0, 1, [BODY]],
    "an ask with a body of text": [ASK, KEY, 0, 0.0, 1, ["text"]],
    "an ask from a map with a number of nothing": [ASK, KEY, {}, 0.0, None, [BODY]],
    "a tell with a number of text": [TELL, KEY, 0, "one", [BODY]],
    "a tell to a list": [TELL, [], 0, 0, [BODY]],
    "a tell from a map": [TELL, KEY, {}, 0, [BODY]],
    "a body of text": [TELL, KEY, 0, 0, ["text"]],
    "a body that is a number": [TELL, KEY, 0, 0, [7]],
    "a body that is nil": [TELL, KEY, 0, 0, [None]],
    "bodies that are nil": [TELL, KEY, 0, 0, None],
    "bodies that are a number": [ASK, KEY, 0, 0.0, 1, 7],
    "an empty body": [TELL, KEY, 0, 0, [b""]],
    "a truncated body": [TELL, KEY, 0, 0, [BODY[:-1]]],
    "an unknown tag": [TELL, KEY, 0, 0, [msgspec.msgpack.encode(["os:system", "rm"])]],
    "a field of a wrong type": [
        TELL,
        KEY,
        0,
        0,
        [msgspec.msgpack.encode(["support.actors:Note", "x"])],
    ],
    "an unknown target": [TELL, 999_999, 0, 0, [BODY]],
    "a reply that nobody waits for": [REPLY, 77, [b"x"]],
    "an error of junk": [ERROR, 77, 5],
    "credit of text": [CREDIT, KEY, "many"],
    "credit to a list": [CREDIT, [], 3],
    "an acknowledgement of junk": [ACK, 5, "x"],
    "an event for a number": [EVENT, "c", 5, 0, 0, [BODY]],
    "an event for text": [EVENT, "c", ["x", []], 0, 0, [BODY]],
    "an event without its bodies": [EVENT, "c", KEYS, 0, BODY],
    "events that are nil": [EVENT, "c", KEYS, 0, 0, None],
    "events that are numbers": [EVENT, "c", KEYS, 0, 0, [7, None]],
    "a notice of junk": [8, b"\xff\xff"],
    "a notice of nothing": [8, None],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_harm_nobody(node: Node, target: Ref[Worker], wire: Way, name: str) -> None:
    pid, life = worker_pids(node)["w1"], target.ask(Incarnation())
    before = len(target.ask(Notes()))
    hostile = HOSTILE[name]
    if isinstance(hostile, list):
        key = target.address.key
        hostile = frame(
            [key if part is KEY else [key] if part is KEYS else part for part in hostile]
        )
    send(wire, hostile)
    send(wire, frame([TELL, target.address.key, 0, 0, [msgspec.msgpack.encode(Note(1))]]))
    assert list(target.ask_many([Add(i, 1) for i in range(50)])) == list(range(1, 51))
    eventually(lambda: len(target.ask(Notes())) > before, "the message behind it was handled")
    assert worker_pids(node)["w1"] == pid
    assert target.ask(Incarnation()) == life


@pytest.mark.parametrize("name", ["no kind", "kind of a wrong type", "unknown kind"])
def test_nor_do_they_between_two_asks(target: Ref[Worker], wire: Way, name: str) -> None:
    """A worker that has just answered takes the next frame by a shorter way."""
    hostile = frame(HOSTILE[name])
    for _ in range(50):
        target.ask(Incarnation())
        send(wire, hostile)
        target.ask(Incarnation())


def test_what_cannot_be_read_is_a_dead_letter_with_a_reason(
    node: Node, target: Ref[Worker], wire: Way
) -> None:
    send(wire, frame([99, "mark"]))
    send(wire, b"\xc1" * 11)
    letters = eventually(
        lambda: [x for x in node.dead_letters() if "frame of 11 bytes" in x.reason], "a dead letter"
    )
    assert letters[0].worker == "w1"
    assert any("kind 99 is unknown" in x.reason for x in node.dead_letters())


def test_a_good_message_behind_a_bad_one_is_handled(target: Ref[Worker], wire: Way) -> None:
    key = target.address.key
    before = len(target.ask(Notes()))
    tells = [[TELL, key, 0, 0, [msgspec.msgpack.encode(Note(n))]] for n in range(3)]
    send(wire, frame(tells[0], [TELL, key, 0, 0, [7]], tells[1], [99], tells[2]))
    eventually(lambda: len(target.ask(Notes())) == before + 3, "three numbers are noted")
