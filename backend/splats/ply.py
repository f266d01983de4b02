"""3D Gaussian splatting .ply files, as every splat viewer reads them (Kerbl et al. 2023)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from backend.protocol.avatar import F32, Avatar, SplatArrays
from backend.protocol.avatar_file import MAX_SPLATS, write_atomically
from backend.protocol.errors import AvatarFileError

from .posed import Posable

Axes = Literal["y-down", "y-up"]

_MAX_HEADER_BYTES = 1 << 16
_MAX_BYTES = 1 << 31
# Opacity 0 and 1 have no finite logit.
_OPACITY_MARGIN = 1e-6
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "<i2", "int16": "<i2", "ushort": "<u2", "uint16": "<u2",
    "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4", "float": "<f4", "float32": "<f4", "double": "<f8", "float64": "<f8",
}  # fmt: skip


class SplatCloud(NamedTuple):
    """Splats without a rig: position [N, 3], rotation [N, 4] unit wxyz, scale [N, 3] linear, opacity [N], sh [N, K, 3]."""

    position: F32
    rotation: F32
    scale: F32
    opacity: F32
    sh: F32


def write_ply(
    path: str | os.PathLike[str],
    avatar: Avatar,
    lod: int,
    expression: Mapping[str, float] | None = None,
    pose: F32 | None = None,
    axes: Axes = "y-down",
) -> None:
    """Write the splats of one level in one pose: binary little endian, log scales, logit opacities, rotation wxyz.

    Args:
        axes: "y-down" turns the avatar half a turn about Z, which is how captured scenes lie in these files and how
            viewers (SuperSplat and others) expect them; "y-up" keeps metres with +Y up and the face along +Z. A comment
            in the header says which.

    Raises:
        RigError: no such level, an unknown expression.
        AvatarFileError: the path cannot be written.
    """
    splats = Posable(avatar, lod).pose(expression, pose)
    write_atomically(Path(path), encode_ply(_cloud(splats), axes))


def encode_ply(cloud: SplatCloud, axes: Axes = "y-down") -> bytes:
    """The file's bytes of splats in the avatar's frame."""
    if axes == "y-down":
        cloud = half_turn(cloud)
    count, coefficients = len(cloud.position), cloud.sh.shape[1]
    opacity = np.clip(cloud.opacity, _OPACITY_MARGIN, 1 - _OPACITY_MARGIN)
    columns = {**dict(zip(("x", "y", "z"), cloud.position.T, strict=True)), **dict.fromkeys(("nx", "ny", "nz"), np.zeros(count))}
    columns |= {f"f_dc_{c}": cloud.sh[:, 0, c] for c in range(3)}
    # Coefficients of one channel lie together.
    rest = cloud.sh[:, 1:].transpose(0, 2, 1).reshape(count, -1)
    columns |= {f"f_rest_{i}": rest[:, i] for i in range(3 * (coefficients - 1))}
    columns |= {"opacity": np.log(opacity / (1 - opacity))}
    columns |= {f"scale_{i}": np.log(cloud.scale[:, i]) for i in range(3)}
    columns |= {f"rot_{i}": cloud.rotation[:, i] for i in range(4)}
    header = ["ply", "format binary_little_endian 1.0", "comment made by Lookalike", f"comment axes {axes}", f"element vertex {count}"]
    header += [f"property float {name}" for name in columns] + ["end_header", ""]
    return "\n".join(header).encode("ascii") + np.stack([c.astype("<f4") for c in columns.values()], 1).tobytes()


def read_ply(path: str | os.PathLike[str]) -> SplatCloud:
    """Read a file of this kind back, whoever wrote it; sizes are checked before anything is allocated.

    Returns:
        Splats in the avatar's frame where the header's comment states the axes, else as they lie in the file.

    Raises:
        AvatarFileError: not a splat .ply, truncated, or too large.
    """
    source = Path(path)
    try:
        size = source.stat().st_size
        if size > _MAX_BYTES:
            raise AvatarFileError(f"{source.name}: {size >> 20} MiB is more than a splat file may have")
        data = source.read_bytes()
    except OSError as error:
        raise AvatarFileError(f"{source}: cannot be read ({error.strerror})", "check the path") from error
    return decode_ply(data, source.name)


def decode_ply(data: bytes, name: str = "splats.ply") -> SplatCloud:
    """Inverse of `encode_ply`; `name` appears in errors."""
    end = data[:_MAX_HEADER_BYTES].find(b"end_header\n")
    if not data.startswith(b"ply\n") or end < 0:
        raise AvatarFileError(f"{name}: not a .ply file")
    try:
        lines = data[:end].decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise AvatarFileError(f"{name}: not a .ply file") from error
    count, fields = _layout(lines, name)
    record = np.dtype(fields)
    body = end + len(b"end_header\n")
    if len(data) - body < count * record.itemsize:
        raise AvatarFileError(f"{name}: truncated, {len(data) - body} of {count * record.itemsize} bytes are there")
    rows = np.frombuffer(data, record, count, body)
    take = lambda names: np.stack([rows[n] for n in names], 1).astype(np.float32)
    try:
        rest = sorted((n for n in rows.dtype.names or () if n.startswith("f_rest_")), key=lambda n: int(n[7:]))
        position, dc = take(("x", "y", "z")), take(("f_dc_0", "f_dc_1", "f_dc_2"))
        rotation, log_scale = take([f"rot_{i}" for i in range(4)]), take([f"scale_{i}" for i in range(3)])
        logit = rows["opacity"].astype(np.float64)
        sh = np.concatenate([dc[:, None], take(rest).reshape(count, 3, -1).transpose(0, 2, 1)], 1) if rest else dc[:, None]
    except (ValueError, KeyError) as error:
        raise AvatarFileError(f"{name}: not a Gaussian splat .ply ({error})") from error
    if sh.shape[1] not in {1, 4, 9, 16}:
        raise AvatarFileError(f"{name}: {len(rest)} harmonic coefficients fit no degree")
    if not all(np.isfinite(a).all() for a in (position, sh, rotation, log_scale, logit)):
        raise AvatarFileError(f"{name}: holds NaN or infinity")
    length = np.linalg.norm(rotation, axis=1, keepdims=True)
    if count and length.min() < 1e-12:
        raise AvatarFileError(f"{name}: a rotation is zero")
    scale = np.exp(np.clip(log_scale, -60, 60))
    opacity = 1 / (1 + np.exp(-np.clip(logit, -60, 60)))
    cloud = SplatCloud(position, (rotation / length).astype(np.float32), scale, opacity.astype(np.float32), sh.astype(np.float32))
    return half_turn(cloud) if "comment axes y-down" in lines else cloud


def half_turn(cloud: SplatCloud) -> SplatCloud:
    """Turn by pi about Z; its own inverse. A harmonic of order m changes sign by (-1)^m."""
    w, x, y, z = cloud.rotation.T
    # (0, 0, 0, 1) times the quaternion; negating twice gives the same rotation back.
    rotation = np.stack([-z, -y, x, w], 1)
    orders = np.array([m for degree in range(4) for m in range(-degree, degree + 1)])[: cloud.sh.shape[1]]
    signs = np.where(orders % 2 == 0, 1.0, -1.0).astype(np.float32)
    return cloud._replace(
        position=cloud.position * np.array([-1, -1, 1], np.float32), rotation=rotation.astype(np.float32), sh=cloud.sh * signs[:, None]
    )  # fmt: skip


def _cloud(splats: SplatArrays) -> SplatCloud:
    return SplatCloud(splats.position, splats.rotation, splats.scale, splats.opacity, splats.sh)


def _layout(lines: list[str], name: str) -> tuple[int, list[tuple[str, str]]]:
    """Vertex count and record of the header: one element `vertex` with scalar properties, binary little endian."""
    count, fields = -1, []
    for line in lines[1:]:
        words = line.split()
        if words[:1] in ([], ["comment"], ["obj_info"]):
            continue
        if words[0] == "format" and words[1:] == ["binary_little_endian", "1.0"]:
            continue
        if words[0] == "element" and len(words) == 3 and words[1] == "vertex" and words[2].isdecimal() and count < 0:
            count = int(words[2]) if len(words[2]) < 10 else MAX_SPLATS + 1
        elif words[0] == "property" and len(words) == 3 and words[1] in _TYPES and count >= 0:
            fields.append((words[2], _TYPES[words[1]]))
        else:
            raise AvatarFileError(f"{name}: the header says {line.strip()[:60]!r}, which a binary splat .ply does not")
    if not 0 <= count <= MAX_SPLATS:
        raise AvatarFileError(f"{name}: {count if count <= MAX_SPLATS else 'too many'} splats")
    if not fields or len({f for f, _ in fields}) != len(fields) or len(fields) > 256:
        raise AvatarFileError(f"{name}: impossible properties")
    return count, fields
