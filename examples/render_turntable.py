"""An avatar file to pictures without Blender: a turntable video and a contact sheet of views and expressions.

python examples/render_turntable.py ada.lookalike --video ada.mp4 --sheet ada.png
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from backend.protocol import LookalikeError, read_avatar
from backend.splats import contact_sheet, turntable, write_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--lod", type=int, help="level of detail; the finest by default")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--reach", type=float, default=45, help="degrees to each side; 360 goes all round")
    arguments = parser.parse_args()
    avatar = read_avatar(arguments.avatar)
    lod = len(avatar.lods) - 1 if arguments.lod is None else arguments.lod
    if arguments.sheet:
        sheet = contact_sheet(avatar, lod, tile=320)
        Image.fromarray((sheet * 255 + 0.5).astype(np.uint8)).save(arguments.sheet)
    if arguments.video:
        write_video(arguments.video, turntable(avatar, lod, arguments.size, arguments.frames, arguments.reach))


if __name__ == "__main__":
    try:
        main()
    except LookalikeError as error:
        raise SystemExit(f"{error}") from None
