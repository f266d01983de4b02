"""Niantic's .spz: one gzip stream of quantised splats, about a tenth of the .ply (github.com/nianticlabs/spz, README and load-spz.cc).

A header of 16 bytes (magic, version, count, SH degree, bits behind the point, flags, reserved), then one section an
attribute: positions 3 x 24 bit fixed point, alphas, colours, log scales, rotations, harmonics. Version 2 stores a rotation
as xyz of the quaternion in 3 bytes, version 3 as its smallest three components in 4. The frame is right, up, back: the
avatar's own. Version 4 has the same sections in another container (`spz_streams`), and is read, not written.
"""

from __future__ import annotations

import gzip
import struct
import zlib

import numpy as np

from ..avatar import F32
from ..avatar_file import MAX_SPLATS
from ..errors import AvatarFileError
from . import spz_streams
from .cloud import SplatCloud

MAGIC = 0x5053474E
FRACTION_BITS = 12
"""A quarter of a millimetre, as Niantic writes; a face has finer detail, see `_fraction_bits`."""

_HEADER = struct.Struct("<IIIBBBB")
_COLOR_SCALE = 0.15
_SMALLEST = np.float32(1 / 511)
_BAND_BITS = (5, 4, 4)
"""Bits kept of the harmonics of degree 1, 2 and 3: fewer bits, smaller file."""


def encode_spz(cloud: SplatCloud, version: int = 3) -> bytes:
    """The file's bytes of splats in the avatar's frame.

    Args:
        version: 2 or 3; 3 keeps rotations to 0.2 degrees; 2, which older programs read, to ten where a rotation is near half a turn.
    Raises:
        ValueError: another version.
    """
    if version not in (2, 3):
        raise ValueError(f"spz version {version} is not 2 or 3")
    degree = round(cloud.sh.shape[1] ** 0.5) - 1
    bits = _fraction_bits(cloud.position)
    header = _HEADER.pack(MAGIC, version, len(cloud.position), degree, bits, 0, 0)
    sections = (
        _fixed_point(cloud.position, bits),
        _bytes(cloud.opacity * 255),
        _bytes(cloud.sh[:, 0] * (_COLOR_SCALE * 255) + 127.5),
        _bytes((np.log(cloud.scale) + 10) * 16),
        _smallest_three(cloud.rotation) if version == 3 else _first_three(cloud.rotation),
        _harmonics(cloud.sh[:, 1:]),
    )
    return gzip.compress(header + b"".join(section.tobytes() for section in sections), compresslevel=6, mtime=0)


def decode_spz(data: bytes, name: str = "splats.spz") -> SplatCloud:
    """Splats of a version 1 to 4 file in the avatar's frame; `name` appears in errors. Harmonics beyond degree 3 are left out.

    Raises:
        AvatarFileError: not a .spz, truncated, or larger than its header says; or version 4 where this Python cannot unpack zstd.
    """
    if data[:4] == spz_streams.MAGIC:
        header = spz_streams.read_header(data, name)
        widths = _widths(3, header.degree)
        sizes = [width * header.count for width in widths[: header.streams]]
        body = np.frombuffer(spz_streams.read_streams(data, header, sizes, name), np.uint8)
        return _cloud(body, widths, 3, header.count, header.degree, header.bits, name)
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        head = unpack.decompress(data, _HEADER.size)
    except zlib.error as error:
        raise AvatarFileError(f"{name}: not a .spz file") from error
    if len(head) < _HEADER.size:
        raise AvatarFileError(f"{name}: not a .spz file, or truncated")
    magic, version, count, degree, bits, _flags, _reserved = _HEADER.unpack(head)
    if magic != MAGIC or version not in (1, 2, 3) or degree > 3 or bits > 23:
        raise AvatarFileError(f"{name}: not a .spz file of version 1 to 3")
    if count > MAX_SPLATS:
        raise AvatarFileError(f"{name}: {count} splats are more than Lookalike takes ({MAX_SPLATS})")
    widths = _widths(version, degree)
    return _cloud(_inflate(unpack, sum(widths) * count, name), widths, version, count, degree, bits, name)


def _widths(version: int, degree: int) -> tuple[int, ...]:
    """Bytes a splat of each section."""
    return (6 if version == 1 else 9, 1, 3, 3, 4 if version == 3 else 3, 3 * ((degree + 1) ** 2 - 1))


def _cloud(body: np.ndarray, widths: tuple[int, ...], version: int, count: int, degree: int, bits: int, name: str) -> SplatCloud:
    """Splats of the sections' bytes, one section after the other."""
    rest = (degree + 1) ** 2 - 1
    starts = np.cumsum([0, *(width * count for width in widths)])
    positions, alphas, colors, scales, rotations, harmonics = (
        body[start : start + width * count].reshape(count, width) for start, width in zip(starts, widths, strict=False)
    )
    kept = min(rest, 15)
    sh = np.zeros((count, 1 + kept, 3), np.float32)
    sh[:, 0] = (colors / np.float32(255) - np.float32(0.5)) / np.float32(_COLOR_SCALE)
    sh[:, 1:] = (harmonics.reshape(count, rest, 3)[:, :kept] - np.float32(128)) / np.float32(128)
    position = np.ascontiguousarray(positions).view("<f2").astype(np.float32) if version == 1 else _from_fixed_point(positions, bits)
    if not np.isfinite(position).all():
        raise AvatarFileError(f"{name}: holds NaN or infinity")
    return SplatCloud(
        position=position,
        rotation=_from_smallest_three(rotations) if version == 3 else _from_first_three(rotations),
        scale=np.exp(scales / np.float32(16) - np.float32(10)),
        opacity=(alphas[:, 0] / np.float32(255)).astype(np.float32),
        sh=sh,
    )


