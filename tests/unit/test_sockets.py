"""What carries frames: both kinds keep one contract, over real sockets."""

from __future__ import annotations

import os
import resource
import select
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill import Node
from gristmill.config import Transport
from gristmill.errors import GristmillError, UsageError
from gristmill.transport import sockets as both
from gristmill.transport.data import DataPlane
from gristmill.transport.envelope import TELL, pack
from gristmill.transport.sockets import Sockets, Way, open_sockets
from gristmill.transport.sockets.unix import UnixSockets
from support.transports import TRANSPORTS
from support.waiting import eventually

LONG = 3_000_000
"""Bytes of a frame that no pipe takes at once."""


@pytest.fixture(params=TRANSPORTS)
def kind(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def folder(own_temporary_directory: Path) -> Path:
    """Give a directory with a path that is short enough for sockets."""
    return Path(tempfile.mkdtemp(dir=own_temporary_directory))


Pair = tuple[Sockets, Sockets, Way]


@pytest.fixture
def pair(kind: Transport, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> Iterator[Pair]:
    """Give a sender, a receiver, and the way from one to the other."""
    sender, receiver = (open_sockets(kind, context, str(folder / name)) for name in "sr")
    way = sender.open(receiver.endpoint)
    yield sender, receiver, way
    way.close(0.0)
    for each in (sender, receiver):
        each.close()


def transferred(way: Way, receiver: Sockets, frames: list[bytes], more: int = 0) -> list[bytes]:
    """Send frames and take them, and ``more`` that were sent before, as there is room."""
    left, found = list(reversed(frames)), []

    def done() -> bool:
        if left and way.send(left[-1]):
            left.pop()
        while (frame := receiver.receive()) is not None:
            found.append(frame)
        return len(found) == len(frames) + more

    eventually(done, f"{len(frames) + more} frames came")
    return found


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # what was sent was all taken
)
@given(sizes=st.lists(st.integers(0, 200) | st.integers(60_000, 140_000), max_size=12))
def test_frames_come_whole_and_in_order(pair: Pair, sizes: list[int]) -> None:
    _, receiver, way = pair
    frames = [bytes([at]) * size for at, size in enumerate(sizes)]
    assert transferred(way, receiver, frames) == frames


def test_a_frame_without_room_is_offered_again(pair: Pair) -> None:
    sender, receiver, way = pair
    assert transferred(way, receiver, [b"the way is open"])
    frames = [bytes([at % 256]) * 100_000 for at in range(4000)]
    sent = 0
    while way.send(frames[sent]):
        sent += 1
    assert not way.send(frames[sent])
    assert sender.receive() is None
    most = [receiver.wait(5.0) for _ in range(sent - 1)]
    if not sender.background:
        (ready, _, _) = select.select([sender.fd], [], [], 5.0)
        assert ready, "its loop is told that there is room"
    rest = frames[sent : sent + 20]
    assert most + transferred(way, receiver, rest, 1) == frames[: sent + 20]


def test_a_long_frame_passes_in_parts(pair: Pair) -> None:
    _, receiver, way = pair
    frames = [b"before", bytes(LONG), b"behind"]
    assert transferred(way, receiver, frames) == frames


def test_what_was_sent_is_read_after_its_sender_has_closed(pair: Pair) -> None:
    sender, receiver, way = pair
    assert transferred(way, receiver, [b"first words"])
    assert way.send(b"last words")
    way.close(1.0)
    sender.close()
    assert eventually(lambda: receiver.wait(5.0), "they come") == b"last words"


def test_nothing_is_sent_to_who_is_not_there(
    kind: Transport, context: zmq.Context[zmq.Socket[bytes]], folder: Path
) -> None:
    sender = open_sockets(kind, context, str(folder / "alone"))
    way = sender.open(sender.endpoint.replace("alone", "nobody"))
    assert not way.send(b"a frame")
    assert not way.send(b"a frame")
    way.close(0.0)
    sender.close()


def test_nothing_is_sent_to_who_has_died(pair: Pair) -> None:
    _, receiver, way = pair
    assert transferred(way, receiver, [b"heard"])
    receiver.close()
    eventually(lambda: not way.send(b"unheard"), "the way is closed")
    assert not way.send(b"unheard")


def test_another_thread_wakes_who_waits(pair: Pair) -> None:
    _, receiver, _ = pair
    notifier = receiver.notifier()
    thread = threading.Thread(target=lambda: notifier.send(b"a notice"))
    thread.start()
    assert eventually(lambda: receiver.wait(5.0), "it wakes") == b"a notice"
    thread.join()
    assert receiver.receive() is None
    notifier.close()


def test_a_path_that_is_taken_is_refused(
    kind: Transport, context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    with pytest.raises(GristmillError, match="nowhere/at/all"):
        open_sockets(kind, context, str(tmp_path / "nowhere/at/all"))


def test_streams_that_lie_or_break_off_harm_nobody(
    context: zmq.Context[zmq.Socket[bytes]], folder: Path
) -> None:
    receiver = open_sockets("unix", context, str(folder / "r"))
    path = receiver.endpoint.removeprefix("unix://")
    streams = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    for stream in streams:
        stream.connect(path)
    liar, stump, cut, slow, sound = streams
    liar.sendall(b"\xff" * 100)  # a length of 16 million million MB
    stump.sendall(b"\x05\x00\x00")
    cut.sendall(struct.pack("=Q", 10) + b"half")
    for broken in (stump, cut):
        broken.close()
    for byte in struct.pack("=Q", 3) + b"abc" + struct.pack("=Q", 0):
        slow.sendall(bytes([byte]))
        assert receiver.receive() in (None, b"abc", b"")
    sound.sendall(struct.pack("=Q", 5) + b"hello" + struct.pack("=Q", 2) + b"me")
    assert [receiver.receive(), receiver.receive()] == [b"hello", b"me"]
    assert receiver.receive() is None
    for stream in (liar, slow, sound):
        stream.close()
    receiver.close()
    assert not Path(path).exists()


def test_a_transport_that_is_none_or_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="transport is 'tcp'; write one of auto, unix, zeromq"):
        Node(transport="tcp")  # type: ignore[arg-type]  # that is what is tested
    assert both.resolved("auto") == "unix"
    monkeypatch.delattr(select, "epoll")
    assert both.resolved("auto") == "zeromq"
    with pytest.raises(UsageError, match="'unix' needs epoll, which is Linux's; write 'auto'"):
        Node(transport="unix")


def test_a_forked_process_keeps_its_hands_off(
    context: zmq.Context[zmq.Socket[bytes]], folder: Path
) -> None:
    sockets = open_sockets("unix", context, str(folder / "r"))
    way = sockets.open(sockets.endpoint)
    assert way.send(b"before")
    assert sockets.receive() == b"before"
    child = os.fork()
    if child == 0:
        sent = way.send(b"from the child")
        sockets.close()
        os._exit(int(sent))
    assert os.waitpid(child, 0)[1] == 0
    assert Path(sockets.endpoint.removeprefix("unix://")).exists()
    assert way.send(b"behind")
    assert sockets.receive() == b"behind"
    way.close(0.0)
    sockets.close()


def test_who_can_not_be_let_in_for_now_holds_nobody_up(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = UnixSockets(str(folder / "r"))
    peer = socket.socket(socket.AF_UNIX)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (peer.fileno() + 16, before[1]))
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        peer.connect(str(folder / "r"))
        assert receiver.receive() is None
        assert receiver.receive() is None
        assert caplog.messages == [
            f"nobody can connect to {receiver.endpoint}: Too many open files"
        ]
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    peer.sendall(struct.pack("=Q", 2) + b"hi")
    assert eventually(receiver.receive, "a frame") == b"hi"
    peer.close()
    receiver.close()


def test_a_peer_that_is_gone_for_good_is_forgotten(
    kind: Transport, context: zmq.Context[zmq.Socket[bytes]], folder: Path
) -> None:
    receiver = open_sockets(kind, context, str(folder / "r"))
    plane = DataPlane(open_sockets(kind, context, str(folder / "s")), 1, 1)
    for address, final in [(7, False), (8, True)]:
        plane.connect(address, 3, receiver.endpoint)
        plane.post(address, pack((TELL, 1, 0, 0, (b"lost",))))
        plane.disconnect(address, final=final)
    assert list(plane._peers) == [7]
    assert (plane.incarnation_of(7), plane.incarnation_of(8)) == (3, 0)
    assert not plane.flush()
    assert [(wire.address, wire.sent) for wire in plane.wires.read()] == [(7, 1), (8, 1)]
    plane.close(0.0)
    receiver.close()
