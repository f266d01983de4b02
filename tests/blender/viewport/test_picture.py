"""What our shaders draw, against a plain numpy EWA rasterizer with gsplat's semantics."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from tests.ewa import psnr, rasterize

from .conftest import look_from

SIZE = (320, 240)


def world_splats(part, obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> dict[str, np.ndarray]:
    splats = part("avatar.evaluated").read_evaluated(obj, depsgraph)
    matrix = np.array(obj.evaluated_get(depsgraph).matrix_world)
    splats["position"] = splats["position"] @ matrix[:3, :3].T + matrix[:3, 3]
    return splats


def draw_and_expect(part, avatar, camera: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    depsgraph = bpy.context.evaluated_depsgraph_get()
    view = camera.matrix_world.inverted()
    projection = camera.calc_matrix_camera(depsgraph, x=SIZE[0], y=SIZE[1])
    drawn = part("viewport.picture").draw_picture(depsgraph, view, projection, SIZE)
    shown = next(o for o in avatar.splats.values() if not o.hide_viewport)
    expected = rasterize(**world_splats(part, shown, depsgraph), view=np.array(view), projection=np.array(projection), size=SIZE)
    return drawn, expected


@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
def test_drawn_splats_match_the_reference(part, avatar, camera, gpu, kind) -> None:
    avatar.collection.lookalike.lod = "0"
    camera.data.type = kind
    camera.data.ortho_scale = 0.5
    bpy.context.view_layer.update()
    drawn, expected = draw_and_expect(part, avatar, camera)
    assert expected[..., 3].mean() > 0.05, "the avatar is in the picture"
    # Half-float targets; exact blending in double precision on the other side.
    assert psnr(drawn, expected) > 50


def test_shifted_close_camera_matches_the_reference(part, avatar, camera, gpu) -> None:
    """Off-axis projection, and splats beyond the borders where gsplat clamps the Jacobian."""
    avatar.collection.lookalike.lod = "0"
    look_from(camera, (0.05, -0.25, 0.05))
    camera.data.shift_x, camera.data.shift_y = 0.3, -0.15
    bpy.context.view_layer.update()
    drawn, expected = draw_and_expect(part, avatar, camera)
    assert psnr(drawn, expected) > 45


def test_moved_turned_and_scaled_avatar_matches_the_reference(part, avatar, camera, gpu) -> None:
    avatar.collection.lookalike.lod = "0"
    before, _ = draw_and_expect(part, avatar, camera)
    armature = avatar.armature
    armature.location = (0.1, 0.05, 0.02)
    armature.rotation_euler = (0.0, 0.0, 0.0)
    armature.scale = (1.3, 1.3, 1.3)
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    drawn, _ = draw_and_expect(part, avatar, camera)
    splats = world_splats(part, avatar.splats[0], depsgraph)
    splats["scale"] = splats["scale"] * 1.3
    view, projection = camera.matrix_world.inverted(), camera.calc_matrix_camera(depsgraph, x=SIZE[0], y=SIZE[1])
    expected = rasterize(**splats, view=np.array(view), projection=np.array(projection), size=SIZE)
    assert psnr(drawn, expected) > 50
    assert psnr(drawn, before) < 30, "it moved"


def test_an_expression_changes_the_picture(part, avatar, camera, gpu) -> None:
    avatar.collection.lookalike.lod = "0"
    before, _ = draw_and_expect(part, avatar, camera)
    avatar.head.data.shape_keys.key_blocks["mouthSmile"].value = 1.5
    avatar.armature.pose.bones["jaw"].rotation_euler.x = 0.6
    bpy.context.view_layer.update()
    drawn, expected = draw_and_expect(part, avatar, camera)
    assert psnr(drawn, expected) > 50
    assert np.abs(drawn - before).max() > 0.2


def test_hidden_avatar_is_not_drawn(part, avatar, camera, gpu) -> None:
    layer = bpy.context.view_layer.layer_collection.children[avatar.collection.name]
    layer.exclude = True
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    projection = camera.calc_matrix_camera(depsgraph, x=SIZE[0], y=SIZE[1])
    drawn = part("viewport.picture").draw_picture(depsgraph, camera.matrix_world.inverted(), projection, SIZE)
    assert drawn.max() == 0


def test_instanced_collection_is_drawn_where_the_instance_stands(part, avatar, camera, gpu) -> None:
    """What linking an avatar into a shot gives: an empty that instances its collection."""
    avatar.collection.lookalike.lod = "0"
    depsgraph = bpy.context.evaluated_depsgraph_get()
    projection = camera.calc_matrix_camera(depsgraph, x=SIZE[0], y=SIZE[1])
    draw = part("viewport.picture").draw_picture
    direct = draw(depsgraph, camera.matrix_world.inverted(), projection, SIZE)
    scene = bpy.context.scene.collection
    home = avatar.collection
    scene.children.unlink(home)
    empty = bpy.data.objects.new("shot", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", home
    empty.location = (0.2, 0.0, 0.0)
    scene.objects.link(empty)
    camera.location.x += 0.2
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    instanced = draw(depsgraph, camera.matrix_world.inverted(), projection, SIZE)
    assert psnr(direct, instanced) > 50


def test_nothing_is_uploaded_when_nothing_changed(part, avatar, gpu) -> None:
    clouds, status = part("viewport.clouds").Clouds(), part("viewport.status").status
    depsgraph = bpy.context.evaluated_depsgraph_get()
    obj = avatar.splats[2]
    _, cloud = clouds.get(obj, depsgraph)
    status.reset()
    cloud.refresh(obj, depsgraph)
    assert (status.geometry_uploads, status.appearance_uploads) == (1, 1)
    cloud.refresh(obj, depsgraph)
    clouds.mark({obj.session_uid})
    cloud.refresh(obj, depsgraph)
    assert (status.geometry_uploads, status.appearance_uploads) == (1, 1), "marked, but the same splats"
    avatar.head.data.shape_keys.key_blocks["mouthSmile"].value = 0.7
    bpy.context.view_layer.update()
    clouds.mark({obj.session_uid})
    cloud.refresh(obj, depsgraph)
    assert (status.geometry_uploads, status.appearance_uploads) == (2, 1)
    obj.data.attributes["radiance:base"].data[0].color = (1.0, 0.0, 0.0, 0.5)
    obj.data.update_tag()
    bpy.context.view_layer.update()
    clouds.mark({obj.data.session_uid})
    cloud.refresh(obj, depsgraph)
    assert (status.geometry_uploads, status.appearance_uploads) == (2, 2), "repainted"


def test_an_avatar_that_lost_an_attribute_says_so(part, avatar, gpu) -> None:
    obj = avatar.splats[2]
    obj.modifiers.clear()
    obj.data.attributes.remove(obj.data.attributes["scale"])
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    _, cloud = part("viewport.clouds").Clouds().get(obj, depsgraph)
    with pytest.raises(LookupError, match="scale"):
        cloud.refresh(obj, depsgraph)


@pytest.mark.parametrize(("level", "tolerance"), [(0, 0.004), (2, 0.004)])
def test_depth_is_that_of_the_surface(part, avatar, camera, gpu, level, tolerance) -> None:
    """What meshes are tested against: close before the rig's skin (its splats lie 1 mm above it), never behind it."""
    avatar.collection.lookalike.lod = str(level)
    look_from(camera, (0.18, -0.3, 0.08))
    depsgraph = bpy.context.evaluated_depsgraph_get()
    drawing, clouds = part("viewport.drawing"), part("viewport.clouds").Clouds()
    projection = camera.calc_matrix_camera(depsgraph, x=SIZE[0], y=SIZE[1])
    view = drawing.View(camera.matrix_world.inverted(), projection, SIZE)
    obj = avatar.splats[level]
    key, cloud = clouds.get(obj, depsgraph)
    cloud.refresh(obj, depsgraph)
    item = drawing.lay_out(cloud, key, obj.matrix_world, view)
    canvas = drawing.Canvas(SIZE)
    drawing.draw_splats(item, view, canvas, None)
    pixels = canvas.surface.read()
    pixels.dimensions = SIZE[0] * SIZE[1] * 4
    surface = np.array(pixels, np.float32).reshape(SIZE[1], SIZE[0], 4)
    errors = []
    for y in range(40, SIZE[1] - 40, 8):
        for x in range(40, SIZE[0] - 40, 8):
            skin = skin_depth(avatar.head, camera, projection, x + 0.5, y + 0.5)
            if skin is not None and surface[y, x, 3] > 0.9:
                errors.append(item.middle + surface[y, x, 0] / surface[y, x, 3] - skin)
    assert len(errors) > 50
    assert np.median(np.abs(errors)) < tolerance
    assert np.percentile(errors, 1) > -drawing.BIAS, "or the invisible rig would cover it"


