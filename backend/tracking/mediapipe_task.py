"""Another tracker behind the same interface: the official `mediapipe` package with its .task files.

For users who have them: ``pip install mediapipe`` and the FaceLandmarker bundle from Google's model page. The package is not a
dependency of the project; it is imported when a tracker is made.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np

from backend.protocol.errors import WeightsError

from .depth import corrected_depth
from .matte import person_matte
from .nets import Nets, load_nets
from .portrait import F32, Face

MAX_FACES = 8
LANDMARKS = 478


class TaskTracker:
    """MediaPipe's own FaceLandmarker for the landmarks; the matte comes from the converted nets.

    One call at a time: a FaceLandmarker must not be shared between threads, so a lock stands before it.

    Args:
        path: the ``face_landmarker.task`` file.
        nets: the converted nets, for the matte; by default those that set-up installed.
    Raises:
        WeightsError: the package or the file is missing, or the file is not such a bundle.
    """

    name = "mediapipe FaceLandmarker"
    licence = "Apache-2.0"

    def __init__(self, path: str | os.PathLike[str], nets: Nets | None = None) -> None:
        try:
            import mediapipe  # pyright: ignore[reportMissingImports]
            from mediapipe.tasks.python import BaseOptions, vision  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise WeightsError("the mediapipe package is not installed", "pip install mediapipe, or use the default tracker") from error
        if not Path(path).is_file():
            raise WeightsError(f"{path}: no such file", "download face_landmarker.task from MediaPipe's model page")
        self._mediapipe = mediapipe
        self._lock = threading.Lock()
        self.nets = nets or load_nets()
        options = vision.FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=str(path)), num_faces=MAX_FACES)
        try:
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise WeightsError(f"{path}: not a FaceLandmarker bundle ({error})", "download face_landmarker.task again") from error

    def faces(self, image: F32) -> list[Face]:
        """See `Tracker.faces`. The package tells no scores: what passes its own thresholds counts as sure."""
        height, width = image.shape[:2]
        picture = np.ascontiguousarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))
        with self._lock:
            result = self._landmarker.detect(self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=picture))
        faces = []
        for points in result.face_landmarks:
            if len(points) != LANDMARKS:
                message = f"the bundle gives {len(points)} landmarks, {LANDMARKS} with irises are needed"
                raise WeightsError(message, "use face_landmarker.task")
            landmarks = np.array([[p.x * width, p.y * height, p.z * width] for p in points], np.float32)
            faces.append(Face(corrected_depth(landmarks), 1.0, 1.0))
        return sorted(faces, key=lambda f: f.box[0] + f.box[2])

    def follow(self, image: F32, face: Face) -> Face | None:
        """See `Tracker.follow`: the face whose middle lies nearest, within its own width."""
        middle = face.landmarks[:, :2].mean(0)
        near = [(float(np.linalg.norm(f.landmarks[:, :2].mean(0) - middle)), f) for f in self.faces(image)]
        near = [(distance, f) for distance, f in near if distance < face.width]
        return replace(min(near, key=lambda pair: pair[0])[1], score=face.score) if near else None

    def matte(self, image: F32, face: Face) -> F32:
        """See `Tracker.matte`."""
        return person_matte(image, face, self.nets["matte"])