def _inflate(unpack: zlib._Decompress, size: int, name: str) -> np.ndarray:
    """Exactly `size` bytes more of the stream, none beyond them is ever unpacked."""
    try:
        body = unpack.decompress(unpack.unconsumed_tail, size) if size else b""
        while len(body) < size and unpack.unconsumed_tail and (more := unpack.decompress(unpack.unconsumed_tail, size - len(body))):
            body += more
    except zlib.error as error:
        raise AvatarFileError(f"{name}: is damaged ({error})") from error
    if len(body) < size:
        raise AvatarFileError(f"{name}: truncated, {len(body)} of {size} bytes are there")
    return np.frombuffer(body, np.uint8)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _fraction_bits(position: F32) -> int:
    """As many bits behind the point as 24 bits leave: a head gets micrometres where Niantic's 12 give 0.25 mm."""
    reach = float(np.abs(position).max(initial=1e-3))
    return int(np.clip(np.floor(np.log2(((1 << 23) - 1) / reach)), 0, 20))


def _fixed_point(position: F32, bits: int) -> np.ndarray:
    whole = np.clip(np.round(position.astype(np.float64) * (1 << bits)), -(1 << 23), (1 << 23) - 1).astype("<i4")
    return np.ascontiguousarray(whole[:, :, None]).view(np.uint8)[..., :3]


def _from_fixed_point(packed: np.ndarray, bits: int) -> F32:
    padded = np.zeros((len(packed), 3, 4), np.uint8)
    padded[..., 1:] = packed.reshape(-1, 3, 3)  # the high bytes, so that the sign comes along
    return ((padded.view("<i4")[..., 0] >> 8) / np.float64(1 << bits)).astype(np.float32)


def _first_three(rotation: F32) -> np.ndarray:
    positive = rotation * np.where(rotation[:, :1] < 0, -1, 1)
    return _bytes(positive[:, 1:] * 127.5 + 127.5)


def _from_first_three(packed: np.ndarray) -> F32:
    xyz = packed / np.float32(127.5) - np.float32(1)
    w = np.sqrt(np.maximum(0, 1 - (xyz * xyz).sum(1)))
    rotation = np.concatenate([w[:, None], xyz], 1)
    return (rotation / np.linalg.norm(rotation, axis=1, keepdims=True)).astype(np.float32)


def _smallest_three(rotation: F32) -> np.ndarray:
    """Index of the largest component, counted x, y, z, w, in 2 bits; the others as sign and 9 bits, in that order."""
    xyzw = rotation[:, [1, 2, 3, 0]].astype(np.float64)
    largest = np.abs(xyzw).argmax(1)
    rows = np.arange(len(xyzw))
    xyzw *= np.where(xyzw[rows, largest] < 0, -1, 1)[:, None]
    packed = largest.astype(np.uint32)
    for component in range(4):
        magnitude = (511 * np.abs(xyzw[:, component]) * np.sqrt(2) + 0.5).astype(np.uint32)
        coded = (packed << 10) | ((xyzw[:, component] < 0).astype(np.uint32) << 9) | np.minimum(magnitude, 511)
        packed = np.where(largest == component, packed, coded).astype(np.uint32)
    return packed.astype("<u4").view(np.uint8).reshape(-1, 4)


def _from_smallest_three(packed: np.ndarray) -> F32:
    code = np.ascontiguousarray(packed).view("<u4")[:, 0]
    largest = (code >> 30).astype(np.int64)
    xyzw = np.zeros((len(code), 4), np.float32)
    for component in (3, 2, 1, 0):
        value = (code & 511) * _SMALLEST * np.float32(np.sqrt(0.5)) * np.where(code & 512, -1, 1)
        here = largest == component
        xyzw[:, component] = np.where(here, 0, value)
        code = np.where(here, code, code >> 10)
    xyzw[np.arange(len(code)), largest] = np.sqrt(np.maximum(0, 1 - (xyzw * xyzw).sum(1)))
    xyzw /= np.maximum(np.linalg.norm(xyzw, axis=1, keepdims=True), np.float32(1e-12))
    return np.ascontiguousarray(xyzw[:, [3, 0, 1, 2]], np.float32)


def _harmonics(sh: F32) -> np.ndarray:
    """[N, K - 1, 3] as bytes about 128, rounded to the middle of buckets that are wider for the higher bands."""
    packed = np.empty(sh.shape, np.uint8)
    start = 0
    for degree, bits in enumerate(_BAND_BITS[: round((sh.shape[1] + 1) ** 0.5) - 1], start=1):
        band, bucket = slice(start, start + 2 * degree + 1), 1 << (8 - bits)
        start = band.stop
        whole = np.round(sh[:, band] * 128) + 128
        packed[:, band] = np.clip(np.floor((whole + bucket // 2) / bucket) * bucket, 0, 255)
    return packed
