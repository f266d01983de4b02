"""The Geometry Nodes group that moves splats with the rig: `protocol.binding.deform`, evaluated natively by Blender.

One group serves every avatar; the rig and its size are inputs of each modifier, so that Blender remaps them when
objects are duplicated, appended or overridden. The frame, stretch and origin of every rig triangle are computed on the
rig (10k faces) and gathered by the splats (89k), see `bound_splats` for the algebra. Where the rig does not have the
vertices and faces that the splats were bound to (edited, subdivided, deleted), they stay at rest.
"""

from __future__ import annotations

import hashlib

import bpy

from . import host

GROUP_NAME = "Lookalike Binding"
GROUP_VERSION = 1
MODIFIER_NAME = "Lookalike Binding"
CORNERS = ("lookalike:corner_0", "lookalike:corner_1", "lookalike:corner_2")
REST = "lookalike:rest"
SMALLEST_STRETCH = 1e-6
"""Blender packs scales as logarithms: a zero would stretch the range for all splats."""

CHANGES_VERTICES = {
    "ARRAY", "BEVEL", "BOOLEAN", "BUILD", "DECIMATE", "EDGE_SPLIT", "MASK", "MIRROR", "MULTIRES", "REMESH", "SCREW", "SKIN", "SOLIDIFY",
    "SUBSURF", "TRIANGULATE", "VOLUME_TO_MESH", "WELD", "WIREFRAME", "EXPLODE",
}  # fmt: skip
"""Modifiers that give a mesh other vertices or faces."""

_VERSION_KEY = "lookalike_binding_version"
_SHAPE_KEY = "lookalike_binding_shape"


def add_binding(obj: bpy.types.Object, rig: bpy.types.Object) -> None:
    """Give a splat object the modifier that makes it follow the mesh object `rig`, replacing an earlier one."""
    modifier = obj.modifiers.get(MODIFIER_NAME) or obj.modifiers.new(MODIFIER_NAME, "NODES")
    modifier.node_group = binding_group()
    set_input(modifier, "Rig", rig)
    set_input(modifier, "Vertices", len(rig.data.vertices))
    set_input(modifier, "Faces", len(rig.data.polygons))


def bound_rig(obj: bpy.types.Object) -> bpy.types.Object | None:
    """The rig mesh that a splat object follows, or None."""
    modifier = obj.modifiers.get(MODIFIER_NAME)
    if modifier is None or modifier.type != "NODES" or modifier.node_group is None:
        return None
    return get_input(modifier, "Rig")


def set_input(modifier: bpy.types.NodesModifier, name: str, value: object) -> None:
    """Set a group input of a modifier by its name; 5.2 moved them from ID properties to `modifier.properties`."""
    identifier = socket_identifier(modifier, name)
    if hasattr(modifier, "properties"):
        getattr(modifier.properties.inputs, identifier).value = value
    else:
        modifier[identifier] = value


def get_input(modifier: bpy.types.NodesModifier, name: str) -> object:
    """Value of a group input of a modifier by its name, None where it was never set."""
    identifier = socket_identifier(modifier, name)
    if hasattr(modifier, "properties"):
        return getattr(modifier.properties.inputs, identifier).value
    return modifier.get(identifier)


def binding_group() -> bpy.types.GeometryNodeTree:
    """The shared group: one that this file already has, local, of this version and not edited since; else a new one."""
    for group in bpy.data.node_groups:
        if group.get(_VERSION_KEY) == GROUP_VERSION and group.library is None and group.get(_SHAPE_KEY) == _shape(group):
            return group
    group = _Builder().build()
    group[_VERSION_KEY] = GROUP_VERSION
    group[_SHAPE_KEY] = _shape(group)
    return group


def socket_identifier(modifier: bpy.types.NodesModifier, name: str) -> str:
    """Identifier of a group input by its name. Raises KeyError where there is none."""
    for item in modifier.node_group.interface.items_tree:
        if item.item_type == "SOCKET" and item.in_out == "INPUT" and item.name == name:
            return item.identifier
    raise KeyError(f"{modifier.node_group.name}: has no input {name!r}")


def _shape(group: bpy.types.GeometryNodeTree) -> str:
    """Fingerprint of nodes and links, to notice that a user rewired the shared group."""
    nodes = sorted(f"{n.bl_idname}{getattr(n, 'operation', '')}{getattr(n, 'data_type', '')}{n.mute}" for n in group.nodes)
    links = sorted(f"{k.from_node.name}.{k.from_socket.identifier}>{k.to_node.name}.{k.to_socket.identifier}" for k in group.links)
    return hashlib.sha256("\n".join(nodes + links).encode()).hexdigest()[:16]


