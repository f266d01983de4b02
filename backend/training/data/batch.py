"""Pairs of views of one person, as tensors: the photo that is given and the picture that must come out.

Which pair a sample is depends on nothing but the seed and the sample's number, so training goes on exactly where it stopped,
whatever the number of loading processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from backend.models.networks import FOCAL, METRE
from backend.protocol.avatar import F32

from .view import DataError, Footage, View

ATTEMPTS = 8
"""Frames that cannot be read are replaced by others of the same set; after so many in a row the set is at fault."""


@dataclass(frozen=True)
class TensorViews:
    """A batch of views for networks. World units are METRE a metre.

    Attributes:
        image: [b, 3, s, s] 0..1, black where the background was. matte: [b, 1, s, s].
        camera: [b, 3, 4] as the GAGAvatar family has it, see `models.networks.cameras`.
        shape: [b, k]; expression: [b, e]; pose: [b, j, 3]. vertices: [b, v, 3] metres, posed.
    """

    image: Float[Tensor, "b 3 s s"]
    matte: Float[Tensor, "b 1 s s"]
    camera: Float[Tensor, "b 3 4"]
    shape: Float[Tensor, "b k"]
    expression: Float[Tensor, "b e"]
    pose: Float[Tensor, "b j 3"]
    vertices: Float[Tensor, "b v 3"]

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device) -> TensorViews:
        return TensorViews(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


@dataclass(frozen=True)
class Batch:
    """Samples: `sources` are the photos, one entry each (a sample may have several photos), `target` what must come out."""

    sources: tuple[TensorViews, ...]
    target: TensorViews

    def to(self, device: torch.device) -> Batch:
        return Batch(tuple(source.to(device) for source in self.sources), self.target.to(device))


class Sample(NamedTuple):
    """Which sample: the set's name, its number, how many photos."""

    data: str
    number: int
    photos: int


class Pairs(Dataset[tuple[list[View], View]]):
    """Samples of several named sources of footage.

    Args:
        footage: by name. seed: other seeds pair other frames.
    """

    def __init__(self, footage: dict[str, Footage], seed: int) -> None:
        self.footage, self.seed = footage, seed

    def __getitem__(self, sample: Sample) -> tuple[list[View], View]:
        """Photos and target of one person, different frames where there are enough.

        Raises:
            DataError: nothing of the set can be read; the last frame's fault.
        """
        source = self.footage[sample.data]
        fault: DataError | None = None
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([self.seed, sample.number, attempt])
            person = int(rng.integers(len(source.people)))
            count = source.frames(person)
            frames = rng.choice(count, sample.photos + 1, replace=count <= sample.photos)
            try:
                views = [source.view(person, int(frame)) for frame in frames]
                for view in views:
                    network_camera(view)  # raises where a head cannot be seen, which `collate` would find too late
            except DataError as error:
                fault = error
                continue
            return views[:-1], views[-1]
        assert fault is not None
        raise DataError(f"{sample.data}: {ATTEMPTS} samples in a row cannot be read; the last: {fault.message}", fault.remedy) from fault


class Schedule(Sampler[list[Sample]]):
    """The batches of one process from a step on, in order; endless where `steps` says so far.

    Args:
        plan: for each step its set and number of photos: called as plan(step). first, steps: of the training.
        batch: samples a process and step. rank, world: of this process, and how many there are.
    """

    def __init__(self, plan, first: int, steps: int, batch: int, rank: int = 0, world: int = 1) -> None:
        self.plan, self.first, self.steps = plan, first, steps
        self.batch, self.rank, self.world = batch, rank, world

    def __len__(self) -> int:
        return self.steps - self.first

    def __iter__(self) -> Iterator[list[Sample]]:
        for step in range(self.first, self.steps):
            data, photos = self.plan(step)
            start = (step * self.world + self.rank) * self.batch
            yield [Sample(data, start + i, photos) for i in range(self.batch)]


def collate(samples: list[tuple[list[View], View]]) -> Batch:
    """Samples with equally many photos as tensors."""
    photos = len(samples[0][0])
    sources = tuple(_stacked([views[i] for views, _ in samples]) for i in range(photos))
    return Batch(sources, _stacked([target for _, target in samples]))


def network_camera(view: View) -> F32:
    """[3, 4] the camera that networks of the GAGAvatar family can have (focal length 12, no shift) nearest to a view's own.

    The camera moves along its axis and aside until the head's middle appears at the same place in the same size. Exact for
    pictures that were taken so; for shorter lenses the perspective within the head differs, as in GAGAvatar's own tracking.
    """
    camera, middle = view.camera, view.vertices.mean(0).astype(np.float64)
    turn, move = camera.world_to_camera[:3, :3].astype(np.float64), camera.world_to_camera[:3, 3].astype(np.float64)
    lens = camera.intrinsics.astype(np.float64)
    seen = turn @ middle + move
    if seen[2] <= 0:
        raise DataError(f"{view.person}, frame {view.frame}: the head is behind the camera", "leave this frame out")
    size = camera.width
    focal = FOCAL * size / 2
    depth = seen[2] * focal / lens[1, 1]
    pixel = np.array([lens[0, 0], lens[1, 1]]) * seen[:2] / seen[2] + lens[:2, 2]
    placed = np.array([*(pixel - size / 2) * depth / focal, depth])
    flip = np.diag([-1.0, -1.0, 1.0])
    return np.column_stack([(flip @ turn).T, METRE * (flip @ (placed - turn @ middle))]).astype(np.float32)


def _stacked(views: list[View]) -> TensorViews:
    stack = lambda arrays: torch.from_numpy(np.stack(arrays).astype(np.float32))
    matte = stack([view.matte for view in views])[:, None]
    image = stack([view.image for view in views]).permute(0, 3, 1, 2).contiguous() * matte
    return TensorViews(
        image, matte, stack([network_camera(v) for v in views]), stack([v.shape for v in views]), stack([v.expression for v in views]),
        stack([v.pose for v in views]), stack([v.vertices for v in views]),
    )  # fmt: skip
