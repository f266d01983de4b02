"""ICT-FaceKit (Li et al. 2020, "Learning formation of physically-based face attributes"; MIT) from its OBJ folder or an .npz.

The light model is a fixed topology of 26,719 vertices in centimetres whose parts follow one another. It comes without
bones: eyes turn rigidly, and the jaw's joint, angle and weights are read off the jawOpen shape.
"""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.protocol.errors import RigError

from .flame import read_npz
from .regression import regressor_row
from .rig import Rig
from .skinning import rotation_matrices

JOINT_NAMES = ("root", "neck", "jaw", "eye_left", "eye_right")
NEUTRAL = "generic_neutral_mesh"
METRES = 0.01
VERTICES = 26719
PARTS = {"face": (0, 9409), "neck": (9409, 11248), "mouth_cavity": (11248, 13294), "sockets": (13294, 14062), "gums": (14062, 17039),
         "teeth": (17039, 21451), "eye_left": (21451, 23021), "eye_right": (23021, 24591)}  # fmt: skip
KEPT = 24591
"""Vertices up to here are solid; lacrimal fluid, eye occlusion and lashes after them are thin overlays and left out."""
MAX_OBJ_BYTES = 1 << 26

# MediaPipe's landmark for each of the 51 inner points of the usual 68 (points 17..67).
MEDIAPIPE_OF_68 = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2, 326, 327, 33, 160, 158, 133, 153,
                   144, 362, 385, 387, 263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308,
                   317, 14, 87)  # fmt: skip


