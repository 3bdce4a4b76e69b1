"""One drawn circuit: the same for every backend, within the write tolerance, in named streams."""

from __future__ import annotations

import numpy as np
import pytest

from amcsim.access import on_resistance
from amcsim.mapping import to_conductances
from amcsim.realisation import linear_matrix, realise
from amcsim.specs import SpecError, preset
from amcsim.streams import Key

PKU = preset("pku_350nm")
A = np.array([[1.0, -0.4], [0.2, 0.8]])


def test_an_ideal_write_is_the_target() -> None:
    r = realise(A, preset("ideal"), Key(0))
    for got, wanted in zip((r.g_pos, r.g_neg), to_conductances(A, preset("ideal").cell), strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal([r.offset, r.inverter_offset], 0.0)
    np.testing.assert_array_equal(r.inverter_ratio, 1.0)
    np.testing.assert_allclose(linear_matrix(r, preset("ideal")), A, rtol=0, atol=1e-15)


def test_uniform_errors_fill_their_interval_and_no_more() -> None:
    a = np.broadcast_to(A, (5000, 2, 2))
    error = realise(a, PKU, Key(1)).g_pos - to_conductances(a, PKU.cell)[0]
    assert np.abs(error).max() <= 10e-6 * (1 + 1e-12)
    assert error.std() == pytest.approx(10e-6 / np.sqrt(3), rel=0.02)  # 20,000 draws: 0.3 % standard error
    assert abs(error.mean()) < 0.2e-6


def test_gaussian_errors_have_their_deviation() -> None:
    a = np.broadcast_to(A, (5000, 2, 2))
    spec = PKU.replace(programming={"model": "gaussian", "tolerance": 3e-6})
    error = realise(a, spec, Key(1)).g_neg - to_conductances(a, spec.cell)[1]
    assert error.std() == pytest.approx(3e-6, rel=0.02)


def test_conductances_stay_positive_under_any_error() -> None:
    spec = PKU.replace(programming={"model": "gaussian", "tolerance": 1e-3})
    r = realise(np.broadcast_to(A, (100, 2, 2)), spec, Key(2))
    assert min(r.g_pos.min(), r.g_neg.min()) == pytest.approx(0.1 * spec.cell.g_min)


def test_offsets_and_mismatches_have_their_deviation_and_are_independent() -> None:
    spec = PKU.replace(inverter={"mismatch_sigma": 0.01})
    r = realise(np.broadcast_to(A, (5000, 2, 2)), spec, Key(3))
    assert r.offset.std() == pytest.approx(0.8e-3, rel=0.03)
    assert r.inverter_offset.std() == pytest.approx(0.8e-3, rel=0.03)
    assert r.inverter_ratio.std() == pytest.approx(0.01, rel=0.03)
    together = np.corrcoef([part.ravel() for part in (r.offset, r.inverter_offset, r.inverter_ratio)])
    assert np.abs(together - np.eye(3)).max() < 0.05  # 10,000 draws: 0.01 standard error


def test_the_key_names_the_circuit() -> None:
    one, again, other = realise(A, PKU, Key(4)), realise(A, PKU, Key(4)), realise(A, PKU, Key(4).child(1))
    np.testing.assert_array_equal(one.g_pos, again.g_pos)
    np.testing.assert_array_equal(one.offset, again.offset)
    assert (one.g_pos != other.g_pos).all()


def test_a_part_of_the_spec_that_changes_leaves_the_other_draws_alone() -> None:
    plain, mismatched = realise(A, PKU, Key(5)), realise(A, PKU.replace(inverter={"mismatch_sigma": 0.1}), Key(5))
    np.testing.assert_array_equal(plain.g_neg, mismatched.g_neg)
    np.testing.assert_array_equal(plain.inverter_offset, mismatched.inverter_offset)


def test_a_member_of_a_batch_is_a_circuit() -> None:
    batch = realise(np.broadcast_to(A, (3, 4, 2, 2)), PKU, Key(6))
    one = batch[1, 2]
    assert one.g_pos.shape == (2, 2)
    assert one.offset.shape == one.inverter_ratio.shape == (2,)
    np.testing.assert_array_equal(one.g_neg, batch.g_neg[1, 2])


def test_a_verified_cell_has_its_access_device_inside() -> None:
    spec = PKU.replace(programming={"model": "ideal", "verify": "cell"})
    r = realise(A, spec, Key(7))
    whole = 1.0 / (1.0 / r.g_pos + on_resistance(spec.cell))
    np.testing.assert_allclose(whole, to_conductances(A, spec.cell)[0], rtol=1e-12)
    narrow = spec.replace(cell={"w": 1e-6, "g_max": 600e-6})  # 2 kohm in series: no cell of 600 uS
    with pytest.raises(SpecError, match=r"programming\.verify = \"cell\": a cell of 0\.0006 S .*allowed up to"):
        realise(A, narrow, Key(7))


WRITTEN = PKU.replace(programming={"model": "write_verify", "tolerance": 2e-6})


def test_write_verify_errors_stay_within_the_tolerance_and_are_not_uniform() -> None:
    a = np.broadcast_to(A, (2000, 2, 2))
    r = realise(a, WRITTEN, Key(1))
    error = r.g_pos - to_conductances(a, WRITTEN.cell)[0]
    assert np.abs(error).max() <= 2e-6
    # Pulses that come to rest in the window leave no uniform law (that would be 1.15 uS).
    assert 0.5e-6 < error.std() < 1.4e-6
    np.testing.assert_array_equal(r.g_pos, realise(a, WRITTEN, Key(1)).g_pos)


def test_write_verify_on_the_cell_has_its_access_device_inside() -> None:
    spec = WRITTEN.replace(programming={"verify": "cell", "tolerance": 10e-6})
    r = realise(A, spec, Key(7))
    whole = 1.0 / (1.0 / r.g_neg + on_resistance(spec.cell))
    assert np.abs(whole - to_conductances(A, spec.cell)[1]).max() <= 10e-6


@pytest.mark.parametrize(
    ("section", "fields", "said"),
    [
        ("programming", {"tolerance": 5e-6}, r"programming\.tolerance = 5e-06 S: the fit .* covers 1e-05, 2e-06 S"),
        ("programming", {"tolerance": 0.0}, r"programming\.tolerance = 0 S"),
        ("cell", {"g_max": 300e-6}, r"cell\.g_max = 0\.0003 S: the fit .* covers 2e-05 to 0\.00022 S"),
        ("cell", {"w": 10e-6}, r"cell\.w = 1e-05: the fit .* was run with 2e-05 only"),
    ],
)
def test_what_the_fit_does_not_cover_is_refused(section: str, fields: dict[str, float], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        realise(A, WRITTEN.replace(**{section: fields}), Key(0))


def test_a_device_may_stand_without_a_transistor_but_a_cell_may_not() -> None:
    bare = WRITTEN.replace(cell={"access": "none"})
    assert np.isfinite(realise(A, bare, Key(0)).g_pos).all()
    with pytest.raises(SpecError, match=r'programming\.verify = "cell": with cell\.access = "none"'):
        realise(A, bare.replace(programming={"verify": "cell"}), Key(0))


def test_stuck_cells_read_the_ends_of_the_range_in_their_fractions() -> None:
    spec = preset("ideal").replace(programming={"stuck_on": 0.2, "stuck_off": 0.1})
    r = realise(np.full((100, 100), 0.5) * np.linspace(0.1, 1.0, 100), spec, Key(4))
    cells = np.stack([r.g_pos, r.g_neg])
    # 20,000 cells: three standard deviations of a fraction of 0.2 are 0.0085
    assert np.mean(cells == spec.cell.g_max) == pytest.approx(0.2, abs=0.013)
    assert np.mean(r.g_pos == spec.cell.g_min) == pytest.approx(0.1, abs=0.013)


def test_states_are_evenly_spaced_and_the_nearest_is_written() -> None:
    spec = preset("ideal").replace(programming={"states": 8})
    a = np.linspace(-1.0, 1.0, 401).reshape(1, 1, 401)
    r = realise(a, spec, Key(0))
    states = np.linspace(spec.cell.g_min, spec.cell.g_max, 8)
    for got, wanted in zip((r.g_pos, r.g_neg), to_conductances(a, spec.cell), strict=True):
        assert {int(np.abs(states - g).argmin()) for g in got.ravel()} == set(range(8))
        np.testing.assert_allclose(np.abs(states[:, None] - got.ravel()).min(axis=0), 0.0, atol=1e-18)
        assert np.abs(got - wanted).max() <= (states[1] - states[0]) / 2 * (1 + 1e-12)
