"""Linear blend skinning against a plain loop, in NumPy and torch, and against the numbers of the published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from backend.protocol.errors import RigError
from backend.rig import Rig, linear_blend_skinning, load_flame, pose_correctives, pose_vertices, rotation_matrices, skin


def plain_skinning(vertices, joints, weights, pose, parents):
    """One vertex and one joint at a time, with 4x4 matrices."""
    world = []
    for j, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = Rotation.from_rotvec(pose[j]).as_matrix()
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    out = np.zeros_like(vertices)
    for i, vertex in enumerate(vertices):
        for j, matrix in enumerate(world):
            away = matrix[:3, :3] @ (vertex - joints[j]) + matrix[:3, 3]
            out[i] += weights[i, j] * away
    return out


def test_rotation_matrices_match_scipy():
    axis_angle = np.random.default_rng(0).standard_normal((4, 5, 3)) * 2
    axis_angle[0, 0] = 0
    expected = Rotation.from_rotvec(axis_angle.reshape(-1, 3)).as_matrix().reshape(4, 5, 3, 3)
    assert np.abs(rotation_matrices(axis_angle) - expected).max() < 1e-12


def test_skinning_matches_a_plain_loop(head: Rig):
    rng = np.random.default_rng(1)
    pose = 0.4 * rng.standard_normal((5, 3))
    chosen = rng.choice(len(head.template), 200, replace=False)
    vertices = head.template[chosen].astype(np.float64)
    joints = (head.joint_regressor @ head.template).astype(np.float64)
    weights = head.weights[chosen].astype(np.float64)
    expected = plain_skinning(vertices, joints, weights, pose, head.parents)
    assert np.abs(linear_blend_skinning(vertices, joints, weights, pose, head.parents.tolist()) - expected).max() < 1e-12


def test_torch_and_numpy_agree_for_any_batch(head: Rig):
    rng = np.random.default_rng(2)
    shape, expression, pose = (
        rng.standard_normal((2, 1, 20)) * 0.2,
        rng.random((3, len(head.expression_names))),
        rng.standard_normal((2, 3, 5, 3)) * 0.2,
    )
    by_numpy = skin(head, shape, expression, pose)
    by_torch = skin(head, *(torch.from_numpy(a) for a in (shape, expression, pose)))
    assert by_numpy.shape == (2, 3, len(head.template), 3)
    assert np.abs(by_torch.numpy() - by_numpy).max() < 1e-12
    one = skin(head, shape[1, 0], expression[2], pose[1, 2])
    assert np.abs(by_numpy[1, 2] - one).max() < 1e-12


def test_gradients_are_finite_at_rest(head: Rig):
    inputs = [torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in (10, 43)]
    pose = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)
    skin(head, *inputs, pose)[::50].square().sum().backward()
    assert pose.grad is not None
    assert torch.isfinite(pose.grad).all()
    assert pose.grad.abs().max() > 1e-6


def test_pose_vertices_is_skin_for_a_baked_rig(head: Rig):
    baked = head.bake(head.template)
    pose = np.array([[0, 0.1, 0], [0.1, 0, 0], [0.2, 0, 0], [0, 0.3, 0], [0, 0.3, 0]])
    expression = np.zeros(len(head.expression_names))
    expression[head.expression_names.index("mouthSmileLeft")] = 0.7
    expected = skin(head, np.zeros(1), expression, pose)
    assert np.abs(pose_vertices(baked, {"mouthSmileLeft": 0.7}, pose) - expected).max() < 2e-6
    assert np.array_equal(pose_vertices(baked, {}, np.zeros((5, 3))), baked.vertices)
    with pytest.raises(RigError, match="mouthSmirk"):
        pose_vertices(baked, {"mouthSmirk": 1.0}, pose)


def test_wrong_sizes_are_refused(head: Rig):
    with pytest.raises(ValueError, match="181 shape"):
        skin(head, np.zeros(181), np.zeros(1), np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"\[..., 5, 3\]"):
        skin(head, np.zeros(1), np.zeros(1), np.zeros((4, 3)))


@pytest.mark.parametrize("case", ["zero", "src", "drive", "strong"])
def test_parity_with_the_published_flame_code(case, shared, parity_model, parity_inputs, tmp_path):
    """GAGAvatar's FLAME on a synthetic model; stored vertices are in units of 0.2 m."""
    stored = pytest.importorskip("safetensors.numpy").load_file(shared / "parity" / "flame.safetensors")
    keys = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
    np.savez(tmp_path / "flame.npz", **{k: parity_model[k] for k in keys})
    rig = load_flame(tmp_path / "flame.npz")
    if case == "zero":
        shape, expression, pose, eyes = np.zeros(300), np.zeros(100), np.zeros(6), np.zeros(6)
    else:
        identity, motion = ("src", "dst") if case == "drive" else (case, case)
        shape = parity_inputs[f"{identity}.shape"]
        expression, pose, eyes = (parity_inputs[f"{motion}.{key}"] for key in ("exp", "pose", "eye"))
    full = np.concatenate([pose[:3], np.zeros(3), pose[3:], eyes]).astype(np.float64).reshape(5, 3)
    # The published code regresses the joints after the expression; the paper, and `skin`, before it.
    codes = np.concatenate([shape, expression]).astype(np.float64)
    basis = np.concatenate([rig.shape_basis, rig.expression_basis.transpose(1, 2, 0)], 2).astype(np.float64)
    assert rig.pose_basis is not None
    vertices = rig.template + basis @ codes
    joints = rig.joint_regressor.astype(np.float64) @ vertices
    vertices = vertices + pose_correctives(rig.pose_basis.astype(np.float64), full)
    posed = linear_blend_skinning(vertices, joints, rig.weights.astype(np.float64), full, rig.parents.tolist())
    assert np.abs(5 * posed - stored[f"{case}.vertices"]).max() < 3e-6
    apart = np.abs(skin(rig, shape.astype(np.float64), expression.astype(np.float64), full) - posed).max()
    assert apart < (0.02 if case == "strong" else 0.003)
