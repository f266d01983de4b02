"""The material of the rig mesh: there to be clicked on and deformed, never to be seen."""

from __future__ import annotations

import bpy

NAME = "lookalike.invisible"


def invisible_material() -> bpy.types.Material:
    """A fully transparent material, shared by all avatars of the file.

    Workbench takes the alpha of the viewport colour, EEVEE and Cycles the transparent shader. Wireframe display or a
    bounding box would be seen beside the splats, and a hidden object could neither be clicked on nor show its keys.
    """
    existing = bpy.data.materials.get((NAME, None)) if NAME in bpy.data.materials else None
    if existing is not None:
        return existing
    material = bpy.data.materials.new(NAME)
    material.diffuse_color = (1.0, 1.0, 1.0, 0.0)
    material.surface_render_method = "BLENDED"
    if material.node_tree is None:  # up to Blender 4.5; later every material has nodes
        material.use_nodes = True
    nodes = material.node_tree.nodes
    nodes.clear()
    output, clear = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeBsdfTransparent")
    material.node_tree.links.new(clear.outputs["BSDF"], output.inputs["Surface"])
    return material
