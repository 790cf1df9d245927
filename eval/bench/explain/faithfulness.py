"""Are the explanations true to the model? Words and regions that are told are taken away, and the answer is watched.

    python eval/bench/explain/faithfulness.py --data DATA [--part dev] [--posts 300] [--save]

On posts of MVSA-Single, each with words and a picture (a fixed draw), for the label the model gives:

- words: the label's probability without the three words of the largest effect, against the mean without 20 random
  triples. Posts of three words or fewer, and ties, are left out. The same with effects that were all measured, by
  reading the text without each word, where the product estimates most of them (`words_all_read`).
- region: the strongest region that the explanation tells (a tenth of the picture, taken from the heat map and checked)
  painted in the picture's mean colour, against the mean of 20 such boxes at random places; posts for which none is told
  are left out. Likewise the tenth where the heat map alone, unchecked, is highest, on all posts.
- deletion curves: words (and the cells of the picture) taken away one after another, the strongest first, against
  random orders. The area is the label's mean probability along the way: the lower, the sooner the answer falls.
- shares: how far the baseline and the shares are from the label's probability.
- shuffled labels: Spearman's rank correlation of the maps with those of a model whose heads are fitted to shuffled
  labels on the same features (Adebayo et al. 2018, arXiv 1810.03292). A map that shows the post and not the model
  would stay the same.

Posts for development chose how words and boxes are hidden; the test part is for the last reading.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import spearmanr

from eval.bench.keeping import keep, today
from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.data import Record
from hybrid_mmsa.encoders import MappedEncoder
from hybrid_mmsa.encoders.stored import extract_features
from hybrid_mmsa.explain import Probe
from hybrid_mmsa.explain.evidence import heat_map, hidden_words, region_evidence
from hybrid_mmsa.explain.regions import BOX_SHARE, Box, grid_boxes, hide_box, hide_boxes, shrunk, strongest_boxes
from hybrid_mmsa.explain.words import hide
from hybrid_mmsa.fusion import FusionHead
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.metrics import wilson
from hybrid_mmsa.training.heads.logistic import fit_heads
from hybrid_mmsa.training.heads.strategies import Evidence, JoiningConfig, fit_strategy
from hybrid_mmsa.training.posts.rows import OWN_POSTS, post_records
from hybrid_mmsa.types import LABELS, IntArray, Label, Sample

TOP_WORDS = 3
DRAWS = 20
ORDERS = 2
"""Random orders of a deletion curve."""
TIE = 1e-6
FEWEST = 5
"""Words and cells a rank correlation needs."""
RESAMPLES = 2000
PENALTY = 1.0
"""Pull of the shuffled heads to 0, see `training.heads.logistic`."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Fall:
    """A label's probability without what an explanation names, and the mean without as much drawn at random."""

    named: float
    drawn: float


def drawn_posts(data: Path, part: str, most: int, seed: int) -> list[Record]:
    """The same posts at every call, each with words and a picture."""
    posts = [r for r in corpus(data) if r.split == part and r.sample.text and r.sample.image is not None]
    order = np.random.default_rng(seed).permutation(len(posts))[:most]
    return [posts[i] for i in order]


def corpus(data: Path) -> list[Record]:
    """MVSA-Single in its split, without anyone's own posts."""
    return [r for r in post_records(data) if not (r.sample.id or "").startswith(OWN_POSTS)]


def shuffled_models(data: Path, analyzer: Analyzer, count: int, kept: Path | None) -> list[Adapter]:
    """The model with its sentiment heads and their fusion fitted to the labels of other training posts."""
    adapter = analyzer.adapters[analyzer.default]
    if not count:
        return []
    posts = [r.sample for r in corpus(data) if r.split == "train" and r.sample.text and r.sample.image is not None]
    features = extract_features(analyzer.encoder, track(posts, "training posts", transient=True), kept)
    values = {"text": features.text_features, "image": features.image_features}
    orders = [np.random.default_rng(seed).permutation(len(posts)) for seed in range(count)]
    return [replace(adapter, head=fit_head(adapter.head, values, [posts[i] for i in order])) for order in orders]


