"""Reads tensors from files that torch wrote before 1.6: pickles one after another, then the storages' raw bytes.

torchvision's VGG and LPIPS' own weights are still such files. As in `torch_file`, nothing in them is run, and what they claim is
checked against the bytes that are there.
"""

from __future__ import annotations

import pickletools
import struct
from pathlib import Path
from typing import Any

from torch import Tensor

from backend.protocol.errors import WeightsError
from backend.protocol.restricted_pickle import parse_pickle

from .torch_file import _ADMITTED, MAX_NAME, MAX_PICKLE, MAX_SHARING, Tensors, _Claim, _Storage, _StorageType

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_BYTES = 2 << 30
"""Read whole; the largest such file that is known has 0.55 GB."""
_AGAIN = "download the file again"


def is_legacy(head: bytes) -> bool:
    """Whether a file that starts with these bytes is of the old kind."""
    return head[:4] == b"\x80\x02\x8a\x0a" and head[4:14] == MAGIC.to_bytes(10, "little")


def read_legacy_state(path: Path) -> dict[str, Tensor]:
    """The state dict in the file.

    Raises:
        WeightsError: truncated, hostile, or not a state dict.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{path.name}: {path.stat().st_size >> 20} MB is more than such a file can be")
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path.name}: cannot be read ({error.strerror})", "check the path") from error
    return _File(data, path.name).state()


class _File:
    """The bytes of one file, read from front to back."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.at = data, name, 0
        self.claimed: dict[str, _Storage] = {}

    def state(self) -> dict[str, Tensor]:
        header = [self._pickle() for _ in range(3)]
        if header[:2] != [MAGIC, PROTOCOL] or not isinstance(header[2], dict) or header[2].get("little_endian") is not True:
            raise WeightsError(f"{self.name}: not a file that torch wrote on a little-endian machine", _AGAIN)
        content, keys = self._pickle(content=True), self._pickle()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(self.claimed):
            raise WeightsError(f"{self.name}: its list of storages does not fit its tensors", _AGAIN)
        stored = {key: self._storage(self.claimed[key]) for key in keys}
        if not isinstance(content, dict):
            raise WeightsError(f"{self.name}: holds no state dict", "choose a checkpoint of the model")
        tensors, state = Tensors(self.name, MAX_SHARING * len(self.data)), dict[str, Tensor]()
        for key, value in content.items():
            name = str(key)
            if not isinstance(value, _Claim):
                raise WeightsError(f"{self.name}: {name[:MAX_NAME]!r} is not a tensor", "choose a checkpoint of the model")
            state[name] = tensors.read(value, stored[value.storage.entry], name[:MAX_NAME])
        return state

    def _pickle(self, content: bool = False) -> Any:
        """The next pickle; only the content's may speak of tensors."""
        try:
            end = next(at for opcode, _, at in pickletools.genops(self.data[self.at : self.at + MAX_PICKLE]) if opcode.name == "STOP")
        except (ValueError, StopIteration, IndexError, EOFError) as error:
            raise WeightsError(f"{self.name}: not a readable torch file ({error})", _AGAIN) from error
        assert end is not None
        part = self.data[self.at : self.at + end + 1]
        self.at += end + 1
        return parse_pickle(part, self.name, WeightsError, _ADMITTED if content else None, persistent=self._claim if content else None)

    def _claim(self, pid: Any) -> _Storage:
        """The storage that ("storage", type, key, device, count, view) names; views of views are not written by anyone."""
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] != "storage" or not isinstance(pid[1], _StorageType) or pid[5] is not None:
            raise ValueError("a reference to something that is not a storage")
        _, kind, key, _, count, _ = pid
        if not isinstance(key, str) or not isinstance(count, int) or not 0 <= count * kind.itemsize <= len(self.data):
            raise ValueError(f"storage {key!r} claims {count} numbers")
        return self.claimed.setdefault(key, _Storage(key, kind, count))

    def _storage(self, claim: _Storage) -> memoryview:
        length = claim.count * claim.kind.itemsize
        start = self.at + 8
        if start + length > len(self.data):
            raise WeightsError(f"{self.name}: the file ends before its tensors do", _AGAIN)
        if struct.unpack_from("<q", self.data, self.at)[0] != claim.count:
            raise WeightsError(f"{self.name}: storage {claim.entry!r} is not as long as its tensors say", _AGAIN)
        self.at = start + length
        return memoryview(self.data)[start : self.at]
