from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amcsim.ngspice import NgspiceError
from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.exact import Exact

KEYS = ["x", "x_exact", "relative_error", "status", "reason", "disturbed", "backend", "elapsed_s"]
Amcsim = Callable[..., Any]


def files(folder: Path, a: np.ndarray, b: np.ndarray) -> list[str]:
    np.save(folder / "m.npy", a)
    np.save(folder / "r.npy", b)
    return ["--matrix", str(folder / "m.npy"), "--rhs", str(folder / "r.npy")]


def test_the_exact_backend_gives_the_exact_solution(amcsim: Amcsim, problem: list[str]) -> None:
    ended = amcsim("solve", "inv", *problem, "--backend", "exact", "--json")
    result = ended.json
    assert (ended.code, ended.err) == (0, "")
    assert list(result) == KEYS
    a, b = np.load(problem[1]), np.loadtxt(problem[3])
    assert a @ result["x"] == pytest.approx(b, abs=1e-14)
    assert (result["x"], result["relative_error"]) == (result["x_exact"], 0.0)
    assert (result["status"], result["reason"], result["backend"]) == ("ok", "", "exact")


def test_ngspice_and_nodal_solve_the_same_drawn_circuit(amcsim: Amcsim, problem: list[str]) -> None:
    """With the NMOS the nodal model's fixed on-resistance is 1e-3 off; another seed draws other write errors."""
    nodal, spice, other = (
        amcsim("solve", "inv", *problem, "--backend", backend, "--seed", seed, "--json").json
        for backend, seed in (("nodal", 3), ("ngspice", 3), ("nodal", 4))
    )
    exact = np.linalg.norm(nodal["x_exact"])
    assert np.linalg.norm(np.subtract(nodal["x"], spice["x"])) < 1e-3 * exact
    assert np.linalg.norm(np.subtract(nodal["x"], other["x"])) > 1e-2 * exact
    assert nodal["relative_error"] == pytest.approx(
        np.linalg.norm(np.subtract(nodal["x"], nodal["x_exact"])) / exact, rel=1e-12
    )


def test_the_ideal_preset_solves_to_rounding(amcsim: Amcsim, problem: list[str]) -> None:
    assert amcsim("solve", "inv", *problem, "--spec", "ideal", "--json").json["relative_error"] < 1e-9


def test_standard_input_takes_text_and_npy(amcsim: Amcsim, problem: list[str]) -> None:
    def solve(stdin: bytes) -> Any:
        return amcsim("solve", "inv", "--matrix", "-", *problem[2:], "--backend", "exact", "--json", stdin=stdin).json[
            "x"
        ]

    a = np.load(problem[1])
    text, binary = io.BytesIO(), io.BytesIO()
    np.savetxt(text, a, delimiter=",")
    np.save(binary, a)
    assert solve(text.getvalue()) == solve(binary.getvalue())


def test_columns_give_rows_of_x_the_gravest_status_and_each_status(amcsim: Amcsim, tmp_path: Path) -> None:
    b = np.array([[1.0, 2.0], [0.0, 0.0]])
    result = amcsim("solve", "inv", *files(tmp_path, np.diag([1.0, 2.0]), b), "--spec", "ideal", "--json").json
    assert np.shape(result["x"]) == (2, 2)
    assert result["x"][0] == pytest.approx([1.0, 2.0], rel=1e-9)
    assert (result["statuses"], result["reasons"]) == (["ok", "ok"], ["", ""])


def test_an_unstable_circuit_is_a_done_computation_without_an_answer(amcsim: Amcsim, tmp_path: Path) -> None:
    """One negative eigenvalue: the feedback of that mode is positive."""
    ended = amcsim("solve", "inv", *files(tmp_path, np.diag([1.0, -1.0]), np.ones(2)), "--json")
    assert ended.code == 0
    assert (ended.json["x"], ended.json["relative_error"], ended.json["status"]) == (None, None, "unstable")
    assert ended.json["reason"] == "pole"
    assert ended.json["disturbed"] is True
    assert ended.json["x_exact"] == [1.0, -1.0]


def test_a_singular_matrix_has_no_exact_solution_to_compare_with(amcsim: Amcsim, tmp_path: Path) -> None:
    ended = amcsim("solve", "inv", *files(tmp_path, np.ones((2, 2)), np.ones(2)), "--backend", "exact", "--json")
    assert ended.code == 0
    assert [ended.json[k] for k in ("x", "x_exact", "relative_error", "status")] == [None, None, None, "not_converged"]


def test_the_relative_error_does_not_depend_on_the_size_of_b(amcsim: Amcsim, tmp_path: Path) -> None:
    """Powers of two scale every number of the computation exactly; squares of 2^-600 are none any more."""
    errors = [
        amcsim("solve", "inv", *files(tmp_path, np.diag([1.0, 0.5]), scale * np.ones(2)), "--json").json[
            "relative_error"
        ]
        for scale in (1.0, 2.0**-600, 0.0)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-12)
    assert errors[2] == 0.0  # zero vectors are put through no array


