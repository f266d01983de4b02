"""A second set of fixtures, made here: another salt, other cameras, codes and Gaussians, by plain double-precision loops.

Face model and weights are the recipe's (that those are right is tested by their published digests); posing and rasterizing are
written anew, from the formulas, one number after the other, so that the program's own code is not compared with itself.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from backend.parity import camera, codes, face_model, noise_image, normal, uniform

SCALE = 5.0


def write_set(folder: Path, salt: str, suffix: str = "") -> None:
    """inputs, flame and raster files of that salt."""
    key = salt.encode()
    inputs = {
        "image.noise": noise_image("input.image", key, 64),
        "src.transform": camera(-8, 11, -4, 9.9),
        "dst.transform": camera(31, 2, 1, 9.4),
    }
    for name, jaw in (("src", 0.1), ("dst", 0.2), ("strong", 0.3)):
        inputs |= {f"{name}.{part}": value for part, value in codes(f"other.{name}", key, jaw, 0.3, 0.2).items()}
    files = {"inputs": inputs, "flame": _flame(inputs, key), "raster": _raster(key, inputs["dst.transform"])}
    for name, tensors in files.items():
        contiguous = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
        save_file(contiguous, folder / f"{name}{suffix}.safetensors", metadata={"salt": salt})


def _flame(inputs: dict[str, np.ndarray], key: bytes) -> dict[str, np.ndarray]:
    model = face_model(key)
    names = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights")
    doubles = {name: model[name].astype(np.float64) for name in names}
    out = {
        "model.checksum": np.array([doubles[name].sum() for name in names]),
        "model.abs_checksum": np.array([np.abs(doubles[name]).sum() for name in names]),
    }
    triangles = model["f"][model["full_lmk_faces_idx_with_eye"][0]]
    weights = model["full_lmk_bary_coords_with_eye"][0].astype(np.float64)
    for name, shape, rest in (("src", "src", "src"), ("drive", "src", "dst")):
        parts = [inputs[f"{shape}.shape"], *(inputs[f"{rest}.{part}"] for part in ("exp", "pose", "eye"))]
        vertices, joints = _skinned(doubles, model["kintree_table"][0], *(part.astype(np.float64) for part in parts))
        points = np.einsum("lkx,lk->lx", vertices[triangles], weights)
        picked = points.copy()
        chosen = {37: [2452, 2454], 38: [2471], 40: [2276], 41: [2360], 43: [1292], 44: [1217], 46: [999], 47: [827]}
        for landmark, index in chosen.items():
            picked[landmark] = vertices[index].mean(0)
        out |= {
            f"{name}.vertices": (SCALE * vertices).astype(np.float32),
            f"{name}.joints_unscaled": joints.astype(np.float32),
            f"{name}.landmarks": (SCALE * points).astype(np.float32),
            f"{name}.landmarks_eyes_reselected": (SCALE * picked).astype(np.float32),
        }
    return out


def _skinned(model, parents, shape, expression, pose, eyes):
    """Vertices and joints in metres by 4 x 4 matrices, with scipy's rotations."""
    from scipy.spatial.transform import Rotation

    vertices = model["v_template"] + model["shapedirs"] @ np.concatenate([shape, expression])
    joints = model["J_regressor"] @ vertices
    turns = Rotation.from_rotvec(np.concatenate([pose[:3], np.zeros(3), pose[3:], eyes]).reshape(5, 3)).as_matrix()
    vertices = vertices + model["posedirs"] @ (turns[1:] - np.eye(3)).ravel()
    world = []
    for j, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = turns[j]
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    undo = [np.eye(4) for _ in joints]
    for matrix, joint in zip(undo, joints, strict=True):
        matrix[:3, 3] = -joint
    each = np.stack([w @ u for w, u in zip(world, undo, strict=True)])
    blended = np.einsum("vj,jab->vab", model["weights"], each)
    posed = np.einsum("vab,vb->va", blended, np.concatenate([vertices, np.ones((len(vertices), 1))], 1))[:, :3]
    return posed, np.stack([w[:3, 3] for w in world])


