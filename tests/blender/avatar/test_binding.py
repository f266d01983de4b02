"""Splats follow the rig exactly as the contract says, evaluated by Blender alone."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace

import bpy
import numpy as np
import pytest

from tests.blender.avatar.reference import evaluated, expect_same, expected_splats, skinned
from tests.synthetic import synthetic_splats

POSE = np.array([[0.05, 0.1, -0.04], [0.1, 0.5, 0.15], [0.3, 0.02, 0], [0.1, 0.3, 0], [-0.1, -0.2, 0.1]], np.float32)
EXPRESSION = {"mouthSmile": 0.8, "eyeBlinkLeft": 1.0, "eyeBlinkRight": -0.3}


@pytest.mark.parametrize("level", [0, 1, 2])
def test_splats_rest_where_the_avatar_has_them(api, scene, arrays, level):
    avatar = api.build_avatar(arrays, scene.collection)
    api.show_level(avatar.collection, level)
    read = evaluated(api, avatar.splats[level])
    splats = arrays.splats(level)
    assert np.abs(read["position"] - np.stack([splats.position[:, 0], -splats.position[:, 2], splats.position[:, 1]], 1)).max() < 1e-6
    assert np.abs(read["scale"] / splats.scale - 1).max() < 1e-4
    assert np.allclose(read["rgb"], splats.rgb, atol=1e-6)
    assert np.array_equal(read["opacity"], splats.opacity)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_posed_splats_are_where_the_contract_puts_them(api, scene, arrays, level):
    avatar = api.build_avatar(arrays, scene.collection)
    api.show_level(avatar.collection, level)
    api.pose_avatar(avatar, EXPRESSION, POSE)
    expected = expected_splats(arrays, level, EXPRESSION, POSE)
    rest = expected_splats(arrays, level, {}, np.zeros_like(POSE))
    assert np.linalg.norm(expected[0] - rest[0], axis=1).max() > 0.03  # the pose is a large one
    expect_same(evaluated(api, avatar.splats[level]), expected)


def test_full_size_avatar_is_exact(api, scene, full_size):
    avatar = api.build_avatar(full_size, scene.collection)
    expression = {name: 0.5 for name in full_size.rig.expression_names}
    api.pose_avatar(avatar, expression, POSE)
    read = evaluated(api, avatar.splats[2])
    assert len(read["position"]) > 89_000
    expect_same(read, expected_splats(full_size, 2, expression, POSE))


def test_rotated_and_stretched_splats_follow_exactly(api, scene, arrays):
    """Splats whose axes lie anywhere, not along their triangle's."""
    splats = synthetic_splats(arrays.rig, 2)
    rng = np.random.default_rng(5)
    turned = rng.standard_normal((len(splats), 4)).astype(np.float32)
    splats = replace(
        splats,
        rotation=turned / np.linalg.norm(turned, axis=1, keepdims=True),
        scale=np.exp(rng.uniform(-9, -4, (len(splats), 3))).astype(np.float32),
        position=splats.position + rng.normal(0, 0.01, (len(splats), 3)).astype(np.float32),
    )
    odd = replace(arrays, lods=(splats,))
    avatar = api.build_avatar(odd, scene.collection)
    api.pose_avatar(avatar, EXPRESSION, POSE)
    expect_same(evaluated(api, avatar.splats[0]), expected_splats(odd, 0, EXPRESSION, POSE))


