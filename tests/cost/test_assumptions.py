"""Assumptions: each has a source and a range around it; a bad file is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from amcsim.cost.assumptions import AssumptionError, load_assumptions


def test_every_number_has_a_source_and_lies_in_its_range() -> None:
    known = load_assumptions()
    assert len(known.items) > 50
    for name, item in known.items.items():
        assert item.source, name
        if item.low is not None:
            assert item.high is not None
            assert not isinstance(item.value, str)
            assert item.low <= item.value <= item.high, name
        elif isinstance(item.value, str):
            assert item.value in item.choices, name


def test_a_file_replaces_some_and_stretches_their_range(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[adc]\nfigure_of_merit = 1e-12\nrate = {value = 1e6, source = "a data sheet"}\n'
        '[machine]\ntechnology = "board"\n'
    )
    known = load_assumptions(tmp_path / "mine.toml")
    assert known["adc.figure_of_merit"] == known.items["adc.figure_of_merit"].high == 1e-12
    assert known.items["adc.rate"].source == "a data sheet"
    assert known.word("machine.technology") == "board"
    assert known.changed == ("adc.figure_of_merit", "adc.rate", "machine.technology")
    assert known["write.time"] == load_assumptions()["write.time"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[adc]\nrate = -1", "allowed is above 0"),
        ("[adc]\nrate = nan", "no number"),
        ("[adc]\nrate = true", "no number"),
        ("[adc]\nspeed = 1.0", "there are adc.bits"),
        ("[nothing]\nx = 1.0", "there are adc, algorithm"),
        ("[adc]\nbits = 7.5", "whole number"),
        ("[adc]\nrate = {value = 1e6, colour = 3}", "no field 'colour'"),
        ("[machine]\ntechnology = 3", "choose one of integrated, board"),
        ("[machine]\noverlap = 1.5", "0 to 1"),
        ("rate = 3", "no section"),
        ("[adc", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(AssumptionError, match="assumptions ") as error:
        load_assumptions(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
