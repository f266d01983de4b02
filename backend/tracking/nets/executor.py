"""Run a converted net in plain torch: float32, one intra-op thread, no state that a call changes.

The nets are hundreds of tiny operators: with more than one intra-op thread the hand-over costs 10 to 100 times
the arithmetic on a busy machine, so a run lowers the calling thread's count to one and puts it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)
from jaxtyping import Float
from torch import Tensor

from .tflite import Graph, Operator

Step = tuple[Callable[..., Tensor], tuple[int, ...], int]


class Net:
    """A net ready to run. Safe to call from any number of threads at once.

    Args:
        graph: operators in execution order.
        constants: arrays by tensor number, as stored (NHWC, float16 or int32).
        device: where to run.
    Raises:
        ValueError: an operator, or one of its options, that this executor does not know.
    """

    def __init__(self, graph: Graph, constants: dict[int, np.ndarray], device: torch.device | str = "cpu") -> None:
        self.graph = graph
        self.device = torch.device(device)
        (self._input,) = graph.inputs
        self._outputs = graph.outputs
        self._values: dict[int, Tensor] = {}
        self._steps: list[Step] = []
        for operator in graph.operators:
            self._compile(operator, constants)

    @property
    def input_size(self) -> int:
        """Side of the square input image, pixels."""
        return self.graph.inputs[self._input][1]

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """Outputs by name; those of rank 4 are NCHW."""
        with torch.inference_mode(), one_thread():
            values = dict(self._values)
            values[self._input] = image.to(self.device)
            for function, inputs, output in self._steps:
                values[output] = function(*(values[i] for i in inputs))
            return {name: values[index] for name, index in self._outputs.items()}

    def _compile(self, operator: Operator, constants: dict[int, np.ndarray]) -> None:
        build = _BUILDERS.get(operator.name)
        if build is None or len(operator.outputs) != 1:
            raise ValueError(f"operator {operator.name} is not known here")
        fixed = {i: constants[i] for i in operator.inputs if i in constants}
        function, inputs = build(operator, fixed)
        for index in inputs:
            if index in fixed and index not in self._values:
                self._values[index] = _activation_layout(fixed[index]).to(self.device)
        self._steps.append((_placed(function, self.device), inputs, operator.outputs[0]))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch operators of the calling thread on that thread alone."""
    count = torch.get_num_threads()
    if count == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)


class _Weighted:
    """An operator with weights: a callable whose tensors can be moved to a device once."""

    def __init__(self, apply: Callable[..., Tensor], *weights: Tensor | None) -> None:
        self.apply = apply
        self.weights = weights

    def __call__(self, *inputs: Tensor) -> Tensor:
        return self.apply(*inputs, *self.weights)


