"""A plain reader of OpenEXR scan line files, independent of Blender: single part, not compressed (the file's layout is at openexr.com)."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

_TYPES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}


class Exr:
    """One file: its attributes as bytes, and its channels as [H, W] arrays, top row first."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        assert data[:4] == b"\x76\x2f\x31\x01", "an OpenEXR file"
        assert not struct.unpack_from("<I", data, 4)[0] & 0x1A00, "one part of flat scan lines"
        self.attributes, place = _attributes(data, 8)
        assert self.attributes["compression"] == b"\0", "not compressed"
        left, top, right, bottom = struct.unpack("<4i", self.attributes["dataWindow"])
        width, height = right - left + 1, bottom - top + 1
        kinds = _channels(self.attributes["channels"])
        self.channels = {name: np.empty((height, width), _TYPES[kind]) for name, kind in kinds}
        for offset in np.frombuffer(data, "<u8", height, place).tolist():
            row = struct.unpack_from("<i", data, offset)[0] - top
            at = offset + 8
            for name, kind in kinds:
                line = np.frombuffer(data, _TYPES[kind], width, at)
                self.channels[name][row] = line
                at += line.nbytes

    def layer(self, name: str, components: str = "RGBA") -> np.ndarray:
        """[H, W, C] of a pass, e.g. "Avatars.Combined"."""
        return np.stack([self.channels[f"{name}.{c}"].astype(np.float32) for c in components], -1)

    def matte(self, layer: str, kind: str, name: str) -> np.ndarray:
        """[H, W] coverage of one name in a cryptomatte (Friedman and Jones, "Cryptomatte specification 1.2")."""
        prefix = f"{layer}.Crypto{kind}"
        found = next(key for key, value in self.attributes.items() if key.endswith("/name") and value.decode() == prefix)
        manifest = json.loads(self.attributes[found.removesuffix("name") + "manifest"])
        wanted = np.frombuffer(bytes.fromhex(manifest[name])[::-1], "<f4")[0]
        total = 0.0
        levels = sorted({key.split(".")[-2] for key in self.channels if key.startswith(prefix)})
        for level in levels:
            ranks = self.layer(f"{layer}.{level}", "".join(c for c in "rgba" if f"{layer}.{level}.{c}" in self.channels) or "RGBA")
            for rank in (0, 2):
                total = total + ranks[..., rank + 1] * (ranks[..., rank] == wanted)
        return np.asarray(total)


def _attributes(data: bytes, place: int) -> tuple[dict[str, bytes], int]:
    found: dict[str, bytes] = {}
    while data[place]:
        name, place = _word(data, place)
        _, place = _word(data, place)
        size = struct.unpack_from("<i", data, place)[0]
        found[name] = data[place + 4 : place + 4 + size]
        place += 4 + size
    return found, place + 1


def _channels(data: bytes) -> list[tuple[str, int]]:
    """Names and types in the order of the file."""
    place, found = 0, []
    while data[place]:
        name, place = _word(data, place)
        found.append((name, struct.unpack_from("<i", data, place)[0]))
        place += 16
    return found


def _word(data: bytes, place: int) -> tuple[str, int]:
    end = data.index(0, place)
    return data[place:end].decode(), end + 1
