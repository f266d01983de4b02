"""NumPy archives, read so that a hostile one costs nothing: no pickles inside, sizes checked before anything is allocated."""

from __future__ import annotations

import io
import zipfile
import zlib

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .take import MAX_BYTES, MotionError

MAX_ARRAYS = 256


def read_npz(data: bytes, source: str) -> dict[str, NDArray]:
    """Name -> numeric array of an .npz.

    Raises:
        MotionError: not a NumPy archive, too large, or with Python objects in it.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            if not members or len(members) > MAX_ARRAYS or sum(m.file_size for m in members) > MAX_BYTES:
                raise MotionError(f"{source}: {'no arrays in it' if not members else 'too large for a motion'}")
            return {m.filename.removesuffix(".npy"): _array(archive, m, source) for m in members}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError, NotImplementedError, SyntaxError) as error:
        raise MotionError(f"{source}: not a NumPy archive that can be read ({error})", "save it again with numpy.savez") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, source: str) -> NDArray:
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"array format {version}")
        shape, fortran, kind = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
        if kind.hasobject:
            reason = f"{source}: {member.filename} holds Python objects, which are not read"
            raise MotionError(reason, "save plain arrays: numpy.savez(file, expr=expr, ...)")
        size = kind.itemsize * int(np.prod(shape, dtype=object))
        if kind.kind not in "biuf" or size > member.file_size:
            raise ValueError(f"{member.filename}: {kind} of shape {shape} in {member.file_size} bytes")
        raw = file.read(size)
        if len(raw) != size:
            raise ValueError(f"{member.filename} ends early")
    return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")
