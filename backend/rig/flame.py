"""FLAME from the user's own file (Li et al. 2017): generations 2020, 2023 and 2023 Open."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from backend.protocol.errors import RigError

from .restricted_pickle import MAX_BYTES, read_pickle
from .rig import Rig

JOINT_NAMES = ("root", "neck", "jaw", "eye_left", "eye_right")
EXPRESSIONS = 100
"""The last hundred shape directions are expressions, in every generation."""
REQUIRED = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
MASK_LABELS = {"face": "skin", "scalp": "scalp", "neck": "neck", "lips": "lips", "left_ear": "ear_left", "right_ear": "ear_right",
               "left_eyeball": "eye_left", "right_eyeball": "eye_right", "nose": "nose", "boundary": "boundary"}  # fmt: skip
MASKS_FILE = "FLAME_masks.pkl"
EMBEDDING_FILE = "mediapipe_landmark_embedding.npz"

_LICENCES = {
    "flame-2023-open": "CC-BY-4.0 (FLAME 2023 Open, Max Planck Institute for Intelligent Systems)",
    "flame-2023": "FLAME 2023 licence: non-commercial scientific research (flame.is.tue.mpg.de)",
    "flame-2020": "FLAME 2020 licence: non-commercial scientific research (flame.is.tue.mpg.de)",
}


def load_flame(path: str | Path, masks: str | Path | None = None, embedding: str | Path | None = None) -> Rig:
    """FLAME from a .pkl as MPI distributes it, or an .npz or .safetensors with the same keys.

    Args:
        path: generic_model.pkl (2020, chumpy arrays inside), flame2023.pkl, flame2023_Open.pkl, or the like.
        masks: FLAME_masks.pkl for the labels; found by itself beside `path`.
        embedding: mediapipe_landmark_embedding.npz; found by itself beside `path`. Without it the rig has no landmarks.
    Returns:
        The rig; 300 shape directions, expressions expr000.. in the file's order, pose correctives.
    Raises:
        RigError: a file that is missing, corrupt, hostile, or not FLAME.
    """
    path = Path(path)
    model = read_arrays(path)
    missing = [key for key in REQUIRED if key not in model]
    if missing:
        raise RigError(f"{path.name}: not a FLAME model, {', '.join(missing)} missing", "choose generic_model.pkl or flame2023.pkl")
    arrays = _checked(model, path.name)
    template, shapedirs, weights = arrays["v_template"], arrays["shapedirs"], arrays["weights"]
    split = shapedirs.shape[2] - EXPRESSIONS
    rig_id = _generation(model, path)
    labels = _labels(weights, masks or _beside(path, MASKS_FILE), len(template))
    return Rig(
        template=template,
        faces=arrays["f"],
        shape_basis=np.ascontiguousarray(shapedirs[..., :split]),
        expression_basis=np.ascontiguousarray(shapedirs[..., split:].transpose(2, 0, 1)),
        expression_names=tuple(f"expr{i:03d}" for i in range(EXPRESSIONS)),
        joint_regressor=arrays["J_regressor"],
        joint_names=JOINT_NAMES,
        parents=arrays["parents"],
        weights=weights,
        rig_id=rig_id,
        licence=_LICENCES[rig_id],
        pose_basis=arrays["posedirs"],
        labels=labels,
        landmark_embedding=_embedding(embedding or _beside(path, EMBEDDING_FILE), len(arrays["f"])),
    )


def read_arrays(path: Path) -> dict[str, Any]:
    """The named arrays of a .pkl, .npz or .safetensors, told apart by content.

    Raises:
        RigError: missing, too large, or none of the three.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(10)
    except OSError as error:
        raise RigError(f"{path.name}: cannot be read ({error.strerror})", "check the path") from error
    if size > MAX_BYTES:
        raise RigError(f"{path.name}: {size >> 20} MB is more than a rig can be")
    if head[:4] == b"PK\x03\x04":
        return read_npz(path)
    if head[8:10] == b'{"':
        return _read_safetensors(path)
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise RigError(f"{path.name}: not a rig, the pickle holds a {type(content).__name__}")
    return content


