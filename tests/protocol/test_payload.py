"""Payloads: what goes in comes out as views, and nothing hostile gets through to an allocation."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load, save

from backend.protocol.errors import ProtocolError
from backend.protocol.payload import MAX_TENSORS, pack, unpack

DTYPES = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8]
TENSORS = st.dictionaries(
    st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__"),
    arrays.arrays(st.sampled_from(DTYPES), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)),
    max_size=6,
)


def blob(table: object, data: bytes = b"") -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + data


def row(dtype: str, shape: list, begin: int, end: int) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@given(TENSORS)
def test_round_trip_and_readable_by_safetensors(tensors):
    packed = pack(tensors)
    ours, theirs = unpack(packed), load(bytes(packed))
    assert set(ours) == set(theirs) == set(tensors)
    for name, array in tensors.items():
        assert ours[name].dtype == array.dtype
        np.testing.assert_array_equal(ours[name], array)
        np.testing.assert_array_equal(theirs[name], array)


def test_reads_what_safetensors_writes():
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(3, dtype=np.uint8)}
    for name, array in unpack(save(tensors, metadata={"who": "safetensors"})).items():
        np.testing.assert_array_equal(array, tensors[name])


def test_arrays_are_read_only_views_of_the_buffer():
    buffer = pack({"big": np.ones((1000, 1000), np.float32)})
    tracemalloc.start()
    array = unpack(buffer)["big"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
    assert np.shares_memory(array, np.asarray(buffer))
    assert not array.flags.writeable


HOSTILE = {
    "empty": b"",
    "short": b"\1\0\0",
    "length beyond the end": (1 << 62).to_bytes(8, "little") + b"{}",
    "not JSON": blob(b"{]"),
    "deep JSON": blob(b"[" * 100_000),
    "a list": blob([]),
    "a row that is no object": blob({"a": 3}),
    "no dtype": blob({"a": {"shape": [1], "data_offsets": [0, 4]}}, b"1234"),
    "unknown dtype": blob({"a": row("F8_E5M2", [4], 0, 4)}, b"1234"),
    "dtype that is a list": blob({"a": row([], [4], 0, 4)}, b"1234"),  # type: ignore[arg-type]
    "negative side": blob({"a": row("U8", [-1, -4], 0, 4)}, b"1234"),
    "fraction": blob({"a": row("U8", [4.0], 0, 4)}, b"1234"),
    "boolean side": blob({"a": row("U8", [True], 0, 1)}, b"1"),
    "overflowing shape": blob({"a": row("F32", [1 << 29, 1 << 29, 1 << 29], 0, 4)}, b"1234"),
    "product that wraps to the right size": blob({"a": row("U8", [1 << 32, (1 << 32) + 1], 0, 1 << 32)}),
    "zero times huge": blob({"a": row("U8", [0, 1 << 40], 0, 0)}),
    "too many dimensions": blob({"a": row("U8", [1] * 9, 0, 1)}, b"1"),
    "beyond the data": blob({"a": row("U8", [8], 0, 8)}, b"1234"),
    "backwards": blob({"a": row("U8", [4], 4, 0)}, b"1234"),
    "overlap": blob({"a": row("U8", [3], 0, 3), "b": row("U8", [3], 1, 4)}, b"1234"),
    "the same bytes twice": blob({"a": row("U8", [4], 0, 4), "b": row("U8", [4], 0, 4)}, b"1234"),
    "hole": blob({"a": row("U8", [1], 0, 1), "b": row("U8", [1], 3, 4)}, b"1234"),
    "bytes that nobody owns": blob({"a": row("U8", [2], 0, 2)}, b"1234"),
    "too many arrays": blob({str(i): row("U8", [0], 0, 0) for i in range(MAX_TENSORS + 2)}),
    "three offsets": blob({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4, 4]}}, b"1234"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_payload_is_refused(name):
    with pytest.raises(ProtocolError):
        unpack(HOSTILE[name])


@given(st.binary(max_size=300))
def test_noise_is_refused(noise):
    with pytest.raises(ProtocolError):
        unpack(noise)


@settings(max_examples=300)
@given(st.data())
def test_a_changed_byte_is_refused_or_harmless(data):
    good = bytearray(pack({"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.arange(5, dtype=np.uint8)}))
    good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        tensors = unpack(good)
    except ProtocolError:
        return
    assert sum(array.nbytes for array in tensors.values()) == 53


def test_odd_addresses_are_mended():
    packed = pack({"a": np.arange(10, dtype=np.float64)})
    shifted = memoryview(b"x" + bytes(packed))[1:]
    assert unpack(shifted)["a"].flags.aligned


def test_what_cannot_travel_is_refused_before_it_is_sent():
    with pytest.raises(ProtocolError, match="does not carry complex128"):
        pack({"a": np.ones(3, complex)})
    with pytest.raises(ProtocolError, match="513 arrays"):
        pack({str(i): np.ones(1, np.uint8) for i in range(MAX_TENSORS + 1)})
