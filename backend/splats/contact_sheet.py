"""One picture that shows what an avatar is worth: its source view, turned views and expressions, labelled."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from backend.protocol.avatar import F32, Avatar

from .camera import photo_camera, portrait_camera
from .posed import Posable, joint_pose
from .render import WHITE, render_splats

Joint = tuple[float, float, float]


@dataclass(frozen=True)
class Tile:
    """One picture of the sheet; expressions and joints that a rig lacks are left out."""

    label: str
    yaw: float = 0.0
    pitch: float = 0.0
    expression: dict[str, float] = field(default_factory=dict)
    joints: dict[str, Joint] = field(default_factory=dict)


VIEWS = (
    *(Tile(f"{yaw:+d}°" if yaw else "front", yaw) for yaw in (-60, -30, -15, 0, 15, 30, 60)),
    Tile("above", 0, -25),
    Tile("below", 0, 25),
)
EXPRESSIONS = (
    Tile("smile", expression={"mouthSmileLeft": 1, "mouthSmileRight": 1, "cheekSquintLeft": 0.6, "cheekSquintRight": 0.6, "mouthSmile": 1}),
    Tile("blink", expression={"eyeBlinkLeft": 1, "eyeBlinkRight": 1}),
    Tile("wink", expression={"eyeBlinkLeft": 1}),
    Tile("jaw open", joints={"jaw": (0.3, 0, 0)}),
    Tile("brows up", expression={"browInnerUp": 1, "browOuterUpLeft": 1, "browOuterUpRight": 1}),
    Tile("frown", expression={"browDownLeft": 1, "browDownRight": 1, "mouthFrownLeft": 1, "mouthFrownRight": 1}),
    Tile("pucker", expression={"mouthPucker": 1}),
    Tile("look left", joints={"eye_left": (0, 0.4, 0), "eye_right": (0, 0.4, 0)}),
    Tile("turn", joints={"neck": (0, -0.4, 0)}),
)


def contact_sheet(
    avatar: Avatar, lod: int | None = None, tile: int = 224, columns: int = 5, tiles: tuple[Tile, ...] = VIEWS + EXPRESSIONS
) -> F32:
    """Draw the sheet.

    Args:
        lod: level of detail; the finest when None.
        tile: side of one picture, pixels.

    Returns:
        [H, W, 3] display-referred. The first tile is the source view, where the avatar has a driver.
    """
    posable = Posable(avatar, len(avatar.lods) - 1 if lod is None else lod)
    pictures: list[tuple[str, F32]] = []
    for driver in avatar.drivers[:1]:
        picture = render_splats(posable.pose(driver.expression, driver.pose), photo_camera(avatar, driver, tile), WHITE)[0]
        pictures.append(("as in the photo", picture))
    for entry in tiles:
        expression = {name: value for name, value in entry.expression.items() if name in avatar.rig.expression_names}
        joints = {name: value for name, value in entry.joints.items() if name in avatar.rig.joint_names}
        if (entry.expression or entry.joints) and not (expression or joints):
            continue
        splats = posable.pose(expression, joint_pose(avatar, **joints))
        pictures.append((entry.label, render_splats(splats, portrait_camera(avatar, entry.yaw, entry.pitch, tile))[0]))
    return arrange(pictures, tile, columns)


def arrange(pictures: list[tuple[str, F32]], tile: int, columns: int) -> F32:
    """Square pictures [tile, tile, 3] in rows, each with its label."""
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * tile, rows * tile), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=max(10, tile // 16))
    for i, (label, picture) in enumerate(pictures):
        corner = ((i % columns) * tile, (i // columns) * tile)
        sheet.paste(Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)), corner)
        draw.text((corner[0] + 5, corner[1] + 3), label, fill=(70, 70, 70), font=font)
    return np.asarray(sheet, np.float32) / np.float32(255)
