"""Colours that follow the face, evaluated natively: `protocol.color_basis` as nodes and drivers, without Python when played.

Each splat has its patterns as attributes. The weights of the patterns are inputs of one modifier after the binding, driven by sums
of shape keys' values and of the jaw's rotation that Blender calls simple. A long sum is spread over several inputs, because a
driver's expression has at most 255 characters. The modifier writes the posed colour as the radiance and, with the view transform's
slope at each splat's colour (`rendering.colour`), as the scene-linear colour of final frames.
"""

from __future__ import annotations

import json
from string import ascii_lowercase

import bpy
import numpy as np

from ..protocol import ColorBasis
from ..protocol.avatar import F32, SH_C0
from ..protocol.color_basis import JOINT_AXIS
from ..rendering.node_building import GeometryBuilder
from ..rendering.quads import LINEAR, scene_linear_colour
from .binding_nodes import MODIFIER_NAME as BINDING
from .host import LINEAR_CURVE, LINEAR_SLOPE, PATTERN, RADIANCE, pattern_count

MODIFIER_NAME = GROUP_NAME = "Lookalike Colour"
GROUP_VERSION = 1
LONGEST = 250
"""Characters of a driver's expression; Blender keeps 255."""

_VERSION_KEY = "lookalike_colour_version"
_BASIS = "lookalike_color_basis"

Term = tuple[float, str]
"""Factor and control."""


def set_color_basis(obj: bpy.types.Object, head: bpy.types.Object, basis: ColorBasis | None) -> None:
    """Let the colours of a splat object follow its rig mesh; one without patterns, or None, has them stand still."""
    remove_color_basis(obj)
    count = pattern_count(obj.data)
    if basis is None or not count:
        return
    obj[_BASIS] = json.dumps({"controls": basis.controls, "mixing": np.asarray(basis.mixing, float).tolist()})
    sums = [parts_of(basis.controls, row) for row in basis.mixing[:count]]
    parts = max(len(each) for each in sums)
    modifier = obj.modifiers.new(MODIFIER_NAME, "NODES")
    modifier.node_group = colour_group(count, parts, obj.type == "MESH")
    modifier.show_expanded = False
    obj.modifiers.move(len(obj.modifiers) - 1, obj.modifiers.find(BINDING) + 1)
    for k, each in enumerate(sums):
        for p, terms in enumerate(each):
            _drive(obj, _input_path(modifier, _input(k, p)), head, terms)


def remove_color_basis(obj: bpy.types.Object) -> None:
    """Undo `set_color_basis`; the patterns stay."""
    obj.pop(_BASIS, None)
    modifier = obj.modifiers.get(MODIFIER_NAME)
    if modifier is not None:
        path = f'modifiers["{MODIFIER_NAME}"]'
        for curve in list(obj.animation_data.drivers) if obj.animation_data is not None else ():
            if curve.data_path.startswith(path):
                obj.animation_data.drivers.remove(curve)
        obj.modifiers.remove(modifier)


def color_basis_of(obj: bpy.types.Object) -> ColorBasis | None:
    """What `set_color_basis` was given, or None."""
    text = obj.get(_BASIS)
    if not text:
        return None
    told = json.loads(text)
    return ColorBasis(tuple(told["controls"]), np.array(told["mixing"], np.float32))


def follows_face(obj: bpy.types.Object) -> bool:
    """Whether the colours of a splat object change with the face."""
    return MODIFIER_NAME in obj.modifiers


def parts_of(controls: tuple[str, ...], row: F32) -> list[list[Term]]:
    """The terms of one weight, in parts that fit a driver's expression; at least one, which may be empty."""
    parts: list[list[Term]] = [[]]
    for name, factor in zip(controls, row.tolist(), strict=True):
        if factor == 0:
            continue
        if len(parts[-1]) == len(ascii_lowercase) or len(expression_of([*parts[-1], (factor, name)])) > LONGEST:
            parts.append([])
        parts[-1].append((factor, name))
    return parts


def expression_of(terms: list[Term]) -> str:
    """The sum as a driver's expression: a variable a term, in order."""
    return "+".join(f"{factor:.4g}*{letter}" for (factor, _), letter in zip(terms, ascii_lowercase, strict=False)) or "0.0"


def colour_group(patterns: int, parts: int, radiance: bool) -> bpy.types.GeometryNodeTree:
    """The shared group for so many patterns, each weight a sum of so many inputs.

    Args:
        radiance: whether to write it. Blender's own splats (5.3) keep theirs in four numbers, which no node writes; there only the
            scene-linear colour follows, which *Use Look* shows.
    """
    wanted = f"{GROUP_VERSION} {patterns} {parts} {radiance}"
    for group in bpy.data.node_groups:
        if group.get(_VERSION_KEY) == wanted and group.library is None:
            return group
    group = bpy.data.node_groups.new(GROUP_NAME, "GeometryNodeTree")
    group.is_modifier = True
    _build(group, patterns, parts, radiance)
    group[_VERSION_KEY] = wanted
    return group


