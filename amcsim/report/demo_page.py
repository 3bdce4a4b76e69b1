"""The demo's page: its results in numbered sections, with what each should show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amcsim import plot
from amcsim.report.demo import Claim, DemoResults, claims
from amcsim.report.demo_parts import SETTLED, SPEC, Comparison, M
from amcsim.report.page import (
    Section,
    count,
    document,
    figure,
    number,
    paragraph,
    percent,
    provenance,
    quantity,
    table,
)
from amcsim.report.technology import technology_table
from amcsim.runs import plain, write_json, write_manifest, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["demo_page", "write_demo"]

PAPER = "Zhang et al."
"""S. Zhang et al., "First Demonstration of Second-order Training ... with In-memory AMC": the source of its figures."""
PAPER_EPOCHS = {"K-FAC, surrogate": "37", "SGD with momentum": "50", "Adam": "94"}


def demo_page(results: DemoResults, manifest: Mapping[str, Any]) -> str:
    """The whole page as HTML; `manifest` is manifest.json's content."""
    said = claims(results)
    met = sum(claim.holds for claim in said)
    data = f"handwritten {'letters' if results.trained.data == 'letters' else 'digits'}"
    lead = [
        paragraph(
            "amcsim simulates analog matrix computing: a closed loop of amplifiers around arrays of resistive memory "
            "(RRAM) that solves A x = b by physics. This page is one run of all of it: a circuit in ngspice, a "
            "surrogate fitted to such circuits and held against ngspice, refinement to high precision, and the "
            f"training of a classifier of {data} by K-FAC, whose linear systems the arrays solve."
        ),
        paragraph(
            f"{met} of {len(said)} statements hold. The run took {sum(results.elapsed_s.values()):.0f} s; every number "
            "below is in `results.json` beside this page."
        ),
        _claims_table(said),
    ]
    sections = [
        _array(results),
        _waveforms(results),
        _surrogate(results),
        _refinement(results),
        _training(results),
        _check(results),
        _endings(results),
        _technology(),
    ]
    return document("amcsim: from an RRAM array to second-order training", lead, sections, provenance(manifest))


def _claims_table(said: Sequence[Claim]) -> str:
    found = [number(float(claim.found), 2) if "e-" in claim.found else claim.found for claim in said]
    rows = [(c.text, c.wanted, value, "yes" if c.holds else "NO") for c, value in zip(said, found, strict=True)]
    return table(["statement", "should be", "found", "holds"], rows, "What this run shows.", words=(0, 1, 2, 3))


def _array(results: DemoResults) -> Section:
    solved, r = results.solved, results.solved.realisation
    columns = ["", *(f"x{j}" for j in range(M)), "b"]
    rows = [
        [f"row {i}", *(number(v) for v in line), number(right)]
        for i, (line, right) in enumerate(zip(solved.a.tolist(), solved.b.tolist(), strict=True))
    ]
    maps = plot.array_map(
        [r.g_pos, r.g_neg], ["positive array G+", "negative array G\N{MINUS SIGN}"], low=0, high=230e-6
    )
    return Section(
        "The array",
        [
            paragraph(
                f"A {M}x{M} matrix is written into two arrays of 1T1R cells: its positive entries into G+, its "
                f"negative ones into G\N{MINUS SIGN}, the largest entry as {quantity(SPEC.g_unit, 'S')} above the "
                f"floor of {quantity(SPEC.cell.g_min, 'S')} that every cell has. Each row of both arrays ends "
                "at the summing node of one amplifier, whose output drives a bit-line of G+, and through an inverter "
                "one of G\N{MINUS SIGN}. Where all currents balance, the outputs are x = A⁻¹ b. The last section lists "
                "the technology: cells behind transistors, wires, board amplifiers, and where each value comes from."
            ),
            table(columns, rows, "The system A x = b of this page, without units."),
            figure(
                maps,
                "Conductances as they were written, in µS. Entries of the wrong sign should be near "
                f"{1e6 * SPEC.cell.g_min:.0f}; the write error is up to ±{1e6 * SPEC.programming.tolerance:.0f} each.",
            ),
        ],
    )


