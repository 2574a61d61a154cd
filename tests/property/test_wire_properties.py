from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.errors import DecodeError
from gristmill.transport.codec import Codec
from gristmill.transport.envelope import HEADER, pack, pack_frame, read_frame
from support.actors import Add, Blob, GetQuote, Note, Quote

messages = st.one_of(
    st.builds(Add, st.integers(-(2**63), 2**63 - 1), st.integers(0, 100)),
    st.builds(GetQuote, st.text(), st.integers(0, 2**40)),
    st.builds(Note, st.integers(-(2**63), 2**64 - 1)),
    st.builds(Blob, st.binary(max_size=300)),
)
envelopes = st.lists(
    st.tuples(st.integers(1, 8), st.integers(0, 2**40), st.binary(max_size=50)), max_size=6
)


@given(messages)
@settings(max_examples=50, deadline=None)
def test_messages_come_back_as_they_were(message: Add | GetQuote | Note | Blob) -> None:
    codec = Codec(None)
    assert codec.decoder(Add | GetQuote | Note | Blob).decode(codec.encode(message)) == message


@given(st.lists(st.builds(Quote, st.text(), st.integers(0, 2**40)), max_size=5))
@settings(max_examples=30, deadline=None)
def test_replies_come_back_as_they_were(reply: list[Quote]) -> None:
    codec = Codec(None)
    assert codec.decoder(list[Quote]).decode(codec.encode(reply)) == reply


@given(envelopes)
@settings(max_examples=50, deadline=None)
def test_envelopes_come_back_as_they_were(frame: list[tuple[int, int, bytes]]) -> None:
    packed = pack_frame(1, 1, 1, list(map(pack, frame)), 0)
    assert read_frame(packed)[1:] == [list(envelope) for envelope in frame]


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_junk_is_a_frame_or_an_error(junk: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert read_frame(junk)[0][0] == HEADER
