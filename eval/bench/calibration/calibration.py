"""Is a model as sure as it may be? Its calibration error beside that of one whose every probability is true.

    python eval/bench/calibration/calibration.py PREDICTIONS.jsonl... [--json] [--save]

PREDICTIONS is what `hybrid-mmsa eval run` writes beside its results. On few posts a calibrated model has an error too:
labels are drawn from the model's own probabilities, many times over, and between 2.5 and 97.5 % of what that gives lies
the band in which nothing speaks against the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from eval.bench.keeping import program, tell, today
from hybrid_mmsa.metrics import calibration_error

SYSTEMS = ("fused", "text alone", "image alone")
DRAWS = 2000
BAND = (0.025, 0.975)


def main() -> None:
    """Measure, print, save if asked."""
    parser = program(__doc__, "calibration")
    parser.add_argument("predictions", type=Path, nargs="+", help="see above")
    options = parser.parse_args()
    rows = [row for path in options.predictions for row in measured(path)]
    tell("calibration", {"date": today(), "draws": DRAWS, "rows": rows}, table(rows), options)


def measured(path: Path) -> Iterator[dict[str, Any]]:
    """A row for each system of one file."""
    head, *posts = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    for system in SYSTEMS:
        known = [post for post in posts if system in post["probabilities"]]
        if not known:
            continue
        gold = np.array([post["gold"] for post in known])
        said = np.array([post["probabilities"][system] for post in known])
        low, high = band(said)
        found = calibration_error(gold, said)
        names = {"protocol": head["protocol"], "model": head["model"]["model"], "system": system, "posts": len(known)}
        yield names | {"ece": found, "band": [low, high], "inside": bool(found <= high)}


def band(said: NDArray[np.float64], draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Between which values the error of true probabilities `[n, k]` lies, nineteen times of twenty."""
    chance = np.random.default_rng(seed)
    edges = said.cumsum(1)[:, :-1]
    drawn = [calibration_error((chance.random((len(said), 1)) > edges).sum(1), said) for _ in range(draws)]
    low, high = np.quantile(drawn, BAND)
    return float(low), float(high)


def table(rows: list[dict[str, Any]]) -> Table:
    """A line per system."""
    shown = Table("protocol", "system", "posts", "ECE", "if calibrated", "inside", title="Calibration error, %")
    for row in rows:
        low, high = (f"{100 * value:.1f}" for value in row["band"])
        inside = "yes" if row["inside"] else "no"
        shown.add_row(
            row["protocol"], row["system"], f"{row['posts']:,}", f"{100 * row['ece']:.1f}", f"{low} to {high}", inside
        )
    return shown


if __name__ == "__main__":
    main()
