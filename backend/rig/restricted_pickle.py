"""Reads arrays from a pickle without running anything that the pickle asks for.

FLAME is distributed as pickles. A pickle is a program; this reader admits a fixed list of names, each standing for a
harmless class of this module that merely records what it is given, and turns the records into arrays afterwards. NumPy's
and SciPy's own constructors never see the file. Opcodes are checked before any of them runs, because some (a memo index
of two billion, an extension code) do harm without a name.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backend.protocol.errors import RigError

MAX_BYTES = 1 << 29
"""Largest pickle that is opened; FLAME's are 50 to 110 MB."""
MAX_OPCODES = 1_000_000
_FORBIDDEN = {"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEXT_BUFFER", "READONLY_BUFFER"}
_MEMO_WRITES = {"PUT", "BINPUT", "LONG_BINPUT"}
_DTYPE = re.compile(r"[biuf]\d{1,2}|b1|\?")


def read_pickle(path: str | Path) -> Any:
    """The plain content of a pickle: dicts, lists, strings, numbers and NumPy arrays (sparse ones made dense).

    Args:
        path: a pickle of any protocol, as Python 2 or 3 wrote it.
    Raises:
        RigError: missing, too large, corrupt, or asking for anything outside the fixed list of names.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RigError(f"{path.name}: {path.stat().st_size >> 20} MB is more than a rig can be")
        data = path.read_bytes()
    except OSError as error:
        raise RigError(f"{path.name}: cannot be read ({error.strerror})", "check the path") from error
    return parse_pickle(data, path.name)


def parse_pickle(data: bytes, name: str = "pickle") -> Any:
    """As `read_pickle`, from bytes; `name` is for messages."""
    try:
        _check_opcodes(data, name)
        return _plain(_Reader(io.BytesIO(data), name).load(), name, 0)
    except RigError:
        raise
    except Exception as error:  # the pickle machine raises almost any type on corrupt input
        raise RigError(f"{name}: not a readable pickle ({type(error).__name__}: {error})", "download the file again") from error


def _check_opcodes(data: bytes, name: str) -> None:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name in _FORBIDDEN:
            raise RigError(f"{name}: the pickle uses {opcode.name}, which no rig needs", "do not open this file")
        if count > MAX_OPCODES or (opcode.name in _MEMO_WRITES and int(argument or 0) > MAX_OPCODES):
            raise RigError(f"{name}: the pickle is built to exhaust memory", "do not open this file")


class _Sealed(type):
    """A class that a pickle's BUILD opcode cannot change."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError(f"{cls.__name__} is sealed")


class _Ndarray(metaclass=_Sealed):
    """The class numpy.ndarray as an argument; calling it makes nothing."""


class _Object(metaclass=_Sealed):
    """The class object as an argument."""


class _Dtype(metaclass=_Sealed):
    """Records a dtype's code and byte order."""

    def __init__(self, code: Any = "", *_: object) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else str(code)
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1].decode("ascii") if isinstance(state[1], bytes) else str(state[1])

    def dtype(self) -> np.dtype:
        code = self.code.lstrip("<>|=")
        if not _DTYPE.fullmatch(code):
            raise ValueError(f"arrays of type {self.code!r} are not read")
        order = self.order if self.order in ("<", ">") else ("<" if self.code[:1] not in (">",) else ">")
        return np.dtype(code).newbyteorder(order)


