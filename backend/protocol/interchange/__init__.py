"""Files of other programs, as bytes and arrays: 3DGS .ply, Niantic .spz, glTF with KHR_gaussian_splatting, LAM's web zip.

numpy only and no bpy: the backend's command line and the Blender add-on share these modules. Readers treat every file as
hostile: sizes are checked before anything is allocated, and whatever is wrong is an `AvatarFileError` that names the file.
"""

from .cloud import Axes, SplatCloud, half_turn, turn_cloud
from .gltf_reader import decode_glb
from .gltf_writer import encode_glb
from .lam import decode_lam, encode_lam
from .ply import decode_ply, encode_ply
from .reading import read_bytes, read_cloud
from .spz import decode_spz, encode_spz

__all__ = [
    "Axes",
    "SplatCloud",
    "decode_glb",
    "decode_lam",
    "decode_ply",
    "decode_spz",
    "encode_glb",
    "encode_lam",
    "encode_ply",
    "encode_spz",
    "half_turn",
    "read_bytes",
    "read_cloud",
    "turn_cloud",
]
