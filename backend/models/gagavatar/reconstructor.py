"""GAGAvatar as a reconstructor: FLAME fitted by this project's tracker, one run of the network, native splats and features."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from backend.models.interface import Listener
from backend.models.networks import opencv_camera
from backend.models.networks.photo import Photo, network_camera
from backend.models.projection.reconstructor import fit_while_reporting, provenance
from backend.protocol.avatar import F32, Avatar, RigArrays, SplatArrays
from backend.protocol.errors import FaceError, RigError
from backend.rig import pose_vertices
from backend.rig.rig import Rig
from backend.splats.camera import Camera, orbit_camera
from backend.splats.posed import Posable
from backend.splats.rasterization import rasterization
from backend.tracking.fit import Fit
from backend.tracking.portrait import Portrait

from .checkpoint import gagavatar_weights, load_network, load_refiner
from .network import FLAME_VERTICES, FeatureGaussians, GAGAvatarNetwork
from .splats import POOLS, avatar_splats, pooled

logger = logging.getLogger(__name__)

FEATURES, CAMERA = "gagavatar.lod{}", "gagavatar.world_to_camera"
"""Names in `Avatar.features`: 32 features of each level's splats, and the photo's camera."""
LEVEL_SHARES = (0.8, 0.9, 0.99)
OWN_WEIGHTS = "LOOKALIKE_GAGAVATAR"


class GAGAvatar:
    """One-shot, feed-forward reconstruction with weights and a FLAME file that the user brings.

    Args:
        weights: GAGAvatar.pt or the same as .safetensors, the training loss's nets there or not; None takes the file that
            LOOKALIKE_GAGAVATAR names (what `lookalike merge-adapter` wrote, say), or the one of the models folder.
        device: torch device; None is the GPU where there is one.
    """

    name = "gagavatar"
    licence = "GPL-3.0-or-later (this code); weights: none stated by their authors, never shipped; FLAME: the user's own licence"

    def __init__(self, weights: str | Path | None = None, device: str | None = None) -> None:
        self.weights, self.device = weights, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def reconstruct(self, portraits: Sequence[Portrait], rig: Rig, listener: Listener) -> Avatar:
        """See `backend.models.interface.Reconstructor`. Of several portraits the network sees the most frontal; all share the fit."""
        if not portraits:
            raise FaceError("no portrait given", "give at least one photo with a face")
        path = self._path()
        check_flame(rig)
        listener.progress(0.02, "fit", "fitting FLAME to the landmarks")
        fitted = fit_while_reporting(portraits, rig, listener)
        listener.progress(0.3, "network", path.name)
        return self.reconstruct_fitted(portraits, rig, fitted, load_network(path), listener)

    def reconstruct_fitted(
        self, portraits: Sequence[Portrait], rig: Rig, fitted: Fit, network: GAGAvatarNetwork, listener: Listener
    ) -> Avatar:
        """What follows the fit."""
        listener.progress(0.4, "network", "looking at the photo")
        baked = flame_identity(rig, fitted)
        driver = fitted.drivers[fitted.reference]
        photo = Photo.of(portraits[fitted.reference], driver, pose_vertices(baked, driver.expression, driver.pose))
        gaussians, warnings = self._look(network, photo)
        listener.rig(baked)
        lods, features = self._levels(baked, gaussians, listener)
        facts = {
            **provenance(portraits, rig),
            "model": self.name,
            "licences": {"model": self.licence, "rig": rig.licence},
            "warnings": warnings,
        }
        listener.progress(1.0, "done")
        return Avatar(baked, tuple(lods), nothing(), fitted.drivers, facts, {**features, CAMERA: photo.world_to_camera})

    def levels(self, network: GAGAvatarNetwork, rig: RigArrays, photo: Photo, listener: Listener) -> tuple[SplatArrays, ...]:
        """What a network, adapted or not, makes of a photo on a head of known shape: the levels alone."""
        return tuple(self._levels(rig, self._look(network, photo)[0], listener)[0])

    @torch.no_grad()
    def refine(
        self, avatar: Avatar, lod: int, yaw: float, pitch: float, expression: Mapping[str, float] | None = None, pose: F32 | None = None
    ) -> F32:
        """See `backend.models.interface.Refining`."""
        colors = _feature(avatar, FEATURES.format(lod))
        refiner = load_refiner(self._path()).to(self.device)
        camera = self.refined_camera(avatar, yaw, pitch)
        splats = Posable(avatar, lod).pose(expression, pose)
        if len(colors) != len(splats):
            raise RigError(
                f"{avatar.name}: features of {len(colors)} splats for {len(splats)}", "reconstruct it again: its splats were edited"
            )
        put = lambda array: torch.as_tensor(np.asarray(array, np.float32), device=self.device)
        drawn, _, _ = rasterization(
            put(splats.position), put(splats.rotation), put(splats.scale), put(splats.opacity), put(colors),
            put(camera.world_to_camera)[None], put(camera.intrinsics)[None], camera.width, camera.height,
        )  # fmt: skip
        return np.ascontiguousarray(refiner(drawn.permute(0, 3, 1, 2))[0].permute(1, 2, 0).cpu().numpy(), np.float32)

    def refined_camera(self, avatar: Avatar, yaw: float, pitch: float) -> Camera:
        """See `backend.models.interface.Refining`."""
        size = load_refiner(self._path()).size
        world_to_camera = np.array(_feature(avatar, CAMERA), np.float32)
        turn = orbit_camera(yaw, pitch, size).world_to_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0])
        world_to_camera[:3, :3] = turn @ world_to_camera[:3, :3]
        _, lens = opencv_camera(network_camera(world_to_camera), size)
        return Camera(world_to_camera, lens.numpy(), size, size)

    def _path(self) -> Path:
        own = self.weights if self.weights is not None else os.environ.get(OWN_WEIGHTS)
        return Path(own).expanduser() if own else gagavatar_weights()

    @torch.no_grad()
    def _look(self, network: GAGAvatarNetwork, photo: Photo) -> tuple[FeatureGaussians, list[str]]:
        """Gaussians of the photo, on the CPU; on the CPU altogether, with a warning, where the GPU has no memory for it."""
        for device in dict.fromkeys((self.device, torch.device("cpu"))):
            try:
                own, camera = network.to(device), photo.camera.to(device)
                gaussians = own.gaussians(own.encode(photo.image.to(device)), camera)
                told = ["the GPU had no memory for the network: it ran on the CPU"] if device != self.device else []
                return FeatureGaussians(*(part.cpu() for part in gaussians)), told
            except torch.cuda.OutOfMemoryError:
                logger.warning("no GPU memory for GAGAvatar; going on with the CPU")
                torch.cuda.empty_cache()
        raise AssertionError("the CPU is always tried last")

    def _levels(
        self, rig: RigArrays, gaussians: FeatureGaussians, listener: Listener
    ) -> tuple[list[SplatArrays], dict[str, np.ndarray]]:  # fmt: skip
        lods, features = [], {}
        for level, pool in enumerate(POOLS):
            own = pooled(gaussians, pool)
            lods.append(avatar_splats(rig, own))
            features[FEATURES.format(level)] = own.colors[0].numpy().astype(np.float16)
            listener.lod(level, lods[-1], nothing())
            listener.progress(LEVEL_SHARES[level], f"lod {level}", f"level of detail {level}")
        return lods, features


def check_flame(rig: Rig) -> None:
    """That the rig is FLAME, whose vertices the network's Gaussians are.

    Raises:
        RigError: another head.
    """
    if len(rig.template) != FLAME_VERTICES or rig.shape_basis.shape[2] < 1:
        raise RigError(
            f"GAGAvatar was trained on FLAME's {FLAME_VERTICES} vertices, {rig.rig_id} has {len(rig.template)}",
            "give your FLAME file with --rig (flame.is.tue.mpg.de; e.g. generic_model.pkl)",
        )


def flame_identity(rig: Rig, fitted: Fit) -> RigArrays:
    """FLAME with the fitted shape and nothing else, as the network was trained: no offsets, eyes where FLAME has them."""
    return rig.bake((rig.template + rig.shape_basis @ fitted.shape).astype(np.float32))


def nothing() -> SplatArrays:
    """No splats: lifted Gaussians are part of every level, so that there are no shoulders apart."""
    empty = lambda *shape: np.zeros((0, *shape), np.float32)
    return SplatArrays(empty(3), empty(4), empty(3), empty(), empty(1, 3), np.zeros(0, np.int32), empty(3))


def _feature(avatar: Avatar, name: str) -> np.ndarray:
    if name not in avatar.features:
        raise RigError(
            f"{avatar.name}: has no features for a refiner",
            "reconstruct it with --model gagavatar, and keep the file as the backend wrote it",
        )
    return avatar.features[name]
