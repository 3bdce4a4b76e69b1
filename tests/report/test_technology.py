from __future__ import annotations

from amcsim.report.technology import technology_rows, technology_table
from amcsim.specs import preset


def test_every_value_of_a_preset_has_its_unit_meaning_and_source() -> None:
    rows = {key: rest for key, *rest in technology_rows(preset("pku_350nm"))}
    assert rows["`cell.g_max`"] == ["220 µS", "Largest programmed conductance.", "paper, Fig. 7"]
    assert rows["`opamp.noise_density`"][0] == "16 nV/√Hz"
    assert rows["`opamp.gain`"][0] == "45,000"
    assert rows["`wire.layout`"][0] == "shared"
    assert rows["`inverter.mismatch_sigma`"][::2] == ["0", "default"]
    dimensionless = {"gain", "mismatch_sigma", "stuck_on", "stuck_off", "settling_tolerance", "v0_exponent"}
    dimensionless |= {"drift", "drift_sigma", "telegraph_share", "telegraph_largest", "read_sigma", "read_exponent"}
    numbers = {key: value for key, (value, *_) in rows.items() if value[0] in "\u22120123456789"}
    assert {key.strip("`").split(".")[1] for key, value in numbers.items() if " " not in value} <= dimensionless


def test_a_changed_spec_claims_no_sources() -> None:
    spec = preset("pku_350nm").replace(wire={"bl_resistance": 2.0})
    assert {source for *_, source in technology_rows(spec)} == {""}
    assert "<th>source</th>" not in technology_table(spec, "x")
    assert "<th>source</th>" in technology_table(preset("pku_350nm"), "x")
