"""Splats prepared for the node group: everything that can be computed once is computed here, in numpy. No bpy.

The node group evaluates `protocol.binding.deform`. With e1, e2 the triangle's edges, its frame R = (x, y, z), base b and
height h, and the shear s = e2 . x, a barycentric point is p0 + R (b1 b + b2 s, b2 h, 0). Since b = kx b_rest and
h = ky h_rest, the splat's centre becomes

    p0 + R (k * centre + (b2 s, 0, 0)),    centre = (b1 b_rest, b2 h_rest, 0) + offset

so a frame needs one gather of four values a triangle, one product and one rotation a splat. Likewise
scale_i = sqrt(spread_i . k^2) with spread_i = scale_i^2 * axes_squared_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocol import LocalSplats, RigArrays, SplatArrays, bind, deform, triangle_frames
from ..protocol.avatar import F32, I32


@dataclass(frozen=True)
class BoundSplats:
    """N splats in Blender's frame, at rest and bound. Lengths in metres.

    Attributes:
        position: [N, 3] rest centre.
        rotation: [N, 4] rest quaternion wxyz.
        scale: [N, 3] rest standard deviations, linear.
        radiance: [N, 4] degree-0 SH coefficients and opacity 0..1, as Blender 5.3's `radiance:base`.
        harmonics: [N, K - 1, 3] SH coefficients of degree 1 and more.
        face: [N] rig triangle.
        centre: [N, 3] centre from the triangle's first corner, in its frame, without shear.
        barycentric: [N, 3]; its third weight b2 is the share of the triangle's shear.
        local_rotation: [N, 4] rotation in the triangle's frame.
        spread: [N, 3, 3] row i: squared scale i times the squared components of axis i in the frame.
        patterns: [N, K, 3] as in `SplatArrays`.
    """

    position: F32
    rotation: F32
    scale: F32
    radiance: F32
    harmonics: F32
    face: I32
    centre: F32
    barycentric: F32
    local_rotation: F32
    spread: F32
    patterns: F32 = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.patterns is None:
            object.__setattr__(self, "patterns", np.zeros((len(self.position), 0, 3), np.float32))

    def __len__(self) -> int:
        return len(self.position)


def bind_splats(vertices: F32, faces: I32, splats: SplatArrays) -> BoundSplats:
    """Bind splats to the rig at rest: vertices [V, 3] and faces [F, 3], all in Blender's frame."""
    rest = RigArrays(
        vertices, faces, joints=np.zeros((0, 3), np.float32), parents=np.zeros(0, np.int32), weights=np.zeros((0, 0), np.float32),
        expressions=np.zeros((0, 0, 3), np.float32), joint_names=(), expression_names=(), rig_id="",
    )  # fmt: skip
    local = bind(rest, splats)
    b1, b2 = splats.barycentric[:, 1], splats.barycentric[:, 2]
    centre = local.offset + np.stack([b1 * local.base, b2 * local.height, np.zeros_like(b1)], 1)
    return BoundSplats(
        position=splats.position,
        rotation=splats.rotation,
        scale=splats.scale,
        radiance=np.concatenate([splats.sh[:, 0], splats.opacity[:, None]], 1).astype(np.float32),
        harmonics=np.ascontiguousarray(splats.sh[:, 1:], np.float32),
        face=splats.face,
        centre=centre.astype(np.float32),
        barycentric=splats.barycentric,
        local_rotation=local.rotation,
        spread=(splats.scale[:, :, None] ** 2 * local.axes_squared).astype(np.float32),
        patterns=splats.patterns,
    )


def rest_inverse(vertices: F32, faces: I32) -> F32:
    """[F, 3] of each rig triangle at rest: 1 / base, 1 / height, 0; what turns a posed triangle's size into its stretch."""
    frames = triangle_frames(vertices[faces])
    return np.stack([1 / frames.base, 1 / frames.height, np.zeros_like(frames.base)], 1).astype(np.float32)


def unbind(bound: BoundSplats, vertices: F32, faces: I32, rest: F32) -> SplatArrays:
    """Splats as plain arrays again, in Blender's frame, moved with the rig if its neutral shape was edited since.

    Args:
        vertices: [V, 3] neutral rig as it is now.
        rest: [F, 3] `rest_inverse` of the rig that the splats were bound to.
    """
    base, height = (1 / rest[bound.face, :2]).T
    inside = bound.barycentric[:, 1:] * np.stack([base, height], 1)
    offset = bound.centre - np.concatenate([inside, np.zeros((len(bound), 1), np.float32)], 1)
    local = LocalSplats(
        triangle=faces[bound.face],
        barycentric=bound.barycentric,
        offset=offset,
        rotation=bound.local_rotation,
        scale=bound.scale,
        axes_squared=bound.spread / bound.scale[:, :, None] ** 2,
        base=base,
        height=height,
    )
    position, rotation, scale = deform(local, vertices)
    sh = np.concatenate([bound.radiance[:, None, :3], bound.harmonics], 1)
    return SplatArrays(
        position, rotation, scale, np.ascontiguousarray(bound.radiance[:, 3]), np.ascontiguousarray(sh), bound.face, bound.barycentric,
        bound.patterns,
    )  # fmt: skip
