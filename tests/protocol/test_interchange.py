"""Files of other programs: what goes out comes back, foreign readers see the same splats, hostile bytes are refused."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.protocol.avatar import SH_C0
from backend.protocol.binding import rotation_matrices
from backend.protocol.errors import AvatarFileError
from backend.protocol.interchange import (
    SplatCloud,
    decode_glb,
    decode_lam,
    decode_ply,
    decode_spz,
    encode_glb,
    encode_lam,
    encode_ply,
    encode_spz,
    read_cloud,
    turn_cloud,
)
from backend.protocol.interchange.arkit_names import ARKIT_NAMES
from backend.protocol.interchange.cloud import change_axes, transform_cloud
from backend.protocol.interchange.gltf_container import BufferWriter, Glb
from backend.protocol.interchange.gltf_reader import decode_avatar_glb
from backend.protocol.interchange.harmonics import harmonics
from tests.synthetic import synthetic_avatar

HALF_TURN_ABOUT_X = np.diag([1.0, -1, -1])


def cloud_of(count: int = 300, degree: int = 3, seed: int = 0) -> SplatCloud:
    """Random splats of head size with harmonics."""
    rng = np.random.default_rng(seed)
    rotation = rng.standard_normal((count, 4))
    return SplatCloud(
        rng.uniform(-0.2, 0.2, (count, 3)).astype(np.float32),
        (rotation / np.linalg.norm(rotation, axis=1, keepdims=True)).astype(np.float32),
        np.exp(rng.uniform(-9, -4, (count, 3))).astype(np.float32),
        rng.uniform(0.05, 0.95, count).astype(np.float32),
        rng.uniform(-0.9, 0.9, (count, (degree + 1) ** 2, 3)).astype(np.float32),
    )


def rotations(quaternion: np.ndarray) -> np.ndarray:
    return rotation_matrices(np.asarray(quaternion, np.float64))


@pytest.fixture(scope="module")
def avatar():
    return synthetic_avatar()


# ---------------------------------------------------------------------------------------------- frames


@pytest.mark.parametrize("axes", ["y-down", "rdf", "y-up", "z-up"])
def test_every_frame_comes_back(axes):
    cloud = cloud_of()
    back = decode_ply(encode_ply(cloud, axes))
    assert np.abs(back.position - cloud.position).max() < 1e-6
    assert np.abs(rotations(back.rotation) - rotations(cloud.rotation)).max() < 1e-5
    assert np.abs(back.sh - cloud.sh).max() < 1e-5


@pytest.mark.parametrize(
    ("axes", "up", "face"), [("y-down", (0, -1, 0), (0, 0, 1)), ("rdf", (0, -1, 0), (0, 0, -1)), ("z-up", (0, 0, 1), (0, -1, 0))]
)
def test_frames_point_where_they_say(axes, up, face):
    crown_and_nose = cloud_of(2)._replace(position=np.float32([[0, 1, 0], [0, 0, 1]]))
    turned = change_axes(crown_and_nose, "y-up", axes)
    assert np.allclose(turned.position, [up, face], atol=1e-6)


def test_a_turned_cloud_looks_the_same_from_the_turned_side():
    cloud = cloud_of(5)
    angle = np.radians(40)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    turned = turn_cloud(cloud, turn, 2.0)
    direction = np.array([0.3, -0.5, 0.81])
    direction /= np.linalg.norm(direction)
    before = np.einsum("k,nkc->nc", harmonics(direction[None], 3)[0], cloud.sh)
    after = np.einsum("k,nkc->nc", harmonics((turn @ direction)[None], 3)[0], turned.sh)
    assert np.allclose(before, after, atol=1e-5)
    assert np.allclose(turned.scale, 2 * cloud.scale)


@pytest.mark.parametrize(
    "linear", [np.diag([1.0, 2.0, 0.5]), np.diag([-1.0, 1.0, 1.0]), 3 * np.eye(3), np.array([[1, 0.4, 0], [0, 1, 0], [0, 0, 1.0]])]
)
def test_any_affine_transform_moves_the_gaussians_themselves(linear):
    cloud = cloud_of(20)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, (1, 2, 3)
    moved = transform_cloud(cloud, matrix)
    covariance = lambda c: np.einsum("nij,nj,nkj->nik", rotations(c.rotation), c.scale.astype(float) ** 2, rotations(c.rotation))
    assert np.allclose(covariance(moved), linear @ covariance(cloud) @ linear.T, rtol=1e-3, atol=1e-9)
    assert np.allclose(moved.position, cloud.position @ linear.T + np.float32([1, 2, 3]), atol=1e-5)


# ---------------------------------------------------------------------------------------------- foreign readers


def test_plyfile_sees_our_ply_as_3dgs_writes_it(tmp_path):
    plyfile = pytest.importorskip("plyfile", reason="an independent reader of .ply")
    cloud = cloud_of()
    (tmp_path / "a.ply").write_bytes(encode_ply(cloud, "rdf"))
    vertex = plyfile.PlyData.read(str(tmp_path / "a.ply"))["vertex"]
    take = lambda names: np.stack([vertex[n] for n in names], 1)
    assert np.allclose(take("xyz"), cloud.position @ HALF_TURN_ABOUT_X, atol=1e-7)
    assert np.allclose(np.exp(take([f"scale_{i}" for i in range(3)])), cloud.scale, rtol=1e-5)
    assert np.allclose(1 / (1 + np.exp(-vertex["opacity"])), cloud.opacity, atol=1e-5)
    assert np.allclose(rotations(take([f"rot_{i}" for i in range(4)])), HALF_TURN_ABOUT_X @ rotations(cloud.rotation), atol=1e-6)
    assert np.allclose(take([f"f_dc_{i}" for i in range(3)]), cloud.sh[:, 0], atol=1e-6)
    # f_rest is channel-major: 15 coefficients of red, then of green, then of blue.
    rest = take([f"f_rest_{i}" for i in range(45)]).reshape(-1, 3, 15).transpose(0, 2, 1)
    direction = np.array([[0.2, 0.4, -0.89]])
    ours = np.einsum("k,nkc->nc", harmonics(direction, 3)[0, 1:], cloud.sh[:, 1:])
    theirs = np.einsum("k,nkc->nc", harmonics(direction @ HALF_TURN_ABOUT_X, 3)[0, 1:], rest)
    assert np.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("version", [2, 3])
def test_gsply_sees_our_spz_as_we_do(tmp_path, version):
    spz = pytest.importorskip("gsply.spz", reason="an independent reader of .spz")
    (tmp_path / "a.spz").write_bytes(encode_spz(cloud_of(), version))
    theirs, ours = spz.read_spz(str(tmp_path / "a.spz")), decode_spz((tmp_path / "a.spz").read_bytes())
    assert np.allclose(theirs.means, ours.position, atol=1e-7)
    assert np.allclose(rotations(theirs.quats), rotations(ours.rotation), atol=1e-4)
    assert np.allclose(np.exp(theirs.scales), ours.scale, rtol=1e-5)
    assert np.allclose(1 / (1 + np.exp(-theirs.opacities)), ours.opacity, atol=1e-5)
    assert np.allclose(theirs.sh0, ours.sh[:, 0], atol=1e-6)
    assert np.allclose(theirs.shN, ours.sh[:, 1:], atol=1e-6)


def test_we_see_a_foreign_spz_as_gsply_does(tmp_path):
    spz = pytest.importorskip("gsply.spz", reason="an independent writer of .spz")
    from gsply.gsdata import GSData

    cloud = cloud_of(degree=1)
    logit = np.log(cloud.opacity / (1 - cloud.opacity))
    theirs = GSData(
        means=cloud.position, scales=np.log(cloud.scale), quats=cloud.rotation, opacities=logit, sh0=cloud.sh[:, 0], shN=cloud.sh[:, 1:]
    )
    spz.write_spz(str(tmp_path / "b.spz"), theirs)
    back = read_cloud(tmp_path / "b.spz")
    assert np.abs(back.position - cloud.position).max() < 2e-4
    assert np.abs(rotations(back.rotation) - rotations(cloud.rotation)).max() < 0.01
    assert np.abs(np.log(back.scale) - np.log(cloud.scale)).max() < 0.04
    assert np.abs(back.sh[:, 0] - cloud.sh[:, 0]).max() < 0.02


# ---------------------------------------------------------------------------------------------- spz


@pytest.mark.parametrize(("version", "turn"), [(2, 0.2), (3, 0.004)])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spz_keeps_splats_to_its_precision(version, turn, degree):
    cloud = cloud_of(degree=degree)
    data = encode_spz(cloud, version)
    back = decode_spz(data)
    assert np.abs(back.position - cloud.position).max() < 1e-6, "a head gets micrometres"
    assert np.abs(rotations(back.rotation) - rotations(cloud.rotation)).max() < turn
    assert np.abs(np.log(back.scale / cloud.scale)).max() < 0.5 / 16 + 1e-4
    assert np.abs(back.opacity - cloud.opacity).max() < 0.5 / 255 + 1e-6
    assert np.abs(back.sh[:, 0] - cloud.sh[:, 0]).max() < 0.5 / (255 * 0.15) + 1e-5
    assert degree == 0 or np.abs(back.sh[:, 1:] - cloud.sh[:, 1:]).max() < 0.07
    assert encode_spz(cloud, version) == data, "the same splats give the same bytes"


def test_a_large_scene_keeps_what_24_bits_hold():
    cloud = cloud_of()._replace(position=cloud_of().position * 2000)
    assert np.abs(decode_spz(encode_spz(cloud)).position - cloud.position).max() < 1e-3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d[:-40], "truncated|damaged"),
        (lambda d: d[:12], "not a .spz|truncated"),
        (lambda d: b"NGSP" + d, "version"),
        (lambda d: b"NGSP" + struct.pack("<IIBBBBI12x", 4, 1 << 31, 0, 12, 0, 5, 32), "more than Lookalike takes"),
        (lambda d: b"NGSP" + struct.pack("<IIBBBBI12x", 4, 9, 0, 12, 0, 5, 32), "truncated"),
        (lambda d: b"NGSP" + struct.pack("<IIBBBBI12x", 4, 9, 9, 12, 0, 6, 32), "damaged"),
        (lambda d: gzip.compress(b"not a splat file at all"), "not a .spz"),
        (lambda d: gzip.compress(struct.pack("<IIIBBBB", 0x5053474E, 2, 0xFFFFFFFF, 0, 12, 0, 0)), "more than Lookalike takes"),
        (lambda d: gzip.compress(struct.pack("<IIIBBBB", 0x5053474E, 3, 1 << 21, 3, 12, 0, 0)), "truncated"),
        (lambda d: gzip.compress(struct.pack("<IIIBBBB", 0x5053474E, 3, 1, 200, 12, 0, 0) + bytes(999)), "not a .spz"),
        (lambda d: gzip.compress(struct.pack("<IIIBBBB", 0x5053474E, 3, 1, 0, 255, 0, 0) + bytes(999)), "not a .spz"),
    ],
)
def test_hostile_spz_is_refused(change, says):
    with pytest.raises(AvatarFileError, match=says):
        decode_spz(change(encode_spz(cloud_of(50))))


def test_a_bomb_behind_a_small_header_is_not_unpacked():
    bomb = gzip.compress(struct.pack("<IIIBBBB", 0x5053474E, 3, 1, 0, 12, 0, 0) + bytes(1 << 28))
    assert len(decode_spz(bomb).position) == 1, "only the bytes of the one splat are unpacked"


def as_version_4(data: bytes, pack) -> bytes:
    """Our version 3 in the container of version 4, by the layout of Niantic's README."""
    plain = gzip.decompress(data)
    _magic, _version, count, degree, bits, flags, _ = struct.unpack_from("<IIIBBBB", plain)
    widths, at, streams = [9, 1, 3, 3, 4, 3 * ((degree + 1) ** 2 - 1)], 16, []
    for width in widths:
        if width:
            streams.append(plain[at : at + width * count])
        at += width * count
    packed = [pack(stream) for stream in streams]
    table = b"".join(struct.pack("<QQ", len(p), len(s)) for p, s in zip(packed, streams, strict=True))
    extension = b"12345678"  # something between header and table that a reader skips
    header = struct.pack("<4sIIBBBBI12x", b"NGSP", 4, count, degree, bits, flags | 2, len(streams), 32 + len(extension))
    return header + extension + table + b"".join(packed)


