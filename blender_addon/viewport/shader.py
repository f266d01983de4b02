"""The GPU programs of the viewport, compiled from shaders/*.glsl at the first draw.

Resources are declared here through GPUShaderCreateInfo, the one way that OpenGL, Vulkan and Metal share.
Push constants stay within the 128 bytes that every device has.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import gpu

from .textures import TEXTURE_WIDTH

SHADERS = Path(__file__).resolve().parents[1] / "shaders"
CORNERS = ((-1, -1), (1, -1), (-1, 1), (1, 1))


def source(name: str) -> str:
    """Text of one shader stage, e.g. ``splat.vert``."""
    return (SHADERS / f"{name}.glsl").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def splat_shader() -> gpu.types.GPUShader:
    """Draws one splat per instance into the picture and the surface depth."""
    interface = gpu.types.GPUStageInterfaceInfo("lookalike_splat")
    interface.smooth("VEC2", "offset")
    interface.flat("VEC4", "colour")
    interface.smooth("FLOAT", "depth")
    info = gpu.types.GPUShaderCreateInfo()
    info.define("TEXTURE_WIDTH", str(TEXTURE_WIDTH))
    info.vertex_in(0, "VEC2", "corner")
    info.vertex_out(interface)
    info.push_constant("MAT4", "model_view")
    for name in ("projection", "frame", "origin"):
        info.push_constant("VEC4", name)
    for slot, name in enumerate(("geometry", "appearance", "order")):
        info.sampler(slot, "FLOAT_2D", name)
    info.fragment_out(0, "VEC4", "picture")
    info.fragment_out(1, "VEC4", "surface")
    info.vertex_source(source("splat.vert"))
    info.fragment_source(source("splat.frag"))
    return gpu.shader.create_from_info(info)


@lru_cache(maxsize=1)
def compose_shader() -> gpu.types.GPUShader:
    """Lays the finished picture over the viewport, tested against the scene's depth."""
    info = gpu.types.GPUShaderCreateInfo()
    info.vertex_in(0, "VEC2", "corner")
    for name in ("rect", "lens", "darken", "window"):
        info.push_constant("VEC4", name)
    info.sampler(0, "FLOAT_2D", "picture")
    info.sampler(1, "FLOAT_2D", "surface")
    info.fragment_out(0, "VEC4", "composed")
    if writes_depth():
        info.define("WRITE_DEPTH", "1")
        if hasattr(info, "depth_write"):
            info.depth_write("ANY")
    info.vertex_source(source("compose.vert"))
    info.fragment_source(source("compose.frag"))
    return gpu.shader.create_from_info(info)


def writes_depth() -> bool:
    """Whether a fragment can set its depth: always, but Metal needs the declaration that Blender has from 4.5 on.

    Without it the avatar is tested as a whole, at the depth of its middle.
    """
    return hasattr(gpu.types.GPUShaderCreateInfo, "depth_write") or gpu.platform.backend_type_get() != "METAL"


@lru_cache(maxsize=1)
def quad() -> gpu.types.GPUBatch:
    """The square -1..1 that every splat and the final picture are drawn on."""
    layout = gpu.types.GPUVertFormat()
    layout.attr_add(id="corner", comp_type="F32", len=2, fetch_mode="FLOAT")
    vertices = gpu.types.GPUVertBuf(layout, len(CORNERS))
    vertices.attr_fill("corner", CORNERS)
    return gpu.types.GPUBatch(type="TRI_STRIP", buf=vertices)


def release() -> None:
    """Forget the compiled programs."""
    for cached in (splat_shader, compose_shader, quad):
        cached.cache_clear()
