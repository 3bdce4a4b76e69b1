"""A campaign's parent to be killed: `python run_campaign.py OUT CIRCUITS WORKERS|ADDRESS`, and samples that kill."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from amcsim.campaign.calibrate import sampled
from amcsim.campaign.design import Campaign
from amcsim.campaign.sample import run_sample
from amcsim.ngspice import NgspiceDied, Session
from amcsim.runs import ReplaceWorker
from amcsim.specs import preset

DEADLY = 5
"""Sample id of which libngspice dies."""


def small_campaign(circuits: int) -> Campaign:
    """Circuits of two sizes and three families."""
    third = circuits // 3
    samples = {"random": circuits - 2 * third, "wishart": third, "ill_conditioned": third}
    return Campaign(schema_version=1, spec=preset("pku_350nm"), sizes=(2, 3), seed=9, samples=samples)


def sometimes_deadly(sample: int, campaign: Campaign) -> dict[str, np.ndarray]:
    """As run_sample, but of one sample libngspice dies."""
    if sample == DEADLY:
        try:
            Session().load("t\nV1 a 0 1\nR1 a 0 {nosuch}\n.end\n")
        except NgspiceDied as error:
            raise ReplaceWorker(str(error)) from None
    return run_sample(sample, campaign)


def tell(what: object) -> None:
    print(what, flush=True)  # noqa: T201


def main(out: str, circuits: str, where: str) -> None:
    place: dict[str, Any] = {"workers": int(where)} if where.isdigit() else {"workers": 0, "scheduler": where}
    sampled(small_campaign(int(circuits)), Path(out), progress=tell, say=tell, **place)


if __name__ == "__main__":
    main(*sys.argv[1:])
