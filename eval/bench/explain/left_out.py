"""What the bundled encoder estimates of words that are left out: fitted here, and measured on texts it did not see.

    python eval/bench/explain/left_out.py --data DATA [--kept FOLDER] [--out FILE] [--save]

Training texts are posts of MVSA-Single's training part and rows of the training parts of what the text tower was
trained on; each of their words is left out in earnest. On posts for development of MVSA-Single: how much of the
features' change is foreseen, how effects on the label's probability correlate, and how often the word of the largest
effect is among the first few by the estimate. Beside it what the tower's last layer alone would say: the mean of the
other tokens' states, nothing fitted. `--kept` keeps what was observed, so that a killed run goes on; `--out` writes the
network.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
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
from hybrid_mmsa.encoders.left_out import DEPTHS
from hybrid_mmsa.explain.words import word_spans
from hybrid_mmsa.inputs import read_sample, reword
from hybrid_mmsa.training.posts.mixture import read_mixture
from hybrid_mmsa.training.towers.left_out import LeftOutConfig, Words, fit_left_out, observe
from hybrid_mmsa.types import Features, FloatArray, Sample

POSTS, DEV_POSTS = 700, 150
"""Of MVSA-Single."""
DRAWS, ROWS_DRAWN, ROWS = (1, 2), 120, 300
"""Seeds; rows that are drawn of each corpus, and texts that are taken of all those, per seed."""
MOST_WORDS = 60
"""Longer texts would outweigh the others."""
FIRST = (1, 2, 3)
LEAST = 0.02
"""Where the largest effect is below this, there is no word to find."""
Array = NDArray[Any]


def posts_of(data: Path, part: str, count: int, seed: int) -> list[Sample]:
    """The words of posts of MVSA-Single."""
    return list(readable([Sample(text=r.sample.text) for r in drawn_posts(data, part, count, seed)]))


def rows_of(data: Path, seed: int) -> list[Sample]:
    """Rows of the training parts of the text tower's corpora, as many of each."""
    rng = random.Random(seed)
    found: list[Sample] = []
    for source in read_mixture():
        if source.file is not None and (data / source.file).exists():
            lines = (data / source.file).read_text(encoding="utf-8").splitlines()
            rows = map(json.loads, rng.sample(lines, min(len(lines), ROWS_DRAWN)))
            found += [
                Sample(text=row["text"], target=row.get("target"))
                for row in rows
                if source.splits.get(row["split"], row["split"]) in ("train", "all")
            ]
    rng.shuffle(found)
    return list(islice(readable(found), ROWS))


def readable(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Read ones, those of fewer than two words and very long ones left out."""
    read = (read_sample(sample) for sample in samples if sample.text)
    return [s for s in read if s.text and reword(s.text) and 1 < len(word_spans(s.text)) <= MOST_WORDS]


def observed(encoder: CompactEncoder, name: str, samples: Sequence[Sample], kept: Path | None) -> list[Words]:
    """What leaving words out does, text by text; read from `kept` where it stands there."""
    path = None if kept is None else kept / f"{name}.npz"
    if path is not None and path.exists():
        with np.load(path) as arrays:
            parts, changes, ends = (arrays[key].astype(np.float32) for key in ("parts", "changes", "ends"))
        cuts = ends.astype(np.int64)[:-1]
        return [Words(*pair) for pair in zip(np.split(parts, cuts), np.split(changes, cuts), strict=True)]
    found = list(observe(encoder, track(samples, name, transient=True)))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = joined(found)
        ends = np.cumsum([len(words.parts) for words in found])
        np.savez(path, parts=whole.parts.astype(np.float16), changes=whole.changes.astype(np.float16), ends=ends)
    return found


def joined(words: Sequence[Words]) -> Words:
    """The words of many texts as one."""
    return Words(np.concatenate([w.parts for w in words]), np.concatenate([w.changes for w in words]))


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
    changes = joined(texts).changes
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
    """Fit, measure, print, and write where asked."""
    parser = program(__doc__, "left-out")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    parser.add_argument("--kept", type=Path, help="folder that keeps what was observed between runs")
    parser.add_argument("--out", type=Path, help="write the network here")
    options: argparse.Namespace = parser.parse_args()
    analyzer, encoder = Analyzer.from_pretrained(threads=1), CompactEncoder()
    sources = {"mvsa_single": posts_of(options.data, "train", POSTS, DRAWS[0])}
    sources |= {f"corpora-{seed}": rows_of(options.data, seed) for seed in DRAWS}
    texts = [words for name, posts in sources.items() for words in observed(encoder, name, posts, options.kept)]
    config = LeftOutConfig()
    network = fit_left_out(joined(texts), config)
    posts = posts_of(options.data, "dev", DEV_POSTS, 0)
    held_out, whole = observed(encoder, "dev", posts, options.kept), encoder.encode(posts)
    ways = {"the last layer alone": last_layer_alone(whole.text_features), "the network": network.changes}
    record = {
        "date": today(),
        "tower": encoder.manifest.files["text.onnx"],
        "depths": DEPTHS,
        "training": {"texts": len(texts), "words": sum(len(words.parts) for words in texts), **asdict(config)},
        "dev": {way: asdict(foreseen(analyzer, whole, held_out, estimate)) for way, estimate in ways.items()},
    }
    if options.out is not None:
        network.save(options.out, encoder.manifest.files["text.onnx"])
    tell("left-out", record, table(record), options)


if __name__ == "__main__":
    main()
