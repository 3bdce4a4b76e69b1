"""Settings of the whole suite: no display, and property tests that draw the same examples every time."""

from __future__ import annotations

import os

import hypothesis

os.environ.setdefault("MPLBACKEND", "Agg")

# A shared or busy machine must not turn a slow example into a failure; hypothesis draws from a fixed seed.
hypothesis.settings.register_profile("amcsim", deadline=None, derandomize=True)
hypothesis.settings.load_profile("amcsim")
