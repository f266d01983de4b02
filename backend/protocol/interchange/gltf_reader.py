"""Binary glTF back: splats of KHR_gaussian_splatting from any writer, and whole avatars from our own files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..avatar import F32, Avatar, RigArrays, SplatArrays
from ..avatar_file import MAX_SPLATS, MAX_VERTICES, check_names, check_rig, check_splats
from ..binding import quaternions, rotation_matrices
from ..errors import AvatarFileError
from .cloud import SplatCloud, turn_cloud
from .gltf_container import EXTENSION, POINTS, Glb
from .gltf_writer import BINDING

_MAX_DEPTH = 64
_MAX_TARGETS = 1024
_LARGEST = {"i1": 127.0, "u1": 255.0, "<i2": 32767.0, "<u2": 65535.0}


def decode_glb(data: bytes, name: str = "splats.glb") -> SplatCloud:
    """All splats of a file, placed by its nodes, in glTF's frame, which is the avatar's own.

    Raises:
        AvatarFileError: not a .glb, damaged, compressed, or without splats.
    """
    glb = Glb(data, name)
    clouds: list[SplatCloud] = []
    for matrix, mesh in _placed_meshes(glb):
        for primitive in _objects(mesh.get("primitives"), name):
            if EXTENSION in _object(primitive.get("extensions", {}), name):
                clouds.append(_placed(_primitive(glb, primitive), matrix, name))
                if sum(len(cloud.position) for cloud in clouds) > MAX_SPLATS:
                    raise AvatarFileError(f"{name}: more splats than Lookalike takes ({MAX_SPLATS})")
    if not clouds:
        raise AvatarFileError(f"{name}: holds no Gaussian splats ({EXTENSION})", "meshes are imported with File > Import > glTF 2.0")
    bands = max(cloud.sh.shape[1] for cloud in clouds)
    padded = [cloud._replace(sh=np.pad(cloud.sh, ((0, 0), (0, bands - cloud.sh.shape[1]), (0, 0)))) for cloud in clouds]
    return SplatCloud(*(np.concatenate(fields) for fields in zip(*padded, strict=True)))


def decode_avatar_glb(data: bytes, name: str = "avatar.glb") -> Avatar | None:
    """The avatar of a file that `encode_glb` wrote at rest: rig and one level of detail; None where it is not such a file.

    Raises:
        AvatarFileError: it claims to be one and is damaged.
    """
    glb = Glb(data, name)
    extras = _object(_object(glb.document.get("asset", {}), name).get("extras", {}), name)
    if extras.get("rest") is not True or len(glb.document.get("skins", [])) != 1:
        return None
    try:
        rig = _rig(glb, str(extras.get("rig", ""))[:63])
        check_rig(rig)
        splats = _bound_splats(glb)
        check_splats(splats, len(rig.faces))
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError, StopIteration) as error:
        raise AvatarFileError(f"{name}: not a whole avatar ({error})") from error
    nobody = SplatArrays(*(getattr(splats, field)[:0] for field in SplatArrays.__dataclass_fields__))
    label = str(_objects(glb.document.get("nodes"), name)[0].get("name", "avatar"))[:63]
    return Avatar(rig, (splats,), nobody, (), {"name": label, "imported_from": name})


def _rig(glb: Glb, rig_id: str) -> RigArrays:
    nodes = _objects(glb.document.get("nodes"), glb.name)
    joints = [int(j) for j in glb.item("skins", 0)["joints"]]
    mesh = glb.item("meshes", next(node["mesh"] for node in nodes if "skin" in node))
    primitive = mesh["primitives"][0]
    attributes = primitive["attributes"]
    vertices = _floats(glb, attributes["POSITION"], MAX_VERTICES, 3)
    faces = glb.array(primitive["indices"], 6 * MAX_VERTICES).astype(np.int64).reshape(-1, 3)
    parents = np.full(len(joints), -1, np.int32)
    for index, joint in enumerate(joints):
        for child in nodes[joint].get("children", []):
            parents[joints.index(child)] = index
    places = np.array([nodes[j].get("translation", (0, 0, 0)) for j in joints], np.float32).reshape(-1, 3)
    for index, parent in enumerate(parents):  # parents come first, which `check_rig` makes sure of
        if 0 <= parent < index:
            places[index] += places[parent]
    if len(primitive.get("targets", ())) > _MAX_TARGETS:
        raise ValueError(f"{len(primitive['targets'])} morph targets")
    extras = mesh.get("extras", {})
    made = set(extras.get("byJoints", ()))
    targets = [
        (str(each), _floats(glb, target["POSITION"], MAX_VERTICES, 3))
        for each, target in zip(extras.get("targetNames", ()), primitive.get("targets", ()), strict=True)
        if each not in made
    ]
    weights = np.zeros((len(vertices), len(joints)), np.float32)
    picked = glb.array(attributes["JOINTS_0"], MAX_VERTICES).astype(np.int64)
    np.add.at(weights, (np.arange(len(vertices))[:, None], picked), _floats(glb, attributes["WEIGHTS_0"], MAX_VERTICES, 4))
    return RigArrays(
        vertices=vertices,
        faces=faces.astype(np.int32),
        joints=places,
        parents=parents,
        weights=weights,
        expressions=np.array([each for _, each in targets], np.float32).reshape(-1, len(vertices), 3),
        joint_names=check_names([str(nodes[j]["name"]) for j in joints]),
        expression_names=check_names([each for each, _ in targets]),
        rig_id=rig_id,
    )


def _bound_splats(glb: Glb) -> SplatArrays:
    meshes = _objects(glb.document.get("meshes"), glb.name)
    primitive = next(p for mesh in meshes for p in mesh["primitives"] if EXTENSION in p.get("extensions", {}))
    cloud = _primitive(glb, primitive)
    binding = _floats(glb, primitive["attributes"][BINDING], MAX_SPLATS, 4)
    face = np.clip(binding[:, 0], -1, MAX_VERTICES * 2).astype(np.int32)
    return SplatArrays(*cloud, face=face, barycentric=np.ascontiguousarray(binding[:, 1:]))


def _primitive(glb: Glb, primitive: dict[str, Any]) -> SplatCloud:
    """The splats of one primitive, unplaced."""
    name = glb.name
    extension = _object(primitive["extensions"][EXTENSION], name)
    inner = _object(extension.get("extensions", {}), name)
    if inner:
        raise AvatarFileError(f"{name}: its splats are compressed ({', '.join(sorted(map(str, inner)))[:80]})", "export them uncompressed")
    if primitive.get("mode") != POINTS or extension.get("kernel") != "ellipse":
        raise AvatarFileError(f"{name}: its splats are of another kind than ellipses on points")
    attributes = _object(primitive.get("attributes"), name)
    take = lambda key, width: _attribute(glb, attributes, key, width)
    position = take("POSITION", 3)
    xyzw = take(f"{EXTENSION}:ROTATION", 4)
    bands = [[f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{order}" for order in range(2 * degree + 1)] for degree in range(4)]
    known = next((i for i, names in enumerate(bands) if not all(each in attributes for each in names)), len(bands))
    sh = [take(each, 3) for names in bands[:known] for each in names]
    fields = [xyzw, take(f"{EXTENSION}:SCALE", 3), take(f"{EXTENSION}:OPACITY", 1), *sh]
    if not sh or any(len(field) != len(position) for field in fields):
        raise AvatarFileError(f"{name}: the attributes of its splats are incomplete")
    length = np.linalg.norm(xyzw, axis=1, keepdims=True)
    if len(xyzw) and length.min() < 1e-6:
        raise AvatarFileError(f"{name}: a rotation is zero")
    rotation = np.ascontiguousarray((xyzw / length)[:, [3, 0, 1, 2]])
    scale, opacity = np.maximum(fields[1], np.float32(1e-9)), np.clip(fields[2], 0, 1)
    coefficients = np.stack(sh, 1)
    if extension.get("colorSpace") == "lin_rec709_display":
        coefficients = _to_display(coefficients)
    return SplatCloud(position, rotation.astype(np.float32), scale, opacity, coefficients)


def _placed(cloud: SplatCloud, matrix: np.ndarray, name: str) -> SplatCloud:
    """The cloud moved by a node's world matrix, which must be rotation, even scale and translation."""
    linear = matrix[:3, :3]
    scale = float(np.cbrt(max(np.linalg.det(linear), 0.0))) if np.isfinite(matrix).all() else 0.0
    if scale < 1e-9 or not np.allclose(linear @ linear.T, scale * scale * np.eye(3), atol=1e-3 * scale**2):
        raise AvatarFileError(
            f"{name}: its splats are placed by a mirrored or unevenly scaled node", "apply the node's scale and export again"
        )
    if not np.allclose(linear, np.eye(3), atol=1e-7):
        cloud = turn_cloud(cloud, rotation_matrices(quaternions((linear / scale)[None].astype(np.float32)))[0], scale)
    return cloud._replace(position=(cloud.position + matrix[:3, 3]).astype(np.float32))


