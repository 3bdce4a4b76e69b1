"""Campaigns that grow: rounds of further circuits, random, of low discrepancy, or where the surrogate is worst.

What is in the folder stays: a round takes new sample ids, and the store accepts the samples of what it has grown from.
Rounds are kept in rounds.json, so that the same command goes on after an interruption. An adaptive round fits the
parameters to what is there, predicts the error of error of many random candidates from the held-out circuits
(amcsim.surrogate.confidence), and runs those where it is largest; none of them is held out, since they are no fair
sample.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from amcsim._types import F64
from amcsim.campaign.calibrate import sampled
from amcsim.campaign.design import HELD_OUT_EVERY, Campaign, CampaignError, Round
from amcsim.campaign.fit import confidence, parameters
from amcsim.campaign.sample import Samples
from amcsim.ngspice import library_version
from amcsim.realisation import realise
from amcsim.runs import write_text
from amcsim.solvers.arrays import surrogate_array
from amcsim.specs import sentence
from amcsim.status import Status
from amcsim.streams import Key

__all__ = ["grow_to", "grown", "next_round", "predicted_errors"]

_FILE = "rounds.json"
_POOL = 8
"""Candidates of an adaptive round for each that is run."""
_SHARE = 4
"""An adaptive round adds a quarter of what is there: what it learnt picks the next ones."""
_SCATTER = 0.3
"""Of ln(error of error), added at random: the worst candidates are alike, and no better for it."""


def grown(campaign: Campaign, out: Path) -> Campaign:
    """The campaign with the rounds that `out`/rounds.json holds, if it does.

    Raises CampaignError for rounds of another campaign, and for a damaged file.
    """
    path = out / _FILE
    if campaign.rounds or not path.exists():
        return campaign
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["campaign_sha256"] != campaign.sha256:
            raise CampaignError(f"{path} holds rounds of another campaign; give another folder")
        return campaign.with_rounds([Round.model_validate(one) for one in data["rounds"]])
    except ValidationError as error:
        raise CampaignError(f"{path}: {sentence(error)}") from None
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise CampaignError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def grow_to(
    campaign: Campaign, out: Path, total: int, design: str, *, say: Callable[[str], object] = lambda _: None, **run: Any
) -> Campaign:
    """Add rounds until there are `total` circuits, those of the last one yet to be run: the grown campaign.

    `run` are options of `sampled`, which runs what an adaptive round has to know. Raises as `sampled`, CampaignError.
    """
    base = campaign.with_rounds(())
    campaign = grown(campaign, out)
    while campaign.total < total:
        count = total - campaign.total
        if design == "adaptive":
            count = min(count, max(campaign.total // _SHARE, 1))
            samples, _ = sampled(campaign, out, say=say, **run)
            added = next_round(campaign, count, design, samples)
        else:
            added = next_round(campaign, count, design)
        campaign = campaign.with_rounds([*campaign.rounds, added])
        out.mkdir(parents=True, exist_ok=True)
        rounds = [r.model_dump(exclude_none=True) for r in campaign.rounds]
        content = {"schema_version": 1, "campaign_sha256": base.sha256, "rounds": rounds}
        write_text(out / _FILE, json.dumps(content) + "\n")
        say(f"round {len(campaign.rounds)}: {len(added.numbers)} {design} circuits, {campaign.total} in all")
    return campaign


def next_round(
    campaign: Campaign, count: int, design: str, samples: dict[tuple[int, int], Samples] | None = None
) -> Round:
    """A round of `count` circuits; adaptive ones are picked by what `samples`, all so far, say."""
    if design == "random":
        return Round(design="random", candidates=count)
    if design == "sobol":
        kinds = len(campaign.samples) * len(campaign.sizes)
        before = sum(-(-r.candidates // kinds) for r in campaign.rounds if r.design == "sobol")
        return Round(design="sobol", candidates=count, first=before - before // HELD_OUT_EVERY)
    if design != "adaptive":
        raise CampaignError(f"design = {design!r}: there are random, sobol, adaptive")
    if samples is None:
        raise ValueError("an adaptive round needs the samples so far")
    pool = campaign.with_rounds([*campaign.rounds, Round(design="adaptive", candidates=_POOL * count)])
    errors = predicted_errors(campaign, samples, pool, range(campaign.end, pool.end))
    scatter = Key(campaign.seed, (campaign.end, len(campaign.rounds), 5)).generator().gumbel(size=errors.size)
    order = np.argsort(-(np.log(np.maximum(errors, 1e-300)) + _SCATTER * scatter), kind="stable")
    return Round(design="adaptive", candidates=_POOL * count, picked=tuple(sorted(order[:count].tolist())))


def predicted_errors(campaign: Campaign, samples: dict[tuple[int, int], Samples], pool: Campaign, ids: range) -> F64:
    """Error of error expected of the circuits `ids` of `pool`, (n,); 0 where the surrogate does not call them ok."""
    surrogate, _ = parameters(campaign, samples, str(library_version()))
    known = confidence(surrogate, campaign, samples)
    found = np.zeros(len(ids))
    if known is None:
        return found
    for k, (a, vector, key) in enumerate(map(pool.draw, ids)):
        array = surrogate_array(surrogate, pool.spec, a, realise(a, pool.spec, key))
        volts = array.inputs(vector[:, None])[0]
        x, status, _ = array.answer(volts)
        if status[0] == Status.OK:
            features = array.features(volts, x)
            size = np.exp(np.maximum(features[0, 0], np.log(1e-3) + features[0, 1]))
            found[k] = float(known.expected(features)[0] / size)
    return found
