"""Personalization without anyone's weights or photos: a small network taught on drawn people, and a drawn person to adapt it to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from backend.rig import Rig
from backend.training.data.sources import FIELD_OF_VIEW
from backend.training.synthetic import SyntheticHeads, Views

from .adapt import AdaptSettings, Listener, Silent
from .frames import PersonFrames, frames_of_views
from .losses import picture_loss, point_loss
from .reptile import ReptileSettings
from .small_network import SmallAvatarNetwork
from .teacher_forcing import AvatarNetwork, drawn

SETTINGS = AdaptSettings(iterations=40, rank=8, alpha=1.0, rate=2e-3, bridge_rate=1e-3, embedding=64, encoder=(64, 64), hold_out=0.25)
"""Fewer and larger steps than the paper's: the network has 64-pixel pictures and must show something within minutes."""
META = ReptileSettings(outer=5, inner=12, batch=2, rate=2e-3, step=1e-3)


@dataclass(frozen=True)
class Demonstration:
    """Attributes: network: taught on `others`. person: none of them. others: for meta-learning."""

    network: nn.Module
    person: PersonFrames
    others: list[PersonFrames]


def drawn_people(rig: Rig, count: int, frames: int, size: int, seed: int) -> list[PersonFrames]:
    """Frames of people that the generator draws, seen by the networks' camera; always the same for a seed."""
    heads = SyntheticHeads(rig, count, frames, size, seed, Views(yaw=20, pitch=6, field_of_view=(FIELD_OF_VIEW, FIELD_OF_VIEW)))
    return [frames_of_views([heads.view(person, frame) for frame in range(frames)], rig) for person in range(count)]


def demonstration(
    rig: Rig, size: int = 64, people: int = 6, frames: int = 12, steps: int = 150, seed: int = 0, listener: Listener | None = None
) -> Demonstration:
    """Make the network and the people.

    Args:
        size: of the pictures, 64 or 128 pixels. people: that the network is taught on. steps: of teaching.
    """
    listener = listener or Silent()
    listener.progress(0.0, "draw people")
    *others, person = drawn_people(rig, people + 1, frames, size, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SmallAvatarNetwork(len(rig.template), size)
        teach(network, others, steps, listener=listener)
    return Demonstration(network.eval(), person, others)


def teach(network: nn.Module, people: Sequence[PersonFrames], steps: int, rate: float = 2e-3, listener: Listener | None = None) -> None:
    """A short generic training: random person, source and two drivers; everything learns but the image encoder's transformer."""
    listener = listener or Silent()
    rates = {"base_model.dino_model.": 0.0, "upsampler.": 0.1 * rate, "": rate}
    groups = {share: [] for share in rates.values()}
    for name, parameter in network.named_parameters():
        groups[next(share for prefix, share in rates.items() if name.startswith(prefix))].append(parameter)
    optimizer = torch.optim.Adam([{"params": parameters, "lr": share} for share, parameters in groups.items() if share])
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, max(1, steps))
    stack = lambda frames, name: torch.stack([torch.as_tensor(getattr(frame, name), dtype=torch.float32) for frame in frames])
    for step in range(steps):
        listener.progress(step / steps, "teach the generic network", f"{step} of {steps}")
        person = people[int(torch.randint(len(people), ()))]
        source, *drivers = (person.frames[i] for i in torch.randint(len(person.frames), (3,)).tolist())
        features = cast(AvatarNetwork, network).encode(source.target[None])
        features = type(features)(*(f.expand(len(drivers), *f.shape[1:]) for f in features))
        camera, vertices, truth = (stack(drivers, name) for name in ("camera", "vertices", "target"))
        got = drawn(network, features, stack([source], "camera").expand_as(camera), vertices, camera, person.size)
        loss = picture_loss(got.coarse, got.refined, truth) + 0.1 * point_loss(got.lifted, vertices)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