@dataclass
class _Model:
    """ICT as read: metres, triangles, deltas by name."""

    neutral: NDArray[np.float64]
    faces: NDArray[np.int64]
    expressions: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    identities: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def load_ict(path: str | Path) -> Rig:
    """ICT-FaceKit from the folder with generic_neutral_mesh.obj (files may be .obj.gz), or from an .npz.

    The .npz holds neutral [V, 3], faces [F, 4] padded with -1, expression_deltas [E, V, 3], identity_deltas [I, V, 3] in
    centimetres, with names.json beside it. vertex_indices.json, part of ICT-FaceKit, gives the landmarks where present.
    Expressions take ARKit's names (mouthSmile_L becomes mouthSmileLeft); jawOpen and eyeLook* are joint rotations here.

    Raises:
        RigError: files missing, corrupt or of another topology.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    model = _read_folder(path) if path.is_dir() else _read_archive(path)
    if "jawOpen" not in model.expressions:
        raise RigError(f"{path.name}: ICT-FaceKit without jawOpen, from which the jaw is made", "copy all of FaceXModel's OBJ files")
    jaw, jaw_weight = _jaw(model)
    weights, joints = _skinning(model, jaw, jaw_weight)
    names, basis = _expressions(model)
    labels = {name: np.arange(a, b, dtype=np.int32) for name, (a, b) in PARTS.items() if name not in ("face", "sockets", "gums", "teeth")}
    labels |= _labels(model, jaw_weight)
    return Rig(
        template=model.neutral.astype(np.float32),
        faces=model.faces.astype(np.int32),
        shape_basis=np.ascontiguousarray(np.stack(list(model.identities.values()), -1)) if model.identities else _no_shapes(),
        expression_basis=basis,
        expression_names=names,
        joint_regressor=_regressor(model, joints),
        joint_names=JOINT_NAMES,
        parents=np.array([-1, 0, 1, 1, 1], np.int32),
        weights=weights,
        rig_id="ict-facekit",
        licence="MIT (ICT-FaceKit, USC Institute for Creative Technologies)",
        labels=labels,
        landmarks=_landmarks(folder / "vertex_indices.json", model),
    )


def _no_shapes() -> NDArray[np.float32]:
    return np.zeros((KEPT, 3, 0), np.float32)


def _read_folder(folder: Path) -> _Model:
    files = {p.name.split(".")[0]: p for p in sorted(folder.iterdir()) if p.name.endswith((".obj", ".obj.gz"))}
    if NEUTRAL not in files:
        raise RigError(f"{folder}: no {NEUTRAL}.obj, so this is not ICT-FaceKit's model folder", "choose its FaceXModel folder")
    vertices, polygons = _read_obj(files.pop(NEUTRAL), faces=True)
    model = _solid(vertices, polygons, folder.name)
    for name, file in files.items():
        moved, _ = _read_obj(file, faces=False)
        if moved.shape != vertices.shape:
            raise RigError(f"{file.name}: {len(moved)} vertices where the neutral has {len(vertices)}")
        delta = ((moved - vertices)[:KEPT] * METRES).astype(np.float32)
        (model.identities if name.startswith("identity") else model.expressions)[name] = delta
    return model


def _read_archive(path: Path) -> _Model:
    content = read_npz(path)
    missing = [k for k in ("neutral", "faces", "expression_deltas", "identity_deltas") if k not in content]
    if missing:
        raise RigError(f"{path.name}: not ICT-FaceKit, {', '.join(missing)} missing")
    names_file = path.with_name("names.json")
    try:
        names = json.loads(names_file.read_text("utf-8"))
        expressions, identities = list(names["expressions"]), list(names["identities"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RigError(f"{names_file.name} beside {path.name} cannot be read ({error})") from error
    model = _solid(content["neutral"].astype(np.float64), content["faces"].astype(np.int64), path.name)
    for key, labels, target in (
        ("expression_deltas", expressions, model.expressions),
        ("identity_deltas", identities, model.identities),
    ):
        if content[key].shape != (len(labels), VERTICES, 3):
            raise RigError(f"{path.name}: {key} has shape {content[key].shape} where names.json lists {len(labels)}")
        for label, delta in zip(labels, content[key], strict=True):
            target[label] = delta[:KEPT].astype(np.float32) * np.float32(METRES)
    return model


def _read_obj(path: Path, faces: bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices and, if asked for, polygons padded with -1 to four corners."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_OBJ_BYTES + 1)
        if len(data) > MAX_OBJ_BYTES:
            raise RigError(f"{path.name}: larger than any ICT-FaceKit mesh")
        text = data.decode("ascii", "replace")
        rows = [line[2:] for line in text.splitlines() if line.startswith("v ")]
        vertices = np.loadtxt(io.StringIO("\n".join(rows)), ndmin=2) if rows else np.zeros((0, 3))
        polygons = [_corners(line) for line in text.splitlines() if line.startswith("f ")] if faces else []
    except (OSError, EOFError, ValueError) as error:
        raise RigError(f"{path.name}: not a readable OBJ ({error})", "copy the file again") from error
    return vertices[:, :3], np.array(polygons, np.int64).reshape(-1, 4)


def _corners(line: str) -> list[int]:
    """Zero-based vertices of an OBJ face."""
    corners = [int(token.split("/")[0]) - 1 for token in line.split()[1:]]
    if len(corners) not in (3, 4):
        raise ValueError(f"a face with {len(corners)} corners")
    return corners + [-1] * (4 - len(corners))


def _solid(vertices: NDArray[np.float64], polygons: NDArray[np.int64], name: str) -> _Model:
    """The solid parts in metres, quads split along their shorter diagonal's fixed first corner."""
    if vertices.shape != (VERTICES, 3) or polygons.ndim != 2 or polygons.shape[1] != 4 or not len(polygons):
        raise RigError(f"{name}: {vertices.shape[0]} vertices where ICT-FaceKit has {VERTICES}")
    if polygons[:, :3].min() < 0 or polygons.max() >= VERTICES or not np.isfinite(vertices).all():
        raise RigError(f"{name}: faces or positions are corrupt")
    kept = polygons[(polygons < KEPT).all(1)]
    quads = kept[kept[:, 3] >= 0]
    return _Model(vertices[:KEPT] * METRES, np.concatenate([kept[:, :3], quads[:, [0, 2, 3]]]))


def _jaw(model: _Model) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The jaw's joint [3] and weights [V] from jawOpen: the rotation of the lower teeth, and how far each vertex takes part."""
    rest, opened = model.neutral, model.expressions["jawOpen"].astype(np.float64)
    a, b = PARTS["teeth"]
    moved = np.linalg.norm(opened[a:b], axis=1)
    lower = a + np.flatnonzero(moved > 0.9 * moved.max())
    before, after = rest[lower], rest[lower] + opened[lower]
    u, _, vt = np.linalg.svd((before - before.mean(0)).T @ (after - after.mean(0)))
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = vt.T @ sign @ u.T
    angle = float(np.arctan2(rotation[2, 1], rotation[1, 1]))
    if not 0.05 < angle < 1.5:
        raise RigError(f"jawOpen turns the lower teeth by {np.degrees(angle):.0f} degrees: not a jaw's motion")
    turn = rotation_matrices(np.array([angle, 0.0, 0.0]))
    shift = after.mean(0) - turn @ before.mean(0)
    joint = np.zeros(3)
    joint[1:] = np.linalg.solve((np.eye(3) - turn)[1:, 1:], shift[1:])
    ideal = (rest - joint) @ turn.T + joint - rest
    weight = (opened * ideal).sum(1) / np.maximum((ideal**2).sum(1), 1e-8)
    weight[lower] = 1
    return joint, np.clip(weight, 0, 1)