class _Array(metaclass=_Sealed):
    """Records an array's shape, type and bytes."""

    def __init__(self, *_: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> NDArray[Any]:
        shape, dtype, fortran, raw = self.state[-4:]
        if isinstance(raw, str):  # Python 2 bytes read as latin-1
            raw = raw.encode("latin1")
        return _from_bytes(raw, dtype, shape, "F" if fortran else "C")


class _Buffer(metaclass=_Sealed):
    """Records numpy's _frombuffer (pickle protocol 5)."""

    def __init__(self, raw: Any, dtype: Any, shape: Any, order: Any = "C") -> None:
        self.recorded = raw, dtype, shape, order

    def array(self) -> NDArray[Any]:
        return _from_bytes(*self.recorded)


class _Scalar(metaclass=_Sealed):
    """Records a NumPy scalar."""

    def __init__(self, dtype: Any, raw: Any = b"") -> None:
        self.recorded = raw.encode("latin1") if isinstance(raw, str) else raw, dtype

    def array(self) -> Any:
        return _from_bytes(*self.recorded, (), "C")[()]


class _Sparse(metaclass=_Sealed):
    """Records a compressed sparse matrix."""

    kind: ClassVar[type]

    def __init__(self, *_: object) -> None:
        pass

    def array(self) -> NDArray[Any]:
        state = vars(self)
        shape = tuple(int(n) for n in _plain(state["_shape"], "", 1))
        if len(shape) != 2 or min(shape) < 0 or shape[0] * shape[1] > MAX_BYTES // 8:
            raise ValueError(f"sparse matrix of shape {shape}")
        data, indices, indptr = (_plain(state[key], "", 1) for key in ("data", "indices", "indptr"))
        matrix = self.kind((data, indices, indptr), shape=shape)
        matrix.check_format(full_check=True)
        return matrix.toarray()


class _Csc(_Sparse):
    kind = sp.csc_matrix


class _Csr(_Sparse):
    kind = sp.csr_matrix


class _Chumpy(metaclass=_Sealed):
    """Records a chumpy array; its value is the attribute x."""

    def __init__(self, *_: object) -> None:
        pass

    def array(self) -> Any:
        return _plain(vars(self)["x"], "", 1)


class _Encode(metaclass=_Sealed):
    """Bytes as Python 3 writes them in protocols below 3: _codecs.encode(text, "latin1")."""

    def __new__(cls, text: str, encoding: str = "latin1") -> Any:
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(f"bytes in encoding {encoding!r}")
        return text.encode("latin1")


class _NoBytes(metaclass=_Sealed):
    """Empty bytes as Python 3 writes them in protocols below 3: bytes()."""

    def __new__(cls) -> Any:
        return b""


class _NewObject(metaclass=_Sealed):
    """copyreg._reconstructor, for the recorders only."""

    def __new__(cls, kind: Any, *_: object) -> Any:
        if kind not in (_Csc, _Csr, _Chumpy, _Array):
            raise ValueError("an object of an unknown class")
        return kind()


_ADMITTED: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Dtype,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("_codecs", "encode"): _Encode,
}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED |= {
        (f"{_core}.multiarray", "_reconstruct"): _Array,
        (f"{_core}.multiarray", "scalar"): _Scalar,
        (f"{_core}.numeric", "_frombuffer"): _Buffer,
    }
for _module in ("copy_reg", "copyreg"):
    _ADMITTED[_module, "_reconstructor"] = _NewObject
for _module in ("__builtin__", "builtins"):
    _ADMITTED |= {(_module, "object"): _Object, (_module, "bytes"): _NoBytes}
for _name, _recorder in (("csc", _Csc), ("csr", _Csr)):
    for _module in (f"scipy.sparse.{_name}", f"scipy.sparse._{_name}"):
        _ADMITTED |= {(_module, f"{_name}_matrix"): _recorder, (_module, f"{_name}_array"): _recorder}


class _Reader(pickle.Unpickler):
    """An unpickler whose only classes are the recorders above."""

    def __init__(self, file: io.BytesIO, name: str) -> None:
        super().__init__(file, encoding="latin1")
        self._name = name

    def find_class(self, module: str, name: str) -> type:
        recorder = _ADMITTED.get((module, name))
        if recorder is None:
            raise RigError(f"{self._name}: the pickle asks for {module}.{name}, which no rig needs", "do not open this file")
        return recorder

    def persistent_load(self, pid: object) -> object:
        raise RigError(f"{self._name}: the pickle refers to objects outside itself", "do not open this file")


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    """A new array; raises ValueError where bytes and shape disagree."""
    if not isinstance(dtype, _Dtype) or not isinstance(raw, (bytes, bytearray)):
        raise ValueError("an array without plain bytes")
    kind = dtype.dtype()
    shape = tuple(int(n) for n in (shape if isinstance(shape, (tuple, list)) else (shape,)))
    if len(shape) > 8 or min(shape, default=0) < 0 or len(raw) != kind.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError(f"{len(raw)} bytes for an array of shape {shape}")
    array = np.frombuffer(raw, kind).reshape(shape, order="F" if order == "F" else "C")
    return array.astype(kind.newbyteorder("="), order="C")


def _plain(value: Any, name: str, depth: int) -> Any:
    """The value with recorders replaced by what they recorded."""
    if depth > 16:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return {_key(k): _plain(v, name, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v, name, depth + 1) for v in value)
    if isinstance(value, (_Array, _Buffer, _Scalar, _Sparse, _Chumpy)):
        return value.array()
    if isinstance(value, (str, bytes, int, float, bool, type(None))):
        return value
    raise ValueError(f"a value of kind {type(value).__name__.lstrip('_')}")


def _key(key: Any) -> Any:
    return key.decode("latin1") if isinstance(key, bytes) else key
