"""Blender 5.3's own splats: chosen by what Blender offers; the data path is run on this Blender's point clouds where it can."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from tests.blender.avatar.reference import evaluated, expect_same, expected_splats

POSE = np.array([[0, 0, 0], [0.1, 0.5, 0.15], [0.3, 0, 0], [0, 0, 0], [0, 0, 0]], np.float32)


def cloud_type(identifiers: list[str] | None, functions: list[str]):
    """A stand-in for `bpy.types.PointCloud` with the given types and functions."""
    kinds = {} if identifiers is None else {"type": SimpleNamespace(enum_items=[SimpleNamespace(identifier=i) for i in identifiers])}
    return SimpleNamespace(bl_rna=SimpleNamespace(properties=kinds, functions=functions))


def test_splat_type_is_found_where_it_is(api):
    native = importlib.import_module(f"{api.__name__}.native")
    assert native.splat_clouds(cloud_type(["POINTS", "GAUSSIAN_SPLAT"], ["resize"]))
    assert not native.splat_clouds(cloud_type(["POINTS"], ["resize"]))
    assert not native.splat_clouds(cloud_type(None, ["resize"]))
    assert not native.splat_clouds(cloud_type(["GAUSSIAN_SPLAT"], []))
    assert native.available() == ("type" in bpy.types.PointCloud.bl_rna.properties)


def test_new_cloud_is_of_the_splat_type(api, monkeypatch):
    """With a fake data-block: this Blender has no such type."""
    native = importlib.import_module(f"{api.__name__}.native")
    cloud = SimpleNamespace(type="POINTS", count=0)
    cloud.resize = lambda count: setattr(cloud, "count", count)
    monkeypatch.setattr(native, "bpy", SimpleNamespace(data=SimpleNamespace(pointclouds=SimpleNamespace(new=lambda name: cloud))))
    assert native.new_cloud("Ada", 7) is cloud
    assert (cloud.type, cloud.count) == ("GAUSSIAN_SPLAT", 7)


@pytest.fixture
def point_clouds(api, monkeypatch):
    """Splats are stored as point clouds, as on 5.3, where this Blender can fill them (5.2)."""
    types = {item.identifier for item in bpy.types.Attribute.bl_rna.properties["data_type"].enum_items}
    if "resize" not in bpy.types.PointCloud.bl_rna.functions or "FLOAT4" not in types:
        pytest.skip("this Blender cannot fill point clouds from Python")
    native = importlib.import_module(f"{api.__name__}.native")
    monkeypatch.setattr(native, "available", lambda: True)


def test_point_clouds_carry_the_native_attributes_and_follow_the_rig(api, point_clouds, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    obj = avatar.splats[2]
    assert obj.type == "POINTCLOUD"
    kinds = {name: obj.data.attributes[name].data_type for name in ("position", "rotation", "scale", "radiance:base")}
    assert kinds == {"position": "FLOAT_VECTOR", "rotation": "QUATERNION", "scale": "FLOAT_VECTOR", "radiance:base": "FLOAT4"}
    api.pose_avatar(avatar, {"mouthSmile": 0.8}, POSE)
    read = evaluated(api, obj)
    expect_same(read, expected_splats(arrays, 2, {"mouthSmile": 0.8}, POSE))
    assert np.allclose(read["rgb"], arrays.splats(2).rgb, atol=1e-6)
    data = obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    assert {"position", "rotation", "scale", "radiance:base"} <= set(data.attributes.keys())


def test_point_cloud_avatars_are_exported_duplicated_and_deleted(api, point_clouds, scene, arrays):
    avatar = api.build_avatar(arrays, scene.collection)
    copy = api.duplicate_avatar(avatar.collection)
    assert np.allclose(api.avatar_arrays(copy.collection).lods[1].position, arrays.lods[1].position, atol=1e-6)
    api.delete_avatar(copy.collection)
    api.delete_avatar(avatar.collection)
    assert len(bpy.data.pointclouds) == 0


def test_avatars_of_an_older_blender_become_native(api, scene, arrays, monkeypatch, request):
    avatar = api.build_avatar(arrays, scene.collection)
    avatar.armature.location.x = 1
    assert avatar.splats[2].type == "MESH"
    assert api.make_native(avatar.collection) == 0
    request.getfixturevalue("point_clouds")
    assert api.make_native(avatar.collection) == 3
    assert [obj.type for obj in avatar.splats.values()] == ["POINTCLOUD"] * 3
    assert [obj.name for obj in avatar.splats.values()] == [f"synthetic.splats.lod{i}" for i in range(3)]
    api.pose_avatar(avatar, {"mouthSmile": 0.8}, POSE)
    expect_same(evaluated(api, avatar.splats[2]), expected_splats(arrays, 2, {"mouthSmile": 0.8}, POSE))
    assert avatar.splats[2].lookalike.shoulders == len(arrays.shoulders)
