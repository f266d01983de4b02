"""The `.lookalike` file: one safetensors file, versioned, bounded, written atomically.

Tensors: ``rig/<field>``, ``lod0/<field>`` ... ``lod2/<field>``, ``shoulders/<field>``,
``driver<i>/pose|world_to_camera|intrinsics``, and ``features/<name>`` where a network's refiner needs them,
and ``adapter<i>/lod<k>/<field>`` for refinements, which are differences to the levels (see `adapters`),
and ``color/mixing`` with ``lod<i>/patterns`` (float16) where colours follow the face (see `color_basis`): readers that do not know
these show the colours of the neutral face, so they are no new version of the format.
The metadata key ``lookalike`` holds one JSON object with the format version, names, drivers' expressions and
sizes, and the provenance.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from .adapters import adapter_header, adapter_tensors, base_of, read_adapters, with_adapters
from .avatar import Avatar, Driver, RigArrays, SplatArrays
from .color_basis import MAX_PATTERNS, ColorBasis, check_basis
from .errors import AvatarFileError

FORMAT_VERSION = 1
SUFFIX = ".lookalike"
MAX_BYTES = 2 << 30
MAX_HEADER_BYTES = 1 << 20
MAX_VERTICES = 1 << 20
MAX_SPLATS = 1 << 22
MAX_LODS = 3
FEATURES = "features/"
MIXING = "color/mixing"

RIG_FIELDS = ("vertices", "faces", "joints", "parents", "weights", "expressions")
_SPLAT_FIELDS = tuple(name for name in SplatArrays.__dataclass_fields__ if name != "patterns")
_INTEGER_FIELDS = {"faces", "parents", "face"}
# Temporaries of so many rows come from memory in hand; larger ones the system clears anew each time.
_ROWS_AT_ONCE = 1 << 14
_ONES = np.ones(4, np.float32)


def write_avatar(path: str | os.PathLike[str], avatar: Avatar) -> None:
    """Write atomically: a temporary file beside the target, flushed to disk, then renamed over it.

    Raises:
        AvatarFileError: the folder cannot be written.
    """
    write_atomically(Path(path), encode_avatar(avatar))


def read_avatar(path: str | os.PathLike[str]) -> Avatar:
    """Read and check a file; nothing is allocated before its sizes are known to be sane.

    Raises:
        AvatarFileError: missing, truncated, corrupt, of another version, or inconsistent.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise AvatarFileError(f"{path.name}: {size >> 20} MiB is more than an avatar file may have ({MAX_BYTES >> 20} MiB)")
        data = path.read_bytes()
    except OSError as error:
        raise AvatarFileError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    return decode_avatar(data, path.name)


def encode_avatar(avatar: Avatar) -> bytes:
    """The file's bytes; also the payload of the wire's `result`."""
    tensors = {f"rig/{f}": getattr(avatar.rig, f) for f in RIG_FIELDS}
    for name, splats in [*((f"lod{i}", s) for i, s in enumerate(base_of(avatar))), ("shoulders", avatar.shoulders)]:
        tensors.update(splat_tensors(name, splats))
    for i, adapter in enumerate(avatar.adapters):
        tensors.update(adapter_tensors(i, adapter))
    for i, driver in enumerate(avatar.drivers):
        tensors[f"driver{i}/pose"] = driver.pose
        tensors[f"driver{i}/world_to_camera"] = driver.world_to_camera
        tensors[f"driver{i}/intrinsics"] = driver.intrinsics
    tensors.update({f"{FEATURES}{name}": array for name, array in avatar.features.items()})
    header = {
        "format": FORMAT_VERSION,
        "rig_id": avatar.rig.rig_id,
        "joint_names": avatar.rig.joint_names,
        "expression_names": avatar.rig.expression_names,
        "lods": len(avatar.lods),
        "drivers": [{"expression": d.expression, "size": d.size} for d in avatar.drivers],
        "provenance": avatar.provenance,
        "adapters": [adapter_header(adapter) for adapter in avatar.adapters],
    }
    if avatar.color_basis is not None:
        tensors[MIXING], header["color_controls"] = avatar.color_basis.mixing, avatar.color_basis.controls
    arrays = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    return save(arrays, metadata={"lookalike": json.dumps(header, allow_nan=False)})


