"""Bad input on the command line: one sentence on standard error, exit 2, nothing printed, nothing run, nothing left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amcsim.analysis import array
from amcsim.ngspice.session import Session
from amcsim.specs import preset
from amcsim.surrogate.model import CellLaw, Domain, Surrogate, save_surrogate

Amcsim = Callable[..., Any]


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is started, or a circuit that is drawn, fails the test: refusals come before."""

    def run(*_: object, **__: object) -> None:
        raise AssertionError("something was run")

    for where, name in ((subprocess, "Popen"), (os, "system"), (Session, "__init__"), (array, "transient")):
        monkeypatch.setattr(where, name, run)


@pytest.fixture
def refuse(amcsim: Amcsim, tmp_path: Path) -> Callable[..., str]:
    """The sentence of a refusal that leaves the folder as it was."""

    def refused(*arguments: object) -> str:
        def listing() -> list[tuple[str, int]]:
            return sorted((str(p), p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))

        before = listing()
        complaint: str = amcsim(*arguments).complaint
        assert listing() == before
        assert "AMCSIM_DEBUG" not in complaint
        return complaint

    return refused


Refuse = Callable[..., str]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "schema_version is missing"),
        ("[cell]\ng_min = 1e-5", "schema_version is missing"),
        ("schema_version = 2", "schema_version = 2; this release reads schema_version = 1"),
        ("schema_version = '1'", "schema_version = '1'"),
        ("schema_version = true", "schema_version = True"),
        ("schema_version = 1.0", "schema_version = 1.0"),
        ("base = 'ideal'\nschema_version = 7", "schema_version = 7"),
        ("base = 'foo'", "is not a preset"),
        ("base = ['ideal']", "is not a preset"),
        ("schema_version = 1\nschema_version = 1", "cannot be read"),
        ("schema_version = 1\n[foo]", "foo is not a known key"),
        ("schema_version = 1\n[cell]\nfoo = 1", "cell.foo is not a known key"),
        ('schema_version = 1\n[cell]\n"a\\n.control" = 1', "is not a known key"),
        ("schema_version = 1\ncell = 3", "cell = 3"),
        ("schema_version = 1\n[[cell]]\ng_min = 1e-5", "cell ="),
        ("schema_version = 1\n[cell]\ng_min = nan", "finite number"),
        ("schema_version = 1\n[cell]\ng_min = 1e400", "finite number"),
        ("schema_version = 1\n[cell]\ng_min = 20", "(allowed 1e-09 to 0.01)"),
        ("schema_version = 1\n[cell]\ng_min = '1e-5'", "valid number"),
        ("schema_version = 1\n[cell]\ng_min = true", "valid number"),
        ("schema_version = 1\n[cell]\ng_min = 1979-05-27", "valid number"),
        ("schema_version = 1\n[cell]\ng_min = 1" + "0" * 5000, "cannot be read"),
        ("schema_version = 1\n[cell]\ng_min = 2e-4\ng_max = 1e-4", "must lie below g_max"),
        ("schema_version = 1\n[converters]\ndac_bits = 0", "converters.dac_bits = 0"),
        ("schema_version = 1\n[converters]\ndac_bits = 8.5", "converters.dac_bits = 8.5"),
        ("schema_version = 1\n[programming]\nstuck_on = 0.7\nstuck_off = 0.7", "no more than 1 of all cells"),
        ("schema_version = 1\n[opamp]\nmodel = 'lm741'", "is no amplifier"),
        ('schema_version = 1\n[opamp]\nmodel = "linear\\n"', "opamp.model"),
        ('schema_version = 1\n[opamp]\nmodel = "x\\n.control\\nshell touch mark\\n.endc"', "opamp.model"),
        ("schema_version = 1\n[opamp]\nmodel = '`touch mark`'", "opamp.model"),
        ("schema_version = 1\na = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("schema_version = 1 #" + "x" * (1 << 20), "longer than 1048576 bytes"),
        ("schema_version = 1 # \udcff", "cannot be read"),
    ],
    ids=lambda text: text[:30].replace("\n", " ") if isinstance(text, str) else None,
)
def test_specs(refuse: Refuse, problem: list[str], tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "s.toml").write_bytes(text.encode(errors="surrogateescape"))
    assert words in refuse("solve", "inv", *problem, "--spec", tmp_path / "s.toml", "--json")


