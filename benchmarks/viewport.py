"""Drawing in the viewport: Blender's Python side of a redraw, camera turning. Runs in a bpy interpreter from 5.2 on.

What the graphics card does is left out, because Mesa's software driver would do it inside these calls: the two draw
calls are replaced by nothing and the picture that is cleared is small. All else is real: finding avatars, textures,
framebuffers, uniforms, sorts arriving from the thread. The alternative is how published splat add-ons do it: argsort in
the handler, and a Python list as buffer.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from types import ModuleType

import numpy as np

FRAMES = 60
FRAME_SECONDS = 1 / 60
TARGET_MS = 2.0
SIZE = (64, 36)


def measure() -> list[dict[str, object]]:
    """Rows for benchmarks/run.py: median milliseconds a redraw; nothing where this Blender has no GPU without a window."""
    import bpy
    import gpu

    if not hasattr(gpu, "init"):
        return []
    gpu.init()
    playback = importlib.import_module("benchmarks.playback")
    with playback.registered_addon() as package:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        api = importlib.import_module(f"{package.__name__}.avatar")
        avatar = api.build_avatar(sized_avatar(), bpy.context.scene.collection)
        rows = []
        for level in avatar.splats:
            avatar.collection.lookalike.lod = str(level)
            bpy.context.view_layer.update()
            rows.append(row(f"draw call, camera turning: {playback.label(avatar, level)}", turning_ms(package), TARGET_MS))
            ours, theirs = rows[-1]["value"], list_upload_ms(package, avatar, level)
            against = f"argsort and list upload in the handler: {theirs:.1f} ms"
            what = f"the same against the usual way: {playback.label(avatar, level)}"
            rows.append({**row(what, ours), "against": against, "ratio": ours / theirs})
        rows.append(row(f"draw call, nothing changed: {playback.label(avatar, 1)}", turning_ms(package, step=0.0), TARGET_MS))
        for level in avatar.splats:
            avatar.collection.lookalike.lod = str(level)
            bpy.context.view_layer.update()
            (ours, cpu), (theirs, their_cpu) = refresh_ms(package, avatar, level), list_refresh_ms(package, avatar, level)
            what = f"playing, a new pose read, packed, uploaded: {playback.label(avatar, level)}"
            for name, value, other in ((what, ours, theirs), (f"the same, processor time of all threads: {what}", cpu, their_cpu)):
                rows.append({**row(name, value), "against": f"argsort and every value as a list: {other:.1f} ms", "ratio": value / other})
    return rows


def row(what: str, value: float, target: float | None = None) -> dict[str, object]:
    return {
        "what": f"Viewport, {what}",
        "value": value,
        "unit": "ms",
        "target": target,
        "against": "" if target is None else "target",
        "ratio": None if target is None else value / target,
    }


def sized_avatar():
    """20k and 89k splats in levels 0 and 1."""
    from dataclasses import replace

    from tests.synthetic import synthetic_avatar, synthetic_rig, synthetic_splats

    rig = synthetic_rig(100, 50)
    return replace(synthetic_avatar(), rig=rig, lods=(synthetic_splats(rig, 2), synthetic_splats(rig, 9)))


class NoDrawing:
    """Stands in for the quad's batch."""

    def draw(self, _program: object) -> None: ...

    def draw_instanced(self, _program: object, **_instances: int) -> None: ...


def turning_ms(package: ModuleType, step: float = 0.02) -> float:
    """Median time of a redraw while the camera turns by `step` radians a frame, sixty frames a second."""
    import bpy

    part = lambda name: importlib.import_module(f"{package.__name__}.viewport.{name}")
    drawing, placement, clouds, sorting, shader = (part(n) for n in ("drawing", "placement", "clouds", "sorting", "shader"))
    index, held, canvases, sorter = placement.SceneIndex(), clouds.Clouds(), drawing.Canvases(), sorting.DepthSorter()
    quad, shader.quad = shader.quad, NoDrawing
    times = []
    try:
        for frame in range(FRAMES):
            view = turned_view(drawing, 0.5 + step * frame)
            start = time.perf_counter()
            depsgraph = bpy.context.evaluated_depsgraph_get()
            items = []
            for placed in placement.placed_splats(index, depsgraph, None):
                key, cloud = held.get(placed.source, depsgraph)
                cloud.refresh(placed.source, depsgraph)
                items.append(drawing.lay_out(cloud, key, placed.matrix, view))
            drawing.draw_items([item for item in items if item], view, canvases, sorter)
            times.append(time.perf_counter() - start)
            time.sleep(FRAME_SECONDS)
    finally:
        shader.quad = quad
        sorter.stop()
    return float(np.median(times[5:]) * 1e3)


