"""Machine code for loops: that of numpy's rules, wherever the source lies."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

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


def test_the_commands_help_does_not_wait_for_the_compiler() -> None:
    code = "import sys, amcsim.cli; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