def decode_avatar(data: bytes, name: str = "avatar") -> Avatar:
    """Inverse of `encode_avatar`; `name` appears in errors."""
    header = read_header(data, name)
    try:
        tensors = load(data)
    except Exception as error:  # safetensors raises its own family; all mean one thing to the user
        raise AvatarFileError(f"{name}: the tensors are corrupt ({error})") from error
    try:
        rig = RigArrays(
            *(take_array(tensors, f"rig/{f}", f) for f in RIG_FIELDS),
            joint_names=check_names(header["joint_names"]),
            expression_names=check_names(header["expression_names"]),
            rig_id=str(header["rig_id"]),
        )
        count = int(header["lods"])
        if not 1 <= count <= MAX_LODS:
            raise ValueError(f"{count} levels of detail")
        lods = tuple(splats_from_tensors(f"lod{i}", tensors) for i in range(count))
        shoulders = splats_from_tensors("shoulders", tensors)
        drivers = tuple(
            Driver(
                expression={str(k): float(v) for k, v in d["expression"].items()},
                pose=take_array(tensors, f"driver{i}/pose", "pose"),
                world_to_camera=take_array(tensors, f"driver{i}/world_to_camera", ""),
                intrinsics=take_array(tensors, f"driver{i}/intrinsics", ""),
                size=(int(d["size"][0]), int(d["size"][1])),
            )
            for i, d in enumerate(header["drivers"])
        )
        provenance = dict(header["provenance"])
        features = {key.removeprefix(FEATURES): _feature(key, tensors[key]) for key in tensors if key.startswith(FEATURES)}
        check_rig(rig)
        for driver in drivers:
            check_driver(driver, len(rig.joints))
        for splats in (*lods, shoulders):
            check_splats(splats, len(rig.faces))
        basis = _color_basis(header, tensors, rig, (*lods, shoulders))
        adapters = read_adapters(header.get("adapters", []), tensors, lods)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise AvatarFileError(f"{name}: not a valid avatar ({error})") from error
    avatar = Avatar(rig, lods, shoulders, drivers, provenance, features, color_basis=basis)
    return with_adapters(avatar, adapters) if adapters else avatar


