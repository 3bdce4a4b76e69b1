"""A whole campaign: circuits through ngspice on several workers, resumable; the dataset; the fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from amcsim.campaign.design import Campaign
from amcsim.campaign.fit import FitBelowTargetError, fit, missed
from amcsim.campaign.sample import Samples, failed_sample, require_ngspice, run_sample
from amcsim.ngspice import library_version
from amcsim.runs import Store, check_scheduler, run, run_on_dask, write_bytes, write_manifest
from amcsim.surrogate.model import Surrogate, save_surrogate

__all__ = ["Calibration", "calibrate", "sampled"]

_TIMEOUT = 120.0
"""Time for one circuit of up to 16 x 16, s (a 4x4 takes milliseconds); it grows as the cube of the size above."""
_MEMORY = 4 << 30
"""Address space of a worker, bytes; one that has solved 64 x 64 circuits uses a quarter of it."""


@dataclass(frozen=True)
class Calibration:
    """What a campaign left."""

    surrogate: Surrogate
    samples: dict[tuple[int, int], Samples]
    """By matrix shape."""
    resumed: int
    """Samples that an earlier, interrupted run had committed."""


def calibrate(
    campaign: Campaign,
    out: Path,
    *,
    workers: int,
    scheduler: str | None = None,
    command: str = "amcsim calibrate",
    save_invalid: bool = False,
    progress: Callable[[int], object] | None = None,
    say: Callable[[str], object] = lambda sentence: None,
) -> Calibration:
    """`sampled`, then the fit and surrogate.json. Raises as `sampled`, NgspiceError and ValueError from the fit.

    A fit whose held-out figures miss the campaign's targets is not saved, FitBelowTargetError: a surrogate.json of an
    earlier run stays as it is. With `save_invalid` it is saved, marked invalid.
    """
    samples, resumed = sampled(
        campaign, out, workers=workers, scheduler=scheduler, command=command, progress=progress, say=say
    )
    version = library_version()
    surrogate = fit(campaign, samples, str(version))
    if not surrogate.valid and surrogate.figures is not None:
        why = missed(campaign, surrogate.figures)
        if not save_invalid:
            raise FitBelowTargetError(f"{why}: no surrogate is saved (--save-invalid saves it, marked invalid)")
        say(f"{why}: it is saved, marked invalid")
    save_surrogate(surrogate, out / "surrogate.json")
    _manifest(campaign, out, command, version, complete=True)
    return Calibration(surrogate, samples, resumed)


def sampled(
    campaign: Campaign,
    out: Path,
    *,
    workers: int,
    scheduler: str | None = None,
    command: str = "amcsim calibrate",
    progress: Callable[[int], object] | None = None,
    say: Callable[[str], object] = lambda sentence: None,
) -> tuple[dict[tuple[int, int], Samples], int]:
    """Run what is missing of a campaign in `out`/samples.sqlite and write dataset.nc: (samples by shape, resumed).

    On `workers` processes of this machine, or on those of the Dask `scheduler`; the samples do not depend on where. A
    circuit that ends its worker at every try is a sample too: not_converged, simulator. `progress(done)` is told how
    many more samples are done, `say` what is worth a sentence. manifest.json is there from the beginning on.
    Raises StoreError (a store of another campaign or ngspice, a full disk), TaskError, WorkerFailure, NgspiceError,
    OSError; committed samples stay in every case.
    """
    if scheduler is not None:
        check_scheduler(scheduler)
    version = library_version()
    out.mkdir(parents=True, exist_ok=True)
    ids = campaign.ids
    earlier = [campaign.with_rounds(campaign.rounds[:k]).sha256 for k in range(len(campaign.rounds))]
    failed: dict[int, str] = {}
    name, before = f"{campaign.sha256} ngspice {version}", [f"{sha} ngspice {version}" for sha in earlier]
    with Store(out / "samples.sqlite", name, before) as store:
        _manifest(campaign, out, command, version, complete=False)

        def fail(sample: int, reason: str) -> None:
            failed[sample] = reason
            store.put(sample, failed_sample(sample, campaign))

        missing = store.missing(ids)
        resumed = campaign.total - len(missing)
        if resumed:
            say(f"resuming: {resumed} of {campaign.total} samples are done")
        if progress is not None and resumed:
            progress(resumed)
        options: dict[str, Any] = {
            "on_result": store.put,
            "on_failure": fail,
            "kwargs": {"campaign": campaign},
            "timeout": _TIMEOUT * max(1.0, max(campaign.sizes) / 16) ** 3,
            "memory_limit": _MEMORY,
            "initializer": partial(require_ngspice, version),
            "progress": progress,
        }
        # a worker keeps one circuit loaded: one shape after the other saves it parsing a deck for every sample
        items = [(i, i) for i in sorted(missing, key=lambda i: (campaign.draw(i)[0].shape, i))]
        if scheduler is None:
            run(run_sample, items, workers=workers, **options)
        else:
            run_on_dask(run_sample, items, scheduler=scheduler, **options)
        samples = Samples.by_shape(campaign.circuit, ids, map(store.get, ids))
    if failed:
        sample, reason = min(failed.items())
        many = "1 sample is" if len(failed) == 1 else f"{len(failed)} samples are"
        say(f"{many} not_converged, since ngspice failed at every try; sample {sample}: {reason}")
    _export(campaign, samples, out / "dataset.nc")
    return samples, resumed


def _manifest(campaign: Campaign, out: Path, command: str, version: int, *, complete: bool) -> None:
    extra = {"campaign_sha256": campaign.sha256, "complete": complete}
    write_manifest(out, command, campaign.seed, extra, ngspice=str(version))


def _export(campaign: Campaign, samples: dict[tuple[int, int], Samples], path: Path) -> None:
    """All samples as NetCDF, sorted by id, one group a matrix shape; no timings, process ids or paths."""
    import xarray as xr

    # In memory first: HDF5 crashes the process where the disk fills while it writes.
    content = BytesIO()
    mode: str = "w"
    for (rows, columns), s in samples.items():
        r = s.realisation
        family = np.array([campaign.locate(int(i))[0] for i in s.ids])
        held = np.array([campaign.held_out(int(i)) for i in s.ids])
        side = "row" if campaign.circuit == "inv" else "column"
        dataset = xr.Dataset(
            {
                "a": (("sample", "row", "column"), s.a, {"long_name": "matrix", "units": "1"}),
                "g_pos": (("sample", "row", "column"), r.g_pos, {"long_name": "positive array", "units": "S"}),
                "g_neg": (("sample", "row", "column"), r.g_neg, {"long_name": "negative array", "units": "S"}),
                "offset": (("sample", "row"), r.offset, {"long_name": "amplifier offset", "units": "V"}),
                "inverter_offset": (("sample", side), r.inverter_offset, {"units": "V"}),
                "inverter_ratio": (("sample", side), r.inverter_ratio, {"units": "1"}),
                "volts": (("sample", side), s.volts, {"long_name": "input voltage b", "units": "V"}),
                "x": (("sample", "row"), s.x, {"long_name": "output voltage in ngspice", "units": "V"}),
                "x_linear": (("sample", "row"), s.linear_answer(campaign.spec), {"units": "V"}),
                "status": (("sample",), s.status, {"long_name": "amcsim.status.Status"}),
                "reason": (("sample",), s.reason, {"long_name": "amcsim.status.Reason"}),
                "settling": (("sample",), s.settling, {"long_name": "settling time of the read", "units": "s"}),
                "power": (("sample",), s.power, {"long_name": "drawn after settling", "units": "W"}),
                "energy": (("sample",), s.energy, {"long_name": "drawn until then", "units": "J"}),
                "family": (("sample",), family),
                "held_out": (("sample",), held.astype(np.int8)),
            },
            coords={"sample": s.ids},
            attrs={
                "campaign_sha256": campaign.sha256,
                "spec": campaign.spec.model_dump_json(),
                "schema_version": 1,
                **({} if campaign.circuit == "inv" else {"circuit": campaign.circuit}),
            },
        )
        group = f"m{rows}" if rows == columns else f"m{rows}x{columns}"
        dataset.to_netcdf(content, mode=mode, group=group, engine="h5netcdf")  # type: ignore[call-overload]
        mode = "a"
    write_bytes(path, content.getvalue())
