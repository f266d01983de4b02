"""View layers for compositing: one multilayer frame per engine, and what its values are."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
import pytest

from .conftest import EEVEE, build_shot
from .exr import Exr

ENGINES = {"cycles": "CYCLES", "eevee": EEVEE}


def cube(name: str, location: tuple[float, float, float], size: float, collection: bpy.types.Collection) -> None:
    bpy.ops.mesh.primitive_cube_add(size=size, location=location)
    made = bpy.context.object
    made.name = name
    made.data.materials.append(bpy.data.materials.new(name))
    if collection not in made.users_collection:
        made.users_collection[0].objects.unlink(made)
        collection.objects.link(made)


def stage_around(avatar) -> None:
    """A cube before the face in no collection of its own, a wall behind and a sun in one, a shelf among the avatar's neighbours."""
    scene = bpy.context.scene
    cube("before", (0.14, -0.2, 0.05), 0.06, scene.collection)
    props = bpy.data.collections.new("props")
    scene.collection.children.link(props)
    cube("behind", (-0.2, 0.38, -0.08), 0.3, props)
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.rotation_euler = 3.0, (0.9, 0.3, 0.6)
    props.objects.link(sun)
    bpy.context.view_layer.update()


@dataclass(frozen=True)
class Layered:
    """One frame in layers.

    Attributes:
        splats, armature: names of the avatar's objects.
        size: of the median splat, one standard deviation in metres.
        pixels, depths: [V, 2] and [V] of the rig's vertices that face the camera: where they are seen and how far away.
    """

    exr: Exr
    splats: str
    armature: str
    size: float
    pixels: np.ndarray
    depths: np.ndarray


@pytest.fixture(scope="module", params=list(ENGINES))
def layered(request, part, tmp_path_factory) -> Layered:
    if request.param == "eevee" and not part("rendering.support").eevee_writes_cryptomatte():
        pytest.skip("EEVEE of Blender 4.2.0 writes no cryptomatte, as the panel says; later ones of 4.2 do")
    avatar = build_shot(part, 1)
    scene = bpy.context.scene
    scene.render.engine, scene.eevee.taa_render_samples, scene.cycles.samples = ENGINES[request.param], 32, 16
    stage_around(avatar)
    assert bpy.ops.lookalike.set_up_layers(rest=True) == {"FINISHED"}
    settings = scene.render.image_settings
    settings.exr_codec = "NONE"
    if hasattr(settings, "use_exr_interleave"):  # from 5.0 each pass is a part of its own otherwise
        settings.use_exr_interleave = True
    path = tmp_path_factory.mktemp("layers") / "frame.exr"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    size = float(np.median(part("avatar.host").read_attribute(avatar.splats[0].data, "scale").max(axis=1)))
    return Layered(Exr(path), avatar.splats[0].name, avatar.armature.name, size, *seen_vertices(avatar.head))


