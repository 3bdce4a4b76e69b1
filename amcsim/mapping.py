"""A <-> G: a matrix as two conductance arrays, and vectors as voltages.

G+_ij = g_min + (g_max - g_min) max(A_ij, 0) / a_max and G-_ij likewise with max(-A_ij, 0), a_max = max |A|. Both arrays
always exist; the floor g_min cancels in the difference but still loads the summing node. The circuit therefore solves
(A / a_max) x_c = b_c; with b_c = s b the caller's x is x_c / (s a_max).
"""

from __future__ import annotations

import numpy as np

from amcsim._compile import compiled
from amcsim._types import F64
from amcsim.columns import flattened, ranged
from amcsim.small_matrices import inverses
from amcsim.specs import CellSpec, Spec

__all__ = [
    "HEADROOM",
    "check_matrix",
    "converter",
    "inverse_for_ranging",
    "largest",
    "matrix_scale",
    "product_scale",
    "quantise",
    "ranging_limits",
    "targets",
    "to_conductances",
    "to_voltages",
    "voltage_scale",
]

HEADROOM = 0.8
"""Fraction of the voltage range that the predicted answer may fill; the rest is left to the circuit's error."""


def check_matrix(a: F64, *, square: bool = True, what: str = "matrix") -> F64:
    """`a` as float64 (*batch, m, n), or ValueError with one sentence: shape, kind and finiteness are checked."""
    array = np.asarray(a)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{what} holds {array.dtype}, not real numbers")
    array = array.astype(np.float64, copy=False)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{what} has shape {array.shape}; it must be two-dimensional and not empty")
    if square and array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{what} has shape {array.shape}; INV needs a square one")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} holds NaN or infinite entries")
    return array


def matrix_scale(a: F64) -> F64:
    """a_max = max |A| of each matrix, (*batch,); 1 for a zero matrix."""
    scale = np.empty(a.shape[:-2])
    _scales(_rows(a), scale.reshape(-1))
    return scale


def targets(a: F64, cell: CellSpec) -> F64:
    """Target conductances of the cells, G+ and then G-, (*batch, 2, m, n), S."""
    found = np.empty((*a.shape[:-2], 2, *a.shape[-2:]))
    flat = _rows(a)
    scale = matrix_scale(flat[..., None])
    _conductances(flat, scale, cell.g_min, cell.g_max - cell.g_min, found.reshape(len(flat), 2, -1))
    return found


def to_conductances(a: F64, cell: CellSpec) -> tuple[F64, F64]:
    """Target conductances (G+, G-) of the cells, each (*batch, m, n), S."""
    both = targets(a, cell)
    return both[..., 0, :, :], both[..., 1, :, :]


def _rows(a: F64) -> F64:
    """The matrices of a, (*batch, m, n), as rows, (N, mn)."""
    return np.ascontiguousarray(a.reshape(-1, a.shape[-2] * a.shape[-1]), dtype=np.float64)


@compiled
def _scales(a: F64, scale: F64) -> None:
    """`scale`, (N,), of rows a, (N, c)."""
    for q in range(len(a)):
        most = 0.0
        for z in range(a.shape[1]):
            most = max(most, abs(a[q, z]))
        scale[q] = most if most > 0.0 else 1.0


@compiled
def _conductances(a: F64, scale: F64, least: float, span: float, found: F64) -> None:
    """`found`, (N, 2, c), of rows a, (N, c), and their scales."""
    for q in range(len(a)):
        for z in range(a.shape[1]):
            part = a[q, z] / scale[q] * span
            found[q, 0, z], found[q, 1, z] = least + max(part, 0.0), least + max(-part, 0.0)


def largest(v: F64) -> F64:
    """max |v| of each column, (*batch, n, k) -> (*batch, k)."""
    if v.ndim > 2:  # numpy is slow along short axes, fast across them
        v = np.ascontiguousarray(np.moveaxis(v, -2, 0))
    return np.asarray(np.maximum.reduce(np.abs(v), axis=0))


