"""Arrays that lie in the body of their message: dtype, shape, order and content."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from msgspec.msgpack import Decoder

from gristmill.errors import DecodeError, UsageError
from gristmill.transport.arrays.layout import Array, describe, restore
from gristmill.transport.arrays.wire import Record

_decoder = Decoder(tuple[str | Record, tuple[int, ...], str, bytes])


def refuse_masked(array: Array) -> None:
    """Refuse an array that is two.

    Raises:
        UsageError: it is masked.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise UsageError(
            "a masked array can't travel in a message; send its data and its mask as two arrays"
        )


def encode_array(array: Array) -> bytes:
    """Encode an array.

    Raises:
        UsageError: arrays of this dtype can't travel.
    """
    dtype = describe(array.dtype)
    order: Literal["C", "F"] = "F" if array.flags.fnc else "C"
    return msgspec.msgpack.encode((dtype, array.shape, order, array.tobytes(order)))


def decode_array(data: memoryview) -> Array:
    """Decode an array; it can't be written.

    Raises:
        msgspec.ValidationError: it is none.
    """
    dtype, shape, order, content = _decoder.decode(data)
    try:
        return np.ndarray(shape, restore(dtype), content, order="F" if order == "F" else "C")
    except (DecodeError, TypeError, ValueError, OverflowError) as error:
        raise msgspec.ValidationError(f"an array from the wire is none: {error}") from None
