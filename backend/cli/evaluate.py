"""`lookalike evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .output import Numbers, Range, TerminalListener, emit, json_option


@click.command()
@click.argument("heads", type=click.Path(path_type=Path))
@click.option("--identities", type=Range(), default="0:10", show_default=True, help="Which heads, first:end.")
@click.option("--yaw", "yaws", type=Numbers(), default="0,15,30,45", show_default=True, help="Views that are compared, degrees.")
@click.option("--lod", type=click.IntRange(0, 2), help="Level of detail; by default the finest.")
@click.option("--model", default="projection", show_default=True, help="Reconstructor (see: lookalike models).")
@click.option("--rig", default="builtin", show_default=True, help="Parametric head (see: lookalike rigs).")
@json_option
def evaluate(
    heads: Path, identities: range, yaws: tuple[float, ...], lod: int | None, model: str, rig: str, as_json: bool
) -> None:  # fmt: skip
    """Reconstruct known heads from one frontal picture and measure the error against their ground truth.

    HEADS is an ICT-FaceKit model as .npz. Told are the inner face's error in mm, PSNR and SSIM for each yaw. A head that
    cannot be reconstructed is told as failed, the others are measured all the same, and the exit code is 1 at the end.
    """
    from backend.evaluation import EvaluationOptions
    from backend.evaluation import evaluate as measure
    from backend.models import reconstructor
    from backend.rig import load_rig
    from backend.tracking import with_landmarks

    with TerminalListener("evaluate", quiet=as_json) as listener:
        listener.progress(0.0, "evaluate")

        def report(done: int, count: int, figures: dict[str, Any]) -> None:
            told = "failed" if "error" in figures else f"{figures['median_mm']:.2f} mm"
            listener.progress(done / count, "evaluate", f"head {done} of {count}: {told}")

        options = EvaluationOptions(tuple(identities), yaws, lod)
        result = measure(heads, reconstructor(model), with_landmarks(load_rig(rig)), options, report=report)
    emit(as_json, {"ok": not result["failed"], **result, **listener.timings()}, _table(result))
    if result["failed"]:
        click.echo(f"lookalike: {result['failed']} of {len(result['heads'])} heads failed", err=True)
        raise click.exceptions.Exit(1)


def _table(result: dict[str, Any]) -> str:
    failed = [f"head {entry['identity']} failed: {entry['message']}" for entry in result["heads"] if "error" in entry]
    mean = result["summary"]
    if not mean:
        return "\n".join(failed)
    lines = [
        f"inner face: median {mean['median_mm']:.2f} mm, 90 % within {mean['p90_mm']:.2f} mm",
        "yaw    PSNR   SSIM    whole head   silhouette",
    ]
    for yaw, psnr in mean["psnr"].items():
        ssim, whole, outline = (mean[key].get(yaw) for key in ("ssim", "whole_head_psnr", "silhouette_iou"))
        cells = [
            f"{float(yaw):4.0f}",
            f"{psnr:6.2f}",
            f"{ssim:7.3f}",
            f"{whole:8.2f}" if whole is not None else "",
            f"{outline:14.3f}" if outline is not None else "",
        ]
        lines.append(" ".join(cells).rstrip())
    return "\n".join(lines + failed)
