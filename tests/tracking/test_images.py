"""Photos of every kind that people have are read alike, and what cannot be read says why."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data

from backend.protocol import ImageError
from backend.tracking import decode_image, load_image
from backend.tracking.images import MAX_SIDE

ORIENTATION = 0x0112
EXIF_IFD = 0x8769
FOCAL_35MM, EXIF_WIDTH, EXIF_HEIGHT = 0xA405, 0xA002, 0xA003


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(data.astronaut()).resize((160, 128))


@pytest.fixture(scope="module")
def truth(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float32) / 255


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def error_of(data: bytes, name: str = "photo.jpg") -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0), ("BMP", {}, 0), ("TIFF", {"compression": "tiff_lzw"}, 0), ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 0.03), ("JPEG", {"quality": 95, "progressive": True}, 0.03), ("HEIF", {"quality": 95}, 0.03),
    ],
)  # fmt: skip
def test_reads_the_formats_that_cameras_and_phones_write(picture, truth, kind, options, tolerance):
    photo = decode_image(encoded(picture, kind, **options), "photo")
    assert photo.image.dtype == np.float32
    assert photo.image.shape == truth.shape
    assert np.abs(photo.image - truth).mean() <= tolerance
    assert photo.alpha is None
    assert photo.warnings == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_photo_upright(picture, truth, orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # transpose that a camera of that orientation would have stored
    stored = picture if orientation == 1 else picture.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    photo = decode_image(encoded(stored, "PNG", exif=exif), "photo.png")
    np.testing.assert_array_equal(photo.image, truth)


def test_sixteen_bit_gray_keeps_its_brightness(truth):
    gray = (truth.mean(2) * 65535).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        photo = decode_image(encoded(Image.fromarray(gray), kind), "photo")
        np.testing.assert_allclose(photo.image, np.repeat(gray[..., None] / 65535, 3, 2), atol=1e-4)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_colour_is_read(truth, suffix):
    ok, data16 = cv2.imencode(suffix, (truth[..., ::-1] * 65535).astype(np.uint16))
    assert ok
    photo = decode_image(data16.tobytes(), "photo" + suffix)
    assert np.abs(photo.image - truth).max() < 1 / 200


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "YCbCr"])
def test_other_colour_modes_become_rgb(picture, truth, mode):
    kind = "TIFF" if mode == "YCbCr" else "PNG"
    converted = picture.convert("L").convert("LA") if mode == "LA" else picture.convert(mode)
    photo = decode_image(encoded(converted, kind), "photo")
    assert photo.image.shape == truth.shape
    expected = truth if mode in ("P", "YCbCr") else np.repeat(np.asarray(picture.convert("L"), np.float32)[..., None] / 255, 3, 2)
    assert np.abs(photo.image - expected).mean() < (0.5 if mode == "1" else 0.06)


def test_transparent_pixels_lie_on_grey_and_bound_the_matte(picture):
    rgba = picture.convert("RGBA")
    rgba.putalpha(Image.fromarray(np.repeat(np.uint8([[0] * 80 + [255] * 80]), 128, 0)))
    photo = decode_image(encoded(rgba, "PNG"), "cutout.png")
    np.testing.assert_allclose(photo.image[:, :80], 0.5)
    np.testing.assert_allclose(photo.image[:, 80:], np.asarray(picture, np.float32)[:, 80:] / 255, atol=1e-6)
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha[0, [0, 159]], [0, 1])


def test_cmyk_with_and_without_a_profile(picture, truth):
    cmyk = picture.convert("CMYK")
    plain = decode_image(encoded(cmyk, "JPEG", quality=95), "print.jpg")
    assert np.abs(plain.image - truth).mean() < 0.05
    bad = decode_image(encoded(cmyk, "TIFF", icc_profile=b"not a profile"), "print.tif")
    assert np.abs(bad.image - truth).mean() < 0.05
    assert "colour profile is ignored" in bad.warnings[0]


def test_an_embedded_profile_is_applied(picture, truth):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = decode_image(encoded(picture, "PNG", icc_profile=profile), "photo.png")
    assert np.abs(same.image - truth).max() < 2 / 255
    assert same.warnings == ()


def test_animation_gives_its_first_frame_and_says_so(picture, truth):
    frames = [picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {}))
        photo = decode_image(data, f"moving.{kind.lower()}")
        assert np.abs(photo.image - truth).mean() < 0.06
        assert "first" in photo.warnings[0]


def test_exif_focal_length_becomes_pixels(picture):
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD).update({FOCAL_35MM: 50, EXIF_WIDTH: 1600, EXIF_HEIGHT: 1280})
    photo = decode_image(encoded(picture, "JPEG", exif=exif), "photo.jpg")
    assert photo.focal == pytest.approx(50 / 43.267 * np.hypot(160, 128))


def test_focal_length_of_a_cropped_photo_is_not_believed(picture):
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD).update({FOCAL_35MM: 50, EXIF_WIDTH: 4000, EXIF_HEIGHT: 2000})
    assert decode_image(encoded(picture, "JPEG", exif=exif), "photo.jpg").focal is None


def test_large_photos_are_reduced_while_decoding():
    big = Image.new("RGB", (9000, 6000), (200, 100, 50))
    for kind in ("JPEG", "PNG"):
        photo = decode_image(encoded(big, kind), "big")
        assert max(photo.image.shape) <= MAX_SIDE
        assert photo.image.shape[1] / photo.image.shape[0] == pytest.approx(1.5, abs=0.01)
        np.testing.assert_allclose(photo.image[10, 10], np.array([200, 100, 50]) / 255, atol=0.01)


def test_large_photos_on_their_side_are_turned_and_reduced():
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was held upright: rows of the file run down the picture's right side
    stored = Image.new("RGB", (5000, 1000), (255, 0, 0))
    stored.paste((0, 0, 255), (2500, 0, 5000, 1000))
    for kind in ("JPEG", "PNG", "TIFF"):
        photo = decode_image(encoded(stored, kind, exif=exif), "tall")
        assert photo.image.shape == (MAX_SIDE, 819, 3)
        np.testing.assert_allclose(photo.image[[100, -100], 400], [[1, 0, 0], [0, 0, 1]], atol=0.02)


def test_a_bomb_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert "bomb.png" in error_of(bomb, "bomb.png")
    assert "million" in error_of(bomb, "bomb.png")


def test_unreadable_files_say_which_and_why(picture, tmp_path: Path):
    jpeg = encoded(picture, "JPEG")
    assert error_of(b"") == "photo.jpg: the file is empty; copy it again from its source"
    assert error_of(jpeg[: len(jpeg) // 2]) == "photo.jpg: the file is truncated; copy it again from its source"
    assert error_of(b"hello, this is text").startswith("photo.jpg: not an image; use a JPEG")
    assert "lookalike track" in error_of(b"\0\0\0\x18ftypmp42" + bytes(64), "clip.mp4")
    with pytest.raises(ImageError, match="is a folder; give the photos in it"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match=r"missing\.jpg: cannot be read \(No such file"):
        load_image(tmp_path / "missing.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "HEIF"])
def test_damaged_files_never_crash(picture, kind):
    good = bytearray(encoded(picture, kind))
    rng = np.random.default_rng(0)
    for _ in range(25):
        bad = good.copy()
        for at in rng.integers(0, len(bad), 20):
            bad[at] = rng.integers(256)
        try:
            assert decode_image(bytes(bad[: rng.integers(1, len(bad))]), "bad").image.ndim == 3
        except ImageError as error:
            assert str(error).startswith("bad: ")  # noqa: PT017  (a damaged file may also decode)


def test_the_hash_is_that_of_the_file(picture, tmp_path: Path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(picture, "PNG"))
    assert load_image(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
