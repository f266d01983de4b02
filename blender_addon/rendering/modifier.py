"""Make a splat object renderable: the modifier that turns splats into quads, for final frames only, and what drives it.

Everything that a frame depends on is evaluated by Blender: the camera in the nodes, the size of a pixel by drivers on the
scene's camera and resolution, the look by drivers on the armature's properties. Neither this add-on nor Python is needed
to render a saved file.
"""

from __future__ import annotations

import math

import bpy

from ..avatar.binding_nodes import bound_rig, set_input, socket_identifier
from ..avatar.host import BARYCENTRIC, FACE, LOCAL_ROTATION, read_attribute, write_attribute
from .look import LOOK_INPUTS, armature_of_splats, ensure_look
from .material import EMITTED, RELIT, splat_material
from .normals import facing_normals, local_normals
from .quads import LINEAR, LOCAL_NORMAL, build_quads

GROUP_NAME = "Lookalike Splats"
GROUP_VERSION = 3
MODIFIER_NAME = "Lookalike Render"
_VERSION_KEY = "lookalike_render_version"


def make_renderable(obj: bpy.types.Object) -> bool:
    """Let EEVEE and Cycles render a splat object. False where Blender renders it itself (point clouds of 5.3)."""
    if obj.type != "MESH":
        return False
    modifier = obj.modifiers.get(MODIFIER_NAME) or obj.modifiers.new(MODIFIER_NAME, "NODES")
    modifier.node_group = quads_group()
    modifier.show_viewport, modifier.show_render = False, True
    modifier.show_expanded = False
    materials = (splat_material(EMITTED), splat_material(RELIT))
    for name, material in zip(("Material", "Relit Material"), materials, strict=True):
        set_input(modifier, name, material)
    if LOCAL_NORMAL not in obj.data.attributes:
        write_normals(obj)
    # Light comes from the scene's lights, shadows from the rig mesh; mirrors and glass do show the avatar.
    for kind in ("visible_diffuse", "visible_shadow", "visible_volume_scatter"):
        setattr(obj, kind, False)
    _drive_camera(obj, modifier)
    _drive_look(obj, modifier)
    return True


def is_current(obj: bpy.types.Object) -> bool:
    """Whether `make_renderable` of this version was done; splats of 5.3 need nothing."""
    modifier = obj.modifiers.get(MODIFIER_NAME)
    group = modifier.node_group if modifier is not None and modifier.type == "NODES" else None
    made = group is not None and group.get(_VERSION_KEY) == GROUP_VERSION
    return obj.type != "MESH" or (made and (LOCAL_NORMAL in obj.data.attributes or bound_rig(obj) is None))


def quads_group() -> bpy.types.GeometryNodeTree:
    """The shared node group of this version; one of another version stays with the objects that use it."""
    for group in bpy.data.node_groups:
        if group.get(_VERSION_KEY) == GROUP_VERSION and group.library is None:
            return group
    group = bpy.data.node_groups.new(GROUP_NAME, "GeometryNodeTree")
    group.is_modifier = True
    build_quads(group)
    group[_VERSION_KEY] = GROUP_VERSION
    return group


def input_path(modifier: bpy.types.NodesModifier, name: str) -> str:
    """RNA path of a modifier's input, from its object, for drivers."""
    identifier = socket_identifier(modifier, name)
    if hasattr(modifier, "properties"):
        return f'modifiers["{modifier.name}"].properties.inputs.{identifier}.value'
    return f'modifiers["{modifier.name}"]["{identifier}"]'


def write_normals(obj: bpy.types.Object) -> None:
    """Keep the rig's normal at each splat, as the splats are bound now. Blender's own splats need none without a look."""
    if obj.type != "MESH" and LINEAR not in obj.data.attributes:
        return
    head = bound_rig(obj)
    if head is None:
        return
    from ..avatar.rig_objects import rest_mesh

    vertices, faces = rest_mesh(head)
    data, off = obj.data, obj.lookalike.shoulders
    face = read_attribute(data, FACE)
    normals = local_normals(vertices, faces, face, read_attribute(data, BARYCENTRIC))
    if off:  # shoulders hang on the neck's triangles, but do not lie on them
        rotation, scale = read_attribute(data, LOCAL_ROTATION), read_attribute(data, "scale")
        normals[-off:] = facing_normals(vertices, faces, face[-off:], rotation[-off:], scale[-off:])
    write_attribute(data, LOCAL_NORMAL, "FLOAT_VECTOR", normals)