CAMPAIGN = "schema_version = 1\nspec = 'ideal'\nsizes = [2]\nseed = 1\n[samples]\nwishart = 8\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("schema_version = 1", "", "schema_version"),
        ("schema_version = 1", "schema_version = 9", "schema_version = 9"),
        ("'ideal'", "3", "spec = 3 must name a preset"),
        ("'ideal'", "'x.toml'", "neither a file nor a preset"),
        ("'ideal'", '"x\\u0000y"', "null"),
        ("'ideal'", "'c.toml'", "is not a known key"),
        ("[2]", "[0]", "outside 1 to 64"),
        ("[2]", "[65]", "outside 1 to 64"),
        ("[2]", "[]", "at least 1 item"),
        ("[2]", "[2.5]", "sizes.0"),
        ("[2]", "[nan]", "sizes.0"),
        ("[2]", "'22'", "sizes"),
        ("seed = 1", "seed = -1", "seed = -1"),
        ("seed = 1", "seed = 1.5", "seed = 1.5"),
        ("seed = 1", "seed = " + "9" * 5000, "cannot be read"),
        ("seed = 1", "seed = 1\nfoo = 1", "foo is not a known key"),
        ("seed = 1", "seed = 1\ncircuit = 'eig'", "circuit"),
        ("seed = 1", "seed = 1\nsweep_voltages = nan", "sweep_voltages"),
        ("seed = 1", "seed = 1\nrecorded = 1", "recorded"),
        ("seed = 1", "seed = 1\nrecorded_file = 1", "must be a file name"),
        ("seed = 1", "seed = 1\nrecorded_file = 'no.npz'", "cannot be read"),
        ("seed = 1", "seed = 1\nrecorded_file = 'c.toml'", "cannot be read"),
        ("seed = 1", "seed = 1\nrecorded_file = '.'", "cannot be read"),
        ("wishart", "recorded", "recorded systems for size 2 are missing"),
        ("wishart", '"a\\nb"', "is no family"),
        ("= 8", "= 0", "at least 8 circuits"),
        ("= 8", "= -8", "outside 0 to"),
        ("= 8", "= 99999999999", "outside 0 to"),
        ("wishart = 8", "", "samples"),
        ("seed = 1", "seed = 1 #" + "x" * (1 << 20), "longer than"),
        ("seed = 1", "seed = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
    ids=lambda text: text[:30].replace("\n", " ") if isinstance(text, str) else None,
)
def test_campaigns(refuse: Refuse, tmp_path: Path, old: str, new: str, words: str) -> None:
    (tmp_path / "c.toml").write_text(CAMPAIGN.replace(old, new))
    assert words in refuse("calibrate", tmp_path / "c.toml", "--out", tmp_path / "out", "--workers", 1)


def surrogate_text(folder: Path) -> str:
    domain = Domain(sizes=(4,), g_min=1e-6, g_max=1e-3, v_max=0.3)
    cell = CellLaw(r0=0.0)
    model = Surrogate(
        spec=preset("ideal"), cell=cell, gain=1e4, output_resistance=0.0, fast_verdict=True, domain=domain
    )
    save_surrogate(model, folder / "s.json")
    return (folder / "s.json").read_text()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"schema_version": 1,\n  "circuit', '"circuit', "schema_version = None"),
        ('"schema_version": 1,\n  "circuit', '"schema_version": 2, "circuit', "schema_version = 2"),
        ('"schema_version": 1,\n  "circuit', '"schema_version": true, "circuit', "schema_version = True"),
        ('"gain": 10000.0', '"gain": NaN', "gain"),
        ('"gain": 10000.0', '"gain": Infinity', "gain"),
        ('"gain": 10000.0', '"gain": -1', "gain"),
        ('"gain": 10000.0', '"gain": "x\\ny"', "gain"),
        ('"gain": 10000.0', '"gain": 1' + "0" * 5000, "cannot be read"),
        ('"gain": 10000.0', '"gain": 1, "a\\nb": 2', "is not a known key"),
        ('"r0": 0.0', '"r0": -1', "r0"),
        ('"v_max": 0.3', '"v_max": -1', "v_max"),
        ('"circuit": "inv"', '"circuit": "mvm"', "MVM"),
        ("{", "", "cannot be read"),
        ("{", "[" * 100_000, "cannot be read"),
        ("{", "\udcff", "cannot be read"),
        ("{", " " * (1 << 20) + "{", "longer than"),
    ],
    ids=lambda text: text[:30].replace("\n", " ") if isinstance(text, str) else None,
)
def test_surrogate_files(refuse: Refuse, problem: list[str], tmp_path: Path, old: str, new: str, words: str) -> None:
    text = surrogate_text(tmp_path)
    assert old in text
    (tmp_path / "s.json").write_bytes(text.replace(old, new, 1).encode(errors="surrogateescape"))
    options = ["--backend", "surrogate", "--spec", "ideal", "--surrogate", tmp_path / "s.json"]
    assert words in refuse("solve", "inv", *problem, *options)


