"""Registers in a driving view: who is seen, where the face is, what fills it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.parity import camera
from backend.personalize.losses import cosine_loss
from backend.personalize.register_grid import (
    BACKGROUND,
    EMPTY,
    RegisterMesh,
    ReleasedQuirks,
    face_region,
    grid_of_view,
    inverse_distance_weights,
    project,
    visible_registers,
)
from backend.personalize.registers import Registers
from backend.personalize.visible_vertices import visible_vertices
from backend.protocol.errors import FaceError


def sphere(rings: int = 12, columns: int = 24, radius: float = 0.5):
    """Vertices and outward triangles of a sphere with open poles."""
    polar, turn = np.meshgrid(np.linspace(0.3, np.pi - 0.3, rings), np.arange(columns) * 2 * np.pi / columns, indexing="ij")
    vertices = radius * np.stack([np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)], -1).reshape(-1, 3)
    faces = []
    for i in range(rings - 1):
        for j in range(columns):
            a, b = i * columns + j, i * columns + (j + 1) % columns
            faces += [(a, a + columns, b), (b, a + columns, b + columns)]
    return vertices.astype(np.float32), np.array(faces)


FRONT = camera(0, 0, 0, 10.0)


def test_the_near_side_is_seen_and_the_far_side_is_not():
    vertices, faces = sphere()
    seen = visible_vertices(vertices, faces, np.array([0.0, 0.0, 10.0]))
    away = np.abs(vertices[:, 2]) > 0.1  # not at the rim
    assert (seen == (vertices[:, 2] > 0))[away].all()
    behind = np.concatenate([vertices, [[0.0, 0.0, -2.0]]]).astype(np.float32)
    assert not visible_vertices(behind, faces, np.array([0.0, 0.0, 10.0]))[-1]


def test_registers_are_sought_from_where_the_camera_stands():
    vertices, faces = sphere()
    mesh = RegisterMesh.of(faces, len(vertices))
    turned = camera(60, 0, 0, 10.0)
    centre = -turned[:, :3] @ turned[:, 3]
    seen = visible_registers(vertices, turned, mesh)
    fine = mesh.refine(vertices)
    facing = fine @ (centre / np.linalg.norm(centre))
    assert (facing[seen] > -0.06).all()
    assert len(np.setdiff1d(np.flatnonzero(facing > 0.1), seen)) == 0
    released = visible_registers(vertices, turned, mesh, ReleasedQuirks())
    assert len(np.setxor1d(released, seen)) > 50  # the release looks from another point and indexes faces by vertices


def test_the_face_region_is_filled_without_holes_and_without_its_outline():
    y, x = np.mgrid[10:51:4, 10:51:4]
    square = np.stack([x.ravel(), y.ravel()], 1)
    hole = square[(np.abs(square - 30) > 9).any(1)]
    region = {tuple(p) for p in face_region(hole, 296)}
    assert (30, 30) in region
    assert (10, 30) not in region
    assert len(region) == 39 * 39
    far = np.concatenate([square, [[200, 200], [204, 200], [200, 204], [204, 204]]])
    assert not any(p[0] > 100 for p in face_region(far, 296))
    line = np.stack([np.arange(20), np.arange(20)], 1)
    assert len(face_region(line, 296)) == 0


def test_pixels_hold_their_vertex_or_a_mean_of_the_nearest():
    vertices, faces = sphere()
    mesh = RegisterMesh.of(faces, len(vertices))
    grid = grid_of_view(vertices, FRONT, mesh, 64)
    module = Registers(mesh.count, 8, 6, (8,))
    plane = module.plane(grid).detach()
    seen = visible_registers(vertices, FRONT, mesh)
    pixels = np.rint(project(mesh.refine(vertices)[seen], FRONT, 64)).astype(int)
    x, y = pixels[-1]
    torch.testing.assert_close(plane[:, y, x], module.registers[seen[-1]].detach())
    torch.testing.assert_close(plane[:, 0, 0], module.filler_embedding.detach())
    assert np.allclose(grid.weights.sum(1), 1, atol=1e-6)
    constant = torch.nn.Embedding.from_pretrained(torch.ones(mesh.count + 1, 8))
    module.embeddings = constant
    inside = module.plane(grid)[:, 32, 32]
    torch.testing.assert_close(inside, torch.ones(8))


def test_quirks_truncate_distances_and_blank_the_origin():
    exact, released = (inverse_distance_weights(np.array([[1.0, 1.9, 2.5]]), q) for q in (None, ReleasedQuirks()))
    assert exact[0, 0] > exact[0, 1]
    assert released[0, 0] == released[0, 1]
    vertices, faces = sphere()
    mesh = RegisterMesh.of(faces, len(vertices))
    grid = grid_of_view(vertices, FRONT, mesh, 64, ReleasedQuirks())
    middle = grid.registers[grid.pixels == 32 * 64 + 32][0]
    assert middle[0] == EMPTY
    assert grid.registers[grid.pixels == 0][0, 0] == BACKGROUND


def test_a_head_outside_the_picture_is_told():
    vertices, faces = sphere()
    with pytest.raises(FaceError, match="outside"):
        grid_of_view(vertices + np.array([30, 0, 0], np.float32), FRONT, RegisterMesh.of(faces, len(vertices)), 64)


def test_cosine_loss_is_the_mean_over_pairs():
    torch.manual_seed(0)
    x = torch.randn(7, 5)
    unit = torch.nn.functional.normalize(x, dim=1)
    pairs = unit @ unit.T
    torch.testing.assert_close(cosine_loss(x), (pairs.sum() - 7) / 42, atol=1e-6, rtol=1e-5)


def test_module_learns_through_the_drawing():
    vertices, faces = sphere()
    mesh = RegisterMesh.of(faces, len(vertices))
    module = Registers(mesh.count, 8, 6, (8,))
    grid = grid_of_view(vertices, FRONT, mesh, 32)
    out = module(torch.randn(2, 6, 32, 32), [grid, grid])
    assert out.shape == (2, 6, 32, 32)
    out.square().mean().backward()
    seen = visible_registers(vertices, FRONT, mesh)
    moved = module.embeddings.weight.grad.abs().sum(1) > 0
    assert moved[seen].float().mean() > 0.5
    assert not moved[np.setdiff1d(np.arange(mesh.count), seen)].any()
