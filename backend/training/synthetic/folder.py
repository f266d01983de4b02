"""Write drawn heads as folders that people and trainers read: VHAP's layout, one folder a person, and a sheet to look at."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from backend.protocol.avatar import F32
from backend.protocol.avatar_file import write_atomically
from backend.protocol.errors import AvatarFileError, ImageError
from backend.splats import write_video
from backend.training.data.vhap import DEPTH_UNIT, TRANSFORMS
from backend.training.data.view import DataError, View

from .footage import SyntheticHeads

SHEET_PEOPLE, SHEET_FRAMES, SHEET_TILE = 8, 6, 192
VIDEO_FPS = 10.0
_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def write_heads(heads: SyntheticHeads, folder: Path, report: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Every frame of every person: ``PERSON/images/00000.png`` with fg_masks, depth (16 bits, 0.1 mm a step), flame_param
    (.npz) and transforms.json beside it; ``sheet.png`` at the top.

    Args:
        folder: made when missing; files of the same names are replaced.
        report: called after each picture with how many are done, and of how many.
    Returns:
        The sheet's path.
    Raises:
        DataError: the folder cannot be written.
    """
    counts = [heads.frames(person) for person in range(len(heads.people))]
    done, rows = 0, []
    try:
        for person, name in enumerate(heads.people):
            place, entries, tiles = folder / name, [], []
            for part in ("images", "fg_masks", "depth", "flame_param"):
                (place / part).mkdir(parents=True, exist_ok=True)
            for frame in range(counts[person]):
                view = heads.view(person, frame)
                entries.append(_write_frame(place, frame, view, heads))
                if person < SHEET_PEOPLE and frame < SHEET_FRAMES:
                    tiles.append(_tile(view.image))
                done += 1
                report(done, sum(counts))
            content = {"rig": heads.rig.rig_id, "seed": heads.seed, "frames": entries}
            write_atomically(place / TRANSFORMS, json.dumps(content, indent=1).encode())
            if tiles:
                rows.append(np.concatenate(tiles, 1))
        width = max(row.shape[1] for row in rows)
        sheet = np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
        write_atomically(folder / "sheet.png", _png(sheet))
    except (OSError, AvatarFileError) as error:
        raise DataError(f"{folder}: cannot be written ({error})", "choose another folder, or make room") from error
    return folder / "sheet.png"


def write_videos(heads: SyntheticHeads, folder: Path, report: Callable[[int, int], None] = lambda done, total: None) -> list[Path]:
    """``PERSON.mp4`` of each person: a folder for sets of kind ``videos``, as a teacher's frames would be.

    Frames are those of `write_heads`, each with another expression and camera: to learn from, not to watch.

    Returns:
        The files.
    Raises:
        DataError: the folder cannot be written.
    """
    total, done, files = sum(heads.frames(person) for person in range(len(heads.people))), 0, []

    def frames(person: int) -> Iterator[F32]:
        nonlocal done
        for frame in range(heads.frames(person)):
            yield heads.view(person, frame).image
            done += 1
            report(done, total)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for person, name in enumerate(heads.people):
            files.append(folder / f"{name}.mp4")
            write_video(files[-1], frames(person), VIDEO_FPS, quality=12)
    except (OSError, ImageError) as error:
        raise DataError(f"{folder}: cannot be written ({error})", "choose another folder, or make room") from error
    return files


def _write_frame(place: Path, frame: int, view: View, heads: SyntheticHeads) -> dict[str, object]:
    """Files of one frame; its entry in transforms.json."""
    number = f"{frame:05d}"
    joint = {name: view.pose[i] for i, name in enumerate(heads.rig.joint_names)}
    write_atomically(place / "images" / f"{number}.png", _png(_bytes(view.image)))
    write_atomically(place / "fg_masks" / f"{number}.png", _png(_bytes(view.matte)))
    assert view.depth is not None
    steps = np.clip(view.depth / DEPTH_UNIT + 0.5, 0, 65535).astype(np.uint16)
    write_atomically(place / "depth" / f"{number}.png", _png(steps))
    parameters = {
        "translation": np.zeros((1, 3), np.float32),
        "rotation": joint["root"][None],
        "neck_pose": joint["neck"][None],
        "jaw_pose": joint["jaw"][None],
        "eyes_pose": np.concatenate([joint["eye_left"], joint["eye_right"]])[None],
        "shape": view.shape,
        "expr": view.expression[None],
    }
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **parameters)
    write_atomically(place / "flame_param" / f"{number}.npz", packed.getvalue())
    camera = view.camera
    return {
        "timestep_index": frame, "camera_index": 0,
        "file_path": f"images/{number}.png", "fg_mask_path": f"fg_masks/{number}.png", "depth_path": f"depth/{number}.png",
        "flame_param_path": f"flame_param/{number}.npz",
        "transform_matrix": (np.linalg.inv(camera.world_to_camera.astype(np.float64)) @ _TO_OPENGL).tolist(),
        "fl_x": float(camera.intrinsics[0, 0]), "fl_y": float(camera.intrinsics[1, 1]),
        "cx": float(camera.intrinsics[0, 2]), "cy": float(camera.intrinsics[1, 2]), "w": camera.width, "h": camera.height,
    }  # fmt: skip


def _bytes(picture: F32) -> np.ndarray:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _tile(image: F32) -> np.ndarray:
    return np.asarray(Image.fromarray(_bytes(image)).resize((SHEET_TILE, SHEET_TILE), Image.Resampling.LANCZOS))


def _png(pixels: np.ndarray) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()
