"""Table I by hand where a hand can follow, and which assumptions move it which way."""

from __future__ import annotations

import pytest

from amcsim.cost.assumptions import load_assumptions
from amcsim.cost.counts import AUTOENCODER
from amcsim.cost.sensitivity import reaching, tornado
from amcsim.cost.training import PUBLISHED, kfac_step, operations, table_one
from amcsim.cost.units import units

KNOWN = load_assumptions()


def test_published_ratios_are_the_papers_own() -> None:
    rows = table_one(KNOWN)["rows"]
    assert rows["Zhang et al."]["throughput_ratio"] == pytest.approx(5.88, abs=0.01)
    assert rows["Zhang et al."]["efficiency_ratio"] == pytest.approx(6.9, abs=0.1)
    assert rows["ASIC, 28 nm"]["power"] == pytest.approx(18e-3, rel=0.003)
    # 70 % of the peak of 67 TFLOPS at 700 W, and by 14,592 cores
    assert PUBLISHED["H100 core"]["efficiency"] == pytest.approx(0.7 * 67e12 / 700, rel=1e-6)
    assert PUBLISHED["H100 core"]["throughput"] == pytest.approx(0.7 * 67e12 / 14592, rel=0.002)


def test_one_small_layer_by_hand() -> None:
    # A 4x4 by 4 rows of dW, G 4x4 by 4 columns and the bias: arrays of one leaf, no partition
    u, passes = units(KNOWN), KNOWN["algorithm.passes"]
    step = kfac_step(KNOWN, (4, 4))
    assert step.passes == {4: 9 * passes}
    assert step.macs["off-diagonal products"] == step.macs["Schur complements"] == 0
    assert step.macs["residuals"] == 9 * passes * (16 + 2 * 4 * passes)
    assert step.conversions == 4 * 9 * passes
    assert step.writes == 2 * 2 * 16 / KNOWN["algorithm.period"]
    assert step.energy["residuals"] == pytest.approx(step.macs["residuals"] * u.mac.energy)
    assert step.time["analog"] == pytest.approx(9 * passes * (u.inv.time + u.adc.time))
    assert operations((4, 4), 20, 1)["both"] == 2 * 16 * 9 + 2 * 2 * 64 / 20


def test_energy_of_an_inv_is_its_amplifiers_power_while_it_settles() -> None:
    u = units(KNOWN)
    time = KNOWN["dac.time"] + KNOWN["integrated.inv_settling_128"]
    assert u.inv.energy == pytest.approx(128 * KNOWN["integrated.inv_power_row"] * time)
    small = units(KNOWN.with_value("machine.array_size", 16.0))
    assert small.inv.time == pytest.approx(KNOWN["dac.time"] + KNOWN["integrated.inv_settling_16"])


def test_what_costs_is_digital_and_fewer_passes_help() -> None:
    step = kfac_step(KNOWN)
    total = sum(step.energy.values())
    assert sum(e for name, e in step.energy.items() if name in step.macs) > 0.8 * total
    ours = table_one(KNOWN)["rows"]
    once = table_one(KNOWN.with_value("algorithm.passes", 1.0))["rows"]
    assert once["ours"]["efficiency"] > 3 * ours["ours"]["efficiency"]
    assert ours["the same arithmetic without arrays"]["efficiency"] > ours["ours"]["efficiency"]


def test_published_rate_says_how_long_a_step_would_be() -> None:
    found = table_one(KNOWN)["definitions"]
    asked = operations(AUTOENCODER, 20, 1000)
    assert found["both"]["published_step"] == pytest.approx(asked["both"] / 1.89e10)
    assert asked["inversion"] < 0.1 * asked["preconditioning"] < asked["whole step"]


def test_sensitivities_are_ordered_and_a_goal_is_met_where_it_is_said_to_be() -> None:
    def figures(known: object) -> dict[str, float]:
        return {"throughput": table_one(known)["rows"]["ours"]["throughput"]}  # type: ignore[arg-type]

    names = ["digital.clock", "adc.rate", "adc.figure_of_merit"]
    rows = tornado(figures, KNOWN, names)["throughput"]
    assert {r["name"] for r in rows} == {"digital.clock", "adc.rate"}  # the figure of merit is of energy
    spans = [max(r["at_low"], r["at_high"]) / min(r["at_low"], r["at_high"]) for r in rows]
    assert spans == sorted(spans, reverse=True)
    clock = reaching(lambda k: figures(k)["throughput"], KNOWN, "digital.clock", 1.89e10)
    assert clock is not None
    assert figures(KNOWN.with_value("digital.clock", clock))["throughput"] == pytest.approx(1.89e10, rel=1e-6)
    assert reaching(lambda k: figures(k)["throughput"], KNOWN, "adc.rate", 1e20) is None