def _drive_camera(obj: bpy.types.Object, modifier: bpy.types.NodesModifier) -> None:
    """The size of a pixel at distance 1 (at any distance where orthographic), and which kind of camera and engine there is."""
    scene = {
        "t": "camera.data.type",
        "w": "camera.data.sensor_width",
        "h": "camera.data.sensor_height",
        "f": "camera.data.sensor_fit",
        "l": "camera.data.lens",
        "o": "camera.data.ortho_scale",
        "x": "render.resolution_x",
        "y": "render.resolution_y",
        "p": "render.resolution_percentage",
        "a": "render.pixel_aspect_x",
        "b": "render.pixel_aspect_y",
    }
    # Sensor fit: 0 automatic (the longer side), 1 horizontal, 2 vertical.
    sideways = "(f == 1 or (f == 0 and x * a >= y * b))"
    sensor = "(h if f == 2 else w)"
    # Without a camera all of its values are 0: Blender would report each division by them.
    pixels = f"max((x if {sideways} else y * b / max(a, 0.001)) * p / 100, 1)"
    drive_from_scene(obj, modifier, "Pixel", f"((o if t == 1 else {sensor} / max(l, 0.001)) / {pixels})", scene)
    drive_from_scene(obj, modifier, "Orthographic", "t == 1", {"t": scene["t"]})
    _drive_panorama(obj, modifier)
    drive_workbench(obj, modifier)
    drive_from_scene(obj, modifier, "View Exposure", "e", {"e": "view_settings.exposure"})


def drive_workbench(obj: bpy.types.Object, modifier: bpy.types.NodesModifier) -> None:
    """Whether Workbench renders. Engines are numbered as Blender registers its own: EEVEE 0, Workbench 1; Cycles and others follow."""
    drive_from_scene(obj, modifier, "Workbench", "e == 1", {"e": "render.engine"})


def _drive_panorama(obj: bpy.types.Object, modifier: bpy.types.NodesModifier) -> None:
    """The angle of a pixel of a panoramic camera, radians: equirectangular by its longitudes, fisheyes by their field of view."""
    # Cycles' own settings up to 4.5, the camera's from 5.0. A file that moves between them falls back to the whole circle.
    settings = "camera.data" if "panorama_type" in bpy.types.Camera.bl_rna.properties else "camera.data.cycles"
    paths = {
        "t": "camera.data.type",
        "k": f"{settings}.panorama_type",
        "u": f"{settings}.longitude_max",
        "v": f"{settings}.longitude_min",
        "g": f"{settings}.fisheye_fov",
        "x": "render.resolution_x",
        "y": "render.resolution_y",
        "p": "render.resolution_percentage",
    }
    # Types: 0 equirectangular, 1 and 2 fisheyes; about half a circle over the short side for the others.
    angle = "((u - v) / x if k == 0 else (g if k < 3 else 3.1416) / min(x, y))"
    fallback = {"u": math.pi, "v": -math.pi, "g": math.pi}
    drive_from_scene(obj, modifier, "Panoramic", f"(t == 2) * {angle} * 100 / max(p, 1)", paths, fallback)


def drive_from_scene(
    obj: bpy.types.Object,
    modifier: bpy.types.NodesModifier,
    name: str,
    expression: str,
    paths: dict[str, str],
    fallback: dict[str, float] | None = None,
) -> None:
    """Drive an input of a modifier from properties of the active scene."""
    drive_path(obj, input_path(modifier, name), expression, paths, fallback)


def drive_path(obj: bpy.types.Object, path: str, expression: str, paths: dict[str, str], fallback: dict[str, float] | None = None) -> None:
    """Drive a property of an object from properties of the active scene; those with a fallback may be missing."""
    obj.driver_remove(path)
    driver = obj.driver_add(path).driver
    driver.type, driver.expression = "SCRIPTED", expression
    for letter, data_path in paths.items():
        variable = driver.variables.new()
        variable.name, variable.type = letter, "CONTEXT_PROP"
        target = variable.targets[0]
        target.context_property, target.data_path = "ACTIVE_SCENE", data_path
        if fallback is not None:
            target.use_fallback_value, target.fallback_value = True, fallback.get(letter, 0.0)


def _drive_look(obj: bpy.types.Object, modifier: bpy.types.NodesModifier) -> None:
    """Drive the look from the armature's custom properties, where the avatar still has an armature."""
    armature = armature_of_splats(obj)
    if armature is None:
        return
    ensure_look(armature)
    for name, data_path in LOOK_INPUTS.items():
        copy_property(obj, input_path(modifier, name), armature, data_path)


def copy_property(obj: bpy.types.Object, path: str, source: bpy.types.Object, source_path: str) -> None:
    """Drive a property of an object to equal one of another."""
    obj.driver_remove(path)
    driver = obj.driver_add(path).driver
    driver.type = "SUM"
    variable = driver.variables.new()
    variable.type = "SINGLE_PROP"
    variable.targets[0].id = source
    variable.targets[0].data_path = source_path
