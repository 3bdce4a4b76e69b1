"""Decks: one text that runs alone with `ngspice -b`, and the names under which a running session alters it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from amcsim._types import F64
from amcsim.access import curvature_voltage
from amcsim.netlist.conditions import NOMINAL, Conditions
from amcsim.realisation import Realisation
from amcsim.specs import CellSpec, Spec
from amcsim.topology.network import Network, Table

if TYPE_CHECKING:
    from PySpice.Spice.Netlist import Circuit

__all__ = [
    "Deck",
    "alterations",
    "array_text",
    "circuit_file",
    "deck_text",
    "library_text",
    "opamp_parameters",
    "standalone_text",
    "to_circuit",
]

OPTIONS = ".options reltol=1e-5 gmin=1e-15"
"""gmin: the default 1e-12 S leaks 10 pA from each cell into a bulk at -5 V, 1e-5 of a solution."""
RISE_TIME = 10e-9
"""Rise time of the input step, s."""


@dataclass(frozen=True)
class Deck:
    """What is needed to write one circuit: topology, technology, drawn circuit, inputs and the expected outputs."""

    network: Network
    spec: Spec
    realisation: Realisation
    """Unbatched."""
    sources: F64
    """Voltages of the sources, in the order of network.sources, V."""
    expected: F64
    """Outputs of the amplifiers, then of the inverters, put as .nodeset on their integrators, V."""
    title: str = "array"
    step_delay: float = 0.0
    """Instant of the input step in a transient, s."""
    conditions: Conditions = NOMINAL

    def __post_init__(self) -> None:
        # What follows a line break or another control character in a title could be read as SPICE.
        title = "".join(c if c.isprintable() else " " for c in self.title)
        object.__setattr__(self, "title", title.strip() or "array")

    @cached_property
    def drawn(self) -> Mapping[str, float]:
        """What `alterations` sets besides the sources."""
        net, r, spec = self.network, self.realisation, self.spec
        g = np.stack([r.g_pos, r.g_neg])[net.cells.array, net.cells.row, net.cells.column]
        changes = cell_alterations(spec.cell, net.cells.names, g)
        changes |= {f"v.x{n}.vos": v for n, v in zip(net.amplifiers.names, r.offset.tolist(), strict=True)}
        feedback = spec.inverter.resistance * r.inverter_ratio
        for n, vos, ohm in zip(net.inverters.names, r.inverter_offset.tolist(), feedback.tolist(), strict=False):
            changes |= {f"v.x{n}.xo.vos": vos, f"r.x{n}.rb": ohm}
        return MappingProxyType(changes)


def opamp_kind(spec: Spec) -> str:
    """What follows `opamp_` and `inverter_` in names of sub-circuits, of the file `circuits/opamp_<kind>.lib` too."""
    return spec.opamp.model.removeprefix("opamp_")


def opamp_parameters(spec: Spec) -> dict[str, float]:
    """Parameters of the op-amp sub-circuit, offsets apart; one of transistors has none."""
    opamp = spec.opamp
    if opamp.transistors:
        return {}
    if opamp.model == "ideal":
        return {"gbw": opamp.gbw}
    linear = {
        "a0": opamp.gain,
        "gbw": opamp.gbw,
        "f2": opamp.second_pole or 0.0,
        "ro": max(opamp.output_resistance, 1e-3),
    }
    if opamp.model == "linear":
        return linear
    return linear | {
        "sr": opamp.slew_rate,
        "vsat": opamp.swing,
        "imax": opamp.output_current,
        "iq": opamp.quiescent_current,
    }


def library_text(spec: Spec, conditions: Conditions = NOMINAL) -> str:
    """The sub-circuits that the spec needs, from circuits/, inlined, as they are under the conditions."""
    law = "_sinh" if spec.cell.iv == "sinh" else ""
    cell = [f"cell_1r{law}"] if spec.cell.access == "none" else [spec.cell.access, f"cell_1t1r{law}"]
    kind = opamp_kind(spec)
    texts = [circuit_file(f"{name}.lib") for name in (*cell, f"opamp_{kind}")]
    wanted = re.search(rf"^\.subckt inverter_{kind}\b.*?^\.ends\b.*?$", circuit_file("inverter.lib"), flags=re.M | re.S)
    if wanted is None:
        raise ValueError(f"circuits/inverter.lib has no inverter_{kind}")
    return conditions.applied("\n".join([*texts, wanted.group(0)]), spec)


def circuit_file(name: str) -> str:
    """Text of a file of circuits/, the files that it includes in their places."""
    text = (files("amcsim.circuits") / name).read_text(encoding="utf-8").rstrip()
    return re.sub(r"^\.include (\w+\.lib)$", lambda found: circuit_file(found[1]), text, flags=re.M)


def _number(value: float) -> str:
    """The value exactly, in few digits where they suffice."""
    short = f"{value:.12g}"
    return short if float(short) == value else repr(value)


def _assignments(parameters: dict[str, float]) -> str:
    return " ".join(f"{name}={_number(value)}" for name, value in parameters.items())


def _two_terminal(letter: str, table: Table, nodes: Sequence[str]) -> Iterable[str]:
    return (
        f"{letter}{name} {nodes[a]} {nodes[b]} {value:.12g}"
        for name, a, b, value in zip(table.names, table.a.tolist(), table.b.tolist(), table.value.tolist(), strict=True)
    )


def array_text(deck: Deck) -> str:
    """The array body: cells, wires and capacitors, as text (PySpice objects cost forty times more to build)."""
    net, cell = deck.network, deck.spec.cell
    nodes = net.nodes
    g = np.stack([deck.realisation.g_pos, deck.realisation.g_neg])[net.cells.array, net.cells.row, net.cells.column]
    bend = [""] * g.size
    if cell.iv == "sinh":
        bend = [f" v0={_number(v0)}" for v0 in curvature_voltage(cell, g).tolist()]
    cells = (
        f"X{name} {nodes[bl]} {nodes[sl]} {cell_instance(cell)} g={_number(value)}{v0}"
        for name, bl, sl, value, v0 in zip(
            net.cells.names, net.cells.bl.tolist(), net.cells.sl.tolist(), g.tolist(), bend, strict=True
        )
    )
    return "\n".join([*_two_terminal("R", net.resistors, nodes), *_two_terminal("C", net.capacitors, nodes), *cells])


def cell_instance(cell: CellSpec) -> str:
    """What follows bit-line and source-line on a cell's line: further nodes, sub-circuit, transistor size."""
    law = "_sinh" if cell.iv == "sinh" else ""
    if cell.access == "none":
        return f"cell_1r{law}"
    return f"wl bulk cell_1t1r{law} w={cell.w:.12g} l={cell.l:.12g}"


