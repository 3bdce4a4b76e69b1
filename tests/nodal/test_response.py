"""Small-signal nodal response against closed forms and the model's own poles."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim._types import F64
from amcsim.nodal.build import build
from amcsim.nodal.response import SmallSignal
from amcsim.realisation import realise
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.topology.inv import INV
from amcsim.topology.mvm import MVM

A = np.array([[1.0, -0.3, 0.2], [-0.25, 0.9, 0.1], [0.15, 0.0, 0.8]])
PKU = preset("pku_350nm")


def at(frequencies: F64, spec: Spec = PKU) -> SmallSignal:
    return SmallSignal(build(INV, spec, realise(A, spec, Key(0))), frequencies)


def test_a_transimpedance_amplifier_has_its_textbook_bandwidth() -> None:
    """One row, ideal amplifier: y/v = -(g/g_u) / (1 + j f/f_c), f_c = gbw g_u/(g_u + G)."""
    spec = preset("ideal")
    r = realise(np.array([[1.0]]), spec, Key(0))
    total = float((r.g_pos + r.g_neg).sum())
    corner = spec.opamp.gbw * spec.g_unit / (spec.g_unit + total)
    f = corner * np.array([1e-3, 1.0, 10.0])
    found = SmallSignal(build(MVM, spec, r), f).transfer(np.ones((1, 1)))[:, 0, 0]
    np.testing.assert_allclose(found, -1.0 / (1.0 + 1j * f / corner), rtol=1e-12)


def test_at_low_frequency_the_transfer_is_the_linear_operating_point() -> None:
    small = at(np.array([1e-3]))
    b = np.array([[0.1], [-0.05], [0.02]])
    model = small.model
    change = model.operating_point(np.hstack([b, 0 * b])).u
    np.testing.assert_allclose(small.transfer(b)[0, :, 0].real, (change[:, 0] - change[:, 1])[: 2 * model.n], atol=1e-8)


def test_the_return_ratios_vanish_with_the_closed_loop_poles() -> None:
    """det(I + L(s)) = 0 at a pole: S has a resonance there, so near a pole p of little damping S ~ 1/(jw - p)."""
    spec = PKU.replace(inverter={"resistance": 40e3, "feedback_capacitance": 0.0})
    model = build(INV, spec, realise(A, spec, Key(0)))
    pole = min((p for p in model.poles if p.imag > 0), key=lambda p: abs(p.real / p.imag))
    f = abs(pole.imag) / (2 * np.pi) * np.linspace(0.5, 2.0, 3001)
    size = np.linalg.norm(SmallSignal(model, f).sensitivity(), ord=2, axis=(1, 2))
    peak = f[int(np.argmax(size))] * 2 * np.pi
    assert peak == pytest.approx(np.abs(pole.imag), rel=0.1)
    assert size.max() > 2.0


def test_passive_noise_of_a_circuit_in_parts_is_that_of_the_whole() -> None:
    """4 k T Y of all conductances together (Twiss) is split into resistors, inverters and array without rest."""
    small = at(np.array([1e4]))
    quiet = PKU.replace(opamp={"noise_density": 0.0})
    parts = SmallSignal(build(INV, quiet, small.model.realisation), small.frequencies).noise()
    assert set(parts) == {"resistors", "inverter resistors", "array", "amplifiers", "inverter amplifiers"}
    assert parts["amplifiers"].max() == 0.0
    assert min(p.min() for p in (parts["resistors"], parts["inverter resistors"], parts["array"])) > 0
    # input resistors by hand: each sends 4 k T g_u into its summing node, which the answer takes as g_u b
    model = small.model
    gains = small.transfer(np.eye(3))[0, :3]
    hand = 4 * 1.380649e-23 * 300.15 / model.spec.g_unit * (np.abs(gains) ** 2).sum(axis=1)
    np.testing.assert_allclose(parts["resistors"][0], hand, rtol=1e-9)
