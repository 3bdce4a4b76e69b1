"""A whole campaign: circuits through ngspice on several workers, resumable; the fit; the dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amcsim.campaign.design import Campaign
from amcsim.campaign.fit import fit
from amcsim.campaign.sample import Samples, run_sample
from amcsim.ngspice import ngspice_version
from amcsim.runs import Store, atomic_write, run, write_manifest
from amcsim.surrogate.model import Surrogate, save_surrogate

__all__ = ["Calibration", "calibrate"]

_TIMEOUT = 120.0
"""Time for one circuit, s; a 4x4 takes milliseconds."""


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
    command: str = "amcsim calibrate",
    progress: Callable[[int], object] | None = None,
) -> Calibration:
    """Run what is missing of a campaign in `out`/samples.sqlite, fit, write surrogate.json, dataset.nc, manifest.json.

    `progress(done)` is told how many more samples are done. Raises StoreError (a store of another campaign, a full
    disk), TaskError, WorkerFailure, NgspiceError; committed samples stay in every case.
    """
    out.mkdir(parents=True, exist_ok=True)
    ids = range(campaign.total)
    with Store(out / "samples.sqlite", campaign.sha256) as store:
        missing = list(store.missing(ids))
        resumed = campaign.total - len(missing)
        if progress is not None and resumed:
            progress(resumed)
        run(
            run_sample,
            [(i, i) for i in missing],
            workers=workers,
            on_result=store.put,
            kwargs={"campaign": campaign},
            timeout=_TIMEOUT,
            progress=progress,
        )
        samples = Samples.by_shape(campaign.circuit, ids, map(store.get, ids))
    version = str(ngspice_version() or "")
    surrogate = fit(campaign, samples, version)
    save_surrogate(surrogate, out / "surrogate.json")
    _export(campaign, samples, out / "dataset.nc")
    write_manifest(out, command, campaign.seed, {"campaign_sha256": campaign.sha256}, ngspice=version or None)
    return Calibration(surrogate, samples, resumed)


def _export(campaign: Campaign, samples: dict[tuple[int, int], Samples], path: Path) -> None:
    """All samples as NetCDF, sorted by id, one group a matrix shape; no timings, process ids or paths."""
    import xarray as xr

    with atomic_write(path) as temporary:
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
            dataset.to_netcdf(temporary, mode=mode, group=group, engine="h5netcdf")  # type: ignore[call-overload]
            mode = "a"
