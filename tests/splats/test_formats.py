"""Files for other programs: .ply for splat viewers, .glb for everything that reads glTF."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.protocol.avatar import SH_C0
from backend.protocol.binding import rotation_matrices
from backend.protocol.errors import AvatarFileError
from backend.protocol.interchange import SplatCloud, decode_ply, encode_ply, half_turn
from backend.protocol.interchange.gltf_writer import strongest_joints
from backend.rig import pose_vertices
from backend.splats import joint_pose, pose_splats, read_ply, write_glb, write_ply
from backend.splats.glb import encode_glb
from tests.synthetic import synthetic_avatar

COMPONENTS = {5123: np.dtype("<u2"), 5125: np.dtype("<u4"), 5126: np.dtype("<f4")}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@pytest.fixture(scope="module")
def avatar():
    return synthetic_avatar()


def _same_rotation(a, b):
    return np.abs(rotation_matrices(a) - rotation_matrices(b)).max()


@pytest.mark.parametrize("axes", ["y-down", "y-up"])
def test_ply_comes_back_as_it_went(avatar, tmp_path, axes):
    path = tmp_path / "head.ply"
    write_ply(path, avatar, 1, {"mouthSmile": 0.5}, joint_pose(avatar, jaw=(0.2, 0, 0)), axes)
    posed = pose_splats(avatar, 1, expression={"mouthSmile": 0.5}, pose=joint_pose(avatar, jaw=(0.2, 0, 0)))
    cloud = read_ply(path)
    assert np.abs(cloud.position - posed.position).max() < 1e-6
    assert np.abs(cloud.scale / posed.scale - 1).max() < 1e-5
    assert np.abs(cloud.opacity - posed.opacity).max() < 1e-5
    assert np.abs(cloud.sh - posed.sh).max() < 1e-6
    assert _same_rotation(cloud.rotation, posed.rotation) < 1e-5


def test_ply_is_what_splat_viewers_read(avatar):
    cloud = SplatCloud(*(getattr(avatar.lods[0], f) for f in SplatCloud._fields))
    data = encode_ply(cloud, "y-down")
    header, body = data.split(b"end_header\n", 1)
    lines = header.decode().split("\n")
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert f"element vertex {len(cloud.position)}" in lines
    names = [line.split()[2] for line in lines if line.startswith("property float ")]
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    rows = np.frombuffer(body, "<f4").reshape(len(cloud.position), len(names))
    top = np.argmax(avatar.lods[0].position[:, 1])
    assert rows[:, 1].argmin() == top, "y down: the crown has the smallest y"
    assert np.allclose(1 / (1 + np.exp(-rows[:, 9])), cloud.opacity, atol=1e-5)
    assert np.allclose(np.exp(rows[:, 10:13]), cloud.scale, rtol=1e-5)
    assert np.allclose(SH_C0 * rows[:, 6:9] + 0.5, avatar.lods[0].rgb, atol=1e-5)


def test_half_turn_turns_view_dependent_colour_too():
    torch = pytest.importorskip("torch")
    from backend.splats.spherical_harmonics import spherical_harmonics

    rng = np.random.default_rng(0)
    cloud = SplatCloud(
        *(rng.standard_normal(s).astype(np.float32) for s in ((5, 3), (5, 4), (5, 3))), np.full(5, 0.5, np.float32),
        rng.standard_normal((5, 16, 3)).astype(np.float32),
    )  # fmt: skip
    turned = half_turn(cloud)
    direction = torch.tensor(rng.standard_normal((5, 3)), dtype=torch.float32)
    opposite = direction * torch.tensor([-1.0, -1, 1])
    before = spherical_harmonics(3, direction, torch.tensor(cloud.sh))
    after = spherical_harmonics(3, opposite, torch.tensor(turned.sh))
    assert torch.allclose(before, after, atol=1e-5)
    turn = np.diag([-1.0, -1, 1])
    assert np.abs(rotation_matrices(turned.rotation) - turn @ rotation_matrices(cloud.rotation)).max() < 1e-5
    back = half_turn(turned)
    assert np.allclose(back.position, cloud.position)
    assert _same_rotation(back.rotation, cloud.rotation) < 1e-6


def test_higher_harmonics_survive_ply():
    rng = np.random.default_rng(1)
    quats = rng.standard_normal((4, 4)).astype(np.float32)
    cloud = SplatCloud(rng.standard_normal((4, 3)).astype(np.float32), quats / np.linalg.norm(quats, axis=1, keepdims=True),
                       rng.uniform(0.1, 1, (4, 3)).astype(np.float32), np.float32([0, 0.3, 0.7, 1]),
                       rng.standard_normal((4, 9, 3)).astype(np.float32))  # fmt: skip
    back = decode_ply(encode_ply(cloud))
    assert np.abs(back.sh - cloud.sh).max() < 1e-6
    assert np.abs(back.opacity - cloud.opacity).max() < 2e-6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: b"", "not a .ply"),
        (lambda d: d[:-5], "truncated"),
        (lambda d: d.replace(b"binary_little_endian", b"ascii"), "format ascii"),
        (lambda d: d.replace(b"element vertex 4", b"element vertex 999999999"), "too many"),
        (lambda d: d.replace(b"element vertex 4", b"element vertex 99999999999999999999999"), "too many"),
        (lambda d: d.replace(b"element vertex 4", b"element vertex -4"), "element vertex -4"),
        (lambda d: d.replace(b"property float rot_3", b"property list uchar int rot_3"), "property list"),
        (lambda d: d.replace(b"property float opacity", b"property float opaciti"), "not a Gaussian splat"),
        (lambda d: d.replace(b"property float f_dc_2", b"property float f_dc_1"), "impossible properties"),
        (lambda d: d.replace(b"property float f_dc_2", b"property float f_rest_x"), "not a Gaussian splat"),
        (lambda d: d[:-4] + struct.pack("<f", float("nan")), "NaN"),
        (lambda d: d[:-16] + bytes(16), "rotation is zero"),
    ],
)
def test_hostile_ply_is_refused(change, says):
    ones = np.ones((4, 3), np.float32)
    data = encode_ply(SplatCloud(ones, np.tile(np.float32([1, 0, 0, 0]), (4, 1)), ones, ones[:, 0] / 2, ones[:, None]))
    decode_ply(data)
    with pytest.raises(AvatarFileError, match=says):
        decode_ply(change(data))


@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_bytes_give_a_cloud_or_our_error(noise, at):
    ones = np.ones((2, 3), np.float32)
    data = encode_ply(SplatCloud(ones, np.tile(np.float32([1, 0, 0, 0]), (2, 1)), ones, ones[:, 0] / 2, ones[:, None]))
    try:
        cloud = decode_ply(data[:at] + noise + data[at + len(noise) :])
    except AvatarFileError:
        return
    assert np.isfinite(cloud.position).all()


# ---------------------------------------------------------------------------------------------- glTF


def _read_glb(data):
    """A strict reader: the container, every view and accessor in bounds, every index valid. Returns document, accessor reader."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    json_length, json_type = struct.unpack_from("<I4s", data, 12)
    assert json_type == b"JSON"
    assert json_length % 4 == 0
    document = json.loads(data[20 : 20 + json_length])
    binary_length, binary_type = struct.unpack_from("<I4s", data, 20 + json_length)
    assert binary_type == b"BIN\0"
    assert 28 + json_length + binary_length == len(data)
    binary = data[28 + json_length :]
    assert document["asset"]["version"] == "2.0"
    assert 0 <= binary_length - document["buffers"][0]["byteLength"] < 4

    def rows(view_index, count, dtype, width):
        view = document["bufferViews"][view_index]
        assert view["byteOffset"] % 4 == 0
        assert view["byteLength"] == count * width * dtype.itemsize
        assert view["byteOffset"] + view["byteLength"] <= document["buffers"][0]["byteLength"]
        return np.frombuffer(binary, dtype, count * width, view["byteOffset"]).reshape(count, width)

    def take(index):
        accessor = document["accessors"][index]
        dtype, width = COMPONENTS[accessor["componentType"]], WIDTHS[accessor["type"]]
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            values = np.zeros((accessor["count"], width), dtype)
            indices = rows(sparse["indices"]["bufferView"], sparse["count"], COMPONENTS[sparse["indices"]["componentType"]], 1)[:, 0]
            assert (np.diff(indices.astype(int)) > 0).all(), "glTF wants them in order"
            values[indices] = rows(sparse["values"]["bufferView"], sparse["count"], dtype, width)
        else:
            values = rows(accessor["bufferView"], accessor["count"], dtype, width)
        if "min" in accessor:
            assert np.array_equal(np.float32(accessor["min"]), values.min(0))
            assert np.array_equal(np.float32(accessor["max"]), values.max(0))
        return values

    for index in range(len(document["accessors"])):
        take(index)
    seen = []
    stack = list(document["scenes"][document["scene"]]["nodes"])
    while stack:
        node = stack.pop()
        assert node not in seen, "a node with two parents"
        seen.append(node)
        stack += document["nodes"][node].get("children", [])
    assert sorted(seen) == list(range(len(document["nodes"])))
    return document, take


