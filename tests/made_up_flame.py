"""A face model with FLAME's counts and none of its data, for tests of networks that know FLAME alone."""

from __future__ import annotations

import numpy as np

from backend.parity import face_model
from backend.rig.rig import Rig


def made_up_flame(salt: bytes) -> Rig:
    """By the parity recipe; its expressions leave the back of the head alone, as FLAME's do."""
    model = face_model(salt)
    front = np.clip(model["v_template"][:, 2] / 0.03, 0, 1)[:, None, None]
    model["shapedirs"][..., 300:] *= front
    return Rig(
        template=model["v_template"], faces=model["f"].astype(np.int32), shape_basis=model["shapedirs"][..., :300],
        expression_basis=np.ascontiguousarray(model["shapedirs"][..., 300:].transpose(2, 0, 1)),
        expression_names=tuple(f"expr{i:03d}" for i in range(100)), joint_regressor=model["J_regressor"],
        joint_names=("root", "neck", "jaw", "eye_left", "eye_right"), parents=np.array([-1, 0, 1, 1, 1], np.int32),
        weights=model["weights"], rig_id="made-up", licence="none", pose_basis=model["posedirs"],
    )  # fmt: skip
