"""The picture in the 3D view, as a user sees it: screenshots of a real window against references."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.ewa import psnr, rasterize
from tests.synthetic import synthetic_avatar

from .window import Run

EVERY_GRAPHICS_BACKEND = True


@pytest.fixture(scope="module")
def looks(blender, share) -> Run:
    return blender.run("looks", share, timeout=400)


@pytest.fixture(scope="module")
def drawn(looks) -> np.ndarray:
    """[H, W, 4] what the shaders drew outside the window for the same view, premultiplied."""
    return looks.array("offscreen")


def view(looks: Run, name: str) -> np.ndarray:
    return looks.picture(name, looks.findings["box"])[: looks.findings["matrices"]["size"][1]]


def inside(looks: Run) -> tuple[slice, slice]:
    """The part of the view that no button or header covers."""
    height, width = view(looks, "solid").shape[:2]
    return slice(int(0.12 * height), int(0.95 * height)), slice(int(0.12 * width), int(0.9 * width))


def avatar_pixels(drawn: np.ndarray, least: float = 0.98) -> np.ndarray:
    return drawn[..., 3] > least


def to_linear(c: np.ndarray) -> np.ndarray:
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def to_display(c: np.ndarray) -> np.ndarray:
    return np.where(c <= 0.0031308, 12.92 * c, 1.055 * np.maximum(c, 1e-9) ** (1 / 2.4) - 0.055)


def keep(looks: Run, name: str, *pictures: np.ndarray) -> None:
    """Write pictures side by side with their difference, for whoever looks into a failure."""
    difference = np.clip(0.5 + 4 * (pictures[0] - pictures[1]), 0, 1)
    sheet = np.concatenate([*pictures, difference], 1)
    Image.fromarray((np.clip(sheet, 0, 1) * 255).astype(np.uint8)).save(looks.folder / f"compare_{name}.png")


def test_shaders_match_the_numpy_reference(looks, drawn) -> None:
    """The avatar file's own splats through plain numpy: reading, building, binding and drawing change nothing."""
    here = looks.findings["matrices"]
    splats = synthetic_avatar().splats(2)
    # Avatar frame (+Y up, face +Z) to Blender's (+Z up, face -Y): x, -z, y.
    turn = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    expected = rasterize(
        splats.position, splats.rotation, splats.scale, splats.rgb, splats.opacity,
        np.array(here["view"]) @ turn, np.array(here["projection"]), tuple(here["size"]),
    )  # fmt: skip
    keep(looks, "numpy", drawn[..., :3], expected[..., :3])
    assert avatar_pixels(drawn).mean() > 0.03
    assert psnr(drawn[..., :3], expected[..., :3]) >= 40
    assert psnr(drawn[..., 3], expected[..., 3]) >= 40


def test_window_shows_what_the_shaders_drew(looks, drawn) -> None:
    """Sorted on another thread, blended in display space, laid over the view's background in linear light."""
    part = inside(looks)
    background = to_linear(view(looks, "background")[part])
    picture = drawn[part]
    alpha = picture[..., 3:]
    colour = to_linear(np.clip(picture[..., :3] / np.maximum(alpha, 1e-6), 0, 1))
    expected = to_display(colour * alpha + background * (1 - alpha))
    seen = view(looks, "solid")[part]
    keep(looks, "window", seen, expected)
    assert psnr(seen, expected) >= 35


@pytest.mark.parametrize(
    "mode", ["shading_wireframe", "shading_material", "shading_rendered", "shading_cycles", "solid_standard", "solid_xray", "no_overlays"]
)
def test_avatar_looks_the_same_in_every_mode(looks, drawn, mode) -> None:
    """Whatever lights, engine or view transform: the avatar shows the photo's colours."""
    solid, other = view(looks, "solid"), view(looks, mode)
    pixels = avatar_pixels(drawn, 0.999)
    part = np.zeros_like(pixels)
    part[inside(looks)] = True
    pixels &= part
    assert pixels.sum() > 5000
    assert np.median(np.abs(solid - other)[pixels]) <= 1.5 / 255
    # Through the gaps between this avatar's splats each mode shows what it draws behind them, Wireframe mode the rig mesh's wires.
    assert psnr(solid[pixels], other[pixels]) >= 40


