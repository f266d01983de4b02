"""The look of splats that Blender draws itself (5.3): a material over their scene-linear colour, which the armature's properties drive.

By Blender's source (draw_gsplat.cc, Cycles' gsplat.h, September 2026) a splat cloud's material is evaluated for each splat, its
attributes bind by name, and the opacity is the engine's own. Geometry Nodes cannot write the radiance instead: none of their fields
keeps its fourth number. Tested on the point clouds of 5.2; 5.3 itself could not be had. Taken only where the user asks for
it: without, splats show as Blender shows them.
"""

from __future__ import annotations

import bpy

from ..avatar.parts import armature_of, splats_of
from .colour import fit_colours, image_space
from .look import LOOK_INPUTS, ensure_look
from .material import lit, mixed
from .modifier import copy_property, drive_path, write_normals
from .node_building import GeometryBuilder, NodeBuilder
from .quads import LINEAR, MIDDLE_GREY, NORMAL, surface_normal

MATERIAL_NAME, GROUP_NAME, VERSION = "lookalike.splats.look", "Lookalike Normals", 1
VIEW_EXPOSURE = "lookalike_view_exposure"
_VERSION_KEY = "lookalike_look_version"


def use_look(collection: bpy.types.Collection, scene: bpy.types.Scene) -> int:
    """Give an avatar's splat clouds the material of its look. Returns how many there are; 0 below 5.3, where nothing needs it."""
    armature = armature_of(collection)
    clouds = [obj for obj in splats_of(collection).values() if obj.type == "POINTCLOUD"]
    if armature is None or not clouds:
        return 0
    ensure_look(armature)
    for obj in clouds:
        fit_colours(obj, image_space(scene.view_settings.view_transform))
        write_normals(obj)
        obj.data.materials.clear()
        obj.data.materials.append(_material())
        modifier = obj.modifiers.get(GROUP_NAME) or obj.modifiers.new(GROUP_NAME, "NODES")
        modifier.node_group = _group()
        for name, source_path in LOOK_INPUTS.items():
            obj[_property(name)] = 0.0
            copy_property(obj, f'["{_property(name)}"]', armature, source_path)
        obj[VIEW_EXPOSURE] = 0.0
        drive_path(obj, f'["{VIEW_EXPOSURE}"]', "e", {"e": "view_settings.exposure"})
    return len(clouds)


def stop_look(collection: bpy.types.Collection) -> None:
    """Show an avatar's splat clouds as Blender shows them."""
    for obj in splats_of(collection).values():
        if obj.type != "POINTCLOUD" or not has_material(obj):
            continue
        obj.data.materials.clear()
        obj.modifiers.remove(obj.modifiers[GROUP_NAME])
        for name in (*map(_property, LOOK_INPUTS), VIEW_EXPOSURE):
            obj.driver_remove(f'["{name}"]')
            del obj[name]
        obj.data.attributes.remove(obj.data.attributes[LINEAR])


def uses_look(collection: bpy.types.Collection) -> bool:
    """Whether `use_look` was done."""
    return any(has_material(obj) for obj in splats_of(collection).values())


def has_material(obj: bpy.types.Object) -> bool:
    """Whether a splat cloud shows by the material of the look."""
    return any(material is not None and _VERSION_KEY in material for material in obj.data.materials)


def _property(name: str) -> str:
    return f"lookalike_{name.lower().replace(' ', '_')}"


def _group() -> bpy.types.GeometryNodeTree:
    """Writes the rig's normal at each posed splat."""
    for group in bpy.data.node_groups:
        if group.get(_VERSION_KEY) == VERSION and group.library is None:
            return group
    group = bpy.data.node_groups.new(GROUP_NAME, "GeometryNodeTree")
    group.is_modifier = True
    group[_VERSION_KEY] = VERSION
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    nodes = GeometryBuilder(group)
    stored = nodes.store(nodes.node("NodeGroupInput").outputs[0], NORMAL, "FLOAT_VECTOR", surface_normal(nodes))
    nodes.set(nodes.node("NodeGroupOutput").inputs[0], stored)
    return group


def _material() -> bpy.types.Material:
    for material in bpy.data.materials:
        if material.get(_VERSION_KEY) == VERSION and material.library is None:
            return material
    material = bpy.data.materials.new(MATERIAL_NAME)
    material[_VERSION_KEY] = VERSION
    tree = material.node_tree
    tree.nodes.clear()
    nodes = NodeBuilder(tree)
    colour = _graded(nodes)
    emitted = nodes.node("ShaderNodeEmission")
    nodes.set(emitted.inputs["Color"], colour)
    shown = mixed(nodes, _look(nodes, "Relight"), emitted.outputs[0], lit(nodes, colour))
    nodes.set(nodes.node("ShaderNodeOutputMaterial").inputs["Surface"], shown)
    return material


def _graded(nodes: NodeBuilder):
    """As `quads` grades: exposure and tint in scene-linear light, contrast about middle grey."""
    linear = nodes.node("ShaderNodeAttribute", attribute_name=LINEAR).outputs["Vector"]
    stops = nodes.math("SUBTRACT", _look(nodes, "Exposure"), _object_value(nodes, VIEW_EXPOSURE))
    gain = nodes.math("DIVIDE", nodes.math("POWER", 2.0, stops), MIDDLE_GREY)
    tint = nodes.combine(*(_look(nodes, f"Tint {channel}") for channel in "RGB"))
    coloured = nodes.vector("SCALE", nodes.vector("MULTIPLY", linear, tint), gain)
    contrast = _look(nodes, "Contrast")
    powers = (nodes.math("POWER", nodes.math("MAXIMUM", channel, 0.0), contrast) for channel in nodes.separate(coloured))
    return nodes.vector("SCALE", nodes.combine(*powers), MIDDLE_GREY)


def _look(nodes: NodeBuilder, name: str):
    return _object_value(nodes, _property(name))


def _object_value(nodes: NodeBuilder, name: str):
    return nodes.node("ShaderNodeAttribute", attribute_type="OBJECT", attribute_name=name).outputs["Fac"]
