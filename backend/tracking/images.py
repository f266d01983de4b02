"""Photos of every kind that people have, as upright float RGB; refused with the reason where they cannot be used.

Sizes are known from the header before anything is decoded. Pictures finer than `MAX_SIDE` are reduced while they are read:
a head needs no more.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from backend.protocol.errors import ImageError

from .portrait import F32

MAX_BYTES = 512 << 20
MAX_PIXELS = 160_000_000
MAX_SIDE = 4096
BACKDROP = 0.5
"""Grey on which transparent pictures are laid; their alpha also bounds the matte."""

FULL_FRAME_DIAGONAL = 43.267
"""Millimetres, of the 36 x 24 mm frame that EXIF's 35 mm equivalent refers to."""

_ANIMATED = {"GIF": "animated; its first frame is used", "TIFF": "of several pages; the first is used"}
_VIDEO_SUFFIXES = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"}

pillow_heif.register_heif_opener()


@dataclass(frozen=True)
class Photo:
    """A decoded picture.

    Attributes:
        image: [H, W, 3] float32 display-referred sRGB 0..1, upright; its longer side at most `MAX_SIDE`.
        alpha: [H, W] float32 0..1 where the file has transparency, else None.
        sha256: of the file's bytes.
        focal: focal length in pixels of `image` where EXIF tells it, else None.
        warnings: what the user should know, one sentence each.
    """

    image: F32
    alpha: F32 | None
    sha256: str
    focal: float | None
    warnings: tuple[str, ...] = ()


def load_image(path: str | os.PathLike[str]) -> Photo:
    """Read a photo: JPEG, PNG, TIFF, WebP, HEIC, GIF, BMP and what else Pillow reads.

    Raises:
        ImageError: missing, a folder, empty, not an image, truncated or too large; names the file and the reason.
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path}: is a folder", "give the photos in it")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"{path.name}: {size >> 20} MiB is more than a photo may have ({MAX_BYTES >> 20} MiB)", "save it smaller")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})", "check the path") from error
    return decode_image(data, path.name)


def decode_image(data: bytes, name: str) -> Photo:
    """Decode a photo's bytes; `name` appears in messages.

    Raises:
        ImageError: see `load_image`.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty", "copy it again from its source")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked below
            with Image.open(io.BytesIO(data)) as picture:
                return _decode(picture, name, hashlib.sha256(data).hexdigest())
    except UnidentifiedImageError as error:
        video = Path(name).suffix.lower() in _VIDEO_SUFFIXES
        remedy = "videos are for lookalike track" if video else "use a JPEG, PNG, WebP, TIFF or HEIC photo"
        raise ImageError(f"{name}: not an image", remedy) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: more than {MAX_PIXELS // 10**6} million pixels", "save it smaller") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files; all mean one thing to the user
        reason = "the file is truncated" if "truncated" in str(error) else f"the file is damaged ({error})"
        raise ImageError(f"{name}: {reason}", "copy it again from its source") from error


def _decode(picture: Image.Image, name: str, sha256: str) -> Photo:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        reason = f"{width} x {height} pixels is more than {MAX_PIXELS // 10**6} million"
        raise ImageError(f"{name}: {reason}", "save it smaller, 4096 pixels are enough")
    notes = []
    if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":  # MPO: a phone's photo with its depth map
        notes.append(f"{name} is {_ANIMATED.get(str(picture.format), _ANIMATED['GIF'])}")
    focal_35mm = _focal_35mm(picture)
    scale = max(width, height) / MAX_SIDE
    if scale > 1:
        picture.draft(picture.mode, (int(width / scale), int(height / scale)))  # lets JPEG decode at 1/2, 1/4 or 1/8
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("RGB", "RGBA", "L", "CMYK") and max(upright.size) > MAX_SIDE:  # as bytes: four times faster than as floats
        upright = upright.resize(_bounded(upright.size, MAX_SIDE), Image.Resampling.BOX)
    upright, note = _to_srgb(upright, picture.info.get("icc_profile"))
    if note:
        notes.append(f"{name}: {note}")
    image, alpha = _to_float(upright)
    image, alpha = _at_most(image, MAX_SIDE), None if alpha is None else _at_most(alpha, MAX_SIDE)
    focal = None if focal_35mm is None else float(focal_35mm / FULL_FRAME_DIAGONAL * np.hypot(*image.shape[:2]))
    return Photo(image, alpha, sha256, focal, tuple(notes))


def _to_srgb(picture: Image.Image, profile: bytes | None) -> tuple[Image.Image, str]:
    """Apply the embedded colour profile (phones write Display P3, print files CMYK); a bad profile is reported, not fatal."""
    if not profile or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture, ""
    alpha = picture.getchannel("A") if picture.mode == "RGBA" else None
    colour = picture.convert("RGB") if alpha else picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(colour, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        return picture, f"its colour profile is ignored ({error})"
    if converted is None:
        return picture, "its colour profile is ignored"
    if alpha:
        converted.putalpha(alpha)
    return converted, ""


def _to_float(picture: Image.Image) -> tuple[F32, F32 | None]:
    """Any mode -> [H, W, 3] and, where there is transparency, [H, W]."""
    if picture.mode.startswith("I") or picture.mode == "F":
        gray: F32 = np.nan_to_num(np.array(picture, np.float32), posinf=1, neginf=0)
        if picture.mode != "F":
            gray /= 65535  # Pillow keeps 16-bit gray as integers
        return np.repeat(np.clip(gray, 0, 1)[..., None], 3, 2), None
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        rgba = _unit(picture.convert("RGBA"))
        alpha = np.ascontiguousarray(rgba[..., 3])
        colour = rgba[..., :3] * alpha[..., None] + (BACKDROP - BACKDROP * alpha[..., None])
        return colour.astype(np.float32), alpha
    return _unit(picture.convert("RGB")), None


def _unit(picture: Image.Image) -> F32:
    """8-bit channels as [H, W, C] in 0..1."""
    array: F32 = np.array(picture, np.float32)
    array /= 255
    return array


def _at_most(array: F32, side: int) -> F32:
    size = _bounded((array.shape[1], array.shape[0]), side)
    if size == (array.shape[1], array.shape[0]):
        return array
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA), np.float32)


def _bounded(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) with the longer one at most `side`, in proportion."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _focal_35mm(picture: Image.Image) -> float | None:
    """EXIF's 35 mm equivalent; None where absent, impossible, or where the picture was cropped afterwards."""
    exif = picture.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    try:
        focal = float(details.get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
        taken = float(details.get(ExifTags.Base.ExifImageWidth, 0)), float(details.get(ExifTags.Base.ExifImageHeight, 0))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not 8 <= focal <= 1200:
        return None
    if min(taken) > 0:
        ratio = max(taken) / min(taken) / (max(picture.size) / min(picture.size))
        if abs(ratio - 1) > 0.01:
            return None
    return focal
