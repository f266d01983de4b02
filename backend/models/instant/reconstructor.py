"""Instant Expressive as a reconstructor: measure the photo, lift it once, one level of detail after the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from backend.models.gagavatar.reconstructor import nothing
from backend.models.interface import Listener
from backend.models.networks import METRE, opencv_camera
from backend.models.networks.photo import Photo, network_camera, opencv_pose
from backend.models.projection.reconstructor import fit_while_reporting, provenance
from backend.protocol.avatar import F32, Avatar, RigArrays, SplatArrays
from backend.protocol.errors import FaceError, RigError
from backend.rig import pose_vertices
from backend.rig.rig import Rig
from backend.rig.skinning import rotation_matrices
from backend.splats.camera import Camera, orbit_camera
from backend.tracking.fit import Fit
from backend.tracking.portrait import Portrait

from .checkpoint import instant_weights, load_network
from .head_frame import SkullFrame, head_joint
from .network import InstantAvatar, Points
from .rig_codes import CodeMap, coefficients_of
from .splats import Loss, binding_loss, rest_splats
from .stored import CAMERA, CODE, feature, photo_camera, read_points, stored_points

logger = logging.getLogger(__name__)

LEVEL_SHARES = (0.7, 0.8, 0.9)
"""How much of the whole job is done when each level is."""
TRUSTED = 0.5
"""Share of the motion codes' variance below which the sliders' codes are called into question."""
EMPTY = 0.02
"""Points of rays that stop less of their light than this are left out of an avatar: nothing is there."""


class Instant:
    """One-shot, feed-forward reconstruction by a network that the user trained.

    Args:
        weights: a file of `lookalike train`; None is the one that LOOKALIKE_INSTANT names.
        device: torch device; None is the GPU where there is one.
    """

    name = "instant"
    licence = "GPL-3.0-or-later (this code); weights: none are published, one's own training's"

    def __init__(self, weights: str | Path | None = None, device: str | None = None) -> None:
        self.weights, self.device = weights, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def network(self) -> InstantAvatar:
        """The network on its device.

        Raises:
            WeightsError: see `checkpoint`.
        """
        return load_network(Path(self.weights) if self.weights is not None else instant_weights()).to(self.device)

    def reconstruct(self, portraits: Sequence[Portrait], rig: Rig, listener: Listener) -> Avatar:
        """See `backend.models.interface.Reconstructor`. Of several portraits the network sees the most frontal; all share the fit."""
        if not portraits:
            raise FaceError("no portrait given", "give at least one photo with a face")
        network = self.network()
        listener.progress(0.02, "fit", "finding the head in the photo")
        fitted = fit_while_reporting(portraits, rig, listener)
        try:
            return self._reconstruct(portraits, rig, fitted, network, listener)
        finally:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    @torch.no_grad()
    def refine(
        self, avatar: Avatar, lod: int, yaw: float, pitch: float, expression: Mapping[str, float] | None = None, pose: F32 | None = None
    ) -> F32:
        """See `backend.models.interface.Refining`: the network's own picture, moved by its own motion basis.

        Root and neck turn the whole picture's head, as the network knows no others; expressions, jaw and eyes become a motion
        code by the map that was measured in training.
        """
        network = self.network()
        points = read_points(avatar, lod, network.config.basis, self.device)
        code = expression_code(network, avatar, expression or {}, pose)
        camera = self.refined_camera(avatar, yaw, pitch)
        view = network_camera(turned(camera.world_to_camera, avatar.rig, pose))[None].to(self.device)
        return picture_array(network.draw(network.animate(points, code), view))

    def refined_camera(self, avatar: Avatar, yaw: float, pitch: float) -> Camera:
        """See `backend.models.interface.Refining`."""
        size = self.network().config.size
        world_to_camera = photo_camera(avatar)
        turn = orbit_camera(yaw, pitch, size).world_to_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0])
        world_to_camera[:3, :3] = turn @ world_to_camera[:3, :3]
        _, lens = opencv_camera(network_camera(world_to_camera), size)
        return Camera(world_to_camera.astype(np.float32), lens.numpy(), size, size)

    @torch.no_grad()
    def _reconstruct(self, portraits: Sequence[Portrait], rig: Rig, fitted: Fit, network: InstantAvatar, listener: Listener) -> Avatar:
        listener.progress(0.35, "network", "looking at the photo")
        driver, warnings = fitted.drivers[fitted.reference], []
        baked, frame = rig.bake(fitted.vertices), SkullFrame(rig)
        posed = pose_vertices(baked, driver.expression, driver.pose)
        photo = Photo.of(portraits[fitted.reference], driver, posed)
        camera = frame.camera(photo.camera, METRE * torch.from_numpy(posed)[None]).to(self.device)
        image = photo.image.to(self.device)
        planes, code = network.look(image, camera), network.code(image, camera)
        codes = code_map(network, baked)
        if codes is None:
            warnings.append(f"the network was not trained with {rig.rig_id}: it knows no motion of its sliders, only a driver's picture")
        listener.rig(baked)
        levels = self._levels(network, planes, code, warnings, listener)
        turn, move = frame.into_rest(baked.vertices)
        rest = codes.neutral[None] if codes is not None else code
        lods: list[SplatArrays] = []
        features: dict[str, np.ndarray] = {CODE: code[0].cpu().numpy(), CAMERA: opencv_pose(camera[0])}
        for level, points in enumerate(levels):
            lods.append(rest_splats(baked, network.animate(points, rest), turn, move))
            features |= stored_points(points, level)
            listener.lod(level, lods[-1], nothing())
            listener.progress(LEVEL_SHARES[level], f"lod {level}", f"level of detail {level}")
        facts = provenance(portraits, rig)
        if codes is not None:
            listener.progress(0.92, "binding", "comparing the rig's motion with the network's")
            loss = _loss(network, levels[0], codes, baked, lods[0], turn)
            warnings.append(loss.sentence)
            facts["binding_mm"] = {"network": 1000 * loss.network, "rig": 1000 * loss.rig, "apart": 1000 * loss.apart}
            facts["sliders_explain"] = round(codes.explained, 3)
            if codes.explained < TRUSTED:
                share = f"{100 * codes.explained:.0f} %"
                warnings.append(f"in training this rig's sliders explained {share} of what drivers did: their refined pictures tell little")
        facts |= {"model": self.name, "licences": {"model": self.licence, "rig": rig.licence}, "warnings": warnings}
        listener.progress(1.0, "done")
        return Avatar(baked, tuple(lods), nothing(), fitted.drivers, facts, features)

    def _levels(
        self, network: InstantAvatar, planes: torch.Tensor, code: torch.Tensor, warnings: list[str], listener: Listener
    ) -> list[Points]:
        """Points of all levels that there is memory for, without those of empty rays."""
        found: list[Points] = []
        for level in range(network.config.levels + 1):
            listener.progress(0.45 + 0.05 * level, "rays", f"points of level of detail {level}")
            try:
                points = network.points(planes, code, level)
            except torch.cuda.OutOfMemoryError:
                if not found:
                    raise
                torch.cuda.empty_cache()
                warnings.append(f"the GPU has no memory for level of detail {level}: the avatar has levels 0 to {level - 1}")
                logger.warning(warnings[-1])
                break
            found.append(points.kept(points.share[0] > min(EMPTY, float(points.share.max()) / 2)))
        return found


def code_map(network: InstantAvatar, rig: RigArrays) -> CodeMap | None:
    """What the network learned of this rig's coefficients; None where it was trained with another rig, or saw too little."""
    same = network.rig_codes.coefficients == len(rig.expression_names) + 3 * (len(rig.joint_names) - 2)
    return network.rig_codes.solve() if same else None


