"""Quality of the default reconstruction on ten ICT heads of known geometry: inner-face error and PSNR by yaw.

Needs ``ict_facekit.npz`` (MIT) beside the project, or where LOOKALIKE_HEADS says.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from backend.evaluation import EvaluationOptions, evaluate
from backend.models import reconstructor
from backend.rig import builtin_head

HEADS = Path(__file__).resolve().parents[2] / "shared" / "data" / "ict_facekit" / "ict_facekit.npz"
TARGET_MM = 0.9
TARGET_PSNR = {"0": 29.0, "15": 28.5, "30": 27.0, "45": 25.0}
TARGET_WHOLE_HEAD = 18.0
IDENTITIES = tuple(range(10))


def measure() -> list[dict]:
    """One row a figure; empty, with a note on stderr, where the heads are not there."""
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
