"""Our rasterizer against gsplat's own torch code, and what its callers rely on."""

import multiprocessing
import threading

import numpy as np
import pytest
import torch

from backend.splats import ColorOperator, View, rasterization, set_threads
from tests.splats.gsplat_oracle import gradients, oracle, shell

ARGUMENTS = ("means", "quats", "scales", "opacities", "colors", "viewmats", "Ks")


def _cotangents(cameras, size, channels, seed=1):
    rng = np.random.default_rng(seed)
    width, height = size
    return rng.standard_normal((cameras, height, width, channels)), rng.standard_normal((cameras, height, width))


def _relative(ours, theirs):
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-12))


def _compare(scene, size, channels, image_bound=2e-6, gradient_bound=2e-5, **options):
    cotangents = _cotangents(len(scene["viewmats"]), size, channels)
    ours = gradients(rasterization, scene, size, torch.float32, cotangents, **options)
    theirs = oracle(scene, size, cotangents, **options)
    assert ours[0].shape == theirs[0].shape
    scale = max(1.0, float(np.abs(theirs[0]).max()))
    assert np.abs(ours[0] - theirs[0]).max() <= image_bound * scale
    assert np.abs(ours[1] - theirs[1]).max() <= image_bound
    assert ours[2].keys() == theirs[2].keys()
    for name, theirs_gradient in theirs[2].items():
        assert _relative(ours[2][name], theirs_gradient) <= gradient_bound, name


@pytest.mark.parametrize(("count", "channels", "size"), [(600, 3, (96, 80)), (600, 5, (101, 71)), (400, 1, (33, 50)), (700, 32, (64, 64))])
def test_images_and_all_gradients_agree_with_gsplat(count, channels, size):
    _compare(shell(count, channels, *size), size, channels)


def test_several_cameras_at_once():
    size = (64, 48)
    scene = shell(500, 3, *size, cameras=3)
    scene["backgrounds"][1] = [0.9, 0.1, 0.4]
    _compare(scene, size, 3)
    alone = gradients(rasterization, {**scene, **{k: scene[k][1:2] for k in ("viewmats", "Ks", "backgrounds")}}, size, torch.float32)[0]
    together = gradients(rasterization, scene, size, torch.float32)[0]
    assert np.array_equal(alone[0], together[1])


@pytest.mark.parametrize(("mode", "channels"), [("D", 1), ("ED", 1), ("RGB+D", 4), ("RGB+ED", 4)])
def test_depth_modes(mode, channels):
    size = (72, 60)
    scene = shell(500, 3, *size, cameras=2)
    if "RGB" not in mode:
        del scene["backgrounds"]
        scene_colors = scene["colors"]
        scene["colors"] = scene_colors[:, :1]
    cotangents = _cotangents(2, size, channels)
    ours = gradients(rasterization, scene, size, torch.float32, cotangents, render_mode=mode)
    theirs = oracle(scene, size, cotangents, render_mode=mode)
    # Expected depth divides by alpha, which is tiny at the rim: compare where something is drawn.
    solid = theirs[1] > 0.02
    assert np.abs(ours[0] - theirs[0])[solid].max() < 1e-5
    bounded = (cotangents[0] * solid[..., None], cotangents[1] * solid)
    ours = gradients(rasterization, scene, size, torch.float32, bounded, render_mode=mode)
    theirs = oracle(scene, size, bounded, render_mode=mode)
    for name, gradient in theirs[2].items():
        assert _relative(ours[2][name], gradient) < 5e-5, name


def test_antialiased_mode():
    size = (64, 56)
    scene = shell(900, 3, *size)
    scene["scales"] *= 0.5  # small on the screen, where the compensation matters
    _compare(scene, size, 3, image_bound=5e-6, gradient_bound=5e-5, rasterize_mode="antialiased")


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spherical_harmonics(degree):
    size = (48, 48)
    _compare(shell(300, 3, *size, cameras=2, coefficients=16), size, 3, sh_degree=degree)


