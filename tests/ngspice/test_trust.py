"""SPICE of others is refused in one sentence where it could do more than describe a circuit; what passes is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amcsim.ngspice import NgspiceError, Session, SpiceRefused, check_spice, read_spice, run_batch
from amcsim.ngspice.trust import command_line

SHELL = "shell touch pwned"
OPAMP = """* an op-amp as vendors write them
.SUBCKT opa 1 2 3 4 5 PARAMS: GAIN=1e5
* inputs, supplies, output
Rin 1 2 1Meg ; differential
Gm 0 6 POLY(1) (1,2) 0 {GAIN/1k}  $ first stage
R6 6 0
+ 1k
Bout 5 0 V={V(6) > V(3) ? V(3) : V(6)}
.MODEL dx D(IS=1e-14
+ RS=1)
D1 6 3 dx
.ENDS opa
.END
"""

# A library each, and words of the sentence that refuses it.
HOSTILE = {
    "control section": (f".control\n{SHELL}\n.endc", "line 1: '.control' is not taken"),
    "control section, indented, capitals": (f"  \t.CONTROL\n{SHELL}\n.endc", "'.CONTROL' is not taken"),
    "control section over two lines": (f".con\n+trol\n{SHELL}\n.endc", "'.con trol' is not taken"),
    "control behind a carriage return": (f"* a\r.control\r{SHELL}\r.endc\r", r"not printable \(U\+000D\)"),
    "control behind a vertical tab": (f"* a\x0b.control\x0b{SHELL}", r"not printable \(U\+000B\)"),
    "control behind a line separator": (f"* a\u2028.control\u2028{SHELL}", r"not printable \(U\+2028\)"),
    "command in a comment": (f"*# {SHELL}", "would be a command"),
    "shell": (SHELL, "would be a command"),
    "system": (".subckt s a b\nsystem touch pwned\n.ends", "line 2: 'system touch pwned' would be a command"),
    "backticks": (".subckt s a b\nR1 a b `touch pwned`\n.ends", "would be a command"),
    "codemodel": ("codemodel /tmp/evil.cm", "would be a command"),
    "pre_ command": ("pre_osdi evil.osdi", "would be a command"),
    "osdi": (".osdi evil.osdi", ".osdi has no place in a library"),
    "exec": (".exec touch pwned", ".exec has no place"),
    "absolute include": (".include /etc/passwd", "leaves the folder"),
    "include of the parent": ('.INC "../secret.lib"', "leaves the folder"),
    "include of home": (".include ~/secret.lib", "leaves the folder"),
    "include of a variable": (".include $HOME/secret.lib", "leaves the folder"),
    "include through a link": (".include link.lib", "leaves the folder .* by a link"),
    "include of itself": (".include self.lib", "too large: at most 8 MB in 100 files, 8 deep"),
    "include of a pipe": (".include pipe", "pipe is no file"),
    "include that is not there": (".include nothere.lib", "names a file that is not in"),
    "library outside": (".lib ../secret.lib typ", "leaves the folder"),
    "library without its section": (".lib corners.lib fast", "names a section that the file does not have"),
    "program as a code model": ('.model p d_process(process_file="/bin/sh")', "names a file to read or write"),
    "program, name apart": (".model p d_process process_params=[1]", "a model of this type is not taken"),
    "shared object as a code model": ('.model p d_cosim(simulation="evil.so")', "a model of this type is not taken"),
    "file as a source": ('.model p filesource(file="/etc/passwd")', "names a file to read or write"),
    "table from a file": ('.model p table2d(file = "/etc/passwd")', "names a file to read or write"),
    "file in a source's waveform": (".subckt s a\nV1 a 0 PWL(FILE='/etc/passwd')\n.ends", "names a file"),
    "write": (".write pwned all", ".write has no place"),
    "analysis in a library": (".tran 1n 1", ".tran has no place in a library"),
    "options in a library": (".options reltol=1", ".options has no place in a library"),
    "element outside": ("R1 a 0 1", "stands outside a .subckt"),
    "no element": (".subckt s a b\n!touch pwned\n.ends", "is no element"),
    "nul in a name": (".subckt s\x00 a b\n.ends", r"not printable \(U\+0000\)"),
    "escape in a name": (".subckt s\x1b[2J a b\n.ends", r"not printable \(U\+001B\)"),
    "open": (".subckt s a b\nR1 a b 1", "line 1 opens a .subckt that nothing closes"),
    "closed twice": (".subckt s a b\n.ends\n.ends", "line 3: '.ends' closes nothing"),
}
HOSTILE_DECKS = {
    "title is a command": (".control\nquit\n.endc", "the first line of a deck is its title"),
    "after the end": ("t\nR1 a 0 1\n.end\nR2 a 0 1", "stands after the .end"),
    "option that is none": ("t\n.options rawfile=/etc/passwd\n.end", "names a file to read or write"),
    "option with a path": ("t\n.options method=/bin/sh\n.end", "the option 'method' is not taken"),
    "unknown option": ("t\n.options reltol=1e-5 sourcepath=x\n.end", "the option 'sourcepath' is not taken"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a secret beside it, links, a pipe, and files that may be included."""
    import os

    inner = tmp_path / "libraries"
    (inner / "parts").mkdir(parents=True)
    (tmp_path / "secret.lib").write_text(".lib typ\n.param x=1\n.endl\n")
    (inner / "link.lib").symlink_to(tmp_path / "secret.lib")
    (inner / "self.lib").write_text(".include self.lib\n")
    (inner / "corners.lib").write_text(".lib typ\n.param corner=1\n.endl typ\n.lib slow\n.param corner=2\n.endl\n")
    (inner / "parts" / "diode.lib").write_text(".model dx d(is=1e-14)\n")
    (inner / "parts" / "all.lib").write_text('.include "diode.lib"\n')
    os.mkfifo(inner / "pipe")
    return inner


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_library_is_refused_in_one_sentence(kind: str, folder: Path) -> None:
    text, words = HOSTILE[kind]
    before = sorted(folder.rglob("*"))
    with pytest.raises(SpiceRefused, match=words) as refused:
        check_spice(text + "\n", folder, name="evil.lib")
    assert str(refused.value).isprintable()
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("kind", HOSTILE_DECKS)
def test_a_hostile_deck_is_refused_in_one_sentence(kind: str, folder: Path) -> None:
    text, words = HOSTILE_DECKS[kind]
    with pytest.raises(SpiceRefused, match=words) as refused:
        check_spice(text + "\n", folder, name="evil.cir", deck=True)
    assert str(refused.value).isprintable()


