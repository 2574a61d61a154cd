"""Message bodies: MessagePack by msgspec, with refs and numpy arrays as extension types."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.msgpack import Decoder, Encoder, Ext

from gristmill.deferred import Reply, Ticket
from gristmill.errors import PayloadTooLargeError, UsageError
from gristmill.ref import Address, Post, Ref

MAX_BODY = 64 * 1024 * 1024
"""The largest body of a message in bytes; a larger one is refused by its sender."""

_REF = 1
_ARRAY = 2
_REPLY = 16
_address_decoder = Decoder(Address)
_ticket_decoder = Decoder(Ticket)
_array_decoder = Decoder(tuple[str, tuple[int, ...], bytes])


class Codec:
    """Encodes and decodes bodies for one process, and binds the refs in them to its post.

    One without a post serves to encode, before there is a node.
    """

    def __init__(self, post: Post | None) -> None:
        self._post = post
        self._encoder = Encoder(enc_hook=_encode_ours)
        self._decoders: dict[Any, Decoder[Any]] = {}

    def encode(self, value: object) -> bytes:
        """Encode a message, reply or argument.

        Raises:
            PayloadTooLargeError: the body is over :data:`MAX_BODY`.
            UsageError: the value holds something that MessagePack and msgspec don't know.
        """
        body = self._encoder.encode(value)
        if len(body) > MAX_BODY:
            raise PayloadTooLargeError(
                f"{type(value).__qualname__} is {len(body):,} bytes on the wire, the limit is "
                f"{MAX_BODY:,}; send it in parts or pass a reference to it"
            )
        return body

    def decoder(self, expected: Any) -> Decoder[Any]:  # noqa: ANN401 - a type expression
        """Give the (cached) decoder of a type."""
        found = self._decoders.get(expected)
        if found is None:
            found = Decoder(expected, dec_hook=_decode_ours, ext_hook=self._decode_extension)
            self._decoders[expected] = found
        return found

    def _decode_extension(self, code: int, data: memoryview) -> object:
        if code == _REF and self._post is not None:
            return Ref(_address_decoder.decode(data), self._post)
        if code == _REPLY and self._post is not None:
            return Reply(_ticket_decoder.decode(data), self._post)
        if code == _ARRAY:
            return _decode_array(data)
        raise msgspec.ValidationError(f"unknown extension type {code}")


def _encode_ours(value: object) -> object:
    if isinstance(value, Ref):
        return Ext(_REF, msgspec.msgpack.encode(value.address))
    if isinstance(value, Reply):
        return Ext(_REPLY, msgspec.msgpack.encode(value.ticket))
    if isinstance(value, np.ndarray):
        return Ext(_ARRAY, _encode_array(value))
    if isinstance(value, np.generic):
        return value.item()
    raise UsageError(
        f"a {type(value).__module__}.{type(value).__qualname__} can't travel in a message; "
        "use a message, a msgspec.Struct, a dataclass, a numpy array, a Ref or plain data"
    )


def _decode_ours(expected: type, value: object) -> object:
    if isinstance(value, getattr(expected, "__origin__", expected)):
        return value
    raise msgspec.ValidationError(f"expected {expected.__name__}, got {type(value).__name__}")


def _encode_array(array: npt.NDArray[Any]) -> bytes:
    if array.dtype.hasobject:
        raise UsageError("an array of Python objects can't travel in a message; use a plain dtype")
    layout = (array.dtype.str, array.shape, np.ascontiguousarray(array).data.cast("B"))
    return msgspec.msgpack.encode(layout)


def _decode_array(data: memoryview) -> npt.NDArray[Any]:
    dtype, shape, content = _array_decoder.decode(data)
    return np.frombuffer(content, dtype=dtype).reshape(shape)


def message_tag(body: bytes) -> str:
    """Give the message type's tag of an encoded body, as far as it can be read."""
    try:
        first = msgspec.msgpack.decode(body, type=list[msgspec.Raw])[0]
        return msgspec.msgpack.decode(first, type=str)
    except (msgspec.MsgspecError, IndexError):
        return "?"