def test_rig_mesh_is_skinned_as_the_contract_says(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    api.pose_avatar(avatar, EXPRESSION, POSE)
    bpy.context.view_layer.update()
    mesh = avatar.head.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    vertices = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", vertices.ravel())
    expected = skinned(arrays.rig, EXPRESSION, POSE)
    assert np.abs(vertices - np.stack([expected[:, 0], -expected[:, 2], expected[:, 1]], 1)).max() < 1e-6


def test_any_other_deformer_moves_the_splats_too(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    before = evaluated(api, avatar.splats[2])["position"]
    modifier = avatar.head.modifiers.new("Displace", "DISPLACE")
    modifier.strength, modifier.direction, modifier.mid_level = 0.02, "Z", 0.0
    after = evaluated(api, avatar.splats[2])["position"]
    assert np.allclose(after - before, [0, 0, 0.02], atol=1e-6)


def test_moving_the_armature_object_moves_the_avatar_as_a_whole(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    before = evaluated(api, avatar.splats[2])["position"]
    avatar.armature.location = (1, 2, 3)
    avatar.armature.scale = (2, 2, 2)
    assert np.allclose(evaluated(api, avatar.splats[2])["position"], before, atol=1e-6)
    assert np.allclose(avatar.splats[2].matrix_world, [[2, 0, 0, 1], [0, 2, 0, 2], [0, 0, 2, 3], [0, 0, 0, 1]])


def test_splats_rest_where_the_rig_mesh_was_cut(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    rest = evaluated(api, avatar.splats[2])["position"]
    api.pose_avatar(avatar, EXPRESSION, POSE)
    avatar.head.modifiers.new("Subdivision", "SUBSURF")
    read = evaluated(api, avatar.splats[2])
    assert np.allclose(read["position"], rest, atol=1e-6)
    bpy.data.objects.remove(avatar.head)
    data = bpy.data.objects[f"{arrays.name}.splats.lod2"]
    assert np.allclose(evaluated(api, data)["position"], rest, atol=1e-6)


def test_degenerate_triangles_keep_splats_finite(api, scene, arrays):
    rig = arrays.rig
    flat = np.array(rig.expressions)
    flat[0] = -rig.vertices  # at 1, the head is one point
    odd = replace(arrays, rig=replace(rig, expressions=flat))
    avatar = api.build_avatar(odd, scene.collection)
    api.expression_keys(avatar.collection)[0].value = 1.0
    read = evaluated(api, avatar.splats[2])
    assert all(np.isfinite(values).all() for values in read.values())
    assert read["scale"].min() > 0


def test_one_group_serves_all_avatars_unless_a_user_rewired_it(api, scene, arrays):
    nodes = importlib.import_module(f"{api.__name__}.binding_nodes")
    first, second = (api.build_avatar(arrays, scene.collection) for _ in range(2))
    groups = {obj.modifiers[nodes.MODIFIER_NAME].node_group for avatar in (first, second) for obj in avatar.splats.values()}
    assert len(groups) == 1
    group = groups.pop()
    group.nodes.remove(next(n for n in group.nodes if n.bl_idname == "GeometryNodeSetPosition"))
    third = api.build_avatar(arrays, scene.collection)
    api.pose_avatar(third, EXPRESSION, POSE)
    expect_same(evaluated(api, third.splats[2]), expected_splats(arrays, 2, EXPRESSION, POSE))


def test_view_dependent_colour_turns_with_the_axes(api):
    """A colour seen from a direction in the avatar's frame is seen from the same direction in Blender's."""
    frames = importlib.import_module(f"{api.__name__}.frames")
    harmonics = importlib.import_module(api.__name__.replace(".avatar", ".protocol.interchange.harmonics")).harmonics
    rng = np.random.default_rng(0)
    sh = rng.standard_normal((5, 16, 3)).astype(np.float32)
    directions = rng.standard_normal((40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    turned = frames.rotate_harmonics(sh, frames.TO_BLENDER)
    for degree in (1, 2, 3):
        terms = (degree + 1) ** 2
        before = np.einsum("mk,nkc->mnc", harmonics(directions, degree), sh[:, :terms])
        after = np.einsum("mk,nkc->mnc", harmonics(directions @ frames.TO_BLENDER.T, degree), turned[:, :terms])
        assert np.abs(after - before).max() < 1e-5
    assert np.abs(frames.rotate_harmonics(turned, frames.TO_BLENDER.T) - sh).max() < 1e-5


def test_reading_a_full_level_is_quick(api, scene, full_size):
    """The viewport reads 92k splats whenever the pose changes; its budget is 3 ms, doubled here for busy machines."""
    avatar = api.build_avatar(full_size, scene.collection)
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    times = []
    for _ in range(15):
        start = time.perf_counter()
        api.read_evaluated(avatar.splats[2], depsgraph)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 6e-3
