"""Shadows that an avatar casts on the scene's meshes: the rig's surface, shoulders and hair, met by shadow rays only.

The rig mesh itself is hidden from the engines and transparent, and splats cast none: each ray would cross tens of them. What stands
off the rig's surface, the shoulders and strands of hair, is cast by the coarsest level's splats as small opaque boxes, bound to the
rig as splats are. All of it lies a little under what is seen, so that relit splats do not lie in their own shadow.
"""

from __future__ import annotations

import zlib

import bpy
import numpy as np

from ..avatar.binding_nodes import add_binding, set_input
from ..avatar.bound_splats import BoundSplats
from ..avatar.host import read_attribute, read_splats, write_attribute, write_splats
from ..avatar.parts import head_of, splats_of
from ..protocol.avatar import F32
from .modifier import drive_workbench
from .node_building import GeometryBuilder, enabled
from .quads import LOCAL_NORMAL, surface_normal

GROUP_NAME, GROUP_VERSION = "Lookalike Shadow", 3
MATERIAL_NAME = "lookalike.shadow"
INSET = 0.005
"""Metres under the skin."""

LEAST = 0.7
"""What is sunk lies at least so many insets from every part of the skin: the mouth's inside, whose own under side is the cheek, and
the two sides of an ear would come out on the other side, and lay blotches on the splats there."""

OFF_SURFACE = 0.01
"""Splats further than this from the rig's surface (metres) cast shadows of their own."""

OPAQUE = 0.4
"""Splats less opaque than this cast none."""

BOX = 1.2
"""Half the size of a splat's box in standard deviations."""

CASTER = "lookalike_caster"
_SOURCE = "lookalike_source"
_VERSION_KEY = "lookalike_shadow_version"
_SHADOW_ONLY = ("camera", "diffuse", "glossy", "transmission", "volume_scatter")


def add_caster(collection: bpy.types.Collection) -> bpy.types.Object | None:
    """The avatar's shadow caster, made or brought up to date; None where it has no rig mesh and no caster. Linked ones stay as they are."""
    head, obj = head_of(collection), caster_of(collection)
    if head is None or collection.library is not None or (obj is not None and obj.library is not None):
        return obj
    if obj is None:
        obj = _new_caster(collection, head)
    modifier = obj.modifiers.get(GROUP_NAME)
    if modifier.node_group is None or modifier.node_group.get(_VERSION_KEY) != GROUP_VERSION:
        modifier.node_group = _group()
        set_input(modifier, "Rig", head)
        set_input(modifier, "Material", _material())
        drive_workbench(obj, modifier)
    _take_splats(obj, head, splats_of(collection))
    return obj


def _new_caster(collection: bpy.types.Collection, head: bpy.types.Object) -> bpy.types.Object:
    name = f"{collection.name}.shadow"
    obj = bpy.data.objects.new(name, bpy.data.meshes.new(name))
    obj[CASTER] = True
    obj.parent = head
    obj.modifiers.new(GROUP_NAME, "NODES")
    for kind in _SHADOW_ONLY:
        setattr(obj, f"visible_{kind}", False)
    obj.hide_viewport = obj.hide_select = True
    collection.objects.link(obj)
    return obj


def _take_splats(obj: bpy.types.Object, head: bpy.types.Object, levels: dict[int, bpy.types.Object]) -> None:
    """Bind the splats off the rig's surface to it once more, in the caster; nothing is done where they are those of before."""
    coarsest = levels[min(levels)] if levels else None
    if coarsest is None or coarsest.data.library is not None:
        return
    bound = read_splats(coarsest.data)
    source = f"{zlib.crc32(bound.radiance.tobytes())} {zlib.crc32(bound.centre.tobytes())} {len(head.data.polygons)}"
    if obj.get(_SOURCE) == source:
        return
    chosen = _off_surface(bound, coarsest.lookalike.shoulders)
    data = bpy.data.meshes.new(obj.name)
    data.vertices.add(len(chosen))
    write_splats(data, _part(bound, chosen))
    normals = read_attribute(coarsest.data, LOCAL_NORMAL)[chosen] if LOCAL_NORMAL in coarsest.data.attributes else _no_normals(len(chosen))
    write_attribute(data, LOCAL_NORMAL, "FLOAT_VECTOR", normals)
    old, obj.data = obj.data, data
    if old.users == 0:
        bpy.data.meshes.remove(old)
    data.name = obj.name
    add_binding(obj, head)
    obj.modifiers.move(obj.modifiers.find(GROUP_NAME), len(obj.modifiers) - 1)
    obj[_SOURCE] = source


