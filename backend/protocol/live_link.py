"""Epic's Live Link Face over UDP, protocol 6: one packet a frame, 52 shapes and nine angles as big-endian floats.

The phone app sends it, `lookalike live` sends it from a webcam, the add-on receives both.

uint8 version | int32 length, device id | int32 length, subject |
int32 frame, float32 subframe | int32 rate, int32 of | uint8 61 | 61 float32
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from .errors import ProtocolError

VERSION = 6
SHAPES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft", "eyeWideLeft",
    "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight",
    "jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRight", "mouthLeft",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""In the packet's order; the head's yaw, pitch and roll and the eyes' follow."""
VALUES = 61
MAX_PACKET = 1024
_TAIL = struct.Struct(">if2iB")


@dataclass(frozen=True)
class Packet:
    """One frame of a face.

    Attributes:
        subject: the phone's name for it.
        time: seconds, by the sender's timecode.
        weights: of SHAPES.
        angles: the head's yaw, pitch and roll, radians.
    """

    subject: str
    time: float
    weights: tuple[float, ...]
    angles: tuple[float, float, float]


def read_packet(data: bytes) -> Packet | None:
    """A packet's frame; None for one without a face, which the app sends when it sees none.

    Raises:
        ProtocolError: not such a packet.
    """
    if not 1 < len(data) <= MAX_PACKET or data[0] != VERSION:
        raise ProtocolError("not a packet of Live Link Face", "use the app's Live Link (ARKit) mode")
    try:
        _, at = _text(data, 1)
        subject, at = _text(data, at)
        if len(data) < at + _TAIL.size:
            return None
        frame, part, rate, over, count = _TAIL.unpack_from(data, at)
        values = struct.unpack_from(f">{VALUES}f", data, at + _TAIL.size)
    except struct.error as error:
        raise ProtocolError(f"a torn packet of Live Link Face ({error})") from error
    if count != VALUES or rate <= 0 or over <= 0 or not all(map(math.isfinite, (*values, part))):
        raise ProtocolError("a packet of Live Link Face with other contents than a face")
    return Packet(subject, (frame + part) * over / rate, values[: len(SHAPES)], values[len(SHAPES) : len(SHAPES) + 3])


def _text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">i", data, at)
    if not 0 <= length <= 255 or at + 4 + length > len(data):
        raise ProtocolError("a torn packet of Live Link Face")
    return data[at + 4 : at + 4 + length].decode("utf-8", "replace"), at + 4 + length


def write_packet(packet: Packet, rate: int = 60, device: str = "lookalike") -> bytes:
    """The bytes of a packet, as the app sends them."""
    texts = b"".join(struct.pack(">i", len(t)) + t for t in (device.encode(), packet.subject.encode()))
    frame, part = divmod(packet.time * rate, 1)
    values = (*packet.weights, *packet.angles, *([0.0] * 6))
    return bytes([VERSION]) + texts + _TAIL.pack(int(frame), part, rate, 1, VALUES) + struct.pack(f">{VALUES}f", *values)
