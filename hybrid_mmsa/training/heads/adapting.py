"""A file of labelled posts → an adapter folder: planned, fitted, measured against the default model, described.

Knows no command line; needs the extra `tune`, and no torch unless the encoder does.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import metrics
from ...adapters import Adapter, resolve_adapter
from ...encoders import Encoder, extract_features, moved_name, open_encoder
from ...fusion import Strategy
from ...metrics import Interval
from ...model import open_model
from ...types import LABELS, Features, IntArray, Task, TaskArrays
from ..common.provenance import made_now
from ..posts.labelled import Labelled, labels_of
from ..posts.labelled_file import LabelledFile, Parts, part_posts
from .frozen import FEW_SHOT, FrozenConfig, fit_frozen

__all__ = ["AdapterFigures", "AdapterPlan", "fit_fast_tier", "plan_adapter", "train_adapter"]

COMPACT = "compact"
START = "default"


@dataclass(frozen=True, slots=True, eq=False)
class AdapterPlan:
    """What is going to be done.

    Attributes:
        posts, parts: The posts, and what each is for.
        out: The adapter's folder; its name is the adapter's.
        encoder: The encoder's name; paths in it are relative to the working directory.
        few_shot: Few posts: no part for calibration, and stronger pulls.
        config: The recipe.
        seed: What the parts were drawn with.
    """

    posts: LabelledFile
    parts: Parts
    out: Path
    encoder: str
    few_shot: bool
    config: FrozenConfig
    seed: int

    def lines(self) -> list[str]:
        """The plan for people."""
        samples, twins = self.posts.samples, len(self.posts.keys) - len(set(self.posts.keys))
        sides = Counter((bool(s.text), s.image is not None) for s in samples)
        begun = f"the heads of {START!r}" if self.encoder == COMPACT else "nothing: the encoder has no heads yet"
        absent = [label for label in LABELS if not self.posts.counts[label]]
        lines = [
            f"{len(samples)} posts: {', '.join(f'{self.posts.counts[label]} {label}' for label in LABELS)}",
            f"{sides[True, True]} with words and picture, {sides[True, False]} words alone, "
            f"{sides[False, True]} pictures alone; {twins} near-duplicates, each kept with its twin",
            f"{len(self.parts.train)} to train on, {len(self.parts.calibration)} for the router, "
            f"{len(self.parts.test)} to test on",
            f"encoder {self.encoder}, frozen; fusion {self.config.joining.strategy}; started from {begun}",
        ]
        return lines + [f"no post is {label}: the adapter will hardly ever say so" for label in absent]


@dataclass(frozen=True, slots=True)
class AdapterFigures:
    """Figures on posts that nothing was fitted to: of the adapter, of the default model, and their difference."""

    n: int
    adapter: dict[str, float]
    default: dict[str, float]
    accuracy_gain: Interval
    macro_f1_gain: Interval

    def lines(self) -> list[str]:
        """A table in Markdown."""
        gains = {"accuracy": self.accuracy_gain, "macro F1": self.macro_f1_gain}
        lines = [
            f"| on {self.n} test posts | adapter | {START} | difference, 95 % paired interval |",
            "|---|---|---|---|",
        ]
        for name, value in self.adapter.items():
            gain = gains.get(name)
            interval = f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})" if gain else ""
            lines.append(f"| {name} | {value:.3f} | {self.default[name]:.3f} | {interval} |")
        return lines


def plan_adapter(
    posts: LabelledFile,
    out: Path,
    *,
    encoder: str = COMPACT,
    few_shot: bool = False,
    strategy: Strategy = "gated",
    seed: int = 0,
) -> AdapterPlan:
    """Part the posts and choose the recipe.

    Args:
        posts: Checked posts.
        out: The adapter's folder.
        encoder: The encoder's name.
        few_shot: Whether there are few posts.
        strategy: How the sides are joined.
        seed: Draws the parts.
    """
    config = FEW_SHOT if few_shot else FrozenConfig()
    config = replace(config, joining=replace(config.joining, strategy=strategy))
    parts = part_posts(posts, calibration=not few_shot, seed=seed)
    return AdapterPlan(posts, parts, out, encoder, few_shot, config, seed)


def train_adapter(
    plan: AdapterPlan,
    *,
    features: Path | None = None,
    threads: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> AdapterFigures:
    """Fit, measure and save an adapter; a killed run goes on where it stopped.

    Args:
        plan: What to do.
        features: Where features are kept; by default beside the adapter's folder, until it is written.
        threads: Threads per operator of the compact encoder.
        advance: Called after every post that was encoded.
    """
    encoder = open_encoder(plan.encoder, Path.cwd(), threads=threads)
    kept = features or plan.out.with_name(f"{plan.out.name}.features")
    encoded = extract_features(encoder, plan.posts.samples, kept, advance=advance)
    default = Adapter.load(resolve_adapter(START))
    start = default if encoder.hash == default.encoder_hash else None
    learn, held = _labelled(plan.posts, plan.parts, encoded)
    named = _Named(encoder, moved_name(plan.encoder, Path.cwd(), plan.out))
    adapter = fit_frozen(learn, held, named, name=plan.out.name, config=plan.config, start=start)
    test = plan.parts.test
    if start is None:
        tested = [plan.posts.samples[i] for i in test]
        compact = extract_features(open_model(START, threads=threads).encoder, tested)
    else:
        compact = encoded.take(test)
    gold = labels_of(plan.posts.samples)["text.joint"][test]
    figures = compare(adapter.posteriors(encoded.take(test)), default.posteriors(compact), gold)
    made_with = _made_with(plan, start)
    replace(adapter, made_with=made_with, card=_card(plan, adapter, figures)).save(plan.out)
    if features is None:
        shutil.rmtree(kept)
    return figures


def fit_fast_tier(posts: LabelledFile, parts: Parts, encoder: Encoder, *, name: str, start: Adapter) -> Adapter:
    """A fast tier fitted to the training part of posts that a reasoner is tuned to as well.

    Args:
        posts: Checked posts.
        parts: What each is for; the test part is not looked at.
        encoder: The start's encoder.
        name: The adapter's name.
        start: The adapter whose heads are started from.
    """
    rarest = min(Counter(posts.samples[i].label for i in parts.train).values())
    config = FEW_SHOT if rarest < FrozenConfig().least else FrozenConfig()
    config = replace(config, joining=replace(config.joining, strategy=start.head.strategy))
    learn, held = _labelled(posts, parts, extract_features(encoder, posts.samples))
    return fit_frozen(learn, held, encoder, name=name, config=config, start=start)


def _labelled(posts: LabelledFile, parts: Parts, features: Features) -> tuple[Labelled, Labelled | None]:
    """The posts to train on, and those for the router if there are any."""
    labels = labels_of(posts.samples)

    def part(chosen: IntArray) -> Labelled:
        keys = [posts.keys[i] for i in chosen]
        return Labelled(features.take(chosen), {k: v[chosen] for k, v in labels.items()}, parts.folds[chosen], keys)

    return part(parts.train), part(parts.calibration) if len(parts.calibration) else None


class _Named:
    """An encoder under the name that the adapter's folder knows it by."""

    def __init__(self, encoder: Encoder, name: str) -> None:
        self.name, self.hash, self.encode = name, encoder.hash, encoder.encode


