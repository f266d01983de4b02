"""Exposure, tint, contrast and relighting: the same in the viewport and in final frames, keyed like anything else."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from .conftest import FINEST, close_up, over_grey


def set_look(avatar, part, **values: object) -> None:
    look = part("rendering.look")
    for name, value in values.items():
        avatar.armature[getattr(look, name.upper())] = value
    avatar.armature.update_tag()
    bpy.context.view_layer.update()


def viewport_colours(avatar, part) -> np.ndarray:
    """[N, 3] what the viewport uploads for the shown level, under the avatar's look and the scene's lights."""
    clouds, look, light = part("viewport.clouds"), part("rendering.look"), part("rendering.light")
    depsgraph = bpy.context.evaluated_depsgraph_get()
    obj = next(o for o in avatar.splats.values() if not o.hide_viewport)
    chosen = look.read_look(avatar.armature.evaluated_get(depsgraph))
    lighting = light.scene_lighting(depsgraph) if chosen.relight else None
    pose = part("avatar.evaluated").read_pose(obj, depsgraph)
    return np.clip(clouds._read_looks(obj, depsgraph, chosen, lighting, pose)[:, :3], 0, 1)


@pytest.mark.parametrize(
    "values",
    [{"exposure": -1.0}, {"tint": [0.5, 0.8, 0.3]}, {"contrast": 1.4}, {"exposure": -0.5, "tint": [0.9, 0.5, 0.5], "contrast": 0.8}],
)
def test_final_frame_and_viewport_agree(avatar, part, render, expected, values) -> None:
    before = render("before")
    set_look(avatar, part, **values)
    final = render("after")
    assert close_up(final, expected(avatar, viewport_colours(avatar, part))) > 25
    assert close_up(final, before) < 22, "and it is not the look of before"


def light(kind: str, energy: float, **settings: object) -> bpy.types.Object:
    obj = bpy.data.objects.new(kind, bpy.data.lights.new(kind, kind))
    obj.data.energy = energy
    for name, value in settings.items():
        setattr(obj.data if hasattr(obj.data, name) else obj, name, value)
    bpy.context.scene.collection.objects.link(obj)
    return obj


@pytest.mark.parametrize(
    ("kind", "energy", "settings"),
    [
        ("SUN", 3.0, {"rotation_euler": (0.9, 0.5, 0.2)}),
        ("POINT", 4.0, {"location": (0.3, -0.4, 0.2), "color": (1.0, 0.5, 0.2), "shadow_soft_size": 0.0}),
        ("SPOT", 6.0, {"location": (0.0, -0.6, 0.1), "rotation_euler": (1.45, 0, 0), "spot_size": 0.4, "shadow_soft_size": 0.0}),
        ("AREA", 3.0, {"location": (0.0, -0.5, 0.5), "rotation_euler": (0.8, 0, 0), "size": 0.1}),
    ],
)
def test_scene_lights_relight_alike(avatar, part, render, expected, kind, energy, settings) -> None:
    part("rendering.shadow").caster_of(avatar.collection).hide_render = True  # the viewport has no shadows
    light(kind, energy, **settings)
    set_look(avatar, part, relight=1.0)
    bpy.context.scene.cycles.samples = 16  # each sample sees one splat, and this head's neighbours differ much in colour
    final, viewport = render(), expected(avatar, viewport_colours(avatar, part))
    assert over_grey(viewport)[viewport[..., 3] > 0.9].max() > 0.3, "the light reaches it"
    assert close_up(final, viewport) > 25


def test_world_alone_at_full_relight_shows_the_own_colours(avatar, part, render) -> None:
    """Under a white world every surface receives pi: the photo's colours are what diffuse paint would show."""
    world = bpy.data.worlds.new("white")
    world.color = (1, 1, 1)
    if world.node_tree is None:
        world.use_nodes = True
    background = next(n for n in world.node_tree.nodes if n.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1, 1, 1, 1)
    bpy.context.scene.world = world
    part("rendering.shadow").caster_of(avatar.collection).hide_render = True
    own = render("own")
    set_look(avatar, part, relight=1.0)
    lit = render("lit")
    # Light from everywhere comes by bounces, which are grainy at few samples: compare the whole.
    solid, linear = own[..., 3] > 0.9, part("rendering.look").to_linear
    assert linear(lit[solid, :3]).mean() == pytest.approx(linear(own[solid, :3]).mean(), rel=0.08)


