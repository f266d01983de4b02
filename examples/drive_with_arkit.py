"""Drive an avatar with ARKit curves and write a video, without Blender.

    python examples/drive_with_arkit.py ada.lookalike --curves take1.json -o take1.mp4
    python examples/drive_with_arkit.py ada.lookalike -o demo.mp4          # a short take made here

`--curves` reads JSON of the form {"names": [...], "frames": [{"weights": [...], "time": s}, ...]}; a list "head_pose" of one
axis-angle a frame, radians, turns the head. `--sheet` writes a contact sheet of the video beside it.
"""

import argparse
import bisect
import json
import math
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from backend.protocol import Avatar, LookalikeError, read_avatar
from backend.rig import arkit_to_driver
from backend.splats import portrait_camera, render, write_video
from backend.splats.contact_sheet import arrange

Moment = tuple[dict[str, float], tuple[float, ...]]
"""ARKit weights, and the head's axis-angle."""


def recorded(path: Path, fps: float, seconds: float) -> Iterator[Moment]:
    """Each frame of the video, from the take's frame that is nearest in time."""
    take = json.loads(path.read_text())
    frames, turns = take["frames"], take.get("head_pose") or []
    times = [frame.get("time", i / 30) for i, frame in enumerate(frames)]
    length = min(seconds or times[-1], times[-1])
    for i in range(round(length * fps) + 1):
        at = min(bisect.bisect_left(times, i / fps), len(frames) - 1)
        weights = dict(zip(take["names"], frames[at]["weights"], strict=True))
        yield weights, tuple(turns[at]) if at < len(turns) else (0.0, 0.0, 0.0)


def invented(fps: float, seconds: float) -> Iterator[Moment]:
    """A smile that grows, two blinks, a word and a glance."""
    for i in range(round((seconds or 4.0) * fps)):
        t = i / fps
        blink = max(0.0, 1 - abs((t % 1.9) - 0.9) / 0.12)
        smile = 0.5 - 0.5 * math.cos(math.pi * min(t / 1.5, 1.0))
        weights = {
            "eyeBlinkLeft": blink,
            "eyeBlinkRight": blink,
            "mouthSmileLeft": 0.8 * smile,
            "mouthSmileRight": 0.8 * smile,
            "jawOpen": 0.35 * max(0.0, math.sin(6 * t)) * (2 < t < 3.2),
            "eyeLookOutLeft": 0.6 * (1.2 < t < 1.9),
            "eyeLookInRight": 0.6 * (1.2 < t < 1.9),
            "browInnerUp": 0.6 * max(0.0, math.sin(2.5 * t - 1)),
        }
        yield weights, (0.0, 0.12 * math.sin(1.1 * t), 0.0)


def frames(avatar: Avatar, moments: Iterator[Moment], lod: int, size: int, zoom: float):
    """The middle of pictures that are `zoom` times as large: the face instead of the whole bust."""
    whole = round(size * zoom)
    left, top = (whole - size) // 2, round(0.42 * (whole - size))
    camera = portrait_camera(avatar, size=whole)
    neck = avatar.rig.joint_names.index("neck")
    for weights, turn in moments:
        expression, pose = arkit_to_driver(weights)
        pose[neck] += turn
        known = {name: value for name, value in expression.items() if name in avatar.rig.expression_names}
        yield render(avatar, lod, camera, known, pose)[0][top : top + size, left : left + size]


def remembered(pictures: Iterator, every: int, kept: list):
    """The same pictures; every so many of them are kept for the contact sheet."""
    for number, picture in enumerate(pictures):
        if number % every == 0:
            kept.append((f"{number}", picture))
        yield picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--curves", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--lod", type=int, default=1)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--fps", type=float, default=24)
    parser.add_argument("--seconds", type=float, default=0.0, help="no longer than this")
    parser.add_argument("--zoom", type=float, default=1.0, help="come nearer to the face")
    parser.add_argument("--sheet", action="store_true")
    arguments = parser.parse_args()
    avatar = read_avatar(arguments.avatar)
    rate, seconds = arguments.fps, arguments.seconds
    moments = recorded(arguments.curves, rate, seconds) if arguments.curves else invented(rate, seconds)
    kept: list = []
    pictures = remembered(frames(avatar, moments, arguments.lod, arguments.size, arguments.zoom), max(1, round(rate / 2)), kept)
    count = write_video(arguments.output, pictures, rate)
    if arguments.sheet:
        sheet = arrange(kept, arguments.size, 7)
        Image.fromarray((sheet * 255 + 0.5).astype("uint8")).save(arguments.output.with_suffix(".jpg"), quality=85)
    print(f"{arguments.output}: {count} frames")


if __name__ == "__main__":
    try:
        main()
    except LookalikeError as error:
        raise SystemExit(f"{error}") from None