def _waveforms(results: DemoResults) -> Section:
    solved = results.solved
    final = {f"v(x{i})": v for i, v in enumerate((solved.unit * solved.answers["ngspice"]).tolist())}
    waves = solved.waveforms
    fig = plot.waveforms(
        waves.time, waves.signals, settling=solved.settling_s, tolerance=SETTLED, step=waves.step, final=final
    )
    names = ("ngspice", "nodal", "surrogate")
    columns = ["", "exact A⁻¹ b", "ngspice .op", "nodal", "surrogate", "end of .tran"]
    ends = [float(v[-1]) / solved.unit for v in waves.signals.values()]
    rows = [
        [f"x{i}", *(number(v, 6) for v in (solved.exact[i], *(solved.answers[n][i] for n in names), ends[i]))]
        for i in range(M)
    ]
    reference = solved.answers["ngspice"]
    others = [solved.answers["nodal"], solved.answers["surrogate"], np.array(ends)]
    apart = [_distance(v, reference) for v in others]
    rows += [
        ["off from exact", "", *(percent(_distance(v, solved.exact)) for v in (reference, *others))],
        ["off from ngspice .op", "", "", *(number(v, 2) for v in apart)],
        ["status", "", *(solved.statuses[n] for n in names), ""],
    ]
    settled = "not within the time shown" if solved.settling_s is None else f"in {quantity(solved.settling_s, 's', 3)}"
    return Section(
        "One solve in ngspice",
        [
            paragraph(
                "The inputs step from 0 to b, scaled so that no cell sees more than "
                f"{quantity(SPEC.cell.v_read_max, 'V')}. The outputs should run to the operating point (dotted) "
                f"without ringing; they settled to {percent(SETTLED)} {settled}."
            ),
            figure(
                fig,
                f"Outputs of the amplifiers in ngspice's transient. Grey: from the input step until all outputs "
                f"together stay within {percent(SETTLED)} of their end. Dotted: ngspice's operating point.",
            ),
            paragraph(
                f"The circuit's answer is off by {percent(_distance(reference, solved.exact))}, because cells are "
                "written inexactly, wires and transistors are in series and amplifiers have offsets: it is a "
                "low-precision solution (LP-INV). The three backends should agree on it to much less."
            ),
            table(columns, rows, f"The same circuit on every backend; 1 unit of x is {quantity(solved.unit, 'V')}."),
        ],
    )


def _distance(x: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(x - reference) / np.linalg.norm(reference))


def _surrogate(results: DemoResults) -> Section:
    law, config = results.surrogate.cell, results.config
    resumed = f", {results.resumed} of them already solved by an earlier run" if results.resumed else ""
    return Section(
        "The surrogate against ngspice",
        [
            paragraph(
                f"{results.config.circuits} circuits of four families went through ngspice{resumed}: random, Wishart "
                "(covariances), badly conditioned, and leaf blocks of recorded K-FAC runs. The surrogate keeps the "
                f"physics and fits three numbers of the access transistor ({law.r0:.2f} Ω at rest, "
                f"{law.r_even:+.2f} and {law.r_odd:+.2f} Ω/V) and the amplifiers' gain and output resistance. "
                f"The folder `{results.calibration_folder}` holds the circuits, the surrogate and a report on the fit."
            ),
            paragraph(
                f"Both surrogates, the one fitted here and the one that comes with amcsim, then met {config.validated} "
                "circuits that no fit saw. The error of the error is the distance between surrogate and ngspice over "
                "the circuit's own error, known write errors excluded: 1 would mean that the surrogate knows nothing "
                "of the circuit."
            ),
            figure(
                _compared(results.fresh),
                "The surrogate fitted here. Left: circuit errors by surrogate and ngspice, which should lie on the "
                "line. Right: share of circuits up to an error of the error; median and 95th percentile should be "
                "below 10⁻³ and 5 × 10⁻³.",
            ),
            figure(
                _compared(results.shipped), "The same of the surrogate that comes with amcsim, on the same circuits."
            ),
            _figures_table(
                {"fitted here": results.fresh.figures, "shipped": results.shipped.figures},
                "Both surrogates. Rates are of one core and include ranging, bounds and verdict; they depend on what "
                "else the machine was doing.",
            ),
        ],
    )


def _compared(comparison: Comparison) -> Figure:
    return plot.surrogate_vs_ngspice(comparison.circuit_error, comparison.surrogate_error, comparison.errors)


