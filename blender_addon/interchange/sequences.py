"""A sequence of splat files as one object that plays by the scene's frame, natively (see `avatar.frame_sequence`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..avatar.frame_sequence import play_frames
from ..protocol import AvatarFileError
from ..protocol.interchange import Axes, SplatCloud, read_cloud
from ..rendering.preparation import prepare_scenes
from .cloud_objects import cloud_data, cloud_holder
from .importing import place_object, scaled
from .numbered_files import FileSequence

GIGABYTE = 10**9
_KEPT = 4 * (3 + 4 + 3 + 4 + 3)
"""Bytes of a splat: position, rotation, scale, colour and opacity, and the colour of final frames; harmonics apart."""


@dataclass(frozen=True)
class SequenceOptions:
    """How files become frames.

    Attributes:
        axes, scale: as `import_splats`.
        start: frame of the scene that shows the first file; None for the file's own number.
        fps: numbers a second; 0 for one number a frame of the scene.
        cyclic: play again and again instead of holding the first and last.
        memory: gigabytes that the splats may take.
    """

    axes: Axes = "rdf"
    scale: float = 1.0
    start: float | None = None
    fps: float = 0.0
    cyclic: bool = False
    memory: float = 4.0


@dataclass(frozen=True)
class ImportedSequence:
    """What came in.

    Attributes:
        obj: the object that plays it.
        counts: fewest and most splats of a file.
        missing: numbers without a file, at which the file before is held.
        first, last: frames of the scene that show the first and the last file.
        memory: bytes of all splats, in memory and in the .blend.
    """

    obj: bpy.types.Object
    frames: int
    counts: tuple[int, int]
    missing: tuple[int, ...]
    first: float
    last: float
    memory: int


def import_sequence(
    files: FileSequence,
    options: SequenceOptions | None = None,
    collection: bpy.types.Collection | None = None,
    progress: Callable[[int], None] = lambda _done: None,
) -> ImportedSequence:
    """All files of a sequence as one object, in `collection` or the active one, selected; `progress` is told how many are read.

    Raises:
        AvatarFileError: a file is bad, or all together take more memory than allowed; nothing in the scene is changed then.
    """
    steps = import_steps(files, options, collection)
    while True:
        try:
            progress(next(steps))
        except StopIteration as ended:
            return ended.value


def import_steps(
    files: FileSequence, options: SequenceOptions | None = None, collection: bpy.types.Collection | None = None, wait: bool = True
) -> Generator[int, None, ImportedSequence]:
    """As `import_sequence`, step by step: yields how many files are in, and returns what came in. Closed early, it leaves nothing behind.

    Args:
        wait: for the next file; otherwise a step ends at once where that is still being read.
    """
    chosen = options or SequenceOptions()
    datas: dict[int, bpy.types.ID] = {}
    made: list[bpy.types.ID] = []
    memory, counts = 0, []
    try:
        numbers = iter(files.files.items())
        with closing(_read_ahead(files.files.values(), chosen, wait)) as clouds:
            for cloud in clouds:
                if cloud is None:
                    yield len(datas)
                    continue
                number, path = next(numbers)
                memory += _bytes(cloud)
                counts.append(len(cloud.position))
                _allow(files, chosen.memory, memory, len(counts))
                datas[number] = cloud_data(path.stem, cloud)
                made.append(datas[number])
                yield len(datas)
        obj = cloud_holder(files.name, datas[files.first])
        made.append(obj)
        scene = bpy.context.scene
        per_frame = chosen.fps / (scene.render.fps / scene.render.fps_base) if chosen.fps else 1.0
        start = float(files.first) if chosen.start is None else chosen.start
        play_frames(obj, _without_gaps(files, datas), start, per_frame / files.step, chosen.cyclic)
        place_object(obj, collection)
        prepare_scenes()
    except BaseException:
        bpy.data.batch_remove(made)
        raise
    last = start + (files.numbers[-1] - files.first) / per_frame
    return ImportedSequence(obj, len(datas), (min(counts), max(counts)), tuple(files.missing), start, last, memory)


def _read_ahead(paths: Iterable[Path], options: SequenceOptions, wait: bool) -> Generator[SplatCloud | None, None, None]:
    """Every file's splats, one file read ahead in a thread, which never touches bpy; without `wait` also None while one is read."""
    reader = ThreadPoolExecutor(1, "lookalike-splats")
    coming: deque[Future[SplatCloud]] = deque()
    try:
        for path in paths:
            coming.append(reader.submit(_read, path, options))
            if len(coming) > 1:
                yield from _ready(coming.popleft(), wait)
        while coming:
            yield from _ready(coming.popleft(), wait)
    finally:
        reader.shutdown(wait=False, cancel_futures=True)


def _ready(cloud: Future[SplatCloud], wait: bool) -> Generator[SplatCloud | None, None, None]:
    while not (wait or cloud.done()):
        yield None
    yield cloud.result()


def _read(path: Path, options: SequenceOptions) -> SplatCloud:
    return scaled(read_cloud(path, options.axes), options.scale)


def _bytes(cloud: SplatCloud) -> int:
    return len(cloud.position) * (_KEPT + 12 * (cloud.sh.shape[1] - 1))


def _allow(files: FileSequence, limit: float, taken: int, done: int) -> None:
    """Stop early where all files together, as large as those so far, would take too much."""
    count = len(files.files)
    needed = taken / done * count / GIGABYTE
    if needed > limit:
        raise AvatarFileError(
            f"{files.name}: needs about {needed:.1f} GB of memory for {count} files, more than the {limit:g} GB allowed",
            "choose fewer files, or allow more memory",
        )


def _without_gaps(files: FileSequence, datas: dict[int, bpy.types.ID]) -> list[bpy.types.ID]:
    """One data-block for every number; where a file is missing, the one before."""
    shown, frames = datas[files.first], []
    for number in files.numbers:
        shown = datas.get(number, shown)
        frames.append(shown)
    return frames