def seen_vertices(head: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    scene, depsgraph = bpy.context.scene, bpy.context.evaluated_depsgraph_get()
    evaluated = head.evaluated_get(depsgraph)
    camera, matrix = scene.camera, evaluated.matrix_world
    vertices = np.array([matrix @ v.co for v in evaluated.data.vertices])
    normals = np.array([matrix.to_3x3() @ v.normal for v in evaluated.data.vertices])
    way = np.array(camera.matrix_world.translation) - vertices
    facing = np.einsum("nc,nc->n", way, normals) > 0.5 * np.linalg.norm(way, axis=1)
    view = np.c_[vertices[facing], np.ones(facing.sum())] @ np.array(camera.matrix_world.inverted()).T
    size = np.array([scene.render.resolution_x, scene.render.resolution_y])
    clip = view @ np.array(camera.calc_matrix_camera(depsgraph, x=int(size[0]), y=int(size[1]))).T
    pixels = (clip[:, :2] / clip[:, 3:] * [0.5, -0.5] + 0.5) * size
    return np.floor(pixels).astype(int), -view[:, 2]


def test_avatar_stands_alone_and_cut_in_its_layer(layered: Layered) -> None:
    whole, alone = layered.exr.layer("ViewLayer.Combined"), layered.exr.layer("Avatars.Combined")
    cut = layered.exr.matte("ViewLayer", "Object", "before") > 0.99
    assert cut.sum() > 0.01 * cut.size
    assert alone[cut].max() < 0.02, "the cube before it leaves a hole"
    wall = (layered.exr.matte("ViewLayer", "Object", "behind") > 0.99) & (whole[..., 3] > 0.99)
    assert wall.sum() > 0.01 * wall.size
    assert alone[wall].max() < 0.02, "nothing behind it is in its layer"
    assert (alone[..., 3] > 0.95).mean() > 0.1


def test_layers_sum_up_to_the_picture(layered: Layered) -> None:
    whole = layered.exr.layer("ViewLayer.Combined")
    parts = layered.exr.layer("Avatars.Combined") + layered.exr.layer("Without Avatars.Combined")
    assert whole[..., 3].mean() > 0.2
    assert np.mean((whole - parts) ** 2) < 1e-4, "40 dB"


@pytest.mark.parametrize("kind", ["Object", "Asset"])
def test_cryptomatte_is_the_avatars_coverage(layered: Layered, kind: str) -> None:
    """By the name of its splats or, as an asset, by that of its armature."""
    alpha = layered.exr.layer("Avatars.Combined")[..., 3]
    name = layered.splats if kind == "Object" else layered.armature
    for layer in ("Avatars", "ViewLayer"):
        coverage = layered.exr.matte(layer, kind, name)
        assert np.abs(coverage - alpha).mean() < 0.01
        assert ((coverage > 0.5) == (alpha > 0.5)).mean() > 0.99


def test_depth_is_that_of_the_rig(layered: Layered) -> None:
    """Along the camera's axis, within one standard deviation of a splat: all of a splat is as far as its centre, also on slopes."""
    alpha, depth = layered.exr.layer("Avatars.Combined")[..., 3], layered.exr.layer("Avatars.Depth", "Z")[..., 0]
    columns, rows = layered.pixels.T
    solid = alpha[rows, columns] > 0.98
    assert solid.sum() > 100
    error = np.abs(depth[rows, columns] - layered.depths)[solid]
    assert np.median(error) < layered.size < 0.006
    assert np.percentile(error, 90) < 3 * layered.size


def held_out(layer: bpy.types.ViewLayer) -> set[str]:
    return {obj.name for obj in bpy.context.scene.objects if obj.type == "MESH" and obj.holdout_get(view_layer=layer)}


def test_again_after_more_was_added(avatar) -> None:
    """Layers are brought up to date, not doubled; the user's own layer keeps what it shows."""
    scene = bpy.context.scene
    stage_around(avatar)
    bpy.ops.lookalike.set_up_layers()
    layer = scene.view_layers["Avatars"]
    assert held_out(layer) == {"before", "behind"}
    layer.name = "face"
    cube("later", (0.5, 0, 0), 0.1, scene.collection)
    bpy.context.window.view_layer = layer
    bpy.ops.lookalike.set_up_layers()
    assert [made.name for made in scene.view_layers] == ["ViewLayer", "face"]
    assert held_out(layer) == {"before", "behind", "later"}
    assert held_out(scene.view_layers["ViewLayer"]) == set()
    assert all(obj.name in scene.view_layers["ViewLayer"].objects for obj in scene.objects)
    assert scene.render.image_settings.file_format == "OPEN_EXR_MULTILAYER"
    assert scene.render.film_transparent


def test_collections_left_out_stay_out(avatar) -> None:
    scene = bpy.context.scene
    stage_around(avatar)
    own = scene.view_layers[0].layer_collection.children
    own["props"].exclude = True
    bpy.ops.lookalike.set_up_layers(rest=True)
    for name in ("Avatars", "Without Avatars"):
        assert scene.view_layers[name].layer_collection.children["props"].exclude
    heads = {obj.name for obj in avatar.collection.objects if obj.type == "MESH"}
    assert held_out(scene.view_layers["Without Avatars"]) == heads


def test_scene_without_avatar_says_so(part, empty_file) -> None:
    with pytest.raises(RuntimeError, match="shows no avatar"):
        bpy.ops.lookalike.set_up_layers()
