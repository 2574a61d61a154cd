"""numpy's part: dtypes and memory layouts as data, and arrays over shared memory.

Loaded with the first array of a process: numpy takes time and memory that one without arrays keeps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.errors import DecodeError, UsageError
from gristmill.transport.arrays.holds import Draft, Hold
from gristmill.transport.arrays.wire import Field, Layout, Record

Array = npt.NDArray[Any]


def describe(dtype: np.dtype[Any]) -> str | Record:
    """Give a dtype as data.

    Raises:
        UsageError: it holds Python objects, or only the library that made it can make it again.
    """
    if dtype.hasobject:
        raise UsageError(
            f"an array of {dtype} holds Python objects and can't travel in a message; "
            "use a plain dtype"
        )
    if dtype.names is None:
        if np.dtype(dtype.str) != dtype:
            raise UsageError(
                f"an array of {dtype} can't travel in a message: numpy alone does not know the "
                "dtype; send a view of it as a plain one"
            )
        return dtype.str
    fields = tuple(_describe_field(name, dtype) for name in dtype.names)
    return Record(dtype.itemsize, dtype.isalignedstruct, fields)


def _describe_field(name: str, dtype: np.dtype[Any]) -> Field:
    assert dtype.fields is not None
    kind, offset, *title = dtype.fields[name]
    if title and not isinstance(title[0], str):
        raise UsageError(f"the title of field {name!r} must be a string to travel in a message")
    return Field(name, offset, describe(kind.base), kind.shape, title[0] if title else None)


def restore(description: str | Record) -> np.dtype[Any]:
    """Make the dtype again.

    Raises:
        DecodeError: it describes no dtype, or one of Python objects.
    """
    try:
        dtype: np.dtype[Any] = np.dtype(_specification(description))
    except (TypeError, ValueError, KeyError, SyntaxError, OverflowError) as error:
        raise DecodeError(f"{description!r} from the wire is no dtype: {error}") from None
    if dtype.hasobject:
        raise DecodeError(f"an array of {dtype} from the wire is refused: it holds objects")
    return dtype


def _specification(description: str | Record) -> Any:  # noqa: ANN401 - any form numpy takes
    if isinstance(description, str):
        return description
    fields = description.fields
    titled = any(field.title is not None for field in fields)
    return {
        "names": [field.name for field in fields],
        "formats": [(restore(field.dtype), field.shape) for field in fields],
        "offsets": [field.offset for field in fields],
        "itemsize": description.itemsize,
        "aligned": description.aligned,
        **({"titles": [field.title for field in fields]} if titled else {}),
    }


def lay_out(array: Array, address: int) -> Layout:
    """Describe where an array lies in the memory that begins at ``address``."""
    return Layout(
        array.__array_interface__["data"][0] - address,
        array.shape,
        array.strides,
        describe(array.dtype),
    )


def view(memory: Array, layout: Layout) -> Array:
    """Give the array that lies in ``memory``; it may be written if the memory may.

    Raises:
        DecodeError: the layout is none, or reaches beyond the memory.
    """
    dtype = restore(layout.dtype)
    try:
        return np.ndarray(layout.shape, dtype, memory, layout.offset, layout.strides)
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError(f"an array from the wire does not fit its memory: {error}") from None


def copy_into(memory: Array, array: Array) -> Array:
    """Copy an array to the beginning of ``memory``, without gaps and in its own order; give it."""
    if array.flags.c_contiguous:
        copy = np.ndarray(array.shape, array.dtype, memory)
    elif array.flags.f_contiguous:
        copy = np.ndarray(array.shape, array.dtype, memory, order="F")
    else:
        strides = np.empty_like(array, subok=False).strides
        copy = np.ndarray(array.shape, array.dtype, memory, 0, strides)
    if array.dtype.names and array.dtype.itemsize:
        whole = np.dtype((np.void, array.dtype.itemsize))  # ten times as fast as field by field
        np.copyto(copy.view(whole), array.view(whole))
    else:
        np.copyto(copy, array)
    return copy


def memory_of(root: Hold | Draft) -> npt.NDArray[np.uint8]:
    """Give the segment's bytes as an array that keeps ``root``."""
    return np.asarray(root)


def wrap(content: bytes) -> npt.NDArray[np.uint8]:
    """Give bytes as an array, which can't be written."""
    return np.frombuffer(content, np.uint8)


def root_of(array: Array) -> Hold | Draft | None:
    """Give what an array's memory belongs to, if that is shared memory of ours."""
    base: object = array
    while True:
        if isinstance(base, np.ndarray):
            base = base.base
        elif isinstance(base, memoryview):
            base = base.obj
        else:
            return base if isinstance(base, Hold | Draft) else None