@pytest.fixture
def zstd_pack():
    """A zstd packer, of Python 3.14 or of zstandard, which Blender has."""
    try:
        from compression.zstd import compress
    except ImportError:
        return pytest.importorskip("zstandard", reason="zstd for .spz version 4").ZstdCompressor().compress
    return compress


@pytest.mark.parametrize("degree", [0, 2])
def test_spz_of_version_4_is_read(zstd_pack, degree):
    old = encode_spz(cloud_of(30, degree=degree))
    new, back = as_version_4(old, zstd_pack), decode_spz(old)
    for ours, theirs in zip(back, decode_spz(new), strict=True):
        assert np.array_equal(ours, theirs)
    for at in (20, 60, len(new) - 5):
        with pytest.raises(AvatarFileError, match=r"truncated|damaged"):
            decode_spz(new[:at])


def test_a_python_without_zstd_says_what_to_install(monkeypatch):
    import sys

    for module in ("compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(AvatarFileError, match="zstandard"):
        decode_spz(as_version_4(encode_spz(cloud_of(3)), lambda stream: stream))


@pytest.mark.parametrize("extension", ["EXT_meshopt_compression", "KHR_draco_mesh_compression"])
def test_compressed_gltf_is_refused_by_name(extension):
    document = json.dumps({"asset": {"version": "2.0"}, "extensionsRequired": [extension]}).encode()
    document += b" " * (-len(document) % 4)
    data = struct.pack("<4sII", b"glTF", 2, 20 + len(document)) + struct.pack("<I4s", len(document), b"JSON") + document
    with pytest.raises(AvatarFileError, match=f"compressed with {extension}"):
        decode_glb(data)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_spz_bytes_give_a_cloud_or_our_error(noise, at):
    plain = bytearray(gzip.decompress(encode_spz(cloud_of(10))))
    plain[at : at + len(noise)] = noise
    for data in (gzip.compress(bytes(plain)), noise, encode_spz(cloud_of(10))[:at] + noise):
        try:
            cloud = decode_spz(data)
        except AvatarFileError:
            continue
        assert all(np.isfinite(field).all() for field in cloud)


# ---------------------------------------------------------------------------------------------- glTF


def test_glb_splats_come_back(avatar):
    rest = avatar.splats(1)
    cloud = decode_glb(encode_glb(avatar, rest, rest))
    assert np.array_equal(cloud.position, rest.position)
    assert np.allclose(rotations(cloud.rotation), rotations(rest.rotation), atol=1e-6)
    assert np.array_equal(cloud.scale, rest.scale)
    assert np.array_equal(cloud.opacity, rest.opacity)
    assert np.array_equal(cloud.sh, rest.sh)


def test_glb_at_rest_is_an_avatar_again(avatar):
    rest = avatar.splats(1)
    back = decode_avatar_glb(encode_glb(avatar, rest, rest))
    assert back is not None
    for name in ("vertices", "faces", "joints", "parents", "weights", "expressions"):
        assert np.allclose(getattr(back.rig, name), getattr(avatar.rig, name), atol=1e-6), name
    assert (back.rig.joint_names, back.rig.expression_names, back.rig.rig_id) == (
        avatar.rig.joint_names, avatar.rig.expression_names, avatar.rig.rig_id
    )  # fmt: skip
    assert np.array_equal(back.splats(0).face, rest.face)
    assert np.array_equal(back.splats(0).barycentric, rest.barycentric)
    assert decode_avatar_glb(encode_glb(avatar, rest, rest, {"mouthSmile": 1.0})) is None, "a posed file has lost its rest pose"


def test_a_foreign_node_transform_and_packed_attributes_are_applied():
    file = BufferWriter()
    cloud = cloud_of(7, 1)
    xyzw = cloud.rotation[:, [1, 2, 3, 0]]
    prefix = "KHR_gaussian_splatting"
    attributes = {
        "POSITION": file.add(cloud.position, bounds=True),
        f"{prefix}:ROTATION": file.add(xyzw),
        f"{prefix}:SCALE": file.add(cloud.scale),
        f"{prefix}:OPACITY": file.add(np.round(cloud.opacity * 65535).astype(np.uint16)),
        f"{prefix}:SH_DEGREE_0_COEF_0": file.add(cloud.sh[:, 0]),
        **{f"{prefix}:SH_DEGREE_1_COEF_{i}": file.add(cloud.sh[:, 1 + i]) for i in range(3)},
    }
    file.accessors[attributes[f"{prefix}:OPACITY"]]["normalized"] = True
    primitive = {"mode": 0, "attributes": attributes, "extensions": {prefix: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}}}
    half = float(np.sqrt(0.5))
    nodes = [{"children": [1], "translation": [1, 2, 3]}, {"mesh": 0, "rotation": [0, half, 0, half], "scale": [2, 2, 2]}]
    data = file.container({"asset": {"version": "2.0"}, "nodes": nodes, "meshes": [{"primitives": [primitive]}]})
    quarter = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0.0]])
    got = decode_glb(data)
    expected = turn_cloud(cloud, quarter, 2.0)
    assert np.allclose(got.position, expected.position + np.float32([1, 2, 3]), atol=1e-5)
    assert np.allclose(rotations(got.rotation), rotations(expected.rotation), atol=1e-5)
    assert np.allclose(got.scale, 2 * cloud.scale, rtol=1e-5)
    assert np.allclose(got.opacity, cloud.opacity, atol=1e-5)
    assert np.allclose(got.sh, expected.sh, atol=1e-5)