def expression_code(network: InstantAvatar, avatar: Avatar, expression: Mapping[str, float], pose: F32 | None) -> torch.Tensor:
    """[1, k] motion code of slider values; the photo's own where the network knows no sliders and all are zero.

    Raises:
        RigError: an expression that the rig has not, or a network that was trained with another rig.
    """
    rig, device = avatar.rig, network.ball.device
    unknown = [name for name in expression if name not in rig.expression_names]
    if unknown:
        raise RigError(f"{avatar.name}: no expression {unknown[0]!r}", "see: lookalike info")
    values = torch.tensor([[expression.get(name, 0.0) for name in rig.expression_names]], dtype=torch.float32, device=device)
    joints = torch.zeros(1, len(rig.joint_names), 3, device=device)
    if pose is not None:
        joints = torch.from_numpy(np.asarray(pose, np.float32))[None].to(device)
    given, codes = coefficients_of(values, joints)[0], code_map(network, rig)
    if codes is not None:
        return codes.code(given)
    if bool((given != 0).any()):
        raise RigError(f"{avatar.name}: the network was not trained with {rig.rig_id} and knows none of its sliders", "use lookalike drive")
    return torch.from_numpy(feature(avatar, CODE).astype(np.float32))[None].to(device)


def turned(world_to_camera: F32, rig: RigArrays, pose: F32 | None) -> F32:
    """A camera of the skull's frame that sees the head as root and neck of a pose [J, 3] turn it."""
    if pose is None:
        return world_to_camera
    chain, joint = [], head_joint(rig)
    while joint >= 0:
        chain.append(joint)
        joint = int(rig.parents[joint])
    whole = world_to_camera.astype(np.float64)
    for joint in reversed(chain):
        step = np.eye(4)
        step[:3, :3] = rotation_matrices(np.asarray(pose[joint], np.float64))
        step[:3, 3] = rig.joints[joint] - step[:3, :3] @ rig.joints[joint]
        whole = whole @ step
    return whole.astype(np.float32)


def picture_array(image: torch.Tensor) -> F32:
    """[size, size, 3] 0..1 of a drawn batch of one."""
    return np.ascontiguousarray(image[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy(), np.float32)


def _loss(network: InstantAvatar, points: Points, codes: CodeMap, rig: RigArrays, splats: SplatArrays, turn: F32) -> Loss:
    """What the rig's triangles lose of the network's motion."""
    where = lambda code: network.animate(points, code).positions[0].cpu().numpy()  # pyright: ignore[reportOptionalSubscript]
    rest = where(codes.neutral[None])
    count = len(rig.expressions)
    moved = [where((codes.neutral + direction)[None]) - rest for direction in codes.directions[:count]]
    return binding_loss(rig, splats, np.stack(moved) / np.float32(METRE) @ turn)
