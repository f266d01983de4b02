"""LAM's web zip, which LAM_WebRender and OpenAvatarChat play: a folder with skin.glb, offset.ply, animation.glb, vertex_order.json.

The renderer takes the mesh of skin.glb with one vertex a splat, moves it by morph targets with ARKit's names, adds the
offsets of offset.ply (colours there are plain RGB, not harmonics) and turns all by the bone called "head". The zip must hold
an entry for its folder (aigc3d/LAM tools, gaussian-splat-renderer-for-lam). LAM's own exports share one base mesh, so that
all avatars have the same nose and eyes; here the identity is in the mesh.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import Any

import numpy as np

from ..avatar import F32, SH_C0, Avatar, RigArrays, SplatArrays
from ..avatar_file import MAX_SPLATS
from ..errors import AvatarFileError
from .arkit_names import ARKIT_NAMES
from .arkit_targets import joint_targets
from .cloud import SplatCloud
from .gltf_container import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, TRIANGLES, BufferWriter, Glb
from .gltf_writer import strongest_joints
from .ply import decode_ply, encode_ply

EYE_HEIGHT = 1.65
"""Metres above the ground: the renderer's camera stands at 1.8 m and looks down by 10 degrees."""

STATES = (("hello", 2), ("idle", 1), ("speak", 6), ("think", 3))
"""Clips of animation.glb, which the renderer knows by their order."""

FILES = ("skin.glb", "offset.ply", "animation.glb", "vertex_order.json")
MAX_FILE_BYTES = 1 << 28
_BONES = ("hip", "neckUpper", "head")


def encode_lam(avatar: Avatar, splats: SplatArrays, name: str) -> bytes:
    """The zip's bytes of one level of detail at rest.

    Args:
        splats: of the level, at rest; one mesh vertex is made for each.
        name: of the folder inside; the zip must be called alike.
    """
    anchor = np.einsum("nk,nkd->nd", splats.barycentric, avatar.rig.vertices[avatar.rig.faces[splats.face]]).astype(np.float32)
    lift = np.array([0, EYE_HEIGHT - _eye_level(avatar.rig), 0], np.float32)
    offset = SplatCloud.of(splats)._replace(position=splats.position - anchor, sh=splats.rgb[:, None])
    files = {
        "skin.glb": _skin(avatar.rig, splats, anchor, lift),
        "offset.ply": encode_ply(offset, "y-up"),
        "animation.glb": _animation(avatar.rig, lift),
        "vertex_order.json": json.dumps(list(range(len(splats)))).encode(),
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry(f"{name}/"), b"")
        for file, content in files.items():
            archive.writestr(_entry(f"{name}/{file}"), content)
    return data.getvalue()


