"""Files of other programs: splats of the scene out to .ply, .spz, .glb and LAM's web zip, and splat files in.

The formats themselves are in `protocol.interchange`, which has no bpy; here they meet data-blocks.
"""

from typing import TYPE_CHECKING

from ..lazy_names import loader

if TYPE_CHECKING:
    from .assets import set_preview
    from .cloud_objects import cloud_object, read_cloud_object
    from .exporting import export_glb, export_lam, export_sequence, export_splats
    from .importing import attach_to_head, detach, import_lam, import_splats
    from .motion_export import export_motion
    from .posed import posed_cloud, posed_splats
    from .refined_sequence import add_refined_sequence
    from .sequences import import_sequence

__all__ = [
    "add_refined_sequence",
    "attach_to_head",
    "cloud_object",
    "detach",
    "export_glb",
    "export_lam",
    "export_motion",
    "export_sequence",
    "export_splats",
    "import_lam",
    "import_sequence",
    "import_splats",
    "posed_cloud",
    "posed_splats",
    "read_cloud_object",
    "set_preview",
]

_HOMES = {
    "assets": "set_preview",
    "cloud_objects": "cloud_object read_cloud_object",
    "exporting": "export_glb export_lam export_sequence export_splats",
    "importing": "attach_to_head detach import_lam import_splats",
    "motion_export": "export_motion",
    "posed": "posed_cloud posed_splats",
    "refined_sequence": "add_refined_sequence",
    "sequences": "import_sequence",
}
"""Module -> the public names that it defines; loaded when first used, so that registering does not wait for numpy."""


__getattr__ = loader(__name__, _HOMES)
