"""OMG-Avatar as a reconstructor: fit the rig, look at the photo once, then one level of detail after the other."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from backend.models.interface import Listener
from backend.models.networks import GaussianAttributes
from backend.models.networks.photo import Photo
from backend.models.networks.style_unet import StyleUNet
from backend.models.projection.reconstructor import fit_while_reporting, provenance
from backend.protocol.avatar import F32, Avatar, Driver, RigArrays, SplatArrays
from backend.protocol.errors import FaceError, WeightsError
from backend.rig import pose_vertices
from backend.rig.rig import Rig
from backend.splats.camera import Camera
from backend.tracking.fit import Fit
from backend.tracking.portrait import Portrait

from .checkpoint import load_network, load_refiner
from .gaussians import joined, kept
from .network import OMGAvatar, Seen, Shoulders
from .posing import PosedHead
from .refined import refined_camera, refined_features, refined_picture, stored_features
from .splats import head_splats, shoulder_splats, vertex_bindings

logger = logging.getLogger(__name__)

OWN_WEIGHTS = "LOOKALIKE_OMG"
"""Environment variable: path of weights to use instead of the released ones."""
LEVEL_SHARES = (0.7, 0.8, 0.98)
"""How much of the whole job is done when each level is."""


class OMG:
    """One-shot, feed-forward reconstruction with weights that the user brings.

    Args:
        weights: a file for `checkpoint.load_network`; None takes the one of the models folder.
        device: torch device; None is the GPU where there is one.
    """

    name = "omg"
    licence = "GPL-3.0-or-later (this code); weights: academic research only, no commercial use (OMG-Avatar's README), never shipped"

    def __init__(self, weights: str | Path | None = None, device: str | None = None) -> None:
        self.weights, self.device = weights, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def reconstruct(self, portraits: Sequence[Portrait], rig: Rig, listener: Listener) -> Avatar:
        """See `backend.models.interface.Reconstructor`. Of several portraits the network sees the most frontal; all share the fit."""
        if not portraits:
            raise FaceError("no portrait given", "give at least one photo with a face")
        path = Path(self.weights) if self.weights is not None else omg_weights()
        listener.progress(0.02, "fit", "fitting the head to the landmarks")
        fitted = fit_while_reporting(portraits, rig, listener)
        listener.progress(0.3, "network", path.name)
        network, warnings = load_network(path, rig)
        try:
            return self._reconstruct(portraits, rig, fitted, network.to(self.device), warnings, listener)
        finally:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def refine(
        self, avatar: Avatar, lod: int, yaw: float, pitch: float, expression: Mapping[str, float] | None = None, pose: F32 | None = None
    ) -> F32:
        """See `backend.models.interface.Refining`."""
        net = self._refiner().to(self.device)
        camera = refined_camera(avatar, yaw, pitch, net.size)
        return refined_picture(net, refined_features(avatar, lod, camera, expression, pose, self.device))

    def refined_camera(self, avatar: Avatar, yaw: float, pitch: float) -> Camera:
        """See `backend.models.interface.Refining`."""
        return refined_camera(avatar, yaw, pitch, self._refiner().size)

    def _refiner(self) -> StyleUNet:
        return load_refiner(Path(self.weights) if self.weights is not None else omg_weights())

    @torch.no_grad()
    def _reconstruct(
        self, portraits: Sequence[Portrait], rig: Rig, fitted: Fit, network: OMGAvatar, warnings: list[str], listener: Listener
    ) -> Avatar:
        driver = fitted.drivers[fitted.reference]
        neutral = rig.bake(fitted.vertices)
        photo = Photo.of(portraits[fitted.reference], driver, pose_vertices(neutral, driver.expression, driver.pose))
        person = PosedHead.of_identity(rig, neutral).to(self.device)
        coefficients, pose = _parameters(driver, neutral.expression_names)
        listener.progress(0.35, "network", "looking at the photo")
        seen = network.look(
            photo.image.to(self.device),
            photo.camera.to(self.device),
            lambda offsets: person(coefficients.to(self.device), pose.to(self.device), offsets),
        )
        baked = _displaced(rig, neutral, seen.offsets[0].cpu().numpy())
        listener.rig(baked)
        beside = _sparse(network.shoulders(seen, photo.person.to(self.device)))
        shoulders = shoulder_splats(baked, beside.points, beside.attributes)
        listener.progress(0.6, "lod 0", "level of detail 0")
        lods: list[SplatArrays] = []
        parts = []
        for level in range(network.config.levels + 1):
            added = _within_memory(network, seen, level, warnings)
            if added is None:
                break
            parts.append(added)
            lods.append(head_splats(baked, joined(parts), *vertex_bindings(rig.faces, len(rig.template), level)))
            listener.lod(level, lods[-1], shoulders)
            listener.progress(LEVEL_SHARES[level], f"lod {level}", f"level of detail {level}")
        listener.progress(1.0, "done")
        return Avatar(
            baked,
            tuple(lods),
            shoulders,
            fitted.drivers,
            {
                **provenance(portraits, rig),
                "model": self.name,
                "licences": {"model": self.licence, "rig": rig.licence},
                "warnings": warnings,
            },
            stored_features(joined(parts), beside.attributes, photo.world_to_camera),
        )


def omg_weights() -> Path:
    """The file that LOOKALIKE_OMG names (one's own network), or the released checkpoint in the models folder.

    Raises:
        WeightsError: it is not there; says where to get it and on which terms.
    """
    from backend.weights.store import weights_path

    own = os.environ.get(OWN_WEIGHTS)
    if own:
        return Path(own).expanduser()
    try:
        return weights_path("omg-avatar")
    except WeightsError as error:
        terms = "for academic research only, not for commercial use; FLAME's data is inside, on FLAME's terms"
        raise WeightsError(error.message, f"{error.remedy} (its weights are {terms})") from error


def _displaced(rig: Rig, neutral: RigArrays, offsets: F32) -> RigArrays:
    """The identity with the network's displacements [V, 3], metres; the eyes stay seated as in `neutral`."""
    vertices = np.ascontiguousarray(neutral.vertices + offsets, np.float32)
    return replace(neutral, vertices=vertices, joints=np.ascontiguousarray(rig.joint_regressor @ vertices, np.float32))


def _parameters(driver: Driver, names: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Expression coefficients [1, E] and pose [1, J, 3] of a driver."""
    values = [driver.expression.get(name, 0.0) for name in names]
    return torch.tensor([values], dtype=torch.float32), torch.from_numpy(np.array(driver.pose, np.float32))[None]


def _sparse(shoulders: Shoulders) -> Shoulders:
    """Only those that are not too faint."""
    chosen = shoulders.kept
    return replace(shoulders, points=shoulders.points[:, chosen], attributes=kept(shoulders.attributes, chosen))


def _within_memory(network: OMGAvatar, seen: Seen, level: int, warnings: list[str]) -> GaussianAttributes | None:
    """What a level adds; None, and a warning, where the GPU has no memory for it and coarser levels exist."""
    try:
        return network.added(seen, level).attributes
    except torch.cuda.OutOfMemoryError:
        if level == 0:
            raise
        torch.cuda.empty_cache()
        warnings.append(f"the GPU has no memory for level of detail {level}: the avatar has levels 0 to {level - 1}")
        logger.warning(warnings[-1])
        return None
