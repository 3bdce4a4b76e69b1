"""Specs that try to say SPICE: refused in one printable sentence, exit 2, before anything is run or written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amcsim.specs import SpecError, load_spec

SPECS = {
    "command in a model": '[opamp]\nmodel = "ideal\\n.control\\nshell touch pwned\\n.endc"',
    "line break after a model": '[opamp]\nmodel = "ideal\\n"',
    "path as a model": '[opamp]\nmodel = "../../etc/passwd"',
    "second command in a model": '[opamp]\nmodel = "ideal;shell touch pwned"',
    "backticks in a model": '[opamp]\nmodel = "`touch pwned`"',
    "include": '[opamp]\ninclude = "/etc/passwd"',
    "include in a card": '[cell]\naccess = "nmos_350n w=1u\\n.include /etc/passwd"',
    "path as a card": '[cell]\naccess = "../../secret"',
    "carriage return": '[cell]\niv = "linear\\r.control"',
    "comment that commands": '[wire]\nlayout = "shared\\n*# shell touch pwned"',
    "section with a line break": '["cell\\n.control"]\ng_min = 1e-5',
    "key with a line separator": '[cell]\n"g_min\\u2028.control" = 1e-5',
    "key with an escape sequence": '[opamp]\n"\\u001b[2J" = 1',
    "expression for a number": '[cell]\ng_min = "{system(1)}"',
    "text after a number": '[cell]\ng_min = "1e-5; shell touch pwned"',
    "not a number": "[cell]\ng_min = nan",
    "infinite": "[wire]\nbl_resistance = inf",
    "negative": "[wire]\nbl_resistance = -1",
    "a date": "[cell]\ng_min = 1979-05-27",
    "five thousand digits": "[cell]\ng_min = " + "9" * 5000,
    "two thousand brackets": "a = " + "[" * 2000 + "]" * 2000,
    "a key of ten thousand parts": "a" + ".a" * 10_000 + " = 1",
    "a key of a megabyte": '[cell]\n"' + "g" * 1_000_000 + '" = 1',
}


@pytest.mark.parametrize("kind", SPECS)
def test_a_hostile_spec_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(f"schema_version = 1\n{SPECS[kind]}\n", encoding="utf-8")
    with pytest.raises(SpecError) as refused:
        load_spec(str(path))
    sentence = str(refused.value)
    assert sentence.isprintable()
    assert str(path) in sentence
    assert len(sentence) < 500


@pytest.mark.parametrize("kind", ["command in a model", "key with an escape sequence", "section with a line break"])
def test_the_command_says_so_and_writes_nothing(
    kind: str, tmp_path: Path, amcsim: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.toml").write_text(f"schema_version = 1\n{SPECS[kind]}\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text("1,0\n0,1\n")
    (tmp_path / "b.csv").write_text("1\n1\n")
    before = sorted(tmp_path.iterdir())
    complaint = amcsim(
        "netlist", "inv", "--matrix", "a.csv", "--rhs", "b.csv", "--spec", "spec.toml", "-o", "deck.cir"
    ).complaint
    assert complaint.startswith("spec.toml: ")
    assert complaint.isprintable()
    assert sorted(tmp_path.iterdir()) == before