def _edited(data: bytes, change) -> bytes:
    """The file with its JSON changed."""
    glb = Glb(data, "a.glb")
    document = json.loads(json.dumps(glb.document))
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(glb.binary), b"BIN\0") + glb.binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _all_accessors(key, value):
    return lambda d: [accessor.update({key: value}) for accessor in d["accessors"]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_all_accessors("count", 1 << 40), "more than Lookalike takes"),
        (_all_accessors("count", 3_000_000), "beyond the file"),
        (_all_accessors("count", -1), "no known type"),
        (_all_accessors("bufferView", 10**6), "has no bufferViews"),
        (_all_accessors("byteOffset", 1 << 50), "beyond the file"),
        (_all_accessors("type", "VEC2"), "another width"),
        (lambda d: [v.update(byteOffset=-4) for v in d["bufferViews"]], "whole numbers"),
        (lambda d: [v.update(byteStride=1) for v in d["bufferViews"]], "beyond the file"),
        (lambda d: d["nodes"][1].update(children=[2, 2]), "not a tree"),
        (lambda d: d["nodes"][1].update(children=7), "not a list"),
        (lambda d: d["nodes"][1].update(mesh="x"), "has no meshes"),
        (lambda d: d["nodes"][1].update(scale=[1, 2, 1]), "unevenly scaled"),
        (lambda d: d["nodes"][1].update(scale=["a", 2, 1]), "transform is damaged"),
        (lambda d: d.update(nodes={}), "not glTF"),
        (lambda d: d["meshes"][0]["primitives"][0]["attributes"].pop("KHR_gaussian_splatting:SCALE"), "have no KHR"),
        (lambda d: d["meshes"][0]["primitives"][0]["extensions"]["KHR_gaussian_splatting"].update(extensions={"zip": {}}), "compressed"),
        (lambda d: d["meshes"][0]["primitives"][0].update(extensions={}), "no Gaussian splats"),
    ],
)
def test_hostile_glb_is_refused(avatar, change, says):
    rest = avatar.splats(0)
    with pytest.raises(AvatarFileError, match=says):
        decode_glb(_edited(encode_glb(avatar, rest, rest), change))


