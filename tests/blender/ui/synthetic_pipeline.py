"""What a real server's worker runs in these tests: no photo is looked at, the portrait's name says what happens.

`slow*` takes until it is cancelled (refining keeps its best then), `other*` shows somebody else, `worse*` does not help, `killed*` ends
the worker, `two*` shows two faces, `blank*` none, `doubt*` a doubtful one; every other one becomes the synthetic avatar, or, tracked,
one second of a jaw that opens and a head that turns to the left.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np

from backend.personalize.ending import Enough, NoImprovementError
from backend.personalize.job import Personalized
from backend.protocol.adapters import add, difference
from backend.protocol.avatar import Adapter, Avatar
from backend.protocol.avatar_file import decode_avatar
from backend.protocol.errors import Cancelled, FaceError
from backend.protocol.messages import Personalize, Reconstruct, Track
from tests.synthetic import synthetic_avatar

FACES = [{"box": [210.0, 50.0, 300.0, 170.0], "score": 0.98}, {"box": [10.0, 60.0, 90.0, 160.0], "score": 0.97}]


def warm_up() -> tuple[str, list[str], list[str]]:
    return "test", ["projection", "other"], ["builtin", "flame"]


def reconstruct(files: list[tuple[str, bytes]], body: Reconstruct, listener) -> Avatar:
    for (name, _), face in zip(files, body.faces or (None,) * len(files), strict=True):
        if name.startswith("two") and face is None:
            message = f"{name}: two faces found"
            raise FaceError(message, "choose one with --face 0 or --face 1", {"portrait": name, "faces": FACES})
        if name.startswith("blank"):
            raise FaceError(f"{name}: no face found", "choose a photo that shows one")
    avatar = synthetic_avatar()
    listener.progress(0.1, "track", "looking")
    listener.rig(avatar.rig)
    if files[0][0].startswith("slow"):
        for step in range(600):
            listener.progress(0.1 + step * 1e-3, "project", f"step {step}")
            time.sleep(0.05)
    for level, splats in enumerate(avatar.lods):
        listener.progress(0.3 * (level + 1), "project")
        listener.lod(level, splats, avatar.shoulders)
    facts = {"name": body.name, "consent": body.consent, "model": body.model, "rig": body.rig}
    facts |= {"faces": list(body.faces), "images": [name for name, _ in files]}
    doubts = [f"{name}: the face may be a statue" for name, _ in files if name.startswith("doubt")]
    return replace(avatar, provenance={**facts, "warnings": doubts})


def personalize(avatar: bytes, files: list[tuple[str, bytes]], body: Personalize, listener) -> Personalized:
    """Every splat a little darker and larger at each step; level 1 and the curve come on the way."""
    read, name = decode_avatar(avatar), files[0][0]
    for (each, _), face in zip(files, body.faces or (None,) * len(files), strict=True):
        if each.startswith("two") and face is None:
            raise FaceError(f"{each}: two faces found", "choose one with --face 0 or --face 1", {"portrait": each, "faces": FACES})
        if each.startswith("blank"):
            raise FaceError(f"{each}: no face found", "choose a photo that shows one")
        if each.startswith("other"):
            message = f"{each} (0.12): seems not to be the person of {read.name}; details of the face agree by less than 0.5"
            raise FaceError(message, "leave it out", {"strangers": [each]})
        if each.startswith("worse"):
            message = "the photos make the avatar no better: held-out pixels (1 of 4 photos: a.jpg) went from 30.00 to 30.01 dB"
            raise NoImprovementError(
                message, "give other photos of the person, sharper, evenly lit and from several sides; the avatar stays as it is"
            )
        if each.startswith("killed"):
            os._exit(9)
    steps, done, lods = (10_000 if name.startswith("slow") else body.steps), 0, read.lods
    try:
        for done in range(1, steps + 1):
            listener.progress(done / steps, "lod 1", f"step {done} of {steps}")
            time.sleep(0.25 if name.startswith("slow") else 0.0)  # time to be seen
            lods = tuple(replace(lod, sh=lod.sh - np.float32(0.01), scale=lod.scale * np.float32(1.001)) for lod in lods)
            listener.lod(1, lods[1], read.shoulders)
            listener.curve(np.full((27, 48, 3), min(done, 255), np.uint8))
    except Enough:
        if done < 2:
            raise Cancelled("the job was cancelled before it had made anything better") from None
    facts = {"taken": done, "steps": body.steps, "psnr_before": 30.0, "psnr_after": 30.0 + 0.01 * done, "judged_by": "test"}
    facts |= {"photos": [each for each, _ in files], "consent": body.consent, "method": body.method}
    adapter = Adapter(name.rsplit(".", 1)[0], "photometric", "2026-11-20T00:00:00+00:00", True, facts, difference(read.lods, lods))
    return Personalized(add(read, adapter), np.zeros((27, 48, 3), np.uint8), ("a warning",) if name.startswith("doubt") else ())


def track(files: list[tuple[str, bytes]], body: Track, listener) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    name, face = files[0][0], (body.faces or (None,))[0]
    if name.startswith("two") and face is None:
        raise FaceError(f"{name}: two faces found", "choose one with --face 0 or --face 1", {"portrait": name, "faces": FACES})
    frames = 25
    for step in range(600 if name.startswith("slow") else 3):
        listener.progress(0.01 * (step % 100), "track", f"frame {step}")
        time.sleep(0.05 if name.startswith("slow") else 0.0)
    ramp = np.linspace(0, 1, frames, dtype=np.float32)
    pose = np.zeros((frames, 5, 3), np.float32)
    pose[:, 2, 0] = 0.3 * ramp
    cameras = np.repeat(np.eye(4, dtype=np.float32)[None], frames, 0)
    cameras[:, 0, 0] = cameras[:, 2, 2] = np.cos(0.4 * ramp)
    cameras[:, 0, 2], cameras[:, 2, 0] = np.sin(0.4 * ramp), -np.sin(0.4 * ramp)
    arrays = {
        "expression": np.stack([ramp, ramp], 1), "pose": pose, "world_to_camera": cameras,
        "intrinsics": np.repeat(np.eye(3, dtype=np.float32)[None], frames, 0), "tracked": np.ones(frames, np.uint8),
        "size": np.array([640, 480], np.int32), "fps": np.array([25.0], np.float32),
    }  # fmt: skip
    return arrays, ("mouthSmile", "eyeBlinkLeft")
