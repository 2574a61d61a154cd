"""Message bodies: MessagePack by msgspec, with refs and numpy arrays as extension types.

Small arrays lie in the body. Large ones lie beside it, see :class:`ArrayBody`, unless somebody
keeps the body: a journal, a dead letter, a supervisor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import msgspec
from msgspec.msgpack import Decoder, Encoder, Ext

from gristmill.deferred import Reply, Ticket
from gristmill.errors import (
    DecodeError,
    GristmillError,
    PayloadTooLargeError,
    UsageError,
    text_of,
)
from gristmill.keyed import KeyedGroup
from gristmill.ref import POOLED, Address, Post, Ref
from gristmill.transport.arrays import (
    THRESHOLD,
    ArrayBody,
    ArrayGoneError,
    Beside,
    NoSharedMemoryError,
    SharedArray,
)

if TYPE_CHECKING:
    import numpy as np

    from gristmill.transport.arrays.layout import Array

MAX_BODY = 64 * 1024 * 1024
"""The largest body of a message in bytes; a larger one is refused by its sender."""

_REF = 1
_ARRAY = 2
_BESIDE = 3
_GROUP = 4
_REPLY = 16
_address_decoder = Decoder(Address)
_ticket_decoder = Decoder(Ticket)


class Exporter(Protocol):
    """Takes the large arrays of a body that is being encoded."""

    def export(self, array: Array) -> Beside:
        """Give what lies beside the body; the array may change afterwards.

        Raises:
            NoSharedMemoryError: there is no room; the array goes into the body.
            UsageError: arrays of this dtype can't travel.
        """


class Codec:
    """Encodes and decodes bodies for one process, and binds the refs in them to its post.

    Args:
        post: of the process. Without one it serves to encode, before there is a node.
        exporter: takes the arrays of :data:`THRESHOLD` bytes and more; None leaves them in the
            body.
    """

    def __init__(self, post: Post | None, exporter: Exporter | None = None) -> None:
        self._post = post
        self._exporter = exporter
        self._in_band = Encoder(enc_hook=self._encode_ours)
        small = self._in_band if exporter is None else Encoder(enc_hook=self._encode_small)
        self.encode_short = small.encode
        """Encodes what is short; raises :class:`LargeArray` if there are large arrays in it."""
        self._decoders: dict[Any, Decoder[Any]] = {}

    def encode(self, value: object) -> bytes:
        """Encode a message or reply; an :class:`ArrayBody` if there are large arrays in it.

        Raises:
            PayloadTooLargeError: the body is over :data:`MAX_BODY`.
            UsageError: the value holds something that MessagePack and msgspec don't know.
        """
        try:
            body = self.encode_short(value)
        except LargeArray:
            return self._encode_beside(value)
        except _UNENCODABLE as error:
            raise _unencodable(value, error) from None
        if len(body) > MAX_BODY:
            raise _too_large(value, len(body))
        return body

    def encode_many(self, values: Iterable[object]) -> list[bytes]:
        """Encode messages of which each is a body of its own. Raises what :meth:`encode` raises."""
        values = list(values)
        try:
            bodies = list(map(self.encode_short, values))
        except (LargeArray, *_UNENCODABLE):
            return [self.encode(value) for value in values]
        if bodies and max(map(len, bodies)) > MAX_BODY:
            return [self.encode(value) for value in values]  # says which
        return bodies

    def encode_in_band(self, value: object) -> bytes:
        """Encode what somebody keeps, its arrays with it. Raises what :meth:`encode` raises."""
        try:
            body = self._in_band.encode(value)
        except _UNENCODABLE as error:
            raise _unencodable(value, error) from None
        if len(body) > MAX_BODY:
            raise _too_large(value, len(body))
        return body

    def _encode_beside(self, value: object) -> bytes:
        from gristmill.transport.arrays.in_band import refuse_masked

        assert self._exporter is not None
        export = self._exporter.export
        beside: list[Beside] = []
        no_room: NoSharedMemoryError | None = None

        def encode_ours(part: object) -> object:
            nonlocal no_room
            if isinstance(part, SharedArray):
                beside.append(part)
            elif not _is_large(part):
                return self._encode_ours(part)
            else:
                refuse_masked(part)
                try:
                    beside.append(export(part))
                except NoSharedMemoryError as error:
                    no_room = error
                    return self._encode_ours(part)
            return Ext(_BESIDE, (len(beside) - 1).to_bytes(4, "big"))

        try:
            body = Encoder(enc_hook=encode_ours).encode(value)
        except PayloadTooLargeError as error:
            raise PayloadTooLargeError(f"{error}{_why_in_band(no_room)}") from None
        if len(body) > MAX_BODY:
            raise _too_large(value, len(body), no_room)
        return ArrayBody(body, beside) if beside else body

    def _encode_small(self, part: object) -> object:
        if _is_large(part) or isinstance(part, SharedArray):
            raise LargeArray
        return self._encode_ours(part)

    def _encode_ours(self, value: object) -> object:
        """Encode what msgspec does not know, large arrays too."""
        if isinstance(value, Ref | KeyedGroup | Reply):
            if self._post is not None:
                refuse_foreign(value, self._post.node)
            return _encode_address(value)
        if isinstance(value, SharedArray):
            value = value.array()
        if _is_array(value):
            return Ext(_ARRAY, _encode_array(value))
        if is_scalar(value):
            return plain(value)
        raise UsageError(
            f"a {type(value).__module__}.{type(value).__qualname__} can't travel in a message; "
            "use a message, a msgspec.Struct, a dataclass, a numpy array, a Ref or plain data"
        )

    def decoder(self, expected: Any) -> Decoder[Any]:  # noqa: ANN401 - a type expression
        """Give the (cached) decoder of a type.

        Besides msgspec's errors its ``decode`` raises :class:`ArrayGoneError`.
        """
        found = self._decoders.get(expected)
        if found is None:
            found = Decoder(expected, dec_hook=_decode_ours, ext_hook=self._decode_extension)
            self._decoders[expected] = found
        return found

    def _decode_extension(self, code: int, data: memoryview) -> object:
        if code == _REF and self._post is not None:
            return Ref(_address_decoder.decode(data), self._post)
        if code == _GROUP and self._post is not None:
            return KeyedGroup(_address_decoder.decode(data), self._post)
        if code == _REPLY and self._post is not None:
            return Reply(_ticket_decoder.decode(data), self._post)
        if code == _ARRAY:
            return _decode_array(data)
        if code == _BESIDE:
            return _array_beside(data)
        raise msgspec.ValidationError(f"unknown extension type {code}")


class LargeArray(Exception):  # noqa: N818 - no error: it ends an encoding that begins anew
    """There is a large array in a value."""


def refuse_foreign(value: Ref[Any] | KeyedGroup[Any] | Reply[Any], node: str) -> None:
    """Refuse what belongs to another node than ``node``, where its numbers stand for others.

    Raises:
        UsageError: it does.
    """
    if value.node != node:
        raise UsageError(
            f"{value!r} is of the node {value.node!r}, and can't be used in the node {node!r}; "
            "use it where it is from, and send what comes of that"
        )


def _encode_address(value: Ref[Any] | KeyedGroup[Any] | Reply[Any]) -> Ext:
    if isinstance(value, Reply):
        return Ext(_REPLY, msgspec.msgpack.encode(value.ticket))
    if isinstance(value, KeyedGroup):
        return Ext(_GROUP, msgspec.msgpack.encode(value.address))
    if value.address.home == POOLED:
        raise UsageError(
            f"{value.address.label} is an elastic pool, whose ref can't travel; send its name, "
            "for ctx.lookup_pool, or the ref of one actor"
        )
    return Ext(_REF, msgspec.msgpack.encode(value.address))


def _decode_ours(expected: type, value: object) -> object:
    if isinstance(value, getattr(expected, "__origin__", expected)):
        return value
    raise msgspec.ValidationError(f"expected {expected.__name__}, got {type(value).__name__}")


# --- arrays: numpy is loaded with the first one ---


def _is_array(part: object) -> TypeGuard[Array]:
    numpy = sys.modules.get("numpy")  # who has not loaded it has none
    return numpy is not None and isinstance(part, getattr(numpy, "ndarray", ()))


def _is_large(part: object) -> TypeGuard[Array]:
    return _is_array(part) and part.nbytes >= THRESHOLD


def is_scalar(part: object) -> TypeGuard[np.generic]:
    """Tell whether this is a scalar of numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(part, getattr(numpy, "generic", ()))


