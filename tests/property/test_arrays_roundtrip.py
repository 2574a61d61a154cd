"""Arrays that travel through shared memory come back as they were, whatever their layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gristmill.transport.arrays import (
    ArrayPool,
    Handle,
    SharedArray,
)
from gristmill.transport.arrays.layout import describe, restore
from gristmill.transport.codec import Codec
from gristmill.transport.segment_directory import Process
from support.arrays import new_segment_directory

Pools = tuple[ArrayPool, ArrayPool]
SENDER, RECEIVER = Process(1, 1), Process(2, 7)
ROUNDS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

plain = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.datetime64_dtypes(endianness="?"),
    hnp.timedelta64_dtypes(endianness="?"),
    hnp.byte_string_dtypes(min_len=1),
    hnp.unicode_string_dtypes(min_len=1, endianness="?"),
    st.just(np.dtype("V5")),
)
dtypes = st.one_of(
    plain, hnp.array_dtypes(plain), hnp.nested_dtypes(plain, max_itemsize=64).map(lambda d: d.base)
)
overlapping = np.dtype(
    {"names": ["b", "a"], "formats": [">i4", ("<u2", (2, 1))], "offsets": [2, 0], "itemsize": 9}
)
aligned = np.dtype([("flag", "?"), ("value", "<f8"), ("inner", [("x", ">i2")])], align=True)
titled = np.dtype([(("a title", "a"), "<i4"), ("b", "S3")])


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Give an array in some order, perhaps a view with gaps, steps back or repeated items."""
    dtype = draw(st.one_of(dtypes, st.sampled_from([overlapping, aligned, titled])))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    content = draw(st.binary(min_size=1, max_size=40))
    flat = np.frombuffer((content * (1 + 5**4 * dtype.itemsize))[: 5**4 * dtype.itemsize], "u1")
    count = int(np.prod(shape))
    array = flat[: count * dtype.itemsize].copy().view(dtype)[:count].reshape(shape)
    if draw(st.booleans()):
        array = np.asfortranarray(array)
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    for axis in range(array.ndim):
        step = draw(st.sampled_from([1, 1, 2, -1, -2]))
        array = array[(slice(None),) * axis + (slice(None, None, step),)]
    if array.ndim and draw(st.booleans()):
        array = np.broadcast_to(array, (2, *array.shape))
    return array


@pytest.fixture
def pools() -> Iterator[Pools]:
    with new_segment_directory() as directory:
        yield ArrayPool(directory, SENDER), ArrayPool(directory, RECEIVER)


def send(pools: Pools, array: np.ndarray[Any, Any]) -> SharedArray:
    sender, receiver = pools
    wire = msgspec.msgpack.encode(sender.lend(sender.export(array), RECEIVER.address))
    return receiver.accept(msgspec.msgpack.decode(wire, type=Handle))


def content(array: np.ndarray[Any, Any]) -> list[bytes]:
    """Give the bytes of every field; numpy does not copy those between fields."""
    if array.dtype.names is None:
        return [array.tobytes()]
    return [part for name in array.dtype.names for part in content(array[name])]


def assert_same(got: np.ndarray[Any, Any], sent: np.ndarray[Any, Any]) -> None:
    assert got.dtype == sent.dtype
    assert got.dtype.fields == sent.dtype.fields
    assert got.shape == sent.shape
    assert content(got) == content(sent)
    for order in ("C_CONTIGUOUS", "F_CONTIGUOUS"):
        assert got.flags[order] or not sent.flags[order]


@given(arrays())
@ROUNDS
def test_an_array_comes_back_as_it_was(pools: Pools, array: np.ndarray[Any, Any]) -> None:
    got = send(pools, array).array()
    assert_same(got, array)
    assert not got.flags.writeable
    assert got.strides == np.empty_like(array).strides or not array.size


@given(arrays())
@ROUNDS
def test_an_array_in_a_body_comes_back_as_it_was(array: np.ndarray[Any, Any]) -> None:
    codec = Codec(None)
    got: np.ndarray[Any, Any] = codec.decoder(np.ndarray).decode(codec.encode(array))
    assert_same(got, array)
    assert not got.flags.writeable


@given(st.data())
@ROUNDS
def test_a_view_of_a_received_array_is_passed_on_without_a_copy(
    pools: Pools, data: st.DataObject
) -> None:
    whole: Any = send(pools, np.arange(120, dtype=">u2").reshape(4, 5, 6)).array()
    part = whole[data.draw(hnp.basic_indices(whole.shape, allow_newaxis=True))]
    if not isinstance(part, np.ndarray):
        return  # a scalar
    before = pools[1].size
    again = pools[1].export(part)
    assert pools[1].size == before
    assert again.array().strides == part.strides
    assert_same(again.array(), part)


@given(dtypes)
@settings(max_examples=60, deadline=None)
def test_a_dtype_is_data(dtype: np.dtype[Any]) -> None:
    wire = msgspec.msgpack.encode(describe(dtype))
    back = restore(msgspec.msgpack.decode(wire, type=type(describe(dtype))))
    assert back == dtype
    assert back.isalignedstruct == dtype.isalignedstruct