def read_npz(path: Path) -> dict[str, Any]:
    """The arrays of an .npz, its uncompressed size checked first, without pickle.

    Raises:
        RigError: corrupt, too large when unpacked, or holding objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                raise RigError(f"{path.name}: unpacks to more than a rig can be")
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # RuntimeError: encrypted
        raise RigError(f"{path.name}: not a readable .npz ({error})", "download the file again") from error


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "np") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, TypeError) as error:
        raise RigError(f"{path.name}: not a readable .safetensors ({error})", "download the file again") from error


def _checked(model: dict[str, Any], name: str) -> dict[str, NDArray[Any]]:
    """The model's arrays with their types, after every shape and index was checked."""

    def numeric(key: str, dtype: Any) -> NDArray[Any]:
        try:
            return np.ascontiguousarray(np.asarray(model[key]).astype(dtype))
        except (TypeError, ValueError) as error:
            raise RigError(f"{name}: {key} is not an array of numbers") from error

    arrays = {key: numeric(key, np.float32) for key in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")}
    arrays["f"] = numeric("f", np.int32)
    table = numeric("kintree_table", np.int64)
    count, joints = len(arrays["v_template"]), len(JOINT_NAMES)
    shapes = {
        "v_template": (count, 3),
        "posedirs": (count, 3, 9 * (joints - 1)),
        "J_regressor": (joints, count),
        "weights": (count, joints),
    }
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise RigError(f"{name}: {key} has shape {arrays[key].shape} where FLAME has {shape}")
    if arrays["shapedirs"].ndim != 3 or arrays["shapedirs"].shape[:2] != (count, 3) or arrays["shapedirs"].shape[2] <= EXPRESSIONS:
        raise RigError(f"{name}: shapedirs has shape {arrays['shapedirs'].shape} where FLAME has ({count}, 3, 400)")
    faces = arrays["f"]
    if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces) or faces.min() < 0 or faces.max() >= count:
        raise RigError(f"{name}: faces do not fit {count} vertices")
    for key in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"):
        if not np.isfinite(arrays[key]).all():
            raise RigError(f"{name}: {key} holds numbers that are not finite")
    if table.ndim != 2 or table.shape != (2, joints):
        raise RigError(f"{name}: kintree_table has shape {table.shape} where FLAME has (2, {joints})")
    parents = table[0].copy()
    parents[0] = -1
    if (parents[1:] < 0).any() or (parents[1:] >= np.arange(1, joints)).any():
        raise RigError(f"{name}: kintree_table is not a tree whose parents come first")
    return arrays | {"parents": parents.astype(np.int32)}


def _generation(model: dict[str, Any], path: Path) -> str:
    """Which FLAME this is: Open carries metadata of its expressions; 2023 is told by its file's name, else it is 2020."""
    if "supr_expression_metadata" in model or "open" in path.stem.lower():
        return "flame-2023-open"
    return "flame-2023" if "2023" in path.stem else "flame-2020"


def _beside(path: Path, name: str) -> Path | None:
    return path.with_name(name) if path.with_name(name).is_file() else None


def _labels(weights: NDArray[Any], masks: str | Path | None, count: int) -> dict[str, NDArray[np.int32]]:
    """Eyeballs by their weights; more from FLAME_masks.pkl where given."""
    labels = {name: np.flatnonzero(weights[:, j] > 0.99).astype(np.int32) for j, name in ((3, "eye_left"), (4, "eye_right"))}
    if masks is None:
        return labels
    content = read_pickle(masks)
    if not isinstance(content, dict):
        raise RigError(f"{Path(masks).name}: not FLAME's masks")
    for name, label in MASK_LABELS.items():
        if name in content:
            index = np.asarray(content[name])
            if index.dtype.kind not in "iu" or index.ndim != 1 or (len(index) and (index.min() < 0 or index.max() >= count)):
                raise RigError(f"{Path(masks).name}: mask {name} does not fit {count} vertices")
            labels[label] = index.astype(np.int32)
    return labels


def _embedding(path: str | Path | None, faces: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]] | None:
    """MPI's file: which of MediaPipe's landmarks, on which face, at which barycentric coordinates."""
    if path is None:
        return None
    name, content = Path(path).name, read_npz(Path(path))
    missing = [key for key in ("landmark_indices", "lmk_face_idx", "lmk_b_coords") if key not in content]
    if missing:
        raise RigError(f"{name}: not a landmark embedding, {', '.join(missing)} missing")
    index, face = content["landmark_indices"].ravel(), content["lmk_face_idx"].ravel()
    barycentric = content["lmk_b_coords"]
    if len(index) != len(face) or barycentric.shape != (len(face), 3) or face.min() < 0 or face.max() >= faces or index.max() >= 478:
        raise RigError(f"{name}: the landmark embedding does not fit a mesh of {faces} faces")
    return index.astype(np.int32), face.astype(np.int32), barycentric.astype(np.float32)
