"""The fit: cell law and amplifier from single-element runs, both refined on the campaign's circuits."""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares

from amcsim import variation
from amcsim._types import F64, I64, Bool
from amcsim.access import curvature_voltage, on_resistance
from amcsim.campaign.beyond import check_beyond
from amcsim.campaign.design import Campaign
from amcsim.campaign.families import draw_matrix
from amcsim.campaign.sample import Samples, error_of_error, relative_distance
from amcsim.campaign.timing import timing_errors, timing_figures
from amcsim.netlist.deck import OPTIONS, cell_alterations, cell_instance, library_text, opamp_parameters
from amcsim.ngspice.session import session_for
from amcsim.nodal.build import build
from amcsim.nodal.verdict import judge
from amcsim.realisation import realise
from amcsim.solvers.arrays import surrogate_array
from amcsim.specs import Spec
from amcsim.status import Status
from amcsim.streams import Key
from amcsim.surrogate.confidence import FEATURES, Confidence, fit_confidence
from amcsim.surrogate.model import CellLaw, Domain, Figures, Surrogate, fit_cell_law

__all__ = [
    "FitBelowTargetError",
    "answers",
    "confidence",
    "fit",
    "measure_amplifier",
    "measure_cell",
    "missed",
    "parameters",
    "usable",
]


class FitBelowTargetError(ValueError):
    """A fit whose held-out figures miss the campaign's targets: one sentence."""


_VERDICT_CIRCUITS = 400
"""Circuits of each family on which the fast verdict is held against the full one."""
_TURNING = "turning"
"""A family for that check alone: a multiple of the identity and a skew part, which amplifiers' lag makes unstable."""


def device_range(spec: Spec) -> tuple[float, float]:
    """Device conductances that programming and reads can realise, S (what is gaussian: to six standard deviations)."""
    written, tolerance = spec.programming, spec.programming.tolerance
    if written.model == "gaussian" and written.sigma_by_state is not None:
        tolerance = max(sigma for _, sigma in written.sigma_by_state)
    reach = tolerance * {"ideal": 0.0, "uniform": 1.0, "write_verify": 1.0}.get(written.model, 6.0)
    low, high = max(spec.cell.g_min - reach, 0.1 * spec.cell.g_min), spec.cell.g_max + reach
    series = on_resistance(spec.cell) if written.verify == "cell" else 0.0
    return variation.reach((low, high / (1.0 - high * series)), spec)


