"""The parts of the demo: one function a section of its page, each with the dataclass that it returns.

One technology, SPEC with 4x4 arrays; circuits are named by seed, so that every backend takes the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from amcsim._types import F64
from amcsim.analysis.inv import transient
from amcsim.analysis.waveforms import Waveforms
from amcsim.campaign.families import draw_matrix
from amcsim.campaign.validate import validate
from amcsim.mapping import matrix_scale
from amcsim.realisation import Realisation
from amcsim.solvers.analog import AnalogProgrammed
from amcsim.solvers.base import Solver
from amcsim.solvers.circuit import CircuitSolver
from amcsim.solvers.exact import solve_or_nan
from amcsim.solvers.hp_inv import HpInv, Stop
from amcsim.solvers.nodal import NodalSolver
from amcsim.solvers.stack import training_stack
from amcsim.solvers.surrogate import SurrogateSolver
from amcsim.specs import Spec, preset
from amcsim.status import Reason, Status
from amcsim.streams import Key
from amcsim.surrogate.model import DomainError, Surrogate

if TYPE_CHECKING:
    from amcsim.training.data import Dataset

__all__ = [
    "RUNS",
    "SETTLED",
    "SPEC",
    "Checked",
    "Comparison",
    "Ending",
    "Endings",
    "M",
    "Refinement",
    "Solved",
    "Trained",
    "check_in_ngspice",
    "compare",
    "find_endings",
    "refine",
    "solve_one",
    "train_all",
]

SPEC = preset("pku_350nm")
M = 4
SETTLED = 0.01
"""Part of the end value's norm within which a waveform is settled."""
PASSES = 12
"""Passes of HP-INV that are shown."""
LEAVES = 100
"""Leaf blocks of which the shown ones are drawn: those at the QUANTILES of their error ratios."""
QUANTILES = (0.05, 0.35, 0.65, 0.9, 0.99)
ROUNDING = 1e-13
"""Relative error at which rounding ends the law of refinement."""
OSCILLATION_S = 12e-6
"""What is shown of a circuit that oscillates at some 5 MHz, s."""
RUNS: dict[str, Literal["kfac", "sgd", "adam"]] = {
    "K-FAC, digital": "kfac",
    "K-FAC, surrogate": "kfac",
    "SGD with momentum": "sgd",
    "Adam": "adam",
}
"""Training runs by name, and their optimisers."""


@dataclass(frozen=True)
class Solved:
    """One circuit for A x = b, (m, m) and (m,), on all backends."""

    a: F64
    b: F64
    realisation: Realisation
    unit: float
    """Output volts for one unit of x."""
    exact: F64
    """A^-1 b, (m,)."""
    answers: dict[str, F64]
    """x by backend, (m,)."""
    statuses: dict[str, str]
    waveforms: Waveforms
    """Outputs x after the step of the inputs, in ngspice."""
    settling_s: float | None
    """To SETTLED of the end value's norm; None if never."""


@dataclass(frozen=True)
class Comparison:
    """A surrogate against ngspice on circuits that its fit never saw."""

    figures: dict[str, Any]
    """Of Validation.as_dict."""
    errors: F64
    """error_of_error by circuit."""
    circuit_error: F64
    """Entries of (x_spice - x_lin) / ||x_lin||: what the circuit does beyond its written conductances."""
    surrogate_error: F64
    """The same by the surrogate."""


@dataclass(frozen=True)
class Refinement:
    """HP-INV on leaf blocks of real K-FAC runs, on surrogate arrays; rows are leaves."""

    ratio: F64
    """rho(I - A_lp^-1 A) of the written arrays, (leaves,)."""
    measured: F64
    """Mean factor (geometric) by which a pass shrinks the error, after the first, (leaves,)."""
    passes: list[int | None]
    """Passes to a residual of 24 bits; None if never."""
    errors: F64
    """||x - x*|| / ||x*|| after each pass, (leaves, PASSES)."""


@dataclass(frozen=True)
class Trained:
    """Training runs by name (RUNS)."""

    data: str
    classes: tuple[str, ...]
    train_images: int
    test_images: int
    runs: dict[str, dict[str, Any]]
    """TrainResult.as_dict of each."""
    reuse_counts: dict[str, int]
    """Of one step with arrays kept programmed."""


@dataclass(frozen=True)
class Checked:
    """The first training steps through ngspice, on the circuits that the surrogate drew."""

    vectors: list[tuple[int, str]]
    """(step from 1, name) of each update vector."""
    full: list[float]
    """||u_ngspice - u_surrogate|| / ||u_surrogate|| of each with full refinement."""
    single: list[float]
    """The same with a single pass, which nothing refines."""
    leaf_solves: int
    """Leaf INVs of these steps."""
    full_solves: int
    """Operating points of arrays in ngspice, all passes of them."""
    single_solves: int
    single_pass_error: float | None
    """Mean relative error of the single-pass updates against digital ones of the same step."""


@dataclass(frozen=True)
class Ending:
    """How one circuit ends on each backend."""

    circuit: str
    ends: dict[str, str]


