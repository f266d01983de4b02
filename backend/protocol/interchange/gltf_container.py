"""The binary glTF 2.0 container: a JSON document and one buffer, written and read with every bound checked."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from ..errors import AvatarFileError

EXTENSION = "KHR_gaussian_splatting"
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
POINTS, TRIANGLES = 0, 4
MAX_DOCUMENT_BYTES = 1 << 26
MAX_FILLED_BYTES = 1 << 28
"""What accessors may hold that the file does not: sparse ones and those without data are mostly zeros, made from a few bytes."""

_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_HEADER, _CHUNK = struct.Struct("<4sII"), struct.Struct("<I4s")


class BufferWriter:
    """The binary chunk as it grows, with the accessors that point into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, array: np.ndarray, bounds: bool = False, target: int | None = None) -> int:
        """Append [N] or [N, K] as one accessor of its own buffer view; returns its index."""
        self.accessors.append({"bufferView": self._view(array, target), **_shape(array, bounds)})
        return len(self.accessors) - 1

    def add_sparse(self, array: np.ndarray, bounds: bool = False) -> int:
        """As `add` for [N, 3] that is mostly zero: only the other rows are stored where that is smaller."""
        rows = np.flatnonzero(array.any(1))
        if len(rows) * 16 >= array.nbytes or not len(rows):
            return self.add(array, bounds, ARRAY_BUFFER)
        sparse = {
            "count": len(rows),
            "indices": {"bufferView": self._view(rows.astype(np.uint32)), "componentType": 5125},
            "values": {"bufferView": self._view(array[rows])},
        }
        self.accessors.append({**_shape(array, bounds), "sparse": sparse})
        return len(self.accessors) - 1

    def _view(self, array: np.ndarray, target: int | None = None) -> int:
        payload = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(payload)}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += payload + b"\0" * (-len(payload) % 4)
        return len(self.views) - 1

    def container(self, document: dict[str, Any]) -> bytes:
        """The whole file."""
        document = document | {"accessors": self.accessors, "bufferViews": self.views, "buffers": [{"byteLength": len(self.data)}]}
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self.data)
        chunks = _CHUNK.pack(len(text), b"JSON") + text + _CHUNK.pack(len(binary), b"BIN\0") + binary
        return _HEADER.pack(b"glTF", 2, _HEADER.size + len(chunks)) + chunks