@pytest.mark.parametrize("option", ["--matrix", "--rhs", "--spec", "--surrogate"])
@pytest.mark.parametrize("name", ["", "a\nb.npy", "a\0b.npy", "x" * 5000 + ".npy", "a;touch mark.npy", "$(touch mark)"])
def test_names_of_files(refuse: Refuse, problem: list[str], option: str, name: str) -> None:
    backend = ["--backend", "surrogate"] if option == "--surrogate" else []
    refuse("solve", "inv", *problem, *backend, option, name)


@pytest.mark.parametrize("circuit", ["inv", "mvm"])
@pytest.mark.parametrize(
    "rhs",
    [np.ones(3), np.ones((4, 0)), np.ones((1, 4)), np.full(4, np.nan), np.ones(4) * 1j, np.array(["1"] * 4), 1.0],
    ids=str,
)
def test_right_hand_sides(refuse: Refuse, problem: list[str], tmp_path: Path, circuit: str, rhs: Any) -> None:
    np.save(tmp_path / "r.npy", rhs)
    refuse("solve", circuit, *problem[:2], "--rhs", tmp_path / "r.npy", "--json")


@given(st.binary(max_size=60), st.sampled_from([".npy", ".csv", ".txt"]), st.booleans())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_matrix_or_a_refusal(
    amcsim: Amcsim, problem: list[str], tmp_path: Path, content: bytes, ending: str, magic: bool
) -> None:
    (tmp_path / f"m{ending}").write_bytes(b"\x93NUMPY\x01\x00" * magic + content)
    ended = amcsim("solve", "inv", "--matrix", tmp_path / f"m{ending}", *problem[2:], "--backend", "exact", "--json")
    assert ended.json if ended.code == 0 else ended.complaint


