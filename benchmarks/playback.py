"""Playback in Blender: rig evaluation and binding, 50 keyed expressions, all bones, with face board and without. In a bpy interpreter.

The alternative is how handler-evaluated face rigs do it: a Python function on frame change reads the deformed mesh,
computes the binding in numpy (`protocol.binding.deform`) and writes the points back.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FRAMES = range(1, 61)
TARGET_MS = 15.0
READ_TARGET_MS = 3.0
FILM_MS = 1000 / 24
EXPRESSIONS = 50


def measure() -> list[dict[str, object]]:
    """Rows for benchmarks/run.py: median milliseconds a frame."""
    import bpy

    with registered_addon() as package:
        api = importlib.import_module(f"{package.__name__}.avatar")
        bpy.ops.wm.read_factory_settings(use_empty=True)
        avatar, build_ms = timed_build(api)
        key_everything(api, avatar)
        rows: list[dict[str, object]] = []
        wall = cpu = 0.0
        for level in avatar.splats:
            wall, cpu = frame_ms(avatar, level)
            rows.append(row(f"no face board, 50 expressions keyed: {label(avatar, level)}", wall, TARGET_MS))
        handler, handler_cpu = handler_ms(avatar)
        rows.append(against(f"the same: {label(avatar, 2)}", wall, "numpy in a frame handler", handler))
        rows.append(against(f"the same, processor time of all threads: {label(avatar, 2)}", cpu, "numpy in a frame handler", handler_cpu))
        rows.append(row(f"read evaluated splats: {label(avatar, 2)}", read_ms(api, avatar), READ_TARGET_MS))
        rows.append(row("arrays to data-blocks: rig and three levels", build_ms))
        for count, level in ((1, 2), (4, 1)):
            wall, cpu, what = with_face_boards(api, count, level)
            rows.append(row(f"face boards, expressions and ARKit layer keyed: {what}", wall, FILM_MS))
            rows.append(row(f"the same, processor time of all threads: {what}", cpu, FILM_MS))
    return rows


def row(what: str, value: float, target: float | None = None) -> dict[str, object]:
    return {
        "what": f"Blender playback, {what}",
        "value": value,
        "unit": "ms",
        "target": target,
        "against": "" if target is None else "target",
        "ratio": None if target is None else value / target,
    }


def against(what: str, value: float, alternative: str, other: float) -> dict[str, object]:
    return {**row(what, value), "against": f"{alternative}: {other:.1f} ms", "ratio": value / other}


@contextmanager
def registered_addon() -> Iterator[ModuleType]:
    """The add-on, staged as the zip holds it, imported and registered."""
    sys.path.insert(0, str(ROOT))
    from build import stage

    with tempfile.TemporaryDirectory(prefix="lookalike-stage-") as folder:
        stage(Path(folder) / "lookalike_benchmarked")
        sys.path.insert(0, folder)
        package = importlib.import_module("lookalike_benchmarked")
        package.register()
        try:
            yield package
        finally:
            package.unregister()


def full_size_avatar():
    """An avatar of production size: 5102 vertices, 10k, 41k and 92k splats, 50 expressions."""
    from tests.synthetic import synthetic_avatar, synthetic_rig, synthetic_splats

    rig = synthetic_rig(100, 52)
    extra = EXPRESSIONS - len(rig.expressions)
    wiggles = (np.random.default_rng(3).standard_normal((extra, len(rig.vertices), 3)) * 1e-4).astype(np.float32)
    names = (*rig.expression_names, *(f"wiggle{i:02d}" for i in range(extra)))
    rig = replace(rig, expressions=np.concatenate([rig.expressions, wiggles]), expression_names=names)
    return replace(synthetic_avatar(), rig=rig, lods=tuple(synthetic_splats(rig, n) for n in (1, 4, 9)))


def timed_build(api: ModuleType):
    import bpy

    arrays = full_size_avatar()
    start = time.perf_counter()
    avatar = api.build_avatar(arrays, bpy.context.scene.collection)
    return avatar, (time.perf_counter() - start) * 1e3


def key_everything(api: ModuleType, avatar) -> None:
    """Every expression and every bone moves on every frame."""
    rng = np.random.default_rng(4)
    frames = np.arange(FRAMES.start, FRAMES.stop, 10)
    expressions = {name: rng.uniform(0.1, 1, len(frames)).astype(np.float32) for name in api.expression_names(avatar.collection)}
    pose = rng.uniform(-0.3, 0.3, (len(frames), len(avatar.joint_names), 3)).astype(np.float32)
    api.motion_to_keys(avatar, frames, expressions, pose, "BEZIER")


def with_face_boards(api: ModuleType, count: int, level: int) -> tuple[float, float, str]:
    """Wall and processor time of a frame of `count` avatars as an animator has them: posed by controls, both layers and bones keyed."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    frames = np.array([FRAMES.start, FRAMES.stop])
    avatar = None
    for _ in range(count):
        avatar, _build = timed_build(api)
        api.add_controls(avatar.collection)
        key_everything(api, avatar)
        for channel in api.expression_channels(avatar.collection, "arkit").values():
            api.key_channel(channel, frames, np.array([0.0, 0.3], np.float32))
        avatar.collection.lookalike.lod = str(level)
    return *playback_ms(), f"{count} x {label(avatar, level)}"