def _inverter_parameters(spec: Spec) -> dict[str, float]:
    return {
        "r": spec.inverter.resistance,
        "cf": spec.inverter.feedback_capacitance,
        "cq": spec.wire.inverter_capacitance,
    } | opamp_parameters(spec)


def _testbench(deck: Deck) -> list[tuple[str, str, list[str], dict[str, float] | str]]:
    """Supplies, inputs, amplifiers and inverters: (kind, name, nodes, value or (sub-circuit parameters))."""
    net, spec, r = deck.network, deck.spec, deck.realisation
    nodes = net.nodes
    rows: list[tuple[str, str, list[str], dict[str, float] | str]] = [
        ("V", "dd", ["vdd", "0"], f"dc {spec.opamp.supply:.12g}"),
        ("V", "ss", ["vss", "0"], f"dc {-spec.opamp.supply:.12g}"),
    ]
    if spec.cell.access != "none":
        rows += [
            ("V", "wl", ["wl", "0"], f"dc {spec.cell.wordline:.12g}"),
            ("V", "bulk", ["bulk", "0"], f"dc {spec.cell.bulk:.12g}"),
        ]
    for name, node, v in zip(net.sources.names, net.sources.node.tolist(), deck.sources.tolist(), strict=True):
        volts = _number(v + 0.0)  # no "-0"
        step = f"pulse(0 {volts} {deck.step_delay:.12g} {RISE_TIME:.12g} {RISE_TIME:.12g} 1 2)"
        rows.append(("V", name, [nodes[node], "0"], f"dc {volts} {step}"))
    amplifier, inverter = opamp_parameters(spec), _inverter_parameters(spec)
    for name, inn, out, vos in zip(
        net.amplifiers.names, net.amplifiers.inverting, net.amplifiers.output, r.offset.tolist(), strict=True
    ):
        rows.append(
            (f"opamp_{opamp_kind(spec)}", name, [nodes[inn], nodes[out], "vdd", "vss"], amplifier | {"vos": vos})
        )
    for name, a, b, vos, ratio in zip(
        net.inverters.names, net.inverters.a, net.inverters.b, r.inverter_offset, r.inverter_ratio, strict=False
    ):  # circuits without inverters leave the drawn ones unused
        drawn = {"rratio": float(ratio), "vos": float(vos)}
        rows.append((f"inverter_{opamp_kind(spec)}", name, [nodes[a], nodes[b], "vdd", "vss"], inverter | drawn))
    return rows


