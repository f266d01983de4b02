"""The measures that the paper's tables have, where their weights are on this machine, and what stands in for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.protocol.avatar import F32

FACE_PIXELS = 512
"""Small pictures are enlarged to this before faces are looked for."""


def perceptual_measure() -> tuple[str, Callable[[F32, F32], float]] | None:
    """LPIPS, or None where its weights are not there."""
    from backend.training.perceptual import load_lpips

    lpips = load_lpips()
    if lpips is None:
        return None
    tensor = lambda image: torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    return "LPIPS", lambda a, b: float(lpips(tensor(a), tensor(b)))


def identity_measure() -> tuple[str, Callable[[F32, F32], float | None]] | None:
    """The paper's ACD (cosine distance of ArcFace embeddings); without its weights the distance of our own landmarks.

    None where the face nets are not installed. The measures give None where no single face is found in one of the pictures.
    """
    from backend.tracking import default_tracker

    tracker = default_tracker()
    if tracker is None:
        return None
    embed = arcface_embedding()
    if embed is None:
        return "landmarks*", lambda a, b: _landmark_distance(tracker, a, b)

    def distance(a: F32, b: F32) -> float | None:
        x, y = embed(a), embed(b)
        return None if x is None or y is None else 1 - float(np.dot(x, y))

    return "ACD", distance


def arcface_embedding() -> Callable[[F32], NDArray | None] | None:
    """ArcFace's unit vector of a picture's one face (None where there is not one); None without its weights or our face nets."""
    from backend.tracking import default_tracker
    from backend.training.identity_net import aligned_face, load_identity_net

    net = load_identity_net()
    if net is None:
        return None
    tracker = default_tracker()
    if tracker is None:
        return None

    def embed(picture: F32) -> NDArray | None:
        large = _enlarged(picture)
        faces = tracker.faces(large)
        return net(aligned_face(large, faces[0].landmarks))[0].detach().numpy() if len(faces) == 1 else None

    return embed


def _landmark_distance(tracker: Any, a: F32, b: F32) -> float | None:
    """Mean distance of the mesh's landmarks in the plane, in heights of the true face."""
    found = _faces(tracker, a, b)
    if found is None:
        return None
    got, wanted = (face.landmarks[:468, :2] for _, face in found)
    return float(np.linalg.norm(got - wanted, axis=1).mean() / np.ptp(wanted[:, 1]))


def _faces(tracker: Any, a: F32, b: F32) -> list[tuple[F32, Any]] | None:
    """Each picture, enlarged, with its one face."""
    found = []
    for picture in (a, b):
        large = _enlarged(picture)
        faces = tracker.faces(large)
        if len(faces) != 1:
            return None
        found.append((large, faces[0]))
    return found


def _enlarged(picture: F32) -> F32:
    import cv2

    if picture.shape[0] >= FACE_PIXELS:
        return picture
    return np.clip(cv2.resize(picture, (FACE_PIXELS, FACE_PIXELS), interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)