@dataclass(frozen=True)
class Endings:
    """Circuits that end in different words, and the one that oscillates, from rest."""

    circuits: list[Ending]
    waveforms: Waveforms
    operating_point: dict[str, float]
    """What the DC equations say of the oscillating circuit nevertheless, V."""


def solve_one(surrogate: Surrogate, key: Key) -> Solved:
    """A random non-symmetric system on every backend, and ngspice's transient after a step of the inputs."""
    a = draw_matrix("random", M, key.child(0), None)
    b = key.child(1).generator().standard_normal((M, 1))
    found = {name: solver.program(a, key.child(2)).solve(b) for name, solver in _backends(surrogate, SPEC).items()}
    handle = NodalSolver(SPEC).program(a, key.child(2))
    volts, unit = handle.inputs(b)
    model = handle.models[()]
    length = float(f"{4 * model.settling_time(model.operating_point(volts).u, 1e-3)[0]:.1e}")
    waves = transient(SPEC, handle.realisation, volts[:, 0], length, delay=0.05 * length)
    settling = waves.settling_time(tolerance=SETTLED)
    return Solved(
        a=a,
        b=b[:, 0],
        realisation=handle.realisation,
        unit=float(unit[0, 0]),
        exact=solve_or_nan(a, b)[:, 0],
        answers={name: answer.x[:, 0] for name, answer in found.items()},
        statuses={name: _ended(answer.status[0], answer.reason[0]) for name, answer in found.items()},
        waveforms=_outputs(waves, waves.time),
        settling_s=settling if np.isfinite(settling) else None,
    )


def _outputs(waves: Waveforms, time: F64) -> Waveforms:
    """The outputs x alone, at other instants (t,), s."""
    x = waves.matrix("x")
    return Waveforms(time, {f"v(x{i})": np.interp(time, waves.time, x[:, i]) for i in range(M)}, waves.step)


def _backends(surrogate: Surrogate, spec: Spec) -> dict[str, Solver]:
    return {"ngspice": CircuitSolver(spec), "nodal": NodalSolver(spec), "surrogate": SurrogateSolver(surrogate, spec)}


def _ended(status: int, reason: int) -> str:
    why = str(Reason(reason))
    return f"{Status(status)} ({why})" if why else str(Status(status))


def compare(surrogate: Surrogate, seed: int, circuits: int, blocks: F64, advance: Callable[[int], None]) -> Comparison:
    """Validate on fresh circuits; `advance(1)` after each."""
    found = validate(surrogate, SPEC, m=M, seed=seed, count=circuits, recorded=blocks, progress=lambda _: advance(1))
    (group,) = found.groups
    size = np.linalg.norm(group.linear, axis=1, keepdims=True)
    return Comparison(
        figures=found.as_dict(),
        errors=found.errors,
        circuit_error=((group.samples.x - group.linear) / size).ravel(),
        surrogate_error=((group.x - group.linear) / size).ravel(),
    )


def refine(surrogate: Surrogate, blocks: F64, key: Key) -> Refinement:
    """HP-INV pass by pass on a few of LEAVES leaf blocks (k, m, m), from the best written to nearly the worst."""
    leaf = SurrogateSolver(surrogate, SPEC)
    a = blocks[key.child(0).generator().permutation(len(blocks))[:LEAVES]]
    b = key.child(1).generator().standard_normal((len(a), M, 1))
    low = _linear_inverse(leaf.program(a, key.child(2)))
    ratio = np.abs(np.linalg.eigvals(np.eye(M) - low @ a)).max(axis=-1)
    shown = np.argsort(ratio)[[round(q * (len(a) - 1)) for q in QUANTILES]]
    exact = np.linalg.solve(a, b)
    size = np.linalg.norm(exact, axis=(1, 2))
    cut = HpInv(leaf, max_reprograms=0, fallback=False)
    errors = np.empty((len(shown), PASSES))
    for p in range(PASSES):  # a stop rule of zero never stops: the answer after exactly p + 1 passes
        answer = replace(cut, stop=Stop(relative=0.0), max_iterations=p + 1).program(a, key.child(2)).solve(b)
        errors[:, p] = (np.linalg.norm(answer.x - exact, axis=(1, 2)) / size)[shown]
    full = cut.program(a, key.child(2)).solve(b)
    last = [int(np.flatnonzero(row > ROUNDING)[-1]) for row in errors]
    return Refinement(
        ratio=ratio[shown],
        measured=np.array([(row[n] / row[0]) ** (1 / max(n, 1)) for row, n in zip(errors, last, strict=True)]),
        passes=[int(full.iterations[i, 0]) if full.status[i, 0] == Status.OK else None for i in shown],
        errors=errors,
    )


def _linear_inverse(handle: AnalogProgrammed) -> F64:
    """A_lp^-1 of programmed arrays, (k, m, m): the response to small inputs, without the offsets' share."""
    volts = 0.1 * SPEC.cell.v_read_max * np.broadcast_to(np.eye(M), handle.a.shape)
    response = (handle.answer(volts)[0] - handle.answer(-volts)[0]) / (0.2 * SPEC.cell.v_read_max)
    return response / matrix_scale(handle.a)[:, None, None]


