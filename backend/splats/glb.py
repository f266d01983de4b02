"""Binary glTF 2.0: the splats as KHR_gaussian_splatting beside the rig as a skinned mesh with morph targets.

glTF's frame is the avatar's own: metres, +Y up, front along +Z.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backend.protocol.avatar import F32, Avatar, RigArrays, SplatArrays
from backend.protocol.avatar_file import write_atomically

from .posed import Posable

EXTENSION = "KHR_gaussian_splatting"
_FLOAT, _UNSIGNED_SHORT, _UNSIGNED_INT = 5126, 5123, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_POINTS, _TRIANGLES = 0, 4
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


def write_glb(
    path: str | os.PathLike[str],
    avatar: Avatar,
    lod: int,
    expression: Mapping[str, float] | None = None,
    pose: F32 | None = None,
) -> None:
    """Write one level in one pose, with the rig.

    The splats stand in the given pose: glTF has no skinning of splats. The mesh is the rest pose with a
    skeleton and one morph target per expression, set to the same pose through node rotations and weights. It
    is coloured by the splats, so that a viewer without the extension still shows a head.

    Raises:
        RigError: no such level, an unknown expression.
        AvatarFileError: the path cannot be written.
    """
    write_atomically(Path(path), encode_glb(avatar, lod, expression, pose))


def encode_glb(avatar: Avatar, lod: int, expression: Mapping[str, float] | None = None, pose: F32 | None = None) -> bytes:
    """The file's bytes."""
    posable = Posable(avatar, lod)
    splats = posable.pose(expression, pose)
    joints = np.zeros((len(avatar.rig.joints), 3), np.float32) if pose is None else pose
    file = _Binary()
    rig = avatar.rig
    first_joint = 3
    nodes: list[dict[str, Any]] = [
        {"name": avatar.name, "children": [1, 2, first_joint]},
        {"name": f"{avatar.name}.splats", "mesh": 0},
        {"name": f"{avatar.name}.head", "mesh": 1, "skin": 0},
        *_joint_nodes(rig, joints, first_joint),
    ]
    inverse_bind = np.tile(np.eye(4, dtype=np.float32), (len(rig.joints), 1, 1))
    inverse_bind[:, 3, :3] = -rig.joints  # column-major: the translation is the last row in memory
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "Lookalike", "extras": {"rig": rig.rig_id}},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"name": avatar.name, "nodes": [0]}],
        "nodes": nodes,
        "meshes": [
            {"name": f"{avatar.name}.splats", "primitives": [_splat_primitive(file, splats)]},
            _rig_mesh(file, avatar, posable.rest, expression or {}),
        ],
        "skins": [
            {
                "joints": list(range(first_joint, first_joint + len(rig.joints))),
                "skeleton": first_joint,
                "inverseBindMatrices": file.add(inverse_bind.reshape(-1, 16)),
            }
        ],
        "materials": [{"name": "head", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}],
    }
    document |= {"accessors": file.accessors, "bufferViews": file.views, "buffers": [{"byteLength": len(file.data)}]}
    return _container(json.dumps(document, separators=(",", ":"), allow_nan=False).encode(), bytes(file.data))


