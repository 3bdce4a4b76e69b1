"""What an op-amp sub-circuit can do, measured in ngspice, and the behavioural [opamp] section that stands for it.

Any sub-circuit with the pins of circuits/opamp_*.lib: inverting input, output, supplies; the non-inverting input is
ground inside, so there is no common-mode rejection to measure.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from amcsim._types import F64
from amcsim.analysis.opamp_bench import SHORT, Bench, Gain, slew_rates
from amcsim.analysis.result import Axis, Measure, Result, Trace
from amcsim.netlist.deck import circuit_file
from amcsim.ngspice.trust import read_spice
from amcsim.specs import TRANSISTOR_OPAMPS, Spec

__all__ = ["LOADS", "SHIPPED", "OpampReport", "SubCircuit", "characterise", "sub_circuit"]

LOADS = (100e3, 30e3, 10e3, 5e3, 2e3, 1e3, 500.0, 200.0, 100.0, 50.0)
"""Loads of a characterisation, ohm; the open output comes on its own."""
SHIPPED = (*TRANSISTOR_OPAMPS, "opamp_behavioral")
"""Op-amps of circuits/ that `sub_circuit` takes by name."""
_REACH = math.tanh(1.04)
"""The behavioural amplifier's output reaches this part of its `swing`."""


@dataclass(frozen=True)
class SubCircuit:
    """An op-amp's sub-circuit."""

    name: str
    text: str
    """All definitions that it needs, its own included."""


def sub_circuit(source: str, name: str | None = None) -> SubCircuit:
    """An op-amp of circuits/ by name (SHIPPED), or from a SPICE library file, checked by amcsim.ngspice.trust.

    `name` chooses among several sub-circuits of a file. Raises ValueError (SpiceRefused for what the file holds).
    """
    if source in SHIPPED:
        text, name = circuit_file(f"{source}.lib"), source
    elif Path(source).suffix or Path(source).exists():
        text = read_spice(source)
    else:
        raise ValueError(f"op-amp {source!r} is neither a file nor one of {', '.join(SHIPPED)}")
    found = _four_pins(text)
    if name is None and len(found) == 1:
        name = found[0]
    if name is None or name.lower() not in map(str.lower, found):
        there = f"with four pins it holds {', '.join(found)}" if found else "it holds none with four pins"
        raise ValueError(f"{source}: which sub-circuit is the op-amp (pins inn out vdd vss)? {there}")
    return SubCircuit(name, text)


def _four_pins(text: str) -> list[str]:
    """Names of the sub-circuits with four pins."""
    names = []
    for line in re.sub(r"\n[ \t]*\+", " ", text).splitlines():
        words = re.sub(r"\s*=\s*", "=", line).split()
        if len(words) > 1 and words[0].lower() == ".subckt":
            pins = itertools.takewhile(lambda word: "=" not in word and word.lower() != "params:", words[2:])
            if len(list(pins)) == 4:
                names.append(words[1])
    return names


@dataclass(frozen=True, eq=False)
class OpampReport:
    """Figures of one op-amp."""

    name: str
    column: float
    """Load for which `section` stands, ohm."""
    results: Mapping[str, Result]
    """load (gain, bandwidth and swing against load), ac, noise, slew."""
    section: Mapping[str, str | float]
    """A spec's [opamp] with model = "behavioral"."""

    @property
    def measures(self) -> dict[str, Measure]:
        """Of all results."""
        return {name: m for result in self.results.values() for name, m in result.measures.items()}

    def as_dict(self) -> dict[str, Any]:
        """For JSON: measures, the table against load, the section."""
        load = self.results["load"]
        columns = {"load": load.axis.values} | {name: trace.values for name, trace in load.traces.items()}
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        return {
            "opamp": self.name,
            "measures": {name: {"value": m.value, "unit": m.unit} for name, m in self.measures.items()},
            "loads": [dict(zip(columns, row, strict=True)) for row in rows],
            "column": self.column,
            "section": dict(self.section),
        }

    def toml(self, base: str | None = None) -> str:
        """A spec file with the section; `base` names a preset for the rest."""
        lines = [f"# {self.name} driving {self.column:g} ohm, measured by `amcsim opamp`", "schema_version = 1"]
        lines += [] if base is None else [f'base = "{base}"']
        rows = (f'{key} = "{v}"' if isinstance(v, str) else f"{key} = {v!r}" for key, v in self.section.items())
        return "\n".join([*lines, "", "[opamp]", *rows, ""])


