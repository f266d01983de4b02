"""The Geometry Nodes group that turns splats into geometry which EEVEE and Cycles render: one quad a splat.

Each quad lies in the plane parallel to the image through the splat's centre and just covers the splat's ellipse there,
with the affine projection of EWA splatting (Zwicker et al. 2001) that the viewport's shader uses: an axis `a` of the
Gaussian is seen as `a - v (a.b) / (v.b)`, where `v` leads from the camera to the centre and `b` is the camera's
direction. With `L` the Cholesky factor of the projected covariance, the quad's corner (+-1, +-1) is `centre + extent L
(+-1, +-1)`, and the opacity at (x, y) of the quad is `opacity exp(-extent^2 (x^2 + y^2) / 2)`, which the material computes.

The modifier comes after the binding and is evaluated for rendering only. No Python runs: a farm needs no add-on.
"""

from __future__ import annotations

import bpy

from ..avatar.host import BARYCENTRIC, CENTRE, FACE, LOCAL_ROTATION, RADIANCE, SPREAD
from ..protocol.avatar import SH_C0
from .node_building import GeometryBuilder, enabled

CORNER = "lookalike_corner"
"""Attribute of a quad's corners: x and y, -1 or 1."""

PLACE = "lookalike_place"
"""Attribute of a quad: extent in standard deviations, strength of the relighting."""

LIGHT = "lookalike_light"
"""Attribute of a quad: scene-linear r, g, b, and opacity."""

NORMAL = "lookalike_normal"
"""Attribute of a quad: normal of the rig's surface, in the object's space."""

LINEAR = "lookalike:linear"
"""Attribute of splats: scene-linear colour that the view transform shows as the splat's (see `colour`)."""

LOCAL_NORMAL = "lookalike:normal"
"""Attribute of splats: smooth normal of the rig at rest, in the frame of the splat's triangle."""

MATERIALS = ("Material", "Relit Material")
NUMBERS = {
    "Pixel": 0.0,
    "Orthographic": 0.0,
    "Panoramic": 0.0,
    "Workbench": 0.0,
    "View Exposure": 0.0,
    "Exposure": 0.0,
    "Tint R": 1.0,
    "Tint G": 1.0,
    "Tint B": 1.0,
    "Contrast": 1.0,
    "Relight": 0.0,
}
"""Number inputs of the group and what leaves the picture as it is."""

UNUSED = ("rotation", "scale", RADIANCE, LINEAR, LOCAL_NORMAL, FACE, CENTRE, BARYCENTRIC, LOCAL_ROTATION, *SPREAD)
"""Attributes of splats that quads do not need."""

MIDDLE_GREY = 0.18
LARGEST_EXTENT = 3.33
NEAREST = 0.01
TOWARDS_CAMERA = 0.3
STEEPEST = 0.1
"""Splats nearer than this (metres), or seen at a cosine below this from the camera's direction, are left out."""


def build_quads(group: bpy.types.GeometryNodeTree) -> None:
    """Fill an empty group.

    Inputs: Material, Relit Material; Pixel (its size at distance 1), Orthographic (0 or 1), Panoramic (the angle of a pixel, 0 for
    other cameras), Workbench (0 or 1: nothing is made), View Exposure, Exposure (stops), Tint (r, g, b), Contrast and Relight (0..1).
    """
    socket = group.interface.new_socket
    socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    for name in MATERIALS:
        socket(name, in_out="INPUT", socket_type="NodeSocketMaterial")
    for name, value in NUMBERS.items():
        socket(name, in_out="INPUT", socket_type="NodeSocketFloat").default_value = value
    socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    nodes = GeometryBuilder(group)
    given = nodes.node("NodeGroupInput")
    camera = _Camera(nodes, given.outputs["Pixel"], given.outputs["Orthographic"], given.outputs["Panoramic"])
    first, second, extent = _ellipse(nodes, camera)
    splats = _kept(nodes, given.outputs["Geometry"], camera, given.outputs["Workbench"])
    splats = nodes.store(splats, PLACE, "FLOAT_VECTOR", nodes.combine(extent, given.outputs["Relight"], 0.0))
    splats = nodes.store(splats, LIGHT, "FLOAT_COLOR", _graded(nodes, given))
    normal = surface_normal(nodes)
    splats = nodes.store(splats, NORMAL, "FLOAT_VECTOR", normal)
    plane = _plane(nodes, normal, given.outputs["Relight"], camera)
    corners = (_slid(nodes, nodes.vector("SCALE", axis, extent), plane, camera) for axis in (first, second))
    quads = _instances(nodes, splats, *corners, camera)
    material = nodes.node("GeometryNodeSetMaterial")
    nodes.set(material.inputs["Geometry"], quads)
    nodes.set(material.inputs["Material"], _material(nodes, given))
    nodes.set(nodes.node("NodeGroupOutput").inputs[0], material.outputs["Geometry"])


