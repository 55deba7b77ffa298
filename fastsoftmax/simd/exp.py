"""exp, log1p and the row maximum in a form that LLVM vectorises.

A loop over them becomes whole-register code on any machine: no branch, no call into a scalar math library,
integer steps as bit operations of the width of the float.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.jit import inner

# Below LOWEST, e^x is smaller than the smallest normal number and is returned as 0; above HIGHEST it
# overflows.
LOWEST_FLOAT32 = np.float32(-87.336544)
HIGHEST_FLOAT32 = np.float32(88.722839)
LOWEST_FLOAT64 = np.float64(-708.39641853226408)
HIGHEST_FLOAT64 = np.float64(709.78271289338397)

# Adding 1.5 · 2^p (p bits of mantissa) rounds to the nearest integer and leaves it in the low bits.
MAGIC_FLOAT32 = np.float32(1.5 * 2**23)
MAGIC_FLOAT64 = np.float64(1.5 * 2**52)

# e^r = 1 + r + r² (c0 + c1 r + …): relative minimax fits on |r| ≤ ln 2 / 2 (Remez exchange in 50-digit
# arithmetic); they are off by 0.05 and 0.03 units in the last place.
EXP_FLOAT32 = tuple(
    np.float32(c)
    for c in (0.499999934321, 0.16666520399, 0.0416683907835, 0.00836874510894, 0.00138145401768)
)
EXP_FLOAT64 = tuple(
    np.float64(c)
    for c in (
        0.50000000000000106688,
        0.16666666666666411508,
        0.041666666666529728134,
        0.008333333333494977261,
        0.0013888888943759984011,
        0.00019841269505773806997,
        0.000024801492949617070769,
        2.7557586803847070697e-6,
        2.7630306255647857359e-7,
        2.5000018853083341953e-8,
    )
)


def emit_log1p(builder: Any, a: Any) -> Any:
    """Emit LLVM code for log(1 + a) of a vector of floats or doubles, for finite a ≥ 0, or NaN.

    1 + a = 2ᵉ m with m in [√½, √2), f = m − 1 and s = f / (2 + f): log m = f − f²/2 + s (f²/2 + R(s²)) [1]_,
    with minimax fits of R (errors of 0.014 ulp in float32, 0.011 in float64). The rounding error of 1 + a is
    corrected to first order.

    References
    ----------
    .. [1] P. T. P. Tang, "Table-driven implementation of the logarithm function in IEEE floating-point
       arithmetic", ACM TOMS 16 (1990); the form without a table is that of the C libraries.
    """
    kind = a.type
    single = kind.element == ir.FloatType()
    integer, mantissa = (ir.IntType(32), 23) if single else (ir.IntType(64), 52)
    bits = ir.VectorType(integer, kind.count)
    root_half = 0x3F3504F3 if single else 0x3FE6A09E667F3BCD

    def integers(number: int) -> Any:
        return ir.Constant(bits, [number] * kind.count)

    one, half = constant(kind, 1.0), constant(kind, 0.5)
    u = builder.fadd(one, a)
    lost = builder.fdiv(builder.fsub(a, builder.fsub(u, one)), u)
    pattern = builder.bitcast(u, bits)
    exponent = builder.ashr(builder.sub(pattern, integers(root_half)), integers(mantissa))
    m = builder.bitcast(builder.sub(pattern, builder.shl(exponent, integers(mantissa))), kind)
    e = builder.sitofp(exponent, kind)
    f = builder.fsub(m, one)
    s = builder.fdiv(f, builder.fadd(constant(kind, 2.0), f))
    z = builder.fmul(s, s)
    coefficients = LOG_FLOAT32 if single else LOG_FLOAT64
    r = constant(kind, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        product = builder.fmul(r, z, flags=("contract",))
        r = builder.fadd(product, constant(kind, coefficient), flags=("contract",))
    square = builder.fmul(half, builder.fmul(f, f))
    ln2 = (0.693359375, -2.12194440e-4) if single else (0.693145751953125, 1.42860682030941723212e-6)
    low = builder.fadd(builder.fmul(e, constant(kind, ln2[1])), lost)
    low_part = builder.fadd(builder.fmul(s, builder.fadd(square, builder.fmul(z, r))), low)
    near_log = builder.fsub(f, builder.fsub(square, low_part))
    value = builder.fadd(builder.fmul(e, constant(kind, ln2[0])), near_log)
    return builder.select(builder.fcmp_unordered("uno", a, a), a, value)


def emit_log1p_of_unit(builder: Any, a: Any) -> Any:
    """Emit LLVM code for log(1 + a) of a vector of floats or doubles, 0 ≤ a ≤ 1 or NaN, without a division.

    a + a² (u0 + u1 a + …), a minimax fit of the relative error: at most 1.7 ulp.
    """
    kind = a.type
    coefficients = LOG_UNIT_FLOAT32 if kind.element == ir.FloatType() else LOG_UNIT_FLOAT64
    p = constant(kind, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        product = builder.fmul(p, a, flags=("contract",))
        p = builder.fadd(product, constant(kind, coefficient), flags=("contract",))
    return builder.fadd(builder.fmul(p, builder.fmul(a, a), flags=("contract",)), a, flags=("contract",))


# R(z) = z (d0 + d1 z + …), fitted in the same way on s² ≤ (√2 − 1)² / (√2 + 1)².
LOG_FLOAT32 = (0.66666777053456682205, 0.39977449492730814904, 0.29874420130131357348)
LOG_FLOAT64 = (
    0.66666666666667353829,
    0.39999999999407482891,
    0.28571428744142190621,
    0.22222198378416587859,
    0.18183575167850167137,
    0.15313755713952777075,
    0.14799066454086649174,
)
# (log(1 + a) − a) / a² = u0 + u1 a + … on 0 ≤ a ≤ 1, fitted in the same way (0.55 and 0.52 ulp off).
LOG_UNIT_FLOAT32 = (
    -0.499996479975,
    0.33321323133,
    -0.248571671293,
    0.191536672564,
    -0.137538269199,
    0.0792048119743,
    -0.0300659559309,
    0.00536486399018,
)
LOG_UNIT_FLOAT64 = (
    -0.49999999999997002112,
    0.33333333332838265249,
    -0.24999999971097814852,
    0.1999999913517145626,
    -0.16666651022255094211,
    0.14285526309738660848,
    -0.12498406266573859656,
    0.11101171030766669993,
    -0.099529997142438710928,
    0.089185703932882418145,
    -0.078344625413331982648,
    0.065348817590092991881,
    -0.049590998619980286615,
    0.032606598067212492716,
    -0.017632473372652808206,
    0.0073971619086659827171,
    -0.0022309500733735740359,
    0.00042695666967096860865,
    -0.00003873847271503750318,
)


def constant(kind: Any, number: Any) -> Any:
    """Return a constant of an LLVM float type, or of a vector type with this number in every lane."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [constant(kind.element, number)] * kind.count)
    # llvmlite writes a float constant by its value, which must be representable in the type.
    return ir.Constant(kind, float(np.float32(number)) if kind == ir.FloatType() else float(number))