def test_covariances_given_directly_equal_quaternions_and_scales():
    size = (64, 64)
    scene = {k: torch.tensor(v, dtype=torch.float32) for k, v in shell(500, 3, *size).items()}
    matrix = torch.nn.functional.normalize(scene["quats"], dim=1)
    w, x, y, z = matrix.unbind(1)
    rotation = torch.stack(
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), 2 * (x * y + w * z), 1 - 2 * (x * x + z * z),
         2 * (y * z - w * x), 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1).reshape(-1, 3, 3)  # fmt: skip
    quats, scales = scene["quats"].requires_grad_(), scene["scales"].requires_grad_()
    half = rotation * scales.detach()[:, None]
    covars = (half @ half.transpose(1, 2)).requires_grad_()
    rest = [scene[k] for k in ("opacities", "colors", "viewmats", "Ks")]
    by_axes, _, _ = rasterization(scene["means"], quats, scales, *rest, *size)
    by_matrix, _, _ = rasterization(scene["means"], None, None, *rest, *size, covars=covars)
    assert (by_axes - by_matrix).abs().max() < 2e-5
    weight = torch.randn(by_axes.shape, generator=torch.Generator().manual_seed(0))
    (by_axes * weight).sum().backward()
    (by_matrix * weight).sum().backward()
    # dL/ds_k = 2 s_k r_k^T G r_k for a covariance R S^2 R^T and its symmetric gradient G.
    symmetric = (covars.grad + covars.grad.transpose(1, 2)) / 2
    expected = 2 * scales.detach() * torch.einsum("nik,nij,njk->nk", rotation, symmetric, rotation)
    assert _relative(scales.grad.numpy(), expected.numpy()) < 2e-3


def test_leading_batch_dimensions():
    size = (40, 32)
    first, second = ({k: torch.tensor(v, dtype=torch.float32) for k, v in shell(100, 3, *size, seed=s).items()} for s in (0, 1))
    batched, alpha, meta = rasterization(*(torch.stack([first[k], second[k]]) for k in ARGUMENTS), *size)
    assert batched.shape == (2, 1, 32, 40, 3)
    assert alpha.shape == (2, 1, 32, 40, 1)
    assert meta["means2d"].shape == (2, 1, 100, 2)
    assert torch.equal(batched[1], rasterization(*(second[k] for k in ARGUMENTS), *size)[0])


def test_finite_differences_of_every_input():
    size = (48, 40)
    scene = shell(60, 3, *size)
    scene["scales"] *= 0.6
    cotangents = _cotangents(1, size, 3)
    _, _, found = gradients(rasterization, scene, size, torch.float32, cotangents)
    places = {
        "means": (7, 0), "quats": (5, 2), "scales": (9, 1), "opacities": (11,), "colors": (3, 1), "viewmats": (0, 1, 3),
        "backgrounds": (0, 2),
    }  # fmt: skip
    for name, place in places.items():
        step = 1e-8  # float64, and so small that no alpha crosses 1/255 meanwhile
        values = []
        for sign in (1, -1):
            moved = {k: v.copy() for k, v in scene.items()}
            moved[name][place] += sign * step
            image, alpha, _ = oracle(moved, size)
            values.append((image * cotangents[0]).sum() + (alpha * cotangents[1]).sum())
        numeric = (values[0] - values[1]) / (2 * step)
        assert found[name][place] == pytest.approx(numeric, rel=1e-3, abs=1e-3), name


def test_screen_positions_carry_gradients_for_densification():
    scene = {k: torch.tensor(v, dtype=torch.float32) for k, v in shell(100, 3, 40, 32).items()}
    scene["means"].requires_grad_()
    image, _, meta = rasterization(*(scene[k] for k in ARGUMENTS), 40, 32)
    meta["means2d"].retain_grad()
    image.square().sum().backward()
    assert meta["means2d"].grad.abs().sum() > 0


def test_changing_the_picture_in_place_before_backward_is_an_error():
    scene = {k: torch.tensor(v, dtype=torch.float32) for k, v in shell(50, 3, 32, 32).items()}
    scene["colors"].requires_grad_()
    image, _, _ = rasterization(*(scene[k] for k in ARGUMENTS), 32, 32)
    image.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        image.sum().backward()


@pytest.mark.parametrize("behind", [False, True])
def test_empty_and_all_culled_scenes_show_the_background(behind):
    scene = shell(50, 3, 32, 24)
    if behind:
        scene["viewmats"][:, 2, 3] = -5.0
    else:
        scene = {k: v[:0] if k in ("means", "quats", "scales", "opacities", "colors") else v for k, v in scene.items()}
    image, alpha, found = gradients(rasterization, scene, (32, 24), torch.float32, _cotangents(1, (32, 24), 3))
    assert np.allclose(image, 0.25)
    assert not alpha.any()
    assert all(not g.any() for name, g in found.items() if name != "backgrounds")


