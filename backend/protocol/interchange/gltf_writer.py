"""Binary glTF 2.0: the splats as KHR_gaussian_splatting (release candidate of 2026) beside the rig as skin and morph targets.

glTF's frame is the avatar's own: metres, +Y up, front along +Z.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..avatar import F32, Avatar, RigArrays, SplatArrays
from .arkit_targets import joint_targets
from .gltf_container import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, EXTENSION, POINTS, TRIANGLES, BufferWriter

BINDING = "_LOOKALIKE_BINDING"
"""Application attribute: the triangle of the mesh that a splat follows, and its three weights; what makes the file an avatar again.

One attribute, not two: Blender 4.2's importer fails where a primitive has several of unlike widths.
"""


def encode_glb(
    avatar: Avatar, splats: SplatArrays, rest: SplatArrays, expression: Mapping[str, float] | None = None, pose: F32 | None = None
) -> bytes:
    """The file's bytes of one level in one pose, with the rig.

    The splats stand in the given pose: glTF has no skinning of splats. The mesh is the rest pose with a skeleton and one
    morph target per expression, set to the same pose through node rotations and weights; ARKit's jawOpen and eyeLook*,
    which the rig makes with joints, are morph targets too, at 0. It is coloured by the splats, so that a viewer without
    the extension still shows a head.

    Args:
        splats, rest: the level's splats as posed, and at rest.
        pose: [J, 3] axis-angle of each joint in its parent's frame, radians; None is the rest pose.
    """
    rig = avatar.rig
    joints = np.zeros((len(rig.joints), 3), np.float32) if pose is None else pose
    file = BufferWriter()
    first_joint = 3
    nodes: list[dict[str, Any]] = [
        {"name": avatar.name, "children": [1, 2, first_joint]},
        {"name": f"{avatar.name}.splats", "mesh": 0},
        {"name": f"{avatar.name}.head", "mesh": 1, "skin": 0},
        *joint_nodes(rig, joints, first_joint),
    ]
    still = not (expression and any(expression.values())) and not joints.any()
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "Lookalike", "extras": {"rig": rig.rig_id, "rest": still}},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"name": avatar.name, "nodes": [0]}],
        "nodes": nodes,
        "meshes": [
            {"name": f"{avatar.name}.splats", "primitives": [_splat_primitive(file, splats)]},
            _rig_mesh(file, avatar, rest, expression or {}),
        ],
        "skins": [skin(file, rig, first_joint)],
        "materials": [{"name": "head", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}],
    }
    return file.container(document)


def skin(file: BufferWriter, rig: RigArrays, first: int) -> dict[str, Any]:
    """The skeleton of nodes `first`, ... with its inverse bind matrices."""
    inverse_bind = np.tile(np.eye(4, dtype=np.float32), (len(rig.joints), 1, 1))
    inverse_bind[:, 3, :3] = -rig.joints  # column-major: the translation is the last row in memory
    return {
        "joints": list(range(first, first + len(rig.joints))),
        "skeleton": first,
        "inverseBindMatrices": file.add(inverse_bind.reshape(-1, 16)),
    }


def _splat_primitive(file: BufferWriter, splats: SplatArrays) -> dict[str, Any]:
    """Points with the extension's attributes (its README, 'Attributes'): quaternions xyzw, linear scales, opacity 0..1."""
    w, x, y, z = splats.rotation.T
    fallback = np.concatenate([linear(splats.rgb), splats.opacity[:, None]], 1).astype(np.float32)
    attributes = {
        "POSITION": file.add(splats.position, bounds=True, target=ARRAY_BUFFER),
        f"{EXTENSION}:ROTATION": file.add(np.stack([x, y, z, w], 1), target=ARRAY_BUFFER),
        f"{EXTENSION}:SCALE": file.add(splats.scale, target=ARRAY_BUFFER),
        f"{EXTENSION}:OPACITY": file.add(splats.opacity, target=ARRAY_BUFFER),
        "COLOR_0": file.add(fallback, target=ARRAY_BUFFER),
        # glTF allows no whole numbers of 32 bits here; a float holds every face index below 2^24.
        BINDING: file.add(np.concatenate([splats.face[:, None], splats.barycentric], 1).astype(np.float32), target=ARRAY_BUFFER),
    }
    coefficient = 0
    for degree in range(int(np.sqrt(splats.sh.shape[1]))):
        for order in range(2 * degree + 1):
            accessor = file.add(np.ascontiguousarray(splats.sh[:, coefficient]), target=ARRAY_BUFFER)
            attributes[f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{order}"] = accessor
            coefficient += 1
    return {
        "mode": POINTS,
        "attributes": attributes,
        "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}},
    }


def _rig_mesh(file: BufferWriter, avatar: Avatar, rest: SplatArrays, expression: Mapping[str, float]) -> dict[str, Any]:
    rig = avatar.rig
    indices, weights = strongest_joints(rig.weights)
    attributes: dict[str, int] = {
        "POSITION": file.add(rig.vertices, bounds=True, target=ARRAY_BUFFER),
        "NORMAL": file.add(_normals(rig), target=ARRAY_BUFFER),
        "COLOR_0": file.add(linear(_vertex_colors(rig, rest)), target=ARRAY_BUFFER),
        "JOINTS_0": file.add(indices, target=ARRAY_BUFFER),
        "WEIGHTS_0": file.add(weights, target=ARRAY_BUFFER),
    }
    primitive: dict[str, Any] = {
        "mode": TRIANGLES,
        "material": 0,
        "attributes": attributes,
        "indices": file.add(rig.faces.reshape(-1).astype(np.uint32), target=ELEMENT_ARRAY_BUFFER),
    }
    mesh: dict[str, Any] = {"name": f"{avatar.name}.head", "primitives": [primitive]}
    by_joints = joint_targets(rig, rig.vertices, rig.weights)
    targets = dict(zip(rig.expression_names, rig.expressions, strict=True)) | by_joints
    if targets:
        primitive["targets"] = [{"POSITION": file.add_sparse(target, bounds=True)} for target in targets.values()]
        mesh["weights"] = [float(expression.get(name, 0.0)) for name in targets]
        mesh["extras"] = {"targetNames": list(targets), "byJoints": list(by_joints)}
    return mesh


def joint_nodes(rig: RigArrays, pose: F32, first: int) -> list[dict[str, Any]]:
    """A node a joint, translated from its parent, turned by its pose."""
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


def linear(display: F32) -> F32:
    """sRGB to linear light: glTF's COLOR_0 is linear."""
    clipped = np.clip(display, 0, 1)
    return np.where(clipped <= 0.04045, clipped / 12.92, ((clipped + 0.055) / 1.055) ** 2.4).astype(np.float32)
