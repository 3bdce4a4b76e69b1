"""The page of studies.cost."""

from __future__ import annotations

from typing import Any

from amcsim.report.page import (
    Section,
    count,
    document,
    facts,
    figure,
    number,
    paragraph,
    percent,
    provenance,
    quantity,
    table,
)

__all__ = ["cost_page"]

_STAMP = {
    "over_gpu": "training, over first order on a GPU",
    "over_reram": "training, over first order on ReRAM",
    "epoch_ratio": "an epoch, over first order's",
    "write_ratio": "cells written, over first order's",
}
_SI = ("J", "s", "W", "Hz")


def cost_page(result: dict[str, Any]) -> str:
    """The page of studies.cost."""
    one = result["table_one"]
    lead = [paragraph(text) for text in _verdict(result)]
    changed = result["settings"]["changed"]
    if changed:
        lead.append(paragraph(f"Changed by the user: {', '.join(f'`{name}`' for name in changed)}."))
    sections = [
        Section("What one operation costs", [_units(result)]),
        Section("Table I", _table_one(result)),
        Section(
            "What decides it",
            [
                figure(
                    _tornado(
                        one, ("throughput_ratio", "efficiency_ratio"), one["rows"]["ours"], one["rows"]["Zhang et al."]
                    ),
                    "Throughput over the H100 core's (left) and efficiency over the ASIC's: each assumption over its "
                    "range, the others as they are (passes too, whatever the array's size).",
                ),
                _needed(
                    one,
                    result["assumptions"],
                    {"throughput_ratio": "for the throughput", "efficiency_ratio": "for the efficiency"},
                ),
                _variants(one),
                _fits(one),
            ],
        ),
        Section("STAMP", _stamp(result)),
        *([Section("Measured anew", _measured(result["measured"]))] if result["measured"] else []),
        Section("Assumptions and sources", [_assumptions(result["assumptions"])]),
    ]
    return document("What it costs", lead, sections, provenance(result["manifest"]))


def _verdict(result: dict[str, Any]) -> list[str]:
    """Plain words on both papers' ratios."""
    one, stamp, known = result["table_one"], result["stamp"], result["assumptions"]
    at, implied, vgg = stamp["ours"], stamp["at_implied_epochs"], stamp["networks"][-1]
    ours, theirs = one["rows"]["ours"], one["rows"]["Zhang et al."]
    alone, without = one["rows"]["ours, arrays and converters alone"], one["rows"]["the same arithmetic without arrays"]
    mac = one["mac_energy"]

    def reached(figure: str) -> str:
        return "reached" if ours[figure] >= theirs[figure] else "not reached"

    need = f"{quantity(mac['needed'], 'J', 3)}" if mac["needed"] else "no energy at all"
    return [
        f"Table I's throughput, {number(theirs['throughput_ratio'])} times an H100 core's, is "
        f"{reached('throughput_ratio')}: {number(ours['throughput_ratio'])} times. Its efficiency, "
        f"{number(theirs['efficiency_ratio'])} times the ASIC's, is {reached('efficiency_ratio')}: "
        f"{number(ours['efficiency_ratio'])} times.",
        f"The arrays and their converters alone would do {number(alone['efficiency_ratio'])} times. What costs is "
        f"digital: {number(mac['macs_per_operation'])} multiply-adds for each operation counted, in the residuals of "
        "HP-INV and the off-diagonal products of BlockAMC. The published efficiency would take multiply-adds of "
        f"{need} (assumed {quantity(mac['assumed'], 'J', 3)}), or a single pass without a residual: "
        "with 8-bit cells letters train by it as quickly as by exact solves (`amcsim reproduce stamp`).",
        f"The same arithmetic without arrays, inverses formed every T steps, does "
        f"{number(without['efficiency_ratio'])} times the ASIC's efficiency: at T = 20 inversions are "
        f"{percent(_share(one), 2)} of the operations, so there is little for arrays to save.",
        f"STAMP's {number(stamp['published']['over_reram'])} times over first order on ReRAM, with epochs "
        f"{percent(stamp['published']['epoch_ratio'] - 1)} longer, says that first order needs "
        f"{number(stamp['implied']['epochs_ratio'])} times the epochs; 55.7 % fewer writes by fewer epochs alone say "
        f"{number(stamp['implied']['epochs_ratio_of_writes_alone'])} times. One mean cannot be both.",
        f"On the autoencoder, with {number(known['stamp.epochs_ratio']['value'])} times fewer epochs (measured on "
        f"letters), this model has {number(at['over_reram'])} times over first order on ReRAM and "
        f"{number(at['over_gpu'])} over a GPU; with {number(stamp['implied']['epochs_ratio'])} times fewer, "
        f"{number(implied['over_reram'])} and {number(implied['over_gpu'])}. An epoch is {number(at['epoch_ratio'])} "
        "times as long: for each row and column of every gradient INV crossbars solve at every step, nearly as long as "
        f"a batch takes the others. Convolutions hide it: VGG-13's epochs are {number(vgg['epoch_ratio'])} times as "
        f"long with early layers copied 64 times, first order then {number(vgg['first_order_over_gpu'])} times ahead "
        "of the GPU. What then decides is the epochs' ratio.",
    ]


