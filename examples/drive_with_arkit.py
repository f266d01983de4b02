"""Drive an avatar with ARKit curves and write a video, without Blender.

    python examples/drive_with_arkit.py ada.lookalike --curves take1.json -o take1.mp4
    python examples/drive_with_arkit.py ada.lookalike -o demo.mp4          # a short take made here

`--curves` reads JSON of the form {"names": [...], "frames": [{"weights": [...], "time": s}, ...]}.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

from backend.protocol import Avatar, LookalikeError, read_avatar
from backend.rig import arkit_to_driver
from backend.splats import portrait_camera, render, write_video


def recorded(path: Path) -> Iterator[dict[str, float]]:
    """ARKit weights of each frame of a file."""
    take = json.loads(path.read_text())
    for frame in take["frames"]:
        yield dict(zip(take["names"], frame["weights"], strict=True))


def invented(frames: int = 96) -> Iterator[dict[str, float]]:
    """A smile that grows, two blinks, a word and a glance."""
    for i in range(frames):
        t = i / 24
        blink = max(0.0, 1 - abs((t % 1.9) - 0.9) / 0.12)
        smile = 0.5 - 0.5 * math.cos(math.pi * min(t / 1.5, 1.0))
        yield {
            "eyeBlinkLeft": blink,
            "eyeBlinkRight": blink,
            "mouthSmileLeft": 0.8 * smile,
            "mouthSmileRight": 0.8 * smile,
            "jawOpen": 0.35 * max(0.0, math.sin(6 * t)) * (2 < t < 3.2),
            "eyeLookOutLeft": 0.6 * (1.2 < t < 1.9),
            "eyeLookInRight": 0.6 * (1.2 < t < 1.9),
            "browInnerUp": 0.6 * max(0.0, math.sin(2.5 * t - 1)),
        }


def frames(avatar: Avatar, curves: Iterator[dict[str, float]], lod: int, size: int):
    camera = portrait_camera(avatar, size=size)
    for weights in curves:
        expression, pose = arkit_to_driver(weights)
        known = {name: value for name, value in expression.items() if name in avatar.rig.expression_names}
        yield render(avatar, lod, camera, known, pose)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--curves", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--lod", type=int, default=1)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--fps", type=float, default=24)
    arguments = parser.parse_args()
    avatar = read_avatar(arguments.avatar)
    curves = recorded(arguments.curves) if arguments.curves else invented()
    count = write_video(arguments.output, frames(avatar, curves, arguments.lod, arguments.size), arguments.fps)
    print(f"{arguments.output}: {count} frames")


if __name__ == "__main__":
    try:
        main()
    except LookalikeError as error:
        raise SystemExit(f"{error}") from None
