"""Messages as zmq frames: a JSON envelope, checked field by field, and the bytes of the arrays beside it.

A message is one or two frames. The first is a JSON envelope of at most 64 KiB::

    {"v": 1, "kind": "lod", "request": "7", "job": "3f2a91", "body": {"level": 0}, "shared": "3f2a91.lod0"}

The second, where arrays travel, is a safetensors payload (see `payload`), or for `Result` of a reconstruction
the bytes of a `.lookalike` file. Where the client proved that it shares the machine (see `Hello.proof`),
`shared` names a file of the backend's exchange folder in place of the second frame, and nothing is copied.

Everything that arrives is checked against its body's type before it is used: unknown kinds, missing or
superfluous fields, wrong types and values beyond their bounds are a `ProtocolError` that names the fault.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from .errors import ProtocolError
from .messages import BODIES, MAX_TEXT, PROTOCOL_VERSION, Body
from .payload import MAX_PAYLOAD_BYTES, unpack

MAX_ENVELOPE_BYTES = 1 << 16
MAX_ITEMS = 1024

_NAME = re.compile(r"[A-Za-z0-9_.-]{0,64}")


@dataclass(frozen=True)
class Message:
    """One message, decoded.

    Attributes:
        body: what it says; its class tells the kind.
        request: the client's id of the request that this belongs to.
        job: the backend's id of the job, or "".
        payload: the second frame, or the exchange file's mapped bytes; None where there is none.
        shared: name of the exchange file that holds the payload, or "".
    """

    body: Body
    request: str = ""
    job: str = ""
    payload: memoryview | None = None
    shared: str = ""

    @property
    def kind(self) -> str:
        return self.body.KIND

    def tensors(self) -> dict[str, np.ndarray]:
        """The payload as read-only arrays, not copied. Raises ProtocolError."""
        if self.payload is None:
            raise ProtocolError(f"{self.kind}: the arrays are missing")
        return unpack(self.payload)


Frame = bytes | bytearray | memoryview


def encode(message: Message) -> list[Frame]:
    """Message -> one or two frames.

    Raises:
        ProtocolError: it would break a bound; nothing that the other side would have to refuse is ever sent.
    """
    envelope: dict[str, object] = {"v": PROTOCOL_VERSION, "kind": message.kind}
    envelope.update({k: v for k in ("request", "job", "shared") if (v := getattr(message, k))})
    envelope["body"] = _plain(message.body)
    try:
        text = json.dumps(envelope, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"{message.kind}: cannot be written as JSON ({error})") from error
    if len(text) > MAX_ENVELOPE_BYTES:
        raise ProtocolError(f"{message.kind}: envelope of {len(text)} bytes, at most {MAX_ENVELOPE_BYTES} travel")
    if message.payload is None or message.shared:
        return [text]
    if message.payload.nbytes > MAX_PAYLOAD_BYTES:
        raise ProtocolError(f"{message.kind}: payload of {message.payload.nbytes >> 20} MiB, at most {MAX_PAYLOAD_BYTES >> 20} MiB travel")
    return [text, message.payload]


def decode(frames: Sequence[Frame]) -> Message:
    """Inverse of `encode`; the payload stays a view of its frame.

    Raises:
        ProtocolError: names what is wrong; `error.data` holds "request" where it could be read, so that an answer finds its question.
            Its code is "version" where the other side speaks another version of the protocol.
    """
    if not 1 <= len(frames) <= 2:
        raise ProtocolError(f"a message has one or two frames, not {len(frames)}")
    envelope = _envelope(frames[0])
    request = envelope.get("request", "")
    try:
        return _message(envelope, memoryview(frames[1]).cast("B").toreadonly() if len(frames) == 2 else None)
    except ProtocolError as error:
        error.data["request"] = request if isinstance(request, str) and _NAME.fullmatch(request) else ""
        raise


def _envelope(frame: Frame) -> dict[str, Any]:
    if len(frame) > MAX_ENVELOPE_BYTES:
        raise ProtocolError(f"envelope of {len(frame)} bytes, at most {MAX_ENVELOPE_BYTES} are read")
    try:
        envelope = json.loads(bytes(frame), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("envelope is not JSON") from error
    if not isinstance(envelope, dict):
        raise ProtocolError("envelope is not a JSON object")
    return envelope


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _message(envelope: dict[str, Any], payload: memoryview | None) -> Message:
    version = envelope.get("v")
    if version != PROTOCOL_VERSION or isinstance(version, bool):
        spoken = f"protocol version {str(version)[:20]} is not spoken here, {PROTOCOL_VERSION} is"
        error = ProtocolError(spoken, "update Lookalike on both sides", {"version": PROTOCOL_VERSION})
        error.code = "version"
        raise error
    kind = envelope.get("kind")
    if not isinstance(kind, str) or kind not in BODIES or not kind:
        raise ProtocolError(f"unknown kind of message: {str(kind)[:40]!r}")
    names = {k: envelope.get(k, "") for k in ("request", "job", "shared")}
    for key, name in names.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith("."):
            raise ProtocolError(f"{kind}: {key} is not a name")
    extra = set(envelope) - {"v", "kind", "request", "job", "shared", "body"}
    if extra:
        raise ProtocolError(f"{kind}: unknown field {min(extra)[:40]!r} in the envelope")
    body = _parse(BODIES[kind], envelope.get("body", {}), kind)
    return Message(body, names["request"], names["job"], payload, names["shared"])


# ---------------------------------------------------------------- bodies <-> JSON


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


@lru_cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _parse(cls: type, value: Any, where: str) -> Any:
    """JSON object -> dataclass, every field checked against its annotation."""
    if not isinstance(value, dict):
        raise ProtocolError(f"{where} is not an object")
    hints = _hints(cls)
    known = {f.name: f for f in fields(cls)}
    extra = set(value) - set(known)
    if extra:
        raise ProtocolError(f"{where}: unknown field {min(extra)[:40]!r}")
    for name, f in known.items():
        if name not in value and f.default is MISSING and f.default_factory is MISSING:
            raise ProtocolError(f"{where}: {name} is missing")
    return cls(**{name: _check(hints[name], v, f"{where}: {name}") for name, v in value.items()})


def _check(hint: Any, value: Any, where: str) -> Any:
    """One JSON value against one annotation; JSON lists become tuples."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if value is None and NoneType in arguments else _check(arguments[0], value, where)
    if origin is tuple and isinstance(value, list) and len(value) <= MAX_ITEMS:
        return tuple(_check(arguments[0], v, where) for v in value)
    if origin is dict and isinstance(value, dict) and len(value) <= MAX_ITEMS:
        return {k: _check(arguments[1], v, where) for k, v in value.items()}
    if is_dataclass(hint):
        return _parse(hint, value, where)  # type: ignore[arg-type]
    if hint is not object and not _is_scalar(hint, value):
        raise ProtocolError(f"{where} is not {getattr(hint, '__name__', hint)} or is out of bounds")
    return float(value) if hint is float else value  # type: ignore[arg-type]


def _is_scalar(hint: Any, value: Any) -> bool:
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    if hint is str:
        return isinstance(value, str) and len(value) <= MAX_TEXT
    if hint is int:
        return isinstance(value, int) and abs(value) < 1 << 53
    # A whole number counts as a float where the sender's JSON writer dropped the fraction.
    return hint is float and isinstance(value, (int, float)) and abs(value) < 1e300 and math.isfinite(value)
