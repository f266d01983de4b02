"""The contract that the backend and the Blender add-on share: avatars as arrays, their file, and the wire. numpy, pyzmq and safetensors at most; relative imports only, because the extension carries a copy."""

from .avatar import SH_C0, Avatar, Driver, RigArrays, SplatArrays
from .avatar_file import FORMAT_VERSION, SUFFIX, decode_avatar, encode_avatar, read_avatar, write_avatar
from .binding import LocalSplats, TriangleFrames, bind, deform, triangle_frames
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