def test_glb_holds_the_splats_of_the_extension(avatar, tmp_path):
    write_glb(tmp_path / "head.glb", avatar, 1, {"mouthSmile": 1.0})
    document, take = _read_glb((tmp_path / "head.glb").read_bytes())
    assert document["extensionsUsed"] == ["KHR_gaussian_splatting"]
    assert "extensionsRequired" not in document, "a viewer without the extension still shows points and mesh"
    primitive = document["meshes"][0]["primitives"][0]
    assert primitive["mode"] == 0
    assert primitive["extensions"]["KHR_gaussian_splatting"] == {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    posed = pose_splats(avatar, 1, expression={"mouthSmile": 1.0})
    attributes = {name: take(index) for name, index in primitive["attributes"].items()}
    assert np.array_equal(attributes["POSITION"], posed.position)
    assert np.array_equal(attributes["KHR_gaussian_splatting:ROTATION"][:, [3, 0, 1, 2]], posed.rotation)
    assert np.array_equal(attributes["KHR_gaussian_splatting:SCALE"], posed.scale)
    assert np.array_equal(attributes["KHR_gaussian_splatting:OPACITY"][:, 0], posed.opacity)
    assert np.array_equal(attributes["KHR_gaussian_splatting:SH_DEGREE_0_COEF_0"], posed.sh[:, 0])
    assert {len(a) for a in attributes.values()} == {len(posed)}
    display = np.clip(posed.rgb, 0, 1)
    linear = np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
    assert np.allclose(attributes["COLOR_0"][:, :3], linear, atol=1e-6)


def test_glb_rig_plays_like_ours(avatar):
    """Skinning and morphing the file's mesh as a glTF viewer would gives the vertices that our rig gives."""
    pose = joint_pose(avatar, neck=(0.1, 0.4, 0), jaw=(0.3, 0, 0))
    document, take = _read_glb(encode_glb(avatar, 0, {"mouthSmile": 0.7, "eyeBlinkLeft": 1.0}, pose))
    mesh, skin = document["meshes"][1], document["skins"][0]
    primitive = mesh["primitives"][0]
    names = mesh["extras"]["targetNames"]
    assert names[: len(avatar.rig.expression_names)] == list(avatar.rig.expression_names)
    assert "jawOpen" in names, "what the rig does with a joint is a morph target too"
    attributes = {name: take(index) for name, index in primitive["attributes"].items()}
    vertices = attributes["POSITION"].astype(float)
    for weight, target in zip(mesh["weights"], primitive["targets"], strict=True):
        vertices = vertices + weight * take(target["POSITION"])
    parent = {child: i for i, node in enumerate(document["nodes"]) for child in node.get("children", [])}

    def world(index):
        node = document["nodes"][index]
        local = np.eye(4)
        x, y, z, w = node.get("rotation", (0, 0, 0, 1))
        local[:3, :3] = rotation_matrices(np.array([[w, x, y, z]], float))[0]
        local[:3, 3] = node.get("translation", (0, 0, 0))
        return world(parent[index]) @ local if index in parent else local

    inverse = take(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    matrices = np.stack([world(j) @ inverse[i] for i, j in enumerate(skin["joints"])])
    blended = np.einsum("vk,vkij->vij", attributes["WEIGHTS_0"], matrices[attributes["JOINTS_0"]])
    homogeneous = np.c_[vertices, np.ones(len(vertices))]
    played = np.einsum("vij,vj->vi", blended, homogeneous)[:, :3]
    expected = pose_vertices(avatar.rig, {"mouthSmile": 0.7, "eyeBlinkLeft": 1.0}, pose)
    assert np.abs(played - expected).max() < 2e-6
    indices = take(primitive["indices"])
    assert np.array_equal(indices.reshape(-1, 3), avatar.rig.faces)
    assert np.allclose(np.linalg.norm(attributes["NORMAL"], axis=1), 1, atol=1e-5)
    names = [document["nodes"][j]["name"] for j in skin["joints"]]
    assert names == list(avatar.rig.joint_names)


def test_glb_opens_in_trimesh(avatar, tmp_path):
    trimesh = pytest.importorskip("trimesh", reason="an independent glTF reader")
    write_glb(tmp_path / "head.glb", avatar, 0)
    scene = trimesh.load(tmp_path / "head.glb")
    faces = [len(g.faces) for g in scene.geometry.values() if hasattr(g, "faces")]
    assert len(avatar.rig.faces) in faces


def test_only_four_joints_and_no_index_without_weight():
    weights = np.float32([[0.1, 0.2, 0.3, 0.25, 0.15], [1, 0, 0, 0, 0]])
    indices, values = strongest_joints(weights)
    assert indices[0].tolist() == [2, 3, 1, 4]
    assert np.allclose(values.sum(1), 1)
    assert indices[1].tolist() == [0, 0, 0, 0]