def characterise(
    amplifier: SubCircuit,
    *,
    loads: Sequence[float] = LOADS,
    column: float = 500.0,
    capacitance: float = 10e-12,
    supply: float = 5.0,
) -> OpampReport:
    """Measure an op-amp on +-supply (V), resistors (ohm) and a capacitance (F) from its output to ground.

    `column`: the load for which the behavioural section stands; 500 ohm is a column of a 4x4 array with its inverter,
    1 kohm beside 1 mS of cells. Raises ValueError for loads out of range or figures that no section can hold,
    NgspiceError where the amplifier cannot be simulated.
    """
    for value, low, high, what in (
        *((ohm, 0.1, 1e9, "load") for ohm in (*loads, column)),
        (capacitance, 0.0, 1e-6, "capacitance"),
        (supply, 0.5, 60.0, "supply"),
    ):
        if not low <= value <= high:
            raise ValueError(f"{what} = {value:g}: allowed is {low:g} to {high:g}")
    column = float(column)  # of NumPy it would be written with its type
    finite = tuple(sorted({*map(float, loads), column}))
    bench = Bench(amplifier.name, amplifier.text, supply, capacitance, (math.inf, *finite))
    small, noise, points = bench.small_signals()
    frequency = small["frequency"].real
    gains = [Gain(frequency, -small[f"o{k}"] / small[f"a{k}"]) for k in range(len(bench.loads))]
    if not gains[0].curve[0].real > 2.0 or math.isnan(gains[0].bandwidth):
        raise ValueError(
            f"{amplifier.name} has a gain of {-gains[0].curve[0].real:.3g} from its first pin to its second, where an "
            "op-amp's inverting input and output with a large negative one and a dominant pole are wanted"
        )
    swing, at = bench.swings(), bench.loads.index(column)
    pair = Bench(amplifier.name, amplifier.text, supply, capacitance, (math.inf, column))
    time, outputs = pair.edges(min(gains[0].bandwidth, gains[at].bandwidth))
    rates = [
        slew_rates(time, v, 0.25 * float(np.abs(swing[:, k]).min())) for v, k in zip(outputs, (0, at), strict=True)
    ]
    white, corner = _noise_fit(noise["frequency"], noise["inoise_spectrum"], gains[0].unity)
    if math.isnan(sum(rates[1])):
        raise ValueError(f"{amplifier.name} into {column:g} ohm: its output, overdriven, does not cross 0 V both ways")
    measures = {
        "offset": Measure(points["o0"], "V"),
        "gain": Measure(_db(gains[0].dc), "dB"),
        "gain_column": Measure(_db(gains[at].dc), "dB", ("gain", column)),
        "output_resistance": Measure(abs(small["oz"][0]), "ohm"),
        "swing_high": Measure(float(swing[0, 0]), "V"),
        "swing_low": Measure(float(swing[1, 0]), "V"),
        "swing_column": Measure(float(np.abs(swing[:, at]).min()), "V", ("swing", column)),
        "current_high": Measure(float(swing[0, -1]) / SHORT, "A"),
        "current_low": Measure(float(swing[1, -1]) / SHORT, "A"),
        "supply_current": Measure(-points["i(vddp)"], "A"),
    }
    title = f"{amplifier.name} on +-{supply:g} V"
    results = {
        "load": _load_result(title, np.array(finite), gains[1:], swing[:, 1:-1], measures),
        "ac": _ac_result(title, small, gains, at, column),
        "noise": Result(
            "noise",
            f"{title}: input noise",
            Axis("frequency", "Hz", noise["frequency"], log=True),
            {"input noise": Trace(noise["inoise_spectrum"], "V/sqrt(Hz)", log=True)},
            {"noise_density": Measure(white, "V/sqrt(Hz)"), "noise_corner": Measure(corner, "Hz")},
        ),
        "slew": _slew_result(title, time, outputs, rates, column),
    }
    section = _section(measures, gains[at], min(rates[1]), (column, capacitance), supply) | {
        "noise_density": white,
        "noise_corner": corner,
        "quiescent_current": measures["supply_current"].value,
    }
    return OpampReport(amplifier.name, column, results, _checked(section))


def _db(gain: float) -> float:
    return 20.0 * math.log10(gain)


def _load_result(title: str, loads: F64, gains: list[Gain], swing: F64, measures: dict[str, Measure]) -> Result:
    traces = {
        "gain": Trace(np.array([_db(g.dc) for g in gains]), "dB"),
        "bandwidth": Trace(np.array([g.bandwidth for g in gains]), "Hz", log=True),
        "phase margin": Trace(np.array([g.margin for g in gains]), "deg"),
        "highest": Trace(swing[0], "V", shown=False),
        "lowest": Trace(swing[1], "V", shown=False),
        "swing": Trace(np.abs(swing).min(axis=0), "V", log=True),
    }
    return Result("dc", f"{title}: against load", Axis("load", "ohm", loads, log=True), traces, measures)


