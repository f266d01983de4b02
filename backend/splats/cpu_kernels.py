"""Gaussian splatting on the CPU: 16-lane SIMD as a Numba type, and the kernels written with it.

One long file on purpose: Numba's cache on disk is keyed by the file that holds a function and not by what
it imports, so a kernel must not depend on another file's compiled code.

Semantics are gsplat 1.5.3's (Ye et al. 2025; pinhole camera, EWA splatting of Zwicker et al. 2001, blending
of Kerbl et al. 2023): tiles of 16 x 16 pixels, a stable sort by float32 depth, alphas below 1/255 skipped,
alpha at most 0.999, and a pixel ends before the splat that would bring its transmittance to 1e-4 or below.
A tile row of 16 pixels is one vector.

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
from numba.extending import intrinsic, models, overload, register_model  # isort: skip

LANES = 16
TILE = 16
CHANNELS_BEFORE_COLOR = 6

# Columns of the [N, 10] array of projected splats. CONIC_* is the inverse 2D covariance (xx, xy, yy); LIMIT is
# the largest exponent that can still reach an alpha of 1/255, negative for a splat that is not drawn.
X, Y, CONIC_XX, CONIC_XY, CONIC_YY, OPACITY, LIMIT, RADIUS_X, RADIUS_Y, DEPTH = range(10)

f32 = np.float32
ZERO, HALF, ONE, TWO = f32(0), f32(0.5), f32(1), f32(2)
ALPHA_MIN, ALPHA_MAX, TRANSMITTANCE_MIN = f32(1 / 255), f32(0.999), f32(1e-4)
EXTENT_MAX = f32(3.33)
FRUSTUM_MARGIN = f32(0.3)
LIMIT_MARGIN = f32(1e-3)
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


@intrinsic
def pixel_centres(typing):
    """0.5, 1.5, ... 15.5."""

    def generate(context, builder, signature, args):
        return ir.Constant(_FLOATS, [ir.Constant(_FLOAT, i + 0.5) for i in range(LANES)])

    return float_lanes(), generate


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


@intrinsic
def multiply_add(typing, x, y, z):
    """x * y + z; the contract flag lets LLVM fuse it (llvmlite cannot declare the vector intrinsic)."""

    def generate(context, builder, signature, args):
        return builder.fadd(builder.fmul(args[0], args[1], flags=_FLAGS), args[2], flags=_FLAGS)

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
def both(typing, x, y):
    """x and y, lane by lane."""

    def generate(context, builder, signature, args):
        return builder.and_(args[0], args[1])

    return mask_lanes(x, y), generate


@intrinsic
def without(typing, x, y):
    """x and not y, lane by lane."""

    def generate(context, builder, signature, args):
        ones = ir.Constant(_BITS, [ir.Constant(_BIT, 1)] * LANES)
        return builder.and_(args[0], builder.xor(args[1], ones))

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
def count_lanes(typing, mask):
    """How many lanes are set."""

    def generate(context, builder, signature, args):
        return builder.zext(builder.ctpop(builder.bitcast(args[0], ir.IntType(LANES))), ir.IntType(64))

    return types.int64(mask), generate


@intrinsic
def minimum(typing, x, y):
    """The smaller, lane by lane."""

    def generate(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[0], args[1])

    return float_lanes(x, y), generate


@intrinsic
def sum_lanes(typing, x):
    """Sum of the lanes by a fixed tree, so that it is the same on every machine width."""

    def generate(context, builder, signature, args):
        value, width = args[0], LANES
        while width > 1:
            half = width // 2
            indices = ir.VectorType(_INT, half)
            undefined = ir.Constant(value.type, ir.Undefined)
            low = builder.shuffle_vector(value, undefined, ir.Constant(indices, [_INT(i) for i in range(half)]))
            high = builder.shuffle_vector(value, undefined, ir.Constant(indices, [_INT(i + half) for i in range(half)]))
            value, width = builder.fadd(low, high), half
        return builder.extract_element(value, _INT(0))

    return types.float32(x), generate


@intrinsic
def exp_negative(typing, x):
    """exp(-x) for x >= 0 (x above 80 counts as 80); relative error 2.5e-7.

    2^t is split into its integer part, found by adding 1.5 * 2^23 so that the sum's mantissa holds it, and a
    fraction in +-0.5, for which a minimax polynomial of degree 5 is evaluated.
    """
    coefficients = (1.327710027e-03, 9.675676469e-03, 5.550711715e-02, 2.402211622e-01, 6.931469680e-01, 1.000000073e00)

    def generate(context, builder, signature, args):
        limit = _constant(80.0)
        bounded = builder.select(builder.fcmp_ordered("<", args[0], limit), args[0], limit)
        exponent = builder.fmul(bounded, _constant(-1.44269504))
        magic = _constant(12582912.0)
        shifted = builder.fadd(exponent, magic)
        whole = builder.sub(builder.bitcast(shifted, _INTS), _constant_int(0x4B400000))
        fraction = builder.fsub(exponent, builder.fsub(shifted, magic))
        power = _constant(coefficients[0])
        for coefficient in coefficients[1:]:
            power = builder.fadd(builder.fmul(power, fraction, flags=_FLAGS), _constant(coefficient), flags=_FLAGS)
        scaled = builder.add(builder.bitcast(power, _INTS), builder.shl(whole, _constant_int(23)))
        return builder.bitcast(scaled, _FLOATS)

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
def _exponent(a, b, c, dx, dy):
    return HALF * (a * dx * dx + c * dy * dy) + b * dx * dy


@njit(**_COMPILE)
def _touches(splat, x0, x1, y0, y1):
    """Whether the ellipse of exponent LIMIT meets the rectangle of pixel centres (exact)."""
    x, y, a, b, c = splat[X], splat[Y], splat[CONIC_XX], splat[CONIC_XY], splat[CONIC_YY]
    if x >= x0 and x <= x1 and y >= y0 and y <= y1:
        return True
    best = HUGE
    if x < x0 or x > x1:
        dx = (x0 if x < x0 else x1) - x
        dy = min(max(-b * dx / c, y0 - y), y1 - y)
        best = min(best, _exponent(a, b, c, dx, dy))
    if y < y0 or y > y1:
        dy = (y0 if y < y0 else y1) - y
        dx = min(max(-b * dy / a, x0 - x), x1 - x)
        best = min(best, _exponent(a, b, c, dx, dy))
    return best <= splat[LIMIT]


@njit(**_COMPILE)
def _tile_range(centre, radius, tiles):
    """First and one-past-last tile along one axis."""
    # Bounded while still a float: a value beyond an integer's range has no defined conversion.
    first = math.floor(min(max((centre - radius) / f32(TILE), ZERO), f32(tiles)))
    last = math.ceil(min(max((centre + radius) / f32(TILE), ZERO), f32(tiles)))
    return int(first), int(last)


@njit(**_COMPILE)
def count_hits(start, stop, splats, order, width, height, tile_counts, hits):
    """Tiles that the depth-ordered splats start..stop touch, in order; counts per tile and per splat."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    capacity, found = 8 * (stop - start) + 64, 0
    tiles = np.empty(capacity, np.int32)
    for m in range(start, stop):
        splat = splats[order[m]]
        before = found
        x0, x1 = _tile_range(splat[X], splat[RADIUS_X], columns)
        y0, y1 = _tile_range(splat[Y], splat[RADIUS_Y], rows)
        if found + (x1 - x0) * (y1 - y0) > capacity:
            capacity = 2 * capacity + (x1 - x0) * (y1 - y0)
            grown = np.empty(capacity, np.int32)
            grown[:found] = tiles[:found]
            tiles = grown
        for row in range(y0, y1):
            for column in range(x0, x1):
                left, top = f32(column * TILE) + HALF, f32(row * TILE) + HALF
                if _touches(splat, left, left + f32(TILE - 1), top, top + f32(TILE - 1)):
                    tile = row * columns + column
                    tiles[found] = tile
                    tile_counts[tile] += 1
                    found += 1
        hits[m] = found - before
    return tiles[:found]


