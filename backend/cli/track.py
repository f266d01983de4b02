"""`lookalike track`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backend.protocol.avatar_file import write_atomically
from backend.protocol.messages import Track

from .output import TerminalListener, check_target, emit, json_option, read_files

if TYPE_CHECKING:
    import numpy as np


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Motion as .json or .npz.")
@click.option("--rig", default="builtin", show_default=True, help="Parametric head (see: lookalike rigs).")
@click.option("--face", type=click.IntRange(min=0), help="Which face, counted from the left from 0.")
@json_option
def track(files: tuple[Path, ...], output: Path, rig: str, face: int | None, as_json: bool) -> None:
    """Rig parameters of photos of one person, or of each frame of a video.

    Written are the values of each named expression, the axis-angle of each joint (radians, in its parent's frame) and
    the camera (OpenCV axes, metres and pixels), one entry a photo or frame.
    """
    from backend.server import pipeline

    check_target(output, ".json", ".npz")
    data = read_files(files)
    request = Track(tuple(name for name, _ in data), (face,) * len(data), rig)
    with TerminalListener(files[0].stem, quiet=as_json) as listener:
        arrays, names = pipeline.track(data, request, listener)
    write_atomically(output, _encode(output.suffix.lower(), arrays, names, [name for name, _ in data], rig))
    count = len(arrays["expression"])
    emit(
        as_json,
        {"file": str(output), "frames": count, **listener.timings()},
        f"{output}: {count} frame{'s' * (count != 1)} in {listener.seconds:.1f} s",
    )


def _encode(suffix: str, arrays: dict[str, np.ndarray], names: tuple[str, ...], sources: list[str], rig: str) -> bytes:
    if suffix == ".npz":
        import numpy as np

        buffer = io.BytesIO()
        np.savez_compressed(buffer, expression_names=np.array(names), **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()
    return json.dumps(
        {"rig": rig, "sources": sources, "frames": [_frame(arrays, names, i) for i in range(len(arrays["expression"]))]}
    ).encode()


def _frame(arrays: dict[str, np.ndarray], names: tuple[str, ...], i: int) -> dict[str, Any]:
    frame: dict[str, Any] = {key: values[i].tolist() for key, values in arrays.items() if key != "expression"}
    return {"expression": {name: round(float(v), 5) for name, v in zip(names, arrays["expression"][i], strict=True)}, **frame}
