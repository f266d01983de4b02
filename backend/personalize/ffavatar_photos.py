"""From a user's photos, or one video, to FFAvatar's third stage: the avatar's own network and what it kept of its photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from backend.models.ffavatar.checkpoint import load_network
from backend.models.ffavatar.photo import Crop
from backend.models.ffavatar.reconstructor import FFAvatar
from backend.models.ffavatar.sitting import moved, network_mark, remembered
from backend.models.interface import Listener
from backend.protocol.avatar import Avatar
from backend.rig import Rig
from backend.tracking.portrait import Portrait
from backend.tracking.tracker import Tracker

from .ffavatar import Shot, Tuned, fine_tune, shot_of
from .identity import check_portraits
from .photometric import Course
from .photos import File, load_portraits, rig_check


def tune(
    avatar: Avatar, files: Sequence[File], faces: Sequence[int | None], steps: int, size: int, rig: Rig, tracker: Tracker,
    loading: Listener, learning: Listener, watch: Callable[[Course], None] | None = None,
) -> tuple[Tuned, list[Shot], list[str]]:  # fmt: skip
    """Adapt the network that made an avatar to more photos of its person.

    Args:
        files: photos, those that it was made from among them or not, or one video.
        size: pixels a side that are drawn at most; no more than the network sees.
        loading, learning: told 0..1 of either part.
    Returns:
        What came of it, the photos as they were used, and warnings.
    Raises:
        ImageError, FaceError, RigError, WeightsError: what the user can mend. NoImprovementError: held-out photos got no better.
    """
    rig_check(avatar, rig)
    path = FFAvatar().path()
    network, mark = load_network(path, rig), network_mark(path)
    known = remembered(avatar, network.config, mark)
    warnings: list[str] = []
    portraits = list(load_portraits(files, faces, tracker, loading, warnings))
    check_portraits(portraits)
    side = min(size, network.config.picture)
    shots = [_shot(portrait, side) for portrait in portraits]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tuned = fine_tune(network.to(device), avatar, [moved(g, device) for g in known], shots, learning, steps, watch)
    return tuned, shots, [*warnings, *tuned.warnings]


def _shot(portrait: Portrait, size: int) -> Shot:
    crop = Crop.of(portrait)
    return shot_of(portrait.name, portrait.sha256, crop.image, crop.matte, size)
