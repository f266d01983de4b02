"""Reads tensors from a file that `torch.save` wrote, without running anything that the file asks for.

Such a file is a zip of a pickle and of raw storages. The pickle is read by the project's restricted reader, which admits the
few names that tensors need and only records what it is given; torch's own unpickler and constructors never see the file. What
a tensor claims (type, shape, strides, place in its storage) is checked against the bytes that are there before anything is
allocated.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backend.protocol.errors import WeightsError
from backend.protocol.restricted_pickle import Budget, Recorder, Sealed, parse_pickle

MAX_BYTES = 16 << 30
"""Largest file that is opened."""
MAX_PICKLE = 64 << 20
MAX_ENTRIES = 100_000
MAX_DIMENSIONS = 16
MAX_NAME = 1000
"""Letters of a tensor's place in messages."""
MAX_SHARING = 2
"""Tensors may overlap in their storages, but not unpack to more than this many times the file."""

_STORAGES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16, "CharStorage": torch.int8,
    "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_AGAIN = "download the file again"
_NOT_TRUSTED = "do not open this file"


def read_torch_file(path: str | Path) -> Any:
    """What the file holds: dicts, lists, strings, numbers, and tensors (on the CPU, each owning its memory).

    Raises:
        WeightsError: missing, truncated, not a zip that `torch.save` writes, a tensor that does not fit its storage, or a pickle
            that asks for anything but tensors.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise WeightsError(f"{path.name}: {size >> 30} GB is more than weights can be")
        with zipfile.ZipFile(path) as archive:
            return _Reader(archive, path.name, size).read()
    except OSError as error:
        raise WeightsError(f"{path.name}: cannot be read ({error.strerror or error})", "check the path") from error
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        struct.error,
    ) as error:  # zipfile's, on bad entries
        remedy = f"{_AGAIN}; files older than torch 1.6 have to be saved again by a newer torch"
        raise WeightsError(f"{path.name}: not a readable torch file ({error})", remedy) from error


def read_state(path: str | Path, key: str | None = "model") -> dict[str, Tensor]:
    """The state dict of a checkpoint: the file's dict itself, or what it holds under `key` where it has it.

    Raises:
        WeightsError: as `read_torch_file`; no dict of tensors in it.
    """
    content = read_torch_file(path)
    if key is not None and isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
        content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{Path(path).name}: holds no state dict", "choose a checkpoint of the model")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{Path(path).name}: {name!r} is not a tensor", "choose a checkpoint of the model")
    return dict(content)


class _Reader:
    """One open file: its entries, its tensors."""

    def __init__(self, archive: zipfile.ZipFile, name: str, size: int) -> None:
        self.archive, self.name = archive, name
        self.entries = {info.filename: info for info in archive.infolist()}
        self.tensors, self.loaded = Tensors(name, MAX_SHARING * size), dict[str, bytes]()
        if len(self.entries) > MAX_ENTRIES:
            raise WeightsError(f"{name}: {len(self.entries)} entries are more than weights have", _NOT_TRUSTED)
        sizes = [(info.file_size, info.compress_size) for info in self.entries.values() if info.compress_type == zipfile.ZIP_STORED]
        if len(sizes) < len(self.entries) or any(whole != kept or whole > size for whole, kept in sizes):
            raise WeightsError(f"{name}: compressed entries, which torch never writes", _NOT_TRUSTED)
        pickles = [entry for entry in self.entries if entry.count("/") == 1 and entry.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError(f"{name}: a zip, but not one that torch.save wrote", "choose a .pt or .pth checkpoint")
        self.root = pickles[0].removesuffix("data.pkl")

    def read(self) -> Any:
        if f"{self.root}byteorder" in self.entries and self._bytes(f"{self.root}byteorder", 16) != b"little":
            raise WeightsError(f"{self.name}: saved on a big-endian machine", "save it again on this one")
        data = self._bytes(f"{self.root}data.pkl", MAX_PICKLE)
        content = parse_pickle(data, self.name, WeightsError, _ADMITTED, persistent=self._storage)
        self.uses = Counter(_storages(content))
        return self._with_tensors(content, "")

    def _bytes(self, entry: str, limit: int) -> bytes:
        info = self.entries[entry]
        if info.file_size > limit:
            raise WeightsError(f"{self.name}: {entry} is too large", _NOT_TRUSTED)
        return self.archive.read(info)

    def _storage(self, pid: Any) -> _Storage:
        """The storage that a persistent id ("storage", type, key, device, count) names; its size is checked, nothing is read."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], _StorageType):
            raise ValueError("a reference to something that is not a storage")
        _, kind, key, _, count = pid
        entry = f"{self.root}data/{key}"
        if not isinstance(count, int) or count < 0 or entry not in self.entries:
            raise ValueError(f"storage {key!r} is missing")
        if self.entries[entry].file_size != count * kind.itemsize:
            raise ValueError(f"storage {key!r} holds {self.entries[entry].file_size} bytes, not {count} numbers")
        return _Storage(entry, kind, count)

    def _with_tensors(self, value: Any, where: str) -> Any:
        """The content with recorded tensors read."""
        if isinstance(value, dict):
            return {
                key: self._with_tensors(part, f"{where}.{key}"[:MAX_NAME] if where else str(key)[:MAX_NAME]) for key, part in value.items()
            }
        if isinstance(value, (list, tuple)):
            return type(value)(self._with_tensors(part, f"{where}[{i}]") for i, part in enumerate(value))
        return self._tensor(value, where) if isinstance(value, _Claim) else value

    def _tensor(self, claim: _Claim, where: str) -> Tensor:
        """The tensor of a claim. A storage is read once, and kept while there are more tensors of it to come."""
        entry = claim.storage.entry
        self.uses[entry] -= 1
        stored = self.loaded.pop(entry, None)
        if stored is None:
            stored = self.archive.read(entry)
        if self.uses[entry]:
            self.loaded[entry] = stored
        return self.tensors.read(claim, stored, where)


