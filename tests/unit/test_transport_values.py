"""Envelopes, codec and credit: the values that cross the wire."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from unittest.mock import create_autospec

import msgpack
import msgspec
import numpy as np
import pytest

from gristmill.errors import (
    ActorCrashed,
    ActorDied,
    DecodeError,
    ErrorData,
    GristmillError,
    PayloadTooLargeError,
    Reject,
    UsageError,
)
from gristmill.ref import Address, Mailbox, OverflowPolicy, Post, Ref
from gristmill.transport import codec as codec_module
from gristmill.transport.codec import Codec
from gristmill.transport.credit import CreditBook, lot
from gristmill.transport.envelope import (
    HEADER,
    TELL,
    error_reply,
    pack,
    pack_frame,
    read_frame,
    to_exception,
)
from support.actors import Forward


def no_post() -> Post:
    return create_autospec(Post, instance=True)  # type: ignore[no-any-return]  # nothing is sent


TELLS = [(TELL, 7, 0, 0, [b"body"]), (TELL, 8, 0, 0, [b""])]
FRAME = pack_frame(1, 1, 1, [pack(tell) for tell in TELLS], 0)


def test_a_frame_is_a_header_and_envelopes() -> None:
    header, *envelopes = read_frame(FRAME)
    assert header == [HEADER, 1, 1, 1, 2, 0, 0, 0]
    assert envelopes == [list(tell) for tell in TELLS]


@pytest.mark.parametrize("cut", range(len(FRAME)))
def test_a_truncated_frame_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError, match=f"a frame of {cut} bytes"):
        read_frame(FRAME[:cut])


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 70_000])
def test_a_frame_is_what_message_pack_calls_an_array(count: int) -> None:
    envelopes = [[TELL, number, 0, 0, b""] for number in range(count)]
    frame = pack_frame(3, 4, 5, [pack(envelope) for envelope in envelopes], 6, 7, 8)
    assert msgpack.unpackb(frame) == [[HEADER, 3, 4, 5, count, 6, 7, 8], *envelopes]
    assert read_frame(frame)[1:] == envelopes


@pytest.mark.parametrize(
    "tail",
    [
        b"\x95\x01",
        b"\xc4\xff12",
        b"\xc1",
        b"\x01",
        b"\xdd\x7f\xff\xff\xf0",
        b"\xdf\x7f\xff\xff\xf0",
    ],
)
def test_bytes_behind_the_last_envelope_are_refused(tail: bytes) -> None:
    with pytest.raises(DecodeError):
        read_frame(FRAME + tail)


@pytest.mark.parametrize(
    "error",
    [Reject("no", code="late"), ActorDied("gone"), ActorCrashed("x", ErrorData("E", "m", "tb"))],
)
def test_errors_travel_as_data(error: GristmillError) -> None:
    again = to_exception(error_reply(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert getattr(again, "code", None) == getattr(error, "code", None)
    assert getattr(again, "error", None) == getattr(error, "error", None)


def test_arrays_and_refs_travel_in_messages() -> None:
    post = no_post()
    codec = Codec(post)
    array = np.arange(12, dtype=np.int16).reshape(3, 4)[:, ::2]
    again = codec.decoder(np.ndarray).decode(codec.encode(array))
    assert again.dtype == np.int16
    assert (again == array).all()
    message = Forward(Ref(Address(3, 1, "m:A", "name"), post), 1, 2)
    assert codec.decoder(Forward).decode(codec.encode(message)) == message


def test_what_cannot_travel_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Codec(None)
    for scalar in (
        np.datetime64("2024-05-01", "ns"),
        np.timedelta64("NaT", "s"),
        np.longdouble(1),
        np.complex64(1j),
    ):
        with pytest.raises(UsageError, match=r"of numpy can't travel.*use a 0-d array"):
            Codec(None).encode([scalar])
        array = np.asarray(scalar)
        (back,) = Codec(None).decoder(Any).decode(Codec(None).encode([array]))
        assert back.dtype == array.dtype
        assert back.tobytes() == array.tobytes()
    with pytest.raises(UsageError, match=r"builtins\.object can't travel.*plain data"):
        codec.encode([object()])
    with pytest.raises(UsageError, match="plain dtype"):
        codec.encode(np.array([object()]))
    monkeypatch.setattr(codec_module, "MAX_BODY", 100)
    with pytest.raises(PayloadTooLargeError, match=r"bytes is 10\d bytes on the wire"):
        codec.encode(bytes(100))


def test_scalars_of_numpy_travel_as_pythons() -> None:
    for scalar, plain in (
        (np.float32(0.5), 0.5),
        (np.True_, True),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.datetime64("2024-05-01T12:00:00.5"), datetime(2024, 5, 1, 12, 0, 0, 500_000)),
        (np.timedelta64(5, "s"), timedelta(seconds=5)),
    ):
        decoder = Codec(None).decoder(type(plain))
        assert decoder.decode(Codec(None).encode(scalar)) == plain


@pytest.mark.parametrize("kind", ["number", "text", "circle"])
def test_a_value_that_can_not_be_encoded_is_the_users_mistake(kind: str) -> None:
    circle: list[Any] = []
    circle.append(circle)
    value = {"number": 2**64, "text": "caf\udce9", "circle": circle}[kind]
    codec = Codec(None)
    for encode in (codec.encode, codec.encode_in_band, lambda v: codec.encode_many([1, v])):
        with pytest.raises(UsageError, match="list can't travel"):
            encode([value])


def test_an_unknown_extension_is_refused() -> None:
    packed = msgspec.msgpack.encode(msgspec.msgpack.Ext(99, b"x"))
    with pytest.raises(msgspec.ValidationError, match="extension type 99"):
        Codec(None).decoder(Any).decode(packed)


def test_credit_is_bounded_and_comes_back() -> None:
    book = CreditBook()
    to = Address(1, 1, "m:A", mailbox=Mailbox(capacity=3))
    assert [book.take(to) for _ in range(4)] == [True, True, True, False]
    book.give(1, 1, 2)
    assert [book.take(to) for _ in range(3)] == [True, True, False]
    book.reset(1)
    assert book.take(to)
    endless = Address(2, 1, "m:A", mailbox=Mailbox(1, OverflowPolicy.DROP_OLDEST))
    assert all(book.take(endless) for _ in range(10))


@pytest.mark.parametrize("capacity", [1, 2, 3, 1024])
def test_a_lot_never_leaves_a_sender_waiting_for_ever(capacity: int) -> None:
    assert 1 <= lot(capacity) <= capacity