def _share(one: dict[str, Any]) -> float:
    asked = one["definitions"]
    return float(asked["inversion"]["operations"] / asked["both"]["operations"])


def _units(result: dict[str, Any]) -> str:
    rows = [
        [
            r["operation"],
            r["technology"],
            quantity(r["energy"], "J", 3),
            quantity(r["time"], "s", 3),
            number(1e12 * r["area"]),
        ]
        for r in result["unit_costs"]
    ]
    return table(
        ["operation", "technology", "energy", "time", "area, µm²"],
        rows,
        "Arrays with their amplifiers and inputs set, without conversions; a written cell is verified. Sources below.",
        words=(0, 1),
    )


def _table_one(result: dict[str, Any]) -> list[str]:
    one, step = result["table_one"], result["table_one"]["step"]
    rows = [
        [name, *(number(r[k]) for k in ("throughput", "efficiency")), quantity(r["power"], "W", 3)]
        + [number(r[k]) for k in ("throughput_ratio", "efficiency_ratio")]
        for name, r in one["rows"].items()
    ]
    definitions = [
        [name, result["definitions"][name], number(d["operations"]), number(d["throughput"]), number(d["efficiency"])]
        + [quantity(d["published_step"], "s", 3)]
        for name, d in one["definitions"].items()
    ]
    energy, total = step["energy"], sum(step["energy"].values())
    work = [
        ("right-hand sides", count(round(step["solves"]))),
        ("arrays", count(step["arrays"])),
        ("analog passes by rows", ", ".join(f"{n}: {count(round(c))}" for n, c in step["passes"].items())),
        ("conversions, DAC and ADC each", number(step["conversions"])),
        ("digital multiply-adds", ", ".join(f"{name} {number(c)}" for name, c in step["macs"].items())),
        ("cells written a step", count(round(step["writes"]))),
        ("steps until cells have been written as often as they endure", count(round(one["lifetime_steps"]))),
        ("energy", quantity(total, "J", 3) + ": " + ", ".join(f"{n} {percent(e / total)}" for n, e in energy.items())),
        ("time", ", ".join(f"{name} {quantity(t, 's', 3)}" for name, t in step["time"].items())),
        ("area", f"{number(1e6 * step['area'])} mm²"),
    ]
    return [
        table(
            ["machine", "operations/s", "operations/J", "power", "over the H100 core", "over the ASIC"],
            rows,
            "Table I of Zhang et al. and ours: K-FAC on the autoencoder 784-1000-500-250-30 mirrored, "
            "T = 20, batch 1000.",
        ),
        table(
            ["row", "what its figures are"],
            [[k, v] for k, v in result["decoded"].items()],
            "Table I's rows decoded.",
            words=(0, 1),
        ),
        table(
            ["operations of a step", "", "count", "ours, 1/s", "ours, 1/J", "published, a step"],
            definitions,
            "An operation is an addition or a multiplication. The paper gives a rate and no count: last column, the "
            "time of a step that its rate means by each definition; nothing singles one out. Ours are rated by `both`.",
            words=(0, 1),
        ),
        facts(work, "A step's work, averaged over T steps, by the solvers' own recursions."),
    ]


def _tornado(part: dict[str, Any], names: tuple[str, ...], ours: dict[str, Any], goals: dict[str, Any]) -> Any:
    from amcsim.plot.studies import tornadoes

    titles = {
        "throughput_ratio": "throughput, over the H100 core",
        "efficiency_ratio": "efficiency, over the ASIC",
    } | _STAMP
    return tornadoes(
        {
            titles[n]: (
                ours[n],
                [(_label(r), r["at_low"], r["at_high"]) for r in part["sensitivity"][n]],
                goals[n],
            )
            for n in names
        }
    )


def _label(row: dict[str, Any]) -> str:
    section, _, name = row["name"].partition(".")
    shown = name if section in ("machine", "algorithm", "stamp", "integrated", "board") else f"{section} {name}"
    return shown.replace("_", " ").replace(" 128", "")


def _needed(part: dict[str, Any], known: dict[str, dict[str, Any]], titles: dict[str, str]) -> str:
    names = list(dict.fromkeys(name for figure in titles for name in part["needed"][figure]))
    rows = []
    for name in names:
        needs = [part["needed"][figure].get(name) for figure in titles]
        if any(v is not None for v in needs):
            unit = known[name]["unit"]
            rows.append([name, *("–" if v is None else _text(v, unit) for v in (known[name]["value"], *needs))])
    return table(
        ["assumption", "as it is", *titles.values()],
        rows,
        "What one assumption alone would have to be for the published figures; a dash: none within four orders is.",
    )


def _variants(one: dict[str, Any]) -> str:
    keys = ("throughput", "efficiency", "throughput_ratio", "efficiency_ratio")
    rows = [[v["variant"], *(number(v[k]) for k in keys)] for v in one["variants"]]
    columns = ["machine", "operations/s", "operations/J", "over the H100 core", "over the ASIC"]
    return table(columns, rows, "Other machines, by the same count.")