def test_zeros_that_the_file_does_not_hold_are_limited(avatar):
    """Accessors without data are zeros of any size: hundreds of megabytes from a few bytes."""
    rest = avatar.splats(0)

    def empty(document):
        for accessor in document["accessors"]:
            accessor.pop("bufferView", None)
            accessor["count"] = 4_000_000

    with pytest.raises(AvatarFileError, match=r"sparse accessors are larger|rotation is zero"):
        decode_glb(_edited(encode_glb(avatar, rest, rest), empty))


def test_one_mesh_shown_by_many_nodes_is_limited(avatar):
    rest = avatar.splats(0)

    def repeat(document):
        document["nodes"] = [{"mesh": 0} for _ in range(5000)]

    with pytest.raises(AvatarFileError, match="more splats than Lookalike takes"):
        decode_glb(_edited(encode_glb(avatar, rest, rest), repeat))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 6000))
def test_any_glb_bytes_give_a_cloud_or_our_error(noise, at):
    data = _SMALL_GLB[:at] + noise + _SMALL_GLB[at + len(noise) :]
    for read in (decode_glb, decode_avatar_glb):
        try:
            read(data)
        except AvatarFileError:
            continue


_SMALL_GLB = encode_glb(synthetic_avatar(1), *2 * [synthetic_avatar(1).splats(0)])


