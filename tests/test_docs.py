"""Every snippet of the documentation is run, and what a page says is printed is what is printed.

On a page, blocks run in order in one empty folder: `python` in one namespace, `bash` line by line (`amcsim ...` in this
process), `toml` and `text` with a title are files of that name. A `text` block titled "prints" holds the output of the
block before it, its numbers to 2 %.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import math
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from amcsim.campaign.design import Campaign
from amcsim.cli import app
from amcsim.specs import Spec
from amcsim.surrogate.model import CellLaw, Domain, Figures, Surrogate

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', flags=re.MULTILINE | re.DOTALL)
SET_UP = re.compile(r"^(PIP_EXTRA_INDEX_URL=\S+ )?(?:make (\w+)|\S*pip install )")
"""Commands of the reader's machine: looked at, not run."""
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order; every fence must be one of ours."""
    text = page.read_text(encoding="utf-8")
    found = [Block(m[1], m[2] or "", m[3], text.count("\n", 0, m.start()) + 2) for m in FENCE.finditer(text)]
    assert 2 * len(found) == len(re.findall(r"^ *```", text, flags=re.MULTILINE))
    return found


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    """Standard output of a block; tracebacks name the page and its line."""
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec", dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    return out.getvalue()


def run_commands(block: Block) -> str:
    """Standard output of the commands of a block; each must end well."""
    out = ""
    for line in re.sub(r"\\\n *", "", block.text).splitlines():
        command = line.partition("  #")[0].removeprefix(".venv/bin/")
        if set_up := SET_UP.match(command):
            assert set_up[2] is None or re.search(rf"^{set_up[2]}:", (REPOSITORY / "Makefile").read_text(), flags=re.M)
        elif command.startswith("amcsim "):
            result = CliRunner().invoke(app, shlex.split(command)[1:])
            assert result.exit_code == 0, f"line {block.line}: {command}: {result.stderr}"
            out += result.stdout
        elif command.strip():
            out += subprocess.run(
                ["bash", "-euc", command], check=True, capture_output=True, text=True, timeout=60
            ).stdout
    return out


def same(said: str, shown: str) -> bool:
    """Whether two outputs agree: words to the letter, numbers to 2 %."""
    if NUMBER.sub("#", said).split() != NUMBER.sub("#", shown).split():
        return False
    pairs = zip(NUMBER.findall(said), NUMBER.findall(shown), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.02, abs_tol=1e-12) for a, b in pairs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_snippet_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    module = ModuleType("snippet")
    monkeypatch.setitem(sys.modules, "snippet", module)
    out = ""
    for block in blocks(page):
        if block.title == "prints":
            assert same(out, block.text), f"{page.name}, line {block.line}: printed was\n{out}"
        elif block.title:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            out = run_python(block, page, vars(module))
        elif block.language in ("bash", "sh"):
            out = run_commands(block)
        else:
            assert block.language in ("text", "toml", "json", "spice")
            {"toml": tomllib.loads, "json": json.loads}.get(block.language, str)(block.text)


@pytest.fixture(scope="module")
def reference(request: pytest.FixtureRequest) -> ModuleType:
    """The hook that writes tables from the code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "scripts"))
        return importlib.import_module("docs_reference")


def test_every_table_of_the_hook_is_on_a_page(reference: ModuleType) -> None:
    marks = [m[1] for page in PAGES for m in reference.MARK.finditer(page.read_text(encoding="utf-8"))]
    assert sorted(marks) == sorted(reference.REFERENCES)


def test_every_key_of_a_file_has_a_meaning_and_every_quantity_a_unit(reference: ModuleType) -> None:
    numbers = {
        "v0_exponent", "gain", "mismatch_sigma", "stuck_on", "stuck_off", "settling_tolerance",
        "error_of_error_median", "error_of_error_p95", "relative_error_median", "cell_law_rms",
        "drift", "drift_sigma", "telegraph_share", "telegraph_largest", "read_sigma", "read_exponent",
        "target_median", "target_p95",
    }  # fmt: skip
    sections = [field.annotation for field in Spec.model_fields.values() if hasattr(field.annotation, "model_fields")]
    for model in (*sections, Campaign, Surrogate, CellLaw, Domain, Figures):
        for name, text in reference.descriptions(model).items():
            number = name in numbers or "_error_" in name
            quantity = model.model_fields[name].annotation in (float, float | None) and not number
            assert text, name
            assert name in ("recorded", "sigma_by_state") or bool(reference.unit(text)) == quantity, name
    assert reference.unit("Slew rate, V/s (`behavioral`).") == "V/s"
    assert reference.unit("Fraction of cells stuck at g_max.") == ""


def test_the_command_reference_has_every_command_and_option(reference: ModuleType) -> None:
    parts = re.split(r"^## (.*)\n", reference.command_reference(), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))

    def check(name: str, command: Any) -> int:
        children = getattr(command, "commands", None)
        if children is not None:
            return sum(check(f"{name} {word}", child) for word, child in children.items())
        for parameter in command.params:
            assert all(option in sections[name] for option in parameter.opts if option.startswith("-")), name
        assert command.help.split()[:5] == sections[name].partition("[OPTIONS]")[2].partition("\n\n")[2].split()[:5]
        return 1

    assert check("amcsim", typer.main.get_command(app)) == len(sections) > 8


INSIDE = {
    "amcsim.columns",
    "amcsim.ngspice.dialect",
    "amcsim.ngspice.library",
    "amcsim.report.page",
    "amcsim.report.technology",
    "amcsim.runs.progress_bar",
    "amcsim.solvers.residuals",
    "amcsim.studies.timing",
    "amcsim.surrogate.columns",
    "amcsim.surrogate.programming",
    "amcsim.surrogate.side_by_side",
}
"""Modules that serve one room or hold its machine code; the pages of a demo are in modules named demo_... ."""


def test_every_module_is_on_an_api_page_or_known_to_be_internal_and_names_its_public_names() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    listed = re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert [name for name in listed if not getattr(importlib.import_module(name), "__all__", None)] == []
    files = {path.relative_to(REPOSITORY).with_suffix("") for path in (REPOSITORY / "amcsim").rglob("[!_]*.py")}
    modules = {".".join(file.parts) for file in files if file.parts[1] != "cli" and not file.name.startswith("demo_")}
    assert modules - set(listed) == INSIDE


def test_no_docstring_holds_what_a_page_would_take_for_html() -> None:
    found = [
        f"{path.name}: {tag}"
        for path in (REPOSITORY / "amcsim").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for tag in re.findall(r"</?[A-Za-z][^>\n]*>", re.sub(r"`[^`]*`", "", node.value.value))
    ]
    assert found == []


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_takes_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=200, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 15
    outside = re.compile(
        r"""<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//|url\(["']?https?:"""
    )
    for file in (*pages, *tmp_path.rglob("*.css")):
        assert outside.findall(file.read_text(encoding="utf-8")) == [], file.name
