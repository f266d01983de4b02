"""Motion files as their tools write them, small, for tests."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np

LIVE_LINK = ("EyeBlinkLeft", "EyeLookUpLeft", "EyeBlinkRight", "JawOpen", "MouthSmileLeft", "MouthSmileRight", "BrowInnerUp", "TongueOut",
             "HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw")  # fmt: skip


def live_link(path: Path, values: np.ndarray, fps: int = 60, timecodes: list[str] | None = None) -> Path:
    """A take of Epic's app: `values` [T, 12] of LIVE_LINK."""
    code = lambda i: f"10:59:59:{i:02d}.250" if i < fps else f"11:00:00:{i - fps:02d}.250"
    codes = timecodes or [code(i) for i in range(len(values))]
    rows = [",".join([code, "61", *(f"{v:.6f}" for v in row)]) for code, row in zip(codes, values, strict=True)]
    path.write_text("\n".join([",".join(["Timecode", "BlendShapeCount", *LIVE_LINK]), *rows]) + "\n")
    return path


def arkit_json(path: Path, names, weights: np.ndarray, fps: float = 30.0, **more) -> Path:
    """LAM's layout."""
    frames = [{"weights": list(map(float, row)), "time": i / fps, "rotation": []} for i, row in enumerate(weights)]
    path.write_text(json.dumps({"names": list(names), "frames": frames, **more}))
    return path


def flame(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """FLAME parameters of a head that turns and speaks; arrays with a row a frame, by VHAP's names."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, count)[:, None]
    still = np.zeros((count, 1))
    return {
        "expr": (rng.standard_normal(100) * np.sin(6 * t)).astype(np.float32),
        "jaw_pose": np.hstack([0.2 * np.abs(np.sin(9 * t)), still, still]).astype(np.float32),
        "neck_pose": np.hstack([still, 0.1 * t, still]).astype(np.float32),
        "rotation": np.hstack([still, 0.3 * t + 0.2, still]).astype(np.float32),
        "eyes_pose": np.hstack([still, 0.2 * t, still, still, 0.2 * t, still]).astype(np.float32),
        "translation": np.zeros((count, 3), np.float32),
        "shape": np.zeros(300, np.float32),
    }


def vhap_folder(folder: Path, count: int, cameras: int = 1, turn: float = 0.0) -> Path:
    """VHAP's export: flame_param/00000.npz .. and transforms.json; `turn` lets the camera go round instead of the head."""
    arrays = flame(count)
    (folder / "flame_param").mkdir(parents=True)
    frames = []
    for i in range(count):
        one = {name: values if name == "shape" else values[i : i + 1] for name, values in arrays.items()}
        np.savez(folder / "flame_param" / f"{i:05d}.npz", **one)
        for camera in range(cameras):
            pose = np.eye(4)
            angle = turn * i
            pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
            frames.append({
                "timestep_index": i, "camera_index": camera, "flame_param_path": f"flame_param/{i:05d}.npz",
                "transform_matrix": pose.tolist(),
            })  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps({"frames": frames[::-1]}))
    return folder


def gagavatar_pickle(path: Path, count: int, turn: float = 0.02) -> Path:
    """GAGAvatar_track's smoothed.pkl: the head's rotation is in PyTorch3D's row-vector camera."""
    arrays = flame(count)
    frames = {}
    for i in range(count):
        angle = turn * i
        rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        frames[f"clip_{i}"] = {
            "bbox": np.zeros(4, np.float32), "shapecode": np.zeros(300, np.float32), "expcode": arrays["expr"][i],
            "posecode": np.concatenate([np.zeros(3, np.float32), arrays["jaw_pose"][i]]), "eyecode": arrays["eyes_pose"][i],
            "transform_matrix": np.hstack([rotation, [[0], [0], [9.3]]]).astype(np.float32),
        }  # fmt: skip
    path.write_bytes(pickle.dumps(frames, protocol=4))
    return path


def tracked(path: Path, count: int, names=("mouthSmileLeft", "browInnerUp"), turn: float = 0.02) -> Path:
    """What `lookalike track` writes (backend/tracking/motion.py, format 1)."""
    from safetensors.numpy import save

    cameras = np.repeat(np.eye(4, dtype=np.float32)[None], count, 0)
    for i in range(count):
        c, s = np.cos(turn * i), np.sin(turn * i)
        cameras[i, :3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    pose = np.zeros((count, 5, 3), np.float32)
    pose[:, 2, 0] = np.linspace(0, 0.3, count)
    arrays = {
        "expression": np.linspace(0, 1, count * len(names), dtype=np.float32).reshape(count, -1), "pose": pose,
        "world_to_camera": cameras, "intrinsics": np.repeat(np.eye(3, dtype=np.float32)[None], count, 0), "tracked": np.arange(count) != 1,
    }  # fmt: skip
    header = {
        "format": 1, "expression_names": list(names), "joint_names": ["root", "neck", "jaw", "eye_left", "eye_right"], "size": [640, 480],
        "fps": 25.0, "rig_id": "builtin", "source": "take.mp4", "warnings": [],
    }  # fmt: skip
    path.write_bytes(save(arrays, metadata={"lookalike_motion": json.dumps(header)}))
    return path


CUES = ((0.00, 0.20, "X"), (0.20, 0.32, "B"), (0.32, 0.40, "A"), (0.40, 0.70, "D"), (0.70, 0.76, "C"), (0.76, 1.00, "F"), (1.00, 1.30, "X"))


def rhubarb_json(path: Path, cues=CUES) -> Path:
    rows = [{"start": a, "end": b, "value": c} for a, b, c in cues]
    path.write_text(json.dumps({"metadata": {"soundFile": "line.wav", "duration": cues[-1][1]}, "mouthCues": rows}))
    return path


def rhubarb_tsv(path: Path, cues=CUES) -> Path:
    path.write_text("".join(f"{a:.2f}\t{c}\n" for a, _, c in cues) + f"{cues[-1][1]:.2f}\tX\n")
    return path


def rhubarb_xml(path: Path, cues=CUES) -> Path:
    rows = "".join(f'<mouthCue start="{a:.2f}" end="{b:.2f}">{c}</mouthCue>' for a, b, c in cues)
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<rhubarbResult><metadata><soundFile>line.wav</soundFile></metadata>'
        f"<mouthCues>{rows}</mouthCues></rhubarbResult>"
    )
    return path
