"""The materials of the quads that splats become for rendering: emitted light, or partly lit by the scene."""

from __future__ import annotations

import bpy

from .node_building import NodeBuilder
from .quads import CORNER, LIGHT, NORMAL, PLACE

VERSION = 2
_VERSION_KEY = "lookalike_version"
EMITTED, RELIT = "lookalike.splats", "lookalike.splats.relit"


def splat_material(name: str) -> bpy.types.Material:
    """`EMITTED` or `RELIT`, shared by all avatars of the file."""
    for material in bpy.data.materials:
        if material.get(_VERSION_KEY) == f"{name} {VERSION}" and material.library is None:
            return material
    material = bpy.data.materials.new(name)
    material[_VERSION_KEY] = f"{name} {VERSION}"
    if material.node_tree is None:  # up to Blender 4.5; later every material has nodes
        material.use_nodes = True
    # Splats overlap in no order that a mesh could keep: EEVEE tests each sample at random and so needs none.
    material.surface_render_method = "DITHERED"
    material.diffuse_color = (1.0, 1.0, 1.0, 0.0)
    if hasattr(material, "cycles"):
        material.cycles.emission_sampling = "NONE"
        material.cycles.use_bump_map_correction = False  # the normal is the rig's, not the quad's
    _build(material.node_tree, relit=name == RELIT)
    return material


def _build(tree: bpy.types.ShaderNodeTree, relit: bool) -> None:
    tree.nodes.clear()
    nodes = NodeBuilder(tree)
    light = nodes.node("ShaderNodeAttribute", attribute_name=LIGHT)
    surface = nodes.node("ShaderNodeEmission")
    nodes.set(surface.inputs["Color"], light.outputs["Color"])
    clear = nodes.node("ShaderNodeBsdfTransparent").outputs[0]
    alpha = _alpha(nodes, light.outputs["Alpha"])
    if not relit:
        _output(nodes, mixed(nodes, alpha, clear, surface.outputs[0]))
        return
    strength = nodes.separate(_attribute(nodes, PLACE))[1]
    seen = mixed(nodes, strength, surface.outputs[0], lit(nodes, light.outputs["Color"]))
    _output(nodes, mixed(nodes, alpha, clear, seen), "EEVEE")
    _output(nodes, mixed(nodes, _whole(nodes, alpha), clear, seen), "CYCLES")


def _output(nodes: NodeBuilder, shader, target: str = "ALL") -> None:
    output = nodes.node("ShaderNodeOutputMaterial", target=target)
    nodes.set(output.inputs["Surface"], shader)


def _whole(nodes: NodeBuilder, alpha):
    """1 with probability `alpha`, else 0: each ray of Cycles meets a splat wholly or not at all.

    Where a surface both lets pass and reflects, Cycles goes on with one of the two by chance, and what lies behind is missing in
    the samples that it reflects: splats of middling opacity flicker between half and whole. Met wholly or not, each ray sees one
    splat's full light, and only their differences are noise (stochastic transparency, Enderton et al. 2010).
    """
    chance = nodes.node("ShaderNodeTexWhiteNoise", noise_dimensions="3D")
    nodes.set(chance.inputs["Vector"], nodes.node("ShaderNodeNewGeometry").outputs["Position"])
    return nodes.math("LESS_THAN", chance.outputs["Value"], alpha)


def _alpha(nodes: NodeBuilder, opacity):
    """opacity exp(-extent^2 (x^2 + y^2) / 2), at most 0.999, and nothing under 1/255: gsplat's limits."""
    corner, extent = _attribute(nodes, CORNER), nodes.separate(_attribute(nodes, PLACE))[0]
    squared = nodes.math("MULTIPLY", nodes.vector("DOT_PRODUCT", corner, corner), nodes.math("MULTIPLY", extent, extent))
    falloff = nodes.math("EXPONENT", nodes.math("MULTIPLY", squared, -0.5))
    alpha = nodes.math("MINIMUM", nodes.math("MULTIPLY", opacity, falloff), 0.999)
    return nodes.math("MULTIPLY", alpha, nodes.math("GREATER_THAN", alpha, 1 / 255))


def lit(nodes: NodeBuilder, colour):
    """Diffuse light on the rig's surface."""
    place = nodes.node("ShaderNodeVectorTransform", vector_type="NORMAL", convert_from="OBJECT", convert_to="WORLD")
    nodes.set(place.inputs[0], _attribute(nodes, NORMAL))
    diffuse = nodes.node("ShaderNodeBsdfDiffuse")
    nodes.set(diffuse.inputs["Color"], colour)
    nodes.set(diffuse.inputs["Normal"], place.outputs[0])
    return diffuse.outputs[0]


def mixed(nodes: NodeBuilder, factor, first, second):
    """Of two shaders."""
    mix = nodes.node("ShaderNodeMixShader")
    for socket, operand in zip(mix.inputs, (factor, first, second), strict=True):
        nodes.set(socket, operand)
    return mix.outputs[0]


def _attribute(nodes: NodeBuilder, name: str):
    return nodes.node("ShaderNodeAttribute", attribute_name=name).outputs["Vector"]
