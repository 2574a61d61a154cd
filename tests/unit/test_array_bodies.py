"""Bodies whose arrays lie beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import create_autospec

import msgspec
import numpy as np
import pytest
from msgspec.msgpack import Ext

from gristmill.errors import PayloadTooLargeError
from gristmill.ref import Address, Post, Ref
from gristmill.transport import codec as codec_module
from gristmill.transport.arrays import (
    THRESHOLD,
    ArrayBody,
    ArrayGoneError,
    ArrayPool,
    SharedArray,
)
from gristmill.transport.codec import Codec, for_dead_letter, in_band
from gristmill.transport.envelope import ACK, ARRAYS, ASK, HEADER, TELL, pack
from gristmill.transport.exchange import ArrayExchange
from gristmill.transport.segment_directory import Process, remove_segments
from support.array_actors import PassOn
from support.arrays import files, new_segment_directory

SENDER, RECEIVER = Process(1, 1), Process(2, 3)
LARGE = np.arange(THRESHOLD, dtype=np.uint8)


class Party:
    """One process's codec and exchange."""

    def __init__(self, directory: Any, process: Process) -> None:
        self.exchange = ArrayExchange(ArrayPool(directory, process))
        self.post = create_autospec(Post, instance=True, node="node")
        self.codec = Codec(self.post, self.exchange.pool)


@pytest.fixture
def parties() -> Iterator[tuple[Party, Party, Any]]:
    with new_segment_directory() as directory:
        yield Party(directory, SENDER), Party(directory, RECEIVER), directory


def sent(sender: Party, value: object) -> list[Any]:
    """Give the envelope of a tell, as it comes out of a frame."""
    sealed = sender.exchange.seal((TELL, 7, 0, 0, sender.codec.encode(value)), RECEIVER.address)
    return msgspec.msgpack.decode(pack(sealed))  # type: ignore[no-any-return]  # a list


def test_only_large_arrays_lie_beside_the_body(parties: tuple[Party, Party, Any]) -> None:
    sender, _, directory = parties
    assert type(sender.codec.encode([LARGE[1:], 1, "x"])) is bytes
    assert files(directory) == []
    body = sender.codec.encode({"a": [LARGE, LARGE[1:]], "b": LARGE})
    assert isinstance(body, ArrayBody)
    assert len(body.arrays) == 2
    assert len(body) < THRESHOLD + 100
    with pytest.raises(TypeError, match="ArrayBody"):
        pack((TELL, 7, 0, 0, body))  # without its handles


def test_a_body_keeps_its_arrays_and_gives_them_back(parties: tuple[Party, Party, Any]) -> None:
    sender, receiver, _ = parties
    envelope = sent(sender, [LARGE])
    assert envelope[0] == ARRAYS
    kind, key, _, _, (body,) = receiver.exchange.open(envelope)
    assert (kind, key) == (TELL, 7)
    pool = receiver.exchange.pool
    assert sender.exchange.pool.lent == 1
    (array,) = receiver.codec.decoder(list[np.ndarray]).decode(body)
    assert (array == LARGE).all()
    del body
    assert pool.take_releases() == {}
    del array
    assert pool.release_due
    posted: list[tuple[int, bytes]] = []
    receiver.exchange.give_back(lambda *envelope: posted.append(envelope))
    ((to, release),) = posted
    assert not pool.holding
    assert to == SENDER.address
    sender.exchange.take_back([HEADER, *RECEIVER, 1, 1, 0, 0, 0], msgspec.msgpack.decode(release))
    assert sender.exchange.pool.lent == 0


def test_a_body_that_is_kept_has_copies_in_it(parties: tuple[Party, Party, Any]) -> None:
    sender, receiver, directory = parties
    plain = sender.codec.encode([1, LARGE[:5]])
    assert in_band(plain) is plain
    ref: Ref[Any] = Ref(Address(3, 1, "m:A", "name"), sender.post)
    message = PassOn(LARGE, ref)  # type: ignore[arg-type]  # bytes will do
    copy = in_band(receiver.exchange.open(sent(sender, message))[-1][0])
    remove_segments(directory, SENDER)
    again = Codec(ref._post).decoder(PassOn).decode(copy)
    assert (again.numbers == LARGE).all()
    assert again.to == ref
    assert sender.codec.encode_in_band(message) == copy


def test_what_is_too_large_or_gone_is_said_in_the_letter(
    parties: tuple[Party, Party, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, receiver, directory = parties
    body = sender.codec.encode([LARGE])
    envelope = sent(sender, [LARGE])
    remove_segments(directory, SENDER)
    lost = receiver.exchange.open(envelope)[-1][0]
    with pytest.raises(ArrayGoneError, match="of process 1, sent by process 1, can't be opened"):
        receiver.codec.decoder(list[np.ndarray]).decode(lost)
    kept, reason = for_dead_letter(lost, "crash")
    assert kept == b""
    assert "crash (its body is not kept: an array of process 1" in reason
    monkeypatch.setattr(codec_module, "MAX_BODY", THRESHOLD + 10)
    kept, reason = for_dead_letter(body, "crash")
    assert kept == b""
    assert "with its arrays it is 65,5" in reason
    with pytest.raises(PayloadTooLargeError, match=r"list is 65,5\d\d bytes"):
        sender.codec.encode_in_band([LARGE])


def test_bad_bytes_are_refused(parties: tuple[Party, Party, Any]) -> None:
    sender, receiver, _ = parties
    decode = receiver.codec.decoder(Any).decode
    body = sender.codec.encode([LARGE])
    with pytest.raises(msgspec.ValidationError, match="without its arrays"):
        decode(bytes(body))
    with pytest.raises(msgspec.ValidationError, match="without its arrays"):
        decode(ArrayBody(body, []))
    for content in (
        ("<f8", (3,), "C", b"123"),
        ("O", (1,), "C", b"12345678"),
        ("?!", (), "C", b""),
    ):
        packed = msgspec.msgpack.encode(Ext(2, msgspec.msgpack.encode(content)))
        with pytest.raises(msgspec.ValidationError, match="an array from the wire is none"):
            decode(packed)
    shared = sender.exchange.pool.export(LARGE)
    bad = SharedArray(shared.hold, msgspec.structs.replace(shared.layout, offset=1 << 30))
    with pytest.raises(msgspec.ValidationError, match="does not fit its memory"):
        decode(ArrayBody(body, [bad]))
    for kind in (ACK, ARRAYS):
        with pytest.raises(ValueError, match="has no arrays"):
            receiver.exchange.open([ARRAYS, [kind, 1, b""], b"\x90"])
    with pytest.raises(msgspec.MsgspecError):
        receiver.exchange.open([ARRAYS, [ASK, 1, 0, 0.0, 1, [b""]], b"\x91\x01"])