def _placed_meshes(glb: Glb) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """World matrix and mesh of every node that has one, each node once."""
    nodes = _objects(glb.document.get("nodes"), glb.name)
    children = {child for node in nodes for child in _children(node, glb.name)}
    stack = [(i, np.eye(4), 0) for i in range(len(nodes)) if i not in children]
    seen: set[int] = set()
    while stack:
        index, outer, depth = stack.pop()
        if index in seen or depth > _MAX_DEPTH:
            raise AvatarFileError(f"{glb.name}: its nodes are not a tree, or too deep")
        seen.add(index)
        node = glb.item("nodes", index)
        matrix = outer @ _local(node, glb.name)
        if "mesh" in node:
            yield matrix, glb.item("meshes", node["mesh"])
        stack += [(child, matrix, depth + 1) for child in _children(node, glb.name)]


def _children(node: dict[str, Any], name: str) -> list[int]:
    children = node.get("children", [])
    if not isinstance(children, list) or not all(isinstance(child, int) for child in children):
        raise AvatarFileError(f"{name}: a node's children are not a list of nodes")
    return children


def _local(node: dict[str, Any], name: str) -> np.ndarray:
    try:
        if "matrix" in node:
            return np.array(node["matrix"], np.float64).reshape(4, 4).T
        x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_matrices(np.array([[w, x, y, z]]))[0] * np.array(node.get("scale", (1, 1, 1)), np.float64)
        matrix[:3, 3] = np.array(node.get("translation", (0, 0, 0)), np.float64)
    except (ValueError, TypeError) as error:
        raise AvatarFileError(f"{name}: a node's transform is damaged") from error
    return matrix


