"""Reads arrays from a pickle without running anything that the pickle asks for.

FLAME and trackers' results are distributed as pickles. A pickle is a program; this reader admits a fixed list of names, each
standing for a harmless class of this module that merely records what it is given, and turns the records into arrays
afterwards. NumPy's own constructors never see the file. Opcodes are checked before any of them runs, because some (a memo
index of two billion, an extension code) do harm without a name. References to one object are written out once for each, so
what that makes is counted (`Budget`) against the length of the file.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import LookalikeError

MAX_BYTES = 1 << 29
"""Largest pickle that is opened; FLAME's are 50 to 110 MB."""
MAX_OPCODES = 1_000_000
"""So many instructions a pickle may always have; longer ones may have more (`Limits.instructions`)."""
SHARING = 4
"""Arrays and decoded text may take this many times the bytes of the pickle."""
FREE = 16 << 20
"""Bytes that any pickle may unfold to, however short: sparse matrices are small until they are dense."""
_FORBIDDEN = {"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEXT_BUFFER", "READONLY_BUFFER"}
_MEMO_WRITES = {"PUT", "BINPUT", "LONG_BINPUT"}
_DTYPE = re.compile(r"[biuf]\d{1,2}|b1|\?")


@dataclass(frozen=True)
class Limits:
    """What a pickle may be: its bytes, and its instructions, each of which may cost up to a hundred bytes of memory.

    Attributes:
        size: largest pickle. opcodes: so many in any. bytes_each: one more opcode for so many bytes; tables of small arrays, a
            tracker's frames, have one for 13 to 21 bytes.
    """

    size: int = MAX_BYTES
    opcodes: int = MAX_OPCODES
    bytes_each: int = 8

    def instructions(self, length: int) -> int:
        """How many opcodes a pickle of that many bytes may have."""
        return max(self.opcodes, length // self.bytes_each)


def parse_pickle(
    data: bytes,
    name: str,
    error: type[LookalikeError],
    more: Mapping[tuple[str, str], Any] | None = None,
    persistent: Callable[[Any], Any] | None = None,
    limits: Limits = Limits(),
) -> Any:
    """The plain content of a pickle: dicts, lists, strings, numbers and NumPy arrays.

    Args:
        data: a pickle of any protocol, as Python 2 or 3 wrote it.
        name: for messages.
        error: what is raised.
        more: recorders (`Recorder`) of further classes, by module and name; a plain function is called with the `Budget` first.
        persistent: turns a persistent id into a value, for formats whose arrays lie outside the pickle; by default such a pickle
            is refused.
        limits: other than the usual ones.
    Raises:
        LookalikeError: the class `error`; corrupt, too large, or asking for anything outside the fixed list of names.
    """
    if len(data) > limits.size:
        raise error(f"{name}: {len(data) >> 20} MB is more than can be read", "use a smaller file")
    try:
        instructions = limits.instructions(len(data))
        _check_opcodes(data, name, error, _FORBIDDEN if persistent is None else _FORBIDDEN - {"BINPERSID"}, instructions)
        budget = Budget(instructions, SHARING * len(data) + FREE)
        return plain(_Reader(io.BytesIO(data), name, error, {**_ADMITTED, **(more or {})}, persistent, budget).load(), budget)
    except error:
        raise
    except Exception as reason:  # the pickle machine raises almost any type on corrupt input
        raise error(f"{name}: not a readable pickle ({type(reason).__name__}: {reason})", "download the file again") from reason


def _check_opcodes(data: bytes, name: str, error: type[LookalikeError], forbidden: set[str], most: int) -> None:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name in forbidden:
            raise error(f"{name}: the pickle uses {opcode.name}, which no such file needs", "do not open this file")
        if count > most or (opcode.name in _MEMO_WRITES and int(argument or 0) > most):
            raise error(f"{name}: the pickle is built to exhaust memory", "do not open this file")


class Budget:
    """What one pickle may still unfold to."""

    __slots__ = ("nodes", "size")

    def __init__(self, nodes: int, size: int) -> None:
        self.nodes, self.size = nodes, size

    def visit(self, count: int = 1) -> None:
        """Take values of containers. Raises ValueError where too many were taken."""
        self.nodes -= count
        if self.nodes < 0:
            raise ValueError("a few shared values that unfold to a great many")

    def take(self, size: int) -> None:
        """Take bytes. Raises ValueError where too many were taken."""
        self.size -= size
        if self.size < 0:
            raise ValueError("shared arrays that unfold to far more than the file holds")


class Sealed(type):
    """A class that a pickle's BUILD opcode cannot change."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError(f"{cls.__name__} is sealed")


class _Ndarray(metaclass=Sealed):
    """The class numpy.ndarray as an argument; calling it makes nothing."""


class _Object(metaclass=Sealed):
    """The class object as an argument."""


class _Dtype(metaclass=Sealed):
    """Records a dtype's code and byte order."""

    def __init__(self, code: Any = "", *_: object) -> None:
        self.code = _short(code)
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        self.order = _short(state[1])

    def dtype(self) -> np.dtype:
        code = self.code.lstrip("<>|=")
        if not _DTYPE.fullmatch(code):
            raise ValueError(f"arrays of type {self.code!r} are not read")
        order = self.order if self.order in ("<", ">") else ("<" if self.code[:1] not in (">",) else ">")
        return np.dtype(code).newbyteorder(order)


class Recorder(metaclass=Sealed):
    """Stands for a class of a pickle: keeps what it is given, and says afterwards which array that was."""

    def __init__(self, *_: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        # Kept as it is: the unpickler's own way would copy one shared dictionary into every object.
        self.state = state

    def array(self, budget: Budget) -> Any:
        raise NotImplementedError


class _Array(Recorder):
    """Records an array's shape, type and bytes."""

    def array(self, budget: Budget) -> NDArray[Any]:
        shape, dtype, fortran, raw = self.state[-4:]
        if isinstance(raw, str):  # Python 2 bytes read as latin-1
            raw = _encode(budget, raw)
        return _from_bytes(budget, raw, dtype, shape, "F" if fortran else "C")


class _Buffer(Recorder):
    """Records numpy's _frombuffer (pickle protocol 5)."""

    def __init__(self, raw: Any, dtype: Any, shape: Any, order: Any = "C") -> None:
        self.recorded = raw, dtype, shape, order

    def array(self, budget: Budget) -> NDArray[Any]:
        return _from_bytes(budget, *self.recorded)


class _Scalar(Recorder):
    """Records a NumPy scalar."""

    def __init__(self, dtype: Any, raw: Any = b"") -> None:
        self.recorded = raw, dtype

    def array(self, budget: Budget) -> Any:
        raw, dtype = self.recorded
        return _from_bytes(budget, _encode(budget, raw) if isinstance(raw, str) else raw, dtype, (), "C")[()]


def _encode(budget: Budget, text: str, encoding: str = "latin1") -> bytes:
    """Bytes as Python 3 writes them in protocols below 3: _codecs.encode(text, "latin1")."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in encoding {encoding!r}")
    budget.take(len(text))
    return text.encode("latin1")


class _NoBytes(metaclass=Sealed):
    """Empty bytes as Python 3 writes them in protocols below 3: bytes()."""

    def __new__(cls) -> Any:
        return b""


class _NewObject(metaclass=Sealed):
    """copyreg._reconstructor, for the recorders only."""

    def __new__(cls, kind: Any, *_: object) -> Any:
        if not (isinstance(kind, Sealed) and issubclass(kind, Recorder)) or kind in (Recorder, _Buffer, _Scalar):
            raise ValueError("an object of an unknown class")
        return kind()


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
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


class _Bound:
    """A function with the budget of one pickle, which cannot change it."""

    __slots__ = ("_budget", "_function")

    def __init__(self, function: FunctionType, budget: Budget) -> None:
        self._function, self._budget = function, budget

    def __call__(self, *arguments: Any) -> Any:
        return self._function(self._budget, *arguments)

    def __setstate__(self, state: object) -> None:
        raise ValueError("a state where none belongs")


class _Reader(pickle.Unpickler):
    """An unpickler whose only classes are the recorders above."""

    def __init__(
        self,
        file: io.BytesIO,
        name: str,
        error: type[LookalikeError],
        admitted: Mapping[tuple[str, str], Any],
        persistent: Callable[[Any], Any] | None,
        budget: Budget,
    ) -> None:
        super().__init__(file, encoding="latin1")
        self._name, self._error, self._admitted, self._persistent, self._budget = name, error, admitted, persistent, budget

    def find_class(self, module: str, name: str) -> Any:
        recorder = self._admitted.get((module, name))
        if recorder is None:
            raise self._error(f"{self._name}: the pickle asks for {module}.{name}, which no such file needs", "do not open this file")
        return _Bound(recorder, self._budget) if isinstance(recorder, FunctionType) else recorder

    def persistent_load(self, pid: object) -> object:
        if self._persistent is not None:
            return self._persistent(pid)
        raise self._error(f"{self._name}: the pickle refers to objects outside itself", "do not open this file")


def _short(text: Any) -> str:
    """A dtype's code or byte order."""
    if not isinstance(text, (str, bytes)) or len(text) > 16:
        raise ValueError("an array's type that is no short text")
    return text.decode("ascii") if isinstance(text, bytes) else text


def _from_bytes(budget: Budget, raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    """A new array; raises ValueError where bytes and shape disagree."""
    if not isinstance(dtype, _Dtype) or not isinstance(raw, (bytes, bytearray)):
        raise ValueError("an array without plain bytes")
    kind = dtype.dtype()
    shape = shape if isinstance(shape, (tuple, list)) else (shape,)
    if len(shape) > 8 or not all(isinstance(n, int) and 0 <= n < 1 << 48 for n in shape):
        raise ValueError(f"an array of {len(shape)} dimensions that are not all lengths")
    if len(raw) != kind.itemsize * math.prod(shape):
        raise ValueError(f"{len(raw)} bytes for an array of shape {tuple(shape)}")
    budget.take(len(raw))
    array = np.frombuffer(raw, kind).reshape(tuple(shape), order="F" if order == "F" else "C")
    return array.astype(kind.newbyteorder("="), order="C")


def plain(value: Any, budget: Budget, depth: int = 0) -> Any:
    """The value with recorders replaced by what they recorded, a tree in which nothing is shared.

    Raises:
        ValueError: a value of another kind, nested too deeply, or more than the budget allows.
    """
    if depth > 16:
        raise ValueError("nested too deeply")
    budget.visit()
    if isinstance(value, dict):
        return {_key(k, budget, depth): plain(v, budget, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(v, budget, depth + 1) for v in value)
    if isinstance(value, Recorder):
        return value.array(budget)
    if isinstance(value, (str, bytes, int, float, bool, type(None))):
        return value
    raise ValueError(f"a value of kind {type(value).__name__.lstrip('_')}")


def _key(key: Any, budget: Budget, depth: int) -> Any:
    if isinstance(key, tuple):
        return plain(key, budget, depth + 1)
    if isinstance(key, bytes):
        budget.take(len(key))
        return key.decode("latin1")
    return key
