from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from amcsim.cli import app

A = np.array([[1.0, 0.2, -0.1, 0.05], [0.1, 0.9, 0.3, -0.2], [-0.2, 0.1, 1.1, 0.15], [0.05, -0.1, 0.2, 0.8]])
B = np.array([0.5, -0.2, 0.3, 1.0])


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output; NaN in it is an error."""

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} in JSON")

        return json.loads(self.out, parse_constant=refuse)  # type: ignore[no-any-return]

    @property
    def complaint(self) -> str:
        """The one sentence of a refusal of bad input: nothing else is said, nothing is printed."""
        assert (self.code, self.out, self.err.count("\n")) == (2, "", 1)
        assert self.err.startswith("amcsim: ")
        return self.err.removeprefix("amcsim: ").rstrip("\n")


Amcsim = Callable[..., Ended]


@pytest.fixture
def amcsim() -> Amcsim:
    """Run a command in this process: `amcsim("solve", "inv", ..., stdin=b"...")`."""

    def run(*arguments: str | Path, stdin: bytes | None = None) -> Ended:
        result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def problem(tmp_path: Path) -> list[str]:
    """Options naming a well-conditioned 4x4 matrix (A of this file) and its right-hand side (B)."""
    np.save(tmp_path / "a.npy", A)
    np.savetxt(tmp_path / "b.txt", B)
    return ["--matrix", str(tmp_path / "a.npy"), "--rhs", str(tmp_path / "b.txt")]
