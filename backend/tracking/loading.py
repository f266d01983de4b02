"""From a photo's file to a portrait: decode, find the face, cut out the person."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .images import Photo, load_image
from .portrait import Portrait
from .tracker import Tracker, choose_face, default_tracker


def load_portrait(path: str | os.PathLike[str], face: int | None = None, tracker: Tracker | None = None) -> Portrait:
    """Read a photo and measure it.

    Args:
        path: the photo.
        face: which face, counted from the left, where there are several.
        tracker: who measures; MediaPipe's nets by default.
    Raises:
        ImageError: the file cannot be read as a photo.
        FaceChoiceError: several faces and no choice; carries them as ``faces``.
        FaceError: no face, or one that cannot be used.
        WeightsError: the nets are not installed.
    """
    return make_portrait(load_image(path), Path(path).name, face, tracker)


def make_portrait(photo: Photo, name: str, face: int | None = None, tracker: Tracker | None = None) -> Portrait:
    """Measure a decoded photo; see `load_portrait`."""
    tracker = tracker or default_tracker()
    chosen = choose_face(tracker.faces(photo.image), name, face)
    matte = tracker.matte(photo.image, chosen)
    if photo.alpha is not None:
        matte = np.minimum(matte, photo.alpha)
    notes = list(photo.warnings)
    if chosen.doubtful:
        notes.append(f"{name}: this may not be a person's face (certainty {chosen.score:.2f}, people have 0.9 and more)")
    return Portrait(photo.image, matte, chosen, name, photo.sha256, photo.focal, tuple(notes))
