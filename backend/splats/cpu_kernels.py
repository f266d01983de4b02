"""Gaussian splatting on the CPU: 16-lane SIMD as a Numba type, and the kernels written with it.

One long file on purpose: Numba's cache on disk is keyed by the file that holds a function and not by what
it imports, so a kernel must not depend on another file's compiled code.

Semantics are gsplat 1.5.3's (Ye et al. 2025; pinhole camera, EWA splatting of Zwicker et al. 2001, blending
of Kerbl et al. 2023): tiles of 16 x 16 pixels, a stable sort by float32 depth, alphas below 1/255 skipped,
alpha at most 0.999, and a pixel ends before the splat that would bring its transmittance to 1e-4 or below.
A vector is a block of 4 x 4 pixels: splats are small and round, and fill 1.5 to 1.65 times as much of it as of a
row of 16. The sort leaves each (tile, splat) pair 16 bits, which blocks the splat's ellipse meets; the blending
takes the lowest bit that is still open until none is left, so that neither a miss nor a finished pixel costs a test.

Every kernel works on a range of its items (``start, stop``) or on every ``stride``-th tile, releases the
GIL and writes only what belongs to that range, so any number of threads gives bit-identical results.

Rules that keep it fast and exact: no Python float literal meets a float32 (Numba would promote to float64),
and no fast-math flag that reorders sums (``exp_negative`` rounds by adding a magic number).
"""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false
# ruff: noqa: PLR0915

from __future__ import annotations

import math
import operator

import numpy as np

from . import kernel_cache  # noqa: F401  (must run before numba is imported)

from llvmlite import ir  # isort: skip
from numba import njit, types  # isort: skip
from numba.core import cgutils  # isort: skip
from numba.extending import intrinsic, models, overload, register_model  # isort: skip

TILE = 16
BLOCK = 4
BLOCKS = (TILE // BLOCK) ** 2
LANES = BLOCK * BLOCK
PIXELS = TILE * TILE
CHANNELS_BEFORE_COLOR = 6
# So many entries before its turn, a splat is asked for from memory.
AHEAD = 6

# Columns of the [N, 10] array of projected splats. CONIC_* is the inverse 2D covariance (xx, xy, yy); LIMIT is
# the largest exponent that can still reach an alpha of 1/255, negative for a splat that is not drawn.
X, Y, CONIC_XX, CONIC_XY, CONIC_YY, OPACITY, LIMIT, RADIUS_X, RADIUS_Y, DEPTH = range(10)

f32 = np.float32
ZERO, HALF, ONE, TWO = f32(0), f32(0.5), f32(1), f32(2)
ALPHA_MIN, ALPHA_MAX, TRANSMITTANCE_MIN = f32(1 / 255), f32(0.999), f32(1e-4)
EXTENT_MAX = f32(3.33)
FRUSTUM_MARGIN = f32(0.3)
LIMIT_MARGIN = f32(1e-3)
# A little less than 1/2, more than rounding can take from the exponent where its terms cancel.
CULLING_HALF = f32(0.5 * (1 - 2e-6))
HUGE, RADIUS_MAX = f32(1e30), f32(1 << 24)

_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}, "boundscheck": False}

# ---------------------------------------------------------------------------------------------- SIMD type

_FLOAT, _INT, _BIT = ir.FloatType(), ir.IntType(32), ir.IntType(1)
_FLOATS, _INTS, _BITS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES), ir.VectorType(_BIT, LANES)
_FLAGS = ("contract", "nsz")


class FloatLanes(types.Type):
    """Numba type of 16 float32 values in one vector register (or as many as the machine needs)."""

    def __init__(self):
        super().__init__(name="FloatLanes")


class MaskLanes(types.Type):
    """Numba type of 16 booleans."""

    def __init__(self):
        super().__init__(name="MaskLanes")


float_lanes, mask_lanes = FloatLanes(), MaskLanes()


@register_model(FloatLanes)
class _FloatLanesModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, _FLOATS)


@register_model(MaskLanes)
class _MaskLanesModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, _BITS)


def _constant(value):
    return ir.Constant(_FLOATS, [ir.Constant(_FLOAT, value)] * LANES)


def _constant_int(value):
    return ir.Constant(_INTS, [ir.Constant(_INT, value)] * LANES)


@intrinsic
def broadcast(typing, scalar):
    """The same float32 in every lane."""

    def generate(context, builder, signature, args):
        value = context.cast(builder, args[0], signature.args[0], types.float32)
        undefined = ir.Constant(_FLOATS, ir.Undefined)
        first = builder.insert_element(undefined, value, _INT(0))
        return builder.shuffle_vector(first, undefined, ir.Constant(_INTS, [_INT(0)] * LANES))

    return float_lanes(scalar), generate


def _pattern(values):
    @intrinsic
    def function(typing):
        def generate(context, builder, signature, args):
            return ir.Constant(_FLOATS, [ir.Constant(_FLOAT, value) for value in values])

        return float_lanes(), generate

    return function