def test_people_get_a_table(amcsim: Amcsim, problem: list[str], tmp_path: Path) -> None:
    ended = amcsim("solve", "inv", *problem, "--backend", "exact")
    assert "0.481044" in ended.out
    assert "relative error  0\n" in ended.out
    ended = amcsim("solve", "inv", *files(tmp_path, np.diag([1.0, -1.0]), np.ones(2)))
    assert "status          unstable (pole)" in ended.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--matrix", "none.csv"], "matrix none.csv does not exist"),
        (["--spec", "none.toml"], "spec 'none.toml' is neither a file nor a preset"),
        (["--surrogate", "s.json"], "a surrogate goes with the backend 'surrogate' only"),
        (["--backend", "surrogate", "--surrogate", "s.json"], "surrogate file s.json does not exist"),
        (["--matrix", "-", "--rhs", "-"], "cannot both be '-'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    amcsim: Amcsim, problem: list[str], options: list[str], words: str
) -> None:
    assert words in amcsim("solve", "inv", *problem, *options, "--json").complaint


@pytest.mark.parametrize("options", [["--seed", "-1"], ["--backend", "spice"], ["--colour", "red"]])
def test_options_out_of_range_are_usage_errors(amcsim: Amcsim, problem: list[str], options: list[str]) -> None:
    ended = amcsim("solve", "inv", *problem, *options, "--json")
    assert (ended.code, ended.out) == (2, "")


def test_a_failed_computation_is_one_sentence_and_exit_1(
    amcsim: Amcsim, problem: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[tuple[type, Exception, str]] = [
        (CircuitSolver, NgspiceError("ngspice died"), "amcsim: ngspice died\n"),
        (Exact, KeyError("x"), "amcsim: unexpected KeyError: 'x' (AMCSIM_DEBUG=1 shows where)\n"),
        (Exact, np.linalg.LinAlgError("Singular matrix"), "amcsim: unexpected LinAlgError: Singular matrix"),
        (Exact, MemoryError(), "amcsim: not enough memory for a problem of this size\n"),
        (Exact, ModuleNotFoundError("no", name="torch"), "pip install 'amcsim[training]'\n"),
        (Exact, PermissionError(13, "Permission denied", "/x"), "amcsim: /x: Permission denied\n"),
    ]
    for solver, error, words in errors:

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(solver, "program", fail)
        backend = "ngspice" if solver is CircuitSolver else "exact"
        ended = amcsim("solve", "inv", *problem, "--backend", backend, "--json")
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert words in ended.err


def test_the_shipped_surrogate_solves_the_preset(amcsim: Amcsim, problem: list[str]) -> None:
    """Of the 10 % that this drawn circuit is off, the surrogate leaves 0.5 % open at most."""
    surrogate, spice = (
        amcsim("solve", "inv", *problem, "--backend", backend, "--json").json for backend in ("surrogate", "ngspice")
    )
    distance = np.linalg.norm(np.subtract(surrogate["x"], spice["x"])) / np.linalg.norm(spice["x_exact"])
    assert distance < 5e-3 * spice["relative_error"]
    refused = amcsim("solve", "inv", *problem, "--backend", "surrogate", "--spec", "ideal").complaint
    assert "the surrogate was fitted with" in refused


@pytest.mark.parametrize("circuit", ["inv", "mvm"])
def test_compensation_makes_up_for_the_circuit_and_says_what_it_takes(
    amcsim: Amcsim, tmp_path: Path, circuit: str
) -> None:
    (tmp_path / "quiet.toml").write_text(
        'schema_version = 1\n[cell]\naccess = "nmos_350n"\n[wire]\nbl_resistance = 1.0\nsl_resistance = 1.0\n',
        encoding="utf-8",
    )
    a = np.eye(6) + 0.3 * np.sin(np.arange(36.0)).reshape(6, 6)
    given = [*files(tmp_path, a, np.cos(np.arange(6.0))), "--spec", str(tmp_path / "quiet.toml"), "--json"]
    plain, made_up = (amcsim("solve", circuit, *given, *more).json for more in ([], ["--compensate"]))
    assert plain["relative_error"] > 1e-2
    assert made_up["relative_error"] < 1e-6
    assert list(made_up) == [*KEYS, "compensation"]
    assert 0.9 < made_up["compensation"]["factor"] < 1.0
    assert 0.0 < made_up["compensation"]["beyond"] < 0.2
    exact = amcsim("solve", circuit, *given, "--compensate", "--backend", "exact").json
    assert (exact["relative_error"], "compensation" in exact) == (0.0, False)
    deck = amcsim("netlist", circuit, *given, "--compensate", "-o", str(tmp_path / "c.cir")).json
    written = np.divide(deck["expected_v"], deck["volts_per_unit"])
    assert written == pytest.approx(np.array(made_up["x"]), rel=1e-9)
