"""Colours that follow the face: Blender's nodes and drivers give what the contract says, in every way of posing, and no Python runs."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest

JAW = 0.22


@pytest.fixture(scope="module")
def baked():
    """An avatar with colours that follow smile, blink, jaw, and forty more controls, so that sums need two drivers."""
    from tests.synthetic import synthetic_avatar

    arrays = synthetic_avatar()
    rng = np.random.default_rng(5)
    wiggles = (rng.standard_normal((40, len(arrays.rig.vertices), 3)) * 1e-4).astype(np.float32)
    names = (*arrays.rig.expression_names, *(f"wiggle{i:02d}" for i in range(40)))
    rig = replace(arrays.rig, expressions=np.concatenate([arrays.rig.expressions, wiggles]), expression_names=names)
    skin = (np.float32([0.66, 0.5, 0.42]) - 0.5) / np.float32(0.28209479)  # AgX shows no saturated colours
    tone = lambda splats: (skin + 0.3 * splats.sh).astype(np.float32)
    patterns = lambda splats: (rng.standard_normal((len(splats), 3, 3)) * 0.3).astype(np.float32)
    grown = lambda splats: replace(splats, sh=tone(splats), patterns=patterns(splats))
    return replace(arrays, rig=rig, lods=tuple(map(grown, arrays.lods)))


def with_basis(avatar, lookalike):
    """The same as the staged add-on's own classes, with a mixing."""
    protocol = importlib.import_module(f"{lookalike.__name__}.protocol")
    rng = np.random.default_rng(1)
    controls = (*avatar.rig.expression_names, "jaw.x")
    mixing = rng.standard_normal((3, len(controls))).astype(np.float32) * 0.5
    own = lambda kind, value: kind(**{name: getattr(value, name) for name in kind.__dataclass_fields__})
    return protocol.Avatar(
        own(protocol.RigArrays, avatar.rig),
        tuple(own(protocol.SplatArrays, splats) for splats in avatar.lods),
        own(protocol.SplatArrays, avatar.shoulders),
        (),
        avatar.provenance,
        color_basis=protocol.ColorBasis(controls, mixing),
    )


@pytest.fixture
def built(api, lookalike, baked, scene):
    arrays = with_basis(baked, lookalike)
    return arrays, api.build_avatar(arrays, scene.collection, "Baked")


def expected(arrays, level, expression, jaw=0.0):
    """[N, 3] displayed colours by the contract's own formula, and [K] weights."""
    basis = arrays.color_basis
    values = [{**expression, "jaw.x": jaw}.get(name, 0.0) for name in basis.controls]
    weights = basis.mixing @ np.array(values, np.float32)
    splats = arrays.splats(level)
    return splats.rgb + 0.28209479 * np.einsum("k,nkc->nc", weights, splats.patterns), weights


def shown(api, avatar, level):
    import bpy

    obj = avatar.splats[level]
    return api.read_evaluated(obj, bpy.context.evaluated_depsgraph_get())["rgb"]


def pose(joints, jaw):
    turned = np.zeros((joints, 3), np.float32)
    turned[2, 0] = jaw
    return turned


@pytest.mark.parametrize("board", [False, True])
def test_nodes_colour_as_the_contract_says(api, built, board):
    arrays, avatar = built
    if board:
        api.add_controls(avatar.collection)
    faces = (({}, 0.0), ({"mouthSmile": 1.0, "wiggle31": 0.5}, 0.0), ({"eyeBlinkLeft": 0.7, "wiggle02": 1.0}, JAW))
    for expression, jaw in faces:
        api.pose_avatar(avatar, expression, pose(5, jaw))
        np.testing.assert_allclose(shown(api, avatar, 2), expected(arrays, 2, expression, jaw)[0], atol=2e-4)


def test_arkits_jaw_colours_too(api, lookalike, built):
    """The layer of captured motion turns a hidden bone, which a constraint adds to the jaw."""
    import bpy

    arrays, avatar = built
    api.add_controls(avatar.collection)
    board = importlib.import_module(f"{lookalike.__name__}.avatar.face_board")
    api.set_expressions(avatar.collection, {"jawOpen": 1.0}, layer=board.ARKIT)
    bpy.context.view_layer.update()
    posed = importlib.import_module(f"{lookalike.__name__}.interchange.posed")
    jaw = float(posed.joint_rotations(avatar.collection)[2, 0])
    assert jaw > 0.1
    np.testing.assert_allclose(shown(api, avatar, 2), expected(arrays, 2, {}, jaw)[0], atol=5e-4)


def test_no_driver_needs_python_and_long_sums_are_split(built):
    _, avatar = built
    obj = avatar.splats[2]
    drivers = [c.driver for c in obj.animation_data.drivers if "Lookalike Colour" in c.data_path]
    assert len(drivers) == 6  # 44 controls, 3 patterns: two parts each
    for driver in drivers:
        assert driver.is_simple_expression
        assert driver.is_valid
        assert len(driver.expression) < 256