def _off_surface(bound: BoundSplats, shoulders: int) -> np.ndarray:
    """Numbers of the splats that cast shadows: shoulders, and what stands out from its triangle."""
    off = bound.centre[:, 2] > OFF_SURFACE
    if shoulders:
        off[-shoulders:] = True
    return np.flatnonzero(off & (bound.radiance[:, 3] > OPAQUE))


def _part(bound: BoundSplats, chosen: np.ndarray) -> BoundSplats:
    return BoundSplats(**{name: getattr(bound, name)[chosen] for name in BoundSplats.__dataclass_fields__})


def _no_normals(count: int) -> F32:
    return np.zeros((count, 3), np.float32)


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
    socket("Workbench", in_out="INPUT", socket_type="NodeSocketFloat")
    socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    nodes = GeometryBuilder(group)
    given = nodes.node("NodeGroupInput")
    rig = nodes.node("GeometryNodeObjectInfo", transform_space="RELATIVE")
    nodes.set(rig.inputs["Object"], given.outputs["Rig"])
    surface = _kept_inside(
        nodes, _sunk(nodes, rig.outputs["Geometry"], nodes.node("GeometryNodeInputNormal").outputs[0]), rig.outputs["Geometry"]
    )
    whole = nodes.node("GeometryNodeJoinGeometry")
    for part in (surface, _boxes(nodes, _sunk(nodes, given.outputs["Geometry"], surface_normal(nodes)))):
        nodes.tree.links.new(part, whole.inputs["Geometry"])
    opaque = nodes.node("GeometryNodeSetMaterial")
    nodes.set(opaque.inputs["Geometry"], whole.outputs["Geometry"])
    nodes.set(opaque.inputs["Material"], given.outputs["Material"])
    # Workbench knows no objects that only cast shadows.
    chosen = nodes.node("GeometryNodeSwitch", input_type="GEOMETRY")
    nodes.set(enabled(chosen.inputs, "Switch"), given.outputs["Workbench"])
    nodes.set(enabled(chosen.inputs, "False"), opaque.outputs["Geometry"])
    nodes.set(nodes.node("NodeGroupOutput").inputs[0], enabled(chosen.outputs, "Output"))
    return group


def _sunk(nodes: GeometryBuilder, geometry, normal):
    inset = nodes.node("GeometryNodeSetPosition")
    nodes.set(inset.inputs["Geometry"], geometry)
    nodes.set(inset.inputs["Offset"], nodes.vector("SCALE", normal, -INSET))
    return inset.outputs["Geometry"]


def _kept_inside(nodes: GeometryBuilder, sunk, skin):
    """The sunk surface without what came too near to the skin (`LEAST`)."""
    nearest = nodes.node("GeometryNodeProximity", target_element="FACES")
    nodes.tree.links.new(skin, nearest.inputs[0])
    kept = nodes.node("GeometryNodeDeleteGeometry", domain="POINT")
    nodes.set(kept.inputs["Geometry"], sunk)
    nodes.set(kept.inputs["Selection"], nodes.math("LESS_THAN", nearest.outputs["Distance"], LEAST * INSET))
    return kept.outputs["Geometry"]


def _boxes(nodes: GeometryBuilder, splats):
    """One box a splat, along its axes."""
    cube = nodes.node("GeometryNodeMeshCube")
    cube.inputs["Size"].default_value = (2 * BOX,) * 3
    instances = nodes.node("GeometryNodeInstanceOnPoints")
    nodes.set(instances.inputs["Points"], splats)
    nodes.set(instances.inputs["Instance"], cube.outputs["Mesh"])
    nodes.set(instances.inputs["Rotation"], nodes.attribute("rotation", "QUATERNION"))
    nodes.set(instances.inputs["Scale"], nodes.attribute("scale", "FLOAT_VECTOR"))
    real = nodes.node("GeometryNodeRealizeInstances")
    nodes.set(real.inputs["Geometry"], instances.outputs["Instances"])
    return real.outputs["Geometry"]


def _material() -> bpy.types.Material:
    existing = bpy.data.materials.get((MATERIAL_NAME, None)) if MATERIAL_NAME in bpy.data.materials else None
    if existing is not None:
        return existing
    material = bpy.data.materials.new(MATERIAL_NAME)
    material.diffuse_color = (1.0, 1.0, 1.0, 0.0)  # Workbench would show it
    if material.node_tree is None:
        material.use_nodes = True
    return material