def _nodesets(deck: Deck) -> str:
    """On the integrators, not the outputs: 8 Newton iterations instead of 132, and no gmin stepping.

    Amplifiers of transistors have no integrator: their outputs, and their inputs at 0.
    """
    net = deck.network
    if deck.spec.opamp.transistors:
        outputs = [*net.amplifiers.output.tolist(), *net.inverters.b.tolist()]
        inputs = [*net.amplifiers.inverting.tolist(), *net.inverter_inputs.tolist()]
        hints = dict(zip(outputs, deck.expected.tolist(), strict=True)) | dict.fromkeys(inputs, 0.0)
        return "\n+ ".join([".nodeset", *(f"v({net.nodes[node]})={v:.6g}" for node, v in hints.items())])
    stages = [*(f"x{n}.p" for n in net.amplifiers.names), *(f"x{n}.xo.p" for n in net.inverters.names)]
    values = [f"v({stage})={v:.6g}" for stage, v in zip(stages, deck.expected.tolist(), strict=True)]
    return "\n+ ".join([".nodeset", *values])


def deck_text(deck: Deck, analyses: Sequence[str] = ()) -> str:
    """The whole deck: title, library, testbench, array, nodesets, options, then `analyses` (lines), `.end`."""
    lines = [deck.title, library_text(deck.spec, deck.conditions)]
    for kind, name, nodes, value in _testbench(deck):
        if isinstance(value, str):
            lines.append(f"{kind}{name} {' '.join(nodes)} {value}")
        else:
            lines.append(f"X{name} {' '.join(nodes)} {kind} {_assignments(value)}")
    options = [OPTIONS, *deck.conditions.options]
    return "\n".join([*lines, array_text(deck), _nodesets(deck), *options, *analyses, ".end", ""])


def standalone_text(deck: Deck, stop: float = 20e-6) -> str:
    """The deck with a control section, for `ngspice -b`: prints the operating point's outputs, then the settling time.

    Settling is that of the answer's norm to 1 %, from the input step at deck.step_delay, in a transient to `stop` (s).
    """
    outputs = [f"v({deck.network.nodes[node]})" for node in next(iter(deck.network.ports.values())).tolist()]
    commands = [
        ".control",
        "set numdgt=9",
        "option noinit",
        "op",
        *(f"print {x}" for x in outputs),
        f"tran {stop / 400:.6g} {stop:.6g}",
    ]
    commands += ["let last = length(time) - 1", "let square = 0 * time", "let size = 0"]
    for x in outputs:
        commands += [f"let square = square + ({x} - {x}[last])^2", f"let size = size + {x}[last]^2"]
    commands += ["let error = sqrt(square / size)"]
    commands += [f"meas tran settling_to_1pct trig at={deck.step_delay:.6g} targ error val=0.01 fall=last"]
    return deck_text(deck, [*commands, "quit", ".endc"])


def to_circuit(deck: Deck) -> Circuit:
    """The same circuit as a PySpice Circuit: testbench and amplifiers are its objects, the array body is raw text."""
    from PySpice.Spice.Netlist import Circuit

    circuit = Circuit(deck.title)
    for kind, name, nodes, value in _testbench(deck):
        if isinstance(value, str):
            circuit.V(name, *(circuit.gnd if n == "0" else n for n in nodes), value)
        else:
            circuit.X(name, kind, *nodes, **value)
    circuit.raw_spice = "\n".join(
        [
            library_text(deck.spec, deck.conditions),
            array_text(deck),
            _nodesets(deck),
            OPTIONS,
            *deck.conditions.options,
            "",
        ]
    )
    return circuit


def cell_alterations(cell: CellSpec, names: Sequence[str], g: F64) -> dict[str, float]:
    """What `alter` sets to give cells of those instance names the device conductances g, (cells,), S."""
    changes = {f"r.x{name}.rr": value for name, value in zip(names, (1.0 / g).tolist(), strict=True)}
    if cell.iv == "sinh":
        bend = curvature_voltage(cell, g)
        for name, micro, v0 in zip(names, (1e6 * g).tolist(), bend.tolist(), strict=True):
            changes |= {f"v.x{name}.vg": micro, f"v.x{name}.vv": v0}
    return changes


def alterations(deck: Deck) -> dict[str, float]:
    """What `alter` sets in a running session to turn another realisation and other inputs into this deck's."""
    sources = zip(deck.network.sources.names, deck.sources.tolist(), strict=True)
    return {**deck.drawn, **{f"v{name}": v for name, v in sources}}