def fit_head(head: FusionHead, values: Mapping[str, Array], labelled: Sequence[Sample]) -> FusionHead:
    """A head of the same strategy, fitted to features and the labels of posts that are in another order."""
    joint = [s.label for s in labelled]
    sides = {"text": [s.text_label or s.label for s in labelled], "image": [s.image_label or s.label for s in labelled]}
    arrays, said = dict(head.arrays), []
    for side, own in sides.items():
        for task, labels in (("sentiment", own), ("joint", joint)):
            fitted = fit_heads(values[side], indices(labels), len(LABELS), (PENALTY,))[0]
            arrays |= {f"{side}.{task}.weight": fitted.weight, f"{side}.{task}.bias": fitted.bias}
            said.append(fitted.logits(values[side]))
    evidence = Evidence(said[0], said[1], said[2], said[3], indices(joint))
    return FusionHead(arrays | fit_strategy(evidence, JoiningConfig(strategy=head.strategy)), head.strategy)


def indices(labels: Sequence[Label | None]) -> IntArray:
    """Places in `LABELS`, one per label."""
    return np.array([LABELS.index(label) for label in labels if label is not None], dtype=np.int64)


def word_figures(probe: Probe, label: int, rng: np.random.Generator) -> dict[str, Any]:
    """Effects of the words, what the strongest three do together, and the deletion curves; and with all words read."""
    text, whole = probe.text or "", probe.whole.sentiment[0, label]
    hidden = hidden_words(probe)
    parts = hidden.parts
    read = probe.with_texts([hide(text, part) for part in parts])
    effects, exact = (whole - found.sentiment[:, label] for found in (hidden.opinions, read))
    strongest, n = [np.argsort(-each, kind="stable") for each in (effects, exact)], len(parts)
    figures: dict[str, Any] = {"effects": effects, "exact": exact, "read": hidden.read}
    if n <= TOP_WORDS:
        return figures
    picks = [order[:TOP_WORDS] for order in strongest]
    picks += [rng.choice(n, TOP_WORDS, replace=False) for _ in range(DRAWS)]
    orders = [*strongest, *(rng.permutation(n) for _ in range(ORDERS))]
    picks += [order[:k] for order in orders for k in range(1, n + 1)]
    p = probe.with_texts([hide(text, [s for i in pick for s in parts[i]]) for pick in picks]).sentiment[:, label]
    random, curves = float(p[2 : DRAWS + 2].mean()), p[DRAWS + 2 :].reshape(len(orders), n)
    figures["fall"], figures["fall_all_read"] = Fall(float(p[0]), random), Fall(float(p[1]), random)
    figures["areas"] = areas(probe, label, curves[[0, *range(2, len(orders))]])
    figures["areas_all_read"] = areas(probe, label, curves[1:])
    return figures


def areas(probe: Probe, label: int, curves: Array) -> tuple[float, float]:
    """Mean probability along the first curve, and along the others; each begins with the whole post."""
    whole = np.full((len(curves), 1), probe.whole.sentiment[0, label])
    steps = np.column_stack([whole, curves])
    means = (steps[:, 1:] + steps[:, :-1]).mean(1) / 2
    return float(means[0]), float(means[1:].mean())


def region_figures(probe: Probe, picture: Image, label: int, rng: np.random.Generator) -> dict[str, Any]:
    """The heat map, what its hottest tenth and the region told do, and the deletion curves."""
    heat = heat_map(probe, label)
    if heat is None:
        return {}
    figures: dict[str, Any] = {"effects": heat.ravel()}
    side = BOX_SHARE**0.5
    drawn = [Box(x, y, x + side, y + side) for x, y in rng.uniform(0, 1 - side, (DRAWS, 2))]
    shown, _ = region_evidence(probe, heat, label)
    hottest = strongest_boxes(heat - heat.min() + 1, 1)  # also where no place speaks for the label
    told = [Box(region.left, region.top, region.right, region.bottom) for region in (shown or ())[:1]]
    versions = hide_boxes(picture, [*drawn, *hottest, *told])
    p = probe.with_pictures(versions).sentiment[:, label]
    random = float(p[:DRAWS].mean())
    figures["fall"] = Fall(float(p[DRAWS]), random)
    if told:
        figures["told"] = Fall(float(p[DRAWS + 1]), random)
    cells, n = grid_boxes(*heat.shape), heat.size
    orders = [np.argsort(-heat.ravel(), kind="stable"), rng.permutation(n)]
    curves = []
    for order in orders:
        versions = [picture]
        for i in order:
            versions.append(hide_box(versions[-1], cells[i]))
        curves.append(probe.with_pictures(versions[1:]).sentiment[:, label])
    figures["areas"] = areas(probe, label, np.array(curves))
    return figures


