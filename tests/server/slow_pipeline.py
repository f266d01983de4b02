"""What the server's tests let the worker run: a real avatar in real stages, slowly, and every way to go wrong.

The request's `consent` says what shall happen, in words separated by spaces, e.g. "stages=0.2 crash".
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from dataclasses import replace

import numpy as np

from backend.personalize.job import Personalized
from backend.personalize.photometric import Enough
from backend.protocol.adapters import add, difference
from backend.protocol.avatar import Adapter, Avatar
from backend.protocol.avatar_file import decode_avatar
from backend.protocol.color_basis import ColorBasis
from backend.protocol.errors import Cancelled, FaceError
from tests.synthetic import synthetic_avatar


def warm_up():
    print("a library prints to standard output")  # must not reach the server as an event
    return "test device", ["slow"], ["builtin"]


def reconstruct(files, request, listener) -> Avatar:
    orders = dict([*word.split("="), ""][:2] for word in request.consent.split())
    pause = float(orders.get("stages", 0))
    avatar = synthetic_avatar()
    _wait(listener, 0.1, "track", pause)
    _misbehave(orders, files)
    listener.rig(avatar.rig)
    for level in range(3):
        _wait(listener, 0.3 + 0.2 * level, "reconstruct", pause)
        listener.lod(level, avatar.lods[level], avatar.shoulders)
    _wait(listener, 0.9, "solve", pause)
    return Avatar(avatar.rig, avatar.lods, avatar.shoulders, avatar.drivers, {"name": request.name, "sizes": [len(d) for _, d in files]})


def personalize(avatar, files, request, listener):
    """Makes every splat a little darker at each step; the request's `steps` says how often."""
    avatar = decode_avatar(avatar)
    lods, done = avatar.lods, 0
    try:
        for done in range(1, request.steps + 1):
            listener.progress(done / request.steps, "lod 1", f"step {done}")
            time.sleep(0.05)
            lods = tuple(replace(lod, sh=lod.sh - np.float32(0.01)) for lod in lods)
            listener.lod(1, lods[1], avatar.shoulders)
            listener.curve(np.full((4, 6, 3), done % 256, np.uint8))
    except Enough:
        if done == 1:
            raise Cancelled("nothing better yet") from None
    adapter = Adapter("test", "photometric", "", True, {"taken": done, "consent": request.consent}, difference(avatar.lods, lods))
    return Personalized(add(avatar, adapter), np.zeros((4, 6, 3), np.uint8), ("a warning",))


def bake(avatar, request, listener):
    """Gives level 0 one pattern of colour, stronger at each step; the request's `steps` says how often."""
    avatar, done = decode_avatar(avatar), 0
    finished = None
    try:
        for done in range(1, request.steps + 1):
            listener.progress(done / request.steps, "lod 0", f"step {done}")
            time.sleep(0.05)
            head = replace(avatar.lods[0], patterns=np.full((len(avatar.lods[0]), 1, 3), done / 8, np.float32))
            basis = ColorBasis(avatar.rig.expression_names[:1], np.ones((1, 1), np.float32))
            finished = replace(avatar, lods=(head, *avatar.lods[1:]), color_basis=basis)
            listener.lod(0, head, avatar.shoulders)
    except Enough:
        if finished is None:
            raise Cancelled("nothing better yet") from None
    told = {"levels": [], "frames": {"learned": 1, "held_out": 1}, "taken": done, "seed": request.seed}
    return replace(finished, provenance={**avatar.provenance, "baked": told})


def track(files, request, listener):
    listener.progress(0.5, "track", files[0][0])
    return {"expression": np.zeros((2, 3), np.float32), "pose": np.zeros((2, 5, 3), np.float32)}, ("a", "b", "c")


def render(avatar, view) -> np.ndarray:
    decode_avatar(avatar)
    return np.full((view.size, view.size, 3), 128, np.uint8)


def _wait(listener, fraction: float, stage: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    listener.progress(fraction, stage, "at it")
    while time.monotonic() < end:
        time.sleep(min(0.05, seconds))
        listener.progress(fraction, stage, "at it")


def _misbehave(orders: dict[str, str], files) -> None:
    if "segfault" in orders:
        ctypes.string_at(0)
    if "exit" in orders:
        os._exit(3)
    if "once" in orders:  # dies the first time only: a retry succeeds
        marker = orders["once"]
        if not os.path.exists(marker):
            open(marker, "w").close()
            os._exit(9)
    if "deaf" in orders:
        time.sleep(60)
    if "bug" in orders:
        raise ZeroDivisionError("one of ours")
    if "memory" in orders:
        raise MemoryError("no room")
    if "faces" in orders:
        faces = [{"box": [1.0, 2.0, 3.0, 4.0], "score": 0.9}, {"box": [5.0, 6.0, 7.0, 8.0], "score": 0.8}]
        raise FaceError(f"{files[0][0]}: two faces found", "choose one", {"portrait": files[0][0], "faces": faces})
    if "noise" in orders:
        sys.stdout.write("x" * 100_000)
        sys.stdout.flush()


class CannotStart:
    """A pipeline whose worker never gets warm."""

    def warm_up(self):
        raise RuntimeError("the nets are broken")
