"""How good a reconstruction is: picture metrics, and heads with known geometry to measure against."""

from .ground_truth import EvaluationOptions, evaluate, measure
from .ict_heads import Head, HeadModel, load_heads, make_head, shoot
from .metrics import psnr, silhouette_iou, ssim
from .photo import compare_with_photo

__all__ = [
    "EvaluationOptions",
    "Head",
    "HeadModel",
    "compare_with_photo",
    "evaluate",
    "load_heads",
    "make_head",
    "measure",
    "psnr",
    "shoot",
    "silhouette_iou",
    "ssim",
]