def _fits(one: dict[str, Any]) -> str:
    rows = [[f["variant"], f["definition"], number(f["throughput"]), number(f["efficiency"])] for f in one["fits"]]
    return table(
        ["machine", "operations counted", "throughput, over the published", "efficiency, over the published"],
        rows,
        "Which machine and count come nearest to both of the paper's figures at once.",
        words=(0, 1),
    )


def _stamp(result: dict[str, Any]) -> list[str]:
    stamp = result["stamp"]
    ours, theirs, implied = stamp["ours"], stamp["published"], stamp["implied"]
    rows = [[text, number(theirs[name]), number(ours[name])] for name, text in _STAMP.items()]
    writes = [
        [w["definition"], number(w["an_epoch"]), number(w["training"]), number(w["epochs_ratio_for_published"])]
        for w in stamp["writes"]
    ]
    said = [
        ("epochs of first order over second order's, from speed-up and epoch", number(implied["epochs_ratio"])),
        ("the same, from 55.7 % fewer writes by fewer epochs alone", number(implied["epochs_ratio_of_writes_alone"])),
        ("cells of matrices written a cell of weights, if both hold", number(implied["soi_writes_per_weight_write"])),
        ("first order, ReRAM over GPU", number(implied["first_order_over_gpu"])),
    ]
    return [
        table(
            ["autoencoder", "STAMP, mean of its networks", "ours"],
            rows,
            "Their figures are means over VGG, ResNet, BERT and others.",
        ),
        facts(said, "What the published figures say together."),
        table(
            ["network", "over a GPU", "over ReRAM", "an epoch", "first order, ReRAM over GPU"],
            [
                [
                    n["network"],
                    *(number(n[k]) for k in ("over_gpu", "over_reram", "epoch_ratio", "first_order_over_gpu")),
                ]
                for n in stamp["networks"]
            ],
            "This model by network, all with the same epochs' ratio; published: 68, 11.4, 1.215 and 5.96.",
        ),
        figure(
            _tornado(stamp, ("over_reram", "epoch_ratio"), ours, theirs),
            "Speed-up over first order on ReRAM, and an epoch's length.",
        ),
        figure(_tornado(stamp, ("over_gpu", "write_ratio"), ours, theirs), "Speed-up over the GPU, and cells written."),
        _needed(
            stamp,
            result["assumptions"],
            {"over_gpu": "for the GPU", "over_reram": "for ReRAM", "epoch_ratio": "epoch", "write_ratio": "writes"},
        ),
        table(
            ["what is written", "an epoch", "a training", "epochs' ratio for 55.7 % fewer"],
            writes,
            "Cells written over those of first-order training, which writes all weights at every step.",
        ),
    ]


def _measured(measured: dict[str, Any]) -> list[str]:
    circuits = [
        [r["technology"], r["circuit"].upper(), count(r["n"]), r["backend"], quantity(r["settling"], "s", 3)]
        + [quantity(r["power_row"], "W", 3)]
        for r in measured["circuits"]
    ]
    cells = [
        [count(r["bits"]), quantity(r["tolerance"], "S", 3), number(r["pulses"]), quantity(r["time"], "s", 3)]
        + [quantity(r["energy"], "J", 3), percent(r["reached"])]
        for r in measured["cells"]
    ]
    solves = [
        [count(r[k]) for k in ("n", "leaf", "bits")]
        + [number(r["passes"]), f"{count(r['arrays'])} / {count(r['arrays_counted'])}"]
        + [f"{count(r['visits'])} / {count(r['visits_counted'])}", count(r["digital_fallbacks"])]
        for r in measured["solves"]
    ]
    return [
        table(
            ["technology", "circuit", "rows", "by", "settling", "power a row"], circuits, "Circuits.", words=(0, 1, 3)
        ),
        table(["bits", "within", "pulses", "time", "energy", "reached"], cells, "Written cells, ngspice.", words=()),
        table(
            ["rows", "array", "cell bits", "passes", "arrays run / counted", "visits run / counted", "digital"],
            solves,
            "One solve by BlockAMC over HP-INV (flexible GCR, 24 bits), condition 10, beside the closed counts.",
            words=(),
        ),
    ]


def _assumptions(known: dict[str, dict[str, Any]]) -> str:
    def range_(row: dict[str, Any]) -> str:
        if row["low"] is None:
            return ""
        low, high = (_text(row[end], row["unit"]) for end in ("low", "high"))
        return f"{low} to {high}"

    rows = [
        [name, r["value"] if isinstance(r["value"], str) else _text(r["value"], r["unit"]), range_(r), r["source"]]
        for name, r in known.items()
    ]
    return table(["assumption", "value", "range", "source"], rows, "All of them.", words=(0, 2, 3))


def _text(value: float, unit: str) -> str:
    """With its unit: prefixes for SI units, areas in um2."""
    if unit == "m2":
        return f"{number(1e12 * value)} µm²"
    return quantity(value, unit, 3) if unit in _SI else f"{number(value)} {unit}".strip()
