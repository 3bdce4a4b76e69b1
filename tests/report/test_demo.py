"""The demo's parts; the whole of it runs in tests/cli/test_demo.py."""

from __future__ import annotations

from importlib.resources import as_file, files
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from amcsim.campaign.design import load_recorded
from amcsim.report.demo import DemoConfig, claims, demo_campaign
from amcsim.report.demo_parts import SPEC, M, find_endings, refine, solve_one
from amcsim.streams import Key
from amcsim.surrogate.shipped import shipped_surrogate


@pytest.fixture(scope="module")
def blocks() -> np.ndarray:
    with as_file(files("amcsim.calibration") / "kfac_systems.npz") as path:
        return load_recorded(path, (4,))[4]


def test_each_pass_shrinks_the_error_by_the_written_arrays_spectral_radius(blocks: np.ndarray) -> None:
    """The geometric mean over passes; skewed eigenvectors and offsets move it by a fifth at most."""
    found = refine(shipped_surrogate(SPEC, (M, M)), blocks, Key(3))
    assert np.all(np.diff(found.ratio) > 0)
    assert found.measured == pytest.approx(found.ratio, rel=0.25)
    expected = 1 + np.log(2.0**-24 / found.errors[:, 0]) / np.log(found.ratio)
    assert found.passes == pytest.approx(expected, abs=2.5)


def test_one_circuit_gives_the_same_answer_on_every_backend_and_at_the_end_of_its_transient() -> None:
    found = solve_one(shipped_surrogate(SPEC, (M, M)), Key(1))
    reference = found.answers["ngspice"]
    assert set(found.statuses.values()) == {"ok"}
    for name in ("nodal", "surrogate"):
        assert found.answers[name] == pytest.approx(reference, rel=1e-3)
    ends = [signal[-1] / found.unit for signal in found.waveforms.signals.values()]
    assert ends == pytest.approx(reference, rel=2e-3)
    assert found.settling_s is not None
    assert found.settling_s < found.waveforms.time[-1] / 2
    assert found.a @ found.exact == pytest.approx(found.b)


def test_circuits_end_in_the_same_word_on_every_backend() -> None:
    found = find_endings(shipped_surrogate(SPEC, (M, M)))
    ends = [case.ends["ngspice"] for case in found.circuits]
    assert ends == ["ok", "unstable (pole)", "unsettled (window)", "saturated (disturb)", "unstable (pole)"]
    for case in found.circuits:
        assert case.ends["nodal"] == case.ends["ngspice"]
        assert case.ends["surrogate"] in (case.ends["ngspice"], "refused: not the fitted technology")
    late = np.stack(list(found.waveforms.signals.values()))[:, -200:]
    assert np.ptp(late, axis=1).max() > 0.5  # V: a limit cycle around the operating point


def test_the_campaign_is_named_by_its_seed_and_size(blocks: np.ndarray) -> None:
    one, same, other = (demo_campaign(DemoConfig(seed=s), blocks).sha256 for s in (0, 0, 1))
    assert one == same != other
    assert demo_campaign(DemoConfig(circuits=32), blocks).samples == {
        "random": 8, "wishart": 8, "ill_conditioned": 8, "recorded": 8
    }  # fmt: skip


def results(**changed: Any) -> Any:
    """What `claims` reads, with every claim just met."""
    figures = {"error_of_error_median": 1e-3, "error_of_error_p95": 5e-3, "status_disagreements": 0}
    counts = {"steps": 2, "high_precision_vectors": 278, "array_programmings": 56}
    given = {
        "nodal": 1.0, "figures": figures, "epochs": (8, 9), "counts": counts, "kept": 12, "full": [1e-9, 0.01],
        "single": [0.002], **changed,
    }  # fmt: skip
    runs = {
        name: {"epochs_to_full_accuracy": epochs, "counts": given["counts"]}
        for name, epochs in zip(("K-FAC, digital", "K-FAC, surrogate"), given["epochs"], strict=True)
    }
    return SimpleNamespace(
        solved=SimpleNamespace(answers={"nodal": np.array([given["nodal"]]), "ngspice": np.array([1.0])}),
        fresh=SimpleNamespace(figures=given["figures"]),
        shipped=SimpleNamespace(figures=figures),
        trained=SimpleNamespace(runs=runs, reuse_counts={"array_programmings": given["kept"]}),
        checked=SimpleNamespace(full=given["full"], single=given["single"]),
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"nodal": 1.0021},
        {"figures": {"error_of_error_median": 1.1e-3, "error_of_error_p95": 5e-3, "status_disagreements": 0}},
        {"figures": {"error_of_error_median": 1e-3, "error_of_error_p95": float("nan"), "status_disagreements": 0}},
        {"figures": {"error_of_error_median": 1e-3, "error_of_error_p95": 5e-3, "status_disagreements": 1}},
        {"counts": {"steps": 2, "high_precision_vectors": 278, "array_programmings": 57}},
        {"counts": {"steps": 2, "high_precision_vectors": 277, "array_programmings": 56}},
        {"epochs": (8, 10)},
        {"epochs": (8, None)},
        {"kept": 28},
        {"full": [0.011]},
        {"single": [0.001, float("inf")]},
    ],
)
def test_a_figure_out_of_bounds_breaks_its_claim_alone(changed: dict[str, Any]) -> None:
    assert all(claim.holds for claim in claims(results()))
    assert [claim.holds for claim in claims(results(**changed))].count(False) == 1


def test_runs_too_short_for_full_accuracy_claim_nothing_about_it() -> None:
    assert len(claims(results(epochs=(None, None)))) == len(claims(results())) - 1
