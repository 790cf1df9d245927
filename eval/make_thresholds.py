"""Fit anew which pairs of words and picture the bundled model's router defers, and write it into the model's folder.

    python eval/make_thresholds.py --data CORPORA [--model adapters/default] [--save]

P(error), novelty and the thresholds of both stay, and so does that of sarcasm; what it counts beside a picture has
changed (`routing.mockery`). The threshold of conflict is the one at which opposed pairs of MVSA-Single are deferred
most often beside agreeing ones, of those that make deferral no less precise: chosen on half of the opposed pairs, which
no corpus splits and nothing else is fitted on, and on the dev part. The test part and the other half are measured once.
The posts that budgets and risks are resolved from are answered anew; the order of a risk's tests stays.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from eval.bench.keeping import keep, today
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.data import Record, load_corpus, load_manifest
from hybrid_mmsa.encoders import Encoder
from hybrid_mmsa.metrics import Interval
from hybrid_mmsa.model import open_model
from hybrid_mmsa.routing import Router, defer_scores
from hybrid_mmsa.training.heads.fusion import judging_posts
from hybrid_mmsa.training.posts.rows import MVSA_SPLIT, fold_of
from hybrid_mmsa.training.routing.posts import encode_posts
from hybrid_mmsa.training.routing.router import RouterConfig, reached, sample_of
from hybrid_mmsa.types import LABELS

TRIED = (0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4)
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of one part.

    Attributes:
        deferred: bool `[n]` under a router.
        opposed, agreeing: Which pairs are, bool `[n]`.
        wrong: Whether the fast label is wrong, bool `[n]`; opposed pairs have no label to hold it to.
    """

    deferred: Bools
    opposed: Bools
    agreeing: Bools
    wrong: Bools

    def figures(self) -> dict[str, Any]:
        """Shares deferred, their ratio, and how often labels are wrong where they are deferred and kept."""
        apart, alike = self.deferred[self.opposed], self.deferred[self.agreeing]
        labelled = ~self.opposed
        return {
            "opposed": float(apart.mean()),
            "agreeing": float(alike.mean()),
            "ratio": asdict(_ratio(apart, alike)),
            "labelled": float(self.deferred[labelled].mean()),
            "wrong_deferred": float(self.wrong[labelled & self.deferred].mean()),
            "wrong_kept": float(self.wrong[labelled & ~self.deferred].mean()),
        }


def _ratio(apart: Bools, alike: Bools) -> Interval:
    """How often opposed pairs are deferred beside agreeing ones, with a 95 % bootstrap interval."""
    random = np.random.default_rng(0)
    drawn = [random.choice(apart, len(apart)).mean() / random.choice(alike, len(alike)).mean() for _ in range(1000)]
    return Interval(float(apart.mean() / alike.mean()), *(float(np.quantile(drawn, q)) for q in (0.025, 0.975)))


class Corpus:
    """MVSA-Single's dev and test posts and its opposed pairs, answered once."""

    def __init__(self, folder: Path, adapter: Adapter, encoder: Encoder) -> None:
        split_of = load_manifest(MVSA_SPLIT).split_of
        records: list[Record] = []
        for record in load_corpus("mvsa_single", folder):
            part = split_of.get(record.sample.id or "")
            if record.sample.label is None:
                part = ("dev", "test")[fold_of(f"opposed/{record.sample.id}", 2)]
            if part in ("dev", "test"):
                records.append(replace(record, split=part))
        self.part = np.array([record.split for record in records])
        samples = [record.sample for record in records]
        self.features = encode_posts(encoder, samples)
        self.probabilities = adapter.posteriors(self.features)
        self.opposed = np.array([sample.label is None for sample in samples])
        self.agreeing = np.array([s.label is not None and s.text_label == s.image_label for s in samples])
        gold = np.array([-1 if sample.label is None else LABELS.index(sample.label) for sample in samples])
        self.wrong = self.probabilities["sentiment"].argmax(1) != gold

    def pairs(self, router: Router, part: str) -> Pairs:
        """One part, as a router treats it."""
        scores = router.scores(self.probabilities, self.features)
        deferred, rows = defer_scores(scores, router.thresholds) > 0, self.part == part
        return Pairs(deferred[rows], self.opposed[rows], self.agreeing[rows], self.wrong[rows])


