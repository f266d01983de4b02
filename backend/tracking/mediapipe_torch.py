"""The default tracker: MediaPipe's detectors, attention mesh and selfie segmentation in plain torch."""

from __future__ import annotations

import numpy as np

from .depth import corrected_depth
from .detector import Detection, search
from .matte import person_matte
from .mesh import follow_face, landmark_face
from .nets import Nets, load_nets
from .portrait import F32, Face
from .tracker import MIN_WIDTH

MIN_PRESENCE = 0.5
SURE_SCORE = 0.7
ENOUGH_SCORE = 0.8
UNSURE_PRESENCE = 0.97


class TorchTracker:
    """Stateless after construction; any number of threads may share one.

    Args:
        nets: the converted nets; by default those that set-up installed.
        corrected: whether depth is corrected (`corrected_depth`); not where the correction itself is learned.
    Raises:
        WeightsError: the nets are not installed.
    """

    name = "mediapipe 0.10.21 nets in torch"
    licence = "Apache-2.0"

    def __init__(self, nets: Nets | None = None, *, corrected: bool = True) -> None:
        self.nets = nets or load_nets()
        self.corrected = corrected

    def faces(self, image: F32) -> list[Face]:
        """See `Tracker.faces`. A candidate counts when the mesh net sees a face too: the detectors alone fire on patterns.

        The search ends at the first level with a sure face; without one, all levels are searched
        and the surest counts: a head that hangs upside down is first taken for another face.
        """
        best: list[Face] = []
        for candidates in search(image, self.nets):
            faces = self._confirmed(image, candidates)
            if _score(faces) > _score(best):
                best = faces
            if _score(best) >= ENOUGH_SCORE:
                break
        return sorted(best, key=lambda f: f.box[0] + f.box[2])

    def _confirmed(self, image: F32, candidates: list[Detection]) -> list[Face]:
        faces: list[Face] = []
        for candidate in candidates:
            landmarks, presence = landmark_face(image, candidate.square, self.nets["landmarks"])
            face = Face(self._depth(landmarks), candidate.score, presence)
            sure = candidate.score >= SURE_SCORE
            real = presence >= MIN_PRESENCE if sure else presence >= UNSURE_PRESENCE and face.width >= MIN_WIDTH
            if real and not any(_same(face, other) for other in faces):
                faces.append(face)
        return faces

    def follow(self, image: F32, face: Face) -> Face | None:
        """See `Tracker.follow`: the mesh net looks where the face was, no detector runs."""
        landmarks, presence = follow_face(image, face.landmarks, self.nets["landmarks"])
        return Face(self._depth(landmarks), face.score, presence) if presence >= MIN_PRESENCE else None

    def matte(self, image: F32, face: Face) -> F32:
        """See `Tracker.matte`."""
        return person_matte(image, face, self.nets["matte"])

    def _depth(self, landmarks: F32) -> F32:
        return corrected_depth(landmarks) if self.corrected else landmarks


def _score(faces: list[Face]) -> float:
    return max((f.score for f in faces), default=0.0)


def _same(a: Face, b: Face) -> bool:
    """Whether two sets of landmarks have settled on one face."""
    distance = np.linalg.norm(a.landmarks[:, :2].mean(0) - b.landmarks[:, :2].mean(0))
    return bool(distance < 0.3 * max(a.width, b.width))