def inverse_for_ranging(a: F64) -> F64:
    """(A / a_max)^-1, (*batch, m, m), used to predict the range of an answer; zero for a singular matrix."""
    scaled = a / matrix_scale(a)[..., None, None]
    inverse = inverses(scaled.reshape(-1, *scaled.shape[-2:])).reshape(scaled.shape)
    known = np.isfinite(inverse)
    return inverse if known.all() else np.where(known, inverse, 0.0)


def converter(bits: int | None, full_scale: float) -> tuple[float, float, float]:
    """Step (V), lowest and highest word of a mid-tread converter of +-full_scale, V; None is ideal, a step of 0."""
    if bits is None:
        return 0.0, 0.0, 0.0
    top = 2.0 ** (bits - 1)
    return full_scale / top, -top, max(top - 1.0, 1.0)


def quantise(v: F64, bits: int | None, full_scale: float) -> F64:
    """Mid-tread converter of +-full_scale, V; None is ideal."""
    step, low, high = converter(bits, full_scale)
    if step == 0.0:
        return v
    levels: F64 = np.minimum(np.maximum(np.rint(v / step), low), high) * step  # np.clip: twice as long
    return levels


def ranging_limits(spec: Spec, product: bool = False) -> F64:
    """What `to_voltages` keeps to: inputs and predicted outputs, V; 1 where the gain is the array's; the DAC's words.

    Inputs stay within cell.v_read_max and the DAC's full scale, outputs within HEADROOM of v_read_max and of the ADC's;
    those of a product are bound by swing and ADC alone.
    """
    limit, conv = spec.cell.v_read_max, spec.converters
    into = (1 - 1e-12) * min(limit, conv.dac_full_scale or limit)  # rounding must not pass a bound
    out = 0.9 * spec.opamp.swing if product else limit
    dac = converter(conv.dac_bits, conv.dac_full_scale or limit)
    return np.array([into, HEADROOM * min(out, conv.adc_full_scale or out), conv.ranging == "array", *dac])


def to_voltages(response: F64, factor: F64, v: F64, limits: F64) -> tuple[F64, F64]:
    """Input voltages (*batch, n, k) for v, ranged by a power of two and converted; volts at the outputs for one unit,
    (*batch, k), `factor` (*batch,) where that power is 1.

    response: outputs for one volt at the inputs, (*batch, m, n); limits: of `ranging_limits`. NaN where no power of two
    keeps both in range: below 1e-301, or where the prediction overflows.
    """
    columns = flattened(v)
    volts, unit = np.empty(columns.shape), np.empty((len(columns), v.shape[-1]))
    ranged(flattened(response), np.ascontiguousarray(factor).reshape(-1), columns, limits, volts, unit)
    return volts.reshape(v.shape), unit.reshape(v.shape[:-2] + v.shape[-1:])


def voltage_scale(inverse: F64, b: F64, spec: Spec) -> F64:
    """Volts for one unit of b, (*batch, k): the largest power of two that keeps inputs and predicted outputs in range.

    inverse: of `inverse_for_ranging`, (*batch, m, m); b: (*batch, m, k). It stands for a host that finds the exponent
    of its programmable-gain input by halving and doubling; those short probing solves are not counted.
    With converters.ranging = "array" the gain is set once a matrix: every b as large as this one must find room.
    NaN where there is none (`to_voltages`).
    """
    return to_voltages(inverse, np.ones(inverse.shape[:-2]), b, ranging_limits(spec))[1]


def product_scale(scaled: F64, v: F64, spec: Spec) -> F64:
    """Volts for one unit of v, (*batch, k), by the same rule for a product.

    scaled: A / a_max, (*batch, m, n); v: (*batch, n, k).
    """
    return to_voltages(scaled, np.ones(scaled.shape[:-2]), v, ranging_limits(spec, product=True))[1]
