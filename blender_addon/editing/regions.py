"""Regions of a head to hide or show as a whole: hair, shoulders, neck, face, eyes, and any vertex group of the rig mesh."""

from __future__ import annotations

import bpy
import numpy as np

from ..avatar import expression_keys, head_of, rest_mesh, splats_of
from ..avatar.host import RADIANCE, read_attribute
from ..protocol import AvatarFileError
from ..protocol.avatar import F32, I32, SH_C0
from .edits import Edits

REGIONS = ("HAIR", "SHOULDERS", "NECK", "FACE", "EYES")
STILL = 0.0003
"""Metres that an expression moves skin of the face; scalp, ears and neck stay."""


def region_names(avatar: bpy.types.Collection) -> list[str]:
    """What `region_weights` knows for this avatar: the regions, then the rig mesh's vertex groups that are no joints."""
    head = head_of(avatar)
    groups = [] if head is None else [group.name for group in head.vertex_groups]
    return [*REGIONS, *(name for name in groups if f'"{name}"' not in avatar.lookalike.joints)]


def region_weights(avatar: bpy.types.Collection, region: str) -> dict[int, F32]:
    """Level of detail -> [N] weight 0..1 of each splat.

    Raises:
        AvatarFileError: the avatar has no such region, or has lost its rig.
    """
    head = head_of(avatar)
    if head is None:
        raise AvatarFileError(f"{avatar.name}: has lost its rig", "undo the deletion")
    return {level: _weights(obj, head, region).astype(np.float32) for level, obj in splats_of(avatar).items()}


def hide_region(avatar: bpy.types.Collection, region: str, hide: bool = True) -> int:
    """Hide or show a region on every level; returns how many splats of the finest changed. Raises as `region_weights`."""
    changed = 0
    objects = splats_of(avatar)
    for level, weights in region_weights(avatar, region).items():
        edits = Edits(objects[level])
        changed = edits.apply("HIDE" if hide else "SHOW", weights)
        edits.write()
    return changed


def _weights(obj: bpy.types.Object, head: bpy.types.Object, region: str) -> np.ndarray:
    face = read_attribute(obj.data, "lookalike:face")
    shoulders = np.arange(len(face)) >= len(face) - obj.lookalike.shoulders
    if region == "SHOULDERS":
        return shoulders
    barycentric = read_attribute(obj.data, "lookalike:barycentric")
    vertices, faces = rest_mesh(head)
    at_splats = lambda values: np.einsum("nk,nk->n", barycentric, values[faces[face]])
    if region == "EYES":
        return (at_splats(group_weights(head, "eye_left") + group_weights(head, "eye_right")) > 0.5) & ~shoulders
    moved = _moved(head, vertices)
    if region == "FACE":
        return (at_splats(moved) > STILL) & ~shoulders
    if region == "NECK":
        return (at_splats(group_weights(head, "root")) > 0.5) & ~shoulders
    if region == "HAIR":
        return _hair(obj, head, moved, vertices, faces) & ~shoulders
    if region in head.vertex_groups:
        return at_splats(group_weights(head, region))
    raise AvatarFileError(f"{head.name}: has no region or vertex group “{region}”", f"it has {', '.join(REGIONS)}")


