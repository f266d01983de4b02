"""What makes the rig mesh unseen: there to be clicked on, outlined when selected and deformed, never to be drawn."""

from __future__ import annotations

import bpy

NAME = "lookalike.invisible"
UNSEEN = "lookalike.unseen"


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


def hide_surface(obj: bpy.types.Object) -> None:
    """Keep Blender's engines from drawing a mesh object, without hiding the object.

    A transparent material alone leaves two traces in Solid mode: the outline that it draws around every object, and
    the mesh in the depth buffer, where it cuts holes into splats that lie behind it. Only instancers may hide their own
    surface ("Show Instancer" off), and a particle system without particles, switched off, makes one of any object. Other
    instancers would copy children onto the mesh. Clicking and the outline of selected objects do not heed that flag.
    """
    if UNSEEN not in (modifier.name for modifier in obj.modifiers):
        modifier = obj.modifiers.new(UNSEEN, "PARTICLE_SYSTEM")
        modifier.show_viewport = modifier.show_render = modifier.show_expanded = False
        system = obj.particle_systems[-1]
        system.name = UNSEEN
        made, system.settings = system.settings, _no_particles(system.settings)
        if made.users == 0:
            bpy.data.particles.remove(made)
    obj.show_instancer_for_viewport = obj.show_instancer_for_render = False


def _no_particles(new: bpy.types.ParticleSettings) -> bpy.types.ParticleSettings:
    """The settings that all avatars of the file share: the existing ones, or `new` made into them."""
    existing = bpy.data.particles.get((UNSEEN, None)) if UNSEEN in bpy.data.particles else None
    if existing is not None:
        return existing
    new.name, new.count, new.render_type = UNSEEN, 0, "NONE"
    return new
