"""3D Gaussian splatting .ply files, as every splat viewer reads them (Kerbl et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..avatar_file import MAX_SPLATS
from ..errors import AvatarFileError
from .cloud import Axes, SplatCloud, change_axes, half_turn

_MAX_HEADER_BYTES = 1 << 16
# Opacity 0 and 1 have no finite logit.
_OPACITY_MARGIN = 1e-6
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "<i2", "int16": "<i2", "ushort": "<u2", "uint16": "<u2",
    "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4", "float": "<f4", "float32": "<f4", "double": "<f8", "float64": "<f8",
}  # fmt: skip
_AXES: tuple[Axes, ...] = ("y-down", "rdf", "y-up", "z-up")


def encode_ply(cloud: SplatCloud, axes: Axes = "y-down") -> bytes:
    """The file's bytes of splats in the avatar's frame: binary little endian, log scales, logit opacities, rotation wxyz.

    Args:
        axes: which frame the file has; a comment in its header says it.
    """
    # The half turn is exact: its signs change no digit, so files stay the same from version to version.
    cloud = half_turn(cloud) if axes == "y-down" else change_axes(cloud, "y-up", axes)
    opacity = np.clip(cloud.opacity, _OPACITY_MARGIN, 1 - _OPACITY_MARGIN)
    return _table(cloud, np.log(opacity / (1 - opacity)), [f"comment axes {axes}"])


def _table(cloud: SplatCloud, logit: np.ndarray, comments: Sequence[str]) -> bytes:
    count, coefficients = len(cloud.position), cloud.sh.shape[1]
    columns = {**dict(zip(("x", "y", "z"), cloud.position.T, strict=True)), **dict.fromkeys(("nx", "ny", "nz"), np.zeros(count))}
    columns |= {f"f_dc_{c}": cloud.sh[:, 0, c] for c in range(3)}
    # Coefficients of one channel lie together.
    rest = cloud.sh[:, 1:].transpose(0, 2, 1).reshape(count, -1)
    columns |= {f"f_rest_{i}": rest[:, i] for i in range(3 * (coefficients - 1))}
    columns |= {"opacity": logit}
    columns |= {f"scale_{i}": np.log(cloud.scale[:, i]) for i in range(3)}
    columns |= {f"rot_{i}": cloud.rotation[:, i] for i in range(4)}
    header = ["ply", "format binary_little_endian 1.0", "comment made by Lookalike", *comments, f"element vertex {count}"]
    header += [f"property float {name}" for name in columns] + ["end_header", ""]
    return "\n".join(header).encode("ascii") + np.stack([c.astype("<f4") for c in columns.values()], 1).tobytes()


def decode_ply(data: bytes, name: str = "splats.ply", axes: Axes = "y-up") -> SplatCloud:
    """Inverse of `encode_ply`, whoever wrote the file; `name` appears in errors.

    Args:
        axes: the frame of a file that does not say it; "y-up" returns it as it lies.
    Returns:
        Splats in the avatar's frame.
    Raises:
        AvatarFileError: not a splat .ply, truncated, or too large.
    """
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
    cloud = _cloud(np.frombuffer(data, record, count, body), name)
    said = axes
    for each in _AXES:
        said = each if f"comment axes {each}" in lines else said
    return half_turn(cloud) if said == "y-down" else change_axes(cloud, said, "y-up")


def _cloud(rows: np.ndarray, name: str) -> SplatCloud:
    """The table's rows as splats, checked."""
    count = len(rows)
    take = lambda names: np.stack([rows[n] for n in names], 1).astype(np.float32)
    try:
        rest = sorted((n for n in rows.dtype.names or () if n.startswith("f_rest_")), key=lambda n: int(n[7:]))
        position, dc = take(("x", "y", "z")), take(("f_dc_0", "f_dc_1", "f_dc_2"))
        rotation, log_scale = take([f"rot_{i}" for i in range(4)]), take([f"scale_{i}" for i in range(3)])
        logit = rows["opacity"].astype(np.float64)
        sh = np.concatenate([dc[:, None], take(rest).reshape(count, 3, -1).transpose(0, 2, 1)], 1) if rest else dc[:, None]
    except (ValueError, KeyError) as error:
        raise AvatarFileError(f"{name}: not a Gaussian splat .ply ({error})", "meshes are imported with File > Import > PLY") from error
    if sh.shape[1] not in {1, 4, 9, 16}:
        raise AvatarFileError(f"{name}: {len(rest)} harmonic coefficients fit no degree")
    if not all(np.isfinite(a).all() for a in (position, sh, rotation, log_scale, logit)):
        raise AvatarFileError(f"{name}: holds NaN or infinity")
    length = np.linalg.norm(rotation.astype(np.float64), axis=1, keepdims=True)
    if count and length.min() < 1e-12:
        raise AvatarFileError(f"{name}: a rotation is zero")
    scale = np.exp(np.clip(log_scale, -60, 60))
    opacity = 1 / (1 + np.exp(-np.clip(logit, -60, 60)))
    return SplatCloud(position, (rotation / length).astype(np.float32), scale, opacity.astype(np.float32), sh.astype(np.float32))


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
