"""Colours that come out of the scene's view transform as they went in: splats are display-referred, renders scene-linear.

Blender's view transforms are also colour spaces of images, so an image written with display colours and read as in that
space holds the scene-linear colours that the view transform shows as those. Standard's inverse, taken for transforms without
a known one as well, is sRGB's curve. The result, fitted to blending in linear light, is kept as an attribute of the splats.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import bpy
import numpy as np

from ..avatar.evaluated import read_appearance, splat_objects
from ..avatar.frame_sequence import frames_of
from ..avatar.host import LINEAR_CURVE, LINEAR_SLOPE, pattern_count, read_attribute, write_attribute
from ..protocol.avatar import F32
from .blending import FIT_VERSION, for_linear_light
from .look import to_linear
from .quads import LINEAR

STANDARD = "Standard"
SPACES = {
    "AgX": "AgX Base sRGB",
    "Filmic": "Filmic sRGB",
    "Khronos PBR Neutral": "Khronos PBR Neutral sRGB",
    "ACES 1.3": "ACES 1.3 sRGB",
    "ACES 2.0": "ACES 2.0 sRGB",
    "Raw": "Non-Color",
}
"""View transform -> the colour space that it leads to."""

WHITEST = 0.985
"""Display values above are taken for this: AgX and Filmic reach 1 only for light a hundred times brighter."""

STEP = 0.12
"""Change of a displayed colour over which its scene-linear one is taken to be a parabola."""

_DONE = "lookalike_view"


def image_space(view_transform: str) -> str | None:
    """Colour space of a view transform whose inverse Blender knows; None for Standard and for others."""
    space = SPACES.get(view_transform)
    known = bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"].enum_items
    return space if space in {item.identifier for item in known} else None


def bake_colours(scene: bpy.types.Scene) -> int:
    """Fit the colours of all splats of a scene to its view transform. Returns how many objects changed; 0.5 s an avatar.

    Objects from linked files keep the colours of their own file's view transform.
    """
    changed = 0
    space = image_space(scene.view_settings.view_transform)
    for obj in splat_objects(scene.objects):
        wanted = obj.type == "MESH" or LINEAR in obj.data.attributes  # Blender's own splats only where they have a look
        if wanted and obj.data.library is None and fit_colours(obj, space):
            changed += 1
    return changed


def warnings(scene: bpy.types.Scene) -> list[str]:
    """What of the scene's colour management makes final frames differ from the viewport, in words for the panel."""
    view = scene.view_settings
    said = []
    if view.view_transform != STANDARD and image_space(view.view_transform) is None:
        said.append(f"The view transform {view.view_transform} has no known inverse: it will change the avatar's colours")
    if view.look not in ("None", "") and not view.look.endswith("Base Contrast"):
        said.append(f"The look {view.look.rpartition(' - ')[2]} changes the avatar's colours in final frames")
    if view.gamma != 1.0:
        said.append("Gamma of the colour management changes the avatar's colours in final frames")
    if view.use_curve_mapping:
        said.append("Curves of the colour management change the avatar's colours in final frames")
    return said


def scene_linear(display: F32, space: str) -> F32:
    """[N, 3] scene-linear colours that a view transform shows as the display-referred `display` [N, 3]."""
    count = len(display)
    width = min(count, 2048)
    rows = -(-count // width)
    pixels = np.zeros((rows * width, 4), np.float32)
    pixels[:count, :3] = np.clip(display, 0.0, WHITEST)
    pixels[:, 3] = 1.0
    with tempfile.TemporaryDirectory(prefix="lookalike-") as folder:
        path = str(Path(folder) / "colours.exr")
        _write(pixels, width, rows, path)
        read = _read(path, space, rows * width)
    return np.ascontiguousarray(read[:count, :3])


def fit_colours(obj: bpy.types.Object, space: str | None) -> bool:
    """Fit the colours of one splat object to an `image_space`, if they are not fitted to it. Returns whether they changed.

    Frames of a sequence that have the same colours share one fit, as an avatar's colours keep theirs in every pose.
    """
    changed, before = False, None
    for data in frames_of(obj):
        looks = read_appearance(data)
        wanted = f"{space or STANDARD} {zlib.crc32(looks['rgb'].tobytes())} {FIT_VERSION}"
        if data.get(_DONE, "") != wanted or LINEAR not in data.attributes:
            fitted = before[1] if before is not None and before[0] == (wanted, len(looks["rgb"])) else _fitted(data, looks, space)
            before = (wanted, len(fitted)), fitted
            write_attribute(data, LINEAR, "FLOAT_VECTOR", fitted)
            if pattern_count(data):
                write_slopes(data, looks["rgb"], inverse_of(space))
            data[_DONE] = wanted
            data.update_tag()
            changed = True
    return changed


def _fitted(data: bpy.types.ID, looks: dict[str, F32], space: str | None) -> F32:
    position, scale = read_attribute(data, "position"), read_attribute(data, "scale")
    return for_linear_light(looks["rgb"], looks["opacity"], position, scale, inverse_of(space))


def inverse_of(space: str | None) -> Callable[[F32], F32]:
    """From display-referred to scene-linear colours [N, 3]."""
    return to_linear if space is None else partial(scene_linear, space=space)


def write_slopes(data: bpy.types.ID, display: F32, linear: Callable[[F32], F32]) -> None:
    """Keep how the scene-linear colour grows with each channel of the displayed one [N, 3]: parabolas through `STEP` to either side.

    Colours that follow the face (`avatar.colour_nodes`) need it: nodes know no view transform.
    """
    middle = np.clip(display, 0.02, WHITEST - 0.02).astype(np.float32)
    here = linear(middle)
    for channel, (slope, curve) in enumerate(zip(LINEAR_SLOPE, LINEAR_CURVE, strict=True)):
        axis = np.eye(3, dtype=np.float32)[channel]
        below, above = (np.minimum(STEP, room)[:, None] for room in (middle[:, channel], WHITEST - middle[:, channel]))
        rise, fall = (linear(middle + above * axis) - here) / above, (here - linear(middle - below * axis)) / below
        bend = (rise - fall) / (above + below)
        write_attribute(data, slope, "FLOAT_VECTOR", rise - bend * above)
        write_attribute(data, curve, "FLOAT_VECTOR", bend)


def _write(pixels: F32, width: int, rows: int, path: str) -> None:
    image = bpy.data.images.new("lookalike.colours", width, rows, alpha=True, float_buffer=True, is_data=True)
    try:
        image.pixels.foreach_set(pixels.ravel())
        image.filepath_raw, image.file_format = path, "OPEN_EXR"
        image.save()
    finally:
        bpy.data.images.remove(image)


def _read(path: str, space: str, count: int) -> F32:
    image = bpy.data.images.load(path)
    try:
        image.alpha_mode = "NONE"
        image.colorspace_settings.name = space
        values = np.empty(count * 4, np.float32)
        image.pixels.foreach_get(values)
        return values.reshape(count, 4)
    finally:
        bpy.data.images.remove(image)