def skin_depth(head: bpy.types.Object, camera: bpy.types.Object, projection, x: float, y: float) -> float | None:
    """View-space z of the rig mesh at a pixel (from the bottom left), None beside it."""
    from mathutils import Vector

    toward = Vector(((2 * x / SIZE[0] - 1) / projection[0][0], (2 * y / SIZE[1] - 1) / projection[1][1], -1.0))
    direction = camera.matrix_world.to_3x3() @ toward
    hit, where, *_ = head.ray_cast(camera.matrix_world.translation, direction)
    return (camera.matrix_world.inverted() @ where).z if hit else None


def test_linked_avatar_is_drawn(part, avatar, camera, gpu, tmp_path) -> None:
    """From another file, through a collection instance, as studios do it."""
    avatar.collection.lookalike.lod = "0"
    name = avatar.collection.name
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    view, projection = camera.matrix_world.inverted(), camera.calc_matrix_camera(depsgraph, x=SIZE[0], y=SIZE[1])
    draw = part("viewport.picture").draw_picture
    direct = draw(depsgraph, view, projection, SIZE)
    library = tmp_path / "ada.blend"
    bpy.data.libraries.write(str(library), {avatar.collection})
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(library), link=True) as (_there, here):
        here.collections = [name]
    empty = bpy.data.objects.new("shot", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", bpy.data.collections[name]
    bpy.context.scene.collection.objects.link(empty)
    bpy.context.view_layer.update()
    linked = draw(bpy.context.evaluated_depsgraph_get(), view, projection, SIZE)
    assert direct[..., 3].mean() > 0.05
    assert psnr(direct, linked) > 50


def test_a_sequence_is_drawn_as_each_frame_is(part, avatar, camera, gpu, tmp_path) -> None:
    """The same cloud of the viewport from frame to frame, as a window plays it: other places, colours and numbers of splats."""
    interchange, files = part("interchange"), part("protocol.interchange")
    whole = interchange.posed_cloud(avatar.collection, bpy.context.evaluated_depsgraph_get(), 0)
    half = whole.take(np.arange(len(whole.position) // 2))
    for number, cloud in ((1, whole), (2, half._replace(sh=-half.sh))):
        (tmp_path / f"take_{number}.ply").write_bytes(files.encode_ply(cloud))
    part("api").delete_avatar(avatar.collection)
    obj = part("api").import_sequence(tmp_path / "take_1.ply").obj
    held, view = part("viewport.clouds").Clouds(), camera.matrix_world.inverted()
    for frame in (1, 2, 1):
        bpy.context.scene.frame_set(frame)
        depsgraph = bpy.context.evaluated_depsgraph_get()
        held.mark({obj.session_uid})
        _, cloud = held.get(obj, depsgraph)
        cloud.refresh(obj, depsgraph)
        expected = part("avatar.evaluated").read_evaluated(obj, depsgraph)
        assert np.array_equal(cloud.splats.position, expected["position"])
        assert np.array_equal(cloud.splats.appearance[:, :3], expected["rgb"])
    assert len(cloud) == len(whole.position)
    projection = camera.calc_matrix_camera(depsgraph, x=SIZE[0], y=SIZE[1])
    drawn = part("viewport.picture").draw_picture(depsgraph, view, projection, SIZE)
    seen = rasterize(**world_splats(part, obj, depsgraph), view=np.array(view), projection=np.array(projection), size=SIZE)
    assert seen[..., 3].mean() > 0.05
    assert psnr(drawn, seen) > 50
