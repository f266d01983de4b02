"""Figures and pictures of docs/personalize.md: a known head, refined by photos or by a video of it, judged where nobody looked.

    python docs/refinement_figures.py ict_faces.npz -o out [--identity 0] [--steps 300]

The avatar is made from the frontal picture. It is refined by that picture alone, by seven pictures from yaw -36 to 36, and by a video of
the same turn (24 frames). Judged are yaw 9 and 27, which none of them shows, against the head itself, at LOD 1.
"""

from __future__ import annotations

import io
from pathlib import Path

import av
import click
import cv2
import numpy as np

from backend.evaluation.ground_truth import EvaluationOptions, measure
from backend.evaluation.ict_heads import Head, load_heads, make_head, shoot, studio
from backend.models.interface import Silent
from backend.protocol.avatar import Avatar
from backend.protocol.errors import LookalikeError
from backend.protocol.messages import Personalize, Reconstruct
from backend.server import pipeline
from backend.splats import orbit_camera, render

HELD_OUT = (9.0, 27.0)
TURN = 36.0


def photo(head: Head, yaw: float) -> np.ndarray:
    """uint8 [H, W, 3] before a studio's backdrop."""
    return np.round(shoot(head, yaw).over(studio()) * 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def video(head: Head, frames: int = 24) -> bytes:
    """A turn of the head as an H.264 file."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("h264", rate=12, options={"crf": "18"})
        for i, yaw in enumerate(np.linspace(-TURN, TURN, frames)):
            image = photo(head, float(yaw))
            if not i:
                stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    return target.getvalue()


def picture(avatar: Avatar, yaw: float) -> np.ndarray:
    drawn, _ = render(avatar, 1, orbit_camera(yaw, 0.0, 384, extent=0.34), background=(0.5, 0.5, 0.5))
    return np.round(drawn[..., ::-1] * 255).astype(np.uint8)


@click.command()
@click.argument("heads", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option("--identity", default=0, show_default=True)
@click.option("--steps", default=300, show_default=True)
def main(heads: Path, output: Path, identity: int, steps: int) -> None:
    output.mkdir(exist_ok=True, parents=True)
    head = make_head(load_heads(heads), identity)
    front = ("front.png", png(photo(head, 0.0)))
    turned = [(f"yaw{yaw:+.0f}.png", png(photo(head, float(yaw)))) for yaw in np.linspace(-TURN, TURN, 7) if yaw]
    before = pipeline.reconstruct([front], Reconstruct((front[0],)))
    options = EvaluationOptions((identity,), HELD_OUT, 1)
    said = measure(head, before, options)
    sheet = [np.concatenate([picture(before, yaw) for yaw in (0.0, *HELD_OUT, 60.0)], 1)]
    click.echo("refined by          judged by itself, dB     " + "".join(f"yaw {yaw:<10.0f}" for yaw in HELD_OUT))
    click.echo(f"{'nothing':<20}{'':<25}" + "".join(f"{said['psnr'][f'{yaw:g}']:<14.2f}" for yaw in HELD_OUT))
    for name, files in (("one photo", [front]), ("seven photos", [front, *turned]), ("a video", [("turn.mp4", video(head))])):
        try:
            done = pipeline.personalize(before, files, Personalize(tuple(n for n, _ in files), steps=steps), Silent())
        except LookalikeError as error:
            click.echo(f"{name:<20}refused: {error.message}")
            continue
        after, facts = done.avatar, done.avatar.adapters[-1].facts
        figures = measure(head, after, options)
        own = f"{facts['psnr_before']} -> {facts['psnr_after']}"
        pairs = [(figures["psnr"][f"{yaw:g}"], said["psnr"][f"{yaw:g}"]) for yaw in HELD_OUT]
        change = "".join(f"{now:.2f} ({now - then:+.2f})  " for now, then in pairs)
        click.echo(f"{name:<20}{own:<25}{change}")
        sheet.append(np.concatenate([picture(after, yaw) for yaw in (0.0, *HELD_OUT, 60.0)], 1))
        cv2.imwrite(str(output / f"curve_{name.replace(' ', '_')}.png"), done.curve[..., ::-1])
    cv2.imwrite(str(output / "sheet.png"), np.concatenate(sheet))


if __name__ == "__main__":
    main()
