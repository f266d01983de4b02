"""Files of other programs: splats of the scene out to .ply, .spz, .glb and LAM's web zip, and splat files in.

The formats themselves are in `protocol.interchange`, which has no bpy; here they meet data-blocks.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cloud_objects import cloud_object, read_cloud_object
    from .exporting import export_glb, export_lam, export_sequence, export_splats
    from .importing import attach_to_head, detach, import_lam, import_splats
    from .posed import posed_cloud, posed_splats

__all__ = [
    "attach_to_head",
    "cloud_object",
    "detach",
    "export_glb",
    "export_lam",
    "export_sequence",
    "export_splats",
    "import_lam",
    "import_splats",
    "posed_cloud",
    "posed_splats",
    "read_cloud_object",
]

_HOMES = {
    "cloud_objects": "cloud_object read_cloud_object",
    "exporting": "export_glb export_lam export_sequence export_splats",
    "importing": "attach_to_head detach import_lam import_splats",
    "posed": "posed_cloud posed_splats",
}
"""Module -> the public names that it defines; loaded when first used, so that registering does not wait for numpy."""


def __getattr__(name: str) -> object:
    home = next((module for module, names in _HOMES.items() if name in names.split()), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{home}", __name__), name)
    return value
