"""A hundred thousand solves on ngspice sessions: memory stays as it is; what ends a worker costs that item alone."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import endurance_tasks
import numpy as np
import pytest

from amcsim.runs import run

WARM = 10
"""Items after which a worker has met every kind of work."""


def fates(items: int) -> dict[int, str]:
    """Items that end their worker: one in fifty, each way in turn, so that the others run for long."""
    ways = ("crash", "die", "hang")
    return {number: ways[k % 3] for k, number in enumerate(range(25, items // 2, 50))}


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_is_flat_over_a_hundred_thousand_solves_with_crashes_and_time_outs() -> None:
    items = 100_000 // endurance_tasks.SOLVES
    bad = fates(items)
    memory: dict[int, list[int]] = defaultdict(list)
    ours: list[int] = []
    answers: dict[int, bytes] = {}
    failed: dict[int, str] = {}

    def take(number: int, result: tuple[int, int, bytes]) -> None:
        process, resident, answers[number] = result
        memory[process].append(resident)
        ours.append(endurance_tasks.resident())

    run(
        endurance_tasks.solve_many,
        [(n, (n, bad.get(n, ""))) for n in range(items)],
        workers=2,
        on_result=take,
        on_failure=failed.__setitem__,
        timeout=20.0,
        retries=1,
    )
    assert set(failed) == set(bad)
    assert len(answers) == items - len(bad)
    # Whoever came before in the session, a circuit's answers are the same to the bit.
    for number in (0, 24, 26, items - 1):
        assert endurance_tasks.solve_many((number, ""))[2] == answers[number]
    warm = {process: np.array(sizes[WARM:]) for process, sizes in memory.items() if len(sizes) > 2 * WARM}
    longest = max(warm.values(), key=len)
    print(f"{len(memory)} workers, the longest did {len(longest) * endurance_tasks.SOLVES} solves")  # noqa: T201
    for process, sizes in [*warm.items(), ("parent", np.array(ours[WARM:]))]:
        growth = sizes[-1] / sizes[0] - 1
        print(f"{process}: {sizes[0] / 1e6:.1f} MB, {growth:+.2%} after {len(sizes)} items")  # noqa: T201
        assert abs(growth) < 0.05
        assert sizes.max() < 1.05 * sizes[0]
    assert len(longest) * endurance_tasks.SOLVES > 20_000
