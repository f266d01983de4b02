"""The arrays beside the bodies: rigs, splats and portraits to and from payloads, checked on arrival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .avatar import RigArrays, SplatArrays
from .avatar_file import RIG_FIELDS, check_names, check_rig, check_splats, splat_tensors, splats_from_tensors, take_array
from .errors import ProtocolError
from .frames import Message
from .messages import MAX_PORTRAITS, LodReady, RigReady
from .payload import pack


def rig_message(rig: RigArrays) -> tuple[RigReady, memoryview]:
    """Body and payload of the `rig` event."""
    return RigReady(rig.rig_id, rig.joint_names, rig.expression_names), pack({f: getattr(rig, f) for f in RIG_FIELDS})


def rig_from_message(message: Message) -> RigArrays:
    """Inverse of `rig_message`, checked. Raises ProtocolError."""
    body, tensors = message.body, message.tensors()
    if not isinstance(body, RigReady):
        raise ProtocolError(f"{message.kind} is not a rig")
    try:
        values: dict[str, Any] = {f: take_array(tensors, f, f) for f in RIG_FIELDS}
        values |= {"joint_names": check_names(body.joint_names), "expression_names": check_names(body.expression_names)}
        rig = RigArrays(**values, rig_id=body.rig_id)
        check_rig(rig)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise ProtocolError(f"rig event: {error}") from error
    return rig


def lod_message(level: int, splats: SplatArrays, shoulders: SplatArrays) -> tuple[LodReady, memoryview]:
    """Body and payload of the `lod` event."""
    return LodReady(level), pack({**splat_tensors("head", splats), **splat_tensors("shoulders", shoulders)})


def splats_from_message(message: Message, face_count: int) -> tuple[SplatArrays, SplatArrays]:
    """Inverse of `lod_message`: head and shoulders, checked against the rig's number of triangles. Raises ProtocolError."""
    tensors = message.tensors()
    try:
        head, shoulders = splats_from_tensors("head", tensors), splats_from_tensors("shoulders", tensors)
        check_splats(head, face_count)
        check_splats(shoulders, face_count)
    except (KeyError, ValueError, TypeError) as error:
        raise ProtocolError(f"lod event: {error}") from error
    return head, shoulders


def portrait_payload(portraits: Sequence[bytes], **more: bytes) -> memoryview:
    """Payload of `Reconstruct`, `Track` and `Personalize`: the files' bytes as uint8 arrays."""
    files = {f"portrait{i}": data for i, data in enumerate(portraits)}
    return pack({name: np.frombuffer(data, np.uint8) for name, data in {**files, **more}.items()})


def portraits_from_message(message: Message, names: Sequence[str]) -> list[memoryview]:
    """The bytes of each named portrait, not copied. Raises ProtocolError."""
    if not 1 <= len(names) <= MAX_PORTRAITS:
        raise ProtocolError(f"{message.kind}: {len(names)} portraits, 1 to {MAX_PORTRAITS} are possible")
    tensors = message.tensors()
    missing = [f"portrait{i}" for i in range(len(names)) if not _is_bytes(tensors.get(f"portrait{i}"))]
    if missing:
        raise ProtocolError(f"{message.kind}: {missing[0]} is missing, or is not a row of bytes")
    return [tensors[f"portrait{i}"].data for i in range(len(names))]


def _is_bytes(array: np.ndarray | None) -> bool:
    return array is not None and array.dtype == np.uint8 and array.ndim == 1
