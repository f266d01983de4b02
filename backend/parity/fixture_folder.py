"""A folder of parity fixtures: safetensors files whose metadata name the salt."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from backend.protocol.errors import LookalikeError

MAX_BYTES = 256 << 20
"""Of one file: the fixtures are slices, a few megabytes each."""


class Fixture:
    """One file of a folder, its header checked.

    Attributes:
        salt: of the weights and inputs that this file's numbers were made with.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.stat().st_size > MAX_BYTES:
                raise LookalikeError(f"{path.name}: {path.stat().st_size >> 20} MB is more than a parity file can be")
            with safe_open(path, "np") as file:
                metadata = file.metadata() or {}
                self.names = frozenset(file.keys())
        except (OSError, SafetensorError) as error:
            raise LookalikeError(f"{path.name}: not a readable .safetensors ({error})", "copy the parity folder again") from error
        if "salt" not in metadata:
            raise LookalikeError(f"{path.name}: its metadata have no 'salt'", "choose a folder of parity fixtures")
        self.salt = metadata["salt"].encode()

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One tensor.

        Raises:
            LookalikeError: the file does not have it.
        """
        if name not in self.names:
            raise LookalikeError(f"{self.path.name}: tensor {name} is missing", "copy the parity folder again")
        with safe_open(self.path, "np") as file:
            return file.get_tensor(name)


class FixtureFolder:
    """The files of one set, by the name of what they hold: "inputs", "flame", "gaga_encoder", "raster", "omg_sub0", ...

    A set may give all of its files one suffix (inputs_other.safetensors); the suffix is told by its inputs file.

    Args:
        only: names of files; the others count as absent. Empty for all.
    Raises:
        LookalikeError: not a folder, no inputs in it or those of several sets, or a name in `only` that is not there.
    """

    def __init__(self, path: str | Path, only: Collection[str] = ()) -> None:
        self.path = Path(path)
        found = sorted(self.path.glob("inputs*.safetensors")) if self.path.is_dir() else []
        if len(found) != 1:
            what = "no inputs.safetensors" if not found else f"inputs of {len(found)} sets"
            raise LookalikeError(f"{self.path}: {what} in this folder", "give the folder of one set of parity fixtures")
        self.suffix = found[0].stem.removeprefix("inputs")
        self._open: dict[str, Fixture] = {}
        self._only = frozenset(only)
        for name in sorted(self._only):
            if not self._path(name).is_file():
                raise LookalikeError(f"{self.path}: no {self._path(name).name} in this folder", f"choose of: {', '.join(self.names)}")

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file() and (not self._only or name in self._only)

    @property
    def names(self) -> list[str]:
        """Of the files of this set."""
        ending = f"{self.suffix}.safetensors"
        return sorted(path.name.removesuffix(ending) for path in self.path.glob(f"*{ending}"))

    def __getitem__(self, name: str) -> Fixture:
        """The file of that name, opened once."""
        if name not in self._open:
            self._open[name] = Fixture(self._path(name))
        return self._open[name]

    @property
    def salt(self) -> bytes:
        """Of the inputs; each `Fixture` has its own."""
        return self["inputs"].salt

    @cached_property
    def face_model(self) -> dict[str, NDArray[Any]]:
        """The made-up face model of this set."""
        from .fixture_inputs import face_model

        return face_model(self["flame"].salt if "flame" in self.names else self.salt)

    def codes(self, name: str) -> dict[str, NDArray[np.float32]]:
        """Stored FLAME codes "src", "dst" or "strong": shape, exp, pose, eye."""
        return {key: self["inputs"][f"{name}.{key}"] for key in ("shape", "exp", "pose", "eye")}

    def _path(self, name: str) -> Path:
        return self.path / f"{name}{self.suffix}.safetensors"