# ---------------------------------------------------------------------------------------------- LAM's zip


def test_lam_zip_is_what_its_renderer_opens(avatar):
    data = encode_lam(avatar, avatar.splats(0), "ada")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        assert set(names) == {"ada/", "ada/skin.glb", "ada/offset.ply", "ada/animation.glb", "ada/vertex_order.json"}
        assert archive.getinfo("ada/").is_dir(), "the renderer finds the folder by its own entry"
        skin, motion = Glb(archive.read("ada/skin.glb"), "skin"), Glb(archive.read("ada/animation.glb"), "animation")
        order = json.loads(archive.read("ada/vertex_order.json"))
        offset = decode_ply(archive.read("ada/offset.ply"))
    mesh = skin.document["meshes"][0]
    vertices = skin.array(mesh["primitives"][0]["attributes"]["POSITION"], 10**6)
    assert len(vertices) == len(order) == len(offset.position), "one vertex a splat"
    assert [skin.document["nodes"][j]["name"] for j in skin.document["skins"][0]["joints"]] == ["hip", "neckUpper", "head"]
    assert set(mesh["extras"]["targetNames"]) <= set(ARKIT_NAMES)
    assert "jawOpen" in mesh["extras"]["targetNames"]
    assert len(motion.document["animations"]) == 12
    assert motion.document["nodes"][motion.document["animations"][0]["channels"][0]["target"]["node"]]["name"] == "head"
    assert np.allclose(offset.sh[:, 0], avatar.splats(0).rgb, atol=1e-6), "plain colours, not harmonics"
    assert 1.4 < vertices[:, 1].mean() < 1.8, "where the renderer's camera looks"
    indices = skin.array(mesh["primitives"][0]["indices"], 10**7)
    assert indices.max() < len(vertices)


