"""A <-> G: a matrix as two conductance arrays, and vectors as voltages.

G+_ij = g_min + (g_max - g_min) max(A_ij, 0) / a_max and G-_ij likewise with max(-A_ij, 0), a_max = max |A|. Both arrays
always exist; the floor g_min cancels in the difference but still loads the summing node. The circuit therefore solves
(A / a_max) x_c = b_c; with b_c = s b the caller's x is x_c / (s a_max).
"""

from __future__ import annotations

import numpy as np

from amcsim._types import F64
from amcsim.small_matrices import inverses
from amcsim.specs import CellSpec, Spec

__all__ = [
    "HEADROOM",
    "check_matrix",
    "inverse_for_ranging",
    "largest",
    "matrix_scale",
    "product_scale",
    "quantise",
    "to_conductances",
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
    flat = a.reshape(*a.shape[:-2], -1)
    scale: F64 = largest(flat[..., None])[..., 0]
    return np.where(scale > 0, scale, 1.0)


def to_conductances(a: F64, cell: CellSpec) -> tuple[F64, F64]:
    """Target conductances (G+, G-) of the cells, each (*batch, m, n), S."""
    scaled = a / matrix_scale(a)[..., None, None] * (cell.g_max - cell.g_min)
    return cell.g_min + np.maximum(scaled, 0.0), cell.g_min + np.maximum(-scaled, 0.0)


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


def quantise(v: F64, bits: int | None, full_scale: float) -> F64:
    """Mid-tread converter of +-full_scale, V; None is ideal."""
    if bits is None:
        return v
    step = 2.0 * full_scale / 2**bits
    top = 2 ** (bits - 1)
    levels: F64 = np.minimum(np.maximum(np.rint(v / step), -top), max(top - 1, 1)) * step  # np.clip: twice as long
    return levels


def voltage_scale(inverse: F64, b: F64, spec: Spec) -> F64:
    """Volts for one unit of b, (*batch, k): the largest power of two that keeps inputs and predicted outputs in range.

    inverse: of `inverse_for_ranging`, (*batch, m, m); b: (*batch, m, k). It stands for a host that finds the exponent
    of its programmable-gain input by halving and doubling; those short probing solves are not counted.
    Inputs stay within cell.v_read_max and the DAC's full scale, outputs within HEADROOM of v_read_max and of the ADC's.
    With converters.ranging = "array" the gain is set once a matrix: every b as large as this one must find room.
    NaN where no such power of two exists: below 1e-301, or where the prediction overflows.
    """
    limit = spec.cell.v_read_max
    return _power_of_two(inverse, b, min(limit, spec.converters.adc_full_scale or limit), spec)


def product_scale(scaled: F64, v: F64, spec: Spec) -> F64:
    """Volts for one unit of v, (*batch, k), by the same rule for a product: outputs are bound by swing and ADC alone.

    scaled: A / a_max, (*batch, m, n); v: (*batch, n, k).
    """
    swing = 0.9 * spec.opamp.swing
    return _power_of_two(scaled, v, min(swing, spec.converters.adc_full_scale or swing), spec)


def _power_of_two(response: F64, b: F64, out: float, spec: Spec) -> F64:
    """`response`, (*batch, m, n), gives outputs from b, (*batch, n, k); `out` bounds them, V."""
    limit = spec.cell.v_read_max
    into = (1 - 1e-12) * min(limit, spec.converters.dac_full_scale or limit)  # rounding must not pass a bound
    top = largest(b)
    if spec.converters.ranging == "vector":
        predicted = largest(response @ b)
    else:
        predicted = np.abs(response).sum(axis=-1).max(axis=-1)[..., None] * top
    need = np.maximum(top / into, predicted / (HEADROOM * out))
    exponent = np.frexp(need)[1]  # 0 where there is nothing to scale
    if np.count_nonzero((exponent >= -1000) & (need < np.inf)) == need.size:
        return np.ldexp(1.0, -exponent)
    scale: F64 = np.ldexp(1.0, -np.maximum(exponent, -1000))
    # A column scaled by less than it needs would sink below the amplifiers' offsets and come back as their noise.
    return np.where((exponent >= -1000) & (need < np.inf), scale, np.nan)
