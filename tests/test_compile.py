"""Machine code for loops: that of numpy's rules, wherever the source lies."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import amcsim
from amcsim._compile import compiled


@compiled
def over(x: float, y: float) -> float:
    return x / y


def test_a_division_by_zero_is_infinite_as_in_numpy() -> None:
    assert over(1.0, 0.0) == math.inf
    assert math.isnan(over(0.0, 0.0))


def test_code_that_no_folder_can_keep_is_compiled_all_the_same() -> None:
    """A function without a file has no place beside it or in the user's cache: numba refuses to keep it."""
    space: dict[str, Callable[[float], float]] = {}
    exec(compile("def more(x):\n    return x + 1.0\n", "<no file>", "exec"), space)
    assert compiled(space["more"])(2.0) == 3.0


def test_kept_code_is_not_that_of_an_older_function_it_calls(tmp_path: Path) -> None:
    """Two files, of which one calls what the other holds; the second changes: numba alone would go on with the first's
    old code."""
    package = tmp_path / "amcsim"
    package.mkdir()
    for name in ("__init__.py", "_compile.py"):
        (package / name).write_bytes((Path(amcsim.__file__).parent / name).read_bytes())
    head = "from amcsim._compile import compiled\n{}\n\n@compiled\ndef {}(x):\n    return {}\n"
    (package / "outer.py").write_text(head.format("from amcsim.inner import inner", "outer", "inner(x) + 1.0"))
    ran = "from amcsim.outer import outer; print(outer(1.0), sum(outer.stats.cache_hits.values()))"

    def said(inner: str) -> str:
        (package / "inner.py").write_text(head.format("", "inner", inner))
        done = subprocess.run([sys.executable, "-c", ran], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert said("2.0 * x") == "3.0 0"
    assert said("2.0 * x") == "3.0 1"
    assert said("3.0 * x") == "4.0 0"


def test_whoever_waits_for_a_compilation_is_told_once(tmp_path: Path) -> None:
    """In a process of its own: in this one others may have been told."""
    script = tmp_path / "ask.py"
    script.write_text(
        "import logging, sys\nlogging.basicConfig(level=logging.INFO, stream=sys.stdout, format='%(message)s')\n"
        "from amcsim._compile import compiled\n"
        "def one(x):\n    return x\n\ndef two(x):\n    return x\n\ndef three(x):\n    return x\n\n"
        "for function, module in ((one, 'else'), (two, 'amcsim.a'), (three, 'amcsim.b')):\n"
        "    function.__module__ = module\n    print(module)\n    compiled(function)(1.0)\n"
    )
    said = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.partition(",")[0] for line in said] == ["else", "amcsim.a", "loops are being compiled", "amcsim.b"]


def test_the_commands_help_does_not_wait_for_the_compiler() -> None:
    code = "import sys, amcsim.cli; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
