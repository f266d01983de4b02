"""What users of the built-in head rely on: a clean symmetric mesh, the same bytes everywhere, eyes that close, a jaw that opens."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from backend.rig import Rig, builtin_head, pose_vertices, skin
from backend.rig.builtin.disk_cache import cache_folder, read, to_bytes, version_hash, write

PARTITION = ("skin", "lips", "lids", "mouth_cavity", "neck", "scalp", "eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue",
             "ear_left", "ear_right")  # fmt: skip
FLIP = np.array([-1, 1, 1], np.float32)
REST = np.zeros((5, 3))


def digest(rig: Rig) -> str:
    return hashlib.sha256(to_bytes(rig)).hexdigest()


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    corner = vertices[faces]
    return np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])


def posed(rig: Rig, jaw: float = 0.0, **expression: float) -> np.ndarray:
    """The template under sided or whole expressions."""
    values = np.zeros(len(rig.expression_names))
    for name, value in expression.items():
        hits = [i for i, n in enumerate(rig.expression_names) if n in (name, f"{name}Left", f"{name}Right")]
        assert hits, name
        values[hits] = value
    pose = REST.copy()
    pose[2, 0] = jaw
    return skin(rig, np.zeros(1), values, pose)


class TestMesh:
    def test_size_and_proportions(self, head: Rig):
        assert 5000 <= len(head.template) <= 6500
        y = head.template[:, 1]
        chin = head.template[152, 1]
        assert 0.215 < y.max() - chin < 0.240
        assert 0.125 < np.linalg.norm(head.template[234] - head.template[454]) < 0.140
        left, right = (head.template[head.labels[f"loop_lid_{side}"]].mean(0) for side in ("left", "right"))
        assert abs(np.linalg.norm(left - right) - 0.0625) < 0.001

    def test_mesh_is_a_manifold_open_only_at_the_neck_and_behind_the_lids(self, head: Rig):
        edges = np.concatenate([head.faces[:, [0, 1]], head.faces[:, [1, 2]], head.faces[:, [2, 0]]])
        assert max(Counter(map(tuple, edges.tolist())).values()) == 1, "two faces run along an edge in the same direction"
        times = Counter(map(tuple, np.sort(edges, 1).tolist()))
        boundary = {v for edge, n in times.items() if n == 1 for v in edge}
        open_loops = ("loop_neck_base", "loop_lid_fold_left", "loop_lid_fold_right")
        assert boundary == {v for name in open_loops for v in head.labels[name].tolist()}
        assert len(np.unique(head.faces)) == len(head.template)

    def test_no_degenerate_triangle(self, head: Rig):
        area = np.linalg.norm(face_normals(head.template, head.faces), axis=1) / 2
        assert area.min() > 1e-9

    def test_faces_look_outward(self, head: Rig):
        normals = face_normals(head.template, head.faces)
        centre = head.template[head.faces].mean(1)
        skin_faces = np.isin(head.faces, np.concatenate([head.labels[n] for n in ("scalp", "neck")])).all(1)
        away = centre * [1, 0, 1] - np.array([0, 0, -0.02])
        assert ((normals * away).sum(1)[skin_faces] > 0).mean() > 0.97
        for part in ("eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue", "ear_left", "ear_right"):
            own = np.isin(head.faces, head.labels[part]).all(1)
            volume = (centre[own] * normals[own]).sum() / 6
            assert volume > 1e-8, f"{part} is inside out"

    def test_landmarks_are_the_first_vertices(self, head: Rig):
        assert head.landmarks is not None
        assert head.landmarks[:468].tolist() == list(range(468))
        joints = head.joint_regressor @ head.template
        for iris, joint in ((473, 3), (468, 4)):
            pupil = head.template[head.landmarks[iris]]
            assert np.abs((pupil - joints[joint])[:2]).max() < 1e-6
            assert pupil[2] > joints[joint][2] + 0.011
        assert (np.delete(head.landmarks[468:], [0, 5]) == -1).all()

    def test_labels_are_a_partition_and_loops_run_along_edges(self, head: Rig):
        everything = np.concatenate([head.labels[n] for n in PARTITION])
        assert sorted(everything.tolist()) == list(range(len(head.template)))
        edges = {tuple(e) for f in head.faces.tolist() for e in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))}
        for name, loop in head.labels.items():
            if name.startswith("loop_"):
                steps = zip(loop.tolist(), np.roll(loop, -1).tolist(), strict=True)
                assert all((a, b) in edges or (b, a) in edges for a, b in steps), name

    def test_lips_meet_and_lids_clear_the_eyeball(self, head: Rig):
        upper, lower = head.template[[13, 312, 311, 310, 415]], head.template[[14, 317, 402, 318, 324]]
        assert np.abs(upper - lower)[:, 1:].max() < 1e-4
        assert lid_clearance(head, head.bake(head.template).vertices) > 1e-4


class TestSymmetry:
    def test_everything_is_its_own_mirror_image(self, head: Rig):
        mirror = head.mirror
        assert mirror is not None
        assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
        assert np.array_equal(head.template[mirror] * FLIP, head.template)
        assert np.array_equal(head.weights[mirror][:, [0, 1, 2, 4, 3]], head.weights)
        original = {tuple(sorted(f)) for f in head.faces.tolist()}
        assert {tuple(sorted(f)) for f in mirror[head.faces].tolist()} == original

    def test_expressions_mirror_exactly(self, head: Rig):
        index = {n: i for i, n in enumerate(head.expression_names)}
        for name, i in index.items():
            partner = name.replace("Left", "Right") if "Left" in name else name.replace("Right", "Left")
            mirrored = head.expression_basis[index[partner]][head.mirror] * FLIP
            assert np.array_equal(mirrored, head.expression_basis[i]), name

    def test_each_shape_is_symmetric_or_antisymmetric(self, head: Rig):
        mirrored = head.shape_basis[head.mirror] * FLIP[:, None]
        for k in range(head.shape_basis.shape[2]):
            same = np.array_equal(mirrored[..., k], head.shape_basis[..., k])
            assert same or np.array_equal(-mirrored[..., k], head.shape_basis[..., k]), k


class TestDeterminism:
    @pytest.mark.parametrize("threads", ["1", "4"])
    def test_another_process_builds_the_same_bytes(self, head: Rig, threads: str, tmp_path: Path):
        code = (
            "import hashlib; from backend.rig.builtin.assemble import build; from backend.rig.builtin.disk_cache import to_bytes;"
            "print(hashlib.sha256(to_bytes(build())).hexdigest())"
        )
        environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        root = Path(__file__).resolve().parents[2]
        out = subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == digest(head)

    def test_cache_is_read_quickly_and_holds_the_same_head(self, head: Rig):
        path = cache_folder() / f"head-{version_hash()}.safetensors"
        began = time.perf_counter()
        stored = read(path)
        elapsed = time.perf_counter() - began
        assert stored is not None
        assert digest(stored) == digest(head)
        assert elapsed < 0.5  # 20 ms on a quiet machine

    def test_corrupt_cache_is_built_again(self, head: Rig, tmp_path: Path, monkeypatch):
        monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path))
        path = tmp_path / f"head-{version_hash()}.safetensors"
        path.write_bytes(b"not a rig")
        monkeypatch.setattr("backend.rig.builtin.assemble.build", lambda: head)
        builtin_head.cache_clear()
        assert digest(builtin_head()) == digest(head)
        stored = read(path)
        assert stored is not None
        assert digest(stored) == digest(head)
        builtin_head.cache_clear()

    def test_truncated_cache_files_are_noticed(self, head: Rig, tmp_path: Path):
        data = to_bytes(head)
        for size in (0, 7, 8, 100, len(data) // 2, len(data) - 1):
            (tmp_path / "cut").write_bytes(data[:size])
            assert read(tmp_path / "cut") is None

    def test_failed_write_leaves_nothing_behind(self, tmp_path: Path, monkeypatch):
        def fail(*_):
            raise OSError("disk full")

        monkeypatch.setattr("backend.rig.builtin.disk_cache.os.replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write(tmp_path / "head", b"x")
        assert list(tmp_path.iterdir()) == []


class TestWeights:
    def test_rows_sum_to_one(self, head: Rig):
        assert np.abs(head.weights.sum(1) - 1).max() < 1e-6
        assert head.weights.min() >= 0

    def test_neck_base_belongs_to_the_root(self, head: Rig):
        assert (head.weights[head.labels["loop_neck_base"], 0] == 1).all()

    def test_jaw_opens_the_lips_and_leaves_the_skull(self, head: Rig):
        before, after = posed(head), posed(head, jaw=0.3)
        gap = after[13] - after[14]
        assert gap[1] > 0.018
        upper = np.concatenate([head.labels["scalp"], head.labels["ear_left"], head.labels["eye_left"], head.labels["teeth_upper"]])
        assert np.abs(after - before)[upper].max() < 1e-6
        assert np.abs(after - before)[[1, 4, 33, 263, 10]].max() < 1e-6
        teeth = head.labels["teeth_lower"]
        rigid = np.linalg.norm(after[teeth][:, None] - after[teeth][None], axis=2)
        assert np.abs(rigid - np.linalg.norm(before[teeth][:, None] - before[teeth][None], axis=2)).max() < 1e-6

    def test_jaw_weight_is_continuous_under_the_chin(self, head: Rig):
        """No edge of the skin is torn at 0.4 rad: it stretches by less than a factor of three."""
        before, after = posed(head), posed(head, jaw=0.4)
        chosen = np.isin(head.faces, np.concatenate([head.labels["skin"], head.labels["neck"]])).all(1)
        edges = np.concatenate([head.faces[chosen][:, [0, 1]], head.faces[chosen][:, [1, 2]]])
        edges = edges[head.template[edges].mean(1)[:, 1] < head.template[152, 1] + 0.02]
        length = lambda v: np.linalg.norm(v[edges[:, 0]] - v[edges[:, 1]], axis=1)
        ratio = length(after) / length(before)
        assert ratio.max() < 3
        assert ratio.min() > 0.2

    def test_eyes_turn_in_place(self, head: Rig):
        pose = REST.copy()
        pose[3, 1] = 0.5
        moved = np.abs(skin(head, np.zeros(1), np.zeros(1), pose) - head.template).max(1) > 1e-6
        assert set(np.flatnonzero(moved)) <= set(head.labels["eye_left"].tolist())
        assert skin(head, np.zeros(1), np.zeros(1), pose)[head.labels["eye_left"][0], 0] > head.template[head.labels["eye_left"][0], 0]


def lid_gap(rig: Rig, vertices: np.ndarray, side: str) -> float:
    """Largest distance between facing points of the lid line, metres."""
    line = vertices[rig.labels[f"loop_lid_{side}"]]
    return float(np.linalg.norm(line - line[-np.arange(len(line)) % len(line)], axis=1).max())


def lid_clearance(rig: Rig, vertices: np.ndarray) -> float:
    """Least distance of the skin around the left eye from the eyeball and its cornea, metres; negative where it pokes through."""
    ball = vertices[rig.labels["eye_left"]]
    centre = (rig.joint_regressor @ vertices)[3]
    radius = np.linalg.norm(ball[-1] - centre)
    parts = ("eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue", "ear_left", "ear_right", "mouth_cavity")
    lids = np.setdiff1d(rig.labels["lids"], np.concatenate([rig.labels["loop_lid_left"], rig.labels["loop_lid_right"]]))
    hidden = np.concatenate([*(rig.labels[p] for p in parts), lids])
    faces = rig.faces[~np.isin(rig.faces, hidden).any(1)]
    inside = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    offset = np.einsum("kc,fcd->fkd", inside, vertices[faces]).reshape(-1, 3) - centre
    distance = np.linalg.norm(offset, axis=1)
    bulge = 0.0005 * np.exp(-((np.arccos(np.clip(offset[:, 2] / distance, -1, 1)) / 0.45) ** 4))
    return float((distance - radius - bulge).min())


class TestExpressions:
    def test_all_that_arkit_names_is_there(self, head: Rig):
        from backend.rig import ARKIT_NAMES

        joints = {n for n in ARKIT_NAMES if n.startswith("eyeLook") or n == "jawOpen"}
        assert set(head.expression_names) == set(ARKIT_NAMES) - joints
        assert len(head.expression_names) >= 30

    def test_blink_closes_both_eyes(self, head: Rig):
        for rig_vertices in (posed(head, eyeBlink=1), pose_vertices(head.bake(head.template), both_blink(1.0), REST)):
            assert lid_gap(head, rig_vertices, "left") < 3e-4
            assert lid_gap(head, rig_vertices, "right") < 3e-4

    @pytest.mark.parametrize("value", [0.25, 0.5, 0.75, 1.0])
    def test_no_eyeball_pokes_through_a_blinking_lid(self, head: Rig, value: float):
        assert lid_clearance(head, pose_vertices(head.bake(head.template), both_blink(value), REST)) > 1e-4

    def test_blink_closes_on_other_faces(self, head: Rig):
        """An identity's own lids meet after baking; with the template's blink they would not."""
        rng = np.random.default_rng(3)
        for _ in range(3):
            face = skin(head, 0.3 * rng.standard_normal(180), np.zeros(1), REST).astype(np.float32)
            baked = head.bake(face)
            closed = pose_vertices(baked, both_blink(1.0), REST)
            assert max(lid_gap(head, closed, side) for side in ("left", "right")) < 3e-4
            plain = face + sum(head.expression_basis[head.expression_names.index(f"eyeBlink{s}")] for s in ("Left", "Right"))
            assert max(lid_gap(head, plain, side) for side in ("left", "right")) > 3e-4
            ball = baked.vertices[head.labels["eye_left"]] - baked.joints[3]
            template = head.template[head.labels["eye_left"]] - (head.joint_regressor @ head.template)[3]
            scale = np.linalg.norm(ball, axis=1) / np.linalg.norm(template, axis=1)
            assert np.ptp(scale) < 1e-3, "the eyeball is not round"

    def test_wide_opens_and_squint_narrows(self, head: Rig):
        opening = [lid_gap(head, posed(head, **{name: 1.0}), "left") for name in ("eyeSquint", "eyeBlink", "eyeWide")]
        rest = lid_gap(head, posed(head), "left")
        assert opening[0] < 0.75 * rest
        assert opening[2] > 1.15 * rest

    def test_smile_lifts_and_widens_the_corners(self, head: Rig):
        before, after = posed(head), posed(head, mouthSmile=1)
        for corner, side in ((291, 1), (61, -1)):
            assert (after - before)[corner, 1] > 0.004
            assert (after - before)[corner, 0] * side > 0.004
        assert np.abs(after - before)[[33, 263, 10, 152]].max() < 5e-4

    def test_mouth_close_undoes_the_open_jaw(self, head: Rig):
        from backend.rig.arkit import JAW_OPEN_ANGLE

        opened, closed = posed(head, jaw=JAW_OPEN_ANGLE), posed(head, jaw=JAW_OPEN_ANGLE, mouthClose=1)
        gap = lambda v: np.linalg.norm(v[[13, 312, 82, 311, 81]] - v[[14, 317, 87, 402, 178]], axis=1).max()
        assert gap(opened) > 0.025
        assert gap(closed) < 0.0005

    def test_tongue_comes_out_between_the_teeth(self, head: Rig):
        before, after = posed(head, jaw=0.2), posed(head, jaw=0.2, tongueOut=1)
        tip = head.labels["tongue"][0]
        assert after[tip, 2] > after[14, 2] + 0.004
        through = after[head.labels["tongue"]]
        through = through[np.abs(through[:, 2] - after[14, 2]) < 0.004]
        assert through[:, 1].max() < after[13, 1]
        assert through[:, 1].max() > after[14, 1]
        assert before[tip, 2] < before[14, 2]

    def test_upper_teeth_stay_behind_the_lips(self, head: Rig):
        for name in ("mouthSmile", "mouthPress", "mouthRollUpper", "mouthRollLower", "mouthPucker", "mouthDimple"):
            moved = posed(head, **{name: 1.0})
            front = moved[head.labels["teeth_upper"], 2].max()
            assert moved[13, 2] > front - 1e-4, name

    def test_bases_are_smooth(self, head: Rig):
        """No expression tears neighbouring skin vertices apart: every skin edge keeps within 0.15 and 6 times its length."""
        skin_vertices = np.concatenate([head.labels[n] for n in ("skin", "scalp", "neck")])
        faces = head.faces[np.isin(head.faces, skin_vertices).all(1)]
        length = lambda v: np.linalg.norm(v[faces[:, 0]] - v[faces[:, 1]], axis=1)
        rest = length(head.template)
        for name, field in zip(head.expression_names, head.expression_basis, strict=True):
            ratio = length(head.template + field) / rest
            assert ratio.min() > 0.15, name
            assert ratio.max() < 6, name


def both_blink(value: float) -> dict[str, float]:
    return {"eyeBlinkLeft": value, "eyeBlinkRight": value}


class TestShapes:
    def test_shape_never_parts_the_lips(self, head: Rig):
        upper, lower = [13, 312, 311, 310, 415, 82, 81], [14, 317, 402, 318, 324, 87, 178]
        assert np.abs(head.shape_basis[upper] - head.shape_basis[lower]).max() < 2e-7

    def test_teeth_tongue_and_eyes_go_along(self, head: Rig):
        field = head.shape_basis
        follow = np.abs(field[head.labels["teeth_upper"]].mean(0) - field[[13, 308, 78]].mean(0)).max()
        assert follow < 0.6 * np.abs(field[[13, 308, 78]].mean(0)).max()
        eye = field[head.labels["eye_left"]]
        assert np.abs(eye - eye[:1]).max() == 0, "a shape deforms the eyeball"
        assert np.abs(eye[0] - field[head.labels["loop_lid_left"]].mean(0)).max() < 1e-3

    def test_joints_move_with_the_shape(self, head: Rig):
        longer = head.template * np.array([1, 1.1, 1], np.float32)
        joints, rest = head.joint_regressor @ longer, head.joint_regressor @ head.template
        assert np.abs(joints - rest * [1, 1.1, 1]).max() < 1e-5