class _Camera:
    """The scene's active camera in the splats' own space, and each splat's place before it.

    A panoramic camera has no image plane: each splat is seen by a camera of its own, which stands there and looks at it.
    """

    def __init__(self, nodes: GeometryBuilder, pixel, orthographic, panoramic) -> None:
        info = nodes.node("GeometryNodeObjectInfo", transform_space="RELATIVE")
        nodes.set(info.inputs["Object"], nodes.node("GeometryNodeInputActiveCamera").outputs[0])
        offset = nodes.vector("SUBTRACT", nodes.node("GeometryNodeInputPosition").outputs[0], info.outputs["Location"])
        turn = self._turn(nodes, info.outputs["Rotation"], offset, panoramic)
        self.right, self.up, self.back = (nodes.rotate(axis, turn) for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
        ray = nodes.node("ShaderNodeMix", data_type="VECTOR")
        nodes.set(enabled(ray.inputs, "Factor"), orthographic)
        nodes.set(enabled(ray.inputs, "A"), offset)
        nodes.set(enabled(ray.inputs, "B"), nodes.vector("SCALE", self.back, -1.0))
        self.ray = enabled(ray.outputs, "Result")
        """Towards the splat; its length does not matter."""
        self.along = nodes.vector("DOT_PRODUCT", self.ray, self.back)
        """Minus the distance along the camera's direction, or minus one where orthographic."""
        self.depth = nodes.math("MULTIPLY", nodes.vector("DOT_PRODUCT", offset, self.back), -1.0)
        self.cosine = nodes.math("DIVIDE", nodes.math("MULTIPLY", self.along, -1.0), nodes.vector("LENGTH", self.ray))
        wide = nodes.node("GeometryNodeSwitch", input_type="FLOAT")
        nodes.set(enabled(wide.inputs, "Switch"), _positive(nodes, panoramic))
        nodes.set(enabled(wide.inputs, "False"), pixel)
        nodes.set(enabled(wide.inputs, "True"), panoramic)
        self.pixel = nodes.math("MULTIPLY", enabled(wide.outputs, "Output"), self.along)
        """Size of a pixel at the splat, up to its sign."""

    @staticmethod
    def _turn(nodes: GeometryBuilder, turn, offset, panoramic):
        """The rotation of the camera, or of each splat's own where panoramic."""
        facing = nodes.node("FunctionNodeAxesToRotation", primary_axis="Z", secondary_axis="Y")
        nodes.set(facing.inputs["Primary Axis"], nodes.vector("SCALE", offset, -1.0))
        nodes.set(facing.inputs["Secondary Axis"], nodes.rotate((0, 1, 0), turn))
        chosen = nodes.node("GeometryNodeSwitch", input_type="ROTATION")
        nodes.set(enabled(chosen.inputs, "Switch"), _positive(nodes, panoramic))
        nodes.set(enabled(chosen.inputs, "False"), turn)
        nodes.set(enabled(chosen.inputs, "True"), facing.outputs[0])
        return enabled(chosen.outputs, "Output")


def _ellipse(nodes: GeometryBuilder, camera: _Camera):
    """Two conjugate half-axes of one standard deviation, and the extent to draw, in standard deviations."""
    rotation, scale = nodes.attribute("rotation", "QUATERNION"), nodes.attribute("scale", "FLOAT_VECTOR")
    low_pass = nodes.math("MULTIPLY", nodes.math("MULTIPLY", camera.pixel, camera.pixel), 0.3)
    xx, xy, yy = low_pass, 0.0, low_pass
    for axis, size in zip(((1, 0, 0), (0, 1, 0), (0, 0, 1)), nodes.separate(scale), strict=True):
        a = nodes.vector("SCALE", nodes.rotate(axis, rotation), size)
        lean = nodes.math("DIVIDE", nodes.vector("DOT_PRODUCT", a, camera.back), camera.along)
        seen = nodes.vector("SUBTRACT", a, nodes.vector("SCALE", camera.ray, lean))
        x, y = nodes.vector("DOT_PRODUCT", seen, camera.right), nodes.vector("DOT_PRODUCT", seen, camera.up)
        xx, xy, yy = nodes.math("MULTIPLY_ADD", x, x, xx), nodes.math("MULTIPLY_ADD", x, y, xy), nodes.math("MULTIPLY_ADD", y, y, yy)
    width = nodes.math("SQRT", xx)
    skew = nodes.math("DIVIDE", xy, width)
    height = nodes.math("SQRT", nodes.math("MAXIMUM", nodes.math("SUBTRACT", yy, nodes.math("MULTIPLY", skew, skew)), 1e-16))
    first = nodes.vector("ADD", nodes.vector("SCALE", camera.right, width), nodes.vector("SCALE", camera.up, skew))
    return first, nodes.vector("SCALE", camera.up, height), _extent(nodes)


def _positive(nodes: GeometryBuilder, number):
    """Whether a number is above 0."""
    above = nodes.node("FunctionNodeCompare", data_type="FLOAT", operation="GREATER_THAN")
    nodes.set(enabled(above.inputs, "A"), number)
    nodes.set(enabled(above.inputs, "B"), 0.0)
    return above.outputs[0]


def _plane(nodes: GeometryBuilder, normal, relight, camera: _Camera):
    """Normal of the quads' planes: the camera's axis or, where relit, the rig's normal, a little towards the camera.

    Cycles drops light that arrives from behind a face, whatever its shading normal, so relit quads lie in the surface.
    """
    facing = nodes.math("SIGN", nodes.math("MULTIPLY", nodes.vector("DOT_PRODUCT", normal, camera.ray), -1.0))
    leaning = nodes.vector("ADD", nodes.vector("SCALE", normal, facing), nodes.vector("SCALE", camera.back, TOWARDS_CAMERA))
    chosen = nodes.node("GeometryNodeSwitch", input_type="VECTOR")
    nodes.set(enabled(chosen.inputs, "Switch"), _positive(nodes, relight))
    nodes.set(enabled(chosen.inputs, "False"), camera.back)
    nodes.set(enabled(chosen.inputs, "True"), leaning)
    return enabled(chosen.outputs, "Output")


def _slid(nodes: GeometryBuilder, axis, plane, camera: _Camera):
    """A half-axis slid along the view until it lies in a plane: the camera sees it where it was."""
    way = nodes.math("DIVIDE", nodes.vector("DOT_PRODUCT", axis, plane), nodes.vector("DOT_PRODUCT", camera.ray, plane))
    return nodes.vector("SUBTRACT", axis, nodes.vector("SCALE", camera.ray, way))


def _opacity(nodes: GeometryBuilder):
    separate = nodes.node("FunctionNodeSeparateColor")
    nodes.set(separate.inputs[0], nodes.attribute(RADIANCE, "FLOAT_COLOR"))
    return separate.outputs["Alpha"]


def _graded(nodes: GeometryBuilder, given):
    """Scene-linear colour after exposure, tint and contrast about middle grey; alpha is the opacity."""
    gain = nodes.math("POWER", 2.0, nodes.math("SUBTRACT", given.outputs["Exposure"], given.outputs["View Exposure"]))
    tint = nodes.combine(*(given.outputs[f"Tint {channel}"] for channel in "RGB"))
    coloured = nodes.vector("SCALE", nodes.vector("MULTIPLY", scene_linear_colour(nodes), tint), nodes.math("DIVIDE", gain, MIDDLE_GREY))
    channels = [
        nodes.math("MULTIPLY", nodes.math("POWER", nodes.math("MAXIMUM", channel, 0.0), given.outputs["Contrast"]), MIDDLE_GREY)
        for channel in nodes.separate(coloured)
    ]
    colour = nodes.node("FunctionNodeCombineColor")
    for operand, name in zip((*channels, _opacity(nodes)), ("Red", "Green", "Blue", "Alpha"), strict=True):
        nodes.set(colour.inputs[name], operand)
    return colour.outputs[0]


def scene_linear_colour(nodes: GeometryBuilder):
    """The splats' colour in scene-linear light: as kept for the view transform; where nothing is kept yet, by sRGB's curve."""
    display = nodes.vector("MULTIPLY_ADD", nodes.attribute(RADIANCE, "FLOAT_VECTOR"), (SH_C0,) * 3, (0.5,) * 3)
    channels = []
    for channel in nodes.separate(display):
        above = nodes.math("MAXIMUM", nodes.math("DIVIDE", nodes.math("ADD", channel, 0.055), 1.055), 0.0)
        curve = nodes.math("POWER", above, 2.4)
        dark = nodes.math("LESS_THAN", channel, 0.04045)
        low = nodes.math("DIVIDE", nodes.math("MAXIMUM", channel, 0.0), 12.92)
        channels.append(nodes.math("MULTIPLY_ADD", dark, nodes.math("SUBTRACT", low, curve), curve))
    baked = nodes.node("GeometryNodeInputNamedAttribute", data_type="FLOAT_VECTOR")
    baked.inputs["Name"].default_value = LINEAR
    chosen = nodes.node("GeometryNodeSwitch", input_type="VECTOR")
    nodes.set(enabled(chosen.inputs, "Switch"), enabled(baked.outputs, "Exists"))
    nodes.set(enabled(chosen.inputs, "False"), nodes.combine(*channels))
    nodes.set(enabled(chosen.inputs, "True"), enabled(baked.outputs, "Attribute"))
    return enabled(chosen.outputs, "Output")


def surface_normal(nodes: GeometryBuilder):
    """The rig's normal at the splat: its rest normal, turned as the splat's triangle has turned."""
    back = nodes.node("FunctionNodeInvertRotation")
    nodes.set(back.inputs[0], nodes.attribute(LOCAL_ROTATION, "QUATERNION"))
    turn = nodes.node("FunctionNodeRotateRotation", rotation_space="LOCAL")
    nodes.set(turn.inputs["Rotation"], nodes.attribute("rotation", "QUATERNION"))
    nodes.set(turn.inputs["Rotate By"], back.outputs[0])
    return nodes.rotate(nodes.attribute(LOCAL_NORMAL, "FLOAT_VECTOR"), turn.outputs[0])


def _material(nodes: GeometryBuilder, given):
    chosen = nodes.node("GeometryNodeSwitch", input_type="MATERIAL")
    nodes.set(enabled(chosen.inputs, "Switch"), _positive(nodes, given.outputs["Relight"]))
    nodes.set(enabled(chosen.inputs, "False"), given.outputs["Material"])
    nodes.set(enabled(chosen.inputs, "True"), given.outputs["Relit Material"])
    return enabled(chosen.outputs, "Output")


def _extent(nodes: GeometryBuilder):
    """Where opacity falls under 1/255, at most 3.33 standard deviations."""
    visible = nodes.math("MAXIMUM", nodes.math("MULTIPLY", _opacity(nodes), 255.0), 1.0)
    natural = nodes.math("LOGARITHM", visible, 2.718281828)
    return nodes.math("MINIMUM", nodes.math("SQRT", nodes.math("MULTIPLY", natural, 2.0)), LARGEST_EXTENT)


def _kept(nodes: GeometryBuilder, splats, camera: _Camera, workbench):
    """Leave out what is invisible or beside the camera, where the affine projection does not hold; all where Workbench renders.

    Workbench knows no opacity within a face: quads would be a silhouette in one colour.
    """
    reasons = (
        (nodes.math("SUBTRACT", 0.5, workbench), 0.0),
        (camera.depth, NEAREST),
        (camera.cosine, STEEPEST),
        (_opacity(nodes), 1 / 255),
    )
    gone = None
    for value, least in reasons:
        below = nodes.node("FunctionNodeCompare", data_type="FLOAT", operation="LESS_THAN")
        nodes.set(enabled(below.inputs, "A"), value)
        nodes.set(enabled(below.inputs, "B"), least)
        if gone is None:
            gone = below.outputs[0]
            continue
        either = nodes.node("FunctionNodeBooleanMath", operation="OR")
        nodes.set(either.inputs[0], gone)
        nodes.set(either.inputs[1], below.outputs[0])
        gone = either.outputs[0]
    delete = nodes.node("GeometryNodeDeleteGeometry", domain="POINT")
    nodes.set(delete.inputs["Geometry"], splats)
    nodes.set(delete.inputs["Selection"], gone)
    return delete.outputs["Geometry"]


def _instances(nodes: GeometryBuilder, splats, first, second, camera: _Camera):
    """Real quads with corners centre +- first +- second; the splats' attributes go with them."""
    grid = nodes.node("GeometryNodeMeshGrid")
    for name, value in (("Size X", 2.0), ("Size Y", 2.0), ("Vertices X", 2), ("Vertices Y", 2)):
        grid.inputs[name].default_value = value
    square = nodes.store(grid.outputs["Mesh"], CORNER, "FLOAT_VECTOR", nodes.node("GeometryNodeInputPosition").outputs[0])
    matrix = nodes.node("FunctionNodeCombineMatrix")
    columns = (first, second, camera.back, nodes.node("GeometryNodeInputPosition").outputs[0])
    for column, vector in enumerate(columns):
        for row, component in enumerate(nodes.separate(vector)):
            nodes.set(matrix.inputs[f"Column {column + 1} Row {row + 1}"], component)
    # Instances know the points' attributes and positions, but a field is evaluated where it is used: capture it on the points.
    capture = nodes.node("GeometryNodeCaptureAttribute", domain="POINT")
    nodes.set(capture.inputs["Geometry"], splats)
    capture.capture_items.new("MATRIX", "Frame")
    nodes.set(capture.inputs["Frame"], matrix.outputs[0])
    instances = nodes.node("GeometryNodeInstanceOnPoints")
    nodes.set(instances.inputs["Points"], capture.outputs["Geometry"])
    nodes.set(instances.inputs["Instance"], square)
    placed = nodes.node("GeometryNodeSetInstanceTransform")
    nodes.set(placed.inputs["Instances"], instances.outputs["Instances"])
    nodes.set(placed.inputs["Transform"], capture.outputs["Frame"])
    slim = placed.outputs["Instances"]
    for name in UNUSED:  # before each becomes four
        removal = nodes.node("GeometryNodeRemoveAttribute")
        nodes.set(removal.inputs["Geometry"], slim)
        removal.inputs["Name"].default_value = name
        slim = removal.outputs["Geometry"]
    real = nodes.node("GeometryNodeRealizeInstances")
    nodes.set(real.inputs["Geometry"], slim)
    return real.outputs["Geometry"]
