"""Small pictures of the faces in a photo, for the user to choose from. They live outside the file, as icons."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

import bpy

SIZE = 128
"""Pixels of a picture's side; the panel shows it smaller."""
MARGIN = 0.35
"""How much of the face's size is added around it, so that hair and ears are seen."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the upright photo."""

_previews: dict[str, bpy.utils.previews.ImagePreviewCollection] = {}


def make(key: str, photo: Path, boxes: Sequence[Box]) -> list[int]:
    """Icon of each face, kept under `key` until `drop`; empty where Blender cannot read the photo. About 0.1 s for 12 megapixels."""
    import bpy.utils.previews
    import imbuf

    drop(key)
    try:
        image = imbuf.load(str(photo))
    except (OSError, ValueError):  # a format that the backend reads and Blender does not, such as HEIC: the choice is by words then
        return []
    orientation = exif_orientation(photo)
    _previews[key] = bpy.utils.previews.new()
    return [_picture(_previews[key], str(number), image, box, orientation) for number, box in enumerate(boxes)]


def drop(key: str = "") -> None:
    """Free the icons kept under `key`, or all of them."""
    for each in [key] if key else list(_previews):
        collection = _previews.pop(each, None)
        if collection is not None:
            bpy.utils.previews.remove(collection)


def exif_orientation(photo: Path) -> int:
    """1 to 8 as EXIF defines it; 1 for photos without it, and for formats other than JPEG."""
    with photo.open("rb") as file:
        head = file.read(1 << 16)
    start = head.find(b"Exif\0\0")
    if head[:2] != b"\xff\xd8" or start < 0:
        return 1
    tiff = head[start + 6 :]
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(min(count, 256)):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, directory + 2 + 12 * entry)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except struct.error:  # cut short; the backend, which reads the whole file, has the last word
        return 1
    return 1


def stored_box(box: Box, size: tuple[int, int], orientation: int) -> tuple[int, int, int, int]:
    """A square around `box`, in pixels of the image as stored (left, top, right, bottom), inside it.

    Args:
        size: width and height as stored.
    """
    width, height = size
    left, top, right, bottom = box
    half = (0.5 + MARGIN) * max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    if orientation >= 5:  # the stored image is transposed
        x, y = y, x
    if orientation in {2, 3, 7, 8}:
        x = width - x
    if orientation in {3, 4, 6, 7}:
        y = height - y
    half = max(1.0, min(half, width / 2, height / 2))
    x, y = min(max(x, half), width - half), min(max(y, half), height - half)
    return int(x - half), int(y - half), int(x + half), int(y + half)


def _picture(collection, name: str, image, box: Box, orientation: int) -> int:
    left, top, right, bottom = stored_box(box, image.size, orientation)
    cut = image.copy()
    height = image.size[1]
    cut.crop((left, height - bottom), (right - 1, height - 1 - top))  # both corners belong to it, counted from the bottom
    cut.resize((SIZE, SIZE))
    with tempfile.TemporaryDirectory(prefix="lookalike-face-") as folder:
        import imbuf

        path = str(Path(folder) / "face.png")
        imbuf.write(cut, filepath=path)
        preview = collection.load(name, path, "IMAGE")
        upright(preview, orientation)
    return preview.icon_id


def upright(preview: bpy.types.ImagePreview, orientation: int) -> None:
    """Turn the preview's pixels as the photo's EXIF orientation says. Reading them also makes Blender load them now."""
    import numpy as np

    width, height = preview.image_size
    pixels = np.empty(width * height * 4, np.float32)
    preview.image_pixels_float.foreach_get(pixels)
    rows = pixels.reshape(height, width, 4)[::-1]
    if orientation in {3, 4, 6, 7}:
        rows = rows[::-1]
    if orientation in {2, 3, 7, 8}:
        rows = rows[:, ::-1]
    if orientation >= 5:
        rows = rows.transpose(1, 0, 2)
    preview.image_pixels_float.foreach_set(np.ascontiguousarray(rows[::-1]).ravel())
