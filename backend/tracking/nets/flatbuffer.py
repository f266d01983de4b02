"""Bounded readers for the two wire formats inside a .tflite file: FlatBuffers tables and FlexBuffers maps.

Only what the TensorFlow Lite schema needs. Every offset is checked against the buffer before it is
followed, so a corrupt file raises `FormatError` and nothing else.
Source: the FlatBuffers and FlexBuffers internals pages (google.github.io/flatbuffers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

MAX_DEPTH = 16


class FormatError(ValueError):
    """The bytes are not what the format says."""


class Table:
    """One FlatBuffers table: fields by their id in the schema; an absent field has its default."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        vtable = position - _read(data, "<i", position)
        size = _read(data, "<H", vtable)
        if size < 4 or size % 2:
            raise FormatError("a table's index has an impossible size")
        self._vtable = vtable
        self._fields = (size - 4) // 2

    def _field(self, index: int) -> int:
        """Absolute position of a field, 0 when absent."""
        if index >= self._fields:
            return 0
        offset = _read(self.data, "<H", self._vtable + 4 + 2 * index)
        return self.position + offset if offset else 0

    def scalar(self, index: int, form: str, default: int = 0) -> int:
        """A number; `form` is its struct letter (b, B, i, I)."""
        at = self._field(index)
        return _read(self.data, "<" + form, at) if at else default

    def table(self, index: int) -> Table | None:
        """A nested table (also the value of a union)."""
        at = self._field(index)
        return Table(self.data, at + _read(self.data, "<I", at)) if at else None

    def tables(self, index: int) -> Iterator[Table]:
        """A vector of tables."""
        start, count = self._vector(index, 4)
        for i in range(count):
            at = start + 4 * i
            yield Table(self.data, at + _read(self.data, "<I", at))

    def numbers(self, index: int, form: str = "i") -> list[int]:
        """A vector of numbers."""
        start, count = self._vector(index, struct.calcsize(form))
        return list(struct.unpack_from(f"<{count}{form}", self.data, start))

    def octets(self, index: int) -> bytes:
        """A string or a vector of bytes."""
        start, count = self._vector(index, 1)
        return self.data[start : start + count]

    def _vector(self, index: int, item: int) -> tuple[int, int]:
        at = self._field(index)
        if not at:
            return 0, 0
        at += _read(self.data, "<I", at)
        count = _read(self.data, "<I", at)
        if at + 4 + count * item > len(self.data):
            raise FormatError("a vector reaches beyond the end")
        return at + 4, count


def root(data: bytes) -> Table:
    """The root table of a FlatBuffers file."""
    return Table(data, _read(data, "<I", 0))


_INT, _UINT, _FLOAT, _KEY, _STRING = 1, 2, 3, 4, 5
_INDIRECT = {6: _INT, 7: _UINT, 8: _FLOAT}
_MAP, _VECTOR, _TYPED, _BOOL = 9, 10, {11: _INT, 12: _UINT, 13: _FLOAT}, 26

FlexValue = int | float | str | list["FlexValue"] | dict[str, "FlexValue"]


def flexbuffer(data: bytes) -> FlexValue:
    """Decode a FlexBuffers message of numbers, strings, vectors and maps."""
    if len(data) < 3:
        raise FormatError("a FlexBuffer has at least three bytes")
    width, packed = data[-1], data[-2]
    return _flex(data, len(data) - 2 - width, width, packed, 0)


def _flex(data: bytes, at: int, parent_width: int, packed: int, depth: int) -> FlexValue:
    kind, width = packed >> 2, 1 << (packed & 3)
    if depth > MAX_DEPTH:
        raise FormatError("a FlexBuffer is nested too deeply")
    if kind in (_INT, _UINT, _FLOAT, _BOOL):
        return _number(data, at, parent_width, kind)
    at -= int(_number(data, at, parent_width, _UINT))  # everything else is stored elsewhere, before this point
    if kind in _INDIRECT:
        return _number(data, at, width, _INDIRECT[kind])
    if kind in (_KEY, _STRING):
        end = data.find(b"\0", max(at, 0)) if kind == _KEY else at + int(_number(data, at - width, width, _UINT))
        if not 0 <= at <= end <= len(data):
            raise FormatError("a string reaches beyond the end")
        return data[at:end].decode("utf-8", "replace")
    if kind not in _TYPED and kind not in (_VECTOR, _MAP):
        raise FormatError(f"FlexBuffer type {kind} is not expected here")
    count = int(_number(data, at - width, width, _UINT))
    if count * width > len(data):
        raise FormatError("a FlexBuffer vector reaches beyond the end")
    if kind in _TYPED:
        return [_number(data, at + i * width, width, _TYPED[kind]) for i in range(count)]
    kinds = at + count * width
    values = [_flex(data, at + i * width, width, _read(data, "<B", kinds + i), depth + 1) for i in range(count)]
    if kind == _VECTOR:
        return values
    keys_at = at - 3 * width
    keys = keys_at - int(_number(data, keys_at, width, _UINT))
    keys_width = int(_number(data, keys_at + width, width, _UINT))
    if keys_width not in (1, 2, 4, 8):
        raise FormatError("a FlexBuffer's keys have an impossible width")
    names = [_flex(data, keys + i * keys_width, keys_width, _KEY << 2, depth + 1) for i in range(count)]
    return {str(name): value for name, value in zip(names, values, strict=True)}


def _number(data: bytes, at: int, width: int, kind: int) -> float:
    forms = {_INT: "bhiq", _UINT: "BHIQ", _BOOL: "BHIQ", _FLOAT: "?efd"}[kind]
    try:
        form = forms[(1, 2, 4, 8).index(width)]
    except ValueError as error:
        raise FormatError("a FlexBuffer number has an impossible width") from error
    return _read(data, "<" + form, at)


def _read(data: bytes, form: str, at: int) -> int:
    if at < 0 or at + struct.calcsize(form) > len(data):
        raise FormatError("an offset points outside the file")
    return struct.unpack_from(form, data, at)[0]
