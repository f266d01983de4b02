"""Make the README's strip of pictures from a photo and its avatar.

.venv/bin/python docs/make_pictures.py demo/astronaut.png demo/astronaut.lookalike
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from backend.protocol import read_avatar
from backend.protocol.avatar import F32, Avatar
from backend.splats import Camera, joint_pose, portrait_camera, pose_splats, render, render_splats
from backend.splats.contact_sheet import arrange

SMILE = {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5}
SURPRISE = {"browInnerUp": 0.9, "browOuterUpLeft": 0.8, "browOuterUpRight": 0.8, "eyeWideLeft": 0.5, "eyeWideRight": 0.5}
WINK = {"eyeBlinkLeft": 1.0, "mouthSmileLeft": 0.7}
HERE = Path(__file__).resolve().parent


def strip(photo: Path, avatar: Avatar, tile: int) -> F32:
    """Photo, the photo's own view, turned heads and expressions, side by side."""
    lod = len(avatar.lods) - 1
    view = lambda yaw, expression=None, **joints: render(
        avatar, lod, portrait_camera(avatar, yaw, 0, tile), expression, joint_pose(avatar, **joints)
    )[0]
    driver = avatar.drivers[0]
    camera = Camera.of(driver)
    left, top, right, bottom = avatar.provenance["sources"][0]["crop"]

    def shrink(picture: F32) -> F32:
        cropped = Image.new("RGB", (right - left, bottom - top), "white")  # the crop may reach beyond the photo
        cropped.paste(Image.fromarray((picture * 255 + 0.5).astype(np.uint8)), (-left, -top))
        return np.asarray(cropped.resize((tile, tile), Image.Resampling.LANCZOS), np.float32) / 255

    original = np.asarray(Image.open(photo).convert("RGB"), np.float32) / 255
    pictures = [
        ("photo", shrink(original)),
        ("avatar, same view", shrink(render_splats(pose_splats(avatar, lod, driver), camera)[0])),
        ("-30 degrees", view(-30)),
        ("+30 degrees", view(30)),
        ("smile", view(-12, SMILE)),
        ("surprise", view(10, SURPRISE, jaw=(0.22, 0, 0))),
        ("wink", view(15, WINK)),
        ("glance", view(-20, None, eye_left=(0, 0.35, 0), eye_right=(0, 0.35, 0))),
    ]
    return arrange(pictures, tile, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--tile", type=int, default=360)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "images" / "hero.jpg")
    arguments = parser.parse_args()
    picture = strip(arguments.photo, read_avatar(arguments.avatar), arguments.tile)
    Image.fromarray((picture * 255 + 0.5).astype(np.uint8)).save(arguments.output, quality=90)


if __name__ == "__main__":
    main()