def compare(adapter: TaskArrays, default: TaskArrays, gold: IntArray) -> AdapterFigures:
    """Figures of two models' posteriors on the same posts; `gold` is `[n]`."""
    first, second = adapter["sentiment"].argmax(1), default["sentiment"].argmax(1)
    gains = [
        metrics.paired_difference(metric, gold, first, second, len(LABELS))
        for metric in (metrics.accuracy, metrics.macro_f1)
    ]
    return AdapterFigures(len(gold), _figures(adapter, gold), _figures(default, gold), gains[0], gains[1])


def _figures(posteriors: TaskArrays, gold: IntArray) -> dict[str, float]:
    counts = metrics.confusion(gold, posteriors["sentiment"].argmax(1), len(LABELS))
    values = {
        "accuracy": float(metrics.accuracy(counts)),
        "macro F1": float(metrics.macro_f1(counts)),
        "log-loss": float(metrics.nll(gold, posteriors["sentiment"])),
        "calibration error": metrics.calibration_error(gold, posteriors["sentiment"]),
    }
    sides: dict[str, Task] = {"accuracy, words alone": "text_alone", "accuracy, picture alone": "image_alone"}
    for name, task in sides.items():
        there = ~np.isnan(posteriors[task][:, 0])
        if there.any():
            values[name] = float((posteriors[task][there].argmax(1) == gold[there]).mean())
    return values


def _made_with(plan: AdapterPlan, start: Adapter | None) -> dict[str, Any]:
    return {
        **made_now(),
        "posts_sha256": plan.posts.sha256,
        "parts": {
            "train": len(plan.parts.train),
            "calibration": len(plan.parts.calibration),
            "test": len(plan.parts.test),
        },
        "seed": plan.seed,
        "start": None if start is None else {"name": start.name, "hash": start.hash},
        "few_shot": plan.few_shot,
        "recipe": asdict(plan.config),
    }


def _card(plan: AdapterPlan, adapter: Adapter, figures: AdapterFigures) -> str:
    unsure = figures.accuracy_gain.low <= 0 <= figures.accuracy_gain.high
    verdict = (
        f"The interval holds 0: these posts do not show whether it is better than {START!r}."
        if unsure
        else f"It is {'better' if figures.accuracy_gain.low > 0 else 'worse'} than {START!r} by more than chance."
    )
    tasks = [name for name in ("sarcasm", "emotion", "target") if adapter.head.has(f"text.{name}")]
    return "\n".join(
        [
            f"# {plan.out.name}",
            "",
            f"An adapter for the encoder `{plan.encoder}`, fitted to {len(plan.parts.train)} labelled posts. {verdict}",
            "",
            "## Data",
            "",
            *(f"- {line}" for line in plan.lines()),
            "",
            "## AdapterFigures",
            "",
            *figures.lines(),
            "",
            "## Limits",
            "",
            f"- Besides sentiment it judges {', '.join(tasks) or 'nothing'}.",
            "- The figures are of posts of the same file; other posts may differ from them.",
            "- Posts that the encoder was trained on would make the figures too good.",
            "",
        ]
    )