def correlation(ours: Array, others: Array) -> float | None:
    """Spearman's rank correlation, where there is anything to rank."""
    if len(ours) < FEWEST or np.ptp(ours) == 0 or np.ptp(others) == 0:
        return None
    return float(spearmanr(ours, others).statistic)


def probe_of(analyzer: Analyzer, adapter: Adapter, sample: Sample) -> Probe:
    """A read post as the product probes it."""
    encoder = analyzer.encoder
    features, kept = (
        encoder.encode_mapped([sample]) if isinstance(encoder, MappedEncoder) else (encoder.encode([sample]), [None])
    )
    about = bool(adapter.sides(features).target[0])
    return Probe(encoder, adapter.posteriors, adapter.prior(), sample, features, about_target=about, kept=kept[0])


def post_figures(analyzer: Analyzer, models: Sequence[Adapter], record: Record, seed: int) -> dict[str, Any]:
    """Everything that is measured of one post."""
    adapter, sample = analyzer.adapters[analyzer.default], read_sample(record.sample)
    probe = probe_of(analyzer, adapter, sample)
    label, rng = int(probe.whole.sentiment[0].argmax()), np.random.default_rng(seed)
    explained = analyzer.analyze_batch([sample], mode="fast")[0]
    figures: dict[str, Any] = {"words": word_figures(probe, label, rng)}
    if probe.image is not None:
        figures["regions"] = region_figures(probe, shrunk(probe.image), label, rng)
    if explained.explanation is not None:
        told = explained.explanation.baseline + sum(explained.explanation.shares.values())
        figures["shares"] = abs(told - float(probe.whole.sentiment[0, label]))
    for model in models:
        other = probe_of(analyzer, model, sample)
        effects = other.whole.sentiment[0, label] - hidden_words(other).opinions.sentiment[:, label]
        figures.setdefault("word_ranks", []).append(correlation(figures["words"]["effects"], effects))
        heat = heat_map(other, label)
        if heat is not None:
            figures.setdefault("region_ranks", []).append(correlation(figures["regions"]["effects"], heat.ravel()))
    return figures


def share_of_falls(falls: Sequence[Fall]) -> dict[str, Any]:
    """On what share of posts naming beats drawing, ties left out, with a 95 % interval (Wilson)."""
    gaps = np.array([f.drawn - f.named for f in falls])
    untied = gaps[np.abs(gaps) > TIE]
    share = wilson(int((untied > 0).sum()), len(untied))
    return {
        "posts": len(untied),
        "ties": len(gaps) - len(untied),
        "share": share.value,
        "low": share.low,
        "high": share.high,
        "mean_fall_beyond_random": float(gaps.mean()),
    }


