"""What a network is worth on people that it never saw: picture measures always, others where their nets are there.

PSNR and SSIM over the whole picture on black, as the papers have them; LPIPS with the user's weights. AKD is measured by
Lookalike's own landmark net, AED and APD by its own fit: honest substitutes for the papers' nets, and named so
(``akd_own``, ``aed_own``, ``apd_own``). CSIM needs the user's ArcFace weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from backend.evaluation.metrics import psnr, ssim
from backend.protocol.avatar import F32
from backend.protocol.errors import WeightsError
from backend.rig import Rig

from .data.batch import Batch, Pairs, Sample, collate
from .identity_net import IdentityNet, aligned_face, load_identity_net
from .losses import Drawn
from .perceptual import LPIPS, load_lpips

SHOWN = 4
"""Pairs in the picture."""
MIN_FACE = 1
_NUMBERS = 1 << 40
"""Samples' numbers start here, far from those that training uses."""


@dataclass
class Measures:
    """Nets that measure; what is missing is not measured.

    Attributes:
        lpips, arcface: by the user's weights. tracker: Lookalike's own; with `rig`, AED and APD too.
    """

    lpips: LPIPS | None = None
    arcface: IdentityNet | None = None
    tracker: Any = None
    rig: Rig | None = None


@dataclass
class Report:
    """Means over the pairs, how many each is a mean of, and a picture: photo, target, drawn, one row a pair."""

    values: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    picture: F32 | None = None


def load_measures(rig: Rig, landmarks: bool) -> Measures:
    """The nets that are there. `landmarks`: also Lookalike's own.

    Raises:
        WeightsError: `landmarks`, and the face nets are not installed.
    """
    arcface = load_identity_net()
    tracker = None
    if landmarks or arcface is not None:
        from backend.tracking import default_tracker

        tracker = default_tracker()
        if tracker is None:
            raise WeightsError("the face nets are not installed", "run python3 build.py setup")
    return Measures(load_lpips(), arcface, tracker, rig if landmarks else None)


def held_out_samples(pairs: Pairs, stages: Sequence[str], count: int, photos: int = 1) -> list[Sample]:
    """The same pairs every time, turn by turn from each set."""
    return [Sample(stages[i % len(stages)], _NUMBERS + i, photos) for i in range(count)]


@torch.no_grad()
def measure(draw: Callable[[Batch], Drawn], pairs: Pairs, samples: Sequence[Sample], measures: Measures, device: torch.device) -> Report:
    """Draw each pair and compare."""
    found: dict[str, list[float]] = {}
    rows: list[F32] = []
    for number, sample in enumerate(samples):
        batch = collate([pairs[sample]]).to(device)
        drawn = draw(batch)
        picture = _array(drawn.coarse if drawn.refined is None else drawn.refined)
        truth, photo = _array(batch.target.image), _array(batch.sources[0].image)
        values = {"psnr": psnr(picture, truth), "ssim": ssim(picture, truth), "l1": float(np.abs(picture - truth).mean())}
        if drawn.refined is not None:
            values["psnr_coarse"] = psnr(_array(drawn.coarse), truth)
        if measures.lpips is not None:
            net = measures.lpips.to(device)
            values["lpips"] = float(net(_tensor(picture, device), _tensor(truth, device)))
        values |= _by_faces(picture, truth, measures)
        for name, value in values.items():
            found.setdefault(name, []).append(value)
        if number < SHOWN:
            rows.append(np.concatenate([photo, truth, picture], 1))
    return Report(
        {name: float(np.mean(values)) for name, values in found.items()},
        {name: len(values) for name, values in found.items()},
        np.concatenate(rows) if rows else None,
    )


def _by_faces(picture: F32, truth: F32, measures: Measures) -> dict[str, float]:
    """What landmarks tell; nothing where a face is not found in both pictures."""
    if measures.tracker is None:
        return {}
    faces = [measures.tracker.faces(image) for image in (picture, truth)]
    if any(len(found) != MIN_FACE for found in faces):
        return {}
    drawn, wanted = faces[0][0], faces[1][0]
    values = {"akd_own": float(np.linalg.norm(drawn.landmarks[:468, :2] - wanted.landmarks[:468, :2], axis=1).mean())}
    if measures.arcface is not None:
        features = [measures.arcface(aligned_face(i, f.landmarks)) for i, f in ((picture, drawn), (truth, wanted))]
        values["csim"] = float((features[0] * features[1]).sum())
    if measures.rig is not None:
        values |= _by_fit(drawn, wanted, picture.shape, measures.rig)
    return values


def _by_fit(drawn: Any, wanted: Any, size: tuple[int, ...], rig: Rig) -> dict[str, float]:
    """Mean absolute difference of fitted expression values, and of pose: jaw's and head's rotation, radians."""
    from backend.tracking.fit import fit_faces
    from backend.tracking.rotation import axis_angle
    from backend.tracking.video import video_camera

    camera = video_camera((size[0], size[1]))
    a, b = (fit_faces([face], [camera], [size], rig).drivers[0] for face in (drawn, wanted))
    names = rig.expression_names
    expression = np.mean([abs(a.expression.get(name, 0.0) - b.expression.get(name, 0.0)) for name in names])
    turn = axis_angle(a.world_to_camera[:3, :3].astype(np.float64).T @ b.world_to_camera[:3, :3].astype(np.float64))
    jaw = rig.joint_names.index("jaw")
    pose = np.concatenate([turn, a.pose[jaw] - b.pose[jaw]])
    return {"aed_own": float(expression), "apd_own": float(np.abs(pose).mean())}


def _array(image: Float[Tensor, "1 3 s s"]) -> F32:
    return np.ascontiguousarray(image[0].float().clamp(0, 1).cpu().numpy().transpose(1, 2, 0), np.float32)


def _tensor(image: F32, device: torch.device) -> Float[Tensor, "1 3 s s"]:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(device)
