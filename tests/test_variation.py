"""What a read finds: each part has its law, its own stream, and the same draw for every backend and worker."""

from __future__ import annotations

import json

import numpy as np
import pytest

from amcsim.mapping import to_conductances
from amcsim.realisation import realise
from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.nodal import NodalSolver
from amcsim.specs import Spec, SpecError, VariationSpec, load_spec, preset
from amcsim.streams import Key
from amcsim.variation import reach, telegraph_amplitude
from amcsim.write_error import sigma_by_state

IDEAL = preset("ideal")
A = np.array([[1.0, -0.4], [0.2, 0.8]])
MANY = np.broadcast_to(A, (4000, 2, 2))


def relative(spec: Spec, a: np.ndarray = MANY, read: int = 0) -> np.ndarray:
    """What the read finds over what was written, both arrays."""
    r, written = realise(a, spec, Key(1), read), to_conductances(a, spec.cell)
    return np.stack([r.g_pos / written[0], r.g_neg / written[1]])


def test_the_default_changes_nothing() -> None:
    spec = preset("pku_350nm")
    assert spec.variation == VariationSpec()
    one, later = realise(A, spec, Key(3)), realise(A, spec.replace(variation={"age": 1e5}), Key(3), read=7)
    np.testing.assert_array_equal(one.g_pos, later.g_pos)


def test_drift_is_a_power_law_with_an_exponent_a_cell() -> None:
    """ln G falls by nu ln(age/onset), nu normal: 32,000 cells give its mean and deviation to 1 %."""
    spec = IDEAL.replace(variation={"age": 1e4, "onset": 1e-2, "drift": 0.01, "drift_sigma": 0.004})
    nu = -np.log(relative(spec)) / np.log(1e6)
    assert nu.mean() == pytest.approx(0.01, rel=0.01)
    assert nu.std() == pytest.approx(0.004, rel=0.02)
    twice = relative(spec.replace(variation={"age": 1e-2 * 1e6**0.5}))
    np.testing.assert_allclose(-np.log(twice) / np.log(1e3), nu, rtol=1e-9, atol=1e-12)  # the cell keeps its exponent
    np.testing.assert_array_equal(relative(spec, read=3), relative(spec))  # and drift is no noise of reads


def test_read_noise_is_new_at_each_read_and_larger_at_small_conductance() -> None:
    spec = IDEAL.replace(variation={"read_sigma": 0.01, "read_exponent": 0.5})
    first, second = (relative(spec, read=k) - 1.0 for k in (0, 1))
    at_most, at_least = first[0, :, 0, 0], first[1, :, 0, 0]  # 220 uS and 20 uS
    assert at_most.std() == pytest.approx(0.01, rel=0.04)  # 4,000 draws: 1.1 % standard error
    assert at_least.std() == pytest.approx(0.01 * np.sqrt(11), rel=0.04)
    assert abs(np.corrcoef(first[0].ravel(), second[0].ravel())[0, 1]) < 0.03


def test_telegraph_noise_has_two_levels_by_state() -> None:
    """A trap active in a share of the cells, filled half of the time on average; the same cells at every read."""
    spec = IDEAL.replace(variation={"telegraph_share": 0.4, "telegraph_largest": 0.2, "telegraph_half": 5e-6})
    reads = np.stack([relative(spec, read=k) for k in range(40)])
    for array, row, column in ((0, 0, 0), (1, 0, 0)):
        g = to_conductances(A, spec.cell)[array][row, column]
        levels = np.unique(np.round(reads[:, array, :, row, column], 12))
        np.testing.assert_allclose(levels, [1.0 - telegraph_amplitude(g, 0.2, 5e-6), 1.0], atol=1e-11)
    low = reads < 1.0
    assert low.mean() == pytest.approx(0.4 * 0.5, abs=0.01)
    # occupancy uniform in 0 to 1 and unseen in 1 of 41 active cells: 0.4 * 40/41 of all cells show their trap
    assert low.any(axis=0).mean() == pytest.approx(0.4 * 40 / 41, abs=0.012)


