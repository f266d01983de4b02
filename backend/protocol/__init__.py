"""The contract that the backend and the Blender add-on share: avatars as arrays, their file, and the wire.

It needs numpy, pyzmq and safetensors at most, and has relative imports only, because the extension carries a copy.
The wire's own modules (`messages`, `frames`, `arrays`, `payload`, `keys`, `connection`, `launch`) are imported by
name, so that reading a file needs no socket library.
"""

from .avatar import SH_C0, Avatar, Driver, RigArrays, SplatArrays
from .avatar_file import FORMAT_VERSION, SUFFIX, decode_avatar, encode_avatar, read_avatar, write_avatar
from .binding import LocalSplats, TriangleFrames, bind, deform, triangle_frames
from .color_basis import ColorBasis, tinted
from .errors import (
    AvatarFileError,
    BackendError,
    Cancelled,
    FaceError,
    ImageError,
    LookalikeError,
    ProtocolError,
    RigError,
    WeightsError,
)

__all__ = [
    "FORMAT_VERSION",
    "SH_C0",
    "SUFFIX",
    "Avatar",
    "AvatarFileError",
    "BackendError",
    "Cancelled",
    "ColorBasis",
    "Driver",
    "FaceError",
    "ImageError",
    "LocalSplats",
    "LookalikeError",
    "ProtocolError",
    "RigArrays",
    "RigError",
    "SplatArrays",
    "TriangleFrames",
    "WeightsError",
    "bind",
    "decode_avatar",
    "deform",
    "encode_avatar",
    "read_avatar",
    "tinted",
    "triangle_frames",
    "write_avatar",
]
