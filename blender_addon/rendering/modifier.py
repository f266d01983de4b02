"""Make a splat object renderable: the modifier that turns splats into quads, for final frames only, and what drives it.

Everything that a frame depends on is evaluated by Blender: the camera in the nodes, the size of a pixel by drivers on the
scene's camera and resolution, the look by drivers on the armature's properties. Neither this add-on nor Python is needed
to render a saved file.
"""

from __future__ import annotations

import bpy

from ..avatar.binding_nodes import bound_rig, set_input, socket_identifier
from ..avatar.host import BARYCENTRIC, FACE, LOCAL_ROTATION, read_attribute, write_attribute
from .look import LOOK_INPUTS, armature_of_splats, ensure_look
from .material import EMITTED, RELIT, splat_material
from .normals import facing_normals, local_normals
from .quads import LOCAL_NORMAL, build_quads

GROUP_NAME = "Lookalike Splats"
GROUP_VERSION = 1
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
    return obj.type != "MESH" or (made and LOCAL_NORMAL in obj.data.attributes)


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
    """Keep the rig's normal at each splat, as the splats are bound now. Splats of 5.3, which are not relit, need none."""
    if obj.type != "MESH":
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
    """The size of a pixel at distance 1 (at any distance where orthographic), and whether the camera is orthographic."""
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
    _drive(obj, modifier, "Pixel", f"((o if t == 1 else {sensor} / max(l, 0.001)) / {pixels})", scene)
    _drive(obj, modifier, "Orthographic", "t == 1", {"t": scene["t"]})
    _drive(obj, modifier, "View Exposure", "e", {"e": "view_settings.exposure"})


def _drive(obj: bpy.types.Object, modifier: bpy.types.NodesModifier, name: str, expression: str, paths: dict[str, str]) -> None:
    """Drive an input from properties of the active scene."""
    path = input_path(modifier, name)
    obj.driver_remove(path)
    driver = obj.driver_add(path).driver
    driver.type, driver.expression = "SCRIPTED", expression
    for letter, data_path in paths.items():
        variable = driver.variables.new()
        variable.name, variable.type = letter, "CONTEXT_PROP"
        variable.targets[0].context_property = "ACTIVE_SCENE"
        variable.targets[0].data_path = data_path


def _drive_look(obj: bpy.types.Object, modifier: bpy.types.NodesModifier) -> None:
    """Drive the look from the armature's custom properties, where the avatar still has an armature."""
    armature = armature_of_splats(obj)
    if armature is None:
        return
    ensure_look(armature)
    for name, data_path in LOOK_INPUTS.items():
        path = input_path(modifier, name)
        obj.driver_remove(path)
        driver = obj.driver_add(path).driver
        driver.type = "SUM"
        variable = driver.variables.new()
        variable.type = "SINGLE_PROP"
        variable.targets[0].id = armature
        variable.targets[0].data_path = data_path
