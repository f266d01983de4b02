"""Vertex normals point outward, in both libraries alike."""

from __future__ import annotations

import numpy as np
import torch

from backend.rig import Rig, vertex_normals


def test_normals_of_an_eyeball_point_away_from_its_centre(head: Rig):
    normals = vertex_normals(head.template, head.faces)
    eye = head.labels["eye_left"]
    away = head.template[eye] - (head.joint_regressor @ head.template)[3]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    assert (normals[eye] * away).sum(1).min() > 0.95
    assert np.abs(np.linalg.norm(normals, axis=1) - 1).max() < 1e-5


def test_torch_and_numpy_agree_for_a_batch(head: Rig):
    batch = np.stack([head.template, head.template * [1, 2, 1]]).astype(np.float64)
    expected = vertex_normals(batch, head.faces)
    assert np.abs(vertex_normals(torch.from_numpy(batch), head.faces.copy()).numpy() - expected).max() < 1e-12
    assert np.abs(expected[1] - vertex_normals(batch[1], head.faces)).max() < 1e-12
