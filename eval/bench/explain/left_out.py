"""What the bundled encoder estimates of words that are left out, on texts that it did not learn from.

    python eval/bench/explain/left_out.py --data DATA [--json] [--save]

On posts for development of MVSA-Single, with each of their words left out in earnest: how much of the features' change
is foreseen, how effects on the label's probability correlate, and how often the word of the largest effect is among the
first few by the estimate. Beside it what the tower's last layer alone would say: the mean of the other tokens' states,
nothing fitted. The network is made by `hybrid-mmsa train left-out`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from eval.bench.explain.faithfulness import drawn_posts
from eval.bench.keeping import program, tell, today
from hybrid_mmsa import Analyzer
from hybrid_mmsa.encoders import CompactEncoder
from hybrid_mmsa.encoders.compact import FILES, LEFT_OUT, WEIGHTS
from hybrid_mmsa.encoders.left_out import DEPTHS, LeftOutFile
from hybrid_mmsa.training.towers.left_out import LeftOutConfig, Words, observe, readable
from hybrid_mmsa.types import Features, FloatArray, Sample

POSTS = 300
FIRST = (1, 2, 3)
LEAST = 0.02
"""Where the largest effect is below this, there is no word to find."""
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """How near estimates come.

    Attributes:
        words: Measured.
        of_change: 1 - squared error of the features' changes / their square.
        correlation: Of effects on the label's probability.
        error: Mean absolute error of these effects.
        found: Share of texts whose strongest word is among the first 1, 2 and 3 by the estimate.
    """

    words: int
    of_change: float
    correlation: float
    error: float
    found: tuple[float, ...]


def foreseen(
    analyzer: Analyzer, whole: Features, texts: Sequence[Words], estimate: Callable[[FloatArray], FloatArray]
) -> Foreseen:
    """Compare what is estimated with what leaving words out did.

    Args:
        analyzer: Whose heads judge.
        whole: The texts as they stand.
        texts: Their words.
        estimate: Parts → changes.
    """
    guesses = [estimate(words.parts) for words in texts]
    pairs = [
        (falls(analyzer, whole.take([row]), guess), falls(analyzer, whole.take([row]), words.changes))
        for row, (words, guess) in enumerate(zip(texts, guesses, strict=True))
    ]
    guessed, true = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    changes = Words.joined(texts).changes
    left = np.square(np.concatenate(guesses) - changes).sum() / np.square(changes).sum()
    ranks = [(np.abs(g) > np.abs(g[np.abs(t).argmax()])).sum() for g, t in pairs if np.abs(t).max() > LEAST]
    return Foreseen(
        len(true),
        float(1 - left),
        float(np.corrcoef(guessed, true)[0, 1]),
        float(np.abs(guessed - true).mean()),
        tuple(float(np.mean(np.array(ranks) < k)) for k in FIRST),
    )


def falls(analyzer: Analyzer, whole: Features, changes: FloatArray) -> Array:
    """By how much the label's probability falls with changed features, `[n]`."""
    rows = whole.take([0] * (1 + len(changes)))
    rows.text_features[1:] += changes
    p = analyzer.adapters[analyzer.default].posteriors(rows)["sentiment"]
    found: Array = p[0].max() - p[1:, p[0].argmax()]
    return found


def last_layer_alone(whole: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Estimates that suppose the other tokens' last states to stay as they are."""
    width = whole.shape[1]

    def estimate(parts: FloatArray) -> FloatArray:
        """The mean without the word minus the nearest mean of a whole text."""
        kept = parts[:, -width:]
        nearest = np.square(kept[:, None] - whole[None]).sum(2).argmin(1)
        changes: FloatArray = kept - whole[nearest]
        return changes

    return estimate


def table(record: dict[str, Any]) -> Table:
    """A row per way to estimate."""
    shown = Table(
        "estimate", "words", "of the change", "correlation", "mean error", "strongest in the first 1, 2, 3 (%)"
    )
    for way, found in record["dev"].items():
        cells = [f"{found[key]:.3f}" for key in ("of_change", "correlation", "error")]
        shown.add_row(way, str(found["words"]), *cells, ", ".join(f"{100 * v:.1f}" for v in found["found"]))
    return shown


def main() -> None:
    """Measure, print, and write where asked."""
    parser = program(__doc__, "left-out")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    options: argparse.Namespace = parser.parse_args()
    analyzer, encoder = Analyzer.from_pretrained(threads=1), CompactEncoder()
    tower = encoder.manifest.files[FILES[0]]
    fitted = LeftOutFile(WEIGHTS / LEFT_OUT, tower)
    drawn = [Sample(text=r.sample.text) for r in drawn_posts(options.data, "dev", POSTS, 0)]
    posts = list(readable(drawn, LeftOutConfig().longest))
    texts, whole = list(observe(encoder, track(posts, transient=True))), encoder.encode(posts)
    ways = {"the last layer alone": last_layer_alone(whole.text_features), "the network": fitted.network.changes}
    record = {
        "date": today(),
        "tower": tower,
        "depths": DEPTHS,
        "training": dict(fitted.facts),
        "dev": {way: asdict(foreseen(analyzer, whole, texts, estimate)) for way, estimate in ways.items()},
    }
    tell("left-out", record, table(record), options)


if __name__ == "__main__":
    main()
