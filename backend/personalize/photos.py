"""From a user's photos, or one video, to the pictures that a refinement learns from: bounded in number and size, one person."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
import torch

from backend.models.interface import Listener
from backend.models.projection.anatomy import Anatomy
from backend.models.projection.reconstructor import LIPS_PARTED
from backend.protocol.avatar import F32, Avatar
from backend.protocol.errors import FaceError, ImageError
from backend.rig import Rig
from backend.tracking.fit import place
from backend.tracking.images import Photo, decode_image
from backend.tracking.loading import make_portrait
from backend.tracking.portrait import Portrait
from backend.tracking.tracker import FaceChoiceError, Tracker, describe_faces
from backend.tracking.video import MAX_SIDE, MAX_VIDEO_SIDE

from .photometric_pictures import Picture, make_picture
from .photometric_splats import Cloud, Freedom, Unknowns
from .photometric_views import Seen, draw, light_of, weights_of

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
VIDEO_FRAMES = 24
"""Most frames of a video, spread evenly over it."""
LIKENESS = 0.5
"""Least correlation of the face's details between avatar and photo, brought over each other: two photos of one man with
another light and ten years between them have 0.69, photos of different men 0.25 and less, synthetic heads and men up to 0.43."""
FINE, WIDE = 1.5, 12.0
"""Sigmas between which a detail of the face lies, pixels at `SMALL`."""
SMALL = 256

File = tuple[str, bytes]


def load_pictures(
    files: Sequence[File], faces: Sequence[int | None], avatar: Avatar, rig: Rig, tracker: Tracker, listener: Listener, size: int = 512
) -> tuple[list[Picture], list[str]]:
    """Pictures, those that the avatar was made from first, and warnings.

    Args:
        files: photos of the avatar's person, or one video.
        rig: that the avatar was made on.
        listener: told 0..1 of this part alone.
    Raises:
        ImageError: cannot be decoded, or a video beside other files.
        FaceError: no face, several without a choice, or another person's.
    """
    rig_check(avatar, rig)
    sources = own_sources(avatar)
    warnings: list[str] = []
    pictures = [placed(p, avatar, rig, sources, size) for p in load_portraits(files, faces, tracker, listener, warnings)]
    pictures.sort(key=lambda p: sources.get(p.sha256, len(sources)))
    pictures, doubts = of_one_person(avatar, pictures, rig, is_video(files))
    return pictures, warnings + doubts


def is_video(files: Sequence[File]) -> bool:
    """Whether the one file that is given is a video."""
    return any(Path(name).suffix.lower() in VIDEO_SUFFIXES for name, _ in files)


def load_portraits(
    files: Sequence[File], faces: Sequence[int | None], tracker: Tracker, listener: Listener, warnings: list[str]
) -> Iterator[Portrait]:
    """Portraits of photos, or of frames spread over one video, as they are found; `warnings` is added to.

    Raises:
        ImageError: cannot be decoded, or a video beside other files.
        FaceError: no face, or several without a choice.
    """
    video = is_video(files)
    if video and len(files) > 1:
        name = next(name for name, _ in files if is_video([(name, b"")]))
        raise ImageError(f"{name}: a video is used alone", "give the photos and the video separately")
    portraits = _frames_of(files[0], faces, tracker, warnings) if video else _photos(files, faces, tracker)
    count = VIDEO_FRAMES if video else len(files)
    known: dict[str, str] = {}
    for i, portrait in enumerate(portraits):
        listener.progress(i / count, "track", portrait.name)
        if portrait.sha256 in known:  # a photo that was learned from must not also be held out
            warnings.append(f"{portrait.name} is the same picture as {known[portrait.sha256]}, and was left out")
            continue
        known[portrait.sha256] = portrait.name
        warnings += portrait.warnings
        yield portrait


def rig_check(avatar: Avatar, rig: Rig) -> None:
    """Raises FaceError where the avatar stands on another head."""
    if len(rig.template) != len(avatar.rig.vertices) or rig.rig_id != avatar.rig.rig_id:
        message = f"{avatar.name} was made on {avatar.rig.rig_id}, not on {rig.rig_id}"
        raise FaceError(message, "give the file of the head that it was made on")


def of_one_person(avatar: Avatar, pictures: Sequence[Picture], rig: Rig, video: bool) -> tuple[list[Picture], list[str]]:
    """The pictures that show the avatar's person, and warnings.

    Photos were chosen one by one, so a stranger among them is a mistake. Frames of a video were not: a blurred or badly tracked
    one is left out, and only a video most of whose frames are doubtful shows somebody else.

    Raises:
        FaceError: names the photos, or the frames, that show somebody else.
    """
    values = likenesses(avatar, pictures, Anatomy.of(rig))
    strangers = [(p.name, value) for p, value in zip(pictures, values, strict=True) if value < LIKENESS]
    if not strangers:
        return list(pictures), []
    named = ", ".join(f"{name} ({value:.2f})" for name, value in strangers)
    if video and 2 * len(strangers) <= len(pictures):
        kept = [p for p, value in zip(pictures, values, strict=True) if value >= LIKENESS]
        return kept, [f"left out as doubtful, details of the face agree by less than {LIKENESS}: {named}"]
    message = f"{named}: seems not to be the person of {avatar.name}; details of the face agree by less than {LIKENESS}"
    remedy = "use a video of this person, sharp and seen from the front" if video else "leave it out"
    raise FaceError(message, remedy, {"strangers": [name for name, _ in strangers]})


def likenesses(avatar: Avatar, pictures: Sequence[Picture], anatomy: Anatomy) -> list[float]:
    """For each picture the correlation, -1..1, of the face's details with those of level 1 (else 0), posed as in it."""
    level = min(1, len(avatar.lods) - 1)
    still = np.zeros(len(avatar.splats(level)), np.float32)
    shape = np.zeros((len(avatar.rig.vertices), 1), np.float32)
    cloud = Cloud(avatar, level, lambda _: Freedom(still, still, shape), torch.device("cpu"))
    unknowns = Unknowns.zero(len(still), 1, 1, len(avatar.rig.expressions), cloud.device)
    face = np.einsum("nk,nk->n", cloud.rest.barycentric, anatomy.face[avatar.rig.faces[cloud.rest.face]])
    own = np.flatnonzero((face > 0.5) & (np.arange(len(face)) < cloud.head))
    values = []
    for picture in pictures:
        seen, posed = Seen.of(picture.full, np.zeros((3, 3), np.float32), cloud.device), cloud.posed(picture)
        with torch.no_grad():
            image, coverage = (t.numpy() for t in draw(cloud, posed, unknowns, seen, None))
        mask = (weights_of(cloud, posed, seen, own).numpy() > 0.9) & picture.full.solid
        light = np.exp(np.clip(light_of(picture, image, coverage)[0], -2, 2))
        values.append(_correlation(image * light, picture.full.image, mask, len(image) / SMALL))
    return values


