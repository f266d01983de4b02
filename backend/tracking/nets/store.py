"""Where the converted nets live on a machine, and their one file: safetensors, graphs and provenance in its metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from platformdirs import user_data_dir
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from backend.protocol.avatar_file import write_atomically
from backend.protocol.errors import AvatarFileError, WeightsError

from .executor import Net
from .tflite import Graph, Operator

FORMAT = 1
MAX_BYTES = 64 << 20
REMEDY = "run python3 build.py setup"

NETS = {
    "short_range": "face_detection/face_detection_short_range",
    "full_range": "face_detection/face_detection_full_range_sparse",
    "landmarks": "face_landmark/face_landmark_with_attention",
    "matte": "selfie_segmentation/selfie_segmentation",
}
"""Our name of each net, and MediaPipe's file under ``mediapipe/modules/`` (without ``.tflite``)."""


@dataclass(frozen=True)
class Nets:
    """The nets by the names of `NETS`, and where they come from (wheel, sha256, licence)."""

    nets: Mapping[str, Net]
    provenance: Mapping[str, str]

    def __getitem__(self, name: str) -> Net:
        return self.nets[name]


def data_directory() -> Path:
    """What this user's Lookalike keeps between runs; the environment's LOOKALIKE_DATA overrides the system's place."""
    return Path(os.environ.get("LOOKALIKE_DATA") or user_data_dir("lookalike", appauthor=False))


def nets_path() -> Path:
    """The nets' file."""
    return data_directory() / "nets" / "mediapipe-face.safetensors"


def write_nets(path: Path, graphs: Mapping[str, tuple[Graph, dict[int, np.ndarray]]], provenance: Mapping[str, str]) -> None:
    """Write all nets as one file, atomically.

    Raises:
        WeightsError: the folder cannot be written.
    """
    header = {"format": FORMAT, "graphs": {name: asdict(graph) for name, (graph, _) in graphs.items()}, "provenance": dict(provenance)}
    tensors = {f"{name}/{i}": np.ascontiguousarray(a) for name, (_, constants) in graphs.items() for i, a in constants.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(tensors, metadata={"lookalike_nets": json.dumps(header)}))
    except (OSError, AvatarFileError) as error:
        raise WeightsError(f"{path}: the face nets cannot be written ({error})", "check the folder's permissions and free space") from error


def load_nets(path: Path | None = None) -> Nets:
    """The nets, read once a process for each path.

    Raises:
        WeightsError: not installed, corrupt, or of another version.
    """
    return _load(path or nets_path())


def forget_nets() -> None:
    """Read the file again at the next `load_nets`: it was replaced."""
    _load.cache_clear()


@lru_cache(maxsize=2)
def _load(path: Path) -> Nets:
    if not path.is_file():
        raise WeightsError(f"the face nets are not installed ({path} is missing)", REMEDY)
    if path.stat().st_size > MAX_BYTES:
        raise WeightsError(f"{path}: too large to be the face nets", REMEDY)
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["lookalike_nets"])
            if header["format"] != FORMAT:
                raise WeightsError(f"{path}: nets of format {header['format']}, this software reads {FORMAT}", REMEDY)
            constants: dict[str, dict[int, np.ndarray]] = {name: {} for name in header["graphs"]}
            for key in file.keys():  # noqa: SIM118  (safe_open is not a mapping)
                name, index = key.split("/")
                constants[name][int(index)] = file.get_tensor(key)
        nets = {name: Net(_graph(header["graphs"][name]), constants[name]) for name in NETS}
        provenance = {str(k): str(v) for k, v in header["provenance"].items()}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise WeightsError(f"{path}: the face nets are corrupt ({error})", REMEDY) from error
    return Nets(nets, provenance)


def _graph(record: dict) -> Graph:
    return Graph(
        operators=[Operator(**o) for o in record["operators"]],
        inputs={int(k): list(v) for k, v in record["inputs"].items()},
        outputs={str(k): int(v) for k, v in record["outputs"].items()},
    )
