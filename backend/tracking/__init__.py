"""From a picture of a person to landmarks, matte, camera and rig parameters."""

from .embedding import with_landmarks
from .fit import Fit, fit
from .images import Photo, decode_image, load_image
from .loading import load_portrait, make_portrait
from .motion import Motion, motion_of_drivers, read_motion, write_motion
from .portrait import Face, Portrait
from .tracker import FaceChoiceError, Tracker, choose_face, default_tracker, describe_faces
from .video import track_video

__all__ = [
    "Face",
    "FaceChoiceError",
    "Fit",
    "Motion",
    "Photo",
    "Portrait",
    "Tracker",
    "choose_face",
    "decode_image",
    "default_tracker",
    "describe_faces",
    "fit",
    "load_image",
    "load_portrait",
    "make_portrait",
    "motion_of_drivers",
    "read_motion",
    "track_video",
    "with_landmarks",
    "write_motion",
]