def read_header(data: bytes, name: str = "avatar") -> dict:
    """The JSON metadata, after checking the frame of the file; no tensor is touched.

    Raises:
        AvatarFileError: not a safetensors file, or not one of ours, or of a newer version.
    """
    if len(data) < 8:
        raise AvatarFileError(f"{name}: too short to be an avatar file ({len(data)} bytes)")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise AvatarFileError(f"{name}: not an avatar file, or truncated")
    try:
        table = json.loads(data[8 : 8 + length])
        header = json.loads(table["__metadata__"]["lookalike"])
        version = int(header["format"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise AvatarFileError(f"{name}: not an avatar file") from error
    if version != FORMAT_VERSION:
        raise AvatarFileError(f"{name}: format version {version}, this software reads {FORMAT_VERSION}", "update Lookalike")
    return header


def splat_tensors(prefix: str, splats: SplatArrays) -> dict[str, np.ndarray]:
    """Name the arrays of one set as in the file and on the wire."""
    named = {f"{prefix}/{f}": getattr(splats, f) for f in _SPLAT_FIELDS}
    return named | ({f"{prefix}/patterns": splats.patterns.astype(np.float16)} if splats.patterns.shape[1] else {})


def splats_from_tensors(prefix: str, tensors: Mapping[str, np.ndarray]) -> SplatArrays:
    """Inverse of `splat_tensors`. Raises KeyError or ValueError on missing or wrongly typed arrays.

    Their shapes and values are still anything: see `check_splats`.
    """
    patterns = tensors.get(f"{prefix}/patterns")
    if patterns is not None and patterns.dtype != np.float16:
        raise ValueError(f"{prefix}/patterns is {patterns.dtype}, not float16")
    fields = (_typed_array(tensors, f"{prefix}/{f}", f) for f in _SPLAT_FIELDS)
    return SplatArrays(*fields, patterns=None if patterns is None else patterns.astype(np.float32))  # type: ignore[arg-type]


def _color_basis(
    header: Mapping[str, object], tensors: Mapping[str, np.ndarray], rig: RigArrays, sets: Sequence[SplatArrays]
) -> ColorBasis | None:
    """What the patterns of these sets are weighted by. Raises ValueError where one does not fit the others."""
    basis = None
    if MIXING in tensors:
        basis = ColorBasis(check_names(header["color_controls"]), take_array(tensors, MIXING, "mixing"))  # type: ignore[arg-type]
        check_basis(basis, rig)
    if any(splats.patterns.shape[1] not in (0, len(basis) if basis is not None else 0) for splats in sets):
        raise ValueError("patterns of colours do not fit their mixing")
    return basis


def check_rig(rig: RigArrays) -> None:
    """Shapes and index ranges agree. Raises ValueError naming the first array that does not."""
    v, j, e = len(rig.vertices), len(rig.joints), len(rig.expressions)
    _expect("rig/vertices", rig.vertices, (v, 3))
    _expect("rig/faces", rig.faces, (len(rig.faces), 3))
    _expect("rig/joints", rig.joints, (j, 3))
    _expect("rig/parents", rig.parents, (j,))
    _expect("rig/weights", rig.weights, (v, j))
    _expect("rig/expressions", rig.expressions, (e, v, 3))
    if not 3 <= v <= MAX_VERTICES or not len(rig.faces) or not 1 <= j <= 256:
        raise ValueError("rig of an impossible size")
    if len(rig.joint_names) != j or len(rig.expression_names) != e:
        raise ValueError("rig names do not match its arrays")
    if len(set(rig.expression_names)) != e or len(set(rig.joint_names)) != j:
        raise ValueError("rig names are not unique")
    _in_range("rig/faces", rig.faces, v)
    if rig.parents[0] != -1 or any(not 0 <= p < i for i, p in enumerate(rig.parents) if i):
        raise ValueError("rig/parents are not in order")


def check_driver(driver: Driver, joint_count: int) -> None:
    """Shapes and numbers of one driver. Raises ValueError naming what does not fit."""
    _expect("driver pose", driver.pose, (joint_count, 3))
    _expect("driver world_to_camera", driver.world_to_camera, (4, 4))
    _expect("driver intrinsics", driver.intrinsics, (3, 3))
    if not all(math.isfinite(value) for value in driver.expression.values()):
        raise ValueError("driver expression holds NaN or infinity")
    if not all(0 < side < 1 << 20 for side in driver.size):
        raise ValueError("driver of an impossible picture size")


def check_splats(splats: SplatArrays, face_count: int) -> None:
    """Shapes, finite values, ranges and index bounds of one set. Raises ValueError naming the array."""
    n = len(splats.position)
    if n > MAX_SPLATS:
        raise ValueError(f"{n} splats")
    degrees = {1, 4, 9, 16}
    shapes = {"position": (n, 3), "rotation": (n, 4), "scale": (n, 3), "opacity": (n,), "face": (n,), "barycentric": (n, 3)}
    for field, shape in shapes.items():
        _expect(field, getattr(splats, field), shape)
    if splats.sh.ndim != 3 or splats.sh.shape[0] != n or splats.sh.shape[1] not in degrees or splats.sh.shape[2] != 3:
        raise ValueError(f"sh has shape {splats.sh.shape}")
    if splats.patterns.ndim != 3 or splats.patterns.shape[::2] != (n, 3) or splats.patterns.shape[1] > MAX_PATTERNS:
        raise ValueError(f"patterns has shape {splats.patterns.shape}")
    _in_range("face", splats.face, face_count)
    for field in ("position", "sh", "barycentric", "patterns"):
        _check_finite(field, getattr(splats, field))
    limits = {field: _limits(field, getattr(splats, field)) for field in ("scale", "opacity")}
    if n and not (limits["scale"][0] > 0 and limits["opacity"][0] >= 0 and limits["opacity"][1] <= 1):
        raise ValueError("scale or opacity out of range")
    for start in range(0, n, _ROWS_AT_ONCE):
        # A matrix product sums rows of four fastest; einsum takes 4 times as long.
        rows = splats.rotation[start : start + _ROWS_AT_ONCE]
        squares = (rows * rows) @ _ONES
        if not (squares.min() > 0.9 and squares.max() < 1.1):  # NaN and infinity neither
            raise ValueError("rotation holds quaternions that are not of unit length")


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data` or leave it as it was.

    Raises:
        AvatarFileError: the folder is missing or not writable.
    """
    try:
        # Not mkstemp: its files are private to the user, an avatar has the rights of any saved file.
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise AvatarFileError(f"{path}: cannot be written ({error.strerror})", "choose another folder") from error


def take_array(tensors: Mapping[str, np.ndarray], key: str, field: str) -> np.ndarray:
    """One array of the dtype that its field has, finite. Raises KeyError or ValueError naming it."""
    array = _typed_array(tensors, key, field)
    if array.dtype == np.float32:
        _limits(key, array)
    return array


def _typed_array(tensors: Mapping[str, np.ndarray], key: str, field: str) -> np.ndarray:
    array = tensors[key]
    wanted = np.int32 if field in _INTEGER_FIELDS else np.float32
    if array.dtype != wanted:
        raise ValueError(f"{key} is {array.dtype}, not {np.dtype(wanted)}")
    return array


def _limits(name: str, array: np.ndarray) -> tuple[float, float]:
    """Smallest and largest value, (0, 0) of an empty array. Raises ValueError where one value is not finite.

    NaN passes through both, and neither needs memory of the array's size, which would cost more than the reading.
    """
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} holds NaN or infinity")
    return low, high


def _check_finite(name: str, array: np.ndarray) -> None:
    """Raises ValueError where one value is not finite.

    A sum of squares reads the array once, not twice; as it overflows where the values do not, it only acquits.
    """
    flat = array.reshape(-1)
    if array.dtype != np.float32 or not math.isfinite(np.vdot(flat, flat)):
        _limits(name, array)


def _feature(key: str, array: np.ndarray) -> np.ndarray:
    if array.dtype not in (np.float16, np.float32):
        raise ValueError(f"{key} is {array.dtype}, not float16 or float32")
    _limits(key, array)
    return array


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names as Blender can hold them. Raises ValueError."""
    if not all(isinstance(n, str) and 0 < len(n) <= 63 for n in names):
        raise ValueError("a name is empty or longer than 63 characters")
    return tuple(names)


def _expect(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, not {shape}")


def _in_range(name: str, index: np.ndarray, count: int) -> None:
    if index.size and not (index.min() >= 0 and index.max() < count):
        raise ValueError(f"{name} points outside its {count} targets")