def _correlation(a: F32, b: F32, mask: np.ndarray, scale: float) -> float:
    detail = lambda x: cv2.GaussianBlur(x.mean(-1), (0, 0), FINE * scale) - cv2.GaussianBlur(x.mean(-1), (0, 0), WIDE * scale)
    if mask.sum() < 50:
        return 0.0
    u, v = detail(a)[mask], detail(b)[mask]
    return float(np.corrcoef(u, v)[0, 1]) if u.std() > 0 and v.std() > 0 else 0.0


def own_sources(avatar: Avatar) -> dict[str, int]:
    """SHA-256 of the avatar's own photos -> place among its drivers."""
    entries = avatar.provenance.get("sources", [])
    found = [str(e.get("sha256")) for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    return {sha: i for i, sha in enumerate(found) if i < len(avatar.drivers)}


def placed(portrait: Portrait, avatar: Avatar, rig: Rig, sources: dict[str, int], size: int = 512) -> Picture:
    """The one photo that an avatar was made from lies as its driver says; every other one is found by its landmarks."""
    if len(avatar.drivers) == 1 and portrait.sha256 in sources:
        return make_picture(portrait, avatar.drivers[0], np.zeros_like(avatar.rig.vertices), size)
    vertices, parted = avatar.rig.vertices, {}
    if LIPS_PARTED in avatar.rig.expression_names:
        vertices = vertices + avatar.rig.expressions[avatar.rig.expression_names.index(LIPS_PARTED)]
        parted = {LIPS_PARTED: 1.0}
    placed = place(portrait, rig, vertices)
    driver = replace(placed.driver, expression={**placed.driver.expression, **parted})
    return make_picture(portrait, driver, placed.correction, size)


def _photos(files: Sequence[File], faces: Sequence[int | None], tracker: Tracker) -> Iterator[Portrait]:
    for i, (name, data) in enumerate(files):
        try:
            yield make_portrait(decode_image(data, name), name, faces[i] if i < len(faces) else None, tracker)
        except FaceChoiceError as error:
            describe_faces(error, name, i)
            raise


def _frames_of(file: File, faces: Sequence[int | None], tracker: Tracker, warnings: list[str]) -> Iterator[Portrait]:
    """Portraits of the frames that show a usable face."""
    name, used, last = Path(file[0]).name, 0, FaceError(f"{file[0]}: no picture in it", "use a video with a picture track")
    for number, image in sample_frames(file):
        photo = Photo(image, None, f"{name}#{number}", None)
        try:
            portrait = make_portrait(photo, f"{name} frame {number}", faces[0] if faces else None, tracker)
        except FaceChoiceError:
            raise
        except FaceError as error:
            last = error
            continue
        used += 1
        yield portrait
    if not used:
        raise FaceError(
            f"{name}: no usable face in {VIDEO_FRAMES} frames spread over it ({last.message})", "use a video seen from the front"
        )
    warnings.append(f"{name}: {used} frames spread over the video were used")


def sample_frames(file: File) -> Iterator[tuple[int, F32]]:
    """(number, [H, W, 3] at most `MAX_SIDE` pixels a side) of at most `VIDEO_FRAMES` frames spread over a video's bytes.

    Long videos are sought through, not decoded: ten minutes cost as much as one.

    Raises:
        ImageError: not a video, or too large a picture.
    """
    name = Path(file[0]).name
    try:
        with av.open(io.BytesIO(file[1]), "r") as container:
            if not container.streams.video:
                raise ImageError(f"{name}: no picture in it", "use a video with a picture track")
            stream = container.streams.video[0]
            if max(stream.width, stream.height) > MAX_VIDEO_SIDE:
                size = f"{stream.width} x {stream.height} pixels"
                raise ImageError(f"{name}: {size} is too large", f"use a video of at most {MAX_VIDEO_SIDE} pixels a side")
            base = stream.time_base or Fraction(1, 1000)
            length = float(stream.duration * base) if stream.duration else float(container.duration or 0) / av.time_base
            rate, shown = float(stream.average_rate or 30), -1
            for at in np.linspace(0, max(length - 1.5 / rate, 0), VIDEO_FRAMES):
                container.seek(int(at / base), stream=stream)
                frame = next((f for f in container.decode(stream) if f.time is None or f.time >= at - 0.5 / rate), None)
                number = round((frame.time or 0) * rate) if frame is not None else -1
                if frame is None or number <= shown:
                    continue
                shown = number
                scale = min(1.0, MAX_SIDE / max(frame.width, frame.height))
                array = frame.to_ndarray(format="rgb24", width=round(frame.width * scale), height=round(frame.height * scale))
                array = np.rot90(array, round(getattr(frame, "rotation", 0) / 90) % 4)
                yield number, np.ascontiguousarray(array / np.float32(255), np.float32)
    except av.error.FFmpegError as error:
        raise ImageError(f"{name}: not a video that can be read ({error.strerror or error})", "use an MP4, MOV or WebM file") from error
