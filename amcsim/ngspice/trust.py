"""SPICE text of others: refused where it could run a command, load code, or read outside its folder.

ngspice runs what stands between .control and .endc and what the code models d_process and d_cosim name; it reads any
file for .include, .lib and code models with a file parameter. What is checked here is what is run: comments are left
out, and the files that a text includes are put in its place. The rule is a list of what may stand in a circuit, not of
what may not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SpiceRefused", "check_spice", "command_line", "read_spice"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DEFINITIONS = _words("subckt ends model param params func if elseif else endif")
_OF_A_DECK = _words(
    "op tran ac dc noise tf sens pz disto four fourier meas measure save print plot width options option opt temp ic "
    "nodeset global csparam title end"
)
# Semiconductors, passive parts, lines, and code models that neither name files nor run programs.
_MODELS = _words(
    "r c l res cap ind d npn pnp njf pjf nmos pmos nmf pmf nhfet phfet vdmos vdmosn vdmosp nsoi psoi sw csw urc ltra "
    "txl cpl gain summer mult divide limit climit ilimit pwl pwlts multi_input_pwl aswitch pswitch zener hyst int d_dt "
    "s_xfer slew core lcouple sine square triangle oneshot potentiometer delay memristor sidiode spice2poly cmeter "
    "lmeter adc_bridge dac_bridge d_buffer d_inverter d_and d_nand d_or d_nor d_xor d_xnor d_dff d_jkff d_tff d_srff "
    "d_dlatch d_srlatch d_pullup d_pulldown d_tristate"
)
_OPTIONS = _words(
    "reltol abstol vntol chgtol trtol pivtol pivrel gmin gminsteps srcsteps itl1 itl2 itl3 itl4 itl5 itl6 temp tnom "
    "method maxord xmu rshunt cshunt minbreak noopiter savecurrents interp klu sparse numdgt noinit nopage acct list "
    "node opts nomod warn maxwarns autostop scale defl defw defad defas bypass convstep convabsstep seed"
)
_COMMAND = re.compile(r"(?:shell|system|codemodel|osdi|pre_\w*|exec\w*)\b", re.IGNORECASE)
_COMMENT = re.compile(r";.*|//.*|\$ .*|\$$")
_FILE = re.compile(r"\b\w*file(?:_?name)?\s*=", re.IGNORECASE)
_MODEL = re.compile(r"\.model\s+\S+\s+(?:ako:\s*\S+\s+)?([a-z_]\w*)\s*(?:\(|\s|$)", re.IGNORECASE)
_BYTES, _FILES, _DEPTH = 8 << 20, 100, 8


class SpiceRefused(ValueError):
    """SPICE text that is not run: one sentence naming file, line and reason."""


def command_line(deck: str) -> str | None:
    """The first line by which ngspice would take commands from a deck, None where there is none.

    Lines end where str.splitlines ends them (a carriage return or form feed too), since sessions hand them over so.
    """
    for line in deck.splitlines():
        if line.strip().lower().startswith((".control", "*#")):
            return line.strip()
    return None


def read_spice(
    path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None, *, deck: bool = False
) -> str:
    """The text of a SPICE file, checked as by `check_spice`; what it includes lies in `folder` (default: its own).

    Raises SpiceRefused, also for a file that is missing, too large or no text.
    """
    path = Path(path)
    root = Path(folder) if folder is not None else path.parent
    return check_spice(_text(path, str(path)), root, name=path.name, deck=deck)


def check_spice(text: str, folder: str | os.PathLike[str], *, name: str = "SPICE text", deck: bool = False) -> str:
    """The text with its includes put in their place, seen to hold circuits only.

    A library (the default) holds definitions: .subckt, .model, .param, .func. A `deck` has a title in its first line,
    and elements and analyses besides. Files are included from `folder` and below, links resolved. `name` is for
    the sentence.
    Raises SpiceRefused: a command, an unknown dot-line, a code model that loads files or programs, an include that
    leaves the folder, a character that is not printable, a definition left open.
    """
    try:
        root = Path(folder).resolve(strict=True)
    except OSError as error:
        raise SpiceRefused(f"the folder {folder} of {name} cannot be used: {error.strerror}") from None
    reader = _Reader(root, deck)
    lines = list(reader.lines(text, name, root, title=deck))
    if reader.open:
        raise SpiceRefused(f"{reader.open[-1][1]} opens a .{reader.open[-1][0]} that nothing closes")
    return "\n".join([*lines, ""])


@dataclass
class _Reader:
    root: Path
    deck: bool
    size: int = 0
    files: int = 0
    open: list[tuple[str, str]] = field(default_factory=list)
    """.subckt and .if that are not closed yet, with their places."""
    ended: str = ""
    """Place of the .end, once it came."""

    def lines(self, text: str, name: str, folder: Path, *, title: bool = False, depth: int = 0) -> Iterator[str]:
        """Logical lines (continuations joined, comments left out), included files in their places."""
        self.size, self.files = self.size + len(text), self.files + 1
        if self.size > _BYTES or self.files > _FILES or depth > _DEPTH:
            raise SpiceRefused(
                f"{name} is too large: at most {_BYTES >> 20} MB in {_FILES} files, {_DEPTH} deep, are taken"
            )
        for place, line in _logical(text, name, title=title):
            if title:
                title = False
                yield line
                continue
            included = self.included(line, place, folder, depth)
            if included is not None:
                yield from included
            elif self.allowed(line, place, depth):
                yield line

    def included(self, line: str, place: str, folder: Path, depth: int) -> Iterator[str] | None:
        """The lines of the file that an .include or .lib names; None for any other line."""
        match = re.match(r"\.(inc|lib)[a-z]*(.*)", line, re.IGNORECASE)
        if match is None:
            return None
        what = f"{place}: {line[:80]!r}"
        words = re.fullmatch(r"""\s*(?:"([^"]+)"|'([^']+)'|([^\s"']+))(?:\s+([\w.-]+))?\s*""", match[2])
        section = words[4] if words else None
        if words is None or (match[1].lower() == "lib") != (section is not None):
            raise SpiceRefused(f"{what} is not understood: write .include FILE, or .lib FILE SECTION")
        path = self.inside(words[1] or words[2] or words[3], what, folder)
        text = _text(path, what)
        if section is not None:
            text = _section(text, section, what)
        return self.lines(text, path.name, path.parent, depth=depth + 1)

    def inside(self, wanted: str, what: str, folder: Path) -> Path:
        """The file of that name, seen to lie in the allowed folder, links resolved."""
        if wanted.startswith(("/", "~")) or "$" in wanted or "\\" in wanted or ".." in Path(wanted).parts:
            raise SpiceRefused(f"{what} leaves the folder {self.root}: name a file in it")
        try:
            path = (folder / wanted).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise SpiceRefused(f"{what} names a file that is not in {folder}") from None
        if not path.is_relative_to(self.root):
            raise SpiceRefused(f"{what} leaves the folder {self.root} by a link")
        return path

    def allowed(self, line: str, place: str, depth: int) -> bool:
        """Whether the line belongs into the text (the .end of a library does not). Raises SpiceRefused."""
        what = f"{place}: {line[:80]!r}"
        if self.ended:
            raise SpiceRefused(f"{what} stands after the .end")
        if "`" in line or _COMMAND.match(line):
            raise SpiceRefused(f"{what} would be a command, and only circuits are taken")
        if _FILE.search(line):
            raise SpiceRefused(f"{what} names a file to read or write, and only .include may")
        if not line.startswith("."):
            if not line[0].isascii() or not line[0].isalpha():
                raise SpiceRefused(f"{what} is no element of a circuit")
            if not self.deck and not any(kind == "subckt" for kind, _ in self.open):
                raise SpiceRefused(f"{what} stands outside a .subckt; a library holds definitions only")
            return True
        word = re.match(r"\.([a-z_]*)", line.lower())[1]  # type: ignore[index]
        if word == "end" and (depth or not self.deck):
            return False
        if word not in _DEFINITIONS and not (self.deck and word in _OF_A_DECK):
            raise SpiceRefused(
                f"{what} is not taken: a .{word} has no place in {'a circuit' if self.deck else 'a library'}"
            )
        if word == "end":
            self.ended = place
        elif word in ("subckt", "if"):
            self.open.append((word, place))
        elif word in ("ends", "endif"):
            if not self.open or self.open.pop()[0] != {"ends": "subckt", "endif": "if"}[word]:
                raise SpiceRefused(f"{what} closes nothing")
        elif word == "model":
            match = _MODEL.match(line)
            if match is None or match[1].lower() not in _MODELS:
                raise SpiceRefused(f"{what}: a model of this type is not taken, since it may load files or programs")
        elif word.startswith("opt"):
            for option in re.split(r"[\s,]+", re.sub(r"\s*=\s*", "=", line.partition(" ")[2].strip())):
                key, _, value = option.partition("=")
                if key and (key.lower() not in _OPTIONS or not re.fullmatch(r"[\w.+-]*", value)):
                    raise SpiceRefused(f"{what}: the option {key!r} is not taken")
        return True


