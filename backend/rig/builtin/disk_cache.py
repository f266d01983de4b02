"""The built-in head on disk: built once per version of the code that makes it, then read in milliseconds.

The file is safetensors, named by a hash of this package's sources and data, so a changed head can never be taken for
another. It is written atomically; a file that cannot be read is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np
from platformdirs import user_cache_dir
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from backend.rig.rig import Rig

ARRAYS = ("template", "faces", "shape_basis", "expression_basis", "joint_regressor", "parents", "weights", "landmarks", "mirror")
FACTS = ("expression_names", "joint_names", "rig_id", "licence")


def cache_folder() -> Path:
    """$LOOKALIKE_CACHE, or the system's cache folder for "lookalike"."""
    return Path(os.environ.get("LOOKALIKE_CACHE") or user_cache_dir("lookalike"))


def version_hash() -> str:
    """Sixteen hex digits of everything the head is made from."""
    digest = hashlib.sha256()
    package = resources.files("backend.rig.builtin")
    sources = [p for p in package.iterdir() if p.name.endswith(".py")] + list((package / "data").iterdir())
    shared = resources.files("backend.rig")
    sources += [shared / name for name in ("subdivision.py", "skinning.py", "arkit.py", "regression.py")]
    for source in sorted(sources, key=lambda p: p.name):
        if source.is_file():
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def to_bytes(rig: Rig) -> bytes:
    """The rig as one safetensors file."""
    tensors = {name: np.ascontiguousarray(getattr(rig, name)) for name in ARRAYS}
    tensors |= {f"label/{name}": ids for name, ids in rig.labels.items()}
    facts = {key: getattr(rig, key) for key in FACTS}
    # One metadata entry: safetensors writes several in random order, and the file would differ from run to run.
    return save(tensors, {"rig": json.dumps(facts, sort_keys=True)})


def read(path: Path) -> Rig | None:
    """The rig in a cache file, or None where there is no readable one."""
    try:
        with safe_open(path, "np") as file:
            facts = json.loads(file.metadata()["rig"])
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
            labels = {key[6:]: file.get_tensor(key) for key in file.keys() if key.startswith("label/")}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError):
        return None
    names = {key: tuple(facts.pop(key)) for key in ("expression_names", "joint_names")}
    return Rig(**arrays, **names, **facts, labels=labels)


def write(path: Path, data: bytes) -> None:
    """Write so that other processes see the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