def _attribute(glb: Glb, attributes: dict[str, Any], key: str, width: int) -> F32:
    if key not in attributes:
        raise AvatarFileError(f"{glb.name}: its splats have no {key}")
    return _floats(glb, attributes[key], MAX_SPLATS, width)


def _floats(glb: Glb, index: Any, limit: int, width: int) -> F32:
    """An accessor as float32 [N] or [N, width], finite; normalised whole numbers are scaled."""
    values = glb.array(index, limit)
    if values.shape[1:] != ((width,) if width > 1 else ()):
        raise AvatarFileError(f"{glb.name}: an accessor has rows of another width than {width}")
    if values.dtype.kind != "f":
        divisor = _LARGEST.get(values.dtype.str.lstrip("|"), 1.0) if glb.item("accessors", index).get("normalized") else 1.0
        values = np.maximum(values / np.float32(divisor), -1.0) if values.dtype.kind == "i" else values / np.float32(divisor)
    values = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(values).all():
        raise AvatarFileError(f"{glb.name}: holds NaN or infinity")
    return values


def _to_display(sh: F32) -> F32:
    """Harmonics of linear colours as display-referred ones, degree 0 only: brighter bands have no linear equal."""
    c0 = np.float32(0.28209479177387814)
    linear = np.clip(sh[:, :1] * c0 + 0.5, 0, 1)
    display = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return ((display - 0.5) / c0).astype(np.float32)


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AvatarFileError(f"{name}: its JSON is not glTF's")
    return value


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise AvatarFileError(f"{name}: its JSON is not glTF's")
    return value
