"""Quality of the default reconstruction: ten ICT heads of known geometry (inner-face error, PSNR by yaw), and real photos given back.

The heads need ``ict_facekit.npz`` (MIT) beside the project, or where LOOKALIKE_HEADS says. Of the photos, the
astronaut comes with scikit-image; two more are measured where they lie beside the project.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import skimage.data
from PIL import Image

from backend.evaluation import EvaluationOptions, compare_with_photo, evaluate
from backend.models import reconstructor
from backend.models.interface import Silent
from backend.rig import builtin_head
from backend.tracking import Portrait, decode_image, make_portrait

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HEADS = DATA / "ict_facekit" / "ict_facekit.npz"
PHOTOS = ("obama.jpg", "obama2.jpg")
TARGET_PHOTO_PSNR, TARGET_PHOTO_IOU = 28.0, 0.97
"""Of the astronaut."""
TARGET_MM = 0.9
TARGET_PSNR = {"0": 29.0, "15": 28.5, "30": 27.0, "45": 25.0}
TARGET_WHOLE_HEAD = 18.0
IDENTITIES = tuple(range(10))


def measure() -> list[dict]:
    """One row a figure; without those, with a note on stderr, whose pictures are not there."""
    return measure_photos() + measure_heads()


def measure_photos() -> list[dict]:
    """How well photos are given back from their own view at LOD 1."""
    rows = []
    for portrait in _portraits():
        figures = compare_with_photo(reconstructor().reconstruct([portrait], builtin_head(), Silent()), portrait)
        over, goal = f"{portrait.name}, LOD 1", portrait.name == "astronaut.png"
        rows.append(_row("input view over the matte", round(figures["psnr"], 2), "dB", TARGET_PHOTO_PSNR if goal else None, over))
        rows.append(
            _row("silhouette IoU of the input view", round(figures["silhouette_iou"], 4), "", TARGET_PHOTO_IOU if goal else None, over)
        )
    return rows


def _portraits() -> Iterator[Portrait]:
    buffer = io.BytesIO()
    Image.fromarray(skimage.data.astronaut()).save(buffer, "PNG")
    yield make_portrait(decode_image(buffer.getvalue(), "astronaut.png"), "astronaut.png")
    for path in (DATA / "portraits" / name for name in PHOTOS):
        if path.exists():
            yield make_portrait(decode_image(path.read_bytes(), path.name), path.name)
        else:
            print(f"no photo to measure at {path}", file=sys.stderr)


def measure_heads() -> list[dict]:
    """Shape and turned views against heads that are known; empty where they are not there."""
    heads = Path(os.environ.get("LOOKALIKE_HEADS", HEADS))
    if not heads.exists():
        print(f"no heads to measure at {heads}: set LOOKALIKE_HEADS", file=sys.stderr)
        return []
    result = evaluate(heads, reconstructor(), builtin_head(), EvaluationOptions(IDENTITIES), report=_say)
    summary, over = result["summary"], f"mean of {len(IDENTITIES)} ICT heads"
    rows = [
        _row("inner-face error, median", summary["median_mm"], "mm", TARGET_MM, over),
        _row("inner-face error, 90th percentile", summary["p90_mm"], "mm", None, over),
    ]
    rows += [_row(f"inner-face PSNR at {yaw} degrees", summary["psnr"][yaw], "dB", target, over) for yaw, target in TARGET_PSNR.items()]
    rows.append(_row("whole-head PSNR at 30 degrees", summary["whole_head_psnr"]["30"], "dB", TARGET_WHOLE_HEAD, over))
    rows += [_row(f"inner-face SSIM at {yaw} degrees", summary["ssim"][yaw], "", None, over) for yaw in TARGET_PSNR]
    rows += [
        _row(f"inner-face PSNR at {yaw} degrees, aligned by surface only", summary["psnr_by_surface"][yaw], "dB", None, over)
        for yaw in TARGET_PSNR
    ]
    rows.append(_row("silhouette IoU at 30 degrees", summary["silhouette_iou"]["30"], "", None, over))
    return rows


def _row(what: str, value: float, unit: str, target: float | None, against: str) -> dict:
    return {"what": what, "value": value, "unit": unit, "target": target, "against": against,
            "ratio": None if target is None else round(value / target, 3)}  # fmt: skip


def _say(done: int, total: int, entry: dict) -> None:
    print(f"head {done}/{total}: {entry['median_mm']} mm, {entry['psnr']} dB", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for entry in measure():
        print(entry)