class Glb:
    """A .glb that was read: `document`, and its accessors as arrays.

    Raises:
        AvatarFileError: not a binary glTF 2.0 file, or truncated; the accessors are checked as they are taken.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        if len(data) < _HEADER.size + _CHUNK.size or data[:4] != b"glTF":
            raise AvatarFileError(f"{name}: not a binary glTF file")
        _, version, length = _HEADER.unpack_from(data)
        size, kind = _CHUNK.unpack_from(data, _HEADER.size)
        start = _HEADER.size + _CHUNK.size
        if version != 2 or length > len(data) or kind != b"JSON" or size > min(len(data) - start, MAX_DOCUMENT_BYTES):
            raise AvatarFileError(f"{name}: not a binary glTF 2.0 file, or truncated")
        try:
            self.document: dict[str, Any] = json.loads(data[start : start + size])
        except (ValueError, RecursionError) as error:
            raise AvatarFileError(f"{name}: its JSON is damaged") from error
        if not isinstance(self.document, dict):
            raise AvatarFileError(f"{name}: its JSON is not an object")
        self._refuse_compressed(self.document.get("extensionsRequired"))
        self.binary = b""
        self._filled_bytes = 0
        if start + size + _CHUNK.size <= len(data):
            binary, kind = _CHUNK.unpack_from(data, start + size)
            if kind == b"BIN\0":
                self.binary = data[start + size + _CHUNK.size : start + size + _CHUNK.size + binary]

    def _refuse_compressed(self, extensions: Any) -> None:
        """Say by name which compression a file, or a part of it, is packed with. KHR_mesh_quantization is read: it is plain integers."""
        for extension in extensions if isinstance(extensions, list | dict) else ():
            if any(word in str(extension).lower() for word in ("meshopt", "draco")):
                raise AvatarFileError(
                    f"{self.name}: is compressed with {str(extension)[:60]}, which is not read here",
                    "save it without compression, for example with `gltf-transform copy`",
                )

    def array(self, index: int, limit: int) -> np.ndarray:
        """One accessor: [N] or [N, K] of its own type, sparse ones filled in.

        Args:
            limit: more rows than this are refused before anything is allocated.
        """
        accessor = self.item("accessors", index)
        count, dtype, width = self._type(accessor)
        if count > limit:
            raise AvatarFileError(f"{self.name}: an accessor of {count} rows is more than Lookalike takes ({limit})")
        if "bufferView" not in accessor or "sparse" in accessor:
            self._filled_bytes += count * dtype.itemsize * width
            if self._filled_bytes > MAX_FILLED_BYTES:
                raise AvatarFileError(f"{self.name}: its sparse accessors are larger than any avatar's ({MAX_FILLED_BYTES >> 20} MiB)")
        values = self._rows(accessor, count, dtype, width) if "bufferView" in accessor else np.zeros((count, width), dtype)
        if "sparse" in accessor:
            values = self._filled(values, accessor["sparse"])
        return values[:, 0] if width == 1 else values

    def item(self, kind: str, index: Any) -> dict[str, Any]:
        """One object of a top-level list. Raises AvatarFileError where the index or the object is none."""
        items = self.document.get(kind, [])
        if isinstance(index, bool) or not isinstance(index, int) or not isinstance(items, list) or not 0 <= index < len(items):
            raise AvatarFileError(f"{self.name}: has no {kind}[{str(index)[:20]}]")
        if not isinstance(items[index], dict):
            raise AvatarFileError(f"{self.name}: {kind}[{index}] is not an object")
        return items[index]

    def _type(self, accessor: dict[str, Any]) -> tuple[int, np.dtype, int]:
        component, kind, count = accessor.get("componentType"), accessor.get("type"), accessor.get("count")
        if component not in _COMPONENTS or kind not in _WIDTHS or isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise AvatarFileError(f"{self.name}: an accessor is of no known type")
        return count, np.dtype(_COMPONENTS[component]), _WIDTHS[kind]

    def _rows(self, holder: dict[str, Any], count: int, dtype: np.dtype, width: int) -> np.ndarray:
        """[count, width] rows where `holder` (an accessor or a part of a sparse one) points, read-only, not copied."""
        view = self.item("bufferViews", holder.get("bufferView"))
        self._refuse_compressed(view.get("extensions"))
        row = dtype.itemsize * width
        numbers = [view.get("byteOffset", 0), view.get("byteLength", 0), holder.get("byteOffset", 0), view.get("byteStride", row)]
        if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers):
            raise AvatarFileError(f"{self.name}: a buffer view is not made of whole numbers")
        start, length, inner, stride = numbers
        needed = (count - 1) * stride + row if count else 0
        if view.get("buffer") != 0 or stride < row or inner + needed > length or start + length > len(self.binary):
            raise AvatarFileError(f"{self.name}: an accessor reaches beyond the file's data")
        raw = np.frombuffer(self.binary, np.uint8, needed, start + inner)
        table = np.lib.stride_tricks.as_strided(raw, (count, row), (stride, 1), writeable=False)
        return np.ascontiguousarray(table).view(dtype).reshape(count, width)

    def _filled(self, values: np.ndarray, sparse: Any) -> np.ndarray:
        count = sparse.get("count") if isinstance(sparse, dict) else None
        if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= len(values):
            raise AvatarFileError(f"{self.name}: a sparse accessor has an impossible count")
        indices, replaced = sparse.get("indices"), sparse.get("values")
        if not isinstance(indices, dict) or not isinstance(replaced, dict) or indices.get("componentType") not in {5121, 5123, 5125}:
            raise AvatarFileError(f"{self.name}: a sparse accessor is incomplete")
        rows = self._rows(indices, count, np.dtype(_COMPONENTS[indices["componentType"]]), 1)[:, 0]
        if rows.max() >= len(values):
            raise AvatarFileError(f"{self.name}: a sparse accessor points beyond its rows")
        filled = np.array(values)
        filled[rows] = self._rows(replaced, count, values.dtype, values.shape[1])
        return filled


def _shape(array: np.ndarray, bounds: bool) -> dict[str, Any]:
    single = array.dtype.itemsize < 4
    component = 5123 if single else {"f": 5126, "u": 5125}[array.dtype.kind]
    width = 1 if array.ndim == 1 else array.shape[1]
    kind = next(name for name, each in _WIDTHS.items() if each == width)
    shape: dict[str, Any] = {"componentType": component, "count": len(array), "type": kind}
    return shape | ({"min": array.min(0).tolist(), "max": array.max(0).tolist()} if bounds else {})
