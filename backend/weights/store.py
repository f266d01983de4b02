"""The models folder: weights as safetensors, one file a model, with where they came from in the header."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from backend.protocol.errors import WeightsError
from backend.tracking.nets.store import data_directory

from .catalogue import CATALOGUE, Known, by_hash, by_shapes, known
from .legacy_torch_file import is_legacy, read_legacy_state
from .torch_file import read_torch_file

HEADER = "lookalike_weights"
_FLAME = "flame_model"
_MAX_TENSORS = 100_000

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Present:
    """Weights that are there: their file and what its header says of their origin."""

    name: str
    path: Path
    size: int
    origin: Mapping[str, str]


def models_directory() -> Path:
    """Where weights are kept; under LOOKALIKE_DATA where that is set."""
    return data_directory() / "models"


def weights_path(name: str) -> Path:
    """The safetensors file of weights that are there.

    Raises:
        WeightsError: not there; says what to type.
    """
    entry = known(name)
    path = models_directory() / f"{name}.safetensors"
    if not path.is_file():
        how = (
            f"lookalike models fetch {name}"
            if entry.url
            else f"get {entry.file} from {entry.source}, then: lookalike models add {entry.file}"
        )
        raise WeightsError(f"the weights {name!r} ({entry.use}) are not there", how)
    return path


def present(name: str) -> Present | None:
    """What is in the models folder under a name of the catalogue; None where there is nothing.

    Raises:
        WeightsError: the file is corrupt.
    """
    path = models_directory() / f"{known(name).name}.safetensors"
    try:
        size = path.stat().st_size
        with safe_open(path, "pt") as file:
            origin = json.loads((file.metadata() or {})[HEADER])
        if not isinstance(origin, dict):
            raise ValueError("its header does not say where it came from")
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: corrupt ({error})", f"lookalike models remove {name}, then add it again") from error
    return Present(name, path, size, {str(k): str(v) for k, v in origin.items()})


def add(path: Path, *, trust: bool = False, expected: str | None = None, progress: Progress = lambda fraction, text: None) -> Present:
    """Check a weights file and keep it as safetensors. No code in it is run; the original stays where it is.

    Args:
        path: .pt, .pth or .safetensors.
        trust: take a file whose hash is not known, if its tensors are a known model's.
        expected: the model that it must be.
    Raises:
        WeightsError: unreadable, truncated or hostile; another model's; not known and not trusted; no room.
    """
    digest = file_hash(path, lambda fraction: progress(0.5 * fraction, "hash"))
    entry = by_hash(digest)
    if expected is not None and entry is not None and entry.name != known(expected).name:
        raise WeightsError(
            f"{path.name}: this is {entry.file} ({entry.name}), not {expected}", f"add it as what it is: lookalike models add {path.name}"
        )
    progress(0.5, "read")
    state = read_state(path)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    seems = by_shapes(shapes)
    if entry is None:
        entry = _judged(path, digest, seems, expected, trust)
    elif not entry.fits(shapes):
        raise WeightsError(f"{path.name}: the hash of {entry.name}, but not its tensors", "this is a bug; report it")
    progress(0.7, "write")
    target = models_directory() / f"{entry.name}.safetensors"
    origin = {
        "name": entry.name,
        "file": path.name,
        "sha256": digest,
        "licence": entry.licence,
        "source": entry.source,
        "checked": "hash" if entry.matches(digest) else "shapes",
    }
    _write(target, state, {HEADER: json.dumps(origin)})
    progress(1.0, "done")
    return Present(entry.name, target, target.stat().st_size, origin)


def remove(name: str) -> Path:
    """Delete weights from the models folder.

    Raises:
        WeightsError: they are not there, or cannot be deleted.
    """
    path = models_directory() / f"{known(name).name}.safetensors"
    try:
        path.unlink()
    except FileNotFoundError:
        raise WeightsError(f"the weights {name!r} are not there", "see: lookalike models") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be deleted ({error.strerror})", "close what uses it") from error
    return path


def file_hash(path: Path, progress: Callable[[float], None] = lambda fraction: None) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        WeightsError: it cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    try:
        total = max(path.stat().st_size, 1)
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
                done += len(block)
                progress(min(1.0, done / total))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    return digest.hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a .pt, .pth (any age) or .safetensors file; nested dicts are joined by dots, FLAME's own keys stay bare.

    Raises:
        WeightsError: unreadable, truncated, hostile, or without tensors.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    if not head:
        raise WeightsError(f"{path.name}: empty", "download the file again")
    if head[8:10] == b'{"':
        return _read_safetensors(path)
    if is_legacy(head):
        return read_legacy_state(path)
    content = read_torch_file(path)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    state: dict[str, Tensor] = {}
    _gather(content, "", state)
    if not state:
        raise WeightsError(f"{path.name}: holds no tensors", "choose a checkpoint of the model")
    return state


def _gather(value: Any, where: str, state: dict[str, Tensor]) -> None:
    """Tensors and arrays of nested dicts; other values (settings) are left out."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            inner = "" if not where and key == _FLAME else f"{where}.{key}" if where else str(key)
            _gather(part, inner, state)
    elif hasattr(value, "__array__") and not isinstance(value, (int, float, str)):
        tensor = torch.as_tensor(value)
        state[where] = tensor.clone()
        if len(state) > _MAX_TENSORS:
            raise WeightsError("more tensors than any model has", "do not use this file")


def _judged(path: Path, digest: str, seems: Known | None, expected: str | None, trust: bool) -> Known:
    """The model of a file whose hash is not known."""
    if seems is None:
        raise WeightsError(
            f"{path.name}: unknown (sha256 {digest}), and its tensors are no known model's",
            f"choose one of: {', '.join(entry.file for entry in CATALOGUE)}",
        )
    if expected is not None and seems.name != expected:
        raise WeightsError(f"{path.name}: its tensors are those of {seems.name}, not of {expected}", "choose another file")
    if not trust:
        says = f"{seems.file} has sha256 {seems.sha256}" if seems.sha256 else "no hash of it is published"
        raise WeightsError(
            f"{path.name}: its tensors look like {seems.name}, but its sha256 {digest} is not known ({says})",
            "if you trust where it came from: lookalike models add --trust",
        )
    return seems


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path.name}: not a readable .safetensors ({error})", "download the file again") from error


def _write(target: Path, state: Mapping[str, Tensor], header: dict[str, str]) -> None:
    """Replace the file, or leave it as it was."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, partial, metadata=header)
        os.replace(partial, target)
    except (OSError, SafetensorError) as error:
        full = (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or "No space left" in str(error)
        remedy = f"make {_megabytes(state)} MB of room in {target.parent}" if full else f"check the permissions of {target.parent}"
        raise WeightsError(f"{target}: cannot be written ({error})", remedy) from error
    finally:
        partial.unlink(missing_ok=True)


def _megabytes(state: Mapping[str, Tensor]) -> int:
    return (sum(tensor.numel() * tensor.element_size() for tensor in state.values()) >> 20) + 1