def frame_ms(avatar, level: int) -> tuple[float, float]:
    """Wall and processor time of a frame change with one level shown."""
    avatar.collection.lookalike.lod = str(level)
    return playback_ms()


def playback_ms() -> tuple[float, float]:
    """Median wall time of a frame, and mean processor time, which does not depend on what else the machine does."""
    start = time.process_time()
    wall = median_ms([lambda frame=frame: set_frame(frame) for frame in FRAMES])
    return wall, (time.process_time() - start) * 1e3 / len(FRAMES)


def handler_ms(avatar) -> tuple[float, float]:
    """The same where numpy in a handler moves LOD 2 instead of the node group."""
    import bpy

    binding = importlib.import_module("lookalike_benchmarked.protocol.binding")
    frames = importlib.import_module("lookalike_benchmarked.avatar.frames")
    arrays = full_size_avatar()
    local = binding.bind(frames.rig_to_blender(arrays.rig), frames.splats_to_blender(arrays.splats(2)))
    avatar.collection.lookalike.lod = "2"
    obj, head = avatar.splats[2], avatar.head
    modifier = obj.modifiers[0]
    modifier.show_viewport = False
    vertices = np.empty((len(head.data.vertices), 3), np.float32)

    def move_splats(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
        head.evaluated_get(depsgraph).data.vertices.foreach_get("co", vertices.ravel())
        attributes = obj.data.attributes
        for (name, key), values in zip(
            (("position", "vector"), ("rotation", "value"), ("scale", "vector")), binding.deform(local, vertices), strict=True
        ):
            attributes[name].data.foreach_set(key, values.ravel())
        obj.data.update_tag()

    bpy.app.handlers.frame_change_post.append(move_splats)
    try:
        return playback_ms()
    finally:
        bpy.app.handlers.frame_change_post.remove(move_splats)
        modifier.show_viewport = True


def read_ms(api: ModuleType, avatar) -> float:
    """Median time to read position, rotation, scale, colour and opacity of LOD 2."""
    import bpy

    set_frame(FRAMES.start)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    return median_ms([lambda: api.read_evaluated(avatar.splats[2], depsgraph)] * 30)


def set_frame(frame: int) -> None:
    """Go to a frame and evaluate everything that shows."""
    import bpy

    bpy.context.scene.frame_set(frame)


def median_ms(calls: list[Callable[[], object]]) -> float:
    times = []
    for call in calls:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1e3)


def label(avatar, level: int) -> str:
    return f"LOD {level}, {round(len(avatar.splats[level].data.vertices) / 1000)}k splats"


if __name__ == "__main__":
    for each in measure():
        print(
            f"{each['what']}: {each['value']:.2f} {each['unit']}" + (f", {each['ratio']:.2f} of {each['against']}" if each["ratio"] else "")
        )