class _Binary:
    """The binary chunk as it grows, with the accessors that point into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, array: np.ndarray, bounds: bool = False, target: int | None = None) -> int:
        """Append [N] or [N, K] as one accessor of its own buffer view; returns its index."""
        component = {"f": _FLOAT, "u": _UNSIGNED_INT}[array.dtype.kind] if array.dtype.itemsize == 4 else _UNSIGNED_SHORT
        payload = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(payload)}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += payload + b"\0" * (-len(payload) % 4)
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": component,
            "count": len(array),
            "type": _TYPES[1 if array.ndim == 1 else array.shape[1]],
        }
        if bounds:
            accessor |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _splat_primitive(file: _Binary, splats: SplatArrays) -> dict[str, Any]:
    """Points with the extension's attributes (its README, 'Attributes'): quaternions xyzw, linear scales, opacity 0..1."""
    w, x, y, z = splats.rotation.T
    fallback = np.concatenate([_linear(splats.rgb), splats.opacity[:, None]], 1).astype(np.float32)
    attributes = {
        "POSITION": file.add(splats.position, bounds=True, target=_ARRAY_BUFFER),
        f"{EXTENSION}:ROTATION": file.add(np.stack([x, y, z, w], 1), target=_ARRAY_BUFFER),
        f"{EXTENSION}:SCALE": file.add(splats.scale, target=_ARRAY_BUFFER),
        f"{EXTENSION}:OPACITY": file.add(splats.opacity, target=_ARRAY_BUFFER),
        "COLOR_0": file.add(fallback, target=_ARRAY_BUFFER),
    }
    coefficient = 0
    for degree in range(int(np.sqrt(splats.sh.shape[1]))):
        for order in range(2 * degree + 1):
            accessor = file.add(np.ascontiguousarray(splats.sh[:, coefficient]), target=_ARRAY_BUFFER)
            attributes[f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{order}"] = accessor
            coefficient += 1
    return {
        "mode": _POINTS,
        "attributes": attributes,
        "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}},
    }


def _rig_mesh(file: _Binary, avatar: Avatar, rest: SplatArrays, expression: Mapping[str, float]) -> dict[str, Any]:
    rig = avatar.rig
    indices, weights = strongest_joints(rig.weights)
    attributes: dict[str, int] = {
        "POSITION": file.add(rig.vertices, bounds=True, target=_ARRAY_BUFFER),
        "NORMAL": file.add(_normals(rig), target=_ARRAY_BUFFER),
        "COLOR_0": file.add(_linear(_vertex_colors(rig, rest)), target=_ARRAY_BUFFER),
        "JOINTS_0": file.add(indices, target=_ARRAY_BUFFER),
        "WEIGHTS_0": file.add(weights, target=_ARRAY_BUFFER),
    }
    primitive: dict[str, Any] = {
        "mode": _TRIANGLES,
        "material": 0,
        "attributes": attributes,
        "indices": file.add(rig.faces.reshape(-1).astype(np.uint32), target=_ELEMENT_ARRAY_BUFFER),
    }
    mesh: dict[str, Any] = {"name": f"{avatar.name}.head", "primitives": [primitive]}
    if len(rig.expressions):
        primitive["targets"] = [{"POSITION": file.add(e, bounds=True, target=_ARRAY_BUFFER)} for e in rig.expressions]
        mesh["weights"] = [float(expression.get(name, 0.0)) for name in rig.expression_names]
        mesh["extras"] = {"targetNames": list(rig.expression_names)}
    return mesh


def _joint_nodes(rig: RigArrays, pose: F32, first: int) -> list[dict[str, Any]]:
    nodes = []
    for j, name in enumerate(rig.joint_names):
        parent = rig.parents[j]
        offset = rig.joints[j] - (rig.joints[parent] if parent >= 0 else 0)
        node: dict[str, Any] = {"name": name, "translation": offset.astype(float).tolist()}
        angle = float(np.linalg.norm(pose[j]))
        if angle > 0:
            axis = np.asarray(pose[j], float) / angle * np.sin(angle / 2)
            node["rotation"] = [*axis.tolist(), float(np.cos(angle / 2))]
        children = [first + k for k in range(len(rig.joints)) if rig.parents[k] == j]
        if children:
            node["children"] = children
        nodes.append(node)
    return nodes


def strongest_joints(weights: F32) -> tuple[np.ndarray, F32]:
    """The four strongest joints of every vertex: indices uint16 [V, 4], weights [V, 4] that sum to 1."""
    count = min(4, weights.shape[1])
    order = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    picked = np.take_along_axis(weights, order, 1)
    picked = picked / np.maximum(picked.sum(1, keepdims=True), 1e-12)
    indices, values = np.zeros((len(weights), 4), np.uint16), np.zeros((len(weights), 4), np.float32)
    # glTF wants index 0 wherever the weight is 0.
    indices[:, :count], values[:, :count] = np.where(picked > 0, order, 0), picked
    return indices, values


def _vertex_colors(rig: RigArrays, splats: SplatArrays) -> F32:
    """Display-referred colour of each vertex: the opacity-weighted mean of the splats on its triangles."""
    total, mass = np.zeros((len(rig.vertices), 3)), np.zeros(len(rig.vertices))
    weight = splats.barycentric * splats.opacity[:, None]
    for corner in range(3):
        vertex = rig.faces[splats.face, corner]
        np.add.at(mass, vertex, weight[:, corner])
        np.add.at(total, vertex, weight[:, corner, None] * splats.rgb)
    color = np.where(mass[:, None] > 1e-6, total / np.maximum(mass, 1e-6)[:, None], 0.5)
    return np.clip(color, 0, 1).astype(np.float32)


def _normals(rig: RigArrays) -> F32:
    corners = rig.vertices[rig.faces]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(rig.vertices)
    for corner in range(3):
        np.add.at(normals, rig.faces[:, corner], face)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-20, normals / np.maximum(length, 1e-20), np.array([0, 0, 1], np.float32)).astype(np.float32)


def _linear(display: F32) -> F32:
    """sRGB to linear light: glTF's COLOR_0 is linear."""
    clipped = np.clip(display, 0, 1)
    return np.where(clipped <= 0.04045, clipped / 12.92, ((clipped + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _container(document: bytes, binary: bytes) -> bytes:
    document += b" " * (-len(document) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<I4s", len(document), b"JSON") + document + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
