"""The curve of a personalization as an icon that follows it. It lives outside the file, so that nothing asks to be saved."""

from __future__ import annotations

from typing import Any

import bpy

_previews: dict[str, bpy.utils.previews.ImagePreviewCollection] = {}
_NAME = "curve"


def show(key: str, picture: Any) -> None:
    """Draw a picture, uint8 [H, W, 3], as the icon of a job from now on. About 2 ms."""
    import bpy.utils.previews
    import numpy as np

    if key not in _previews:
        _previews[key] = bpy.utils.previews.new()
        _previews[key].new(_NAME)
    height, width = picture.shape[:2]
    side = max(height, width)  # an icon is drawn in a square; the rows below the picture stay clear
    pixels = np.zeros((side, side, 4), np.float32)
    pixels[side - height :, :width, :3] = picture[::-1] / np.float32(255)
    pixels[side - height :, :width, 3] = 1.0
    preview = _previews[key][_NAME]
    preview.image_size = (side, side)
    preview.image_pixels_float.foreach_set(pixels.ravel())


def there(key: str) -> bool:
    """Whether a job's curve has come."""
    return key in _previews


def icon(key: str) -> int:
    """The icon of a job's curve, 0 where none has come yet, or in background mode."""
    return _previews[key][_NAME].icon_id if there(key) else 0


def drop(key: str = "") -> None:
    """Free the curve of a job, or all of them."""
    for each in [key] if key else list(_previews):
        collection = _previews.pop(each, None)
        if collection is not None:
            bpy.utils.previews.remove(collection)