def _skinning(
    model: _Model, jaw: NDArray[np.float64], jaw_weight: NDArray[np.float64]
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float64]]]:
    """Weights [V, 5] and joints. The lowest ring belongs to the root; eyes are rigid."""
    y = model.neutral[:, 1]
    base, throat = float(y.min()), float(jaw[1]) - 0.085
    t = np.clip((y - base) / max(throat - base, 1e-3), 0, 1)
    moving = t * t * (3 - 2 * t)
    weights = np.stack([1 - moving, moving * (1 - jaw_weight), moving * jaw_weight, 0 * t, 0 * t], 1)
    joints = {"jaw": jaw, "neck": np.array([0, throat, jaw[2] - 0.03]), "root": np.array([0, base, jaw[2] - 0.04])}
    for joint, name in ((3, "eye_left"), (4, "eye_right")):
        start, end = PARTS[name]
        weights[start:end] = np.eye(5)[joint]
        joints[name] = _sphere_centre(model.neutral[start:end])
    return weights.astype(np.float32), joints


def _sphere_centre(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares centre of a sphere through the points."""
    system = np.column_stack([2 * points, np.ones(len(points))])
    return np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0][:3]


def _regressor(model: _Model, joints: dict[str, NDArray[np.float64]]) -> NDArray[np.float32]:
    y, z = model.neutral[:, 1], model.neutral[:, 2]
    skin = np.arange(len(y)) < PARTS["neck"][1]
    supports = {
        "root": np.flatnonzero(skin & (y < y.min() + 0.02)),
        "neck": np.flatnonzero(skin & (np.abs(y - joints["neck"][1]) < 0.015) & (z < joints["jaw"][2])),
        "jaw": np.flatnonzero(skin & (np.abs(y - joints["jaw"][1]) < 0.02) & (np.abs(z - joints["jaw"][2]) < 0.03)),
        "eye_left": np.arange(*PARTS["eye_left"]),
        "eye_right": np.arange(*PARTS["eye_right"]),
    }
    for name, support in supports.items():
        if len(support) < 8:
            raise RigError(f"ICT-FaceKit's {name} joint has no vertices around it: the mesh is deformed")
    return np.stack([regressor_row(model.neutral, supports[n], joints[n]) for n in JOINT_NAMES]).astype(np.float32)


def _expressions(model: _Model) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """ARKit's names and [E, V, 3]; halves of what ARKit has as one shape are added up."""
    basis: dict[str, NDArray[np.float32]] = {}
    for name, delta in model.expressions.items():
        if name == "jawOpen" or name.startswith("eyeLook"):
            continue
        stem, _, side = name.rpartition("_")
        target = stem if stem in ("browInnerUp", "cheekPuff") else stem + {"L": "Left", "R": "Right"}[side] if side in ("L", "R") else name
        basis[target] = basis[target] + delta if target in basis else delta
    if not basis:
        return (), np.zeros((0, KEPT, 3), np.float32)
    return tuple(sorted(basis)), np.stack([basis[name] for name in sorted(basis)])


def _labels(model: _Model, jaw_weight: NDArray[np.float64]) -> dict[str, NDArray[np.int32]]:
    teeth, gums = np.arange(*PARTS["teeth"]), np.arange(*PARTS["gums"])
    lower = jaw_weight[teeth] > 0.5
    return {
        "skin": np.concatenate([np.arange(*PARTS["face"]), np.arange(*PARTS["sockets"])]).astype(np.int32),
        "teeth_upper": teeth[~lower].astype(np.int32),
        "teeth_lower": teeth[lower].astype(np.int32),
        "tongue": gums.astype(np.int32),
    }


def _landmarks(path: Path, model: _Model) -> NDArray[np.int32] | None:
    """[478] MediaPipe landmark -> vertex from ICT's own 68, iris centres from the eyeballs; -1 elsewhere."""
    try:
        points = np.array(json.loads(path.read_text("utf-8"))["idx_to_landmark_verts"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RigError(f"{path.name}: ICT-FaceKit's landmark list cannot be read ({error})") from error
    if points.shape != (68,) or points.dtype.kind not in "iu" or points.min() < 0 or points.max() >= KEPT:
        raise RigError(f"{path.name}: idx_to_landmark_verts is not a list of 68 vertices")
    landmarks = np.full(478, -1, np.int32)
    landmarks[list(MEDIAPIPE_OF_68)] = points[17:]
    for index, part in ((468, "eye_right"), (473, "eye_left")):
        start, end = PARTS[part]
        landmarks[index] = start + int(model.neutral[start:end, 2].argmax())
    return landmarks


def describes_ict(keys: Any) -> bool:
    """Whether an .npz with these keys is ICT-FaceKit's."""
    return "identity_deltas" in keys
