"""From a picture of a person to landmarks, matte, camera and rig parameters."""

from .portrait import Face, Portrait
from .tracker import FaceChoiceError, Tracker, choose_face, default_tracker

__all__ = ["Face", "FaceChoiceError", "Portrait", "Tracker", "choose_face", "default_tracker"]
