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
from ...errors import InputError
from ...fusion import Strategy
from ...metrics import Interval
from ...model import open_model
from ...types import LABELS, Features, FloatArray, IntArray, Task, TaskArrays
from ..common.provenance import made_now
from ..posts.labelled import Labelled, labels_of
from ..posts.labelled_file import FOLDS, LabelledFile, Parts, crossed_parts, part_posts
from ..posts.rows import fold_of
from .frozen import FEW_SHOT, FrozenConfig, fit_frozen

__all__ = ["AdapterFigures", "AdapterPlan", "fit_fast_tier", "plan_adapter", "train_adapter"]

COMPACT = "compact"
START = "default"
FEW = 64
"""Posts of the rarest label up to which heads stay close to where they start; see `eval/bench/adapters/few_shot.py`."""
CROSSED = 400
"""Posts up to which all are tested on, each by heads fitted to the others: a fifth would say too little."""
MISTAKES = 20
SHOWN_CHARS = 100


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
        crossed: Whether all posts are trained on, and each is tested by heads fitted to the other folds.
    """

    posts: LabelledFile
    parts: Parts
    out: Path
    encoder: str
    few_shot: bool
    config: FrozenConfig
    seed: int
    crossed: bool = False

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
            f"all to train on; each tested by heads that were fitted to the other {FOLDS - 1} of {FOLDS} parts"
            if self.crossed
            else f"{len(self.parts.train)} to train on, {len(self.parts.calibration)} for the router, "
            f"{len(self.parts.test)} to test on" + (", as the file says" if "test" in self.posts.splits else ""),
            *(["few posts: the heads stay close to where they start"] if self.few_shot else []),
            f"encoder {self.encoder}, frozen; fusion {self.config.joining.strategy}; started from {begun}",
        ]
        return lines + [f"no post is {label}: the adapter will hardly ever say so" for label in absent]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AdapterFigures:
    """Figures on posts that the heads that answered were not fitted to: of the adapter and of the default model.

    Attributes:
        gold: The labels `[n]`.
        posteriors: The adapter's P(label) `[n, 3]`.
        adapter, default: Figures by name.
        accuracy_gain, macro_f1_gain: The difference, with 95 % paired intervals.
        deferred: Share of the posts that the router defers.
        learnt: Whether any head differs from the one it was started from.
        half: How many posts half of the training posts are, and the accuracy with those alone; `None` if not measured.
        trained_on: Posts that the heads were fitted to.
    """

    gold: IntArray
    posteriors: FloatArray
    adapter: dict[str, float]
    default: dict[str, float]
    accuracy_gain: Interval
    macro_f1_gain: Interval
    deferred: float
    learnt: bool
    half: tuple[int, float] | None
    trained_on: int

    @property
    def n(self) -> int:
        """How many posts were tested on."""
        return len(self.gold)

    @property
    def ready(self) -> bool:
        """Whether it is better than the default model by more than chance, and not worse in the other figure."""
        gains = (self.accuracy_gain, self.macro_f1_gain)
        return self.learnt and any(gain.low > 0 for gain in gains) and all(gain.high > 0 for gain in gains)

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        if not self.learnt:
            return f"Nothing was learnt: it answers as {START!r} does. It is not ready; label more posts."
        if self.ready:
            return f"It is better than {START!r} by more than chance."
        if self.accuracy_gain.high < 0:
            return f"It is worse than {START!r} by more than chance, and not ready."
        return f"These posts do not show whether it is better than {START!r}: it is not ready; label more posts."

    def lines(self) -> list[str]:
        """A table in Markdown, and what follows from it."""
        gains = {"accuracy": self.accuracy_gain, "macro F1": self.macro_f1_gain}
        lines = [
            f"| on {self.n} test posts | adapter | {START} | difference, 95 % paired interval |",
            "|---|---|---|---|",
        ]
        for name, value in self.adapter.items():
            gain = gains.get(name)
            interval = f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})" if gain else ""
            lines.append(f"| {name} | {value:.3f} | {self.default[name]:.3f} | {interval} |")
        lines += ["", f"It would defer {self.deferred:.0%} of these posts. {self.verdict}"]
        if self.half is not None:
            gain_of_double = self.adapter["accuracy"] - self.half[1]
            lines.append(
                f"With {self.half[0]} of {self.trained_on} training posts the accuracy is {self.half[1]:.3f}: twice "
                f"the labels would buy about {100 * gain_of_double:+.1f} points."
            )
        return lines


def plan_adapter(
    posts: LabelledFile,
    out: Path,
    *,
    encoder: str = COMPACT,
    few_shot: bool | None = None,
    strategy: Strategy = "gated",
    seed: int = 0,
) -> AdapterPlan:
    """Part the posts and choose the recipe.

    Args:
        posts: Checked posts.
        out: The adapter's folder.
        encoder: The encoder's name.
        few_shot: Whether there are few posts; by default where a label has `FEW` or fewer.
        strategy: How the sides are joined.
        seed: Draws the parts.

    Raises:
        InputError: Nothing is left to test on.
    """
    rarest = min(posts.counts.values())
    few = rarest <= FEW if few_shot is None else few_shot
    config = FEW_SHOT if few else FrozenConfig()
    config = replace(config, joining=replace(config.joining, strategy=strategy))
    crossed = (few or len(posts.samples) <= CROSSED) and "test" not in posts.splits
    parts = crossed_parts(posts, seed) if crossed else part_posts(posts, calibration=not few, seed=seed)
    if not len(parts.test) or not len(parts.train):
        raise InputError("too few different posts to train and to test on", field="posts")
    return AdapterPlan(posts, parts, out, encoder, few, config, seed, crossed)


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
    named = _Named(encoder, moved_name(plan.encoder, Path.cwd(), plan.out))
    fitting = _Fitting(plan, encoded, named, start)
    adapter = fitting.fit(plan.parts)
    tested = fitting.tested(plan.parts, adapter)
    test = plan.parts.test
    if start is None:
        samples = [plan.posts.samples[i] for i in test]
        compact = extract_features(open_model(START, threads=threads).encoder, samples)
    else:
        compact = encoded.take(test)
    figures = compare(tested.posteriors, default.posteriors(compact), labels_of(plan.posts.samples)["text.joint"][test])
    figures = replace(
        figures,
        deferred=tested.deferred,
        learnt=fitting.learnt(adapter),
        half=fitting.half(),
        trained_on=len(plan.parts.train),
    )
    made_with = _made_with(plan, start)
    replace(adapter, made_with=made_with, card=_card(plan, adapter, figures), ready=figures.ready).save(plan.out)
    if features is None:
        shutil.rmtree(kept)
    return figures


@dataclass(frozen=True, slots=True, eq=False)
class _Tested:
    """Answers to the test posts by heads that were not fitted to them, and the share of them that is deferred."""

    posteriors: TaskArrays
    deferred: float


@dataclass(frozen=True, slots=True, eq=False)
class _Fitting:
    """The same recipe fitted to different parts of the posts."""

    plan: AdapterPlan
    features: Features
    encoder: Encoder
    start: Adapter | None

    def fit(self, parts: Parts) -> Adapter:
        """An adapter fitted to the training part."""
        learn, held = _labelled(self.plan.posts, parts, self.features)
        return fit_frozen(learn, held, self.encoder, name=self.plan.out.name, config=self.plan.config, start=self.start)

    def tested(self, parts: Parts, adapter: Adapter | None = None) -> _Tested:
        """Answers to the test part: of the adapter, or, crossed, of one for each fold that was fitted to the others."""
        if not self.plan.crossed:
            return self._answers(adapter or self.fit(parts), parts.test)
        answers = []
        for fold in np.unique(parts.folds[parts.train]):
            others = parts.train[parts.folds[parts.train] != fold]
            held = np.flatnonzero(self.plan.parts.folds == fold)
            answers.append((held, self._answers(self.fit(replace(parts, train=others)), held)))
        order = np.argsort(np.concatenate([rows for rows, _ in answers]))
        tasks = answers[0][1].posteriors
        joined = {task: np.concatenate([a.posteriors[task] for _, a in answers])[order] for task in tasks}
        deferred = sum(len(rows) * a.deferred for rows, a in answers) / len(order)
        return _Tested(joined, float(deferred))

    def _answers(self, adapter: Adapter, rows: IntArray) -> _Tested:
        features = self.features.take(rows)
        posteriors = adapter.posteriors(features)
        decisions = adapter.router.decide(posteriors, features)
        return _Tested(posteriors, float(np.mean([decision.decision == "defer" for decision in decisions])))

    def learnt(self, adapter: Adapter) -> bool:
        """Whether the adapter's heads differ from those it was started from."""
        before = None if self.start is None else self.start.head.arrays
        after = adapter.head.arrays
        return before is None or set(before) != set(after) or any((before[n] != after[n]).any() for n in after)

    def half(self) -> tuple[int, float] | None:
        """Half of the training posts, and the accuracy with those alone; `None` where they are too few to be fitted."""
        parts, plan = self.plan.parts, self.plan
        keys = {plan.posts.keys[i] for i in parts.train}
        chosen = {key for key in keys if fold_of(f"half/{key}", 2)}
        rows = np.array([i for i in parts.train if plan.posts.keys[i] in chosen], dtype=np.int64)
        counts = Counter(plan.posts.samples[i].label for i in rows)
        if len(counts) < len(Counter(s.label for s in plan.posts.samples)) or min(counts.values()) < plan.config.least:
            return None
        posteriors = self.tested(replace(parts, train=rows)).posteriors["sentiment"]
        gold = labels_of(plan.posts.samples)["text.joint"][parts.test]
        return len(rows), float((posteriors.argmax(1) == gold).mean())


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
    return AdapterFigures(
        gold=gold,
        posteriors=adapter["sentiment"],
        adapter=_figures(adapter, gold),
        default=_figures(default, gold),
        accuracy_gain=gains[0],
        macro_f1_gain=gains[1],
        deferred=0.0,
        learnt=True,
        half=None,
        trained_on=0,
    )


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
    tasks = [name for name in ("sarcasm", "emotion", "target") if adapter.head.has(f"text.{name}")]
    return "\n".join(
        [
            f"# {plan.out.name}",
            "",
            f"An adapter for the encoder `{plan.encoder}`, fitted to {len(plan.parts.train)} labelled posts. "
            + figures.verdict,
            "",
            "## Data",
            "",
            *(f"- {line}" for line in plan.lines()),
            "",
            "## Figures",
            "",
            *figures.lines(),
            "",
            "## Confusion",
            "",
            *_confusion(figures),
            "",
            "## Worst mistakes",
            "",
            *_mistakes(plan, figures),
            "",
            "## Limits",
            "",
            f"- Besides sentiment it judges {', '.join(tasks) or 'nothing'}.",
            "- The figures are of posts of the same file; other posts may differ from them.",
            "- Posts that the encoder was trained on would make the figures too good.",
            "",
        ]
    )


def _confusion(figures: AdapterFigures) -> list[str]:
    counts = metrics.confusion(figures.gold, figures.posteriors.argmax(1), len(LABELS))
    rows = [f"| {label} | {' | '.join(map(str, row))} |" for label, row in zip(LABELS, counts, strict=True)]
    return [f"| label, down; answer, across | {' | '.join(LABELS)} |", "|---|" + "---|" * len(LABELS), *rows]


def _mistakes(plan: AdapterPlan, figures: AdapterFigures) -> list[str]:
    """The wrong answers that it is surest of; some are wrong labels."""
    answers, sure = figures.posteriors.argmax(1), figures.posteriors.max(1)
    wrong = np.flatnonzero(answers != figures.gold)
    lines = ["| post | label | answer | confidence | words |", "|---|---|---|---|---|"]
    for i in wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]:
        sample = plan.posts.samples[plan.parts.test[i]]
        words = " ".join((sample.text or "").split())[:SHOWN_CHARS].replace("|", "/")
        name = sample.id or f"post {plan.parts.test[i] + 1}"
        lines.append(f"| {name} | {LABELS[figures.gold[i]]} | {LABELS[answers[i]]} | {sure[i]:.2f} | {words} |")
    return lines if len(wrong) else ["None."]
