"""Numbers of the released networks, reproduced: folders of safetensors with deterministic weights, compared tensor by tensor."""

from .fixture_folder import FixtureFolder
from .fixture_inputs import blocks, camera, codes, face_model, noise_image, plain_image
from .fixture_weights import fill, normal, tensor, uniform
from .rows import Row, all_rows, compare, left_over

__all__ = [
    "FixtureFolder",
    "Row",
    "all_rows",
    "blocks",
    "camera",
    "codes",
    "compare",
    "face_model",
    "fill",
    "left_over",
    "noise_image",
    "normal",
    "plain_image",
    "tensor",
    "uniform",
]
