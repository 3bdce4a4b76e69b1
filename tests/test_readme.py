"""The README names what is there. Its snippets are run by test_docs.py."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

import amcsim
from amcsim.cli import app

REPOSITORY = Path(amcsim.__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_its_table_has_every_command_and_commands_take_its_options() -> None:
    rows = re.findall(r"^\| `amcsim ([^`]+)` \|", README, flags=re.MULTILINE)
    assert {row.split()[0] for row in rows} == set(get_command(app).commands)  # type: ignore[attr-defined]
    for row in rows:
        words = shlex.split(row)
        names = [word for word in words if not word.startswith("-") and word in ("inv", words[0])]
        said = CliRunner().invoke(app, [*names, "--help"], terminal_width=200).stdout
        assert [word for word in words if word.startswith("-") and word not in said] == []


def test_files_that_it_names_are_there() -> None:
    for name in (
        "CITATION.cff",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
        "constraints.txt",
        "notebooks/inv_by_hand.ipynb",
    ):
        assert name in README
        assert (REPOSITORY / name).is_file()
