"""A .tflite file as a list of operators and constant arrays, for the operators that MediaPipe's face nets use.

Schema: tensorflow/lite/schema/schema.fbs, version 3 (field ids are named beside their use).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np

from .flatbuffer import FormatError, Table, flexbuffer, root

MAX_ELEMENTS = 1 << 24

_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 4: np.int64}

# operator code -> (name, {option: (field id, struct letter, default)})
_CONVOLUTION = {"padding": (0, "b", 0), "stride_w": (1, "i", 0), "stride_h": (2, "i", 0)}
_POOL = {**_CONVOLUTION, "filter_w": (3, "i", 0), "filter_h": (4, "i", 0), "activation": (5, "b", 0)}
_OPERATORS: dict[int, tuple[str, dict[str, tuple[int, str, int]]]] = {
    0: ("ADD", {"activation": (0, "b", 0)}),
    1: ("AVERAGE_POOL_2D", _POOL),
    2: ("CONCATENATION", {"axis": (0, "i", 0), "activation": (1, "b", 0)}),
    3: ("CONV_2D", {**_CONVOLUTION, "activation": (3, "b", 0), "dilation_w": (4, "i", 1), "dilation_h": (5, "i", 1)}),
    4: ("DEPTHWISE_CONV_2D", {**_CONVOLUTION, "activation": (4, "b", 0), "dilation_w": (5, "i", 1), "dilation_h": (6, "i", 1)}),
    5: ("DEPTH_TO_SPACE", {"block_size": (0, "i", 0)}),
    6: ("DEQUANTIZE", {}),
    14: ("LOGISTIC", {}),
    17: ("MAX_POOL_2D", _POOL),
    18: ("MUL", {"activation": (0, "b", 0)}),
    19: ("RELU", {}),
    22: ("RESHAPE", {}),
    23: ("RESIZE_BILINEAR", {"align_corners": (2, "b", 0), "half_pixel_centers": (3, "b", 0)}),
    34: ("PAD", {}),
    40: ("MEAN", {"keep_dims": (0, "b", 0)}),
    45: ("STRIDED_SLICE", {"begin_mask": (0, "i", 0), "end_mask": (1, "i", 0)}),
    54: ("PRELU", {}),
    117: ("HARD_SWISH", {}),
    124: ("DENSIFY", {}),
}
_CUSTOM = 32

T = TypeVar("T")


@dataclass(frozen=True)
class Operator:
    """One node: `inputs` and `outputs` are tensor numbers (-1: absent), `shapes` those of the outputs (NHWC)."""

    name: str
    inputs: list[int]
    outputs: list[int]
    options: dict
    shapes: list[list[int]]


@dataclass(frozen=True)
class Graph:
    """Operators in execution order; `inputs` maps tensor number to NHWC shape, `outputs` names to tensor numbers."""

    operators: list[Operator]
    inputs: dict[int, list[int]]
    outputs: dict[str, int]


def read_tflite(data: bytes) -> tuple[Graph, dict[int, np.ndarray]]:
    """Parse a model; dequantised and densified constants replace the operators that would make them.

    Returns:
        The graph, and its constants by tensor number (float16 as stored, or int32).
    Raises:
        FormatError: not a TensorFlow Lite model, or one with operators that are not known here.
    """
    if data[4:8] != b"TFL3":
        raise FormatError("not a TensorFlow Lite model")
    model = root(data)
    subgraphs = list(model.tables(2))
    if len(subgraphs) != 1:
        raise FormatError(f"{len(subgraphs)} subgraphs, expected 1")
    tensors = list(subgraphs[0].tables(0))
    buffers = list(model.tables(4))
    codes = [(max(c.scalar(0, "b"), c.scalar(3, "i")), c.octets(1).decode("ascii", "replace")) for c in model.tables(1)]

    alias: dict[int, int] = {}
    operators: list[Operator] = []
    for node in subgraphs[0].tables(3):
        operator = _operator(node, codes, tensors)
        if operator.name in ("DEQUANTIZE", "DENSIFY"):
            source = operator.inputs[0]
            alias[operator.outputs[0]] = alias.get(source, source)
        else:
            inputs = [alias.get(i, i) for i in operator.inputs]
            operators.append(Operator(operator.name, inputs, operator.outputs, operator.options, operator.shapes))

    constants: dict[int, np.ndarray] = {}
    for index in {i for operator in operators for i in operator.inputs if i >= 0}:
        array = _constant(_item(tensors, index), buffers)
        if array is not None:
            constants[index] = array
    names = {_item(tensors, i).octets(3).decode("utf-8", "replace"): i for i in subgraphs[0].numbers(2)}
    shapes = {i: _item(tensors, i).numbers(0) for i in subgraphs[0].numbers(1)}
    return Graph(operators, shapes, names), constants


def _operator(node: Table, codes: list[tuple[int, str]], tensors: list[Table]) -> Operator:
    code, custom = _item(codes, node.scalar(0, "I"))
    if code == _CUSTOM:
        name, options = custom, _custom_options(custom, node.octets(5))
    elif code in _OPERATORS:
        name, fields = _OPERATORS[code]
        table = node.table(4)
        options = {k: table.scalar(*spec) if table else spec[2] for k, spec in fields.items()}
    else:
        raise FormatError(f"operator {code} is not known here")
    outputs = node.numbers(2)
    return Operator(name, node.numbers(1), outputs, options, [_item(tensors, i).numbers(0) for i in outputs])


def _custom_options(name: str, raw: bytes) -> dict:
    if name == "Convolution2DTransposeBias":  # a plain C struct: padding, stride width, stride height
        if len(raw) < 12:
            raise FormatError(f"{name}: options too short")
        padding, stride_w, stride_h = struct.unpack_from("<3i", raw)
        return {"padding": padding, "stride_w": stride_w, "stride_h": stride_h}
    if not raw:
        return {}
    options = flexbuffer(raw)
    if not isinstance(options, dict):
        raise FormatError(f"{name}: options are not a map")
    return options


def _constant(tensor: Table, buffers: list[Table]) -> np.ndarray | None:
    raw = _item(buffers, tensor.scalar(2, "I")).octets(0)
    if not raw:
        return None
    kind = tensor.scalar(1, "b")
    if kind not in _DTYPES:
        raise FormatError(f"constant of type {kind} is not known here")
    shape = tensor.numbers(0)
    count = int(np.prod(shape, dtype=np.int64))
    if not 0 <= count <= MAX_ELEMENTS:
        raise FormatError(f"a constant of {count} elements")
    if len(raw) % np.dtype(_DTYPES[kind]).itemsize:
        raise FormatError("a constant is cut off")
    values = np.frombuffer(raw, _DTYPES[kind])
    sparsity = tensor.table(6)
    if sparsity is not None:
        return _densify(values, shape, sparsity)
    if values.size != count:
        raise FormatError(f"a constant has {values.size} elements, its shape says {count}")
    return values.reshape(shape)


def _densify(values: np.ndarray, shape: list[int], sparsity: Table) -> np.ndarray:
    """Expand TensorFlow Lite's hierarchical sparse format (TACO levels, optionally in blocks)."""
    order, blocks, levels = sparsity.numbers(0), sparsity.numbers(1), list(sparsity.tables(2))
    rank = len(shape)
    if sorted(order) != list(range(rank + len(blocks))) or len(levels) != len(order) or any(not 0 <= b < rank for b in blocks):
        raise FormatError("impossible sparsity")
    # Walk level by level, keeping for every stored entry its coordinates so far and its position in the next level.
    positions = [0]
    coordinates: list[tuple[int, ...]] = [()]
    for level in levels:
        if level.scalar(0, "b") == 0:
            size = level.scalar(1, "i")
            if not 0 < size * len(positions) <= MAX_ELEMENTS:
                raise FormatError("impossible sparsity")
            coordinates = [(*c, i) for c, i in product(coordinates, range(size))]
            positions = [p * size + i for p, i in product(positions, range(size))]
        else:
            segments, indices = _index_vector(level, 2), _index_vector(level, 4)
            spans = [(c, segments[p], segments[p + 1]) for c, p in zip(coordinates, positions, strict=True) if p + 1 < len(segments)]
            if len(spans) != len(positions) or any(not 0 <= a <= b <= len(indices) for _, a, b in spans):
                raise FormatError("impossible sparsity")
            coordinates = [(*c, indices[i]) for c, a, b in spans for i in range(a, b)]
            positions = [i for _, a, b in spans for i in range(a, b)]
    if len(positions) != values.size or (positions and max(positions) >= values.size):
        raise FormatError("sparse values do not match their index")
    at = np.array(coordinates, np.int64).reshape(-1, len(order))
    axes = np.zeros((len(at), rank), np.int64)
    for level_index, axis in enumerate(order):
        if axis < rank:
            axes[:, axis] += at[:, level_index] * (levels[order.index(rank + blocks.index(axis))].scalar(1, "i") if axis in blocks else 1)
        else:
            axes[:, blocks[axis - rank]] += at[:, level_index]
    if (axes < 0).any() or (axes >= np.array(shape)).any():
        raise FormatError("a sparse value lies outside its array")
    dense = np.zeros(shape, values.dtype)
    dense[tuple(axes.T)] = values[positions]
    return dense


def _index_vector(level: Table, field: int) -> list[int]:
    table = level.table(field + 1)
    form = {1: "i", 2: "H", 3: "B"}.get(level.scalar(field, "B"))
    if table is None or form is None:
        raise FormatError("a sparse dimension without an index")
    return table.numbers(0, form)


def _item(items: list[T], index: int) -> T:
    if not 0 <= index < len(items):
        raise FormatError("an index points outside its list")
    return items[index]