def test_the_danger_is_real(tmp_path: Path) -> None:
    """What the check refuses ngspice does: a control section runs a command, a carriage return hides one."""
    run_batch(f"t\nV1 a 0 1\nR1 a 0 1\n.control\nop\nshell touch {tmp_path}/batch\n.endc\n.end\n")
    assert (tmp_path / "batch").exists()
    hidden = f"t\nV1 a 0 1\nR1 a 0 1\r.control\rshell touch {tmp_path}/session\r.endc\n.end\n"
    assert command_line(hidden) == ".control"
    with pytest.raises(NgspiceError, match=r"must not hold a \.control section"):
        Session().load(hidden)
    assert not (tmp_path / "session").exists()


def test_a_vendor_s_library_passes_and_amplifies(tmp_path: Path) -> None:
    (tmp_path / "opa.lib").write_bytes(OPAMP.replace("\n", "\r\n").replace("vendors", "vend\u00f6rs").encode("cp1252"))
    text = read_spice(tmp_path / "opa.lib")
    assert ".END\n" not in text
    assert "R6 6 0 1k" in text.splitlines()
    deck = check_spice(
        "follower\n.include opa.lib\nVp p 0 5\nVin i 0 0.25\nX1 i o p 0 o opa\nRl o 0 1k\n.op\n.end\n",
        tmp_path,
        deck=True,
    )
    # A gain of 1e5 leaves 1e-5 of the input between the inputs of a follower.
    assert run_batch(deck).plot("operating")["v(o)"][0] == pytest.approx(0.25 / (1 + 1e-5), rel=1e-6)


def test_included_files_stand_in_the_text_links_and_sections_resolved(folder: Path) -> None:
    (folder / "alias.lib").symlink_to(folder / "parts" / "all.lib")
    text = check_spice('.include alias.lib\n.lib corners.lib slow\n.INCLUDE "parts/all.lib"\n', folder)
    assert text.splitlines() == [".model dx d(is=1e-14)", ".param corner=2", ".model dx d(is=1e-14)"]


def test_what_is_shipped_passes() -> None:
    from importlib.resources import files

    libraries = [item for item in files("amcsim.circuits").iterdir() if item.name.endswith(".lib")]
    assert len(libraries) >= 7
    for library in libraries:
        assert ".subckt" in (text := read_spice(Path(str(library)))) or ".model" in text


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpiceRefused, match="is no file"):
        read_spice(tmp_path / "nothere.lib")
    with pytest.raises(SpiceRefused, match="is no file"):
        read_spice(tmp_path)
    (tmp_path / "binary.lib").write_bytes(bytes(range(256)))
    with pytest.raises(SpiceRefused, match=r"is no text|not printable"):
        read_spice(tmp_path / "binary.lib")
    (tmp_path / "huge.lib").write_bytes(b"*" * ((8 << 20) + 1))
    with pytest.raises(SpiceRefused, match="larger than 8 MB"):
        read_spice(tmp_path / "huge.lib")
    with pytest.raises(SpiceRefused, match=r"^the folder .*nowhere of SPICE text cannot be used: No such file"):
        check_spice("", tmp_path / "nowhere")


WORDS = [".control", ".include /etc/passwd", "*# x", "shell x", ".subckt s a", ".ends", "R1 a 0 1"]
GAPS = ["\n", "\r", "\x0b", "\x0c", "\u2028", "\x85", "+", " ", ";", "$ ", "//", "*"]


@given(st.lists(st.sampled_from([*WORDS, *GAPS]), max_size=12))
def test_no_mixture_slips_a_command_or_an_include_through(pieces: list[str]) -> None:
    try:
        passed = check_spice("".join(pieces), "/")
    except SpiceRefused:
        return
    assert command_line(passed) is None
    assert not any(line.lower().startswith((".inc", ".lib")) for line in passed.splitlines())