class _Builder:
    """Builds the group; short methods that read like the formulas."""

    def __init__(self) -> None:
        self.group = bpy.data.node_groups.new(GROUP_NAME, "GeometryNodeTree")
        self.group.is_modifier = True
        self.column = 0

    def build(self) -> bpy.types.GeometryNodeTree:
        socket = self.group.interface.new_socket
        socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
        socket("Rig", in_out="INPUT", socket_type="NodeSocketObject")
        for name in ("Vertices", "Faces"):
            socket(name, in_out="INPUT", socket_type="NodeSocketInt")
        socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
        given = self.node("NodeGroupInput")
        info = self.node("GeometryNodeObjectInfo", transform_space="RELATIVE")
        info.inputs["As Instance"].default_value = False
        self.link(given.outputs["Rig"], info.inputs["Object"])
        rig = info.outputs["Geometry"]
        moved = self.splats(given.outputs["Geometry"], *self.triangles(rig))
        switch = self.node("GeometryNodeSwitch", input_type="GEOMETRY")
        self.link(self.fits(rig, given), socket_of(switch.inputs, "Switch"))
        self.link(given.outputs["Geometry"], socket_of(switch.inputs, "False"))
        self.link(moved, socket_of(switch.inputs, "True"))
        self.link(socket_of(switch.outputs, "Output"), self.node("NodeGroupOutput").inputs[0])
        return self.group

    def triangles(self, rig):
        """Capture on each rig triangle its first corner, frame, stretch and shear; returns the geometry and the four fields."""
        p0, p1, p2 = (self.corner(name) for name in CORNERS)
        e1, e2 = self.vector("SUBTRACT", p1, p0), self.vector("SUBTRACT", p2, p0)
        normal = self.vector("CROSS_PRODUCT", e1, e2)
        base = self.vector("LENGTH", e1)
        height = self.math("DIVIDE", self.vector("LENGTH", normal), base)
        shear = self.vector("DOT_PRODUCT", e2, self.vector("NORMALIZE", e1))
        frame = self.node("FunctionNodeAxesToRotation", primary_axis="Z", secondary_axis="X")
        self.link(normal, frame.inputs["Primary Axis"])
        self.link(e1, frame.inputs["Secondary Axis"])
        rest = self.node("ShaderNodeSeparateXYZ")
        self.link(self.attribute(REST, "FLOAT_VECTOR"), rest.inputs[0])
        kx, ky = (
            self.math("MAXIMUM", self.math("MULTIPLY", size, inverse), SMALLEST_STRETCH)
            for size, inverse in ((base, rest.outputs["X"]), (height, rest.outputs["Y"]))
        )
        stretch = self.combine(kx, ky, self.math("SQRT", self.math("MULTIPLY", kx, ky)))
        capture = self.node("GeometryNodeCaptureAttribute", domain="FACE")
        self.link(rig, capture.inputs["Geometry"])
        fields = (
            ("Corner", "VECTOR", p0),
            ("Frame", "ROTATION", frame.outputs[0]),
            ("Stretch", "VECTOR", stretch),
            ("Shear", "FLOAT", shear),
        )
        for name, kind, value in fields:
            capture.capture_items.new(kind, name)
            self.link(value, capture.inputs[name])
        return capture.outputs["Geometry"], *(capture.outputs[name] for name, _, _ in fields)

    def splats(self, splats, rig, corner, frame, stretch, shear):
        """Gather the triangle's values at each splat and write position, rotation and scale."""
        face = self.attribute(host.FACE, "INT")
        p0 = self.sample(rig, "FLOAT_VECTOR", corner, face)
        turn = self.sample(rig, "QUATERNION", frame, face)
        k = self.sample(rig, "FLOAT_VECTOR", stretch, face)
        weights = self.node("ShaderNodeSeparateXYZ")
        self.link(self.attribute(host.BARYCENTRIC, "FLOAT_VECTOR"), weights.inputs[0])
        slant = self.math("MULTIPLY", self.sample(rig, "FLOAT", shear, face), weights.outputs["Z"])
        inside = self.vector("MULTIPLY_ADD", k, self.attribute(host.CENTRE, "FLOAT_VECTOR"), self.combine(slant))
        turned = self.node("FunctionNodeRotateVector")
        self.link(inside, turned.inputs["Vector"])
        self.link(turn, turned.inputs["Rotation"])
        rotation = self.node("FunctionNodeRotateRotation", rotation_space="GLOBAL")
        self.link(self.attribute(host.LOCAL_ROTATION, "QUATERNION"), rotation.inputs["Rotation"])
        self.link(turn, rotation.inputs["Rotate By"])
        squared = self.vector("MULTIPLY", k, k)
        spread = (self.attribute(name, "FLOAT_VECTOR") for name in host.SPREAD)
        scale = self.combine(*(self.math("SQRT", self.vector("DOT_PRODUCT", row, squared)) for row in spread))
        move = self.node("GeometryNodeSetPosition")
        self.link(splats, move.inputs["Geometry"])
        self.link(self.vector("ADD", p0, turned.outputs[0]), move.inputs["Position"])
        stored = self.store(move.outputs["Geometry"], "rotation", "QUATERNION", rotation.outputs[0])
        return self.store(stored, "scale", "FLOAT_VECTOR", scale)

    def fits(self, rig, given):
        """Whether the rig still has the vertices and faces that the splats were bound to."""
        size = self.node("GeometryNodeAttributeDomainSize", component="MESH")
        self.link(rig, size.inputs["Geometry"])
        both = self.node("FunctionNodeBooleanMath", operation="AND")
        for i, (measured, expected) in enumerate((("Point Count", "Vertices"), ("Face Count", "Faces"))):
            equal = self.node("FunctionNodeCompare", data_type="INT", operation="EQUAL")
            self.link(size.outputs[measured], socket_of(equal.inputs, "A"))
            self.link(given.outputs[expected], socket_of(equal.inputs, "B"))
            self.link(equal.outputs[0], both.inputs[i])
        return both.outputs[0]

    def node(self, kind: str, **settings):
        node = self.group.nodes.new(kind)
        for name, value in settings.items():
            setattr(node, name, value)
        node.location = (self.column % 12 * 180, -(self.column // 12) * 220)
        self.column += 1
        return node

    def link(self, source, target) -> None:
        self.group.links.new(source, target)

    def vector(self, operation: str, *operands):
        node = self.node("ShaderNodeVectorMath", operation=operation)
        for operand, target in zip(operands, node.inputs, strict=False):
            self.link(operand, target)
        return node.outputs["Value" if operation in ("LENGTH", "DOT_PRODUCT") else "Vector"]

    def math(self, operation: str, *operands):
        node = self.node("ShaderNodeMath", operation=operation)
        for operand, target in zip(operands, node.inputs, strict=False):
            if isinstance(operand, float):
                target.default_value = operand
            else:
                self.link(operand, target)
        return node.outputs[0]

    def combine(self, *components):
        node = self.node("ShaderNodeCombineXYZ")
        for component, target in zip(components, node.inputs, strict=False):
            self.link(component, target)
        return node.outputs[0]

    def attribute(self, name: str, data_type: str):
        node = self.node("GeometryNodeInputNamedAttribute", data_type=data_type)
        node.inputs["Name"].default_value = name
        return socket_of(node.outputs, "Attribute")

    def corner(self, name: str):
        node = self.node("GeometryNodeFieldAtIndex", data_type="FLOAT_VECTOR", domain="POINT")
        self.link(self.attribute(name, "INT"), socket_of(node.inputs, "Index"))
        self.link(self.node("GeometryNodeInputPosition").outputs[0], socket_of(node.inputs, "Value"))
        return socket_of(node.outputs, "Value")

    def sample(self, geometry, data_type: str, value, index):
        node = self.node("GeometryNodeSampleIndex", data_type=data_type, domain="FACE")
        self.link(geometry, node.inputs["Geometry"])
        self.link(value, socket_of(node.inputs, "Value"))
        self.link(index, node.inputs["Index"])
        return socket_of(node.outputs, "Value")

    def store(self, geometry, name: str, data_type: str, value):
        node = self.node("GeometryNodeStoreNamedAttribute", data_type=data_type, domain="POINT")
        self.link(geometry, node.inputs["Geometry"])
        node.inputs["Name"].default_value = name
        self.link(value, socket_of(node.inputs, "Value"))
        return node.outputs["Geometry"]


def socket_of(sockets, name: str):
    """The enabled socket of that name: up to 5.1 a node holds one a data type and enables one of them."""
    return next(s for s in sockets if s.name == name and s.enabled)
