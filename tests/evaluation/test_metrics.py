"""Picture metrics against their definitions and an independent implementation."""

import numpy as np
import pytest

from backend.evaluation import psnr, silhouette_iou, ssim


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (40, 50, 3)).astype(np.float32)
    return truth, np.clip(truth + rng.normal(0, 0.05, truth.shape), 0, 1).astype(np.float32)


def test_psnr_of_a_known_error():
    truth = np.full((8, 8, 3), 0.5, np.float32)
    assert psnr(truth + np.float32(0.1), truth) == pytest.approx(20, abs=1e-3)
    assert psnr(truth, truth) == float("inf")
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = True
    spoiled = truth.copy()
    spoiled[4:] = 0
    assert psnr(spoiled + np.float32(0.01), truth, mask) == pytest.approx(40, abs=1e-2)


def test_ssim_agrees_with_scikit_image(pictures):
    metrics = pytest.importorskip("skimage.metrics")
    truth, noisy = pictures
    theirs = metrics.structural_similarity(
        truth.astype(float),
        noisy.astype(float),
        channel_axis=2,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(noisy, truth) == pytest.approx(theirs, abs=1e-6)
    assert ssim(truth, truth) == pytest.approx(1)


def test_masks_leave_the_rest_out(pictures):
    truth, noisy = pictures
    mask = np.zeros(truth.shape[:2], bool)
    mask[10:20, 10:20] = True
    spoiled = noisy.copy()
    spoiled[:, 35:] = 0
    assert psnr(spoiled, truth, mask) == psnr(noisy, truth, mask)
    assert ssim(spoiled, truth, mask) == pytest.approx(ssim(noisy, truth, mask))
    assert ssim(spoiled, truth) < ssim(noisy, truth)


def test_silhouettes():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert silhouette_iou(a, b) == 1
    a[:2], b[1:3] = True, True
    assert silhouette_iou(a, b) == pytest.approx(1 / 3)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pictures_that_do_not_fit_are_refused(metric, pictures):
    truth, noisy = pictures
    with pytest.raises(ValueError, match="do not fit"):
        metric(noisy[1:], truth)
    with pytest.raises(ValueError, match="empty"):
        metric(noisy, truth, np.zeros(truth.shape[:2], bool))