def test_one_part_leaves_the_draws_of_the_others_alone() -> None:
    drift = {"age": 1e3, "drift": 0.01, "drift_sigma": 0.01}
    spec = IDEAL.replace(variation={**drift, "telegraph_share": 0.5, "read_sigma": 0.01})
    only = IDEAL.replace(variation=drift), IDEAL.replace(variation={"telegraph_share": 0.5, "read_sigma": 0.01})
    np.testing.assert_allclose(relative(spec), relative(only[0]) * relative(only[1]), rtol=1e-12)


def test_errors_by_state_have_their_deviations() -> None:
    table = ((20e-6, 1e-6), (220e-6, 6e-6))
    spec = IDEAL.replace(programming={"model": "gaussian", "sigma_by_state": table})
    error = realise(MANY, spec, Key(2)).g_pos - to_conductances(MANY, spec.cell)[0]
    assert error[:, 0, 0].std() == pytest.approx(6e-6, rel=0.04)
    assert error[:, 0, 1].std() == pytest.approx(1e-6, rel=0.04)
    assert error[:, 1, 0].std() == pytest.approx(2e-6, rel=0.04)  # 60 uS: a fifth of the way


def test_the_table_of_write_verify_has_the_deviation_of_its_draws() -> None:
    written = preset("pku_350nm").replace(programming={"model": "write_verify", "tolerance": 10e-6})
    table = sigma_by_state(written.programming, written.cell)
    a = np.full((1, 1, 40000), (table[3][0] - 20e-6) / 200e-6)
    a[..., 0] = 1.0
    error = (realise(a, written, Key(0)).g_pos - to_conductances(a, written.cell)[0])[..., 1:]
    assert error.std() == pytest.approx(table[3][1], rel=0.02)  # 40,000 draws: 0.4 %
    gaussian = written.replace(programming={"model": "gaussian", "sigma_by_state": table})
    assert Spec.model_validate(json.loads(gaussian.model_dump_json())) == gaussian


@pytest.mark.parametrize(
    ("table", "model", "said"),
    [
        (((2e-5, 1e-6),), "uniform", 'goes with model = "gaussian"'),
        (((2e-4, 1e-6), (2e-5, 1e-6)), "gaussian", "targets must ascend"),
        (((2e-5, -1e-6),), "gaussian", "standard deviations must lie within"),
        ((), "gaussian", "at least 1 item"),
    ],
)
def test_bad_tables_are_refused(table: object, model: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        IDEAL.replace(programming={"model": model, "sigma_by_state": table})


def test_a_file_gives_every_part(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.toml"
    path.write_text(
        'base = "pku_350nm_varying"\n[programming]\nmodel = "gaussian"\n'
        "sigma_by_state = [[20e-6, 1e-6], [2e-4, 3e-6]]\n[variation]\nread_sigma = 0.004\n"
    )
    spec = load_spec(path)
    assert spec.programming.sigma_by_state == ((20e-6, 1e-6), (2e-4, 3e-6))
    assert (spec.variation.read_sigma, spec.variation.age) == (0.004, 1e4)
    with pytest.raises(SpecError, match=r"variation\.read_sigma = 2.*allowed 0 to 0\.5"):
        spec.replace(variation={"read_sigma": 2.0})


def test_every_draw_lies_within_reach() -> None:
    spec = preset("pku_350nm_varying")
    r = realise(MANY, spec, Key(4))
    low, high = reach((10e-6, 230e-6), spec)
    assert low <= min(r.g_pos.min(), r.g_neg.min()) <= max(r.g_pos.max(), r.g_neg.max()) <= high


def test_ngspice_and_nodal_read_the_same_circuit() -> None:
    """The whole change of the answer by variation is 1e-2; the backends differ by less than 1e-4 of the answer."""
    spec, b = preset("pku_350nm_varying").replace(opamp={"model": "linear"}), np.array([[0.3], [-0.1]])
    still = spec.replace(variation={"drift": 0.0, "drift_sigma": 0.0, "telegraph_share": 0.0, "read_sigma": 0.0})
    for read in (0, 1):
        spice, nodal = (
            solver(spec, read=read).program(A, Key(5)).solve(b).x for solver in (CircuitSolver, NodalSolver)
        )
        plain = NodalSolver(still).program(A, Key(5)).solve(b).x
        assert np.linalg.norm(spice - nodal) < 1e-4 * np.linalg.norm(nodal)
        assert np.linalg.norm(plain - nodal) > 1e-3 * np.linalg.norm(nodal)
