"""Shadows that an avatar casts on the scene's meshes: a copy of the rig's surface that only shadow rays meet.

The rig mesh itself is hidden from the engines and transparent, and splats are too fine to cast shadows one by one. The
caster follows the posed rig by nodes, a little under the skin, so that relit splats do not lie in their own shadow.
"""

from __future__ import annotations

import bpy

from ..avatar.binding_nodes import set_input
from ..avatar.parts import head_of
from .node_building import GeometryBuilder

GROUP_NAME, GROUP_VERSION = "Lookalike Shadow", 1
MATERIAL_NAME = "lookalike.shadow"
INSET = 0.005
"""Metres under the skin."""

CASTER = "lookalike_caster"
_VERSION_KEY = "lookalike_shadow_version"
_SHADOW_ONLY = ("camera", "diffuse", "glossy", "transmission", "volume_scatter")


def add_caster(collection: bpy.types.Collection) -> bpy.types.Object | None:
    """The avatar's shadow caster, made where it has none; None where it has no rig mesh or cannot be changed (linked)."""
    head, existing = head_of(collection), caster_of(collection)
    if existing is not None or head is None or collection.library is not None:
        return existing
    name = f"{collection.name}.shadow"
    obj = bpy.data.objects.new(name, bpy.data.meshes.new(name))
    obj[CASTER] = True
    obj.parent = head
    modifier = obj.modifiers.new(GROUP_NAME, "NODES")
    modifier.node_group = _group()
    set_input(modifier, "Rig", head)
    set_input(modifier, "Material", _material())
    for kind in _SHADOW_ONLY:
        setattr(obj, f"visible_{kind}", False)
    obj.hide_viewport = obj.hide_select = True
    collection.objects.link(obj)
    return obj


def caster_of(collection: bpy.types.Collection) -> bpy.types.Object | None:
    """The object that casts the avatar's shadow, or None."""
    return next((obj for obj in collection.objects if CASTER in obj), None)


def _group() -> bpy.types.GeometryNodeTree:
    for group in bpy.data.node_groups:
        if group.get(_VERSION_KEY) == GROUP_VERSION and group.library is None:
            return group
    group = bpy.data.node_groups.new(GROUP_NAME, "GeometryNodeTree")
    group.is_modifier = True
    group[_VERSION_KEY] = GROUP_VERSION
    socket = group.interface.new_socket
    socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    socket("Rig", in_out="INPUT", socket_type="NodeSocketObject")
    socket("Material", in_out="INPUT", socket_type="NodeSocketMaterial")
    socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    nodes = GeometryBuilder(group)
    given = nodes.node("NodeGroupInput")
    rig = nodes.node("GeometryNodeObjectInfo", transform_space="RELATIVE")
    nodes.set(rig.inputs["Object"], given.outputs["Rig"])
    inset = nodes.node("GeometryNodeSetPosition")
    nodes.set(inset.inputs["Geometry"], rig.outputs["Geometry"])
    nodes.set(inset.inputs["Offset"], nodes.vector("SCALE", nodes.node("GeometryNodeInputNormal").outputs[0], -INSET))
    opaque = nodes.node("GeometryNodeSetMaterial")
    nodes.set(opaque.inputs["Geometry"], inset.outputs["Geometry"])
    nodes.set(opaque.inputs["Material"], given.outputs["Material"])
    nodes.set(nodes.node("NodeGroupOutput").inputs[0], opaque.outputs["Geometry"])
    return group


def _material() -> bpy.types.Material:
    existing = bpy.data.materials.get((MATERIAL_NAME, None)) if MATERIAL_NAME in bpy.data.materials else None
    if existing is not None:
        return existing
    material = bpy.data.materials.new(MATERIAL_NAME)
    material.diffuse_color = (1.0, 1.0, 1.0, 0.0)  # Workbench would show it
    if material.node_tree is None:
        material.use_nodes = True
    return material