def _ac_result(title: str, small: Mapping[str, Any], gains: list[Gain], at: int, column: float) -> Result:
    frequency = gains[0].frequency
    into = f"into {column:g} ohm"
    with np.errstate(divide="ignore"):  # a behavioural amplifier hears nothing of its supplies
        rejection = {
            name: np.abs(gains[0].curve) / np.abs(small[node]) for name, node in (("vdd", "op"), ("vss", "on"))
        }
    traces = {
        "gain": Trace(20 * np.log10(np.abs(gains[0].curve)), "dB"),
        f"gain {into}": Trace(20 * np.log10(np.abs(gains[at].curve)), "dB"),
        "phase": Trace(gains[0].phase, "deg"),
        f"phase {into}": Trace(gains[at].phase, "deg"),
    } | {f"{name} rejection": Trace(20 * np.log10(ratio), "dB") for name, ratio in rejection.items()}
    measures = {
        "gain_bandwidth": Measure(gains[0].bandwidth, "Hz"),
        "unity_frequency": Measure(gains[0].unity, "Hz", ("gain", gains[0].unity)),
        "phase_margin": Measure(gains[0].margin, "deg"),
        "second_pole": Measure(gains[0].second_pole(), "Hz"),
        "gain_bandwidth_column": Measure(gains[at].bandwidth, "Hz"),
        "phase_margin_column": Measure(gains[at].margin, "deg"),
    } | {f"rejection_{name}": Measure(_db(float(ratio[0])), "dB") for name, ratio in rejection.items()}
    return Result("ac", f"{title}: open loop", Axis("frequency", "Hz", frequency, log=True), traces, measures)


def _slew_result(title: str, time: F64, outputs: list[F64], rates: list[tuple[float, float]], column: float) -> Result:
    traces = {"output": Trace(outputs[0], "V"), f"output into {column:g} ohm": Trace(outputs[1], "V")}
    measures = {
        "slew_rise": Measure(rates[0][0], "V/s"),
        "slew_fall": Measure(rates[0][1], "V/s"),
        "slew_column": Measure(min(rates[1]), "V/s"),
    }
    return Result("tran", f"{title}: overdriven", Axis("time", "s", time), traces, measures)


def _noise_fit(frequency: F64, density: F64, unity: float) -> tuple[float, float]:
    """White density (V/sqrt(Hz)) and 1/f corner (Hz) of S = white^2 (1 + corner/f), fitted below a tenth of unity.

    The fit weighs each point by its own size, so that white and 1/f parts both count.
    """
    kept = (frequency < 0.1 * unity) & (density > 0)
    if np.count_nonzero(kept) < 3:
        return 0.0, 0.0
    f, s = frequency[kept], density[kept] ** 2
    columns = np.stack([np.ones_like(f), 1.0 / f], axis=1) / s[:, None]
    white, flicker = np.linalg.lstsq(columns, np.ones_like(f), rcond=None)[0]
    return (math.sqrt(white), max(float(flicker / white), 0.0)) if white > 0 else (float(np.sqrt(s.min())), 0.0)


def _section(
    measures: Mapping[str, Measure], gain: Gain, slew: float, load: tuple[float, float], supply: float
) -> dict[str, str | float]:
    """The behavioural amplifier that has the same gain, bandwidth, phase, rate and limits at a load (ohm, F).

    It has the amplifier's own output resistance ro where that is below the load, with as much output current as its
    swing drives through ro. Else the output is a current source: the current is the amplifier's own, and ro half the
    swing over it, which is a current source, too, for columns far below ro; gain, bandwidth and rate are raised by
    what ro and the column divide them by.
    """
    column, capacitance = load
    reached = min(measures["swing_high"].value, -measures["swing_low"].value)
    swing = min(reached / _REACH, supply)
    current = min(measures["current_high"].value, -measures["current_low"].value)
    ro = measures["output_resistance"].value
    if ro < column:
        current = min(current, 0.8 * swing / max(ro, 1e-3))
    else:
        ro = min(ro, 0.5 * swing / current, 1e5)
    divider = 1.0 + ro / column
    section: dict[str, str | float] = {
        "model": "behavioral",
        "gain": gain.dc * divider,
        "gbw": gain.bandwidth * divider,
    }
    second = gain.second_pole(ro / divider * capacitance)
    if math.isfinite(second):
        section["second_pole"] = second
    return section | {
        "slew_rate": slew * divider,
        "swing": swing,
        "supply": supply,
        "output_resistance": ro,
        "output_current": current,
    }


def _checked(section: Mapping[str, str | float]) -> dict[str, str | float]:
    """The section in five digits, seen to be one. Raises SpecError naming a figure out of range."""
    rounded = {key: v if isinstance(v, str) else float(f"{v:.5g}") for key, v in section.items()}
    Spec().replace(opamp=rounded)
    return rounded