def chosen(corpus: Corpus, router: Router) -> tuple[Router, list[dict[str, Any]]]:
    """The router with the threshold that dev pairs choose, and what each of those tried does there."""
    least = corpus.pairs(router, "dev").figures()["wrong_deferred"]
    base = replace(router, sarcasm_by_difference=True)
    routers = [replace(base, thresholds=replace(router.thresholds, conflict=threshold)) for threshold in TRIED]
    rows = [{"conflict": r.thresholds.conflict, **corpus.pairs(r, "dev").figures()} for r in routers]
    precise = [k for k, row in enumerate(rows) if row["wrong_deferred"] >= least]
    return routers[max(precise, key=lambda k: rows[k]["ratio"]["value"])], rows


def refitted(router: Router, adapter: Adapter, encoder: Encoder, data: Path) -> Router:
    """The router with the posts that budgets and risks are resolved from, and what its thresholds reach on them."""
    judge = judging_posts(data, adapter, encoder)
    scores = router.scores(judge.probabilities, judge.features)
    order = router.sample
    if order is None:
        raise SystemExit("the model's router holds no posts that order the tests of a risk")
    sample = sample_of(judge, scores, order_score=order.order_score, order_wrong=order.order_wrong)
    reach = reached(judge.wrong, defer_scores(scores, router.thresholds) > 0, RouterConfig())
    pairs = f"{reach['date']}: conflict chosen on dev pairs of {MVSA_SPLIT}, sample of {len(judge)} posts answered anew"
    return replace(router, sample=sample, fitted_on={**router.fitted_on, **reach, "thresholds": pairs})


def table(record: Mapping[str, Any]) -> Table:
    """Before and after, and what was tried."""
    shown = Table("router", "part", "opposed", "agreeing", "ratio", "labelled", "wrong deferred", "wrong kept")
    rows = [(name, part, record[name][part]) for name in ("before", "after") for part in ("dev", "test")]
    rows += [(f"conflict {row['conflict']:.2f}", "dev", row) for row in record["tried"]]
    for name, part, row in rows:
        ratio = "{value:.2f} [{low:.2f}, {high:.2f}]".format(**row["ratio"])
        shares = (row[key] for key in ("labelled", "wrong_deferred", "wrong_kept"))
        shown.add_row(
            name, part, f"{row['opposed']:.1%}", f"{row['agreeing']:.1%}", ratio, *(f"{s:.1%}" for s in shares)
        )
    return shown


def main() -> None:
    """Choose, refit, measure, show, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the corpora")
    parser.add_argument("--model", type=Path, default=Path(__file__).parents[1] / "adapters" / "default")
    parser.add_argument("--save", action="store_true", help="write eval/bench/results/thresholds-DATE.json")
    options = parser.parse_args()
    opened = open_model(options.model, threads=1)
    adapter, encoder = opened.adapter, opened.encoder
    corpus = Corpus(options.data / "MVSA_Single", adapter, encoder)
    router, tried = chosen(corpus, adapter.router)
    parts = ("dev", "test")
    record = {
        "date": today(),
        "before": {part: corpus.pairs(adapter.router, part).figures() for part in parts},
        "after": {part: corpus.pairs(router, part).figures() for part in parts},
        "tried": tried,
        "thresholds": asdict(router.thresholds),
    }
    Console().print(table(record))
    replace(adapter, router=refitted(router, adapter, encoder, options.data)).save(options.model)
    if options.save:
        keep("thresholds", record)


if __name__ == "__main__":
    main()