def test_normals_turn_with_the_rig(avatar, part) -> None:
    """A light on the left lights the left cheek, also of a turned head."""
    light("SUN", 3.0, rotation_euler=(0, 1.5708, 0))  # shines towards -x: from the subject's left
    set_look(avatar, part, relight=1.0)
    obj = avatar.splats[FINEST]
    depsgraph = bpy.context.evaluated_depsgraph_get()
    straight = viewport_colours(avatar, part).mean(1)
    x = part("avatar.evaluated").read_pose(obj, depsgraph)["position"][:, 0]
    assert straight[x > 0.05].mean() > 3 * max(straight[x < -0.05].mean(), 1e-3)
    avatar.armature.pose.bones["neck"].rotation_euler.y = 3.14159
    bpy.context.view_layer.update()
    turned = viewport_colours(avatar, part).mean(1)
    assert turned[x < -0.05].mean() > 1.5 * max(turned[x > 0.05].mean(), 1e-3)


def test_look_is_keyed(avatar, part, render) -> None:
    path = f'["{part("rendering.look").EXPOSURE}"]'
    for frame, value in ((1, 0.0), (10, -3.0)):
        avatar.armature[part("rendering.look").EXPOSURE] = value
        avatar.armature.keyframe_insert(path, frame=frame)
    bright, dark = render("bright", 1), render("dark", 10)
    assert over_grey(dark)[bright[..., 3] > 0.9].mean() < 0.5 * over_grey(bright)[bright[..., 3] > 0.9].mean()


def test_duplicate_has_a_look_of_its_own(avatar, part) -> None:
    copy = part("avatar").duplicate_avatar(avatar.collection)
    set_look(copy, part, exposure=2.0)
    read = part("rendering.look").read_look
    assert read(avatar.armature).exposure == 0.0
    for curve in copy.splats[FINEST].animation_data.drivers:
        for target in (t for v in curve.driver.variables if v.type == "SINGLE_PROP" for t in v.targets):
            assert target.id == copy.armature


def test_reset_shows_the_photo_again(avatar, part) -> None:
    set_look(avatar, part, exposure=1.0, tint=[0.1, 0.2, 0.3], contrast=2.0, relight=0.5)
    bpy.context.view_layer.objects.active = avatar.armature
    assert bpy.ops.lookalike.reset_look() == {"FINISHED"}
    assert part("rendering.look").read_look(avatar.armature) == part("rendering.look").PLAIN


def test_splats_that_an_edit_replaced_render_and_relight(avatar, part, render) -> None:
    bpy.context.scene.view_settings.view_transform = "AgX"
    part("rendering.preparation").prepare_scenes()
    before = render("before")
    obj = avatar.splats[FINEST]
    bound = part("avatar.host").read_splats(obj.data)
    part("editing.replacing").replace_splats(obj, bound, obj.lookalike.shoulders, {})
    assert close_up(render("after"), before) > 45
    assert {part("rendering.quads").LOCAL_NORMAL, part("rendering.quads").LINEAR} <= set(obj.data.attributes.keys())


def test_relit_frames_have_the_noise_of_light_only(avatar, part, render) -> None:
    """Light of a grey world at 8 samples, two seeds: 0.012; splats that come and go by chance would make it 0.044."""
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("grey")
    scene.world.color = (0.5, 0.5, 0.5)
    if scene.world.node_tree is not None:
        background = next(node for node in scene.world.node_tree.nodes if node.type == "BACKGROUND")
        background.inputs["Color"].default_value = (0.5, 0.5, 0.5, 1)
    avatar.armature[part("rendering.look").RELIGHT] = 1.0
    avatar.armature.update_tag()
    frames = []
    for seed in (1, 2):
        scene.cycles.seed = seed
        frames.append(render(f"seed{seed}"))
    inside = (frames[0][..., 3] > 0.95) & (frames[1][..., 3] > 0.95)
    noise = float(np.sqrt(np.mean((frames[0] - frames[1])[inside][:, :3] ** 2) / 2))
    assert frames[0][inside][:, :3].mean() > 0.2
    assert noise < 0.02