def train_all(
    dataset: Dataset, surrogate: Surrogate, epochs: int, seed: int, advance: Callable[[int], None]
) -> Trained:
    """The same network, images and order under each optimiser; `advance(1)` after each epoch."""
    from amcsim.training.loop import TrainConfig, train

    runs = {}
    for name, optimizer in RUNS.items():
        stack = training_stack(SurrogateSolver(surrogate, SPEC), "paper") if "surrogate" in name else None
        config = TrainConfig(dataset, optimizer, stack.solver if stack else None, epochs=epochs, seed=seed)
        runs[name] = train(config, lambda *_: advance(1), stack).as_dict()
    kept = training_stack(SurrogateSolver(surrogate, SPEC), "reuse").solver
    one = train(TrainConfig(dataset, solver=kept, epochs=1, max_steps=1, seed=seed, schedule="reuse"))
    return Trained(dataset.name, dataset.classes, len(dataset.y_train), len(dataset.y_test), runs, one.counts)


def check_in_ngspice(
    dataset: Dataset, surrogate: Surrogate, steps: int, seed: int, advance: Callable[[int], None]
) -> Checked:
    """Repeat the first steps with ngspice in the surrogate's place, on the same draws; `advance(1)` after each run."""
    from amcsim.training.loop import TrainConfig, TrainResult, train

    def run(leaf: Solver, passes: int | None) -> TrainResult:
        solver = training_stack(leaf, "paper", passes=passes).solver
        done = train(TrainConfig(dataset, solver=solver, epochs=steps, max_steps=steps, seed=seed, record=True))
        advance(1)
        return done

    def difference(one: TrainResult, other: TrainResult) -> list[float]:
        pairs = [(one.recorded[step - 1][key], other.recorded[step - 1][key]) for step, key in updates]
        return [float(np.linalg.norm(u - v) / np.linalg.norm(v)) for u, v in pairs]

    circuit, fast = CircuitSolver(SPEC), SurrogateSolver(surrogate, SPEC)
    full, single = run(circuit, None), run(circuit, 1)
    updates = [(n, key) for n, one in enumerate(full.recorded, 1) for key in one if key.endswith("_update")]
    return Checked(
        vectors=[(step, key.removesuffix("_update").replace("_", " ")) for step, key in updates],
        full=difference(full, run(fast, None)),
        single=difference(single, run(fast, 1)),
        leaf_solves=full.counts["high_precision_vectors"],
        full_solves=full.counts["analog_solves"],
        single_solves=single.counts["analog_solves"],
        single_pass_error=single.errors["update_same_step_mean"],
    )


def find_endings(surrogate: Surrogate) -> Endings:
    """Circuits that end in different words, the same ones whatever the demo's seed."""
    key, b = Key(0), np.array([[1.0], [0.5], [-0.5], [0.2]])
    falling = np.geomspace(1.0, 1.0 / 30.0, M)
    definite, hardly, indefinite = (
        (q * eigenvalues) @ q.T
        for q, eigenvalues in (
            (_rotation(key.child(6, 2)), falling),
            (_rotation(key.child(6, 1)), falling),
            (_rotation(key.child(5)), np.array([1.0, 0.7, 0.5, -0.4])),
        )
    )
    slow = SPEC.replace(inverter={"resistance": 10e3, "feedback_capacitance": 0.0}, opamp={"feedback_capacitance": 0.0})
    hasty = SPEC.replace(converters={"read_window": 2e-6})
    cases = (
        ("positive definite, condition 30", SPEC, definite),
        ("the same with 10 kΩ inverters and no feedback capacitors", slow, definite),
        ("the first again, read after 2 µs", hasty, definite),
        ("another of condition 30, which write errors leave nearly singular", SPEC, hardly),
        ("symmetric, one eigenvalue negative", SPEC, indefinite),
    )
    handle = NodalSolver(slow).program(definite, key)
    volts, _ = handle.inputs(b)
    waves = transient(slow, handle.realisation, volts[:, 0], OSCILLATION_S, step=20e-9, from_rest=True)
    point = handle.models[()].operating_point(volts).u[:M, 0].tolist()
    return Endings(
        circuits=[Ending(name, _ends(surrogate, spec, a, b)) for name, spec, a in cases],
        waveforms=_outputs(waves, np.linspace(0.0, OSCILLATION_S, 1201)),
        operating_point={f"v(x{i})": v for i, v in enumerate(point)},
    )


def _rotation(key: Key) -> F64:
    """A random orthogonal matrix, (m, m)."""
    return np.asarray(np.linalg.qr(key.generator().standard_normal((M, M)))[0])


def _ends(surrogate: Surrogate, spec: Spec, a: F64, b: F64) -> dict[str, str]:
    ends = {}
    for name, solver in _backends(surrogate, spec).items():
        try:
            answer = solver.program(a, Key(0)).solve(b)
        except DomainError:
            ends[name] = "refused: not the fitted technology"
        else:
            ends[name] = _ended(answer.status[0], answer.reason[0])
    return ends
