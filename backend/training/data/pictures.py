"""Pictures of training data: decoded with bounds, resized."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from backend.protocol.avatar import F32

from .view import DataError

MAX_BYTES = 64 << 20
MAX_SIDE = 8192


def read_rgb(path: Path) -> F32:
    """[H, W, 3] 0..1.

    Raises:
        DataError: missing, too large, or not a picture.
    """
    return decode_rgb(_read(path), str(path))


def decode_rgb(data: bytes, name: str) -> F32:
    """As `read_rgb`, from bytes; `name` is for messages."""
    with _opened(data, name) as image:
        return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)


def read_grey(path: Path) -> F32:
    """[H, W] 0..1, of 8 or 16 bits.

    Raises:
        DataError: missing, too large, or not a picture.
    """
    with _opened(_read(path), str(path)) as image:
        if image.mode.startswith("I"):
            return (np.asarray(image, np.float64) / 65535).astype(np.float32)
        return np.asarray(image.convert("L"), np.float32) / np.float32(255)


def resized(picture: F32, size: int, nearest: bool = False) -> F32:
    """A square picture [S, S] or [S, S, C] at another size; `nearest` for values that must not be mixed."""
    if picture.shape[0] == size:
        return np.ascontiguousarray(picture, np.float32)
    way = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=way), np.float32)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: {path.stat().st_size >> 20} MB is more than a picture can be")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", "check the folder") from error


def _opened(data: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        if max(image.size) > MAX_SIDE:
            raise DataError(f"{name}: {image.size[0]} x {image.size[1]} pixels are too many", f"use at most {MAX_SIDE} a side")
        image.load()
        return image
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name}: not a picture that can be read ({error})", "leave it out, or write it again") from error
