"""A surrogate put together by hand: its parameters are the spec's own, so it must equal the nodal model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amcsim.specs import Spec
from amcsim.surrogate.model import CellLaw, Domain, Surrogate


@pytest.fixture
def by_hand() -> Callable[..., Surrogate]:
    def make(spec: Spec, r0: float = 0.0, sizes: tuple[int, ...] = (1, 2, 3, 4, 8, 16)) -> Surrogate:
        return Surrogate(
            spec=spec,
            cell=CellLaw(r0=r0),
            gain=spec.opamp.gain,
            output_resistance=0.0 if spec.opamp.model == "ideal" else spec.opamp.output_resistance,
            fast_verdict=True,
            domain=Domain(sizes=sizes, g_min=1e-6, g_max=1e-3, v_max=spec.cell.v_read_max),
        )

    return make
