"""An avatar goes back to arrays as it came, with the edits of its neutral shape."""

from __future__ import annotations

import importlib
from dataclasses import fields, replace

import bpy
import numpy as np
import pytest


def test_export_returns_what_was_imported(api, scene, arrays):
    rng = np.random.default_rng(1)
    degree2 = replace(
        arrays, lods=tuple(_with_harmonics(splats, rng) for splats in arrays.lods), shoulders=_with_harmonics(arrays.shoulders, rng)
    )
    avatar = api.build_avatar(degree2, scene.collection)
    api.pose_avatar(avatar, {"mouthSmile": 1.0}, np.full((5, 3), 0.2, np.float32))
    back = api.avatar_arrays(avatar.collection)
    for name in ("vertices", "faces", "joints", "parents", "weights", "expressions"):
        assert np.allclose(getattr(back.rig, name), getattr(arrays.rig, name), atol=1e-6), name
    assert (back.rig.joint_names, back.rig.expression_names, back.rig.rig_id) == (
        arrays.rig.joint_names, arrays.rig.expression_names, arrays.rig.rig_id
    )  # fmt: skip
    for got, given in zip((*back.lods, back.shoulders), (*degree2.lods, degree2.shoulders), strict=True):
        assert np.allclose(got.position, given.position, atol=1e-6)
        assert np.allclose(np.abs(np.einsum("ni,ni->n", got.rotation, given.rotation)), 1, atol=1e-5)
        assert np.allclose(got.scale, given.scale, rtol=1e-4)
        assert np.allclose(got.sh, given.sh, atol=1e-5)
        assert np.array_equal(got.opacity, given.opacity)
        assert np.array_equal(got.face, given.face)
        assert np.array_equal(got.barycentric, given.barycentric)
    assert back.provenance == arrays.provenance
    assert back.drivers[0].expression == arrays.drivers[0].expression
    assert np.allclose(back.drivers[0].world_to_camera, arrays.drivers[0].world_to_camera)


def test_exported_file_can_be_read_again(api, scene, arrays, tmp_path):
    protocol = importlib.import_module(api.__name__.replace(".avatar", ".protocol"))
    avatar = api.build_avatar(arrays, scene.collection)
    given = api.avatar_arrays(avatar.collection)
    protocol.write_avatar(tmp_path / "ada.lookalike", given)
    read = protocol.read_avatar(tmp_path / "ada.lookalike")
    for field in fields(read.lods[2]):
        assert np.array_equal(getattr(read.lods[2], field.name), getattr(given.lods[2], field.name))


def test_sculpted_neutral_shape_is_exported_with_splats_on_it(api, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    for point in avatar.head.data.shape_keys.reference_key.data:
        point.co.z += 0.05
    for block in api.expression_keys(avatar.collection):
        for point in block.data:
            point.co.z += 0.05
    back = api.avatar_arrays(avatar.collection)
    assert np.allclose(back.rig.vertices, arrays.rig.vertices + np.float32([0, 0.05, 0]), atol=1e-6)
    assert np.allclose(back.lods[2].position, arrays.lods[2].position + np.float32([0, 0.05, 0]), atol=1e-6)
    assert np.allclose(back.rig.expressions, arrays.rig.expressions, atol=1e-6)


def test_avatar_without_its_rig_cannot_be_exported(api, scene, arrays):
    protocol = importlib.import_module(api.__name__.replace(".avatar", ".protocol"))
    avatar = api.build_avatar(arrays, scene.collection)
    bpy.data.objects.remove(avatar.head)
    with pytest.raises(protocol.AvatarFileError, match="lost its rig"):
        api.avatar_arrays(avatar.collection)


def _with_harmonics(splats, rng):
    return replace(splats, sh=np.concatenate([splats.sh, rng.standard_normal((len(splats), 8, 3)).astype(np.float32)], 1))
