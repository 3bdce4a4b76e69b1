"""report.html of a calibration: circuits and how they ended, the fitted cell law, held-out errors, domain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amcsim import plot
from amcsim._types import F64
from amcsim.access import curvature_voltage
from amcsim.report.page import Section, count, document, facts, figure, number, paragraph, provenance, quantity, table
from amcsim.report.technology import technology_table
from amcsim.runs import write_text
from amcsim.status import Status

if TYPE_CHECKING:
    from amcsim.campaign.calibrate import Calibration
    from amcsim.campaign.design import Campaign
    from amcsim.campaign.sample import Samples

__all__ = ["calibration_page", "write_report"]


def write_report(campaign: Campaign, calibration: Calibration, folder: Path) -> Path:
    """Write report.html beside the manifest.json of a calibration's folder. Raises OSError."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    path = folder / "report.html"
    write_text(path, calibration_page(campaign, calibration, manifest))
    return path


def calibration_page(campaign: Campaign, calibration: Calibration, manifest: Mapping[str, Any]) -> str:
    """The whole page as HTML; `manifest` is manifest.json's content."""
    surrogate = calibration.surrogate
    lead = [
        paragraph(
            f"{count(campaign.total)} {campaign.circuit.upper()} circuits went through ngspice; a quarter of them, "
            "held out of the fit, say below how far the surrogate is off. The error of the error is the distance "
            "between surrogate and ngspice over the circuit's own error, known write errors excluded: 1 would mean "
            "that the surrogate knows nothing of the circuit."
        ),
        _summary(calibration),
    ]
    sections = [
        _circuits(campaign, calibration),
        _cell(calibration),
        _held_out(campaign, calibration),
        Section("The technology", [technology_table(surrogate.spec, "The spec that the campaign names.")]),
    ]
    return document(f"Calibration of {campaign.circuit.upper()} circuits", lead, sections, provenance(manifest))


def _summary(calibration: Calibration) -> str:
    surrogate, figures = calibration.surrogate, calibration.surrogate.figures
    domain = surrogate.domain
    rows = [
        ("error of the error, median", number(figures.error_of_error_median, 2) if figures else "–"),
        ("error of the error, 95th percentile", number(figures.error_of_error_p95, 2) if figures else "–"),
        ("relative error of x, median", number(figures.relative_error_median, 2) if figures else "–"),
        ("held-out circuits with an answer", count(figures.samples if figures else None)),
        ("cell law, relative residual (rms)", number(figures.cell_law_rms, 2) if figures else "–"),
        ("fast verdict", _fast_verdict(calibration)),
        ("domain: sizes", ", ".join(f"{m}x{m}" for m in domain.sizes)),
        ("domain: device conductances", f"{quantity(domain.g_min, 'S')} to {quantity(domain.g_max, 'S')}"),
        ("domain: voltages", f"up to ±{quantity(domain.v_max, 'V')}"),
        ("amplifier gain, as fitted", number(surrogate.gain, 6)),
        ("amplifier output resistance, as fitted", quantity(surrogate.output_resistance, "ohm")),
        ("campaign, sha256", f"`{surrogate.campaign_sha256}`"),
        ("ngspice", surrogate.ngspice_version),
    ]
    return facts(rows, "The surrogate in `surrogate.json`. Outside its domain it refuses to answer.")


def _fast_verdict(calibration: Calibration) -> str:
    figures = calibration.surrogate.figures
    checked = count(figures.certificates_checked if figures else None)
    if calibration.surrogate.fast_verdict:
        return f"agreed with the full one on all of {checked} circuits"
    return f"contradicted the full one on some of {checked} circuits, hence is not used"


def _circuits(campaign: Campaign, calibration: Calibration) -> Section:
    counted: dict[tuple[str, int], np.ndarray] = {}
    for samples in calibration.samples.values():
        for sample, status in zip(samples.ids.tolist(), samples.status.tolist(), strict=True):
            counted.setdefault(campaign.locate(sample)[:2], np.zeros(len(Status), np.int64))[status] += 1
    rows = [
        [family, str(size), count(int(tally.sum())), *(count(int(n)) for n in tally)]
        for (family, size), tally in sorted(counted.items())
    ]
    return Section(
        "The circuits",
        [
            paragraph(
                "Families of matrices and how their circuits ended in ngspice. Numbers are fitted to, and compared "
                f"on, circuits that are ok; of the others only the status is. Seed {campaign.seed}."
            ),
            table(
                ["family", "size", "circuits", *map(str, Status)],
                rows,
                "Circuits by status in ngspice; size is the largest side.",
                words=(0,),
            ),
        ],
    )


def _cell(calibration: Calibration) -> Section:
    from amcsim.campaign.fit import measure_cell

    law, spec = calibration.surrogate.cell, calibration.surrogate.spec
    if law.r0 == 0.0:
        return Section("The cell", [paragraph("These cells have no access device, hence no series resistance.")])
    g, v, current = measure_cell(spec, 5, 16)
    v0 = curvature_voltage(spec.cell, g)
    inner = v - (current / g if spec.cell.v0 is None else v0 * np.arcsinh(current / (g * v0)))
    fitted = law.r0 + law.r_even * inner + law.r_odd * np.abs(inner)
    return Section(
        "The cell",
        [
            paragraph(
                f"Single cells were swept in ngspice up to ±{quantity(spec.cell.v_read_max, 'V')}. Voltage that the "
                f"device does not take is v, across the access transistor, whose resistance is {law.r0:.3f} Ω + "
                f"{law.r_even:.3f} Ω/V · v + {law.r_odd:.3f} Ω/V · |v|."
            ),
            figure(
                plot.cell_law(inner, inner / current, fitted),
                "Resistance of the access transistor in cells of five conductances. The line should follow the points "
                "to a small part of an ohm; it is fitted to such sweeps, then shifted to what whole circuits ask for.",
            ),
        ],
    )


def _held_out(campaign: Campaign, calibration: Calibration) -> Section:
    from amcsim.campaign.fit import answers, usable
    from amcsim.campaign.sample import error_of_error

    errors: dict[str, list[F64]] = {}
    different = total = 0
    for samples in calibration.samples.values():
        held = np.array([campaign.held_out(i) for i in samples.ids.tolist()])
        mine: Samples = samples.take(held)
        if not mine.ids.size:
            continue
        x, status = answers(calibration.surrogate, campaign.spec, mine)
        total += status.size
        different += int((status != mine.status).sum())
        both = usable(mine) & np.isfinite(x).all(axis=1)
        error = error_of_error(x[both], mine.x[both], mine.linear_answer(campaign.spec)[both])
        for sample, one in zip(mine.ids[both].tolist(), error.tolist(), strict=True):
            errors.setdefault(campaign.locate(sample)[0], []).append(one)
    families = {name: np.array(values) for name, values in errors.items()}
    rows = [
        [name, count(e.size), *(number(float(v), 2) for v in (np.median(e), np.percentile(e, 95), e.max()))]
        for name, e in families.items()
    ]
    return Section(
        "Held-out circuits",
        [
            paragraph(
                f"Statuses differ from ngspice's on {different} of {total} held-out circuits; that should be 0. Median "
                "and 95th percentile of the error of the error should be below 10⁻³ and 5 × 10⁻³."
            ),
            figure(
                plot.error_shares(families, label="error of the error", bound=5e-3),
                "Share of held-out circuits up to an error of the error, by family, with the number of circuits.",
            ),
            table(
                ["family", "circuits", "median", "95th percentile", "largest"], rows, "Error of the error by family."
            ),
        ],
    )
