"""Wheel and sdist: what they hold, and that each works alone, in a clean environment and from another folder."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[1]


def tracked() -> list[str]:
    """Files of the checkout that a clone would have, dot files apart."""
    listed = subprocess.run(["git", "-C", REPOSITORY, "ls-files"], check=True, capture_output=True, text=True).stdout
    return [name for name in listed.splitlines() if not name.startswith(".") and (REPOSITORY / name).is_file()]


def python(*arguments: str | Path, cwd: Path) -> None:
    """Run a Python of this environment, outside the checkout; a failure shows what it said."""
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of the sources, the sdist, and the wheel that pip makes of the sdist."""
    folder = tmp_path_factory.mktemp("distributions")
    for name in tracked():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / "source" / name)
    pip = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    build_sdist = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    python("-c", build_sdist, folder, cwd=folder / "source")
    (sdist,) = folder.glob("*.tar.gz")
    python(*pip, "--wheel-dir", folder / "wheel", folder / "source", cwd=folder)
    python(*pip, "--wheel-dir", folder / "from_sdist", sdist, cwd=folder)
    return {
        "sdist": sdist,
        "wheel": next((folder / "wheel").glob("*.whl")),
        "from_sdist": next((folder / "from_sdist").glob("*.whl")),
    }


@pytest.mark.slow
def test_wheel_and_sdist_hold_what_belongs_in_them(distributions: dict[str, Path]) -> None:
    files = set(tracked())
    with tarfile.open(distributions["sdist"]) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    assert files - sources == set()
    with zipfile.ZipFile(distributions["wheel"]) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    with zipfile.ZipFile(distributions["from_sdist"]) as archive:
        assert shipped == {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {name for name in files if name.startswith("amcsim/")}
    data = {f"amcsim/{name}" for name in files if re.match(r"(circuits|calibration)/", name)}
    assert shipped == ours | data


@pytest.fixture(scope="module", params=["wheel", "from_sdist"])
def installed(request: pytest.FixtureRequest, distributions: dict[str, Path], tmp_path_factory: Any) -> Path:
    """The bin folder of a new environment that holds amcsim alone, its dependencies being lent by this one.

    A plain path in a .pth file lends packages without this environment's own .pth files: not its editable amcsim.
    """
    folder = tmp_path_factory.mktemp("environment")
    python("-m", "venv", "--without-pip", folder, cwd=folder)
    pip = ["-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-deps", "--no-index"]
    python(*pip, distributions[request.param], cwd=folder)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    assert next(site.glob("amcsim-*.dist-info")).is_dir()
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_installed_amcsim_works_from_another_folder_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}

    def run(*command: str) -> str:
        done = subprocess.run(
            [installed / command[0], *command[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def amcsim(*arguments: str) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(run("amcsim", *arguments, "--json"))
        return said

    where = (
        "import sys, amcsim, amcsim.circuits, amcsim.calibration, amcsim.solvers.stack, amcsim.campaign.calibrate;"
        "print(*[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'amcsim' and m.__file__], sep='\\n')"
    )
    homes = run("python", "-c", where).splitlines()
    assert len(homes) > 30
    assert [home for home in homes if not Path(home).is_relative_to(installed.parent)] == []

    (tmp_path / "a.csv").write_text("2,-0.5\n-0.5,1\n")
    (tmp_path / "b.csv").write_text("1\n1\n")
    problem = ["--matrix", "a.csv", "--rhs", "b.csv"]
    for backend in ("exact", "nodal", "ngspice"):
        said = amcsim("solve", "inv", *problem, "--spec", "ideal", "--backend", backend)
        assert said["x"] == pytest.approx([6 / 7, 10 / 7], rel=1e-6)
    assert amcsim("validate", "inv", "--samples", "8")["error_of_error_median"] < 1e-3
    (tmp_path / "campaign.toml").write_text(
        'schema_version = 1\nspec = "ideal"\nsizes = [2]\nseed = 1\n[samples]\nwishart = 8\n'
    )
    assert amcsim("calibrate", "campaign.toml", "--out", "fitted", "--workers", "2")["circuits"] == 8
    manifest = json.loads((tmp_path / "fitted" / "manifest.json").read_text())
    assert manifest["git_revision"] is None
    fitted = ["--backend", "surrogate", "--surrogate", "fitted/surrogate.json"]
    assert amcsim("solve", "inv", *problem, "--spec", "ideal", *fitted)["relative_error"] < 1e-6
    trained = amcsim("train", "--solver", "surrogate", "--epochs", "2")
    assert trained["counts"]["high_precision_vectors"] == 139 * trained["counts"]["steps"] == 139 * 4


@pytest.mark.slow
def test_help_of_an_installed_amcsim_is_quick(installed: Path, tmp_path: Path) -> None:
    """CPU time of the quickest of five: what else the machine does is not in it."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([installed / "amcsim", "--help"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.5


def test_every_package_that_amcsim_imports_is_declared() -> None:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    lines = "\n".join(lists).splitlines()
    declared = {Requirement(line).name.lower() for line in lines if line and not line.startswith("#")}
    homes = importlib.metadata.packages_distributions()
    used: dict[str, str] = {}
    for path in (REPOSITORY / "amcsim").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            used |= {name.split(".")[0]: path.name for name in names}
    foreign = {n: file for n, file in used.items() if n not in sys.stdlib_module_names | {"amcsim"}}
    assert {n: f for n, f in foreign.items() if not {d.lower() for d in homes.get(n, [])} & declared} == {}


def test_names_of_the_package_itself_load_at_first_use_and_are_those_of_their_modules() -> None:
    code = (
        "import sys, amcsim\n"
        "assert [name for name in sys.modules if name.startswith('amcsim.') or name == 'numpy'] == []\n"
        "assert amcsim.Key.__module__ == 'amcsim.streams' and 'numpy' in sys.modules\n"
        "assert set(amcsim.__all__) <= set(dir(amcsim))\n"
        "assert all(getattr(amcsim, name) is not None for name in amcsim.__all__)\n"
        "assert 'torch' not in sys.modules and 'PySpice' not in sys.modules and 'matplotlib' not in sys.modules\n"
        "assert not hasattr(amcsim, 'nothing')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
