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
    run = blender.run("tutorials", share, timeout=280)
    return run.folder, run.findings


def save(picture: Image.Image, target: Path) -> None:
    picture = picture.convert("RGB")
    picture = picture.crop(picture.getbbox())  # a window may be smaller than its screen
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    picture.save(target, quality=85, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("avatar", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--take", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=HERE.parent / "images")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-pictures-") as scratch:
        folder, findings = act(arguments.avatar, arguments.photo, arguments.take, Path(scratch))
    for name, box in findings["boxes"].items():
        whole = Image.open(folder / f"{name}.png")
        save(whole if name == "animator_motion" else whole.crop(box), arguments.output / f"{name}.jpg")
    save(Image.open(folder / "animator_board.png"), arguments.output / "blender.jpg")


if __name__ == "__main__":
    main()