def _raster(key: bytes, transform: np.ndarray, count: int = 60, width: int = 40, height: int = 24) -> dict[str, np.ndarray]:
    """One set "third": Gaussians about the origin in a small picture."""
    given = {
        "means": 0.25 * normal("third.means", (count, 3), key), "scales": (0.004 + 0.05 * uniform("third.scales", (count, 3), key)),
        "quats": 0.6 * normal("third.quats", (count, 4), key), "opac": uniform("third.opac", (count, 1), key),
        "colors": normal("third.colors", (count, 32), key), "bg": normal("third.bg", (32,), key),
    }  # fmt: skip
    given = {name: value.astype(np.float32) for name, value in given.items()}
    rotation, shift = transform[:, :3].astype(np.float64), transform[:, 3].astype(np.float64)
    view = np.eye(4)
    view[:3, :3], view[3, :3] = rotation, shift
    view[:, :2] *= -1
    projection = np.zeros((4, 4))
    projection[0, 0] = projection[1, 1] = 12
    projection[2, 2], projection[3, 2], projection[2, 3] = 100 / 99.99, -1 / 99.99, 1
    given |= {"view": view.astype(np.float32), "proj": (view @ projection).astype(np.float32), "cam": transform}
    given["size_wh"] = np.array([width, height], np.int32)
    splats = [_splat(given, i, width, height) for i in range(count)]
    image, left, last = _picture(splats, given, width, height)
    out = {f"third.in.{name}": value for name, value in given.items()}
    for name, dtype in (("ok", np.uint8), ("depth", np.float32), ("xy", np.float32), ("cov2d", np.float32), ("conic", np.float32),
                        ("cov3d", np.float32), ("radius", np.int32), ("tiles", np.int32)):  # fmt: skip
        out[f"third.{name}"] = np.array([splat[name] for splat in splats], dtype)
    return out | {"third.image": image, "third.final_t": left, "third.last": last}


def _splat(given, i, width, height):
    """One Gaussian on the screen."""
    w, x, y, z = given["quats"][i].astype(np.float64)
    turn = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    axes = turn @ np.diag(given["scales"][i].astype(np.float64))
    covariance = axes @ axes.T
    point = np.append(given["means"][i].astype(np.float64), 1) @ given["view"].astype(np.float64)
    px, py, depth = point[:3]
    focal = (width * 6, height * 6)
    tx, ty = (max(-1.3 / 12, min(1.3 / 12, v / depth)) * depth for v in (px, py))
    jacobian = np.array([[focal[0] / depth, 0, -focal[0] * tx / depth**2], [0, focal[1] / depth, -focal[1] * ty / depth**2]])
    to_camera = given["view"][:3, :3].astype(np.float64).T
    screen = jacobian @ to_camera @ covariance @ to_camera.T @ jacobian.T + 0.3 * np.eye(2)
    inverse = np.linalg.inv(screen)
    middle = np.trace(screen) / 2
    root = math.sqrt(max(0.1, middle**2 - np.linalg.det(screen)))
    radius = math.ceil(3 * math.sqrt(middle + root))
    # Focal lengths differ across and down, but the angle of view does not: the projection is the same in both directions.
    xy = np.array([(px / depth * 12 + 1) * width - 1, (py / depth * 12 + 1) * height - 1]) / 2
    grid = (-(-width // 16), -(-height // 16))
    rect = [[min(grid[a], max(0, int((xy[a] - radius) / 16))), min(grid[a], max(0, int((xy[a] + radius + 15) / 16)))] for a in (0, 1)]
    tiles = (rect[0][1] - rect[0][0]) * (rect[1][1] - rect[1][0])
    pick = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    return {
        "ok": tiles > 0, "depth": depth, "xy": xy, "cov2d": screen[[0, 0, 1], [0, 1, 1]], "conic": inverse[[0, 0, 1], [0, 1, 1]],
        "cov3d": [covariance[p] for p in pick], "radius": radius if tiles else 0, "tiles": tiles, "rect": rect, "index": i,
    }  # fmt: skip


def _picture(splats, given, width, height):
    """Every pixel by itself, nearest Gaussian first."""
    image, left = np.zeros((32, height, width), np.float32), np.zeros((height, width), np.float32)
    last = np.zeros((height, width), np.int32)
    ordered = sorted((s for s in splats if s["ok"]), key=lambda s: s["depth"])
    for row in range(height):
        for column in range(width):
            listed = [
                s for s in ordered if s["rect"][0][0] <= column // 16 < s["rect"][0][1] and s["rect"][1][0] <= row // 16 < s["rect"][1][1]
            ]
            light, color = 1.0, np.zeros(32)
            for place, s in enumerate(listed, 1):
                d = s["xy"] - [column, row]
                a, b, c = s["conic"]
                alpha = min(0.99, given["opac"][s["index"], 0] * math.exp(-0.5 * (a * d[0] ** 2 + c * d[1] ** 2) - b * d[0] * d[1]))
                if alpha < 1 / 255:
                    continue
                if light * (1 - alpha) < 1e-4:
                    break
                color += light * alpha * given["colors"][s["index"]]
                light *= 1 - alpha
                last[row, column] = place
            image[:, row, column], left[row, column] = color + light * given["bg"], light
    return image, left, last