def _placed(function: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    if isinstance(function, _Weighted):
        return _Weighted(function.apply, *(None if w is None else w.to(device) for w in function.weights))
    return function


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _activation_layout(array: np.ndarray) -> Tensor:
    """A constant operand of an element-wise operator, in the layout of the activations (NCHW where rank 4 or per channel)."""
    tensor = _float(array)
    if tensor.dim() == 4:
        return tensor.permute(0, 3, 1, 2).contiguous()
    return tensor


Built = tuple[Callable[..., Tensor], tuple[int, ...]]


def _same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's SAME padding before and after, one axis."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _activate(y: Tensor, activation: int) -> Tensor:
    return y if activation == 0 else y.relu_() if activation == 1 else y.clamp_(0, 6)


def _convolution(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    depthwise = op.name == "DEPTHWISE_CONV_2D"
    weight = _float(constants[op.inputs[1]]).permute((3, 0, 1, 2) if depthwise else (0, 3, 1, 2)).contiguous()
    bias = _float(constants[op.inputs[2]]) if len(op.inputs) > 2 and op.inputs[2] >= 0 else None
    o = op.options
    stride, dilation = (o["stride_h"], o["stride_w"]), (o["dilation_h"], o["dilation_w"])
    kernel, same, activation = weight.shape[2:], o["padding"] == 0, o["activation"]
    groups = weight.shape[0] if depthwise else 1
    if activation not in (0, 1, 3):
        raise ValueError(f"fused activation {activation} is not known here")

    def apply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = (0, 0)
        if same:
            top, bottom = _same_padding(x.shape[2], kernel[0], stride[0], dilation[0])
            left, right = _same_padding(x.shape[3], kernel[1], stride[1], dilation[1])
            if top == bottom and left == right:
                padding = (top, left)
            else:
                x = F.pad(x, (left, right, top, bottom))
        return _activate(F.conv2d(x, weight, bias, stride, padding, dilation, groups), activation)

    return _Weighted(apply, weight, bias), (op.inputs[0],)


def _transposed_convolution(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    weight = _float(constants[op.inputs[1]]).permute(3, 0, 1, 2).contiguous()
    bias = _float(constants[op.inputs[2]])
    stride = (op.options["stride_h"], op.options["stride_w"])
    if tuple(weight.shape[2:]) != stride:
        raise ValueError("a transposed convolution whose kernel overlaps")
    return _Weighted(lambda x, w, b: F.conv_transpose2d(x, w, b, stride), weight, bias), (op.inputs[0],)


def _prelu(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    return _Weighted(F.prelu, _float(constants[op.inputs[1]]).reshape(-1)), (op.inputs[0],)


def _add(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    activation = op.options["activation"]
    return (lambda x, y: _activate(x + y, activation)), tuple(op.inputs)


def _multiply(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    activation = op.options["activation"]
    return (lambda x, y: _activate(x * y, activation)), tuple(op.inputs)


def _pool(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    o = op.options
    kernel, stride = (o["filter_h"], o["filter_w"]), (o["stride_h"], o["stride_w"])
    if op.name == "AVERAGE_POOL_2D":
        return (lambda x: F.avg_pool2d(x, kernel, stride)), (op.inputs[0],)

    def apply(x: Tensor) -> Tensor:
        if o["padding"] == 0:
            vertical = _same_padding(x.shape[2], kernel[0], stride[0], 1)
            x = F.pad(x, (*_same_padding(x.shape[3], kernel[1], stride[1], 1), *vertical), value=-torch.inf)
        return F.max_pool2d(x, kernel, stride)

    return apply, (op.inputs[0],)


def _pad(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    n, h, w, c = constants[op.inputs[1]].tolist()
    if any(n):
        raise ValueError("padding of the batch")
    widths = (*w, *h, *c) if any(c) else (*w, *h)
    return (lambda x: F.pad(x, widths)), (op.inputs[0],)


def _resize(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    size = tuple(int(v) for v in constants[op.inputs[1]])
    align, half = bool(op.options["align_corners"]), bool(op.options["half_pixel_centers"])
    if align or half:
        return (lambda x: F.interpolate(x, size=size, mode="bilinear", align_corners=align)), (op.inputs[0],)

    def apply(x: Tensor) -> Tensor:
        # TensorFlow's old convention: output i samples input i * scale, so it is neither of torch's two.
        for axis, target in ((2, size[0]), (3, size[1])):
            length = x.shape[axis]
            at = torch.arange(target, device=x.device) * (length / target)
            low = at.floor().long()
            high = (low + 1).clamp(max=length - 1)
            fraction = (at - low).to(x.dtype).reshape((-1, 1) if axis == 2 else (-1,))
            x = x.index_select(axis, low) * (1 - fraction) + x.index_select(axis, high) * fraction
        return x

    return apply, (op.inputs[0],)


def _depth_to_space(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    block = op.options["block_size"]

    def apply(x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        depth = c // block**2
        return x.reshape(b, block, block, depth, h, w).permute(0, 3, 4, 1, 5, 2).reshape(b, depth, h * block, w * block)

    return apply, (op.inputs[0],)


def _to_nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def _from_nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


def _reshape(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    shape = op.shapes[0][1:]
    return (lambda x: _from_nhwc(_to_nhwc(x).reshape(x.shape[0], *shape))), (op.inputs[0],)


def _concatenate(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    axis = op.options["axis"] % len(op.shapes[0])
    if len(op.shapes[0]) == 4:
        axis = (0, 2, 3, 1)[axis]
    return (lambda *parts: torch.cat(parts, axis)), tuple(op.inputs)


def _strided_slice(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    begin, end, stride = (constants[i].tolist() for i in op.inputs[1:4])
    no_begin, no_end = op.options["begin_mask"], op.options["end_mask"]
    cut = tuple(
        slice(None if no_begin >> k & 1 else b, None if no_end >> k & 1 else e, s)
        for k, (b, e, s) in enumerate(zip(begin, end, stride, strict=True))
    )
    if cut[0] not in (slice(None), slice(0, 1, 1), slice(None, None, 1)):
        raise ValueError("a slice of the batch")
    cut = (slice(None), *cut[1:])
    return (lambda x: _from_nhwc(_to_nhwc(x)[cut])), (op.inputs[0],)


def _landmarks_to_transform(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    """MediaPipe's custom operator: the 4x4 that maps an upright patch around some landmarks into the feature map."""
    o = op.options
    subset, left, right = list(o["subset_idxs"]), o["left_rotation_idx"], o["right_rotation_idx"]
    width, height = o["output_width"], o["output_height"]

    def apply(landmarks: Tensor) -> Tensor:
        points = landmarks[..., :2]
        across = points[:, right] - points[:, left]
        angle = o["target_rotation_radians"] - torch.atan2(across[:, 1], across[:, 0])
        cos, sin = angle.cos(), angle.sin()
        upright = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
        turned = points[:, subset] @ upright.transpose(1, 2)
        high, low = turned.amax(1), turned.amin(1)
        centre = (((high + low) / 2)[:, None] @ upright)[:, 0]
        extent = (high - low) * points.new_tensor([o["scale_x"] / width, o["scale_y"] / height])
        linear = upright.transpose(1, 2) * extent[:, None]
        matrix = torch.eye(4, device=points.device).repeat(len(points), 1, 1)
        matrix[:, :2, :2] = linear
        matrix[:, :2, 3] = centre - linear @ points.new_tensor([width / 2, height / 2])
        return matrix

    return apply, (op.inputs[0],)


def _transform_tensor(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    """MediaPipe's custom operator: resample a feature map under a 4x4 transform, zero outside."""
    height, width = op.options["output_height"], op.options["output_width"]

    def apply(x: Tensor, matrix: Tensor) -> Tensor:
        h, w = x.shape[2:]
        y, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        grid = torch.stack([u, y], -1).reshape(1, -1, 2).to(x)
        at = grid @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 3] - 0.5
        limit = x.new_tensor([w - 1, h - 1])
        inside = ((at >= 0) & (at <= limit)).all(-1).reshape(-1, 1, height, width)
        sample = (at / limit * 2 - 1).reshape(-1, height, width, 2)
        return F.grid_sample(x, sample, align_corners=True) * inside

    return apply, tuple(op.inputs)


def _transform_landmarks(op: Operator, constants: dict[int, np.ndarray]) -> Built:
    def apply(landmarks: Tensor, matrix: Tensor) -> Tensor:
        return landmarks @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 3]

    return apply, tuple(op.inputs)


_BUILDERS: dict[str, Callable[[Operator, dict[int, np.ndarray]], Built]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _pool,
    "CONCATENATION": _concatenate,
    "CONV_2D": _convolution,
    "Convolution2DTransposeBias": _transposed_convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "DEPTH_TO_SPACE": _depth_to_space,
    "HARD_SWISH": lambda op, constants: (F.hardswish, (op.inputs[0],)),
    "LOGISTIC": lambda op, constants: (torch.sigmoid, (op.inputs[0],)),
    "Landmarks2TransformMatrix": _landmarks_to_transform,
    "MAX_POOL_2D": _pool,
    "MEAN": lambda op, constants: ((lambda x: x.mean((2, 3), keepdim=True)), (op.inputs[0],)),
    "MUL": _multiply,
    "PAD": _pad,
    "PRELU": _prelu,
    "RELU": lambda op, constants: (F.relu, (op.inputs[0],)),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "STRIDED_SLICE": _strided_slice,
    "TransformLandmarks": _transform_landmarks,
    "TransformTensorBilinear": _transform_tensor,
}
