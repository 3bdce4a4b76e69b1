"""The package as a whole: what is shipped, what is pinned, and which room may import which."""

from __future__ import annotations

import ast
import configparser
import importlib.resources
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import amcsim

ROOT = Path(amcsim.__file__).parent
REPOSITORY = ROOT.parent

# Read from top to bottom (CONTRIBUTING.md): a room imports only rooms of lines before its own, or itself.
ROOMS = """
    _types _compile status streams
    sections presets specs
    columns small_matrices access mapping write_error variation realisation
    plot runs device topology netlist nodal ngspice analysis surrogate solvers campaign training cost studies report cli
    __main__
""".split()  # noqa: SIM905 (a table reads better)


def room(module: str) -> str:
    """The room of a module: `amcsim.nodal.inv` is in `nodal`."""
    return module.split(".")[1]


def imports(path: Path) -> set[str]:
    """Rooms of ours that a file imports, at module level or inside a function."""
    package = ["amcsim", *path.relative_to(ROOT).parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return {room(name) for name in found if name.startswith("amcsim.")}


SOURCES = sorted(path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).as_posix() != "__init__.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    data = {"circuits", "calibration", "__version__"}
    later = {name for name in imports(path) - data if ROOMS.index(name) > ROOMS.index(own)}
    assert not later


def test_the_data_packages_are_found_through_the_package() -> None:
    assert importlib.resources.files("amcsim.circuits").joinpath("cell_1t1r.lib").is_file()
    assert importlib.resources.files("amcsim.calibration").is_dir()


def test_every_dependency_is_pinned_to_a_version_that_setup_cfg_allows() -> None:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    wanted = [Requirement(line) for text in lists for line in text.split("\n") if line and not line.startswith("#")]
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert [str(need) for need in wanted if not need.specifier.contains(pins.get(need.name.lower(), "0"))] == []


def test_the_citation_names_this_version() -> None:
    text = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", text, flags=re.MULTILINE) == [amcsim.__version__]
