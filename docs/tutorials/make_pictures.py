"""Make the tutorials' pictures, and the README's picture of the panel, in a real Blender window.

    LOOKALIKE_BLENDER=/path/to/blender .venv/bin/python docs/tutorials/make_pictures.py demo/astronaut.lookalike demo/astronaut.png

Without LOOKALIKE_BLENDER it uses the Debian root of the window tests (tests/real_blender). `--take` is a file with a performance;
without it a short one is made here.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WIDTH = 960
SMALL = {"theme_light": 560, "theme_large": 560}
"""Width of pictures that need to show less."""
PAIRS = {"artist_before_after": ("artist_avatar", "artist_trim")}
"""Pictures that are put side by side too, without the panel."""


def short_take() -> dict:
    """Four seconds of ARKit curves: a smile, two blinks, a word."""
    names = ["mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "browInnerUp"]
    frames = []
    for i in range(120):
        t = i / 30
        smile, blink = 0.5 - 0.5 * math.cos(t), max(0.0, 1 - abs(t % 1.7 - 0.8) / 0.12)
        weights = [smile, smile, blink, blink, 0.3 * max(0.0, math.sin(7 * t)), 0.5 * max(0.0, math.sin(2 * t - 1))]
        frames.append({"weights": weights, "time": t, "rotation": []})
    return {"names": names, "frames": frames}


def act(avatar: Path, photo: Path, take: Path | None, scratch: Path) -> tuple[Path, dict]:
    """Run the driver; returns the folder of its screenshots and what it found."""
    sys.path.insert(0, str(ROOT))
    from build import package, this_platform
    from tests.real_blender.window import find

    share = scratch / "share"
    (share / "drivers").mkdir(parents=True)
    shutil.copy2(package([this_platform()])[0], share / "lookalike.zip")
    shutil.copy2(avatar, share / "portrait.lookalike")
    shutil.copy2(photo, share / "portrait.png")
    (share / "take.json").write_text(take.read_text() if take else json.dumps(short_take()))
    shutil.copy2(HERE / "driver.py", share / "drivers" / "tutorials.py")
    blender = find("binary" if "LOOKALIKE_BLENDER" in os.environ else "sid", "opengl", scratch / "roots")
    run = blender.run("tutorials", share, timeout=900)
    return run.folder, run.findings


def save(picture: Image.Image, target: Path, width: int = WIDTH) -> None:
    picture = picture.convert("RGB")
    picture = picture.crop(picture.getbbox())  # a window may be smaller than its screen
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    picture.save(target, quality=85, optimize=True)


def beside(pictures: list[Image.Image], panel: float = 0.27) -> Image.Image:
    """Screenshots side by side, each only its middle: toolbar and panel, `panel` of the width each, are left out."""
    middles = [p.crop((round(panel * p.width), round(0.12 * p.height), round((1 - panel) * p.width), p.height)) for p in pictures]
    width, height = middles[0].size
    both = Image.new("RGB", (width * len(middles), height))
    for i, middle in enumerate(middles):
        both.paste(middle, (i * width, 0))
    return both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("avatar", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--take", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=HERE.parent / "images")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-pictures-") as scratch:
        folder, findings = act(arguments.avatar, arguments.photo, arguments.take, Path(scratch))
    shown = {name: Image.open(folder / f"{name}.png").crop(box) for name, box in findings["boxes"].items()}
    for name in ("animator_motion", "lighter_frame"):  # whole windows and frames
        shown[name] = Image.open(folder / f"{name}.png")
    for name, parts in PAIRS.items():
        shown[name] = beside([shown[part] for part in parts])
    for name, picture in shown.items():
        save(picture, arguments.output / f"{name}.jpg", SMALL.get(name, WIDTH))
    save(Image.open(folder / "animator_board.png"), arguments.output / "blender.jpg")


if __name__ == "__main__":
    main()