@njit(**_COMPILE)
def hit_offsets(tile_counts, offsets):
    """Exclusive sum over (tile, range); tile_counts [ranges, tiles] becomes each range's first slot in each tile."""
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
def fill_hits(start, stop, order, hits, first_slot, tiles, position, entries, slots):
    """entries [hits, 2]: per tile, near to far, (splat, slot); slots [M + 1]: where a splat's gradient slots start."""
    slot, k = first_slot, 0
    for m in range(start, stop):
        slots[m] = slot
        for _ in range(hits[m]):
            entry = position[tiles[k]]
            position[tiles[k]] = entry + 1
            entries[entry, 0] = order[m]
            entries[entry, 1] = slot
            slot += 1
            k += 1


# ---------------------------------------------------------------------------------------------- blending


@njit(**_COMPILE)
def _row_range(y, radius, rows):
    """Rows of a tile (y in the tile's frame) that the splat's box reaches."""
    first = math.ceil(min(max(y - radius - HALF, ZERO), f32(TILE)))
    last = math.floor(min(max(y + radius + HALF, ZERO), f32(rows)))
    return int(first), int(last)


@njit(**_COMPILE)
def _open_tile(rows, columns, transmittance, live):
    """Transmittance 1 everywhere, `live` 1 inside the image."""
    one, zero = broadcast(ONE), broadcast(ZERO)
    inside = select(less(pixel_centres(), broadcast(f32(columns))), one, zero)
    for r in range(TILE):
        store(transmittance, r * TILE, one)
        store(live, r * TILE, inside if r < rows else zero)