@given(st.text(max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_behind_a_good_spec_is_a_spec_or_a_refusal(
    amcsim: Amcsim, problem: list[str], tmp_path: Path, text: str
) -> None:
    (tmp_path / "s.toml").write_text("schema_version = 1\n" + text, encoding="utf-8")
    ended = amcsim("solve", "inv", *problem, "--spec", tmp_path / "s.toml", "--backend", "exact", "--json")
    assert ended.json if ended.code == 0 else ended.complaint


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
    st.sampled_from([(circuit, backend) for circuit in ("inv", "mvm") for backend in ("exact", "nodal")]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_finite_numbers_give_one_object_without_nan(
    amcsim: Amcsim, tmp_path: Path, a: list[float], b: list[float], kind: tuple[str, str]
) -> None:
    circuit, backend = kind
    np.save(tmp_path / "a.npy", np.reshape(a, (2, 2)))
    np.save(tmp_path / "b.npy", b)
    options = ["--matrix", tmp_path / "a.npy", "--rhs", tmp_path / "b.npy", "--backend", backend, "--spec", "ideal"]
    ended = amcsim("solve", circuit, *options, "--json")
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)
    assert ended.json["status"] != "ok" or ended.json["x"] is not None


@pytest.mark.parametrize("circuit", ["inv", "mvm"])
@pytest.mark.parametrize("size", [5e-324, 1e-308, 1.7e308])
def test_numbers_that_no_voltage_stands_for_have_no_answer(
    amcsim: Amcsim, refuse: Refuse, tmp_path: Path, circuit: str, size: float
) -> None:
    np.save(tmp_path / "a.npy", np.eye(2))
    np.save(tmp_path / "b.npy", np.full(2, size))
    problem = ["--matrix", tmp_path / "a.npy", "--rhs", tmp_path / "b.npy"]
    said = amcsim("solve", circuit, *problem, "--json").json
    assert (said["x"], said["status"], said["reason"]) == (None, "not_converged", "nonfinite")
    assert "no voltage stands for" in refuse("netlist", circuit, *problem, "-o", tmp_path / "d.cir")


@pytest.mark.parametrize(
    "options",
    [
        ["solve", "inv", "--seed", "-1"],
        ["solve", "inv", "--seed", "x"],
        ["solve", "inv", "--seed", "9" * 5000],
        ["solve", "mvm", "--backend", "spice"],
        ["solve", "inv", "--colour", "red"],
        ["solve", "inv", "extra\nword"],
        ["waves", "inv", "-o", "w.csv", "--tolerance", "nan"],
        ["waves", "inv", "-o", "w.csv", "--stop", "nan"],
        ["waves", "inv", "-o", "w.csv", "--stop", "1e400"],
        ["netlist", "inv"],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_options(refuse: Refuse, problem: list[str], options: list[str]) -> None:
    refuse(*options[:2], *problem, *options[2:])


def test_options_of_long_commands(refuse: Refuse, tmp_path: Path) -> None:
    for options in (
        ["train", "--epochs", "0"],
        ["train", "--seed", "-1"],
        ["train", "--snapshots", tmp_path / "no" / "s.npz"],
        ["train", "--solver", "surrogate", "--surrogate", tmp_path / "no.json"],
        ["train", "--data", "letters", "--emnist", tmp_path],
        ["data", "letters", "--emnist", tmp_path],
        ["validate", "inv", "--samples", "0"],
        ["validate", "inv", "--size", "0"],
        ["demo", "--seed", "-1", "--out", tmp_path / "demo"],
        ["calibrate", tmp_path / "none.toml", "--out", tmp_path / "out"],
        ["fly"],
    ):
        refuse(*options)


@pytest.mark.parametrize("command", ["waves", "netlist"])
@pytest.mark.parametrize("place", ["", ".", "no/w.csv", "a.npy/w.csv", "a\0.csv", "x" * 300 + ".csv", "/proc/w.csv"])
def test_places_of_outputs(
    refuse: Refuse, problem: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refuse(command, "inv", *problem, "-o", place)


def test_folders_of_outputs(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    for out in (tmp_path / "file", tmp_path / "file" / "out", "/proc/out", "x" * 300):
        refuse("calibrate", tmp_path / "c.toml", "--out", out, "--workers", 1)
        refuse("demo", "--out", out)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": np.array([[[None]]]), "b": np.ones((1, 1))}, "no readable .npz|cannot be read"),
        ({"a": np.ones((1, 2, 2)) * 1j, "b": np.ones((1, 2))}, "complex128"),
        ({"a": np.full((1, 4, 4), np.nan), "b": np.ones((1, 4))}, "NaN"),
        ({"a": np.array([[["x"]]]), "b": np.ones((1, 1))}, "<U1"),
        ({"a": np.ones((0, 4, 4)), "b": np.ones((0, 4))}, "not empty|no leaf"),
    ],
)
@pytest.mark.parametrize("option", ["--matrices", "--recorded"])
def test_archives_of_systems(
    refuse: Refuse, tmp_path: Path, option: str, arrays: dict[str, np.ndarray], words: str
) -> None:
    surrogate_text(tmp_path)
    np.savez(tmp_path / "m.npz", **arrays)  # type: ignore[arg-type]
    sentence = refuse("validate", "inv", "--surrogate", tmp_path / "s.json", option, tmp_path / "m.npz", "--json")
    assert any(word in sentence for word in words.split("|"))


def test_a_deck_says_nothing_of_the_names_of_files(amcsim: Amcsim, tmp_path: Path) -> None:
    """A matrix called a line of ngspice does not become one."""
    evil = tmp_path / "m\n.control\nshell touch mark\n.endc\n.npy"
    np.save(evil, np.eye(2))
    (tmp_path / "b.txt").write_text("1 2")
    ended = amcsim("netlist", "inv", "--matrix", evil, "--rhs", tmp_path / "b.txt", "-o", "-")
    assert ended.code == 0
    assert "touch" not in ended.out