def _logical(text: str, name: str, *, title: bool) -> list[tuple[str, str]]:
    """(place, line) of each line that says something, continuation lines joined to the one before."""
    found: list[tuple[str, str]] = []
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        place, line = f"{name} line {number}", raw.replace("\t", " ").strip(" ")
        odd = next((c for c in line if not c.isprintable()), None)
        if odd is not None:
            raise SpiceRefused(f"{place} holds a character that is not printable (U+{ord(odd):04X})")
        if number == 1 and title:
            if line.startswith((".", "*#")):
                raise SpiceRefused(f"{place}: the first line of a deck is its title, not {line[:80]!r}")
            found.append((place, line))
        elif line.startswith("*#"):
            raise SpiceRefused(f"{place}: {line[:80]!r} would be a command, and only circuits are taken")
        elif line.startswith("*") or not (line := _COMMENT.sub("", line).strip()):
            continue
        elif line.startswith("+") and len(found) > title:
            found[-1] = found[-1][0], f"{found[-1][1]} {line[1:].strip()}"
        else:
            found.append((place, line))
    return found


def _text(path: Path, what: str) -> str:
    """The text of a regular file of bearable size."""
    try:
        if not path.is_file():
            raise SpiceRefused(f"{what}: {path.name} is no file")
        with path.open("rb") as file:
            data = file.read(_BYTES + 1)
    except OSError as error:
        raise SpiceRefused(f"{what}: {path.name} cannot be read: {error.strerror}") from None
    if len(data) > _BYTES:
        raise SpiceRefused(f"{what}: {path.name} is larger than {_BYTES >> 20} MB")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SpiceRefused(f"{what}: {path.name} is no text")


def _section(text: str, section: str, what: str) -> str:
    """What stands between `.lib SECTION` and `.endl`."""
    body = re.search(
        rf"^[ \t]*\.lib[ \t]+{re.escape(section)}[ \t]*$(.*?)^[ \t]*\.endl\b",
        text.replace("\r\n", "\n"),
        re.IGNORECASE | re.MULTILINE | re.DOTALL,
    )
    if body is None:
        raise SpiceRefused(f"{what} names a section that the file does not have")
    return body[1]
