from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amcsim.ngspice import Plot, RawFileError, read_raw, run_batch, write_raw

RC = """rc low-pass
V1 a 0 dc 1 ac 1 pulse(0 1 0 1n 1n 1 2)
R1 a b 1k
C1 b 0 1n
.op
.ac dec 5 1k 1meg
.tran 20n 2u
{control}.end
"""


def same(one: Plot, other: Plot) -> bool:
    return (
        (one.title, one.name, one.variables) == (other.title, other.name, other.variables)
        and one.data.dtype == other.data.dtype
        and one.data.shape == other.data.shape
        and one.data.tobytes() == other.data.tobytes()
    )


def test_ngspice_s_own_file_holds_three_analyses() -> None:
    plots = {plot.name: plot for plot in run_batch(RC.format(control="")).plots}
    op, ac, tran = (plots[name] for name in ("Operating Point", "AC Analysis", "Transient Analysis"))
    assert op["v(b)"] == pytest.approx(1.0)
    assert ac.is_complex
    transfer = 1 / (1 + 2j * np.pi * ac["frequency"].real * 1e-6)
    np.testing.assert_allclose(ac["v(b)"], transfer, rtol=1e-9)
    assert next(iter(tran)) == "time"
    # Trapezoidal rule, tstep 20 ns on a time constant of 1 us: 1e-3 is generous.
    np.testing.assert_allclose(tran["V(B)"].real, 1 - np.exp(-tran["time"].real / 1e-6), atol=2e-3)
    assert "v(b)" in tran
    assert "v(z)" not in tran
    with pytest.raises(KeyError, match=r"v\(z\)"):
        tran["v(z)"]


@pytest.mark.parametrize("filetype", ["binary", "ascii"])
def test_what_we_write_ngspice_loads_and_writes_back_unchanged(tmp_path: Path, filetype: str) -> None:
    plots = sorted(run_batch(RC.format(control="")).plots, key=lambda plot: "OAT".index(plot.name[0]))
    write_raw(tmp_path / "ours.raw", plots)
    deck = f"""load
.control
set filetype={filetype}
set numdgt=17
set appendwrite
load ours.raw
foreach p op1 ac1 tran1
setplot $p
write theirs.raw all
end
.endc
.end
"""
    (tmp_path / "deck.cir").write_text(deck)
    subprocess.run(["ngspice", "-n", "-b", "deck.cir"], cwd=tmp_path, capture_output=True, check=False, timeout=20)
    back = read_raw(tmp_path / "theirs.raw")
    assert [plot.name for plot in back] == [plot.name for plot in plots]
    for ours, theirs in zip(plots, back, strict=True):
        assert set(ours) == set(theirs)
        for name in ours:
            if filetype == "binary":
                assert ours[name].tobytes() == theirs[name].tobytes()
            else:
                np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-14)


values = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=5))


@given(data=values, is_complex=st.booleans(), title=st.text(max_size=20))
@settings(max_examples=40, deadline=None)
def test_round_trip_keeps_every_bit(tmp_path_factory: pytest.TempPathFactory, data, is_complex, title) -> None:
    if is_complex:
        data = np.stack([data, data[:, ::-1]], axis=-1).view(np.complex128)[..., 0]
    names = tuple((f"v(n{k})", "voltage") for k in range(data.shape[0]))
    plot = Plot(" ".join(title.encode(errors="ignore").decode().split()), "Transient Analysis", names, data)
    path = tmp_path_factory.getbasetemp() / "round.raw"
    write_raw(path, [plot, plot])
    assert all(same(back, plot) for back in read_raw(path))
    assert len(read_raw(path)) == 2


PLOT = Plot("t", "Operating Point", (("v(a)", "voltage"), ("i(v1)", "current")), np.array([[1.0, 2.0], [3.0, 4.0]]))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("raw") / "plot.raw"
    write_raw(path, PLOT)
    return path.read_bytes()


def test_every_truncation_is_an_error_of_one_sentence(content: bytes) -> None:
    assert same(read_raw(content)[0], PLOT)
    for end in range(len(content)):
        with pytest.raises(RawFileError) as error:
            read_raw(content[:end])
        assert "\n" not in str(error.value)


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_garbled_byte_is_read_or_refused_but_never_crashes(content: bytes, at: int, byte: int) -> None:
    garbled = bytearray(content)
    garbled[at % len(content)] = byte
    with suppress(RawFileError):
        assert read_raw(bytes(garbled))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"Title: t\nNo. Variables: x\nVariables:\n", "not a count"),
        (
            b"Title: t\nNo. Variables: 1\nNo. Points: 2\nVariables:\n\t0\tv(a)\tvoltage\nValues:\n 0\t1.0\n",
            "2 of 4 numbers",
        ),
        (
            b"Title: t\nNo. Variables: 1\nNo. Points: 1\nVariables:\n\t0\tv(a)\tvoltage\nValues:\n 0\tone\n",
            "not all numbers",
        ),
        (b"\x00\x01binary rubbish\n" * 9, "header holds"),
        (b"", "empty"),
    ],
)
def test_garbled_files_say_what_is_wrong(text: bytes, why: str) -> None:
    with pytest.raises(RawFileError, match=why):
        read_raw(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RawFileError, match=r"nothing\.raw cannot be read"):
        read_raw(tmp_path / "nothing.raw")


def test_ascii_complex_values_are_read() -> None:
    text = b"Title: t\nPlotname: AC Analysis\nFlags: complex\nNo. Variables: 2\nNo. Points: 1\n"
    text += b"Variables:\n\t0\tfrequency\tfrequency\n\t1\tv(a)\tvoltage\nValues:\n0\t1e3,0.0\n\t-0.5,2.5\n\n"
    (plot,) = read_raw(text * 1)
    assert plot["v(a)"][0] == -0.5 + 2.5j
    assert len(read_raw(text * 3)) == 3