pixel_columns = _pattern([i % BLOCK + 0.5 for i in range(LANES)])
pixel_rows = _pattern([i // BLOCK + 0.5 for i in range(LANES)])
block_lefts = _pattern([i % (TILE // BLOCK) * BLOCK + 0.5 for i in range(BLOCKS)])
block_tops = _pattern([i // (TILE // BLOCK) * BLOCK + 0.5 for i in range(BLOCKS)])


def _address(context, builder, signature, args):
    array = context.make_array(signature.args[0])(context, builder, args[0])
    index = context.cast(builder, args[1], signature.args[1], types.intp)
    return builder.bitcast(builder.gep(array.data, [index]), _FLOATS.as_pointer())


@intrinsic
def load(typing, array, index):
    """16 values of a flat float32 array from `index`."""

    def generate(context, builder, signature, args):
        value = builder.load(_address(context, builder, signature, args))
        value.align = 4
        return value

    return float_lanes(array, index), generate


@intrinsic
def store(typing, array, index, value):
    """Write 16 values into a flat float32 array at `index`."""

    def generate(context, builder, signature, args):
        instruction = builder.store(args[2], _address(context, builder, signature, args))
        instruction.align = 4
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@intrinsic
def prefetch(typing, array, row):
    """Ask for the cache lines of both ends of a row of a two-dimensional array."""

    def generate(context, builder, signature, args):
        row = context.cast(builder, args[1], signature.args[1], types.intp)
        view = context.make_array(signature.args[0])(context, builder, args[0])
        byte, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, integer, integer, integer])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        step, _ = cgutils.unpack_tuple(builder, view.strides, 2)
        start = builder.gep(builder.bitcast(view.data, byte), [builder.mul(row, step)])
        end = builder.gep(start, [builder.sub(step, ir.Constant(step.type, 4))])
        for address in (start, end):
            builder.call(hint, [address, integer(0), integer(3), integer(1)])
        return context.get_dummy_value()

    return types.void(array, row), generate


def _arithmetic(instruction):
    @intrinsic
    def function(typing, x, y):
        if not (isinstance(x, FloatLanes) and isinstance(y, FloatLanes)):
            return None

        def generate(context, builder, signature, args):
            return getattr(builder, instruction)(args[0], args[1], flags=_FLAGS)

        return float_lanes(x, y), generate

    return function


_add, _subtract, _multiply, _divide = (_arithmetic(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


def _overload(symbol, function):
    @overload(symbol)
    def _(x, y):
        if isinstance(x, FloatLanes) and isinstance(y, FloatLanes):
            return lambda x, y: function(x, y)  # noqa: PLW0108  (an overload must return a Python function)
        return None


for _symbol, _function in ((operator.add, _add), (operator.sub, _subtract), (operator.mul, _multiply), (operator.truediv, _divide)):
    _overload(_symbol, _function)


def _fused(builder, x, y, z):
    """x * y + z by llvm.fmuladd: one rounding where the machine has the instruction, never a call of fmaf()."""
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32"), [x, y, z])


@intrinsic
def multiply_add(typing, x, y, z):
    """x * y + z."""

    def generate(context, builder, signature, args):
        return _fused(builder, *args)

    return float_lanes(x, y, z), generate


def _comparison(predicate):
    @intrinsic
    def function(typing, x, y):
        def generate(context, builder, signature, args):
            return builder.fcmp_ordered(predicate, args[0], args[1])

        return mask_lanes(x, y), generate

    return function


at_most, at_least, greater, less = (_comparison(p) for p in ("<=", ">=", ">", "<"))


@intrinsic
def within(typing, x, limit):
    """0 <= x <= limit in one comparison: as unsigned integers, negative floats are larger than any positive one."""

    def generate(context, builder, signature, args):
        return builder.icmp_unsigned("<=", builder.bitcast(args[0], _INTS), builder.bitcast(args[1], _INTS))

    return mask_lanes(x, limit), generate


@intrinsic
def both(typing, x, y):
    """x and y, lane by lane."""

    def generate(context, builder, signature, args):
        return builder.and_(args[0], args[1])

    return mask_lanes(x, y), generate


@intrinsic
def select(typing, mask, x, y):
    """x where the mask is set, else y."""

    def generate(context, builder, signature, args):
        return builder.select(args[0], args[1], args[2])

    return float_lanes(mask, x, y), generate


@intrinsic
def any_lane(typing, mask):
    """Whether a lane is set."""

    def generate(context, builder, signature, args):
        bits = ir.IntType(LANES)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], bits), ir.Constant(bits, 0))

    return types.boolean(mask), generate


@intrinsic
def lane_bits(typing, mask):
    """The mask as an integer, lane 0 in the lowest bit."""

    def generate(context, builder, signature, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), ir.IntType(64))

    return types.int64(mask), generate


@intrinsic
def lowest_bit(typing, bits):
    """Index of the lowest set bit; at least one is set."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(_BIT, 1))

    return types.int64(types.int64), generate


def _smaller(builder, x, y):
    return builder.select(builder.fcmp_ordered("<", x, y), x, y)


def _larger(builder, x, y):
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


def _of_two(generate_one):
    @intrinsic
    def function(typing, x, y):
        def generate(context, builder, signature, args):
            return generate_one(builder, *args)

        return float_lanes(x, y), generate

    return function


minimum, maximum = _of_two(_smaller), _of_two(_larger)


def _of_bits(instruction, bits):
    @intrinsic
    def function(typing, x):
        def generate(context, builder, signature, args):
            value = getattr(builder, instruction)(builder.bitcast(args[0], _INTS), _constant_int(bits))
            return builder.bitcast(value, _FLOATS)

        return float_lanes(x), generate

    return function


absolute, negative = _of_bits("and_", 0x7FFFFFFF), _of_bits("or_", 0x80000000)  # |x|, -|x|


def _shuffle(builder, x, y, indices):
    """Lanes of x (0..15) and y (16..31) by index; any number of them."""
    kind = ir.VectorType(_INT, len(indices))
    return builder.shuffle_vector(x, y, ir.Constant(kind, [_INT(i) for i in indices]))


@intrinsic
def transpose_quads(typing, a, b, c, d):
    """Four vectors as a 4 x 4 matrix of four lanes each, transposed: pixel rows to blocks of 4 x 4 and back."""

    def generate(context, builder, signature, args):
        low, high = [_shuffle(builder, args[i], args[i + 1], range(32)) for i in (0, 2)], []
        for k in range(4):
            quad = [4 * k + i for i in range(4)] + [16 + 4 * k + i for i in range(4)]
            high.append(_shuffle(builder, _shuffle(builder, low[0], low[0], quad), _shuffle(builder, low[1], low[1], quad), range(16)))
        return context.make_tuple(builder, signature.return_type, high)

    return types.UniTuple(float_lanes, 4)(a, b, c, d), generate


@intrinsic
def store_sums(typing, array, index, a, b, c, d):
    """Write the sums of the lanes of four vectors to a flat float32 array at `index`, by a fixed tree (the same on every width)."""

    def fold(builder, x, y, width):
        """The two halves of every group of `width` lanes of x, then of y, added up."""
        groups = [group * width + lane for group in range(LANES // width) for lane in range(width // 2)]
        first = groups + [LANES + i for i in groups]
        return builder.fadd(_shuffle(builder, x, y, first), _shuffle(builder, x, y, [i + width // 2 for i in first]))

    def generate(context, builder, signature, args):
        a, b, c, d = args[2:]
        quads = fold(builder, fold(builder, a, b, 16), fold(builder, c, d, 16), 8)
        pairs = builder.fadd(_shuffle(builder, quads, quads, [i ^ 2 for i in range(LANES)]), quads)
        sums = builder.fadd(_shuffle(builder, pairs, pairs, [i ^ 1 for i in range(LANES)]), pairs)
        four = _shuffle(builder, sums, sums, [0, 4, 8, 12])
        address = builder.bitcast(_address(context, builder, signature, args), four.type.as_pointer())
        builder.store(four, address).align = 4
        return context.get_dummy_value()

    return types.void(array, index, a, b, c, d), generate


@intrinsic
def exp_negative(typing, x):
    """exp(-x) for 0 <= x <= 87, relative error 2.5e-7; anything at all for other x.

    2^t is split into its integer part, found by adding 1.5 * 2^23 so that the sum's mantissa holds it, and a
    fraction in +-0.5, for which a minimax polynomial of degree 5 is evaluated.
    """
    coefficients = (1.327710027e-03, 9.675676469e-03, 5.550711715e-02, 2.402211622e-01, 6.931469680e-01, 1.000000073e00)

    def generate(context, builder, signature, args):
        scale, magic = _constant(-1.44269504), _constant(12582912.0)
        shifted = _fused(builder, args[0], scale, magic)
        fraction = _fused(builder, args[0], scale, builder.fsub(magic, shifted))
        power = _constant(coefficients[0])
        for coefficient in coefficients[1:]:
            power = _fused(builder, power, fraction, _constant(coefficient))
        # The magic number's own bits are shifted out.
        whole = builder.shl(builder.bitcast(shifted, _INTS), _constant_int(23))
        return builder.bitcast(builder.add(builder.bitcast(power, _INTS), whole), _FLOATS)

    return float_lanes(x), generate


@njit(**_COMPILE)
def _aligned(count):
    """Scratch of `count` floats that starts on a cache line (Numba aligns to 32 bytes only)."""
    scratch = np.empty(count + 16, np.float32)
    offset = ((64 - scratch.ctypes.data % 64) % 64) // 4
    return scratch[offset : offset + count]


# ---------------------------------------------------------------------------------------------- projection


@njit(**_COMPILE)
def _frustum(intrinsics, width, height):
    """Bounds of x/z and y/z (negative, positive) beyond which the Jacobian is evaluated at the bound."""
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    margin_x = FRUSTUM_MARGIN * HALF * f32(width) / fx
    margin_y = FRUSTUM_MARGIN * HALF * f32(height) / fy
    return cx / fx + margin_x, (f32(width) - cx) / fx + margin_x, cy / fy + margin_y, (f32(height) - cy) / fy + margin_y


@njit(**_COMPILE)
def _camera_point(view, mean):
    x, y, z = mean[0], mean[1], mean[2]
    return (
        view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3],
        view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3],
        view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3],
    )


@njit(**_COMPILE)
def _world_to_screen(view, fx, fy, tx, ty, z, out):
    """out [6]: the 2 x 3 Jacobian of the projection (Zwicker et al. 2001, eq. 29) times the view rotation."""
    inverse = ONE / z
    j00, j02 = fx * inverse, -fx * tx * inverse * inverse
    j11, j12 = fy * inverse, -fy * ty * inverse * inverse
    for k in range(3):
        out[k] = j00 * view[0, k] + j02 * view[2, k]
        out[3 + k] = j11 * view[1, k] + j12 * view[2, k]


@njit(**_COMPILE)
def _rotation(quat, out):
    """out [9] row-major of a quaternion of any length; returns the inverse length."""
    w, x, y, z = quat[0], quat[1], quat[2], quat[3]
    inverse = ONE / math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    out[0], out[1], out[2] = ONE - TWO * (y * y + z * z), TWO * (x * y - w * z), TWO * (x * z + w * y)
    out[3], out[4], out[5] = TWO * (x * y + w * z), ONE - TWO * (x * x + z * z), TWO * (y * z - w * x)
    out[6], out[7], out[8] = TWO * (x * z - w * y), TWO * (y * z + w * x), ONE - TWO * (x * x + y * y)
    return inverse


@njit(**_COMPILE)
def project_forward(
    start, stop, means, quats, scales, covars, opacities, view, intrinsics, width, height,
    eps2d, near, far, radius_clip, antialiased, means2d, depths, conics, compensations, radii,
):  # fmt: skip
    """Project splats start..stop; a culled one gets zeros everywhere.

    covars [N, 6] (xx, xy, xz, yy, yz, zz) is used when it has rows, else quats [N, 4] and scales [N, 3].
    """
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    left, right, top, bottom = _frustum(intrinsics, width, height)
    rotation, screen = np.empty(9, np.float32), np.empty(6, np.float32)
    from_covars = len(covars) > 0
    for i in range(start, stop):
        means2d[i, 0] = means2d[i, 1] = depths[i] = conics[i, 0] = conics[i, 1] = conics[i, 2] = compensations[i] = ZERO
        radii[i, 0] = radii[i, 1] = 0
        x, y, z = _camera_point(view, means[i])
        if not (z >= near and z <= far):
            continue
        inverse_z = ONE / z
        tx = z * min(right, max(-left, x * inverse_z))
        ty = z * min(bottom, max(-top, y * inverse_z))
        _world_to_screen(view, fx, fy, tx, ty, z, screen)
        xx = xy = yy = ZERO
        if from_covars:
            for r in range(3):
                a, b, c = _covariance_row(covars[i], r)
                u = a * screen[0] + b * screen[1] + c * screen[2]
                v = a * screen[3] + b * screen[4] + c * screen[5]
                xx += screen[r] * u
                xy += screen[r] * v
                yy += screen[3 + r] * v
        else:
            _rotation(quats[i], rotation)
            for k in range(3):
                u = (screen[0] * rotation[k] + screen[1] * rotation[3 + k] + screen[2] * rotation[6 + k]) * scales[i, k]
                v = (screen[3] * rotation[k] + screen[4] * rotation[3 + k] + screen[5] * rotation[6 + k]) * scales[i, k]
                xx += u * u
                xy += u * v
                yy += v * v
        sharp = xx * yy - xy * xy
        xx += eps2d
        yy += eps2d
        determinant = xx * yy - xy * xy
        if not (determinant > ZERO and determinant < HUGE):
            continue
        compensation = math.sqrt(max(ZERO, sharp / determinant)) if antialiased else ONE
        opacity = opacities[i] * compensation
        if not opacity >= ALPHA_MIN:
            continue
        extent = min(EXTENT_MAX, math.sqrt(TWO * math.log(opacity * f32(255))))
        radius_x = f32(math.ceil(min(extent * math.sqrt(xx), RADIUS_MAX)))
        radius_y = f32(math.ceil(min(extent * math.sqrt(yy), RADIUS_MAX)))
        px, py = fx * x * inverse_z + cx, fy * y * inverse_z + cy
        if radius_x <= radius_clip and radius_y <= radius_clip:
            continue
        if not (px + radius_x > ZERO and px - radius_x < f32(width) and py + radius_y > ZERO and py - radius_y < f32(height)):
            continue
        inverse = ONE / determinant
        means2d[i, 0], means2d[i, 1], depths[i], compensations[i] = px, py, z, compensation
        conics[i, 0], conics[i, 1], conics[i, 2] = yy * inverse, -xy * inverse, xx * inverse
        radii[i, 0], radii[i, 1] = np.int32(radius_x), np.int32(radius_y)


@njit(**_COMPILE)
def _covariance_row(covar, row):
    if row == 0:
        return covar[0], covar[1], covar[2]
    if row == 1:
        return covar[1], covar[3], covar[4]
    return covar[2], covar[4], covar[5]


@njit(**_COMPILE)
def project_backward(
    chunk, chunks, means, quats, scales, covars, view, intrinsics, width, height, eps2d, antialiased,
    conics, compensations, radii, g_means2d, g_depths, g_conics, g_compensations,
    v_means, v_quats, v_scales, v_covars, v_view,
):  # fmt: skip
    """Gradients of `project_forward` for the chunk-th of `chunks` ranges; v_view [chunks, 12] gets its part's sum."""
    fx, fy = intrinsics[0, 0], intrinsics[1, 1]
    left, right, top, bottom = _frustum(intrinsics, width, height)
    count = len(means)
    from_covars = len(covars) > 0
    rotation, screen, v_screen = np.empty(9, np.float32), np.empty(6, np.float32), np.empty(6, np.float32)
    v_rotation, view_sum = np.empty(9, np.float32), np.zeros(12, np.float64)
    for i in range(chunk * count // chunks, (chunk + 1) * count // chunks):
        v_means[i, 0] = v_means[i, 1] = v_means[i, 2] = ZERO
        if from_covars:
            v_covars[i, :] = ZERO
        else:
            v_scales[i, :] = ZERO
            v_quats[i, :] = ZERO
        if radii[i, 0] == 0 or radii[i, 1] == 0:
            continue
        x, y, z = _camera_point(view, means[i])
        inverse_z = ONE / z
        slope_x, slope_y = x * inverse_z, y * inverse_z
        tx, ty = z * min(right, max(-left, slope_x)), z * min(bottom, max(-top, slope_y))
        _world_to_screen(view, fx, fy, tx, ty, z, screen)
        dxx, dxy, dyy = _covariance2d_gradient(conics[i], g_conics[i], compensations[i], g_compensations[i], eps2d, antialiased)
        v_screen[:] = ZERO
        if from_covars:
            _covars_gradient(covars[i], screen, dxx, dxy, dyy, v_screen, v_covars[i])
        else:
            inverse_length = _rotation(quats[i], rotation)
            _scales_gradient(rotation, scales[i], screen, dxx, dxy, dyy, v_screen, v_rotation, v_scales[i])
            _quats_gradient(quats[i], inverse_length, v_rotation, v_quats[i])
        # The Jacobian's own dependence on the camera point and on the view rotation.
        iz2 = inverse_z * inverse_z
        iz3 = iz2 * inverse_z
        j00, j02, j11, j12 = fx * inverse_z, -fx * tx * iz2, fy * inverse_z, -fy * ty * iz2
        v00 = v02 = v11 = v12 = ZERO
        for k in range(3):
            v00 += v_screen[k] * view[0, k]
            v02 += v_screen[k] * view[2, k]
            v11 += v_screen[3 + k] * view[1, k]
            v12 += v_screen[3 + k] * view[2, k]
            view_sum[k] += v_screen[k] * j00
            view_sum[4 + k] += v_screen[3 + k] * j11
            view_sum[8 + k] += v_screen[k] * j02 + v_screen[3 + k] * j12
        gx, gy = g_means2d[i, 0], g_means2d[i, 1]
        vx, vy = fx * inverse_z * gx, fy * inverse_z * gy
        vz = g_depths[i] - (fx * x * gx + fy * y * gy) * iz2
        if slope_x <= right and slope_x >= -left:
            vx -= fx * iz2 * v02
        else:
            vz -= fx * iz3 * v02 * tx
        if slope_y <= bottom and slope_y >= -top:
            vy -= fy * iz2 * v12
        else:
            vz -= fy * iz3 * v12 * ty
        vz += TWO * (fx * tx * v02 + fy * ty * v12) * iz3 - (fx * v00 + fy * v11) * iz2
        for k in range(3):
            v_means[i, k] = view[0, k] * vx + view[1, k] * vy + view[2, k] * vz
            view_sum[k] += vx * means[i, k]
            view_sum[4 + k] += vy * means[i, k]
            view_sum[8 + k] += vz * means[i, k]
        view_sum[3] += vx
        view_sum[7] += vy
        view_sum[11] += vz
    v_view[chunk, :] = view_sum


@njit(**_COMPILE)
def _covariance2d_gradient(conic, g_conic, compensation, g_compensation, eps2d, antialiased):
    """Gradient of the blurred 2D covariance as a full symmetric matrix (xx, xy, yy): -C g C, plus the compensation's.

    With rho^2 = det(S) / det(S + eps I) and conic = (S + eps I)^-1:
    d rho / dS = ((1 - rho^2) conic - eps det(conic) I) / (2 rho)  (as gsplat's add_blur_vjp).
    """
    a, b, c = conic[0], conic[1], conic[2]
    ga, gb, gc = g_conic[0], HALF * g_conic[1], g_conic[2]
    m00, m01, m10, m11 = a * ga + b * gb, a * gb + b * gc, b * ga + c * gb, b * gb + c * gc
    dxx, dxy, dyy = -(m00 * a + m01 * b), -(m00 * b + m01 * c), -(m10 * b + m11 * c)
    if antialiased and compensation > ZERO:
        factor = HALF * g_compensation / compensation
        rest = ONE - compensation * compensation
        blur = eps2d * (a * c - b * b)
        dxx += factor * (rest * a - blur)
        dxy += factor * rest * b
        dyy += factor * (rest * c - blur)
    return dxx, dxy, dyy


@njit(**_COMPILE)
def _scales_gradient(rotation, scale, screen, dxx, dxy, dyy, v_screen, v_rotation, v_scale):
    for k in range(3):
        u0 = screen[0] * rotation[k] + screen[1] * rotation[3 + k] + screen[2] * rotation[6 + k]
        v0 = screen[3] * rotation[k] + screen[4] * rotation[3 + k] + screen[5] * rotation[6 + k]
        u, v = u0 * scale[k], v0 * scale[k]
        du, dv = TWO * (dxx * u + dxy * v), TWO * (dxy * u + dyy * v)
        v_scale[k] = du * u0 + dv * v0
        du *= scale[k]
        dv *= scale[k]
        for r in range(3):
            v_screen[r] += du * rotation[3 * r + k]
            v_screen[3 + r] += dv * rotation[3 * r + k]
            v_rotation[3 * r + k] = du * screen[r] + dv * screen[3 + r]


@njit(**_COMPILE)
def _covars_gradient(covar, screen, dxx, dxy, dyy, v_screen, v_covar):
    entry = 0
    for r in range(3):
        a, b, c = _covariance_row(covar, r)
        u = a * screen[0] + b * screen[1] + c * screen[2]
        v = a * screen[3] + b * screen[4] + c * screen[5]
        v_screen[r] = TWO * (dxx * u + dxy * v)
        v_screen[3 + r] = TWO * (dxy * u + dyy * v)
        for s in range(r, 3):
            value = screen[r] * (dxx * screen[s] + dxy * screen[3 + s]) + screen[3 + r] * (dxy * screen[s] + dyy * screen[3 + s])
            v_covar[entry] = value if r == s else TWO * value
            entry += 1


@njit(**_COMPILE)
def _quats_gradient(quat, inverse_length, v, v_quat):
    """Through the rotation matrix and the normalisation."""
    w, x, y, z = quat[0] * inverse_length, quat[1] * inverse_length, quat[2] * inverse_length, quat[3] * inverse_length
    gw = TWO * (x * (v[7] - v[5]) + y * (v[2] - v[6]) + z * (v[3] - v[1]))
    gx = TWO * (-TWO * x * (v[4] + v[8]) + y * (v[3] + v[1]) + z * (v[6] + v[2]) + w * (v[7] - v[5]))
    gy = TWO * (x * (v[3] + v[1]) - TWO * y * (v[0] + v[8]) + z * (v[7] + v[5]) + w * (v[2] - v[6]))
    gz = TWO * (x * (v[6] + v[2]) + y * (v[7] + v[5]) - TWO * z * (v[0] + v[4]) + w * (v[3] - v[1]))
    radial = gw * w + gx * x + gy * y + gz * z
    v_quat[0], v_quat[1] = (gw - radial * w) * inverse_length, (gx - radial * x) * inverse_length
    v_quat[2], v_quat[3] = (gy - radial * y) * inverse_length, (gz - radial * z) * inverse_length


# ---------------------------------------------------------------------------------------------- sorting into tiles


@njit(**_COMPILE)
def pack(start, stop, means2d, conics, opacities, depths, radii, splats):
    """Gather what the tile kernels read of one splat into one row of `splats` [N, 10]."""
    for i in range(start, stop):
        opacity = opacities[i]
        splats[i, LIMIT] = f32(-1)
        if radii[i, 0] > 0 and radii[i, 1] > 0 and opacity >= ALPHA_MIN:
            splats[i, LIMIT] = min(HALF * EXTENT_MAX * EXTENT_MAX, math.log(opacity * f32(255))) + LIMIT_MARGIN
        splats[i, X], splats[i, Y] = means2d[i, 0], means2d[i, 1]
        splats[i, CONIC_XX], splats[i, CONIC_XY], splats[i, CONIC_YY] = conics[i, 0], conics[i, 1], conics[i, 2]
        splats[i, OPACITY], splats[i, DEPTH] = opacity, depths[i]
        splats[i, RADIUS_X], splats[i, RADIUS_Y] = f32(radii[i, 0]), f32(radii[i, 1])


@njit(**_COMPILE)
def depth_order(splats, depth_bits):
    """Indices of the drawn splats, near to far, ties by index: radix sort of the float32 bits, 11 at a time."""
    keys = np.empty(len(splats), np.uint64)
    drawn = 0
    for i in range(len(splats)):
        if splats[i, LIMIT] > ZERO:
            keys[drawn] = (np.uint64(depth_bits[i]) << np.uint64(32)) | np.uint64(i)
            drawn += 1
    keys = keys[:drawn]
    other = np.empty(drawn, np.uint64)
    for part in range(3):
        shift = np.uint64(32 + 11 * part)
        position = np.zeros(2049, np.int64)
        for i in range(drawn):
            position[np.int64((keys[i] >> shift) & np.uint64(2047)) + 1] += 1
        for j in range(2048):
            position[j + 1] += position[j]
        for i in range(drawn):
            digit = np.int64((keys[i] >> shift) & np.uint64(2047))
            other[position[digit]] = keys[i]
            position[digit] += 1
        keys, other = other, keys
    order = np.empty(drawn, np.int32)
    for i in range(drawn):
        order[i] = np.int32(keys[i] & np.uint64(0xFFFFFFFF))
    return order


@njit(**_COMPILE)
def _clamped(value, low, high):
    return minimum(maximum(value, low), high)


@njit(**_COMPILE)
def _exponents(dx, dy, half_xx, xy, half_yy):
    """Half the squared Mahalanobis distance, lane by lane."""
    return multiply_add(dx, multiply_add(half_xx, dx, xy * dy), half_yy * dy * dy)


@njit(**_COMPILE)
def _touched_blocks(splat, left, top):
    """Bit k is set where the ellipse of exponent LIMIT meets the pixel centres' rectangle of the tile's block k.

    A lane is a block. The lowest exponent of a rectangle that does not hold the centre lies on one of the two
    edges that face it, where it is the one of a parabola.
    """
    a, b, c = splat[CONIC_XX], splat[CONIC_XY], splat[CONIC_YY]
    lefts, tops = block_lefts() - broadcast(splat[X] - left), block_tops() - broadcast(splat[Y] - top)
    side, zero = broadcast(f32(BLOCK - 1)), broadcast(ZERO)
    rights, bottoms = lefts + side, tops + side
    near_x, near_y = _clamped(zero, lefts, rights), _clamped(zero, tops, bottoms)
    beside = _clamped(broadcast(-b / c) * near_x, tops, bottoms)
    above = _clamped(broadcast(-b / a) * near_y, lefts, rights)
    half_xx, xy, half_yy = broadcast(a * CULLING_HALF), broadcast(b), broadcast(c * CULLING_HALF)
    lowest = minimum(_exponents(near_x, beside, half_xx, xy, half_yy), _exponents(above, near_y, half_xx, xy, half_yy))
    return lane_bits(at_most(lowest, broadcast(splat[LIMIT])))


@njit(**_COMPILE)
def _tile_range(centre, radius, tiles):
    """First and one-past-last tile along one axis."""
    # Bounded while still a float: a value beyond an integer's range has no defined conversion.
    first = math.floor(min(max((centre - radius) / f32(TILE), ZERO), f32(tiles)))
    last = math.ceil(min(max((centre + radius) / f32(TILE), ZERO), f32(tiles)))
    return int(first), int(last)


@njit(**_COMPILE)
def find_hits(start, stop, splats, order, width, height, tile_counts):
    """(splat, tile, blocks as bits) for every tile that the depth-ordered splats start..stop touch; counts per tile."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    capacity, found = 8 * (stop - start) + 64, 0
    hits = np.empty((capacity, 3), np.int32)
    for m in range(start, stop):
        splat = splats[order[m]]
        x0, x1 = _tile_range(splat[X], splat[RADIUS_X], columns)
        y0, y1 = _tile_range(splat[Y], splat[RADIUS_Y], rows)
        if found + (x1 - x0) * (y1 - y0) > capacity:
            capacity = 2 * capacity + (x1 - x0) * (y1 - y0)
            grown = np.empty((capacity, 3), np.int32)
            grown[:found] = hits[:found]
            hits = grown
        for row in range(y0, y1):
            for column in range(x0, x1):
                blocks = _touched_blocks(splat, f32(column * TILE), f32(row * TILE))
                if blocks:
                    tile = row * columns + column
                    hits[found, 0], hits[found, 1], hits[found, 2] = order[m], tile, blocks
                    tile_counts[tile] += 1
                    found += 1
    return hits[:found]


@njit(**_COMPILE)
def hit_offsets(tile_counts, offsets):
    """Exclusive sum over (tile, range); tile_counts [ranges, tiles] becomes each range's first entry in each tile."""
    total = 0
    for tile in range(tile_counts.shape[1]):
        offsets[tile] = total
        for part in range(tile_counts.shape[0]):
            count = tile_counts[part, tile]
            tile_counts[part, tile] = total
            total += count
    offsets[tile_counts.shape[1]] = total
    return total


@njit(**_COMPILE)
def fill_tiles(hits, position, entries):
    """Deal the hits of one range out to the tiles: entries [hits, 2] holds, per tile, near to far, (splat, blocks)."""
    for i in range(len(hits)):
        tile = hits[i, 1]
        entry = position[tile]
        position[tile] = entry + 1
        entries[entry, 0], entries[entry, 1] = hits[i, 0], hits[i, 2]


# ---------------------------------------------------------------------------------------------- blending


@njit(**_COMPILE)
def _pixel_grid():
    """Pixel centres of a tile in block order: x, then y; flat [2 * 256]."""
    grid = _aligned(2 * PIXELS)
    for k in range(BLOCKS):
        across, down = f32(k % (TILE // BLOCK) * BLOCK), f32(k // (TILE // BLOCK) * BLOCK)
        store(grid, k * LANES, pixel_columns() + broadcast(across))
        store(grid, PIXELS + k * LANES, pixel_rows() + broadcast(down))
    return grid


@njit(**_COMPILE)
def _place(tile, columns, width, height):
    """A tile's left and top pixel, and how many of its rows and columns lie in the picture."""
    left, top = (tile % columns) * TILE, (tile // columns) * TILE
    return left, top, min(TILE, height - top), min(TILE, width - left)


@njit(**_COMPILE)
def _open_tile(rows, columns, grid, transmittance, opened):
    """Transmittance 1 in the picture and -1, as if ended, outside; returns the blocks with a pixel in the picture as bits."""
    one, bits = broadcast(ONE), 0
    for k in range(BLOCKS):
        across, down = load(grid, k * LANES), load(grid, PIXELS + k * LANES)
        inside = both(less(across, broadcast(f32(columns))), less(down, broadcast(f32(rows))))
        store(transmittance, k * LANES, select(inside, one, negative(one)))
        if any_lane(inside):
            bits |= 1 << k
    opened[0] = bits


@njit(**_COMPILE)
def _to_blocks(image, start, stride, rows, blocks, at):
    """`rows` rows of 16 pixels of a flat image to a tile in block order at blocks[at:]; zeros below the picture."""
    zero = broadcast(ZERO)
    for r in range(0, TILE, BLOCK):
        row0 = load(image, start + r * stride) if r < rows else zero
        row1 = load(image, start + (r + 1) * stride) if r + 1 < rows else zero
        row2 = load(image, start + (r + 2) * stride) if r + 2 < rows else zero
        row3 = load(image, start + (r + 3) * stride) if r + 3 < rows else zero
        block0, block1, block2, block3 = transpose_quads(row0, row1, row2, row3)
        store(blocks, at + r * TILE, block0)
        store(blocks, at + r * TILE + LANES, block1)
        store(blocks, at + r * TILE + 2 * LANES, block2)
        store(blocks, at + r * TILE + 3 * LANES, block3)


@njit(**_COMPILE)
def _from_blocks(blocks, at, image, start, stride, rows):
    """Inverse of `_to_blocks`."""
    for r in range(0, rows, BLOCK):
        four = transpose_quads(
            load(blocks, at + r * TILE), load(blocks, at + r * TILE + LANES),
            load(blocks, at + r * TILE + 2 * LANES), load(blocks, at + r * TILE + 3 * LANES),
        )  # fmt: skip
        store(image, start + r * stride, four[0])
        if r + 1 < rows:
            store(image, start + (r + 1) * stride, four[1])
        if r + 2 < rows:
            store(image, start + (r + 2) * stride, four[2])
        if r + 3 < rows:
            store(image, start + (r + 3) * stride, four[3])


@njit(**_COMPILE)
def _splat_lanes(splats, g, left, top):
    """What the pixels of a tile need of splat g: centre in the tile's frame, exponent's coefficients, opacity, limit."""
    x, y = broadcast(splats[g, X] - f32(left)), broadcast(splats[g, Y] - f32(top))
    half_xx, xy, half_yy = broadcast(HALF * splats[g, CONIC_XX]), broadcast(splats[g, CONIC_XY]), broadcast(HALF * splats[g, CONIC_YY])
    return x, y, half_xx, xy, half_yy, broadcast(splats[g, OPACITY]), broadcast(splats[g, LIMIT])


@njit(**_COMPILE)
def _cover(splat, grid, transmittance, at):
    """Put one splat (`_splat_lanes`) before the block at `at`, whose transmittance is updated.

    Returns (dx, dy, transmittance before, opacity before its clamp, 1 - alpha, weight, sloped, kept). `kept` are the
    pixels that go on: one that ends here, or had ended, has weight 0 and keeps its transmittance as a negative
    number. `sloped` are those of them whose alpha has a gradient: drawn, and not clamped.
    """
    x, y, half_xx, xy, half_yy, opacity, limit = splat
    dx, dy = x - load(grid, at), y - load(grid, PIXELS + at)
    exponent = _exponents(dx, dy, half_xx, xy, half_yy)
    before, zero, highest = load(transmittance, at), broadcast(ZERO), broadcast(ALPHA_MAX)
    raw = opacity * exp_negative(exponent)
    alpha = minimum(raw, highest)
    drawn = both(within(exponent, limit), at_least(alpha, broadcast(ALPHA_MIN)))
    alpha = select(drawn, alpha, zero)
    through = broadcast(ONE) - alpha
    after = before * through
    kept = greater(after, broadcast(TRANSMITTANCE_MIN))
    store(transmittance, at, select(kept, after, negative(before)))
    return dx, dy, before, raw, through, select(kept, alpha * before, zero), both(both(drawn, kept), at_most(raw, highest)), kept


@njit(**_COMPILE)
def _blend_tile(
    tile, columns, width, height, splats, colors, background, offsets, entries, image, final,
    grid, transmittance, total, opened,
):  # fmt: skip
    channels, stride = colors.shape[1], columns * TILE
    left, top, rows, wide = _place(tile, columns, width, height)
    zero = broadcast(ZERO)
    _open_tile(rows, wide, grid, transmittance, opened)
    for k in range(channels * BLOCKS):
        store(total, k * LANES, zero)
    for j in range(offsets[tile], offsets[tile + 1]):
        blocks = np.int64(entries[j, 1]) & opened[0]
        if blocks == 0:
            continue
        g, ahead = entries[j, 0], entries[min(j + AHEAD, len(entries) - 1), 0]
        prefetch(splats, ahead)
        prefetch(colors, ahead)
        splat = _splat_lanes(splats, g, left, top)
        while blocks != 0:
            block = lowest_bit(blocks)
            blocks &= blocks - 1
            at = block * LANES
            _, _, _, _, _, weight, _, kept = _cover(splat, grid, transmittance, at)
            for k in range(channels):
                plane = k * PIXELS + at
                store(total, plane, multiply_add(broadcast(colors[g, k]), weight, load(total, plane)))
            if not any_lane(kept):
                opened[0] &= ~(1 << block)
        if opened[0] == 0:
            break
    for k in range(BLOCKS):
        rest = absolute(load(transmittance, k * LANES))
        store(transmittance, k * LANES, rest)
        for channel in range(channels):
            plane = channel * PIXELS + k * LANES
            store(total, plane, multiply_add(rest, broadcast(background[channel]), load(total, plane)))
    _from_blocks(transmittance, 0, final, top * stride + left, stride, rows)
    for k in range(channels):
        _from_blocks(total, k * PIXELS, image, (k * height + top) * stride + left, stride, rows)


@njit(**_COMPILE)
def blend_forward(worker, workers, width, height, splats, colors, background, offsets, entries, image, final):
    """Blend every `workers`-th tile: image flat [C, H, stride], final transmittance flat [H, stride], stride = 16 tiles."""
    columns, channels = (width + TILE - 1) // TILE, colors.shape[1]
    grid, transmittance, total = _pixel_grid(), _aligned(PIXELS), _aligned(channels * PIXELS)
    opened = np.empty(1, np.int64)
    for tile in range(worker, len(offsets) - 1, workers):
        _blend_tile(
            tile, columns, width, height, splats, colors, background, offsets, entries, image, final,
            grid, transmittance, total, opened,
        )  # fmt: skip


@njit(**_COMPILE)
def _open_tile_backward(left, top, rows, stride, height, channels, image, final, g_image, g_alpha, pixels, behind, scratch):
    """The tile's gradients in block order, and what lies behind its first splat: the gradient-weighted final colour."""
    _to_blocks(final, top * stride + left, stride, rows, scratch, 0)
    _to_blocks(g_alpha, top * stride + left, stride, rows, behind, 0)
    zero = broadcast(ZERO)
    for k in range(0, PIXELS, LANES):
        store(behind, k, zero - load(scratch, k) * load(behind, k))
    for channel in range(channels):
        start = (channel * height + top) * stride + left
        _to_blocks(g_image, start, stride, rows, pixels, channel * PIXELS)
        _to_blocks(image, start, stride, rows, scratch, 0)
        for k in range(0, PIXELS, LANES):
            store(behind, k, multiply_add(load(pixels, channel * PIXELS + k), load(scratch, k), load(behind, k)))


@njit(**_COMPILE)
def row_length(values):
    """Floats of one row of sums: sums are written four at a time."""
    return (values + 3) // 4 * 4


@njit(**_COMPILE)
def _flush_four(sums, at, rows, to):
    """The sums of four vectors at sums[at:] to rows[to:], and zero into the vectors."""
    store_sums(rows, to, load(sums, at), load(sums, at + LANES), load(sums, at + 2 * LANES), load(sums, at + 3 * LANES))
    for i in range(4):
        store(sums, at + i * LANES, broadcast(ZERO))


@njit(**_COMPILE)
def _blend_tile_backward(
    tile, columns, width, height, splats, colors, offsets, entries, image, final, g_image, g_alpha, rows_of_sums, used,
    grid, transmittance, behind, pixels, sums, opened,
):  # fmt: skip
    """Front to back like the forward pass; `behind` holds the gradient-weighted colour of all that is still behind."""
    channels, stride = colors.shape[1], columns * TILE
    left, top, rows, wide = _place(tile, columns, width, height)
    zero = broadcast(ZERO)
    _open_tile_backward(left, top, rows, stride, height, channels, image, final, g_image, g_alpha, pixels, behind, transmittance)
    _open_tile(rows, wide, grid, transmittance, opened)
    for j in range(offsets[tile], offsets[tile + 1]):
        blocks = np.int64(entries[j, 1]) & opened[0]
        if blocks == 0:
            continue
        g, ahead = entries[j, 0], entries[min(j + AHEAD, len(entries) - 1), 0]
        prefetch(splats, ahead)
        prefetch(colors, ahead)
        splat = _splat_lanes(splats, g, left, top)
        sum0, sum_x, sum_y, sum_xx, sum_xy, sum_yy = zero, zero, zero, zero, zero, zero
        while blocks != 0:
            block = lowest_bit(blocks)
            blocks &= blocks - 1
            at = block * LANES
            dx, dy, before, raw, through, weight, sloped, kept = _cover(splat, grid, transmittance, at)
            own = zero
            for k in range(channels):
                gradient = load(pixels, k * PIXELS + at)
                own = multiply_add(broadcast(colors[g, k]), gradient, own)
                store(sums, k * LANES, multiply_add(weight, gradient, load(sums, k * LANES)))
            rest = load(behind, at) - weight * own
            store(behind, at, rest)
            # The clamp at 0.999 stops the gradient of the shape, not of what lies behind.
            g_exponent = select(sloped, raw * (rest / through - before * own), zero)
            g_x, g_y = g_exponent * dx, g_exponent * dy
            sum0, sum_x, sum_y = sum0 + g_exponent, sum_x + g_x, sum_y + g_y
            sum_xx, sum_xy, sum_yy = multiply_add(g_x, dx, sum_xx), multiply_add(g_x, dy, sum_xy), multiply_add(g_y, dy, sum_yy)
            if not any_lane(kept):
                opened[0] &= ~(1 << block)
        used[j] = 1
        row = j * row_length(CHANNELS_BEFORE_COLOR + channels)
        store_sums(rows_of_sums, row, sum_x, sum_y, sum_xx, sum_xy)
        store_sums(rows_of_sums, row + 4, sum_yy, sum0, load(sums, 0), load(sums, LANES))
        store(sums, 0, zero)
        store(sums, LANES, zero)
        for k in range(2, channels, 4):
            _flush_four(sums, k * LANES, rows_of_sums, row + CHANNELS_BEFORE_COLOR + k)
        if opened[0] == 0:
            break


@njit(**_COMPILE)
def blend_backward(worker, workers, width, height, splats, colors, offsets, entries, image, final, g_image, g_alpha, rows_of_sums, used):
    """Sums of every `workers`-th tile, one row of the flat `rows_of_sums` [hits, K] a (splat, tile) pair; no atomics.

    A row holds the exponent's gradient times (x, y, xx, xy, yy, 1) relative to the splat's centre, then the C
    colours' gradients; K is 6 + C rounded up to a multiple of 4.
    """
    columns, channels = (width + TILE - 1) // TILE, colors.shape[1]
    grid, transmittance, behind = _pixel_grid(), _aligned(PIXELS), _aligned(PIXELS)
    pixels, sums = _aligned(channels * PIXELS), _aligned((channels + 6) * LANES)
    sums[:] = ZERO
    opened = np.empty(1, np.int64)
    for tile in range(worker, len(offsets) - 1, workers):
        if offsets[tile] < offsets[tile + 1]:
            _blend_tile_backward(
                tile, columns, width, height, splats, colors, offsets, entries, image, final, g_image, g_alpha, rows_of_sums, used,
                grid, transmittance, behind, pixels, sums, opened,
            )  # fmt: skip


@njit(**_COMPILE)
def sum_rows(start, stop, entries, rows, used, count, total):
    """Add the `count` first values of every entry's row to its splat in total [N, L], for splats start..stop, in the tiles' order.

    rows: flat [hits, `row_length`] and 16 more. L is a multiple of 16, zeros on entry.
    """
    length, sums = row_length(count), total.reshape(-1)
    for j in range(len(entries)):
        g = np.int64(entries[j, 0])
        if used[j] and g >= start and g < stop:
            for k in range(0, count, LANES):
                at = g * total.shape[1] + k
                store(sums, at, load(sums, at) + load(rows, j * length + k))


@njit(**_COMPILE)
def finish_gradients(start, stop, splats, total, gradients):
    """The sums of `blend_backward` to gradients [N, 6 + C] of the splats' mean (2), conic (3), opacity (1), colours."""
    for g in range(start, stop):
        for k in range(gradients.shape[1]):
            gradients[g, k] = total[g, k]
        if splats[g, LIMIT] > ZERO:
            a, b, c = splats[g, CONIC_XX], splats[g, CONIC_XY], splats[g, CONIC_YY]
            gradients[g, 0], gradients[g, 1] = a * total[g, 0] + b * total[g, 1], b * total[g, 0] + c * total[g, 1]
            gradients[g, 2], gradients[g, 3], gradients[g, 4] = HALF * total[g, 2], total[g, 3], HALF * total[g, 4]
            gradients[g, 5] = -total[g, 5] / splats[g, OPACITY]


# ---------------------------------------------------------------------------------------------- colours as a linear map


@njit(**_COMPILE)
def _trace_tile(
    tile, columns, width, height, splats, offsets, entries, starts, weights, blocks_of, final, filling,
    grid, transmittance, opened,
):  # fmt: skip
    """Blending weights of one tile without colours: counted (starts[j + 1] = blocks of entry j) or, when filling, stored."""
    left, top, rows, wide = _place(tile, columns, width, height)
    _open_tile(rows, wide, grid, transmittance, opened)
    zero = broadcast(ZERO)
    for j in range(offsets[tile], offsets[tile + 1]):
        blocks = np.int64(entries[j, 1]) & opened[0]
        if blocks == 0:
            continue
        splat = _splat_lanes(splats, entries[j, 0], left, top)
        found = 0
        while blocks != 0:
            block = lowest_bit(blocks)
            blocks &= blocks - 1
            _, _, _, _, _, weight, _, kept = _cover(splat, grid, transmittance, block * LANES)
            if any_lane(greater(weight, zero)):
                if filling:
                    store(weights, (starts[j] + found) * LANES, weight)
                    blocks_of[starts[j] + found] = block
                found += 1
            if not any_lane(kept):
                opened[0] &= ~(1 << block)
        if not filling:
            starts[j + 1] = found
        if opened[0] == 0:
            break
    if filling:
        for k in range(0, PIXELS, LANES):
            store(transmittance, k, absolute(load(transmittance, k)))
        _from_blocks(transmittance, 0, final, top * columns * TILE + left, columns * TILE, rows)


@njit(**_COMPILE)
def trace_weights(worker, workers, width, height, splats, offsets, entries, starts, weights, blocks_of, final, filling):
    """Count, then store, the blocks of 16 blending weights of every entry (`starts` zeroed before counting)."""
    columns = (width + TILE - 1) // TILE
    grid, transmittance, opened = _pixel_grid(), _aligned(PIXELS), np.empty(1, np.int64)
    for tile in range(worker, len(offsets) - 1, workers):
        _trace_tile(
            tile, columns, width, height, splats, offsets, entries, starts, weights, blocks_of, final, filling,
            grid, transmittance, opened,
        )  # fmt: skip


@njit(**_COMPILE)
def apply_weights(worker, workers, width, height, colors, offsets, entries, starts, weights, blocks_of, image):
    """image flat [C, H, stride] = weights x colors [N, C]."""
    columns, channels = (width + TILE - 1) // TILE, colors.shape[1]
    stride, zero = columns * TILE, broadcast(ZERO)
    total = _aligned(channels * PIXELS)
    for tile in range(worker, len(offsets) - 1, workers):
        left, top, rows, _ = _place(tile, columns, width, height)
        for k in range(channels * BLOCKS):
            store(total, k * LANES, zero)
        for j in range(offsets[tile], offsets[tile + 1]):
            g = entries[j, 0]
            for i in range(starts[j], starts[j + 1]):
                weight, at = load(weights, i * LANES), np.int64(blocks_of[i]) * LANES
                for k in range(channels):
                    plane = k * PIXELS + at
                    store(total, plane, multiply_add(broadcast(colors[g, k]), weight, load(total, plane)))
        for k in range(channels):
            _from_blocks(total, k * PIXELS, image, (k * height + top) * stride + left, stride, rows)


@njit(**_COMPILE)
def transpose_weights(worker, workers, width, height, squared, image, offsets, entries, starts, weights, blocks_of, rows_of_sums, used):
    """rows_of_sums flat [hits, `row_length`] = each entry's sum of weights (or squared weights) x image flat [C, H, stride]."""
    columns = (width + TILE - 1) // TILE
    stride = columns * TILE
    channels = len(image) // (height * stride)
    pixels, own = _aligned(channels * PIXELS), _aligned((channels + 3) * LANES)
    own[:] = ZERO
    for tile in range(worker, len(offsets) - 1, workers):
        left, top, rows, _ = _place(tile, columns, width, height)
        for k in range(channels):
            _to_blocks(image, (k * height + top) * stride + left, stride, rows, pixels, k * PIXELS)
        for j in range(offsets[tile], offsets[tile + 1]):
            if starts[j] == starts[j + 1]:
                continue
            for i in range(starts[j], starts[j + 1]):
                weight, at = load(weights, i * LANES), np.int64(blocks_of[i]) * LANES
                if squared:
                    weight = weight * weight
                for k in range(channels):
                    store(own, k * LANES, multiply_add(weight, load(pixels, k * PIXELS + at), load(own, k * LANES)))
            used[j] = 1
            for k in range(0, channels, 4):
                _flush_four(own, k * LANES, rows_of_sums, j * row_length(channels) + k)