def plain(scalar: np.generic) -> object:
    """Give Python's counterpart of a scalar of numpy.

    Raises:
        UsageError: there is none with the same meaning: of a time in nanoseconds or a NaT, of a
            complex number or a long double.
    """
    item = scalar.item()
    kind = scalar.dtype.kind
    if kind == "c" or is_scalar(item) or (kind in "mM" and isinstance(item, int | None)):
        raise UsageError(
            f"the {type(scalar).__name__} {scalar} of numpy can't travel in a message by itself; "
            "use a 0-d array, np.asarray(it), or make it plain data"
        )
    return item


def _encode_array(array: Array) -> bytes:
    from gristmill.transport.arrays.in_band import encode_array, refuse_masked

    refuse_masked(array)
    if array.nbytes > MAX_BODY:
        raise PayloadTooLargeError(
            f"an array of {array.nbytes:,} bytes does not fit into a message of {MAX_BODY:,}; "
            "send it in parts"
        )
    return encode_array(array)


def _decode_array(data: memoryview) -> Array:
    from gristmill.transport.arrays.in_band import decode_array

    return decode_array(data)


def _array_beside(data: memoryview) -> Array:
    body = data.obj
    place = int.from_bytes(data, "big")
    if not isinstance(body, ArrayBody) or place >= len(body.arrays):
        raise msgspec.ValidationError("a body came without its arrays")
    found = body.arrays[place]
    if isinstance(found, ArrayGoneError):
        raise ArrayGoneError(str(found))
    if not isinstance(found, SharedArray):
        return found
    try:
        return found.array()
    except DecodeError as error:
        raise msgspec.ValidationError(str(error)) from None