def decode_lam(data: bytes, name: str = "avatar.zip") -> SplatCloud:
    """The splats of such a zip at rest, at the height at which its mesh stands.

    Raises:
        AvatarFileError: not such a zip, damaged, or larger than any avatar.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            skin, offset = (_member(archive, file, name) for file in ("skin.glb", "offset.ply"))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise AvatarFileError(f"{name}: not a readable zip file ({error})") from error
    cloud = decode_ply(offset, f"{name}/offset.ply")
    glb = Glb(skin, f"{name}/skin.glb")
    skinned = [node for node in glb.document.get("nodes", []) if isinstance(node, dict) and "skin" in node and "mesh" in node]
    try:
        position = glb.item("meshes", skinned[0]["mesh"])["primitives"][0]["attributes"]["POSITION"]
    except (IndexError, KeyError, TypeError) as error:
        raise AvatarFileError(f"{name}: skin.glb has no skinned mesh") from error
    vertices = glb.array(position, MAX_SPLATS)
    if vertices.shape != cloud.position.shape or not np.isfinite(vertices).all():
        raise AvatarFileError(f"{name}: {len(cloud.position)} splats do not fit a mesh of {len(vertices)} vertices")
    colors = (cloud.sh[:, :1] - np.float32(0.5)) / np.float32(SH_C0)
    return cloud._replace(position=(cloud.position + vertices).astype(np.float32), sh=colors.astype(np.float32))


def _skin(rig: RigArrays, splats: SplatArrays, anchor: F32, lift: F32) -> bytes:
    file = BufferWriter()
    weights = np.einsum("nk,nkj->nj", splats.barycentric, rig.weights[rig.faces[splats.face]]).astype(np.float32)
    targets = _arkit_targets(rig, splats, anchor, weights)
    root = rig.joint_names.index("root")
    bones = np.stack([weights[:, root], np.zeros(len(weights), np.float32), 1 - weights[:, root]], 1)
    indices, values = strongest_joints(np.clip(bones, 0, 1))
    primitive: dict[str, Any] = {
        "mode": TRIANGLES,
        "attributes": {
            "POSITION": file.add(anchor + lift, bounds=True, target=ARRAY_BUFFER),
            "JOINTS_0": file.add(indices, target=ARRAY_BUFFER),
            "WEIGHTS_0": file.add(values, target=ARRAY_BUFFER),
        },
        "indices": file.add(_triangles(splats).reshape(-1), target=ELEMENT_ARRAY_BUFFER),
        "targets": [{"POSITION": file.add_sparse(target, bounds=True)} for target in targets.values()],
    }
    places = _bone_places(rig) + lift
    inverse_bind = np.tile(np.eye(4, dtype=np.float32), (len(places), 1, 1))
    inverse_bind[:, 3, :3] = -places
    nodes = [{"name": "avatar", "mesh": 0, "skin": 0}, *_bone_nodes(places, 1)]
    document = {
        "asset": {"version": "2.0", "generator": "Lookalike"},
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": nodes,
        "meshes": [
            {"name": "avatar", "primitives": [primitive], "weights": [0.0] * len(targets), "extras": {"targetNames": list(targets)}}
        ],
        "skins": [{"joints": [1, 2, 3], "skeleton": 1, "inverseBindMatrices": file.add(inverse_bind.reshape(-1, 16))}],
    }
    return file.container(document)


def _arkit_targets(rig: RigArrays, splats: SplatArrays, anchor: F32, weights: F32) -> dict[str, F32]:
    """ARKit's shapes at the anchors: the rig's expressions that ARKit has too, and those that it makes with joints."""
    corners = rig.faces[splats.face]
    targets = joint_targets(rig, anchor, weights)
    for name, displacement in zip(rig.expression_names, rig.expressions, strict=True):
        if name in ARKIT_NAMES:
            targets[name] = np.einsum("nk,nkd->nd", splats.barycentric, displacement[corners]).astype(np.float32)
    return {name: targets[name] for name in sorted(targets) if name != "tongueOut"}  # which LAM's own files lack


def _triangles(splats: SplatArrays) -> np.ndarray:
    """[T, 3] of neighbours on one rig triangle: there only because a skinned mesh must have faces; the renderer hides it."""
    order = np.argsort(splats.face, kind="stable").astype(np.uint32)
    same = splats.face[order[:-2]] == splats.face[order[2:]]
    triples = np.stack([order[:-2], order[1:-1], order[2:]], 1)[same]
    return triples if len(triples) else np.zeros((1, 3), np.uint32)


def _animation(rig: RigArrays, lift: F32) -> bytes:
    """Twelve calm clips of the head bone; each ends as it begins."""
    file = BufferWriter()
    animations = []
    for state, count in STATES:
        for i in range(count):
            seconds = 4.0 + 0.5 * i
            times = np.linspace(0, seconds, 17, dtype=np.float32)
            phase = 2 * np.pi * times / seconds
            size = {"hello": 0.05, "idle": 0.02, "speak": 0.035, "think": 0.04}[state]
            nod, turn = size * np.sin(phase * (1 + i % 2)), size * np.sin(phase) * (-1) ** i
            half = np.stack([nod, turn, 0.3 * turn, np.zeros_like(nod)], 1) / 2
            half[:, 3] = 1
            rotation = (half / np.linalg.norm(half, axis=1, keepdims=True)).astype(np.float32)
            sampler = {"input": file.add(times), "output": file.add(rotation), "interpolation": "LINEAR"}
            file.accessors[sampler["input"]] |= {"min": [0.0], "max": [float(times[-1])]}
            animations.append(
                {"name": f"{state}{i}", "samplers": [sampler], "channels": [{"sampler": 0, "target": {"node": 2, "path": "rotation"}}]}
            )
    document = {
        "asset": {"version": "2.0", "generator": "Lookalike"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": _bone_nodes(_bone_places(rig) + lift, 0),
        "animations": animations,
    }
    return file.container(document)


def _bone_places(rig: RigArrays) -> F32:
    """Rest positions of hip, neckUpper and head: the last two at the rig's neck joint."""
    neck = rig.joints[rig.joint_names.index("neck")]
    return np.stack([rig.joints[rig.joint_names.index("root")], neck, neck]).astype(np.float32)


def _bone_nodes(places: F32, first: int) -> list[dict[str, Any]]:
    offsets = np.diff(places, axis=0, prepend=np.zeros((1, 3), np.float32))
    nodes: list[dict[str, Any]] = [{"name": bone, "translation": o.astype(float).tolist()} for bone, o in zip(_BONES, offsets, strict=True)]
    for i in range(len(nodes) - 1):
        nodes[i]["children"] = [first + i + 1]
    return nodes


def _eye_level(rig: RigArrays) -> float:
    eyes = [rig.joints[rig.joint_names.index(name), 1] for name in ("eye_left", "eye_right") if name in rig.joint_names]
    return float(np.mean(eyes)) if eyes else float(rig.vertices[:, 1].mean())


def _entry(name: str) -> zipfile.ZipInfo:
    """A member of fixed date, so that the same avatar gives the same bytes."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o644 << 16
    return entry


def _member(archive: zipfile.ZipFile, file: str, name: str) -> bytes:
    entries = [e for e in archive.infolist() if e.filename.rsplit("/", 1)[-1] == file and not e.filename.startswith("__MACOSX")]
    if len(entries) != 1:
        raise AvatarFileError(f"{name}: holds no {file}, so it is not LAM's web zip")
    if entries[0].file_size > MAX_FILE_BYTES:
        raise AvatarFileError(f"{name}: {file} says {entries[0].file_size >> 20} MiB, more than an avatar has")
    with archive.open(entries[0]) as content:
        return content.read(MAX_FILE_BYTES)
