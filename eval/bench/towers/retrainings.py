"""How much the bundled model's figures owe to chance: the image tower trained again with other seeds.

    python eval/bench/towers/retrainings.py --data DATA --start WEIGHTS -o MODELS [--times 5] [--save]

The bundled text tower stays, and so do the joining of the sides and its temperature. Each retrained image tower is
exported to int8 and measured on MVSA-Single's test part. A killed run goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from eval.bench.keeping import program, tell, today
from hybrid_mmsa import metrics
from hybrid_mmsa.adapters import Adapter, resolve_adapter
from hybrid_mmsa.encoders import CompactEncoder, extract_features
from hybrid_mmsa.encoders.compact import WEIGHTS
from hybrid_mmsa.fusion import FusionHead
from hybrid_mmsa.training.heads.fusion import image_heads
from hybrid_mmsa.training.posts.rows import post_records
from hybrid_mmsa.training.routing.posts import gold_labels
from hybrid_mmsa.training.towers.export import export_beside
from hybrid_mmsa.training.towers.image import ImageConfig, picture_rows, train_top
from hybrid_mmsa.training.towers.image_tower import ImageTower, read_start, read_views
from hybrid_mmsa.types import LABELS, Task

FIRST_SEED = 101
"""Far from the seeds of the bundled model."""


def main() -> None:
    """Train again, measure, print, save if asked."""
    parser = program(__doc__, "retrainings")
    for name, told in (
        ("data", "the folder that holds the corpora"),
        ("start", "EfficientNet-Lite0"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=told)
    parser.add_argument("-o", "--out", type=Path, required=True, help="where the retrained towers go")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    base = Adapter.load(resolve_adapter("default"))
    found = [measured(base, place, options) for place in retrained(options)]
    result: dict[str, Any] = {
        "date": today(),
        "model_hash": base.hash,
        "test_posts": found[0].pop("posts"),
        "retrainings": [{name: value for name, value in each.items() if name != "posts"} for each in found],
    }
    result["mean"], result["sd"] = (
        {name: float(how([each[name] for each in result["retrainings"]])) for name in result["retrainings"][0]}
        for how in (np.mean, deviation)
    )
    tell("retrainings", result, table(result), options)


def deviation(values: list[float]) -> float:
    """Standard deviation of a sample."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def retrained(options: argparse.Namespace) -> list[Path]:
    """Folders of each retraining, with the image tower's stage `final` and both towers in int8."""
    config, start = ImageConfig(), read_start(options.start)
    train = [r for r in post_records(options.data) if r.split == "train"]
    shown = picture_rows([r for r in train if r.sample.image is not None], options.data, config.decoded_side)
    trunk, views = ImageTower(start, config.frozen), options.out / "views"
    pictures = read_views(trunk, shown, views, views=config.views, side=config.side)
    places = []
    for time in range(options.times):
        place, seed = options.out / str(time), FIRST_SEED + time
        viewer = train_top(start, pictures, np.arange(len(shown)), config, place / "final", seed=seed)
        if not (place / "towers" / "compact.json").exists():
            export_beside(WEIGHTS, viewer, place / "towers")
        places.append(place)
    return places


def measured(base: Adapter, place: Path, options: argparse.Namespace) -> dict[str, float]:
    """Figures of one pair of towers under the bundled model's joining, on the test part."""
    encoder = CompactEncoder(place / "towers", threads=2, name="compact:towers")
    head = FusionHead({**base.head.arrays, **image_heads(place)}, base.head.strategy)
    adapter = replace(base, encoder=encoder.name, encoder_hash=encoder.hash, head=head)
    test = [r for r in post_records(options.data) if r.split == "test"]
    said = adapter.posteriors(extract_features(encoder, [r.sample for r in test]))
    gold = gold_labels(test, "label")
    figures = {"posts": float(len(test))}
    asked: tuple[tuple[str, Task], ...] = (
        ("fused", "sentiment"),
        ("text alone", "text_alone"),
        ("image alone", "image_alone"),
    )
    for name, task in asked:
        figures |= {f"{name}, {k}": v for k, v in scores(gold, said[task]).items()}
    return figures


def scores(gold: NDArray[Any], probabilities: NDArray[Any]) -> dict[str, float]:
    """Accuracy, weighted F1 and calibration error, each in [0, 1]."""
    counts = metrics.confusion(gold, probabilities.argmax(1), len(LABELS))
    return {
        "accuracy": float(metrics.accuracy(counts)),
        "weighted F1": float(metrics.weighted_f1(counts)),
        "ECE": metrics.calibration_error(gold, probabilities),
    }


def table(result: dict[str, Any]) -> Table:
    """A row per figure."""
    times = len(result["retrainings"])
    shown = Table("", "mean", "sd", "each", title=f"{times} retrainings, {result['test_posts']:.0f} test posts")
    for name, mean in result["mean"].items():
        each = " ".join(f"{100 * r[name]:.1f}" for r in result["retrainings"])
        shown.add_row(name, f"{100 * mean:.1f}", f"{100 * result['sd'][name]:.1f}", each)
    return shown


if __name__ == "__main__":
    main()