def _build(group: bpy.types.GeometryNodeTree, patterns: int, parts: int, radiance: bool) -> None:
    socket = group.interface.new_socket
    socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    for k in range(patterns):
        for p in range(parts):
            socket(_input(k, p), in_out="INPUT", socket_type="NodeSocketFloat")
    socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    nodes = GeometryBuilder(group)
    given = nodes.node("NodeGroupInput")
    change = None
    for k in range(patterns):
        weight = given.outputs[_input(k, 0)]
        for p in range(1, parts):
            weight = nodes.math("ADD", weight, given.outputs[_input(k, p)])
        own = nodes.vector("SCALE", nodes.attribute(f"{PATTERN}{k}", "FLOAT_VECTOR"), weight)
        change = own if change is None else nodes.vector("ADD", change, own)
    # Both are stored as captured values: the second must not see what the first has written.
    capture = nodes.node("GeometryNodeCaptureAttribute", domain="POINT")
    nodes.set(capture.inputs["Geometry"], given.outputs["Geometry"])
    fields = {"Linear": ("VECTOR", _linear(nodes, change))} | ({"Radiance": ("RGBA", _radiance(nodes, change))} if radiance else {})
    for name, (kind, value) in fields.items():
        capture.capture_items.new(kind, name)
        nodes.set(capture.inputs[name], value)
    stored = nodes.store(capture.outputs["Geometry"], LINEAR, "FLOAT_VECTOR", capture.outputs["Linear"])
    if radiance:
        stored = nodes.store(stored, RADIANCE, "FLOAT_COLOR", capture.outputs["Radiance"])
    for name in (*(f"{PATTERN}{k}" for k in range(patterns)), *LINEAR_SLOPE, *LINEAR_CURVE):  # quads would have them four times
        removal = nodes.node("GeometryNodeRemoveAttribute")
        nodes.set(removal.inputs["Geometry"], stored)
        removal.inputs["Name"].default_value = name
        stored = removal.outputs["Geometry"]
    nodes.set(nodes.node("NodeGroupOutput").inputs[0], stored)


def _radiance(nodes: GeometryBuilder, change):
    """Degree-0 harmonics of the posed colour; the opacity stays."""
    separate = nodes.node("FunctionNodeSeparateColor")
    nodes.set(separate.inputs[0], nodes.attribute(RADIANCE, "FLOAT_COLOR"))
    colour = nodes.node("FunctionNodeCombineColor")
    for name, moved in zip(("Red", "Green", "Blue"), nodes.separate(change), strict=True):
        nodes.set(colour.inputs[name], nodes.math("ADD", separate.outputs[name], moved))
    nodes.set(colour.inputs["Alpha"], separate.outputs["Alpha"])
    return colour.outputs[0]


def _linear(nodes: GeometryBuilder, change):
    """Scene-linear colour of the posed one: a parabola for each displayed channel about the splat's own colour."""
    moved = scene_linear_colour(nodes)
    for channel, slope, curve in zip(nodes.separate(nodes.vector("SCALE", change, SH_C0)), LINEAR_SLOPE, LINEAR_CURVE, strict=True):
        bent = nodes.vector("SCALE", nodes.attribute(curve, "FLOAT_VECTOR"), channel)
        growth = nodes.vector("ADD", nodes.attribute(slope, "FLOAT_VECTOR"), bent)
        moved = nodes.vector("ADD", moved, nodes.vector("SCALE", growth, channel))
    return nodes.vector("MAXIMUM", moved, (0.0, 0.0, 0.0))


def _input(pattern: int, part: int) -> str:
    return f"Weight {pattern + 1}" + (f".{part + 1}" if part else "")


def _input_path(modifier: bpy.types.NodesModifier, name: str) -> str:
    from ..rendering.modifier import input_path

    return input_path(modifier, name)


def _drive(obj: bpy.types.Object, path: str, head: bpy.types.Object, terms: list[Term]) -> None:
    driver = obj.driver_add(path).driver
    driver.type = "SCRIPTED"
    keys = head.data.shape_keys.key_blocks if head.data.shape_keys is not None else {}
    for letter, (_, control) in zip(ascii_lowercase, terms, strict=False):
        variable = driver.variables.new()
        variable.name = letter
        if control in keys:
            variable.type = "SINGLE_PROP"
            # Through the object, not its keys: copies of an avatar are told apart by their objects.
            variable.targets[0].id = head
            variable.targets[0].data_path = f'data.shape_keys.key_blocks["{bpy.utils.escape_identifier(control)}"].value'
        else:
            variable.type = "TRANSFORMS"
            target = variable.targets[0]
            target.id, target.bone_target = head.parent, control.removesuffix(JOINT_AXIS)
            target.transform_type, target.transform_space, target.rotation_mode = "ROT_X", "LOCAL_SPACE", "XYZ"
    driver.expression = expression_of(terms)


def current_weights(obj: bpy.types.Object, head: bpy.types.Object, joint_names: tuple[str, ...], pose: F32) -> F32 | None:
    """[K] weights of a splat object's patterns as its rig stands now, hidden or not; None where its colours stand still.

    Args:
        pose: [J, 3] of `joint_names`, axis-angle, radians.
    """
    basis = color_basis_of(obj)
    if basis is None:
        return None
    keys = head.data.shape_keys.key_blocks if head.data.shape_keys is not None else ()
    return basis.weights(joint_names, {key.name: key.value for key in keys}, pose)