def _figures_table(figures: Mapping[str, Mapping[str, Any]], caption: str) -> str:
    """Validation.as_dict by column name."""
    every = list(figures.values())
    rows = [
        [text, wanted, *(number(one[key], 2) for one in every)]
        for text, wanted, key in (
            ("error of the error, median", "10⁻³ or less", "error_of_error_median"),
            ("error of the error, 95th percentile", "5 × 10⁻³ or less", "error_of_error_p95"),
            ("relative error of x, median", "", "relative_error_median"),
        )
    ]
    rows += [
        [f"circuits that ngspice calls {status}", "", *(count(one["statuses"][status]) for one in every)]
        for status in every[0]["statuses"]
        if any(one["statuses"][status] for one in every)
    ]
    rows += [
        [text, wanted, *(count(round(one[key])) for one in every)]
        for text, wanted, key in (
            ("circuits with another status", "0", "status_disagreements"),
            ("surrogate, further solves of an array (1/s)", "1,000,000 on an idle core", "surrogate_solves_per_s"),
            ("surrogate, with programming (1/s)", "100,000 on an idle core", "surrogate_solves_with_programming_per_s"),
            ("ngspice (1/s)", "", "ngspice_solves_per_s"),
        )
    ]
    return table(["", "should be", *figures], rows, caption, words=(0, 1))


def _refinement(results: DemoResults) -> Section:
    found = results.refinement
    curves = {f"ratio {ratio:.2f}": row.tolist() for ratio, row in zip(found.ratio, found.errors, strict=True)}
    rows = [
        [
            number(float(ratio)),
            number(float(measured)),
            percent(float(row[0])),
            number(float(row[-1]), 2),
            count(passes),
        ]
        for ratio, measured, passes, row in zip(found.ratio, found.measured, found.passes, found.errors, strict=True)
    ]
    columns = ["ρ(I − A_lp⁻¹ A)", "measured ratio", "error, pass 1", f"error, pass {found.errors.shape[1]}"]
    return Section(
        "From low to high precision",
        [
            paragraph(
                "HP-INV repeats the cheap analog solve on what is left: r = b − A x digitally, x ← x + A_lp⁻¹ r, where "
                "A_lp is what the array really holds. Each pass multiplies the error by I − A_lp⁻¹ A, so in a "
                "logarithmic plot the curves should be straight lines; a pass gains that matrix's spectral radius."
            ),
            figure(
                plot.error_by_pass(curves, stop=2.0**-24),
                "Error after each pass for five leaf blocks of K-FAC systems, from well to badly written ones, on the "
                "surrogate's arrays. Offsets of the amplifiers shift single points off the line.",
            ),
            table(
                [*columns, "passes to 24 bits"],
                rows,
                "The law in numbers: the first two columns should be close. The measured ratio is the geometric mean "
                "over all passes after the first.",
                words=(),
            ),
        ],
    )


def _training(results: DemoResults) -> Section:
    trained = results.trained
    runs = trained.runs
    letters = trained.data == "letters"
    fig = plot.training_curves({n: r["accuracy"] for n, r in runs.items()}, {n: r["loss"] for n, r in runs.items()})
    rows = [
        [
            name,
            count(run["epochs_to_full_accuracy"]),
            PAPER_EPOCHS.get(name, "–"),
            percent(run["accuracy"][-1]),
            number(run["loss"][-1]),
            percent(run["test_accuracy"]),
            f"{run['elapsed_s']:.1f}",
        ]
        for name, run in runs.items()
    ]
    epochs = results.config.epochs
    columns = ["run", "epochs to 100 %", f"in {PAPER}", f"accuracy, epoch {epochs}", "loss (nats)", "test accuracy"]
    apart = "" if letters else f" {PAPER} trained on letters: compare the order, not the numbers."
    return Section(
        "Training",
        [
            paragraph(
                f"The network of {PAPER}, 5x5 convolution to 4 channels, pooling, 16 features to 4 classes, on "
                f"{trained.train_images} images of {', '.join(trained.classes)} ({trained.test_images} for the test). "
                "K-FAC inverts matrices of 25, 4, 16 and 4 rows a step; BlockAMC cuts them into 4x4 leaves, and HP-INV "
                "refines each leaf to 24 bits. The curves of both K-FAC runs should coincide."
            ),
            figure(fig, "Training accuracy and loss after each epoch; the same network, images and order in each run."),
            table(
                [*columns, "time (s)"],
                rows,
                "Runs. A dash under epochs: not reached."
                f"{apart} Their settings for SGD and Adam are taken as they stand.",
            ),
            _counts_table(results),
            paragraph(
                f"{PAPER} report a relative LP-INV error of 58 % and 20 passes. A write error of ±10 µS on 20 to "
                "220 µS alone gives less of both, as here; coarse converters, gain errors or offsets may be the rest."
            ),
        ],
    )