def _hair(obj: bpy.types.Object, head: bpy.types.Object, moved: np.ndarray, vertices: F32, faces: I32) -> np.ndarray:
    """[N] bool: splats of the scalp, and of fringe and sides where they have the scalp's colours rather than the skin's.

    The colours of scalp and of cheeks are two normal distributions; the evidence of the splats on each triangle is summed
    and smoothed over the mesh, so that highlights in hair stay hair. Where both have one colour, only the scalp is hair.

    Args:
        moved: [V] metres that expressions move each vertex.
    """
    face = read_attribute(obj.data, "lookalike:face")
    color = np.clip(read_attribute(obj.data, RADIANCE)[:, :3] * SH_C0 + 0.5, 0, 1)
    eyes, neck = _joint(head, "eye_left"), _joint(head, "neck")
    top = vertices[:, 2].max()
    height = (vertices[:, 2] - eyes[2]) / max(top - eyes[2], 1e-6)  # 0 at the eyes, 1 at the crown
    back = vertices[:, 1] > neck[1] - 0.02
    of_head = group_weights(head, "root") < 0.5
    calm = (moved < 2.5e-3) & of_head  # brows move the forehead up to the crown, a little
    cheek = (moved > 2e-3) & (height > -0.8) & (height < 0.1) & (np.abs(vertices[:, 0]) < 1.4 * abs(eyes[0]))
    aside = (np.abs(vertices[:, 0]) > 1.9 * abs(eyes[0])) & (height > -0.8)
    scalp = calm & ((height > 0.5) | (back & (height > 0.1)))
    evidence = _evidence(color, scalp[faces].all(1)[face], cheek[faces].all(1)[face])
    if evidence is None:
        return scalp[faces].any(1)[face]
    likely = _smoothed(evidence, face, faces, len(vertices)) > 0
    beyond = ((height > 0.25) | back | aside) & of_head & (moved < 6e-3)
    hair = scalp & (likely | (height > 0.6)) | (likely & beyond)
    return (hair[faces].sum(1) >= 2)[face]


def _evidence(color: F32, of_hair: np.ndarray, of_skin: np.ndarray) -> np.ndarray | None:
    """[N] how much likelier each colour is of hair than of skin, in nats, at most 4; None where the two are alike."""
    if of_hair.sum() < 20 or of_skin.sum() < 20:
        return None
    scores, means = [], []
    for sample in (color[of_hair], color[of_skin]):
        # Once more without the farthest fifth: nostrils, lips and strands lie among the skin.
        trusted = sample[_distance(sample, *_normal(sample)) <= np.quantile(_distance(sample, *_normal(sample)), 0.8)]
        mean, covariance = _normal(trusted)
        scores.append(-0.5 * (_distance(color, mean, covariance) + np.log(np.linalg.det(covariance))))
        means.append(mean)
    if np.linalg.norm(means[0] - means[1]) < 0.06:
        return None
    return np.clip(scores[0] - scores[1], -4, 4)


def _normal(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of colours [N, 3]."""
    return sample.mean(0), np.cov(sample.T) + 1e-3 * np.eye(3)


def _distance(color: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """[N] squared Mahalanobis distance."""
    off = color - mean
    return np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off)


def _smoothed(evidence: np.ndarray, face: I32, faces: I32, count: int, times: int = 4) -> np.ndarray:
    """[V] mean evidence of the splats about each vertex, smoothed over the mesh."""
    total, number = np.bincount(face, evidence, len(faces)), np.bincount(face, minlength=len(faces))
    of_face = total / np.maximum(number, 1)
    for _ in range(times):
        summed = sum(np.bincount(faces[:, corner], of_face, count) for corner in range(3))
        met = sum(np.bincount(faces[:, corner], minlength=count) for corner in range(3))
        of_vertex = summed / np.maximum(met, 1)
        of_face = of_vertex[faces].mean(1)
    return of_vertex


def _joint(head: bpy.types.Object, name: str) -> np.ndarray:
    """Rest place of a joint in the rig mesh's space."""
    return np.array(head.parent.data.bones[name].head_local)


def _moved(head: bpy.types.Object, vertices: F32) -> np.ndarray:
    """[V] how far any expression moves a vertex, metres; what the jaw turns counts as moved."""
    furthest = np.zeros(len(vertices), np.float32)
    for key in expression_keys(head):
        values = np.empty((len(vertices), 3), np.float32)
        key.data.foreach_get("co", values.ravel())
        np.maximum(furthest, np.linalg.norm(values - vertices, axis=1), out=furthest)
    return np.maximum(furthest, 0.01 * (group_weights(head, "jaw") > 0.2))


def group_weights(head: bpy.types.Object, name: str) -> np.ndarray:
    """[V] weights of a vertex group, zeros where there is none."""
    weights = np.zeros(len(head.data.vertices), np.float32)
    group = head.vertex_groups.get(name)
    if group is not None:
        for vertex in head.data.vertices:
            for element in vertex.groups:
                if element.group == group.index:
                    weights[vertex.index] = element.weight
    return weights