def estimates(words: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How near estimated effects are to measured ones, and what they cost in faithfulness: paired, by post."""
    effects, exact, read = (np.concatenate([w[key] for w in words]) for key in ("effects", "exact", "read"))
    wins = np.array([[w[key].named < w[key].drawn for key in ("fall", "fall_all_read")] for w in words if "fall" in w])
    lost = wins[:, 0].astype(float) - wins[:, 1]
    draws = np.random.default_rng(0).choice(lost, (RESAMPLES, len(lost))).mean(1)
    return {
        "share_of_words": float(1 - read.mean()),
        "correlation": float(np.corrcoef(effects[~read], exact[~read])[0, 1]) if (~read).any() else None,
        "mean_absolute_error": float(np.abs(effects - exact)[~read].mean()) if (~read).any() else None,
        "faithful_posts_gained": float(lost.mean()),
        "low": float(np.quantile(draws, 0.025)),
        "high": float(np.quantile(draws, 0.975)),
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All posts made one record."""
    words, regions = [r["words"] for r in rows], [r.get("regions", {}) for r in rows]
    found: dict[str, Any] = {
        "words": share_of_falls([w["fall"] for w in words if "fall" in w]),
        "words_all_read": share_of_falls([w["fall_all_read"] for w in words if "fall" in w]),
        "words_estimated": estimates(words),
        "region_told": share_of_falls([r["told"] for r in regions if "told" in r]),
        "region_by_map_alone": share_of_falls([r["fall"] for r in regions if "fall" in r]),
        "shares_largest_error": max(r["shares"] for r in rows),
    }
    for name, side, key in (
        ("words", words, "areas"),
        ("words_all_read", words, "areas_all_read"),
        ("regions", regions, "areas"),
    ):
        ours, random = np.mean([s[key] for s in side if key in s], axis=0)
        found[f"deletion_area_{name}"] = {"strongest_first": float(ours), "random_order": float(random)}
    for name in ("word_ranks", "region_ranks"):
        known = np.array([v for r in rows for v in r.get(name, ()) if v is not None])
        if not len(known):
            continue
        found[f"shuffled_{name}"] = {
            "posts_and_models": len(known),
            "mean": float(known.mean()),
            "mean_absolute": float(np.abs(known).mean()),
        }
    return found


def table(found: dict[str, Any], title: str) -> Table:
    """The record as people read it."""
    shown = Table(title=title)
    for heading in ("", "found", "wanted"):
        shown.add_column(heading)
    kinds = {
        "words": "top 3 words",
        "words_all_read": "top 3 words, all read",
        "region_told": "10 % region told",
        "region_by_map_alone": "10 % region by the map",
    }
    for name, what in kinds.items():
        f = found[name]
        figure = f"{f['share']:.1%} [{f['low']:.1%}, {f['high']:.1%}] of {f['posts']} posts, {f['ties']} ties"
        wanted = "80 % or more" if name != "region_by_map_alone" else ""
        shown.add_row(f"{what}: taken away, the label falls more than at random", figure, wanted)
    for name in ("words", "words_all_read", "regions"):
        f = found[f"deletion_area_{name}"]
        shown.add_row(
            f"deletion area, {name}", f"{f['strongest_first']:.3f}", f"below {f['random_order']:.3f} (random)"
        )
    shown.add_row("shares: largest error", f"{found['shares_largest_error']:.1e}", "1e-6 or less")
    for name, what in (("word_ranks", "words"), ("region_ranks", "regions")):
        f = found.get(f"shuffled_{name}")
        if f is None:
            continue
        figure = f"{f['mean']:+.3f} (size {f['mean_absolute']:.3f})"
        shown.add_row(f"rank correlation with shuffled labels, {what}", figure, "0.2 or less")
    return shown


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds MVSA_Single")
    parser.add_argument("--part", choices=("dev", "test"), default="test")
    parser.add_argument("--posts", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffles", type=int, default=2, help="models fitted to shuffled labels")
    parser.add_argument("--model", default="default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--features", type=Path, help="folder that keeps the training posts' features between runs")
    parser.add_argument("--save", action="store_true", help="write eval/bench/results/faithfulness-PART-DATE.json")
    options = parser.parse_args()
    analyzer = Analyzer.from_pretrained(options.model, threads=options.threads)
    models = shuffled_models(options.data, analyzer, options.shuffles, options.features)
    posts = drawn_posts(options.data, options.part, options.posts, options.seed)
    rows = [post_figures(analyzer, models, r, options.seed + i) for i, r in enumerate(track(posts, transient=True))]
    provenance = analyzer.adapters[analyzer.default].provenance()
    record = {
        "date": today(),
        "corpus": "mvsa_single",
        "part": options.part,
        "posts": len(rows),
        "seed": options.seed,
        "shuffled_models": options.shuffles,
        "provenance": provenance.model_dump(),
        **summary(rows),
    }
    Console().print(table(record, f"{len(rows)} posts of MVSA-Single, {options.part}"))
    if options.save:
        keep(f"faithfulness-{options.part}", record)


if __name__ == "__main__":
    main()