@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e38, -1e38])
@pytest.mark.parametrize("name", ["means", "quats", "scales", "opacities"])
def test_broken_splats_never_crash_or_spread(name, poison):
    scene = shell(64, 3, 32, 32)
    clean = gradients(rasterization, {k: v[1:] if len(v) == 64 else v for k, v in scene.items()}, (32, 32), torch.float32)[0]
    scene[name][0] = poison
    image, _, _ = gradients(rasterization, scene, (32, 32), torch.float32, _cotangents(1, (32, 32), 3))
    if not np.isfinite(poison) and name != "opacities":
        assert np.array_equal(image, clean)


def test_one_and_two_threads_give_the_same_bits():
    size, results = (200, 150), []
    scene = shell(6000, 3, *size)
    try:
        for threads in (1, 2, 3):
            set_threads(threads)
            results.append(gradients(rasterization, scene, size, torch.float32, _cotangents(1, size, 3)))
    finally:
        set_threads(0)
    for other in results[1:]:
        assert np.array_equal(results[0][0], other[0])
        for name, gradient in results[0][2].items():
            assert np.array_equal(gradient, other[2][name]), name


def test_two_python_threads_render_at_once():
    scene = shell(5000, 3, 128, 128)
    expected = gradients(rasterization, scene, (128, 128), torch.float32)[0]
    images, errors = [], []

    def work():
        try:
            images.extend(gradients(rasterization, scene, (128, 128), torch.float32, _cotangents(1, (128, 128), 3))[0] for _ in range(6))
        except BaseException as error:
            errors.append(error)

    set_threads(2)
    try:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        set_threads(3)  # resizing meanwhile must not lose work
        for thread in threads:
            thread.join(120)
    finally:
        set_threads(0)
    assert not errors
    assert len(images) == 18
    assert all(np.array_equal(image, expected) for image in images)


def _render_numpy():
    scene = {k: v.astype(np.float32) for k, v in shell(5000, 3, 64, 64).items()}
    view = View(scene["viewmats"][0], scene["Ks"][0], 64, 64)
    return ColorOperator(scene["means"], scene["quats"], scene["scales"], scene["opacities"], view).alpha


def _child(queue):
    queue.put(float(_render_numpy().sum()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_renders_too():
    set_threads(2)
    try:
        expected = float(_render_numpy().sum())
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=_child, args=(queue,))
        process.start()
        try:
            assert queue.get(timeout=60) == expected
        finally:
            process.join(10)
            if process.is_alive():
                process.kill()
    finally:
        set_threads(0)


@pytest.mark.parametrize("change", ["means", "opacities", "colors", "viewmats", "backgrounds"])
def test_wrong_shapes_are_named(change):
    scene = {k: torch.tensor(v, dtype=torch.float32) for k, v in shell(20, 3, 16, 16).items()}
    scene[change] = torch.cat([scene[change], scene[change]])
    if change == "means":
        scene["opacities"] = scene["opacities"][:5]
    with pytest.raises(ValueError, match=r"must have shape|do not fit"):
        rasterization(*(scene[k] for k in ARGUMENTS), 16, 16, backgrounds=scene["backgrounds"])


def test_color_operator_is_the_renderer_and_its_transpose():
    width, height = 90, 70
    scene = {k: v.astype(np.float32) for k, v in shell(3000, 3, width, height).items()}
    view = View(scene["viewmats"][0], scene["Ks"][0], width, height)
    operator = ColorOperator(*(scene[k] for k in ("means", "quats", "scales", "opacities")), view)
    image, alpha, _ = gradients(rasterization, {k: v for k, v in scene.items() if k != "backgrounds"}, (width, height), torch.float32)
    assert np.abs(operator.forward(scene["colors"]) - image[0]).max() < 1e-6
    assert np.array_equal(operator.alpha, alpha[0])
    rng = np.random.default_rng(0)
    for channels in (1, 3, 7):
        x, y = rng.standard_normal((3000, channels)), rng.standard_normal((height, width, channels))
        left = (operator.forward(x).astype(np.float64) * y).sum()
        right = (x * operator.adjoint(y.astype(np.float32)).astype(np.float64)).sum()
        assert left == pytest.approx(right, rel=1e-5, abs=1e-3)
    columns = [5, 77, 1234]
    weight = rng.uniform(0, 1, (height, width)).astype(np.float32)
    diagonal = operator.gram_diagonal(weight)
    for column in columns:
        unit = np.zeros((3000, 1), np.float32)
        unit[column] = 1
        assert diagonal[column] == pytest.approx((weight * operator.forward(unit)[..., 0] ** 2).sum(), rel=1e-4, abs=1e-9)
    read_only = scene["colors"].copy()
    read_only.flags.writeable = False
    assert np.array_equal(operator.forward(read_only), operator.forward(scene["colors"]))
