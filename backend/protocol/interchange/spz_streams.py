"""The container of .spz version 4: a plain header, a table, and one zstd stream an attribute (nianticlabs/spz, README, July 2026).

Python unpacks zstd itself from 3.14 on; Blender brings the module `zstandard`; elsewhere it is asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..avatar_file import MAX_SPLATS
from ..errors import AvatarFileError

MAGIC = b"NGSP"
HARMONICS = 5
"""Position of the stream that files of degree 0 do not have."""
_HEADER = struct.Struct("<4sIIBBBBI12x")
_ROW = struct.Struct("<QQ")


class Header(NamedTuple):
    """What the first 32 bytes say."""

    version: int
    count: int
    degree: int
    bits: int
    streams: int
    table: int


def read_header(data: bytes, name: str) -> Header:
    """Raises AvatarFileError where it is not version 4, or says more than can be."""
    if len(data) < _HEADER.size:
        raise AvatarFileError(f"{name}: not a .spz file, or truncated")
    _magic, version, count, degree, bits, _flags, streams, table = _HEADER.unpack_from(data)
    if version != 4:
        raise AvatarFileError(f"{name}: is .spz version {version}; versions 1 to 4 are read", "save it as version 3, or as .ply")
    if degree > 4 or bits > 23 or streams != HARMONICS + (degree > 0) or table < _HEADER.size:
        raise AvatarFileError(f"{name}: not a .spz file of version 4, or damaged")
    if count > MAX_SPLATS:
        raise AvatarFileError(f"{name}: {count} splats are more than Lookalike takes ({MAX_SPLATS})")
    return Header(version, count, degree, bits, streams, table)


def read_streams(data: bytes, header: Header, sizes: Sequence[int], name: str) -> bytes:
    """The streams, unpacked, one after the other; no byte more than `sizes` says is ever unpacked.

    Raises:
        AvatarFileError: torn, damaged, or of other sizes; or this Python cannot unpack zstd.
    """
    start = header.table + header.streams * _ROW.size
    if start > len(data):
        raise AvatarFileError(f"{name}: truncated")
    rows = [_ROW.unpack_from(data, header.table + i * _ROW.size) for i in range(header.streams)]
    unpack, parts = _unpacker(name), []
    for (packed, size), wanted in zip(rows, sizes, strict=True):
        if size != wanted or packed > len(data) - start:
            raise AvatarFileError(f"{name}: its streams do not fit its {header.count} splats, or it is truncated")
        try:
            parts.append(unpack(data[start : start + packed], wanted))
        except Exception as error:  # zstandard.ZstdError or compression.zstd.ZstdError, whichever module there is
            raise AvatarFileError(f"{name}: is damaged ({error})") from error
        if len(parts[-1]) != wanted:
            raise AvatarFileError(f"{name}: is damaged, or truncated")
        start += packed
    return b"".join(parts)


def _unpacker(name: str) -> Callable[[bytes, int], bytes]:
    """A function of packed bytes and the most bytes to unpack."""
    try:
        from compression.zstd import ZstdDecompressor  # type: ignore[import-not-found]  # Python 3.14
    except ImportError:
        pass
    else:
        return lambda packed, size: ZstdDecompressor().decompress(packed, size) if size else b""
    try:
        import zstandard  # type: ignore[import-not-found]
    except ImportError as error:
        raise AvatarFileError(
            f"{name}: is .spz version 4, and this Python cannot unpack zstd",
            "install the Python package zstandard, or save it as version 3",
        ) from error

    def unpack(packed: bytes, size: int) -> bytes:
        with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            return stream.read(size)

    return unpack
