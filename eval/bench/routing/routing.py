"""Does the router keep its promises? Figures on MVSA-Single, for a model that is already fitted. It fits nothing.

    python eval/bench/routing/routing.py --data MVSA_Single [--model default] [--save]

AURC of P(error) against that of the largest probability, on test. Risk and budget policies over 200 random halves of
dev and test: one half is the calibration sample, the other is measured. Pairs whose text and picture labels are
opposed, which the corpus's cleaning rule drops and nothing is fitted on, against pairs that agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from eval.bench.keeping import keep, today
from hybrid_mmsa import Policy
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.data import Record, load_corpus, load_manifest
from hybrid_mmsa.metrics import Interval, aurc, bootstrap, coverage_at_risk
from hybrid_mmsa.model import open_model
from hybrid_mmsa.routing import CalibrationSample, Router, at_most, defer_scores, prediction_set, threshold_for_budget
from hybrid_mmsa.training.routing.posts import encode_posts
from hybrid_mmsa.types import LABELS, Reason

SPLIT = "mvsa_single_clmlf_3311"
RISKS = (0.10, 0.15, 0.20)
DELTA = 0.1
SHARE = 0.2
RESPLITS = 200
OF_POSTS = tuple(field.name for field in fields(CalibrationSample) if not field.name.startswith("order_"))

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Posts:
    """Answers of `n` posts: what the router sees of them, and what is true.

    Attributes:
        probabilities: Fast posteriors `[n, 3]`.
        gold: Class index, -1 where the corpus drops the pair.
        sides: Class indices of text and picture `[n, 2]`.
        split: `dev`, `test`, or an empty string for opposed pairs.
        sample: Scores and rights, with the router's own order of tests.
        score: Defer scores at the fitted thresholds.
    """

    probabilities: Floats
    gold: NDArray[np.int64]
    sides: NDArray[np.int64]
    split: NDArray[np.str_]
    sample: CalibrationSample
    score: Floats

    def where(self, *splits: str) -> NDArray[np.int64]:
        """Row numbers of the posts of some splits."""
        return np.flatnonzero(np.isin(self.split, splits))

    def part(self, rows: NDArray[Any]) -> CalibrationSample:
        """Some posts as a calibration sample."""
        return replace(self.sample, **{name: getattr(self.sample, name)[rows] for name in OF_POSTS})


def answer(data: Path, model: str) -> tuple[Router, Posts, Adapter]:
    """The posts of dev and test and the opposed pairs, with the model's answers."""
    opened = open_model(model, threads=2)
    adapter = opened.adapter
    split_of = load_manifest(SPLIT).split_of
    records: list[Record] = []
    for record in load_corpus("mvsa_single", data):
        split = split_of.get(record.sample.id or "")
        if split in ("dev", "test") or record.sample.label is None:
            records.append(replace(record, split=split))
    features = encode_posts(opened.encoder, [r.sample for r in records])
    posteriors = adapter.posteriors(features)
    scores: dict[Reason, Floats] = adapter.router.scores(posteriors, features)
    p = posteriors["sentiment"].astype(np.float64)
    gold = np.array([-1 if r.sample.label is None else LABELS.index(r.sample.label) for r in records])
    sides = [[LABELS.index(s) for s in (r.sample.text_label, r.sample.image_label) if s] for r in records]
    order = adapter.router.sample
    sample = CalibrationSample(
        p_error=scores["low_confidence"],
        sarcasm=scores["sarcasm"],
        conflict=scores["conflict"],
        novel=scores.get("novel", np.full(len(p), np.nan)),
        label=p.argmax(1),
        wrong=p.argmax(1) != gold,
        order_score=np.zeros(0) if order is None else order.order_score,
        order_wrong=np.zeros(0, bool) if order is None else order.order_wrong,
    )
    parts = np.array([r.split or "" for r in records])
    posts = Posts(p, gold, np.array(sides), parts, sample, defer_scores(scores, adapter.router.thresholds))
    return adapter.router, posts, adapter


