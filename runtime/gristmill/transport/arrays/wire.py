"""What processes say to each other about arrays in shared memory, and why one can't be had."""

from __future__ import annotations

import msgspec

from gristmill.errors import GristmillError
from gristmill.transport.segment_directory import Process, SegmentId


class NoSharedMemoryError(GristmillError):
    """There is no room in shared memory for the array; send it in band."""


class ArrayGoneError(GristmillError):
    """An array can't be opened any more: its owner has ended, or whoever lent it."""


class Field(msgspec.Struct, frozen=True, array_like=True):
    """One field of a structured dtype."""

    name: str
    offset: int
    dtype: str | Record
    shape: tuple[int, ...] = ()
    title: str | None = None


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A structured dtype as data."""

    itemsize: int
    aligned: bool
    fields: tuple[Field, ...]


class Layout(msgspec.Struct, frozen=True, array_like=True):
    """Where in a segment an array lies; offset and strides in bytes."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str | Record


class Handle(msgspec.Struct, frozen=True, array_like=True):
    """What goes over the wire in an array's place."""

    segment: SegmentId
    size: int
    """Bytes of the segment."""
    lender: Process
    """Who gets the release: the owner, or the process that passed the array on."""
    layout: Layout


class Release(msgspec.Struct, frozen=True, array_like=True):
    """Holds of one segment that are given back."""

    segment: SegmentId
    lender: Process
    """Whom they are given back to; a later incarnation of it has nothing to do with them."""
    count: int
    lost: bool
    """Whether a process died that may have passed the array on: it must never be recycled."""
