"""Splats that change by frame: one object that shows, of the splats kept for each frame, those of the scene's frame.

The splats of every frame belong to objects of a collection that no scene shows. A Geometry Nodes modifier takes these objects as
instances (references: nothing is copied), keeps the one whose turn it is, and makes it real. No Python runs and nothing is read when
a frame is played or rendered, in any order. Start, Speed and Cyclic are inputs of the modifier: they can be keyed and driven.
"""

from __future__ import annotations

import bpy

from ..rendering.node_building import GeometryBuilder, enabled
from .binding_nodes import get_input, set_input

GROUP_NAME = "Lookalike Sequence"
GROUP_VERSION = 1
MODIFIER_NAME = "Lookalike Sequence"
_VERSION_KEY = "lookalike_sequence_version"
_PREFIX = 6
"""Digits of a frame's number in the name of its object: instances come in the order of names."""


def play_frames(obj: bpy.types.Object, frames: list[bpy.types.ID], start: float, speed: float, cyclic: bool = False) -> None:
    """Let an object show one data-block after the other; the same one may be given for several frames.

    Args:
        start: the scene's frame that shows the first.
        speed: how many of `frames` pass in one frame of the scene.
        cyclic: begin anew at the end, and before the start; otherwise the last and the first are held.
    """
    holder = bpy.data.collections.new(f"{obj.name}.frames")
    for number, data in enumerate(frames):
        each = bpy.data.objects.new(f"{number:0{_PREFIX}d} {obj.name}", data)
        holder.objects.link(each)
    modifier = obj.modifiers.get(MODIFIER_NAME) or obj.modifiers.new(MODIFIER_NAME, "NODES")
    modifier.node_group = _sequence_group()
    set_input(modifier, "Frames", holder)
    set_input(modifier, "Count", len(frames))
    set_input(modifier, "Start", float(start))
    set_input(modifier, "Speed", float(speed))
    set_input(modifier, "Cyclic", cyclic)


def plays(obj: bpy.types.Object) -> bool:
    """Whether an object shows other splats at other frames. A microsecond."""
    return MODIFIER_NAME in obj.modifiers


def frames_of(obj: bpy.types.Object) -> list[bpy.types.ID]:
    """The data-blocks that an object plays, each once, in order; its own where it plays none."""
    modifier = obj.modifiers.get(MODIFIER_NAME)
    if modifier is None or modifier.type != "NODES" or modifier.node_group is None:
        return [obj.data]
    holder = get_input(modifier, "Frames")
    found = sorted(holder.objects, key=lambda each: each.name) if holder is not None else []
    return list(dict.fromkeys(each.data for each in found if each.data is not None)) or [obj.data]


def _sequence_group() -> bpy.types.GeometryNodeTree:
    """The shared node group of this version."""
    for group in bpy.data.node_groups:
        if group.get(_VERSION_KEY) == GROUP_VERSION and group.library is None:
            return group
    group = bpy.data.node_groups.new(GROUP_NAME, "GeometryNodeTree")
    group.is_modifier = True
    _build(group)
    group[_VERSION_KEY] = GROUP_VERSION
    return group


def _build(group: bpy.types.GeometryNodeTree) -> None:
    socket = group.interface.new_socket
    socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    socket("Frames", in_out="INPUT", socket_type="NodeSocketCollection")
    socket("Count", in_out="INPUT", socket_type="NodeSocketInt").default_value = 1
    socket("Start", in_out="INPUT", socket_type="NodeSocketFloat").default_value = 1.0
    socket("Speed", in_out="INPUT", socket_type="NodeSocketFloat").default_value = 1.0
    socket("Cyclic", in_out="INPUT", socket_type="NodeSocketBool")
    socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    nodes = GeometryBuilder(group)
    given = nodes.node("NodeGroupInput").outputs
    info = nodes.node("GeometryNodeCollectionInfo", transform_space="ORIGINAL")
    nodes.set(info.inputs["Collection"], given["Frames"])
    nodes.set(info.inputs["Separate Children"], True)
    kept = nodes.node("GeometryNodeSeparateGeometry", domain="INSTANCE")
    nodes.set(kept.inputs["Geometry"], enabled(info.outputs, "Instances"))
    nodes.set(kept.inputs["Selection"], _is_turn(nodes, _turn(nodes, given)))
    real = nodes.node("GeometryNodeRealizeInstances")
    nodes.set(real.inputs["Geometry"], kept.outputs["Selection"])
    nodes.set(nodes.node("NodeGroupOutput").inputs[0], real.outputs["Geometry"])


def _turn(nodes: GeometryBuilder, given):
    """Which of the frames is shown now, from 0."""
    now = enabled(nodes.node("GeometryNodeInputSceneTime").outputs, "Frame")
    passed = nodes.math("MULTIPLY", nodes.math("SUBTRACT", now, given["Start"]), given["Speed"])
    # Speeds such as 1/3 are not exact: a frame's own moment must not fall below it.
    number = nodes.math("FLOOR", nodes.math("ADD", passed, 1e-4))
    last = nodes.math("SUBTRACT", given["Count"], 1.0)
    held = nodes.math("MINIMUM", nodes.math("MAXIMUM", number, 0.0), last)
    wrapped = nodes.math("WRAP", number, given["Count"], 0.0)
    choice = nodes.node("GeometryNodeSwitch", input_type="FLOAT")
    nodes.set(enabled(choice.inputs, "Switch"), given["Cyclic"])
    nodes.set(enabled(choice.inputs, "False"), held)
    nodes.set(enabled(choice.inputs, "True"), wrapped)
    return enabled(choice.outputs, "Output")


def _is_turn(nodes: GeometryBuilder, turn):
    """Whether an instance's number is the turn's."""
    same = nodes.node("FunctionNodeCompare", data_type="FLOAT", operation="EQUAL")
    nodes.set(enabled(same.inputs, "A"), nodes.node("GeometryNodeInputIndex").outputs[0])
    nodes.set(enabled(same.inputs, "B"), turn)
    nodes.set(enabled(same.inputs, "Epsilon"), 0.5)
    return same.outputs[0]
