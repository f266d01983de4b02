"""Pictures of faces are cut from the right place and stand upright, whatever the camera wrote into EXIF."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="pillow makes the test's photos")

TURNS = (None, "FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270")
"""What a camera does to an upright picture before it writes EXIF orientation 1 to 8."""


def scene() -> np.ndarray:
    """[300, 400, 3]: gray, with a "face" of four colours at x 100..160, y 60..120."""
    image = np.full((300, 400, 3), 128, np.uint8)
    image[60:90, 100:130], image[60:90, 130:160] = (255, 0, 0), (0, 255, 0)
    image[90:120, 100:130], image[90:120, 130:160] = (0, 0, 255), (255, 255, 0)
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_is_upright(addon: SimpleNamespace, tmp_path: Path, orientation: int) -> None:
    pictures = addon.part("ui.face_pictures")
    photo = Image.fromarray(scene())
    turn = TURNS[orientation - 1]
    stored = photo.transpose(getattr(Image.Transpose, turn)) if turn else photo
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "face.jpg"
    stored.save(path, exif=exif, quality=95)
    pictures.make("job", path, [(100, 60, 160, 120)])
    try:
        preview = pictures._previews["job"]["0"]
        pixels = np.empty(pictures.SIZE**2 * 4, np.float32)
        preview.image_pixels_float.foreach_get(pixels)
    finally:
        pictures.drop("job")
    rows = pixels.reshape(pictures.SIZE, pictures.SIZE, 4)[::-1, :, :3]
    near, far = int(0.4 * pictures.SIZE), int(0.6 * pictures.SIZE)
    colours = [rows[y, x] for y in (near, far) for x in (near, far)]
    np.testing.assert_allclose(colours, [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)], atol=0.1)


def test_face_at_the_border_stays_inside_the_photo(addon: SimpleNamespace) -> None:
    stored_box = addon.part("ui.face_pictures").stored_box
    for box in ((-20, -20, 40, 60), (380, 280, 430, 330), (0, 0, 400, 300)):
        for orientation in range(1, 9):
            left, top, right, bottom = stored_box(box, (400, 300), orientation)
            assert 0 <= left < right <= 400
            assert 0 <= top < bottom <= 300


def test_photo_that_blender_cannot_read_gives_no_picture(addon: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "portrait.heic"
    path.write_bytes(b"not for Blender")
    assert addon.part("ui.face_pictures").make("job", path, [(0, 0, 10, 10)]) == []


def test_damaged_exif_counts_as_upright(addon: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe1\x00\x10Exif\0\0II*\0\x08\0\0\0\xff\xff")
    assert addon.part("ui.face_pictures").exif_orientation(path) == 1
