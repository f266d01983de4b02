"""FFAvatar as a reconstructor: look at each photo once, fuse, then one level of detail after the other."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from backend.models.interface import Listener
from backend.models.networks import GaussianAttributes
from backend.models.omg.gaussians import joined
from backend.models.omg.splats import head_splats, shoulder_splats, vertex_bindings
from backend.models.projection.reconstructor import provenance
from backend.protocol.avatar import Avatar, Driver, RigArrays, SplatArrays
from backend.protocol.errors import FaceError, RigError, WeightsError
from backend.rig.rig import Rig
from backend.tracking.portrait import Portrait

from .checkpoint import load_network
from .network import FFAvatarNetwork, Glimpse, Identity
from .photo import Crop
from .sitting import moved, network_mark, remembered, stored

logger = logging.getLogger(__name__)

OWN_WEIGHTS = "LOOKALIKE_FFAVATAR"
"""Environment variable: path of the weights to use."""
FEW = "one photo was given: FFAvatar fuses several; two to five from different sides show more of the head"
LEVEL_SHARES = (0.75, 0.85, 0.98)
"""How much of the whole job is done when each level is."""


class FFAvatar:
    """Few-shot, feed-forward reconstruction with a network that the user trained; no landmark is fitted.

    Args:
        weights: a file for `checkpoint.load_network`; None takes the one that LOOKALIKE_FFAVATAR names, or the models folder's.
        device: torch device; None is the GPU where there is one.
    """

    name = "ffavatar"
    licence = "GPL-3.0-or-later (this code); weights: those of whoever trained them (the authors have released none)"

    def __init__(self, weights: str | Path | None = None, device: str | None = None) -> None:
        self.weights, self.device = weights, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def reconstruct(self, portraits: Sequence[Portrait], rig: Rig, listener: Listener) -> Avatar:
        """See `backend.models.interface.Reconstructor`. Any number of portraits, in any order."""
        if not portraits:
            raise FaceError("no portrait given", "give at least one photo with a face")
        path = self.path()
        listener.progress(0.02, "network", path.name)
        network, mark = load_network(path, rig).to(self.device), network_mark(path)
        warnings = [FEW] if len(portraits) == 1 else []
        glimpses, crops = self._look(network, portraits, listener, warnings)
        drivers = [crop.driver(glimpse.rig, rig.expression_names) for crop, glimpse in zip(crops, glimpses, strict=True)]
        facts = {
            **provenance(portraits, rig),
            "model": self.name,
            "licences": {"model": self.licence, "rig": rig.licence},
            "warnings": warnings,
        }
        return self._fused(network, glimpses, drivers, rig, facts, listener, mark)

    def extend(self, avatar: Avatar, portraits: Sequence[Portrait], rig: Rig, listener: Listener) -> Avatar:
        """The avatar with more photos of its person: one pass of the encoder for each new one, and one of the Query-Former.

        The earlier photos are not looked at again, nor needed. To rounding, the result is what all photos at once give.

        Raises:
            RigError: an avatar of another model, network or rig. FaceError, WeightsError, Cancelled: as `reconstruct`.
        """
        if not portraits:
            raise FaceError("no portrait given", "give at least one more photo of the person")
        if avatar.rig.rig_id != rig.rig_id:
            raise RigError(f"{avatar.name} was made on {avatar.rig.rig_id}, not on {rig.rig_id}", "name the head's file with --rig")
        path = self.path()
        listener.progress(0.02, "network", path.name)
        network, mark = load_network(path, rig).to(self.device), network_mark(path)
        known = remembered(avatar, network.config, mark)
        told = avatar.provenance.get("warnings")
        warnings = [str(w) for w in told if w != FEW] if isinstance(told, list) else []
        glimpses, crops = self._look(network, portraits, listener, warnings)
        drivers = [crop.driver(glimpse.rig, rig.expression_names) for crop, glimpse in zip(crops, glimpses, strict=True)]
        new = provenance(portraits, rig)
        sources = [*_listed(avatar.provenance.get("sources")), *_listed(new["sources"])]
        facts = {**avatar.provenance, "sources": sources, "warnings": warnings, "created": new["created"], "software": new["software"]}
        return self._fused(network, [*known, *glimpses], [*avatar.drivers, *drivers], rig, facts, listener, mark)

    @torch.no_grad()
    def drive(self, portrait: Portrait, rig: Rig) -> Driver:
        """Expression, pose and camera of a driving picture, read off its pixels; no fit, no identity."""
        network, crop = load_network(self.path(), rig).to(self.device), Crop.of(portrait)
        return crop.driver(network.look(crop.image.to(self.device)).rig, rig.expression_names)

    def path(self) -> Path:
        """The weights' file.

        Raises:
            WeightsError: none is named; says how to get one.
        """
        return Path(self.weights) if self.weights is not None else ffavatar_weights()

    @torch.no_grad()
    def _look(
        self, network: FFAvatarNetwork, portraits: Sequence[Portrait], listener: Listener, warnings: list[str]
    ) -> tuple[list[Glimpse], list[Crop]]:
        """One pass a photo; on the CPU, with a warning, from where the GPU has no memory for it."""
        glimpses, crops = [], []
        for i, portrait in enumerate(portraits):
            listener.progress(0.1 + 0.5 * i / len(portraits), "network", f"looking at {portrait.name}")
            crops.append(Crop.of(portrait))
            try:
                glimpses.append(network.look(crops[-1].image.to(_device(network))))
            except torch.cuda.OutOfMemoryError:
                warnings.append("the GPU had no memory for the network: it ran on the CPU")
                logger.warning(warnings[-1])
                network.cpu()
                torch.cuda.empty_cache()
                glimpses.append(network.look(crops[-1].image))
        return glimpses, crops

    @torch.no_grad()
    def _fused(
        self, network: FFAvatarNetwork, glimpses: list[Glimpse], drivers: Sequence[Driver], rig: Rig, facts: dict[str, object],
        listener: Listener, mark: np.ndarray,
    ) -> Avatar:  # fmt: skip
        listener.progress(0.6, "fuse", f"{len(glimpses)} photo{'s' * (len(glimpses) > 1)} into one head")
        warnings = facts["warnings"]
        assert isinstance(warnings, list)
        identity = network.fuse([moved(glimpse, _device(network)) for glimpse in glimpses])
        baked = baked_rig(rig, identity)
        listener.rig(baked)
        shoulders = bust_splats(baked, network, identity)
        lods: list[SplatArrays] = []
        parts: list[GaussianAttributes] = []
        for level in range(network.config.levels + 1):
            added = _within_memory(network, identity, level, warnings)
            if added is None:
                break
            parts.append(added)
            lods.append(head_splats(baked, joined(parts), *vertex_bindings(rig.faces, len(rig.template), level)))
            listener.lod(level, lods[-1], shoulders)
            listener.progress(LEVEL_SHARES[level], f"lod {level}", f"level of detail {level}")
        listener.progress(1.0, "done")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return Avatar(baked, tuple(lods), shoulders, tuple(drivers), facts, stored(glimpses, mark))


def ffavatar_weights() -> Path:
    """The file that LOOKALIKE_FFAVATAR names, or the one in the models folder.

    Raises:
        WeightsError: there is none, and nobody has released any; says what to type.
    """
    from backend.weights.store import weights_path

    own = os.environ.get(OWN_WEIGHTS)
    if own:
        return Path(own).expanduser()
    try:
        return weights_path("ffavatar")
    except WeightsError as error:
        raise WeightsError(
            "there are no weights for ffavatar: its authors have released none, so they are trained",
            f"lookalike train three-stages (docs/training.md), then set {OWN_WEIGHTS} to its best.safetensors",
        ) from error


def baked_rig(rig: Rig, identity: Identity) -> RigArrays:
    """The identity's rig: shape, seated eyes, then the network's displacements."""
    shape = identity.shape[0].cpu().numpy()
    neutral = rig.bake((rig.template + rig.shape_basis @ shape).astype(np.float32))
    vertices = np.ascontiguousarray(neutral.vertices + identity.offsets[0].cpu().numpy(), np.float32)
    return replace(neutral, vertices=vertices, joints=np.ascontiguousarray(rig.joint_regressor @ vertices, np.float32))


def bust_splats(baked: RigArrays, network: FFAvatarNetwork, identity: Identity) -> SplatArrays:
    """The bust, bound to what only the root moves."""
    return shoulder_splats(baked, *network.bust_gaussians(identity))


def _within_memory(network: FFAvatarNetwork, identity: Identity, level: int, warnings: list) -> GaussianAttributes | None:
    """What a level adds; None, and a warning, where the GPU has no memory for it and coarser levels exist."""
    try:
        return network.added(identity, level)
    except torch.cuda.OutOfMemoryError:
        if level == 0:
            raise
        torch.cuda.empty_cache()
        warnings.append(f"the GPU has no memory for level of detail {level}: the avatar has levels 0 to {level - 1}")
        logger.warning(warnings[-1])
        return None


def _device(network: FFAvatarNetwork) -> torch.device:
    return next(network.parameters()).device


def _listed(value: object) -> list:
    return value if isinstance(value, list) else []
