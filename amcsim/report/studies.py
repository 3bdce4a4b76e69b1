"""Pages of studies, from the JSON that `amcsim reproduce` leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from amcsim.report.analog_training import analog_training_page
from amcsim.report.cost import cost_page
from amcsim.report.page import Section, count, document, facts, figure, number, paragraph, percent, provenance, table

__all__ = ["PAGES", "hp_inv_page", "stamp_page"]

_NAMES = {"plain": "plain", "minimal_residual": "minimal residual", "gcr": "flexible GCR"}
_COLUMNS = ("failed alone", "passes, mean", "95 %", "array writes", "analog solves", "digital")


def hp_inv_page(result: dict[str, Any]) -> str:
    """The page of studies.hp_inv."""
    from amcsim.plot.studies import lines_by_panel

    settings, guard, rows = result["settings"], result["safeguards"], result["rows"]
    sizes = [n for n in (16, 64, 256) if any(r["n"] == n for r in rows)]
    conditions = sorted({r["condition"] for r in rows})
    bits = 6 if 6 in settings["bits"] else 4

    def line(n: int, method: str, name: str) -> tuple[Sequence[float], Sequence[float | None]]:
        found = {r["condition"]: r[name] for r in rows if (r["n"], r["bits"], r["method"]) == (n, bits, method)}
        return conditions, [found[c] for c in conditions]

    def drawn(name: str, label: str, log_y: bool) -> Any:
        panels = {f"n = {n}": {_NAMES[m]: line(n, m, name) for m in settings["methods"]} for n in sizes}
        return lines_by_panel(panels, "condition", label, log_y=log_y)

    lead = [
        paragraph(
            f"{count(guard['systems'])} random systems, each by three methods on the same written arrays: "
            f"{count(guard['wrong'])} wrong answers, {count(guard['not_ok'])} not ok. A wrong answer says `ok` and "
            "has a residual, formed anew in extended precision, above the stop rule."
        )
    ]
    method_rows = [
        [_NAMES[m], *(count(f[k]) for k in ("failed_alone", "array_writes", "analog_solves", "digital_fallbacks"))]
        for m, f in guard["by_method"].items()
    ]
    published = result["published"]
    sections = [
        Section(
            "What it costs over the grid",
            [
                table(
                    ["method", "failed alone", "array writes", "analog solves", "digital fallbacks"],
                    method_rows,
                    "Sums over all systems. Alone: one programming, no digital help.",
                ),
                facts(
                    [
                        ("seed", str(settings["seed"])),
                        ("n: systems a cell", ", ".join(f"{n}: {k}" for n, k in settings["systems"].items())),
                        ("conditions", ", ".join(f"{c:g}" for c in settings["conditions"])),
                        ("bits of LP precision", ", ".join(map(str, settings["bits"]))),
                        ("stop rule", number(settings["stop"])),
                    ],
                    "Settings.",
                ),
            ],
        ),
        Section(
            "Passes and failures of one array",
            [
                figure(
                    drawn("passes_mean", "passes", True), f"Passes to 24 bits where it converges, {bits}-bit cells."
                ),
                figure(drawn("failed_alone", "share not converged", False), f"Systems given up, {bits}-bit cells."),
                _table(rows, ("n", "condition", "bits", "radius_median", "diverging"), "The grid."),
            ],
        ),
        Section(
            "4x4 arrays under BlockAMC",
            [
                paragraph(
                    f"Published: {published['n']}x{published['n']} to {published['stop_bits']} bits in about "
                    f"{published['passes']} passes."
                ),
                _table(result["blocks"], ("n", "condition", "leaf"), "HP-INV around BlockAMC."),
            ],
        ),
        Section("Stop rules", [_table(result["stops"], ("stop",), "n = 16, condition 10, 4-bit cells.")]),
    ]
    return document("HP-INV on random systems", lead, sections, provenance(result["manifest"]))


def _table(rows: list[dict[str, Any]], by: Sequence[str], caption: str) -> str:
    """Rows of measured figures, told apart by the columns `by`."""

    def text(value: Any) -> str:
        return value if isinstance(value, str) else number(value)

    body = [
        [
            *(text(r[name]) for name in by),
            _NAMES[r["method"]],
            percent(r["failed_alone"]),
            number(r["passes_mean"]),
            number(r["passes_p95"]),
            number(r["array_writes"]),
            number(r["analog_solves"]),
            percent(r["digital_fallbacks"]),
        ]
        for r in rows
    ]
    names = {"radius_median": "rho, median", "diverging": "rho >= 1"}
    return table([*(names.get(n, n) for n in by), "method", *_COLUMNS], body, caption, words=(len(by),))


def stamp_page(result: dict[str, Any]) -> str:
    """The page of studies.stamp."""
    from amcsim.plot.studies import lines_by_panel

    guard, published, rows = result["safeguards"], result["published"], result["slices"]
    panels: dict[str, Any] = {}
    for condition in sorted({r["condition"] for r in rows}):
        lines = panels[f"condition {condition:g}"] = {}
        for slices in sorted({r["x_slices"] for r in rows}):
            found = [r for r in rows if (r["condition"], r["x_slices"]) == (condition, slices)]
            lines[f"x in {slices} x 8 bits"] = [r["terms"] for r in found], [r["error_median"] for r in found]
    against: dict[str, Any] = {}
    for r in result["against_hp_inv"]:
        x, y = against.setdefault(f"cells: {r['cells']}", {}).setdefault(r["solver"], ([], []))
        x.append(r["analog_solves"])
        y.append(r["error_median"])
    lead = [
        paragraph(
            f"Published: a matrix of {published['a_bits']} bits and answers of {published['x_bits']} in slices of "
            f"{published['slice_bits']}. Of {count(guard['systems'])} systems on ideal arrays "
            f"{count(guard['not_converged'])} ended not converged; {count(guard['wrong'])} said `ok` and were further "
            "than 2^-12 from the answer of the matrix of 16 bits."
        )
    ]
    sections = [
        Section(
            "Error by slices and terms",
            [
                figure(
                    lines_by_panel(panels, "terms after the first", "error, median", log_x=False),
                    "Distance from A^-1 b at n = 16, ideal arrays of 8 bits; the floor is A's own 16 bits.",
                )
            ],
        ),
        Section("Where the series diverges", [_plain_table(result["divergence"], "Ideal arrays; rho of A_H^-1 A_L.")]),
        Section(
            "Against HP-INV",
            [
                figure(
                    lines_by_panel(against, "analog solves", "error, median", log_x=False),
                    "n = 16, condition 10, arrays and ADC of 8 bits for all. HP-INV forms a residual with A digitally "
                    "at each pass, and so takes write errors out; the series stays at them.",
                )
            ],
        ),
        Section("Under BlockAMC", [_plain_table(result["blocks"], "Ideal arrays, condition 10.")]),
        Section("K-FAC training, and the cells it writes", _stamp_training(result["training"])),
    ]
    return document("Bit-sliced INV after STAMP", lead, sections, provenance(result["manifest"]))


def _stamp_training(part: dict[str, Any]) -> list[str]:
    """Tables of studies.stamp_training."""

    def epochs(row: dict[str, Any]) -> str:
        e = row["epochs"]
        ends = [number(e[k]) if e[k] is not None else "never" for k in ("median", "low", "high")]
        return f"{ends[0]} ({ends[1]} to {ends[2]})"

    solved = [
        [
            r["settings"],
            r["solver"],
            epochs(r),
            f"{r['reached']} of {r['seeds']}",
            percent(r["test_accuracy"]["median"]),
        ]
        + [percent(r["update_error_median"]), number(r["array_writes_a_step"]), number(r["analog_solves_a_step"])]
        for r in part["solvers"]
    ]
    writes = [
        [r["name"], number(r["rate"]), epochs(r), number(r["weight_cells_a_step"]), number(r["matrix_cells_a_step"])]
        + [number(r[k]) for k in ("weights_over_first", "matrices_over_first", "all_over_first")]
        for r in part["writes"]
    ]
    kept = [(r["name"], r["all_over_first"]) for r in part["writes"][1:] if r["all_over_first"] is not None]
    said = ", ".join(f"{percent(1 - ratio)} fewer with {name}" for name, ratio in kept) or "no run reached 100 %"
    return [
        paragraph(
            f"Cells written up to 100 %, weights and matrices together, against SGD with momentum: {said}; STAMP says "
            f"{percent(1 - part['published_writes'])} fewer. Weights are written as often as there are steps, matrices "
            "as often as T says: fewer epochs make for fewer writes, and T = 1 gives much of that back."
        ),
        table(
            [
                "settings",
                "solver",
                "epochs to 100 %",
                "reached",
                "test",
                "update error",
                "array writes",
                "analog solves",
            ],
            solved,
            f"K-FAC on {part['data']}; medians, epochs with 95 % intervals; writes and solves a step of 4x4 arrays.",
            words=(0, 1),
        ),
        table(
            ["training", "rate", "epochs to 100 %", "weight cells", "matrix cells", "weights", "matrices", "all"],
            writes,
            "Cells written a step, and up to 100 % over first order's weights; each at the best of four rates, "
            f"on 8-bit cells, bit-sliced. STAMP: {number(part['published_writes'])} of first order's writes.",
        ),
    ]


def _plain_table(rows: list[dict[str, Any]], caption: str) -> str:
    """Rows as they are, numbers all."""
    names = list(rows[0])
    return table(
        [name.replace("_", " ") for name in names], [[number(r[n]) for n in names] for r in rows], caption, words=()
    )


PAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "analog-training": analog_training_page,
    "hp-inv": hp_inv_page,
    "stamp": stamp_page,
    "cost": cost_page,
}
"""By the name of the study."""
