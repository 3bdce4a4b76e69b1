"""Training runs: they learn, repeat to the bit, count as the paper counts, and refuse what makes no sense."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amcsim.solvers.block_amc import BlockAmc
from amcsim.solvers.emulated import Emulated
from amcsim.solvers.exact import Exact
from amcsim.solvers.hp_inv import HpInv
from amcsim.specs import Spec
from amcsim.training.loop import Start, TrainConfig, train, update_drift

NOISY = Emulated(Spec.model_validate({"programming": {"model": "uniform", "tolerance": 1e-5}}))


def test_kfac_learns_the_digits_well_inside_fifty_epochs() -> None:
    """Ten seeds took 5 to 11 epochs."""
    seen: list[tuple[int, float, float]] = []
    result = train(TrainConfig(epochs=20), progress=lambda *report: seen.append(report))
    assert result.epochs_to_full_accuracy is not None
    assert result.epochs_to_full_accuracy <= 15
    assert result.accuracy.index(1.0) + 1 == result.epochs_to_full_accuracy
    assert result.test_accuracy > 0.93
    assert result.loss[-1] < 0.05
    assert seen == [(i + 1, a, b) for i, (a, b) in enumerate(zip(result.accuracy, result.loss, strict=True))]
    assert result.counts["steps"] == 40
    assert result.counts["update_vectors"] == 160
    assert result.counts["array_programmings"] == 0
    assert result.iterations_mean is None
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["counts"]["steps"] == 40


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_first_order_baselines_learn_the_digits_more_slowly(optimizer: Any) -> None:
    result = train(TrainConfig(optimizer=optimizer, epochs=40))
    kfac = train(TrainConfig(epochs=40))
    assert result.accuracy[-1] > 0.9
    assert result.loss[-1] < 0.3 * result.loss[0]
    assert kfac.loss[-1] < result.loss[-1]
    assert result.errors == {}
    assert result.counts["update_vectors"] == 0


def test_a_seed_repeats_to_the_bit_and_leaves_global_state_alone() -> None:
    config = TrainConfig(solver=NOISY, epochs=3, seed=4, record=True)
    threads, generator = torch.get_num_threads(), torch.random.get_rng_state()
    one, two, other = train(config), train(config), train(replace(config, seed=5))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert one.loss == two.loss
    assert one.loss != other.loss
    for ours, theirs in zip(one.recorded, two.recorded, strict=True):
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(("schedule", "programmings"), [("paper", 28), ("reuse", 12)])
def test_counts_of_the_first_steps_are_the_papers(schedule: Any, programmings: int) -> None:
    solver = BlockAmc(HpInv(NOISY), schedule=schedule)
    result = train(TrainConfig(solver=solver, schedule=schedule, epochs=50, max_steps=3))
    assert result.counts["steps"] == 3
    assert result.counts["update_vectors"] == 12
    assert result.counts["high_precision_vectors"] == 3 * 139
    assert result.counts["array_programmings"] == 3 * programmings
    assert len(result.accuracy) == 2  # the second epoch was cut short
    assert result.iterations_mean == result.counts["analog_solves"] / (3 * 139)
    same_step = result.errors["update_same_step_pooled"]
    assert same_step is not None
    assert same_step < 1e-5  # 24-bit refinement times the condition of the splits


def test_snapshots_hold_the_systems_of_each_step(tmp_path: Path) -> None:
    path = tmp_path / "factors.npz"
    result = train(TrainConfig(epochs=1, snapshots=path))
    assert [p.name for p in tmp_path.iterdir()] == ["factors.npz"]
    with np.load(path) as file:
        shapes = {name: file[name].shape for name in file.files}
        conv = np.linalg.solve(file["conv_A_matrix"], file["conv_A_rhs"]).transpose(0, 2, 1)
        np.testing.assert_allclose(conv, file["conv_G_rhs"], rtol=1e-9)
        update = np.linalg.solve(file["fc_G_bias_matrix"], file["fc_G_bias_rhs"])
        np.testing.assert_allclose(update, file["fc_bias_update"], rtol=1e-9)
        assert np.linalg.eigvalsh(file["fc_A_matrix"]).min() >= 0.03 - 1e-12  # damped
        assert np.array_equal(file["fc_weight_update"][1], result.recorded[1]["fc_weight_update"])
    assert shapes["conv_A_matrix"] == (2, 25, 25)
    assert shapes["conv_A_rhs"] == (2, 25, 4)
    assert shapes["conv_G_rhs"] == (2, 4, 25)
    assert shapes["fc_A_rhs"] == (2, 16, 4)


def test_drift_is_zero_against_itself_and_grows_from_the_same_step_error() -> None:
    config = TrainConfig(epochs=4, record=True)
    exact, off = train(config), train(replace(config, solver=Emulated(Spec(), output_gain=0.99)))
    assert update_drift(exact, exact)["update_drift_pooled"] == 0.0
    same_step, drift = off.errors["update_same_step_pooled"], update_drift(off, exact)["update_drift_pooled"]
    assert same_step is not None
    assert drift is not None
    assert same_step == pytest.approx(0.0199, abs=5e-4)  # 1 - .99^2 of the weights, which outweigh the biases' .01
    assert drift > 2 * same_step
    with pytest.raises(ValueError, match="record=True"):
        update_drift(exact, train(TrainConfig(epochs=4)))


def test_another_solver_may_take_over_after_some_epochs() -> None:
    config = TrainConfig(epochs=3, solver_after=(2, NOISY))
    result = train(config)
    assert result.counts["array_programmings"] == 2 * 6  # only the third epoch's two steps write arrays
    assert result.loss[:2] == train(replace(config, solver_after=None)).loss[:2]


def test_a_recorders_errors_join_the_result() -> None:
    class Recorder:
        def summary(self) -> Mapping[str, float | None]:
            return {"lp_mean": 0.5}

    errors = train(TrainConfig(epochs=1), recorder=Recorder()).errors
    assert errors["lp_mean"] == 0.5
    assert errors["update_same_step_mean"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"optimizer": "lbfgs"}, "choose one of kfac, sgd, adam"),
        ({"epochs": 0}, "epochs is 0"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"optimizer": "sgd", "solver": Exact()}, "solver goes with the optimizer 'kfac' only"),
        ({"options": {"learning_rate": 1}}, "options of kfac: .*learning_rate"),
        ({"options": {"damping": -1}}, "damping is -1"),
        ({"snapshots": Path("/absent/file.npz")}, "folder of the snapshots file /absent/file.npz does not exist"),
        ({"data": "faces"}, "choose 'digits', 'letters', 'mnist' or 'curves'"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_bad_configurations_are_refused(change: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        train(replace(TrainConfig(), **change))


def test_a_run_that_starts_between_epochs_goes_on_to_the_bit() -> None:
    config = TrainConfig(solver=BlockAmc(HpInv(NOISY), schedule="paper"), epochs=3, seed=2, record=True)
    whole, first = train(config), train(replace(config, epochs=1))
    rest = train(config, start=Start(1, first.parameters))
    assert first.loss + rest.loss == whole.loss
    assert rest.counts["steps"] == 4
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(rest.parameters[name], value)
    np.testing.assert_array_equal(rest.recorded[-1]["fc_bias_update"], whole.recorded[-1]["fc_bias_update"])


@pytest.mark.parametrize("config", [TrainConfig(optimizer="sgd"), TrainConfig(options={"momentum": 0.9})])
def test_a_start_forgets_nothing_silently(config: TrainConfig) -> None:
    with pytest.raises(ValueError, match="start goes with"):
        train(config, start=Start(1, {}))