def in_band(body: bytes) -> bytes:
    """Give a body with copies of its arrays in it, for whoever keeps it.

    Raises:
        PayloadTooLargeError: that is over :data:`MAX_BODY`.
        ArrayGoneError: an array can't be opened any more.
    """
    if not isinstance(body, ArrayBody):
        return body
    copy = _with_copies.encode(_with_arrays.decode(body))
    if len(copy) > MAX_BODY:
        raise PayloadTooLargeError(f"with its arrays it is {len(copy):,} bytes")
    return copy


def _keep_others(code: int, data: memoryview) -> object:
    return _array_beside(data) if code == _BESIDE else Ext(code, bytes(data))


_with_arrays = Decoder(ext_hook=_keep_others)
_with_copies = Encoder(enc_hook=lambda array: Ext(_ARRAY, _encode_array(array)))


def for_dead_letter(body: bytes, reason: str) -> tuple[bytes, str]:
    """Give what a dead letter keeps of a body, and its reason: that may have to say more."""
    try:
        return in_band(body), reason
    except (GristmillError, msgspec.MsgspecError) as error:
        return b"", f"{reason} (its body is not kept: {error})"


# --- errors and names ---

_UNENCODABLE = (OverflowError, UnicodeEncodeError, RecursionError)
"""What the encoder raises for numbers beyond 64 bits, surrogates, and values within themselves."""


def _unencodable(value: object, error: Exception) -> UsageError:
    return UsageError(f"{type(value).__qualname__} can't travel: {text_of(error)}")


def _too_large(
    value: object, size: int, no_room: NoSharedMemoryError | None = None
) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"{type(value).__qualname__} is {size:,} bytes on the wire, the limit is {MAX_BODY:,}; "
        f"send it in parts or pass a reference to it{_why_in_band(no_room)}"
    )


def _why_in_band(no_room: NoSharedMemoryError | None) -> str:
    if no_room is None:
        return ""
    return f", or let there be room for its arrays in shared memory, beside the message: {no_room}"


NO_MESSAGE = "?"


def message_tag(body: bytes) -> str:
    """Give the message type's tag of an encoded body; ``NO_MESSAGE`` if it is none."""
    try:
        first = msgspec.msgpack.decode(body, type=list[msgspec.Raw])[0]
        return msgspec.msgpack.decode(first, type=str)
    except (msgspec.MsgspecError, IndexError):
        return NO_MESSAGE


def message_head(body: bytes) -> bytes:
    """Give the encoded tag of an encoded body, which is not checked; nothing if it has none.

    That is the first item of an array, as msgspec writes it.
    """
    try:
        at = 3 if body[0] == 0xDC else 1  # an array of 16 and more has a length of two bytes
        mark = body[at]
        if mark == 0xD9:
            return body[at : at + 2 + body[at + 1]]
        if mark == 0xDA:
            return body[at : at + 3 + int.from_bytes(body[at + 1 : at + 3])]
        return body[at : at + 1 + (mark & 0x1F)]
    except (IndexError, TypeError):  # it is malformed, and decoding it will say so
        return b""