def _storages(value: Any) -> Iterator[str]:
    """The storage's entry of every tensor in a content."""
    if isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _storages(part)
    elif isinstance(value, _Claim):
        yield value.storage.entry


class Tensors:
    """Makes tensors of what a file's pickle claims and of the bytes that are there; counts what they take together."""

    def __init__(self, name: str, allowed: int) -> None:
        self.name, self.allowed = name, allowed

    def read(self, claim: _Claim, stored: bytes | memoryview, where: str) -> Tensor:
        """One tensor, owning its memory.

        Args:
            stored: the bytes of the claim's storage. where: the tensor's place, for messages.
        Raises:
            WeightsError: it does not fit its storage, or all together take more than is allowed.
        """
        storage, shape, strides = claim.storage, claim.shape, claim.strides
        count = math.prod(shape)
        end = claim.offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1 if count else 0
        if end > storage.count or count > storage.count:
            raise WeightsError(f"{self.name}: {where} of shape {shape} does not fit its {storage.count} stored numbers", _AGAIN)
        self.allowed -= count * storage.kind.itemsize
        if self.allowed < 0:
            raise WeightsError(f"{self.name}: its tensors claim more than the file holds", _NOT_TRUSTED)
        dtype = _STORAGES[storage.kind.name]
        try:
            if not count:
                return torch.empty(shape, dtype=dtype)
            # A buffer of its own: the bytes may serve other tensors, and these may be written to.
            start, item = claim.offset * storage.kind.itemsize, storage.kind.itemsize
            flat = torch.frombuffer(bytearray(memoryview(stored)[start : end * item]), dtype=dtype)
            view = flat.as_strided(shape, strides)
            return view if view.is_contiguous() and count == flat.numel() else view.clone(memory_format=torch.contiguous_format)
        except (RuntimeError, ValueError) as error:  # torch's own limits, of sizes that hold no number for one
            raise WeightsError(f"{self.name}: {where} of shape {shape} cannot be made ({error})", _NOT_TRUSTED) from error


class _Fixed(Recorder):
    """A recorder that the pickle cannot change once it is made."""

    def __setstate__(self, state: object) -> None:
        raise ValueError("a state where none belongs")


class _StorageType(_Fixed):
    """Stands for torch.FloatStorage and its kin, as an argument."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.itemsize = torch.empty(0, dtype=_STORAGES[name]).element_size()


class _Storage(_Fixed):
    """A storage's place in the archive."""

    def __init__(self, entry: str, kind: _StorageType, count: int) -> None:
        self.entry, self.kind, self.count = entry, kind, count


class _Claim:
    """What a recorded tensor claims to be."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class _Tensor(_Fixed):
    """Records torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ...)."""

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: object) -> None:
        self.recorded = storage, offset, shape, strides

    def array(self, budget: Budget) -> _Claim:
        storage, offset, shape, strides = self.recorded
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
            raise ValueError("a tensor whose shape and strides do not fit")
        numbers = (offset, *shape, *strides)
        if any(type(n) is not int or not 0 <= n < 1 << 48 for n in numbers):
            raise ValueError(f"a tensor of shape {shape} with strides {strides}")
        return _Claim(storage, offset, shape, strides)


class _Parameter(_Fixed):
    """Records torch._utils._rebuild_parameter(tensor, ...)."""

    def __init__(self, data: Any, *_: object) -> None:
        self.data = data

    def array(self, budget: Budget) -> _Claim:
        if not isinstance(self.data, _Tensor):
            raise ValueError("a parameter without a tensor")
        return self.data.array(budget)


class _Ordered(dict, metaclass=Sealed):
    """collections.OrderedDict; what state dicts carry beside their items (`_metadata`) is dropped."""

    def __setstate__(self, state: object) -> None:
        pass


class _Size(metaclass=Sealed):
    """torch.Size."""

    def __new__(cls, values: Any = ()) -> Any:
        if len(values) > MAX_DIMENSIONS:
            raise ValueError(f"a shape of {len(values)} dimensions")
        return tuple(values)


def _ordered(budget: Budget, items: Any = ()) -> _Ordered:
    """collections.OrderedDict(items), as Python 2 writes it."""
    budget.visit(len(items))
    return _Ordered(items)


_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    ("torch", "Size"): _Size,
    **{("torch", name): _StorageType(name) for name in _STORAGES},
}