def emit_exp(builder: Any, x: Any, shift: Any = None, *, exact: bool = True) -> Any:
    """Emit LLVM code for e^x, or e^(x − shift), of a float, a double, or a vector of either.

    Accuracy and range are those of `exp`. With a `shift`, which must not be less than x, nothing can
    overflow. `exact` takes the exact difference: the rounding error of the subtraction (half an ulp of it,
    which for a difference of 30 is 16 ulp of the result) is carried along [1]_, and so is that of the last
    addition. Without it nine instructions of thirty are saved, and the error is that of plain code: 1.02 ulp
    plus |x − shift| eps / 2.

    References
    ----------
    .. [1] D. E. Knuth, "The Art of Computer Programming", vol. 2, 3rd ed., 1997, sec. 4.2.2, theorem B.
    """
    kind = x.type
    scalar = kind.element if isinstance(kind, ir.VectorType) else kind
    single = scalar == ir.FloatType()
    coefficients: tuple[Any, ...] = EXP_FLOAT32 if single else EXP_FLOAT64
    lowest, highest = (LOWEST_FLOAT32, HIGHEST_FLOAT32) if single else (LOWEST_FLOAT64, HIGHEST_FLOAT64)
    # ln 2 in two parts, the first short enough for its products with n to be exact.
    ln2 = (0.693359375, -2.12194440e-4) if single else (0.693145751953125, 1.42860682030941723212e-6)
    magic = constant(kind, MAGIC_FLOAT32 if single else MAGIC_FLOAT64)
    one = constant(kind, 1.0)

    def plus(a: Any, b: Any) -> Any:
        return builder.fadd(a, b, flags=("contract",))

    def times(a: Any, b: Any) -> Any:
        return builder.fmul(a, b, flags=("contract",))

    def minus(a: Any, b: Any) -> Any:
        return builder.fsub(a, b, flags=("contract",))

    lost = None
    if shift is not None:
        difference = builder.fsub(x, shift)
        if exact:
            # x + (−shift) is not positive, so the lesser of the two is the larger in magnitude.
            opposite = builder.fneg(shift)
            ordered = builder.fcmp_ordered("<", x, opposite)
            large = builder.select(ordered, x, opposite)
            small = builder.select(ordered, opposite, x)
            lost = builder.fsub(small, builder.fsub(difference, large))
        x = difference
    # Out of range the polynomial is meaningless, and the selects at the end discard it. Both comparisons are
    # false for NaN, which propagates.
    below = builder.fcmp_ordered("<", x, constant(kind, lowest))
    rounded = plus(times(x, constant(kind, 1.4426950408889634)), magic)
    n = minus(rounded, magic)
    r = minus(minus(x, times(n, constant(kind, ln2[0]))), times(n, constant(kind, ln2[1])))
    if lost is not None:
        r = builder.fadd(r, lost)
    p = constant(kind, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        p = plus(times(p, r), constant(kind, coefficient))
    if exact:
        # 1 + r rounds; its error is added back with the small terms: 0.80 ulp instead of 1.02.
        one_r = plus(one, r)
        p = plus(one_r, plus(times(times(p, r), r), minus(r, minus(one_r, one))))
    else:
        p = plus(plus(times(times(p, r), r), r), one)
    integer, mantissa = (ir.IntType(32), 23) if single else (ir.IntType(64), 52)
    bits, places = integer, ir.Constant(integer, mantissa)
    if isinstance(kind, ir.VectorType):
        bits = ir.VectorType(integer, kind.count)
        places = ir.Constant(bits, [places] * kind.count)
    # n sits in the low bits of `rounded`.
    exponent = builder.shl(builder.bitcast(rounded, bits), places)
    if shift is not None:  # p · 2ⁿ by a product, which keeps NaN; 2¹²⁸ could not be formed so
        power = builder.add(exponent, builder.bitcast(one, bits))
        return builder.select(below, constant(kind, 0.0), builder.fmul(p, builder.bitcast(power, kind)))
    value = builder.bitcast(builder.add(builder.bitcast(p, bits), exponent), kind)
    value = builder.select(below, constant(kind, 0.0), value)
    above = builder.fcmp_ordered(">", x, constant(kind, highest))
    value = builder.select(above, constant(kind, np.inf), value)
    return builder.select(builder.fcmp_unordered("uno", x, x), x, value)


@intrinsic
def _exp(typingctx, x):
    if x not in (types.float32, types.float64):
        return None
    return x(x), lambda context, builder, signature, arguments: emit_exp(builder, arguments[0])


@inner
def exp(x):
    """Return e^x, in a form that vectorises inside a loop.

    Parameters
    ----------
    x : float32 or float64 scalar

    Returns
    -------
    scalar of the same type
        Results below the smallest normal number are 0, so that a −∞ mask gives an exact 0; NaN stays NaN.

    Notes
    -----
    Cody–Waite reduction x = n ln 2 + r, a minimax polynomial for e^r, and n added to the exponent bits [1]_.
    At most 0.81 ulp off over the whole range (float32: every value checked). No table, no branch.

    References
    ----------
    .. [1] W. J. Cody, W. Waite, "Software Manual for the Elementary Functions", Prentice-Hall, 1980.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsoftmax.simd.exp import exp
    >>> float(exp(np.float64(1.0)))
    2.718281828459045
    """
    return _exp(x)


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def _exp(x):
        with np.errstate(over="ignore"):
            value = np.exp(x)
        return value if value >= np.finfo(x.dtype).tiny or np.isnan(value) else x.dtype.type(0)