def ranking(posts: Posts) -> dict[str, Any]:
    """AURC of P(error) and of the largest probability on test, and the relative difference, paired."""
    test = posts.where("test")
    p_error, top, wrong = posts.sample.p_error[test], posts.probabilities[test].max(1), posts.sample.wrong[test]

    def relative(p: Floats, t: Floats, w: Bools) -> float:
        return aurc(-p, ~w) / aurc(t, ~w) - 1

    return {
        "posts": len(test),
        "aurc_p_error": asdict(bootstrap(lambda p, w: aurc(-p, ~w), p_error, wrong)),
        "aurc_max_probability": asdict(bootstrap(lambda t, w: aurc(t, ~w), top, wrong)),
        "relative_difference": asdict(bootstrap(relative, p_error, top, wrong)),
        "aurc_defer_score": asdict(bootstrap(lambda s, w: aurc(-s, ~w), posts.score[test], wrong)),
    }


def halves(posts: Posts, seed: int = 0) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Random halves of dev and test together."""
    rows, random = posts.where("dev", "test"), np.random.default_rng(seed)
    shuffled = [random.permutation(rows) for _ in range(RESPLITS)]
    return [(order[: len(order) // 2], order[len(order) // 2 :]) for order in shuffled]


def risk_policy(router: Router, posts: Posts, risk: float) -> dict[str, Any]:
    """How often the promise is broken on posts the level was not chosen on, and what is kept beside an oracle."""
    kept, oracle, errors, beyond = [], [], [], []
    policy = Policy(kind="risk", risk=risk, delta=DELTA)
    for calibrate, measure in halves(posts):
        level = replace(router, sample=posts.part(calibrate)).level(policy)
        keep, wrong = posts.score[measure] <= level, posts.sample.wrong[measure]
        kept.append(float(keep.mean()))
        oracle.append(coverage_at_risk(-posts.score[measure], ~wrong, risk))
        errors.append(float(wrong[keep].mean()) if keep.any() else 0.0)
        right, n = int((~wrong[keep]).sum()), int(keep.sum())
        # So few right among those kept would be rare if the promise held.
        beyond.append(n > 0 and errors[-1] > risk and at_most(right, n, 1 - risk) < 0.05)
    return {
        "risk": risk,
        "delta": DELTA,
        "tolerated_violations": DELTA + 1.645 * (DELTA * (1 - DELTA) / RESPLITS) ** 0.5,
        "violations_on_the_other_half": float(np.mean([e > risk for e in errors])),
        "violations_beyond_its_sampling_error": float(np.mean(beyond)),
        "violations_of_the_population": _drawn_violations(router, posts, policy, risk),
        "mean_error_kept": float(np.mean(errors)),
        "kept": float(np.mean(kept)),
        "kept_by_oracle": float(np.mean(oracle)),
        "share_of_oracle": float(np.mean(kept) / np.mean(oracle)) if np.mean(oracle) else None,
        "nothing_promised": float(np.mean([k == 0 for k in kept])),
    }


def _drawn_violations(router: Router, posts: Posts, policy: Policy, risk: float) -> float:
    """The same with 450 posts drawn with replacement, so that the true error rate of any level is known."""
    population, random, broken = posts.where("dev", "test"), np.random.default_rng(1), 0
    for _ in range(RESPLITS):
        drawn = random.choice(population, len(population) // 2)
        keep = posts.score[population] <= replace(router, sample=posts.part(drawn)).level(policy)
        broken += bool(keep.any() and posts.sample.wrong[population][keep].mean() > risk)
    return broken / RESPLITS


def budget_policy(router: Router, posts: Posts) -> dict[str, Any]:
    """Deferral rates on the other half when at most `SHARE` is asked for."""
    policy = Policy(kind="budget", share=SHARE)
    rates = np.array(
        [
            (posts.score[measure] > replace(router, sample=posts.part(calibrate)).level(policy)).mean()
            for calibrate, measure in halves(posts)
        ]
    )
    return {
        "share": SHARE,
        "mean": float(rates.mean()),
        "low": float(np.quantile(rates, 0.025)),
        "high": float(np.quantile(rates, 0.975)),
        "within_6_points": float((np.abs(rates - SHARE) <= 0.06).mean()),
    }


def opposed(posts: Posts) -> dict[str, Any]:
    """Opposed pairs against agreeing ones of dev and test."""
    held = posts.where("dev", "test")
    agreeing = held[posts.sides[held, 0] == posts.sides[held, 1]]
    apart = posts.where("")
    level = threshold_for_budget(posts.score, SHARE)
    rates = [float((posts.score[rows] > level).mean()) for rows in (apart, agreeing)]
    found = {
        name: asdict(_between(separation, score[apart], score[agreeing]))
        for name, score in (
            ("defer score", posts.score),
            ("P(error)", posts.sample.p_error),
            ("P(sides opposed)", posts.sample.conflict),
        )
    }

    def ratio(a: Floats, b: Floats) -> float:
        return float((a > level).mean() / max(float((b > level).mean()), 1e-9))

    return {
        "opposed": len(apart),
        "agreeing": len(agreeing),
        "auroc": found,
        "deferral_rates_at_20_percent": rates,
        "ratio": asdict(_between(ratio, posts.score[apart], posts.score[agreeing])),
    }


def separation(high: Floats, low: Floats) -> float:
    """AUROC: how often a post of the first kind scores above one of the second; ties count half."""
    ordered = np.sort(low)
    below, upto = (np.searchsorted(ordered, high, side=side).mean() / len(low) for side in ("left", "right"))
    return float((below + upto) / 2)


def _between(statistic: Callable[[Floats, Floats], float], first: Floats, second: Floats) -> Interval:
    """A statistic of two groups with its 95 % bootstrap interval, each group drawn by itself."""
    random = np.random.default_rng(0)
    values = [statistic(random.choice(first, len(first)), random.choice(second, len(second))) for _ in range(1000)]
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(statistic(first, second), float(low), float(high))


def sets(router: Router, posts: Posts) -> dict[str, Any]:
    """How often the prediction set holds the gold label on test, and how large it is."""
    test = posts.where("test")
    found = [prediction_set(p, router.set_threshold or 0.0) for p in posts.probabilities[test]]
    hits = [LABELS[gold] in labels for gold, labels in zip(posts.gold[test], found, strict=True)]
    return {"posts": len(test), "coverage": float(np.mean(hits)), "mean_size": float(np.mean([len(f) for f in found]))}


def table(figures: dict[str, Any]) -> Table:
    """The main figures, one row each."""
    shown = Table("figure", "value", title="Routing on MVSA-Single")
    rank, apart = figures["ranking"], figures["opposed"]
    rows: Sequence[tuple[str, str]] = (
        ("AURC, P(error)", _interval(rank["aurc_p_error"])),
        ("AURC, largest probability", _interval(rank["aurc_max_probability"])),
        ("relative difference", _interval(rank["relative_difference"])),
        *(
            (
                f"risk {r['risk']:.0%}",
                f"kept {r['kept']:.1%} (oracle {r['kept_by_oracle']:.1%}); broken on the other half "
                f"{r['violations_on_the_other_half']:.1%}, of the population {r['violations_of_the_population']:.1%}",
            )
            for r in figures["risk"]
        ),
        (
            "budget 20 %",
            "{mean:.1%} [{low:.1%}, {high:.1%}], within 6 points {within_6_points:.1%}".format(**figures["budget"]),
        ),
        ("AUROC opposed, defer score", _interval(apart["auroc"]["defer score"])),
        ("AUROC opposed, P(sides opposed)", _interval(apart["auroc"]["P(sides opposed)"])),
        ("AUROC opposed, P(error)", _interval(apart["auroc"]["P(error)"])),
        ("deferral of opposed / agreeing", _interval(apart["ratio"])),
        ("prediction sets on test", "coverage {coverage:.1%}, {mean_size:.2f} labels".format(**figures["sets"])),
    )
    for row in rows:
        shown.add_row(*row)
    return shown


def _interval(figure: dict[str, float]) -> str:
    return "{value:.4f} [{low:.4f}, {high:.4f}]".format(**figure)


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="MVSA-Single in its official layout")
    parser.add_argument("--model", default="default")
    parser.add_argument("--save", action="store_true", help="write eval/bench/results/routing-DATE.json")
    options = parser.parse_args()
    router, posts, adapter = answer(options.data, options.model)
    figures: dict[str, Any] = {
        "date": today(),
        "model_hash": adapter.hash,
        "encoder_hash": adapter.encoder_hash,
        "resplits": RESPLITS,
        "ranking": ranking(posts),
        "risk": [risk_policy(router, posts, risk) for risk in RISKS],
        "budget": budget_policy(router, posts),
        "opposed": opposed(posts),
        "sets": sets(router, posts),
    }
    Console().print(table(figures))
    if options.save:
        keep("routing", figures)


if __name__ == "__main__":
    main()