def _counts_table(results: DemoResults) -> str:
    run = results.trained.runs["K-FAC, surrogate"]
    counts, errors, steps = run["counts"], run["errors"], run["counts"]["steps"]
    kept = results.trained.reuse_counts["array_programmings"]
    rows = [
        ("steps", count(steps), "100"),
        ("update vectors", count(counts["update_vectors"]), "400"),
        ("high-precision vectors (leaf INVs)", count(counts["high_precision_vectors"]), "13,900"),
        ("… a step", number(counts["high_precision_vectors"] / steps), "139"),
        ("arrays programmed, one array for all leaves", count(counts["array_programmings"]), "2,800"),
        ("… a step", number(counts["array_programmings"] / steps), "28"),
        ("… a step, where every leaf keeps its array", count(kept), "–"),
        ("arrays written again after bad solves", count(counts["reprogrammings"]), "–"),
        ("vectors left to the digital host", count(counts["digital_fallbacks"]), "–"),
        ("analog passes", count(counts["analog_solves"]), "283,606"),
        ("analog passes a vector", number(run["iterations_mean"]), "20.4"),
        ("LP-INV relative error, mean by vector", percent(errors["lp_mean_by_vector"]), "58.33 %"),
        ("LP-INV relative error, mean by array", percent(errors["lp_mean_by_array"]), "–"),
        ("HP-INV relative error, mean by vector", percent(errors["hp_mean_by_vector"]), "0.013 %"),
        ("update vectors against digital ones of the same step, mean", percent(errors["update_same_step_mean"]), "–"),
        ("update vectors, without a definition", "–", "4.47 %"),
    ]
    return table(["K-FAC through the surrogate", "here", PAPER], rows, "What the training spent, and how exact it was.")


def _check(results: DemoResults) -> Section:
    found = results.checked
    steps = results.config.check_steps
    rows = [
        [f"step {step}, {name}", number(full, 2), number(single, 2)]
        for (step, name), full, single in zip(found.vectors, found.full, found.single, strict=True)
    ]
    return Section(
        "The training steps in ngspice",
        [
            paragraph(
                f"The first {f'{steps} steps' if steps > 1 else 'step'}, {found.leaf_solves} leaf INVs, ran again with "
                f"ngspice in the surrogate's place, on the same written arrays: {count(found.full_solves)} "
                f"operating points with full refinement, {count(found.single_solves)} with a single pass. "
                "Refinement hides what a leaf does wrong; a single pass hides nothing, and its updates are off from "
                f"the digital ones by {percent(found.single_pass_error, 2)}. In both columns ngspice and surrogate "
                "should differ by less than 1 %, that is 0.01."
            ),
            table(
                ["update vector", "full refinement", "single pass"],
                rows,
                "‖u_ngspice − u_surrogate‖ / ‖u_surrogate‖ of each update vector. Later steps include the drift of the "
                "two trajectories.",
            ),
        ],
    )


def _endings(results: DemoResults) -> Section:
    endings = results.endings
    backends = list(endings.circuits[0].ends)
    rows = [[case.circuit, *(case.ends[name] for name in backends)] for case in endings.circuits]
    waves = endings.waveforms
    return Section(
        "How a solve may end",
        [
            paragraph(
                "A DC operating point alone is no answer: simulators return unstable equilibria, too. Every backend "
                "looks at poles, bounds and settling, and should end each circuit in the same word."
            ),
            table(["circuit", *backends], rows, "Five circuits and how they end.", words=(0, 1, 2, 3)),
            figure(
                plot.waveforms(waves.time, waves.signals, final=endings.operating_point),
                "The second circuit of the table in ngspice's transient from rest. The outputs first run to the "
                "operating point (dotted), which is a solution of A x = b, then oscillate away from it.",
            ),
        ],
    )


def _technology() -> Section:
    return Section(
        "The technology",
        [
            paragraph(
                "The preset pku_350nm follows S. Zhang et al., First Demonstration of Second-order Training of Deep "
                "Neural Networks with In-memory Analog Matrix Computing (`paper` in the table). It names no parts, so "
                "many values are data-sheet figures of a likely part or assumptions, and say so."
            ),
            technology_table(SPEC, "Every value of the preset; a spec file may change any of them."),
        ],
    )


def write_demo(results: DemoResults, folder: Path, command: str) -> Path:
    """Write results.json, manifest.json and index.html into `folder`; the page's path. Raises OSError."""
    extra = {"campaign_sha256": results.campaign_sha256}
    manifest = write_manifest(folder, command, results.config.seed, extra, ngspice=results.surrogate.ngspice_version)
    write_json(folder / "results.json", plain(results.as_dict()))
    page = folder / "index.html"
    write_text(page, demo_page(results, json.loads(manifest.read_text(encoding="utf-8"))))
    return page
