"""The payload of a message: one safetensors blob, written with one copy and read with none.

The reader is our own because the wire is hostile ground: it checks the whole table (names, dtypes, shapes
against byte ranges, no hole, no overlap) before it makes the first array, and the arrays are read-only views
of the received buffer. Format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np

from .errors import ProtocolError

MAX_PAYLOAD_BYTES = 1 << 30
MAX_TABLE_BYTES = 1 << 18
MAX_TENSORS = 512
MAX_DIMENSIONS = 8

_DTYPES: dict[str, np.dtype] = {
    name: np.dtype(code)
    for name, code in {"F64": "<f8", "I64": "<i8", "F32": "<f4", "I32": "<i4", "F16": "<f2", "I16": "<i2", "U8": "u1", "I8": "i1"}.items()
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def pack(tensors: Mapping[str, np.ndarray]) -> memoryview:
    """Lay arrays out as one safetensors blob; each byte is copied once.

    Raises:
        ProtocolError: a dtype, a count or a size that the wire does not carry.
    """
    table, arrays = _layout(tensors)
    size = len(table) + sum(a.nbytes for a in arrays)
    if size > MAX_PAYLOAD_BYTES:
        raise ProtocolError(f"payload of {size >> 20} MiB is more than a message may carry ({MAX_PAYLOAD_BYTES >> 20} MiB)")
    blob = np.empty(size, np.uint8)
    blob[: len(table)] = np.frombuffer(table, np.uint8)
    offset = len(table)
    for array in arrays:
        blob[offset : offset + array.nbytes] = array.reshape(-1).view(np.uint8)
        offset += array.nbytes
    return blob.data


def unpack(blob: bytes | bytearray | memoryview) -> dict[str, np.ndarray]:
    """Read-only arrays over `blob`, which they keep alive.

    Raises:
        ProtocolError: anything that is not exactly a safetensors blob within the limits.
    """
    view = memoryview(blob).cast("B").toreadonly()
    if len(view) > MAX_PAYLOAD_BYTES:
        raise ProtocolError(f"payload of {len(view) >> 20} MiB is more than a message may carry")
    if len(view) < 8:
        raise ProtocolError(f"payload too short ({len(view)} bytes)")
    length = int.from_bytes(view[:8], "little")
    if length > min(MAX_TABLE_BYTES, len(view) - 8):
        raise ProtocolError(f"payload's table of {length} bytes does not fit")
    try:
        table = json.loads(bytes(view[8 : 8 + length]))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("payload's table is not JSON") from error
    data = view[8 + length :]
    return {name: _array(data, dtype, shape, begin) for name, dtype, shape, begin in _checked(table, len(data))}


def _layout(tensors: Mapping[str, np.ndarray]) -> tuple[bytes, list[np.ndarray]]:
    """The length-prefixed table, and the arrays in the order of their bytes: widest items first, so that all stay aligned."""
    if len(tensors) > MAX_TENSORS:
        raise ProtocolError(f"{len(tensors)} arrays are more than a message may carry ({MAX_TENSORS})")
    named = sorted(((name, np.ascontiguousarray(a)) for name, a in tensors.items()), key=lambda item: -item[1].itemsize)
    table: dict[str, object] = {}
    offset = 0
    for name, array in named:
        if array.dtype not in _NAMES:
            raise ProtocolError(f"array {name!r}: the wire does not carry {array.dtype}")
        table[name] = {"dtype": _NAMES[array.dtype], "shape": list(tensors[name].shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_TABLE_BYTES:
        raise ProtocolError("names of the arrays are too long")
    return len(text).to_bytes(8, "little") + text, [array for _, array in named]


def _checked(table: object, size: int) -> list[tuple[str, np.dtype, tuple[int, ...], int]]:
    """Every row of the table as (name, dtype, shape, begin) once all rows together cover 0..size exactly once."""
    if not isinstance(table, dict) or len(table) > MAX_TENSORS + 1:
        raise ProtocolError("payload's table is not a table of at most 512 arrays")
    rows = sorted((_row(name, row) for name, row in table.items() if name != "__metadata__"), key=lambda row: (row[3], row[4]))
    end = 0
    for name, _, _, begin, stop in rows:
        if begin != end:
            raise ProtocolError(f"array {name!r} overlaps another or leaves a hole")
        end = stop
    if end != size:
        raise ProtocolError(f"payload has {size} bytes of data, its table says {end}")
    return [row[:4] for row in rows]


def _row(name: str, row: object) -> tuple[str, np.dtype, tuple[int, ...], int, int]:
    try:
        dtype, shape, (begin, stop) = row["dtype"], row["shape"], row["data_offsets"]  # type: ignore[index]
        kind = _DTYPES[dtype]
    except (TypeError, KeyError, ValueError) as error:
        raise ProtocolError(f"array {name!r} has no known dtype, shape and range") from error
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(_is_size(n) for n in (*shape, begin, stop)):
        raise ProtocolError(f"array {name!r} has an impossible shape or range")
    if stop - begin != math.prod(shape) * kind.itemsize:
        raise ProtocolError(f"array {name!r}: shape {shape} of {dtype} does not fill bytes {begin} to {stop}")
    return name, kind, tuple(shape), begin, stop


def _is_size(n: object) -> bool:
    return isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MAX_PAYLOAD_BYTES


def _array(data: memoryview, dtype: np.dtype, shape: tuple[int, ...], begin: int) -> np.ndarray:
    count = math.prod(shape)
    array = np.frombuffer(data, dtype, count, begin) if count else np.empty(0, dtype)
    # A foreign writer may leave an array at an odd address, which Blender's foreach_set would read wrongly.
    return (array if array.flags.aligned else array.copy()).reshape(shape)
