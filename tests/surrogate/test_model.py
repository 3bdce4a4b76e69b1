"""Surrogate files, the domain, and the fit of the cell law."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amcsim.mapping import check_matrix
from amcsim.realisation import realise
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec, preset
from amcsim.streams import Key
from amcsim.surrogate.model import (
    CellLaw,
    DomainError,
    Surrogate,
    SurrogateFileError,
    fit_cell_law,
    load_surrogate,
    save_surrogate,
)
from amcsim.surrogate.shipped import shipped_surrogate

PKU = preset("pku_350nm")


@pytest.fixture
def shipped() -> Surrogate:
    return shipped_surrogate(PKU, (4, 4))


def test_a_file_holds_all_of_a_surrogate(tmp_path: Path, shipped: Surrogate) -> None:
    save_surrogate(shipped, tmp_path / "s.json")
    assert load_surrogate(tmp_path / "s.json") == shipped
    save_surrogate(load_surrogate(tmp_path / "s.json"), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "s.json").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.json", "s.json"]


def test_the_shipped_surrogate_says_how_far_to_trust_it(shipped: Surrogate) -> None:
    assert shipped.figures is not None
    assert shipped.figures.error_of_error_median <= 1e-3
    assert shipped.figures.error_of_error_p95 <= 5e-3
    assert shipped.figures.samples >= 200
    assert shipped.fast_verdict
    assert len(shipped.campaign_sha256) == 64


def _set(data: dict[str, Any], path: str, value: Any) -> str:
    *sections, key = path.split(".")
    place = data
    for section in sections:
        place = place[section]
    place[key] = value
    return json.dumps(data)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "truncated": (lambda d: json.dumps(d)[:-40], r"s\.json cannot be read: "),
    "not JSON": (lambda d: "surrogate", r"s\.json cannot be read: Expecting value"),
    "a list": (lambda d: "[1, 2]", "schema_version = None; this release reads schema_version = 1"),
    "older": (lambda d: _set(d, "schema_version", 0), "schema_version = 0; this release reads"),
    "newer": (lambda d: _set(d, "schema_version", 2), "schema_version = 2; this release reads"),
    "NaN": (lambda d: _set(d, "gain", float("nan")), r"gain = nan: input should be"),
    "infinite": (lambda d: _set(d, "cell.r0", float("inf")), r"cell\.r0 = inf: input should be a finite number"),
    "negative": (lambda d: _set(d, "cell.r0", -1.0), r"cell\.r0 = -1: input should be greater than or equal to 0"),
    "absurd": (lambda d: _set(d, "cell.r_even", 1e300), r"cell\.r_even = 1e\+300: input should be less than or equal"),
    "unknown key": (lambda d: _set(d, "cell.r_cubic", 1.0), r"cell\.r_cubic is not a known key"),
    "unknown circuit": (lambda d: _set(d, "circuit", "eigenvector"), "circuit = 'eigenvector': input should be"),
    "bad spec": (lambda d: _set(d, "spec.cell.g_max", 1e-9), r"spec\.cell: g_min = 2e-05 S must lie below g_max"),
    "text for a number": (lambda d: _set(d, "domain.g_min", "low"), r"domain\.g_min = 'low': input should be a valid"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, shipped: Surrogate, name: str) -> None:
    change, sentence = BROKEN[name]
    path = tmp_path / "s.json"
    path.write_text(change(json.loads(json.dumps(shipped.model_dump()))), encoding="utf-8")
    with pytest.raises(SurrogateFileError, match=sentence) as error:
        load_surrogate(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(SurrogateFileError, match=r"absent\.json does not exist"):
        load_surrogate(tmp_path / "absent.json")
    with pytest.raises(SurrogateFileError, match=r"cannot be read: .*directory"):
        load_surrogate(tmp_path)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SurrogateFileError, match="cannot be read: 'utf-8' codec"):
        load_surrogate(tmp_path / "binary.json")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"wire": {"bl_resistance": 5.0}}, r"holds for wire\.bl_resistance up to 4 ohm, the spec has 5; calibrate one"),
        ({"wire": {"summing_capacitance": 0.0}}, r"fitted with wire\.summing_capacitance = 2e-11, the spec has 0\.0"),
        ({"opamp": {"feedback_capacitance": 0.0}}, r"fitted with opamp\.feedback_capacitance"),
        ({"inverter": {"resistance": 10e3}}, r"fitted with inverter\.resistance = 1000\.0, the spec has 10000\.0"),
        ({"cell": {"access": "none"}}, r"fitted with cell\.access = nmos_350n, the spec has none"),
        ({"programming": {"tolerance": 40e-6}}, r"realised conductances .* S leave the fitted range"),
    ],
)
def test_another_technology_lies_outside_the_domain(shipped: Surrogate, change: Any, sentence: str) -> None:
    with pytest.raises(DomainError, match=sentence):
        SurrogateSolver(shipped, PKU.replace(**change)).program(np.eye(4), Key(0))


@pytest.mark.parametrize(("largest", "m", "words"), [(None, 5, ""), (None, 3, ""), (20, 21, " and holds to 20")])
def test_another_size_lies_outside_the_domain(shipped: Surrogate, largest: int | None, m: int, words: str) -> None:
    domain = shipped.domain.model_copy(update={"largest_size": largest})
    narrow = shipped.model_copy(update={"domain": domain})
    with pytest.raises(DomainError, match=f"was fitted for sizes 4, 8, 16{words}, not {m}x{m}"):
        SurrogateSolver(narrow, PKU).program(np.eye(m), Key(0))


def test_wires_are_fitted_ones_unless_the_file_says_how_far_it_holds(shipped: Surrogate) -> None:
    domain = shipped.domain.model_copy(update={"wire_resistance": None})
    narrow = shipped.model_copy(update={"domain": domain})
    for change in ({"bl_resistance": 2.0}, {"layout": "separate"}):
        spec = PKU.replace(wire=change)
        assert SurrogateSolver(shipped, spec).program(np.eye(4), Key(0)).solve(np.ones((4, 1))).status.tolist() == [0]
        with pytest.raises(DomainError, match=r"was fitted with wire\."):
            SurrogateSolver(narrow, spec).program(np.eye(4), Key(0))


def test_what_a_surrogate_may_be_asked_for_besides_its_own_spec(shipped: Surrogate) -> None:
    """Programming, offsets, mismatch and converters are draws and digital parts, no technology."""
    spec = PKU.replace(
        programming={"model": "gaussian", "tolerance": 1e-6},
        opamp={"offset_sigma": 0.0},
        inverter={"mismatch_sigma": 0.02},
        converters={"dac_bits": 8, "read_window": 1e-5},
    )
    handle = SurrogateSolver(shipped, spec).program(np.eye(4), Key(0))
    assert handle.solve(np.ones((4, 1))).status.tolist() == [0]


def test_no_surrogate_is_shipped_for_a_technology_nobody_calibrated() -> None:
    with pytest.raises(DomainError, match="no shipped surrogate fits: "):
        shipped_surrogate(Spec(), (4, 4))


LAWS = st.tuples(st.floats(1.0, 2e3), st.floats(-50.0, 50.0), st.floats(0.0, 50.0))


@given(LAWS)
def test_the_cell_law_is_recovered_from_sweeps_of_itself(law: tuple[float, float, float]) -> None:
    """I solves v = I/g + I R_on(v - I/g): sweeps made from the law, by fixed-point iteration."""
    r0, even, odd = law
    g = np.repeat(np.geomspace(10e-6, 230e-6, 12), 20)
    v = np.tile(np.concatenate([-np.linspace(0.015, 0.3, 10), np.linspace(0.015, 0.3, 10)]), 12)
    current = v * g
    for _ in range(200):
        inner = v - current / g
        current = v / (1.0 / g + r0 + even * inner + odd * np.abs(inner))
    fitted, rms = fit_cell_law(g, v, current)
    assert fitted.r0 == pytest.approx(r0, rel=1e-6)
    assert fitted.r_even == pytest.approx(even, abs=1e-5 * r0 + 1e-5)
    assert fitted.r_odd == pytest.approx(odd, abs=1e-5 * r0 + 1e-5)
    assert rms < 1e-9


def test_a_cell_without_access_device_has_no_series_resistance() -> None:
    g, v = np.array([20e-6, 200e-6] * 3), np.array([0.1, 0.1, -0.2, -0.2, 0.3, 0.3])
    law, rms = fit_cell_law(g, v, g * v)
    assert law == CellLaw(r0=0.0)
    assert rms < 1e-15


@given(st.floats(1e-6, 1e-3), st.floats(0.0, 1e3))
def test_conductance_is_that_of_resistances_in_series(g: float, r0: float) -> None:
    assert float(CellLaw(r0=r0).conductance(np.array(g))) == pytest.approx(1.0 / (1.0 / g + r0), rel=1e-12)


def test_the_domain_covers_what_programming_may_write(shipped: Surrogate) -> None:
    """Else a draw would now and then be refused: 20 uS - 10 uS to 220 uS + 10 uS."""
    a = check_matrix(Key(0).generator().standard_normal((2000, 4, 4)))
    r = realise(a, PKU, Key(1))
    low = min(r.g_pos.min(), r.g_neg.min())
    high = max(r.g_pos.max(), r.g_neg.max())
    assert shipped.domain.g_min < low < 11e-6
    assert 229e-6 < high < shipped.domain.g_max


def test_a_narrower_read_range_lies_inside_a_wider_one_outside(shipped: Surrogate) -> None:
    b = np.full((4, 1), 0.5)
    wide = SurrogateSolver(shipped, PKU).program(np.eye(4), Key(0)).solve(b)
    half = SurrogateSolver(shipped, PKU.replace(cell={"v_read_max": 0.15})).program(np.eye(4), Key(0)).solve(b)
    np.testing.assert_allclose(half.x, wide.x, rtol=0.1)  # offsets weigh twice as much
    assert not np.array_equal(half.x, wide.x)
    with pytest.raises(DomainError, match=r"fitted with cell\.v_read_max = 0\.3, the spec has 0\.31"):
        SurrogateSolver(shipped, PKU.replace(cell={"v_read_max": 0.31})).program(np.eye(4), Key(0))
