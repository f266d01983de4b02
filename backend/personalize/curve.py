"""The course of a refinement as a picture: loss of each step, and what the held-out pixels say, by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from .photometric import Course

WIDTH, HEIGHT, MARGIN = 480, 270, 44
PAPER, INK, LOSS, HELD = (250, 250, 250), (70, 70, 70), (170, 170, 170), (200, 90, 30)
SMOOTHING = 0.9


def draw_curve(course: Course) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3] RGB: loss in grey (left scale, smoothed), PSNR of what is held out in orange (right scale, dB)."""
    main = next((v.level for v in course.verdicts), 1)
    verdicts = [(v.step, v.held_out) for v in course.verdicts if v.level == main]
    return draw_points(list(enumerate(course.losses)), verdicts, "held-out PSNR, dB", "{:.1f}")


def draw_points(losses: Sequence[tuple[int, float]], held_out: Sequence[tuple[int, float]], what: str, form: str = "{:.4f}") -> np.ndarray:
    """As `draw_curve`, of (step, loss) and (step, what is held out); `what` names the latter."""
    picture = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    cv2.rectangle(picture, (MARGIN, 24), (WIDTH - MARGIN, HEIGHT - 30), INK, 1)
    steps = max([step for step, _ in (*losses, *held_out)], default=1) or 1
    smoothed = _smoothed([value for _, value in losses])
    _line(picture, [(step / steps, value) for (step, _), value in zip(losses, smoothed, strict=True)], LOSS, left=True, form="{:.3f}")
    _line(picture, [(step / steps, value) for step, value in held_out], HELD, left=False, form=form)
    _say(picture, "loss", (MARGIN, 17), LOSS)
    _say(picture, what, (WIDTH - MARGIN - 8 * len(what), 17), HELD)
    _say(picture, f"{steps} steps", (WIDTH // 2 - 30, HEIGHT - 10), INK)
    return picture


def _smoothed(values: list[float]) -> list[float]:
    out, mean = [], math.nan
    for value in values:
        mean = value if math.isnan(mean) else SMOOTHING * mean + (1 - SMOOTHING) * value
        out.append(mean)
    return out


def _line(picture: np.ndarray, points: list[tuple[float, float]], color: tuple[int, int, int], left: bool, form: str) -> None:
    if not points:
        return
    low, high = min(v for _, v in points), max(v for _, v in points)
    span = max(high - low, 1e-9)
    width, height = WIDTH - 2 * MARGIN, HEIGHT - 54
    place = [(MARGIN + x * width, HEIGHT - 30 - (0.06 + 0.88 * (v - low) / span) * height) for x, v in points]
    cv2.polylines(picture, [np.round(np.array(place) * 16).astype(np.int32)], False, color, 1, cv2.LINE_AA, shift=4)
    for value, y in ((low, HEIGHT - 36), (high, 40)):
        _say(picture, form.format(value), (4 if left else WIDTH - MARGIN + 4, y), color)


def _say(picture: np.ndarray, text: str, at: tuple[int, int], color: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, color, 1, cv2.LINE_AA)