def measure_cell(spec: Spec, conductances: int, voltages: int) -> tuple[F64, F64, F64]:
    """Single-cell sweeps in ngspice: (device conductances S, bit-line voltages V, currents A), flat."""
    half = np.linspace(0.05, 1.0, max(voltages // 2, 2)) * spec.cell.v_read_max
    deck = "\n".join(
        [
            "single-cell sweep",
            library_text(spec),
            "Vbl bl 0 dc 0.1",
            f"Vwl wl 0 dc {spec.cell.wordline:.12g}",
            f"Vbulk bulk 0 dc {spec.cell.bulk:.12g}",
            f"Xc bl 0 {cell_instance(spec.cell)} g=1e-4",
            OPTIONS + " abstol=1e-15 vntol=1e-12",
            ".end",
            "",
        ]
    )
    session = session_for(deck)
    rows = []
    for g in np.geomspace(*device_range(spec), conductances).tolist():
        for v in [*(-half[::-1]).tolist(), *half.tolist()]:
            session.alter({"vbl": v, **cell_alterations(spec.cell, ["c"], np.array([g]))})
            rows.append((g, v, -float(session.op(["i(vbl)"])[0])))
    g, v, current = np.array(rows).T
    return g, v, current


def measure_amplifier(spec: Spec) -> tuple[float, float]:
    """(open-loop gain, output resistance ohm) of the op-amp in ngspice, at an output of a third of v_read_max."""
    if spec.opamp.model == "ideal":
        return 1e12, 0.0
    parameters = " ".join(f"{k}={v:.12g}" for k, v in opamp_parameters(spec).items())
    deck = "\n".join(
        [
            "open-loop amplifier",
            library_text(spec),
            f"Vdd vdd 0 dc {spec.opamp.supply:.12g}",
            f"Vss vss 0 dc {-spec.opamp.supply:.12g}",
            "Vin inn 0 dc 0",
            f"Xa inn out vdd vss opamp_{spec.opamp.model} {parameters} vos=0",
            "Rl out 0 1e12",
            OPTIONS + " abstol=1e-15 vntol=1e-12",
            ".end",
            "",
        ]
    )
    session = session_for(deck)
    drive = spec.cell.v_read_max / 3.0 / spec.opamp.gain

    def slope(load: float) -> float:
        out = []
        for v in (-drive, drive):
            session.alter({"vin": v, "rl": load})
            out.append(float(session.op(["v(out)"])[0]))
        return (out[0] - out[1]) / (2 * drive)

    light, heavy = slope(1e12), slope(1e3)
    return light, 1e3 * (light / heavy - 1.0)


def usable(samples: Samples) -> Bool:
    """(n,): samples whose numbers the fit and the figures use: those that ngspice's verdict calls ok.

    A saturated circuit lies beyond the voltages of the surrogate's domain; there only its status is compared.
    """
    answered: Bool = np.isfinite(samples.x).all(axis=1) & (samples.status == Status.OK)
    return answered


def answers(surrogate: Surrogate, spec: Spec, samples: Samples) -> tuple[F64, I64]:
    """The surrogate on the samples' own realisations: (answers (n, rows) V, status (n,))."""
    array = surrogate_array(surrogate, spec, samples.a, samples.realisation)
    x, status, _ = array.answer(samples.volts[..., None])
    return x[..., 0], status[:, 0]


def parameters(
    campaign: Campaign, samples: dict[tuple[int, int], Samples], ngspice_version: str
) -> tuple[Surrogate, float]:
    """What `fit` finds, without verdict and figures, and the root mean square of the cell law's relative residual."""
    spec = campaign.spec
    g, v, current = measure_cell(spec, campaign.sweep_conductances, campaign.sweep_voltages)
    bend = curvature_voltage(spec.cell, g) if spec.cell.iv == "sinh" else None
    law, rms = fit_cell_law(g, v, current, bend)
    gain, ro = measure_amplifier(spec)
    low, high = device_range(spec)
    domain = Domain(
        sizes=tuple(sorted(campaign.sizes)),
        largest_size=campaign.largest_size,
        wire_resistance=campaign.wire_resistance,
        g_min=low * 0.999,
        g_max=high * 1.001,
        v_max=spec.cell.v_read_max,
    )
    start = Surrogate(
        circuit=campaign.circuit,
        spec=spec,
        cell=law,
        gain=gain,
        output_resistance=ro,
        fast_verdict=spec.cell.iv == "linear",
        domain=domain,
        ngspice_version=ngspice_version,
        campaign_sha256=campaign.sha256,
    )
    held = {m: _held_out(campaign, s) for m, s in samples.items()}
    seen = [s.take(~held[m] & usable(s)) for m, s in samples.items()]
    return _refine(start, [s for s in seen if s.ids.size]), rms


def _held_out(campaign: Campaign, samples: Samples) -> Bool:
    """(n,)"""
    return np.array([campaign.held_out(int(i)) for i in samples.ids])


def fit(campaign: Campaign, samples: dict[tuple[int, int], Samples], ngspice_version: str) -> Surrogate:
    """Fit on the samples that are not held out; figures are of those that are. `samples` by matrix shape."""
    spec = campaign.spec
    fitted, rms = parameters(campaign, samples, ngspice_version)
    # curved cells' poles move with the answer: there every array takes the full verdict
    checked, agree = _check_fast_verdict(fitted, campaign) if fitted.fast_verdict else (0, False)
    fitted = fitted.model_copy(update={"fast_verdict": agree})
    check_beyond(fitted, campaign)
    kept = [s.take(_held_out(campaign, s) & usable(s)) for s in samples.values()]
    errors, relative = [], []
    for s in (s for s in kept if s.ids.size):
        x, _ = answers(fitted, spec, s)
        errors.append(error_of_error(x, s.x, s.linear_answer(spec)))
        relative.append(relative_distance(x, s.x))
    every = np.concatenate(errors) if errors else np.zeros(0)
    if not every.size:
        raise ValueError("no held-out circuit of the campaign has an answer: nothing vouches for the fit")
    figures = Figures(
        samples=every.size,
        error_of_error_median=float(np.median(every)),
        error_of_error_p95=float(np.percentile(every, 95)),
        relative_error_median=float(np.median(np.concatenate(relative))),
        cell_law_rms=rms,
        certificates_checked=checked,
        **timing_figures(timing_errors(fitted, spec, s) for s in kept),
    )
    return fitted.model_copy(
        update={
            "figures": figures,
            "confidence": confidence(fitted, campaign, samples),
            "valid": not missed(campaign, figures),
        }
    )


def confidence(surrogate: Surrogate, campaign: Campaign, samples: dict[tuple[int, int], Samples]) -> Confidence | None:
    """How far answers of `surrogate` may be off, from the held-out samples; None where none of them has an answer."""
    known, off = [np.zeros((0, len(FEATURES)))], [np.zeros(0)]
    for s in (s.take(_held_out(campaign, s) & usable(s)) for s in samples.values()):
        if s.ids.size:
            array, volts = surrogate_array(surrogate, campaign.spec, s.a, s.realisation), s.volts[..., None]
            x = array.array.answers(volts)
            known.append(array.features(volts, x)[:, 0])
            off.append(np.linalg.norm(x[..., 0] - s.x, axis=1))
    features, distance = np.concatenate(known), np.concatenate(off)
    answered = np.isfinite(features).all(axis=1) & np.isfinite(distance)
    return fit_confidence(features[answered], distance[answered]) if answered.any() else None


def missed(campaign: Campaign, figures: Figures) -> str:
    """What of the campaign's targets the held-out figures miss, as a sentence; empty where they meet them."""
    median, p95 = figures.error_of_error_median, figures.error_of_error_p95
    if median <= campaign.target_median and p95 <= campaign.target_p95:  # a NaN is none
        return ""
    return (
        f"the fit's error_of_error on {figures.samples} held-out circuits is {median:.2g} in the median and {p95:.2g} "
        f"at 95 %, above the campaign's targets target_median = {campaign.target_median:g} and target_p95 = "
        f"{campaign.target_p95:g}"
    )


def _refine(start: Surrogate, seen: list[Samples]) -> Surrogate:
    """Scale on-resistance and gain to the circuits themselves (robust least squares of the error of error)."""
    if not seen or start.cell.r0 == 0:
        return start

    def with_scales(p: F64) -> Surrogate:
        cell = CellLaw(**{k: value * (1 + float(p[0])) for k, value in start.cell.model_dump().items()})
        return start.model_copy(update={"cell": cell, "gain": start.gain * (1 + float(p[1]))})

    batches = [(s, s.linear_answer(start.spec)) for s in seen]

    def residuals(p: F64) -> F64:
        model = with_scales(p)
        parts = []
        for s, linear in batches:
            x = surrogate_array(model, model.spec, s.a, s.realisation).array.answers(s.volts[..., None])[..., 0]
            scale = np.maximum(np.linalg.norm(s.x - linear, axis=1), 1e-3 * np.linalg.norm(s.x, axis=1))
            parts.append(((x - s.x) / np.where(scale > 0, scale, 1.0)[:, None]).ravel())
        return np.concatenate(parts)

    found = least_squares(residuals, np.zeros(2), loss="soft_l1", f_scale=1e-3, x_scale=1e-3, bounds=(-0.2, 0.2))
    return with_scales(found.x)


def _check_fast_verdict(surrogate: Surrogate, campaign: Campaign) -> tuple[int, bool]:
    """(circuits judged fast, whether the full verdict agreed wherever the fast one says something)."""
    spec, checked, agree = campaign.spec, 0, True
    for family in (*campaign.samples, _TURNING):
        for m in campaign.sizes:
            key = Key(campaign.seed, (campaign.end, m))
            count = _VERDICT_CIRCUITS if m <= 8 else 40
            if family == _TURNING:
                rng = key.child(3).generator()
                n = rng.standard_normal((count, m, m))
                a = rng.uniform(0.01, 3.0, (count, 1, 1)) * np.eye(m) + n - np.swapaxes(n, -1, -2)
            else:
                a = np.stack([draw_matrix(family, m, key.child(0, i), campaign.recorded.get(m)) for i in range(count)])
            r = realise(a, spec, key.child(1))
            handle = surrogate_array(surrogate, spec, a, r)
            volts = handle.inputs(key.child(2).generator().standard_normal((count, m, 1)))[0]
            array = handle.array
            for k in range(count):
                model = build(handle.topology, spec, r[k], surrogate.cell.r0)
                point = model.operating_point(volts[k])
                _, status, _ = judge(model, volts[k], point.u, point.current, point.converged, by_poles=True)
                checked += 1
                if array.certified[k]:
                    agree &= status[0] <= Status.SATURATED
                if array.unstable[k]:
                    agree &= status[0] == Status.UNSTABLE
                if array.calm[k]:
                    agree &= model.stable
    return checked, bool(agree)