def test_a_copy_follows_its_own_face(api, built):
    arrays, avatar = built
    copy = api.duplicate_avatar(avatar.collection)
    api.pose_avatar(copy, {"mouthSmile": 1.0})
    np.testing.assert_allclose(shown(api, copy, 2), expected(arrays, 2, {"mouthSmile": 1.0})[0], atol=2e-4)
    np.testing.assert_allclose(shown(api, avatar, 2), expected(arrays, 2, {})[0], atol=2e-4)


def test_a_saved_file_plays_without_the_addon_being_asked(api, built, tmp_path):
    import bpy

    arrays, avatar = built
    name = avatar.splats[2].name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "baked.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "baked.blend"))
    obj = bpy.data.objects[name]
    keys = obj.parent.data.shape_keys.key_blocks
    keys["mouthSmile"].value = 0.5
    rgb = api.read_evaluated(obj, bpy.context.evaluated_depsgraph_get())["rgb"]
    np.testing.assert_allclose(rgb, expected(arrays, 2, {"mouthSmile": 0.5})[0], atol=2e-4)


def test_the_avatar_file_comes_back_out(api, built):
    arrays, avatar = built
    api.pose_avatar(avatar, {"mouthSmile": 1.0})
    again = api.avatar_arrays(avatar.collection)
    assert again.color_basis.controls == arrays.color_basis.controls
    np.testing.assert_array_equal(again.color_basis.mixing, arrays.color_basis.mixing)
    for before, after in zip(arrays.lods, again.lods, strict=True):
        np.testing.assert_array_equal(before.patterns, after.patterns)
        np.testing.assert_allclose(before.sh, after.sh, atol=1e-6)  # of the neutral face, whatever the pose


def test_exported_splats_have_the_colours_of_the_frame(api, lookalike, built, tmp_path):
    import bpy

    arrays, avatar = built
    interchange = importlib.import_module(f"{lookalike.__name__}.interchange")
    api.pose_avatar(avatar, {"eyeBlinkLeft": 1.0}, pose(5, JAW))
    bpy.context.view_layer.update()
    reader = importlib.import_module(f"{lookalike.__name__}.protocol.interchange")
    for level in (0, 2):  # a hidden one, too
        path = interchange.export_splats(avatar.collection, tmp_path / f"face{level}.ply", level=level)
        cloud = reader.read_cloud(path)
        wanted = expected(arrays, level, {"eyeBlinkLeft": 1.0}, JAW)[0][arrays.splats(level).opacity > 0]
        np.testing.assert_allclose(0.28209479 * cloud.sh[:, 0] + 0.5, wanted, atol=1e-4)
    glb = interchange.export_glb(avatar.collection, tmp_path / "face.glb", level=2, posed=True)
    rgb = 0.28209479 * reader.decode_glb(glb.read_bytes()).sh[:, 0] + 0.5
    np.testing.assert_allclose(rgb, expected(arrays, 2, {"eyeBlinkLeft": 1.0}, JAW)[0], atol=1e-4)


@pytest.mark.parametrize(("transform", "worst"), [("Standard", 0.005), ("AgX", 0.02)])
def test_final_frames_change_by_what_the_view_transform_shows(api, lookalike, built, scene, transform, worst):
    """The scene-linear colours of a smile: near the exact inverse of the view transform, seen as displayed colours."""
    import bpy

    arrays, avatar = built
    colour = importlib.import_module(f"{lookalike.__name__}.rendering.colour")
    host = importlib.import_module(f"{lookalike.__name__}.avatar.host")
    scene.view_settings.view_transform = transform
    colour.bake_colours(scene)
    obj = avatar.splats[2]
    before = host.read_attribute(obj.data, "lookalike:linear")
    face = {"mouthSmile": 1.0, "wiggle01": 1.0, "wiggle05": -1.0, "eyeBlinkLeft": 1.0}
    api.pose_avatar(avatar, face)
    data = obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    change = host.read_attribute(data, "lookalike:linear") - before
    inverse = colour.inverse_of(colour.image_space(transform))
    rest, moved = arrays.splats(2).rgb, expected(arrays, 2, face)[0]
    inside = (np.minimum(rest, moved) > 0.2).all(1) & (np.maximum(rest, moved) < 0.85).all(1) & (before > 0).all(1)
    assert inside.sum() > 1000
    assert np.abs(moved - rest)[inside].max() > 0.1
    exact = inverse(moved.astype(np.float32)) - inverse(rest)
    slopes = np.stack([host.read_attribute(obj.data, f"lookalike:linear_slope_{channel}") for channel in "rgb"], 2)
    error = np.linalg.solve(slopes[inside], (change - exact)[inside][..., None])
    assert np.sqrt((error**2).mean()) < worst


def test_pasted_and_removed_splats_keep_their_patterns(api, lookalike, built):
    arrays, avatar = built
    replacing = importlib.import_module(f"{lookalike.__name__}.editing.replacing")
    edits = importlib.import_module(f"{lookalike.__name__}.editing.edits")
    obj = avatar.splats[2]
    chosen = edits.Edits(obj)
    chosen.hidden[:100] = True
    chosen.write()
    replacing.remove_hidden([obj])
    api.pose_avatar(avatar, {"mouthSmile": 1.0})
    np.testing.assert_allclose(shown(api, avatar, 2), expected(arrays, 2, {"mouthSmile": 1.0})[0][100:], atol=2e-4)
