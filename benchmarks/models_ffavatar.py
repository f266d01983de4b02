"""FFAvatar's rows of benchmarks/models.py: photos, another photo, levels of detail, a driven frame; at our own full sizes.

The paper states, on an A100: 2 s for an avatar, 49 frames a second driven from pixels. Its network's sizes are not known to us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

FEW_SHOT, DRIVEN, FPS = 2.0, 1 / 49, 300.0
"""Targets on a GPU: seconds for three photos, seconds for a frame driven by a picture, frames a second by known parameters."""
PHOTOS = 3

Cost = Callable[[Callable[[], object], int], tuple[float, float]]
Row = Callable[..., dict[str, object]]


@torch.no_grad()
def rows(device: torch.device, model: Mapping[str, np.ndarray], cost: Cost, row: Row) -> list[dict[str, object]]:
    """Rows by `cost` (call, repeats -> seconds, peak bytes) and `row` (what, value, unit, target, against, ratio)."""
    from backend.models.ffavatar import FFAvatarNetwork, FFConfig
    from backend.rig.rig import Rig

    names = tuple(f"exp{i}" for i in range(100))
    joints = ("root", "neck", "jaw", "eye_left", "eye_right")
    rig = Rig(
        model["v_template"], model["f"].astype(np.int32), model["shapedirs"][..., :300], model["shapedirs"][..., 300:].transpose(2, 0, 1),
        names, model["J_regressor"], joints, np.array([-1, 0, 1, 1, 1], np.int32), model["weights"], "benchmark", "none",
        pose_basis=model["posedirs"],
    )  # fmt: skip
    network = FFAvatarNetwork(FFConfig.of_rig(rig), rig).eval().to(device)
    image = torch.rand(1, 3, 518, 518, device=device)
    gpu = device.type == "cuda"
    glimpse = network.look(image)
    look, look_peak = cost(lambda: network.look(image), 2)
    photos = [glimpse] * PHOTOS
    fuse, fuse_peak = cost(lambda: network.fuse(photos), 2)
    more, _ = cost(lambda: network.fuse([glimpse] * (PHOTOS + 1)), 1)
    identity = network.fuse(photos)
    head, _ = cost(lambda: network.head_gaussians(identity, 2), 2)
    whole = PHOTOS * look + fuse + head
    found = [
        row("ffavatar: look at a photo, or read a driver off a picture", look, "s", None, ""),
        row("ffavatar: memory for that, peak", look_peak / 1e6, "MB", None, ""),
        row(f"ffavatar: fuse {PHOTOS} photos", fuse, "s", None, ""),
        row("ffavatar: memory for that, peak", fuse_peak / 1e6, "MB", None, ""),
        row(f"ffavatar: {PHOTOS} photos to LOD 2", whole, "s", FEW_SHOT if gpu else None, ""),
        row("ffavatar: one photo more", look + more + head, "s", None, "all photos again", (look + more + head) / (whole + look)),
    ]
    network.draw(identity, glimpse.rig, 0, 512)  # the first frame compiles and takes what every frame shares
    previous: list[float] = []
    for level in range(3):
        make, peak = cost(lambda level=level: network.head_gaussians(identity, level), 2)
        animate, frame_peak = cost(lambda level=level: network.draw(identity, glimpse.rig, level, 512), 2)
        figures = [
            ("Gaussians with the bust", float(network.levels.counts[level] + network.bust_levels.counts[-1]), ""),
            ("reconstruct the level", make, "s"), ("memory for that, peak", peak / 1e6, "MB"),
            ("animate a frame and make its Gaussians", animate, "s"), ("memory for that, peak", frame_peak / 1e6, "MB"),
            ("the same, driven by a picture", animate + look, "s"),
        ]  # fmt: skip
        targets = {3: 1 / FPS, 5: DRIVEN} if gpu and level == 2 else {}
        for index, (what, value, unit) in enumerate(figures):
            ratio = value / previous[index] if previous else None
            found.append(
                row(f"ffavatar lod {level}: {what}", value, unit, targets.get(index), f"lod {level - 1}" if previous else "", ratio)
            )
        previous = [value for _, value, _ in figures]
    return found