def test_cube_in_front_hides_and_cube_behind_is_hidden(looks) -> None:
    front, before, behind = (view(looks, name) for name in ("front", "cube_before", "cube_behind"))
    width = front.shape[1]
    saturation = lambda picture: picture.max(-1) - picture.min(-1)
    avatar = saturation(front) > 0.25
    covered = avatar & (saturation(before) < 0.1)
    assert covered.sum() > 0.1 * avatar.sum(), "the cube before the face hides a part of it"
    columns = np.nonzero(covered)[1]
    assert columns.min() > 0.48 * width, "only where it stands"
    kept = avatar & (np.abs(before - front).max(-1) < 3 / 255)
    assert kept.sum() > 0.4 * avatar.sum(), "the rest of the face is untouched"
    around = np.abs(behind - front).max(-1) > 0.1
    assert around.sum() > 2000, "the cube behind is seen beside the head"
    assert (around & avatar).sum() < 0.03 * avatar.sum(), "and not through it"


def test_cube_that_the_head_sits_in_cuts_it(looks) -> None:
    """Tested at each pixel's own depth: the shoulders go into the cube, the face before it stays."""
    front, around = view(looks, "front"), view(looks, "cube_around")
    avatar = front.max(-1) - front.min(-1) > 0.25
    changed = np.abs(around - front).max(-1) > 0.05
    assert (changed & avatar).sum() < 0.03 * avatar.sum()
    assert (changed & ~avatar).sum() > 2000


def test_rig_does_not_show_through_the_face(looks, drawn) -> None:
    """Wires of the head lie under the splats; rings before the face stay visible."""
    solid, rig = view(looks, "solid"), view(looks, "solid_with_rig")
    pixels = avatar_pixels(drawn, 0.999)
    changed = np.abs(solid - rig).max(-1) > 0.1
    assert (changed & pixels).sum() < 0.03 * pixels.sum()
    assert changed.sum() > 200, "but the animator sees controls"


@pytest.mark.parametrize("name", ["orthographic", "camera", "camera_passepartout", "camera_shifted", "moved_and_scaled"])
def test_every_projection_shows_the_avatar(looks, name) -> None:
    picture = view(looks, name)[inside(looks)]
    colourful = picture.max(-1) - picture.min(-1) > 0.2
    assert colourful.mean() > 0.01


def test_passepartout_darkens_the_avatar_too(looks) -> None:
    picture = view(looks, "camera_passepartout")[inside(looks)]
    colourful = picture.max(-1) - picture.min(-1) > 0.2
    bright = picture.max(-1)[colourful]
    assert np.percentile(bright, 95) > 0.8
    assert np.percentile(bright, 5) < 0.6, "outside the camera's frame it is dimmed"


def test_hidden_avatars_are_not_drawn(looks) -> None:
    background = view(looks, "background")[inside(looks)]
    for name in ("hidden_collection", "local_view_of_another"):
        # An object's origin dot may be there, an avatar would be thousands of pixels.
        assert (np.abs(view(looks, name)[inside(looks)] - background).max(-1) > 0.1).sum() < 100, name
    assert psnr(view(looks, "shown_again"), view(looks, "solid")) > 30


@pytest.mark.parametrize(("name", "parts"), [("quad_view", 4), ("two_views", 2)])
def test_several_views_each_show_the_avatar(looks, name, parts) -> None:
    picture = view(looks, name)
    height, width = picture.shape[:2]
    colourful = picture.max(-1) - picture.min(-1) > 0.25
    halves = [slice(0, width // 2), slice(width // 2, width)]
    rows = [slice(0, height // 2), slice(height // 2, height)] if parts == 4 else [slice(0, height)]
    for row in rows:
        for half in halves:
            assert colourful[row, half].sum() > 500


def test_nothing_went_wrong(looks) -> None:
    assert looks.findings["uploads"]["last_error"] == ""
    assert looks.findings["windows"] == 2
    for trouble in ("Traceback", "GPUShader", "shader compile", "Segmentation"):
        assert trouble not in looks.output
