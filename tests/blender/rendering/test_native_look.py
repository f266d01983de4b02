"""The look of Blender's own splats (5.3), on the point clouds of this Blender where it can fill them: drawn as spheres, coloured alike."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from .conftest import build_shot


@pytest.fixture
def cloud(part, monkeypatch):
    """An avatar stored as on 5.3, its splats small spheres."""
    types = {item.identifier for item in bpy.types.Attribute.bl_rna.properties["data_type"].enum_items}
    if "resize" not in bpy.types.PointCloud.bl_rna.functions or "FLOAT4" not in types:
        pytest.skip("this Blender cannot fill point clouds from Python")
    monkeypatch.setattr(part("avatar.native"), "available", lambda: True)
    avatar = build_shot(part, 1)
    data = avatar.splats[0].data
    part("avatar.host").write_attribute(data, "radius", "FLOAT", np.full(len(data.points), 0.004, np.float32))
    return avatar


def set_look(avatar, part, **values: object) -> None:
    for name, value in values.items():
        avatar.armature[getattr(part("rendering.look"), name.upper())] = value
    avatar.armature.update_tag()
    bpy.context.view_layer.update()


def linear_mean(picture: np.ndarray, part) -> np.ndarray:
    """[3] mean scene-linear colour where the picture is opaque; the view transform is Standard."""
    solid = picture[..., 3] > 0.99
    assert solid.mean() > 0.1
    return part("rendering.look").to_linear(picture[solid][:, :3]).mean(0)


def test_material_follows_the_armature(cloud, part, render) -> None:
    bpy.context.view_layer.objects.active = cloud.armature
    assert bpy.ops.lookalike.use_look() == {"FINISHED"}
    assert part("rendering.native_look").uses_look(cloud.collection)
    plain = linear_mean(render("plain"), part)
    assert plain.min() > 0.05, "it emits the splats' colours"
    set_look(cloud, part, exposure=-1.0, tint=[1.0, 0.5, 0.25])
    graded = linear_mean(render("graded"), part)
    np.testing.assert_allclose(graded, plain * [0.5, 0.25, 0.125], rtol=0.03)
    bpy.context.scene.view_settings.exposure = 1.0
    np.testing.assert_allclose(linear_mean(render("taken back"), part), graded, rtol=0.03)


def test_relight_by_the_rigs_normals(cloud, part, render) -> None:
    bpy.context.view_layer.objects.active = cloud.armature
    bpy.ops.lookalike.use_look()
    set_look(cloud, part, relight=1.0)
    assert linear_mean(render("dark"), part).max() < 0.001, "no light, no colour"
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.rotation_euler = 3.0, (0, 1.5708, 0)  # from the subject's left, which the camera sees on the right
    bpy.context.scene.collection.objects.link(sun)
    lit = render("lit")[..., :3].mean(-1)
    middle = lit.shape[1] // 2
    assert lit[:, middle:].mean() > 2 * lit[:, :middle].mean()


def test_taken_back(cloud, part) -> None:
    bpy.context.view_layer.objects.active = cloud.armature
    obj = cloud.splats[0]
    names, attributes = set(obj.keys()), set(obj.data.attributes.keys())
    bpy.ops.lookalike.use_look()
    bpy.ops.lookalike.use_look(use=False)
    assert not part("rendering.native_look").uses_look(cloud.collection)
    assert set(obj.keys()) == names
    assert set(obj.data.attributes.keys()) - attributes <= {part("rendering.quads").LOCAL_NORMAL}


def test_view_transform_is_followed(cloud, part) -> None:
    bpy.context.view_layer.objects.active = cloud.armature
    bpy.ops.lookalike.use_look()
    read, linear = part("avatar.host").read_attribute, part("rendering.quads").LINEAR
    before = read(cloud.splats[0].data, linear)
    bpy.context.scene.view_settings.view_transform = "AgX"
    part("rendering.preparation").prepare_scenes()
    assert np.abs(read(cloud.splats[0].data, linear) - before).max() > 0.1


def test_needless_below(avatar) -> None:
    bpy.context.view_layer.objects.active = avatar.armature
    assert bpy.ops.lookalike.use_look() == {"CANCELLED"}