def test_lam_zip_holds_this_identity_and_comes_back(avatar):
    splats = avatar.splats(0)
    cloud = decode_lam(encode_lam(avatar, splats, "ada"))
    shift = (cloud.position - splats.position).astype(np.float64).mean(0)
    assert np.allclose(cloud.position - shift, splats.position, atol=1e-6), "neck, nose and ears are this person's"
    assert abs(shift[0]) < 1e-6
    assert abs(shift[2]) < 1e-6
    assert np.allclose(SH_C0 * cloud.sh[:, 0] + 0.5, splats.rgb, atol=1e-5)


def test_lam_morph_targets_move_splats_as_the_rig_does(avatar):
    splats = avatar.splats(0)
    with zipfile.ZipFile(io.BytesIO(encode_lam(avatar, splats, "ada"))) as archive:
        skin = Glb(archive.read("ada/skin.glb"), "skin")
    mesh = skin.document["meshes"][0]
    target = mesh["primitives"][0]["targets"][mesh["extras"]["targetNames"].index("eyeBlinkLeft")]
    moved = skin.array(target["POSITION"], 10**6)
    blink = avatar.rig.expressions[avatar.rig.expression_names.index("eyeBlinkLeft")]
    expected = np.einsum("nk,nkd->nd", splats.barycentric, blink[avatar.rig.faces[splats.face]])
    assert np.allclose(moved, expected, atol=1e-6)


def _zip(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a readable zip"),
        (b"PK\x03\x04 and nothing", "not a readable zip"),
        (_zip({"a/readme.txt": b"hello"}), "no skin.glb"),
        (_zip({"a/skin.glb": b"glTF", "a/offset.ply": b"ply"}), "not a .ply|not a binary"),
        (_zip({"a/skin.glb": b"glTF", "b/skin.glb": b"glTF", "a/offset.ply": b"ply"}), "no skin.glb"),
    ],
)
def test_hostile_zip_is_refused(data, says):
    with pytest.raises(AvatarFileError, match=says):
        decode_lam(data)


def test_a_zip_bomb_is_refused_by_its_directory():
    with pytest.raises(AvatarFileError, match="more than an avatar has"):
        decode_lam(_zip({"a/skin.glb": bytes((1 << 28) + 1), "a/offset.ply": b"ply"}))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 40_000))
def test_any_zip_bytes_give_a_cloud_or_our_error(noise, at):
    data = _SMALL_ZIP[:at] + noise + _SMALL_ZIP[at + len(noise) :]
    try:
        decode_lam(data)
    except AvatarFileError:
        return


_SMALL_ZIP = encode_lam(synthetic_avatar(1), synthetic_avatar(1).splats(0), "ada")


# ---------------------------------------------------------------------------------------------- whatever it is


def test_content_decides_not_the_name(tmp_path, avatar):
    cloud, rest = cloud_of(20, 0), avatar.splats(0)
    for data, count in ((encode_ply(cloud), 20), (encode_spz(cloud), 20), (encode_glb(avatar, rest, rest), len(rest))):
        (tmp_path / "splats.dat").write_bytes(data)
        assert len(read_cloud(tmp_path / "splats.dat").position) == count
    (tmp_path / "splats.dat").write_bytes(b"something else")
    with pytest.raises(AvatarFileError, match="of a known kind"):
        read_cloud(tmp_path / "splats.dat")
    with pytest.raises(AvatarFileError, match="cannot be read"):
        read_cloud(tmp_path / "nothing.ply")
