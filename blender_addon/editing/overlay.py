"""Lines drawn over a region while a gesture is under way: brush circle, box, lasso. Light over dark, so that both themes show it."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sin

Point = tuple[float, float]
_DARK, _LIGHT = (0.0, 0.0, 0.0, 0.6), (1.0, 1.0, 1.0, 0.9)


def draw_path(points: Sequence[Point], closed: bool = True) -> None:
    """A path in the pixels of what is being drawn into."""
    if len(points) < 2:
        return
    import gpu  # not at the top: registering must not load it
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    gpu.state.blend_set("ALPHA")
    for color, shift in ((_DARK, 1.0), (_LIGHT, 0.0)):
        moved = [(x + shift, y - shift, 0.0) for x, y in points]
        batch = batch_for_shader(shader, "LINE_STRIP", {"pos": [*moved, moved[0]] if closed else moved})
        shader.bind()
        shader.uniform_float("color", color)
        batch.draw(shader)
    gpu.state.blend_set("NONE")


def circle(centre: Point, radius: float) -> list[Point]:
    """A circle's points, a few pixels apart."""
    count = max(24, min(96, int(radius)))
    return [(centre[0] + radius * cos(2 * pi * i / count), centre[1] + radius * sin(2 * pi * i / count)) for i in range(count)]
