"""The same physics under both versions of ngspice."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amcsim.ngspice import Session
from amcsim.ngspice.dialect import adapted

DECK = """amplifier
.model nn nmos
+ level = 3
+ vto = 0.6
+ kp = 150e-6
+ tox = 7.8e-9
+ kf = 1e-26
+ af = 1
.model flat pmos level=1 kf=1e-26 tox=1e-8
M1 d g 0 0 nn w=10u l=1u
VG g 0 dc 1
VS s 0 3
RL s d 10k
.end
"""


def test_flicker_noise_is_that_of_version_39() -> None:
    """S_id = KF Id/(f W L Cox^2), on either version: 1/f at 1 Hz, far above the thermal part."""
    session = Session()
    session.load(DECK)
    volts = session.op(["v(d)"])[0]
    current, cox = (3.0 - volts) / 10e3, 3.9 * 8.854214871e-12 / 7.8e-9
    f = np.array([1.0, 10.0])
    found = session.noise(f, ["v(d)"], "vg")[0]
    density = math.sqrt(1e-26 * current / (10e-6 * 1e-6 * cox**2))
    # the drain sees RL beside the transistor's own output conductance
    step = 1e-3
    session.alter({"vs": 3.0 + step})
    rises = (session.op(["v(d)"])[0] - volts) / step
    np.testing.assert_allclose(found, density / np.sqrt(f) * 10e3 * rises, rtol=0.02)


def test_only_level_3_cards_with_flicker_noise_change() -> None:
    """Version 39 reads the deck as it stands."""
    assert adapted(DECK, 39, klu=False) == DECK
    text = adapted(DECK, 46, klu=True)
    assert text.splitlines()[1] == ".options klu"
    assert text.count("nlev = 1") == 1
    assert ".model flat pmos level=1 kf=1e-26 tox=1e-8" in text
    kf = float(text.split("kf = ")[1].split()[0])
    assert kf == pytest.approx(1e-26 / (3.9 * 8.854214871e-12 / 7.8e-9), rel=1e-12)