@njit(**_COMPILE)
def _blend_tile(tile, columns, width, height, splats, colors, background, offsets, entries, image, final, transmittance, live, total):
    channels, stride = colors.shape[1], columns * TILE
    left, top = (tile % columns) * TILE, (tile // columns) * TILE
    rows, wide = min(TILE, height - top), min(TILE, width - left)
    one, zero, lane = broadcast(ONE), broadcast(ZERO), pixel_centres()
    alpha_min, alpha_max, t_min = broadcast(ALPHA_MIN), broadcast(ALPHA_MAX), broadcast(TRANSMITTANCE_MIN)
    _open_tile(rows, wide, transmittance, live)
    for k in range(channels * TILE):
        store(total, k * TILE, zero)
    remaining = rows * wide
    for j in range(offsets[tile], offsets[tile + 1]):
        g = entries[j, 0]
        x, y = splats[g, X] - f32(left), splats[g, Y] - f32(top)
        dx = broadcast(x) - lane
        along_x = broadcast(HALF * splats[g, CONIC_XX]) * dx * dx
        cross = broadcast(splats[g, CONIC_XY]) * dx
        half_yy, opacity, limit = HALF * splats[g, CONIC_YY], broadcast(splats[g, OPACITY]), broadcast(splats[g, LIMIT])
        first, last = _row_range(y, splats[g, RADIUS_Y], rows)
        for r in range(first, last):
            dy = y - (f32(r) + HALF)
            exponent = multiply_add(broadcast(dy), cross + broadcast(half_yy * dy), along_x)
            alive = greater(load(live, r * TILE), zero)
            if not any_lane(both(at_most(exponent, limit), alive)):
                continue
            alpha = minimum(alpha_max, opacity * exp_negative(exponent))
            drawn = both(both(at_least(exponent, zero), at_least(alpha, alpha_min)), alive)
            alpha = select(drawn, alpha, zero)
            before = load(transmittance, r * TILE)
            after, weight = before * (one - alpha), alpha * before
            ended = both(drawn, at_most(after, t_min))
            if any_lane(ended):
                weight, after = select(ended, zero, weight), select(ended, before, after)
                store(live, r * TILE, select(without(alive, ended), one, zero))
                remaining -= count_lanes(ended)
            store(transmittance, r * TILE, after)
            for k in range(channels):
                at = (r * channels + k) * TILE
                store(total, at, multiply_add(broadcast(colors[g, k]), weight, load(total, at)))
        if remaining == 0:
            break
    for r in range(rows):
        rest = load(transmittance, r * TILE)
        store(final, (top + r) * stride + left, rest)
        for k in range(channels):
            value = multiply_add(rest, broadcast(background[k]), load(total, (r * channels + k) * TILE))
            store(image, (k * height + top + r) * stride + left, value)


@njit(**_COMPILE)
def blend_forward(worker, workers, width, height, splats, colors, background, offsets, entries, image, final):
    """Blend every `workers`-th tile: image flat [C, H, stride], final transmittance flat [H, stride], stride = 16 tiles."""
    columns, channels = (width + TILE - 1) // TILE, colors.shape[1]
    transmittance, live, total = _aligned(TILE * TILE), _aligned(TILE * TILE), _aligned(channels * TILE * TILE)
    for tile in range(worker, len(offsets) - 1, workers):
        _blend_tile(
            tile, columns, width, height, splats, colors, background, offsets, entries, image, final, transmittance, live, total
        )  # fmt: skip


@njit(**_COMPILE)
def _blend_tile_backward(
    tile, columns, width, height, splats, colors, offsets, entries, image, final, g_image, g_alpha, gradients, used,
    transmittance, live, behind, g_pixels, g_color,
):  # fmt: skip
    """Front to back like the forward pass; `behind` holds the gradient-weighted colour of all that is still behind."""
    channels, stride = colors.shape[1], columns * TILE
    left, top = (tile % columns) * TILE, (tile // columns) * TILE
    rows, wide = min(TILE, height - top), min(TILE, width - left)
    one, zero, lane = broadcast(ONE), broadcast(ZERO), pixel_centres()
    alpha_min, alpha_max, t_min = broadcast(ALPHA_MIN), broadcast(ALPHA_MAX), broadcast(TRANSMITTANCE_MIN)
    _open_tile(rows, wide, transmittance, live)
    for r in range(rows):
        at = (top + r) * stride + left
        rest = zero - load(final, at) * load(g_alpha, at)
        for k in range(channels):
            plane = (k * height + top + r) * stride + left
            gradient = load(g_image, plane)
            store(g_pixels, (r * channels + k) * TILE, gradient)
            rest = multiply_add(gradient, load(image, plane), rest)
        store(behind, r * TILE, rest)
    remaining = rows * wide
    for j in range(offsets[tile], offsets[tile + 1]):
        g, slot = entries[j, 0], entries[j, 1]
        x, y = splats[g, X] - f32(left), splats[g, Y] - f32(top)
        a, b, c = splats[g, CONIC_XX], splats[g, CONIC_XY], splats[g, CONIC_YY]
        dx = broadcast(x) - lane
        along_x, cross = broadcast(HALF * a) * dx * dx, broadcast(b) * dx
        half_yy, opacity, limit = HALF * c, broadcast(splats[g, OPACITY]), broadcast(splats[g, LIMIT])
        first, last = _row_range(y, splats[g, RADIUS_Y], rows)
        sum0, sum_y, sum_yy, hit = zero, zero, zero, False
        for r in range(first, last):
            dy = y - (f32(r) + HALF)
            exponent = multiply_add(broadcast(dy), cross + broadcast(half_yy * dy), along_x)
            alive = greater(load(live, r * TILE), zero)
            if not any_lane(both(at_most(exponent, limit), alive)):
                continue
            raw = opacity * exp_negative(exponent)
            alpha = minimum(alpha_max, raw)
            drawn = both(both(at_least(exponent, zero), at_least(alpha, alpha_min)), alive)
            alpha = select(drawn, alpha, zero)
            before = load(transmittance, r * TILE)
            through = one - alpha
            after, weight = before * through, alpha * before
            ended = both(drawn, at_most(after, t_min))
            if any_lane(ended):
                weight, after = select(ended, zero, weight), select(ended, before, after)
                store(live, r * TILE, select(without(alive, ended), one, zero))
                remaining -= count_lanes(ended)
                drawn = without(drawn, ended)
            store(transmittance, r * TILE, after)
            if not hit:
                hit = True
                for k in range(channels):
                    store(g_color, k * TILE, zero)
            own = zero
            for k in range(channels):
                gradient = load(g_pixels, (r * channels + k) * TILE)
                own = multiply_add(broadcast(colors[g, k]), gradient, own)
                store(g_color, k * TILE, multiply_add(weight, gradient, load(g_color, k * TILE)))
            rest = load(behind, r * TILE) - weight * own
            store(behind, r * TILE, rest)
            g_alpha_splat = before * own - rest / through
            # The clamp at 0.999 stops the gradient of the shape, not of what lies behind.
            g_exponent = select(both(drawn, at_most(raw, alpha_max)), zero - raw * g_alpha_splat, zero)
            vertical = broadcast(dy)
            sum0 = sum0 + g_exponent
            first_moment = g_exponent * vertical
            sum_y = sum_y + first_moment
            sum_yy = multiply_add(first_moment, vertical, sum_yy)
        if hit:
            used[slot] = 1
            moment_x, moment_y = sum_lanes(sum0 * dx), sum_lanes(sum_y)
            gradients[slot, 0] = a * moment_x + b * moment_y
            gradients[slot, 1] = b * moment_x + c * moment_y
            gradients[slot, 2] = HALF * sum_lanes(sum0 * dx * dx)
            gradients[slot, 3] = sum_lanes(sum_y * dx)
            gradients[slot, 4] = HALF * sum_lanes(sum_yy)
            gradients[slot, 5] = -sum_lanes(sum0) / splats[g, OPACITY]
            for k in range(channels):
                gradients[slot, CHANNELS_BEFORE_COLOR + k] = sum_lanes(load(g_color, k * TILE))
        if remaining == 0:
            break


@njit(**_COMPILE)
def blend_backward(worker, workers, width, height, splats, colors, offsets, entries, image, final, g_image, g_alpha, gradients, used):
    """Gradients of every `workers`-th tile, one row of `gradients` [hits, 6 + C] a (splat, tile) pair; no atomics."""
    columns, channels = (width + TILE - 1) // TILE, colors.shape[1]
    transmittance, live, behind = _aligned(TILE * TILE), _aligned(TILE * TILE), _aligned(TILE * TILE)
    g_pixels, g_color = _aligned(channels * TILE * TILE), _aligned(channels * TILE)
    for tile in range(worker, len(offsets) - 1, workers):
        if offsets[tile] < offsets[tile + 1]:
            _blend_tile_backward(
                tile, columns, width, height, splats, colors, offsets, entries, image, final, g_image, g_alpha, gradients, used,
                transmittance, live, behind, g_pixels, g_color,
            )  # fmt: skip


@njit(**_COMPILE)
def reduce_gradients(start, stop, order, slots, gradients, used, total):
    """Sum each splat's slots in a fixed order into total [N, 6 + C] (zeros on entry)."""
    for m in range(start, stop):
        g = order[m]
        for slot in range(slots[m], slots[m + 1]):
            if used[slot]:
                for k in range(total.shape[1]):
                    total[g, k] += gradients[slot, k]


# ---------------------------------------------------------------------------------------------- colours as a linear map


@njit(**_COMPILE)
def _trace_tile(tile, columns, width, height, splats, offsets, entries, starts, weights, rows_of, final, filling, transmittance, live):
    """Blending weights of one tile without colours: counted (starts[j + 1] = rows of entry j) or, when filling, stored."""
    stride = columns * TILE
    left, top = (tile % columns) * TILE, (tile // columns) * TILE
    rows, wide = min(TILE, height - top), min(TILE, width - left)
    one, zero, lane = broadcast(ONE), broadcast(ZERO), pixel_centres()
    alpha_min, alpha_max, t_min = broadcast(ALPHA_MIN), broadcast(ALPHA_MAX), broadcast(TRANSMITTANCE_MIN)
    _open_tile(rows, wide, transmittance, live)
    remaining = rows * wide
    for j in range(offsets[tile], offsets[tile + 1]):
        g = entries[j, 0]
        x, y = splats[g, X] - f32(left), splats[g, Y] - f32(top)
        dx = broadcast(x) - lane
        along_x = broadcast(HALF * splats[g, CONIC_XX]) * dx * dx
        cross = broadcast(splats[g, CONIC_XY]) * dx
        half_yy, opacity, limit = HALF * splats[g, CONIC_YY], broadcast(splats[g, OPACITY]), broadcast(splats[g, LIMIT])
        first, last = _row_range(y, splats[g, RADIUS_Y], rows)
        found = 0
        for r in range(first, last):
            dy = y - (f32(r) + HALF)
            exponent = multiply_add(broadcast(dy), cross + broadcast(half_yy * dy), along_x)
            alive = greater(load(live, r * TILE), zero)
            if not any_lane(both(at_most(exponent, limit), alive)):
                continue
            alpha = minimum(alpha_max, opacity * exp_negative(exponent))
            drawn = both(both(at_least(exponent, zero), at_least(alpha, alpha_min)), alive)
            alpha = select(drawn, alpha, zero)
            before = load(transmittance, r * TILE)
            after, weight = before * (one - alpha), alpha * before
            ended = both(drawn, at_most(after, t_min))
            if any_lane(ended):
                weight, after = select(ended, zero, weight), select(ended, before, after)
                store(live, r * TILE, select(without(alive, ended), one, zero))
                remaining -= count_lanes(ended)
            store(transmittance, r * TILE, after)
            if any_lane(greater(weight, zero)):
                if filling:
                    store(weights, (starts[j] + found) * TILE, weight)
                    rows_of[starts[j] + found] = r
                found += 1
        if not filling:
            starts[j + 1] = found
        if remaining == 0:
            break
    if filling:
        for r in range(rows):
            store(final, (top + r) * stride + left, load(transmittance, r * TILE))


@njit(**_COMPILE)
def trace_weights(worker, workers, width, height, splats, offsets, entries, starts, weights, rows_of, final, filling):
    """Count, then store, the rows of 16 blending weights of every entry (`starts` zeroed before counting)."""
    columns = (width + TILE - 1) // TILE
    transmittance, live = _aligned(TILE * TILE), _aligned(TILE * TILE)
    for tile in range(worker, len(offsets) - 1, workers):
        _trace_tile(
            tile, columns, width, height, splats, offsets, entries, starts, weights, rows_of, final, filling, transmittance, live
        )  # fmt: skip


@njit(**_COMPILE)
def apply_weights(worker, workers, width, height, colors, offsets, entries, starts, weights, rows_of, image):
    """image flat [C, H, stride] = weights x colors [N, C]."""
    columns, channels = (width + TILE - 1) // TILE, colors.shape[1]
    stride, zero = columns * TILE, broadcast(ZERO)
    total = _aligned(channels * TILE * TILE)
    for tile in range(worker, len(offsets) - 1, workers):
        left, top = (tile % columns) * TILE, (tile // columns) * TILE
        rows = min(TILE, height - top)
        for k in range(channels * TILE):
            store(total, k * TILE, zero)
        for j in range(offsets[tile], offsets[tile + 1]):
            g = entries[j, 0]
            for row in range(starts[j], starts[j + 1]):
                weight, r = load(weights, row * TILE), np.int64(rows_of[row])
                for k in range(channels):
                    at = (r * channels + k) * TILE
                    store(total, at, multiply_add(broadcast(colors[g, k]), weight, load(total, at)))
        for r in range(rows):
            for k in range(channels):
                store(image, (k * height + top + r) * stride + left, load(total, (r * channels + k) * TILE))


@njit(**_COMPILE)
def transpose_weights(worker, workers, width, height, squared, image, offsets, entries, starts, weights, rows_of, gradients, used):
    """gradients [hits, C] = each entry's sum of weights (or squared weights) x image flat [C, H, stride]."""
    columns, channels = (width + TILE - 1) // TILE, gradients.shape[1]
    stride, zero = columns * TILE, broadcast(ZERO)
    pixels, own = _aligned(channels * TILE * TILE), _aligned(channels * TILE)
    for tile in range(worker, len(offsets) - 1, workers):
        left, top = (tile % columns) * TILE, (tile // columns) * TILE
        for r in range(min(TILE, height - top)):
            for k in range(channels):
                store(pixels, (r * channels + k) * TILE, load(image, (k * height + top + r) * stride + left))
        for j in range(offsets[tile], offsets[tile + 1]):
            if starts[j] == starts[j + 1]:
                continue
            for k in range(channels):
                store(own, k * TILE, zero)
            for row in range(starts[j], starts[j + 1]):
                weight, r = load(weights, row * TILE), np.int64(rows_of[row])
                if squared:
                    weight = weight * weight
                for k in range(channels):
                    store(own, k * TILE, multiply_add(weight, load(pixels, (r * channels + k) * TILE), load(own, k * TILE)))
            slot = entries[j, 1]
            used[slot] = 1
            for k in range(channels):
                gradients[slot, k] = sum_lanes(load(own, k * TILE))
