"""Run the loops and trains that calibration/rram_write_error.json and calibration/rram_pulses.json hold.

python scripts/rram_calibration.py writes --cells 200 --seed 1    (about 5 minutes of one core)
python scripts/rram_calibration.py pulses --cells 16 --seed 1
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from amcsim.analysis.cells import library_hashes
from amcsim.analysis.device import pulse_train
from amcsim.analysis.write_verify import STATES, Loop, Variation, write_verify
from amcsim.device.writes import PROBABILITIES, fit_write_error
from amcsim.ngspice import library_version
from amcsim.runs import plain
from amcsim.runs.files import write_text
from amcsim.specs import preset
from amcsim.streams import Key

CALIBRATION = Path(__file__).resolve().parents[1] / "calibration"
FITTED = ("w", "l", "wordline", "bulk")
"""Fields of the cell that the loops depend on."""


def provenance(seed: int, cells: int) -> dict[str, Any]:
    """What the runs were made with."""
    return {"ngspice": library_version(), "libraries_sha256": library_hashes(), "seed": seed, "cells_per_state": cells}


def save(name: str, data: dict[str, Any]) -> None:
    """JSON with lists of numbers on one line."""
    text = json.dumps(plain(data), indent=1, allow_nan=False)
    text = re.sub(r"\[\s+([-+\d.eE,\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    write_text(CALIBRATION / name, text + "\n")


def writes(cells: int, seed: int) -> None:
    """Four fits: 10 and 2 uS, verified on the cell and on the device."""
    cell = preset("pku_350nm").cell
    tables = []
    for verify in ("device", "cell"):
        for tolerance in (10e-6, 2e-6):
            done = write_verify(STATES, cells, tolerance, Key(seed), cell=cell, verify=verify)
            fit = fit_write_error(STATES, done.verified - STATES[:, None], tolerance, verify)
            row = {"verify": verify, "tolerance": tolerance, "reached": float(done.reached.mean())}
            row |= {"targets": STATES.round(12).tolist(), "pulses_mean": done.pulses.mean(axis=1).round(3).tolist()}
            row |= {
                "pulses_max": done.pulses.max(axis=1).tolist(),
                "time_mean": done.time.mean(axis=1).round(12).tolist(),
            }
            row |= {"energy_mean": done.energy.mean(axis=1).round(15).tolist()}
            tables.append(row | {"quantiles": fit.quantiles.round(10).tolist()})
            said = f"{done.reached.mean():.1%} reached, {done.pulses.mean():.2f} pulses"
            sys.stdout.write(f"{verify} {tolerance:g} S: {said}\n")
    data = {"schema_version": 1, "about": "quantiles of verified - target, S, of write-verify in ngspice"}
    data |= {"command": f"python scripts/rram_calibration.py writes --cells {cells} --seed {seed}"}
    data |= {"provenance": provenance(seed, cells), "loop": asdict(Loop()), "variation": asdict(Variation())}
    data |= {"cell": {name: getattr(cell, name) for name in FITTED}}
    save("rram_write_error.json", data | {"probabilities": PROBABILITIES.round(6).tolist(), "tables": tables})


def pulses(cells: int, seed: int) -> None:
    """Trains of 100 pulses: SET through two gates, RESET; the first cell without variation."""
    cell, spread = preset("pku_350nm").cell, Variation()
    trains = []
    wanted = [("set", v, gate) for gate in (1.9, 2.05) for v in (1.1, 1.2, 1.3, 1.5)]
    wanted += [("reset", v, cell.wordline) for v in (0.9, 0.95, 1.0, 1.05, 1.1)]
    for n, (polarity, volts, gate) in enumerate(wanted):
        draws = Key(seed).child(n).generator().normal(size=(3, 100, cells + 1))
        own = np.exp(spread.device_speed * draws[2, 0])
        variation = np.stack([own * np.exp(spread.cycle_speed * draws[0]), spread.cycle_gap * draws[1] / 0.1])
        variation[0, :, 0], variation[1, :, 0] = 1.0, 0.0
        found = pulse_train(cell, polarity=polarity, voltages=[volts] * (cells + 1), gate=gate, variation=variation)
        g = np.array([trace.values for trace in found.traces.values()])
        train = {"polarity": polarity, "voltage": volts, "gate": gate, "width": 100e-9, "temperature": 300.15}
        rows = {"mean": g[1:].mean(axis=0), "std": g[1:].std(axis=0), "nominal": g[0]}
        trains.append(train | {name: row.round(10).tolist() for name, row in rows.items()})
        sys.stdout.write(f"{polarity} {volts} V: {1e6 * g[0, 0]:.1f} to {1e6 * g[0, -1]:.1f} uS\n")
    data = {"schema_version": 1, "about": "device conductance at 0.2 V (S) before the first and after each pulse"}
    data |= {"command": f"python scripts/rram_calibration.py pulses --cells {cells} --seed {seed}"}
    data |= {"provenance": provenance(seed, cells), "variation": asdict(spread)}
    save("rram_pulses.json", data | {"trains": trains})


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["writes", "pulses"])
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    {"writes": writes, "pulses": pulses}[arguments.what](arguments.cells, arguments.seed)


if __name__ == "__main__":
    main()