def turned_view(drawing: ModuleType, angle: float):
    """A camera 0.6 m away, turned about the vertical."""
    from mathutils import Matrix

    view = Matrix.Translation((0, 0, -0.6)) @ Matrix.Rotation(-np.pi / 2, 4, "X") @ Matrix.Rotation(-angle, 4, "Z")
    near, far = 0.01, 100.0
    depth = (0, 0, -(far + near) / (far - near), -2 * far * near / (far - near))
    projection = Matrix(((1.4, 0, 0, 0), (0, 2.5, 0, 0), depth, (0, 0, -1, 0)))
    return drawing.View(view, projection, SIZE)


def list_upload_ms(package: ModuleType, avatar, level: int) -> float:
    """Median time of sorting in the handler and uploading the order as a Python list."""
    import bpy
    import gpu

    read_pose = importlib.import_module(f"{package.__name__}.avatar.evaluated").read_pose
    position = read_pose(avatar.splats[level], bpy.context.evaluated_depsgraph_get())["position"]
    width = 2048
    padding = -len(position) % width
    times = []
    for frame in range(FRAMES // 3):
        angle = 0.02 * frame
        direction = np.array([np.sin(angle), -np.cos(angle), 0.0], np.float32)
        start = time.perf_counter()
        order = np.argsort(position @ direction, kind="stable").astype(np.float32)
        values = np.concatenate([order, np.zeros(padding, np.float32)])
        buffer = gpu.types.Buffer("FLOAT", len(values), values.tolist())
        gpu.types.GPUTexture((width, len(values) // width), format="R32F", data=buffer)
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1e3)


def list_refresh_ms(package: ModuleType, avatar, level: int) -> tuple[float, float]:
    """Median wall and processor time of what the usual way does for a moved cloud: read it, sort it, upload its values as lists."""
    import bpy
    import gpu

    evaluated = importlib.import_module(f"{package.__name__}.avatar.evaluated")
    times = []
    for frame in range(6):
        avatar.head.data.shape_keys.key_blocks[1].value = 0.05 * frame
        bpy.context.view_layer.update()
        start = time.perf_counter(), time.process_time()
        pose = evaluated.read_pose(avatar.splats[level], bpy.context.evaluated_depsgraph_get())
        order = np.argsort(pose["position"][:, 1], kind="stable")
        values = np.concatenate([np.asarray(part, np.float32)[order].ravel() for part in pose.values()])
        width = 2048
        values = np.concatenate([values, np.zeros(-len(values) % width, np.float32)])
        buffer = gpu.types.Buffer("FLOAT", len(values), values.tolist())
        gpu.types.GPUTexture((width, len(values) // width), format="R32F", data=buffer)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, processor = np.median(times[1:], axis=0) * 1e3
    return float(wall), float(processor)


def refresh_ms(package: ModuleType, avatar, level: int) -> tuple[float, float]:
    """Median wall and processor time from a changed pose to textures."""
    import bpy

    clouds = importlib.import_module(f"{package.__name__}.viewport.clouds")
    depsgraph = bpy.context.evaluated_depsgraph_get()
    obj = avatar.splats[level]
    held = clouds.Clouds()
    times = []
    for frame in range(20):
        avatar.head.data.shape_keys.key_blocks[1].value = 0.05 * frame
        bpy.context.view_layer.update()
        held.mark({obj.session_uid})
        _, cloud = held.get(obj, depsgraph)
        start = time.perf_counter(), time.process_time()
        cloud.refresh(obj, depsgraph)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, processor = np.median(times[2:], axis=0) * 1e3
    return float(wall), float(processor)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    for each in measure():
        ratio = f", {each['ratio']:.2f} of {each['against']}" if each["ratio"] else ""
        print(f"{each['what']}: {each['value']:.2f} {each['unit']}{ratio}")
