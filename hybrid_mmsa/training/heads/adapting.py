"""A file of labelled posts → an adapter folder: planned, fitted, measured against the default model, described.

Knows no command line; needs the extra `tune`, and no torch unless the encoder does.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import metrics
from ...adapters import Adapter, check_new_folder, resolve_adapter
from ...encoders import Encoder, extract_features, moved_name, open_encoder
from ...errors import ArtefactError, InputError
from ...fusion import Strategy
from ...metrics import Interval
from ...model import open_model
from ...types import LABELS, Features, IntArray, TaskArrays
from ..common.provenance import made_now
from ..posts.labelled import Labelled, labels_of
from ..posts.labelled_file import FOLDS, LabelledFile, Parts, crossed_parts, part_posts, quarters
from .adapter_card import adapter_card
from .figures import AdapterFigures, Comparison, CurvePoint, compare
from .frozen import FEW_SHOT, FrozenConfig, fit_frozen

__all__ = ["AdapterPlan", "fit_fast_tier", "least_posts", "plan_adapter", "train_adapter"]

COMPACT = "compact"
START = "default"
FEW = 64
"""Posts of the rarest label up to which heads stay close to where they start; see `eval/bench/adapters/few_shot.py`."""
CROSSED = 400
"""Posts up to which all are tested on, each by heads fitted to the others: a fifth would say too little."""
CROSSED_WITH_BEFORE = 1000
"""The same beside a version before, which knows most of the posts, or whose doubts chose them."""
CURVE = (2, 4)
"""Parts of the training posts that the learning curve is measured with, as what they are divided by."""
LEAST_NEW = 20
"""Posts that an adapter and its version before are compared on, at the least."""
SHOWN = 3
FITTED_TO = "post_digests"
"""In `made_with`: the digests of the posts that an adapter was fitted to, one behind the other."""


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
        before: The folder of the adapter's version before, which it is compared with, if there is one.
        unfair: Whether it is tested on posts that a model's doubts chose, because others are too few.
    """

    posts: LabelledFile
    parts: Parts
    out: Path
    encoder: str
    few_shot: bool
    config: FrozenConfig
    seed: int
    crossed: bool = False
    before: Path | None = None
    unfair: bool = False

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
        lines += [f"no post is {label}: the adapter will hardly ever say so" for label in absent]
        if doubted := int(self.posts.doubted.sum()):
            use = "figures are of such posts: others are too few" if self.unfair else "trained on, and not tested on"
            lines.append(f"{doubted} posts were chosen by a model's doubts: {use}")
        if found := self.posts.contradictions:
            more = "; …" if len(found) > SHOWN else ""
            lines.append(
                f"{self.contradicting} posts contradict others of the same words and picture: "
                f"{'; '.join(map(str, found[:SHOWN]))}{more}"
            )
        return lines

    @property
    def contradicting(self) -> int:
        """Posts that others with the same words and picture contradict by their labels."""
        return sum(len(each.lines) for each in self.posts.contradictions)


def least_posts(few_shot: bool | None) -> int:
    """Posts that every label which occurs must have, where few posts are asked for, or not, or that is to be seen."""
    return (FrozenConfig() if few_shot is False else FEW_SHOT).least


def plan_adapter(
    posts: LabelledFile,
    out: Path,
    *,
    encoder: str = COMPACT,
    few_shot: bool | None = None,
    strategy: Strategy = "gated",
    seed: int = 0,
    before: Path | None = None,
    force: bool = False,
) -> AdapterPlan:
    """Part the posts and choose the recipe.

    Args:
        posts: Checked posts.
        out: The adapter's folder.
        encoder: The encoder's name.
        few_shot: Whether there are few posts; by default where a label has `FEW` or fewer.
        strategy: How the sides are joined.
        seed: Draws the parts.
        before: The folder of an adapter to compare with; by default the one that is replaced.
        force: Replace an adapter that is there.

    Raises:
        InputError: Nothing is left to test on, or the folder cannot be written; see `check_new_folder`.
    """
    replaced = check_new_folder(out, force=force)
    rarest = min(posts.counts.values())
    few = rarest <= FEW if few_shot is None else few_shot
    config = FEW_SHOT if few else FrozenConfig()
    config = replace(config, joining=replace(config.joining, strategy=strategy))
    compared = before is not None or replaced is not None or bool(posts.doubted.any())
    most = CROSSED_WITH_BEFORE if compared else CROSSED
    crossed = (few or len(posts.samples) <= most) and "test" not in posts.splits
    parts = crossed_parts(posts, seed) if crossed else part_posts(posts, calibration=not few, seed=seed)
    if not len(parts.test) or not len(parts.train):
        raise InputError("too few different posts to train and to test on", field="posts")
    drawn = parts.test[~posts.doubted[parts.test]]
    unfair = len(drawn) < LEAST_NEW and len(drawn) < len(parts.test)
    parts = parts if unfair else replace(parts, test=drawn)
    return AdapterPlan(posts, parts, out, encoder, few, config, seed, crossed, before or replaced, unfair)


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
    gold = labels_of(plan.posts.samples)["text.joint"][test]
    bundled = fitting.answers_of(default, test, threads)
    if bundled is None:
        raise ArtefactError("the bundled adapter was not fitted to the bundled towers")
    curve, doubling = fitting.curve(tested, gold)
    figures = AdapterFigures(
        gold=gold,
        posteriors=tested.posteriors["sentiment"],
        default=compare(tested.posteriors, bundled, gold, START),
        deferred=tested.deferred,
        learnt=fitting.learnt(adapter),
        curve=curve,
        doubling=doubling,
        contradictions=plan.contradicting,
        unfair=plan.unfair,
    )
    if plan.before is not None:
        before, note = _compared(fitting, tested, gold, Adapter.load(plan.before), threads)
        figures = replace(figures, before=before, note=note)
    posts = [plan.posts.samples[i] for i in test]
    card = adapter_card(plan.out.name, plan.encoder, plan.lines(), adapter.head, figures, posts)
    made_with = _made_with(plan, start, figures)
    replace(adapter, made_with=made_with, card=card, ready=figures.ready).save_whole(plan.out)
    if features is None:
        shutil.rmtree(kept)
    return figures


def _compared(
    fitting: _Fitting, tested: _Tested, gold: IntArray, before: Adapter, threads: int
) -> tuple[Comparison | None, str]:
    """The adapter beside its version before, on test posts that this was not fitted to, and what to say of them."""
    test, digests = fitting.plan.parts.test, fitting.plan.posts.digests
    fitted_to = before.made_with.get(FITTED_TO)
    size = len(digests[0])
    if isinstance(fitted_to, str):
        known = {fitted_to[i : i + size] for i in range(0, len(fitted_to), size)}
        new = np.array([digests[i] not in known for i in test])
        left_out = len(test) - int(new.sum())
        note = f"{left_out} posts that the version before was fitted to are left out." if left_out else ""
    else:
        new = np.ones(len(test), dtype=bool)
        note = "The version before does not say what it was fitted to; where it knows these posts, it looks too good."
    if new.sum() < LEAST_NEW:
        return None, f"{note} Too few others are there to compare the two.".strip()
    answers = fitting.answers_of(before, test[new], threads)
    if answers is None:
        return None, f"The version before was fitted to other towers ({before.encoder}), and is not compared."
    own = {task: values[new] for task, values in tested.posteriors.items()}
    return compare(own, answers, gold[new], "version before"), note


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
            held = parts.test[self.plan.parts.folds[parts.test] == fold]
            if not len(held):
                continue
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

    def answers_of(self, model: Adapter, rows: IntArray, threads: int) -> TaskArrays | None:
        """Answers of another model to some posts; `None` where it has towers other than these and the bundled ones."""
        if model.encoder_hash == self.encoder.hash:
            return model.posteriors(self.features.take(rows))
        bundled = open_model(START, threads=threads).encoder
        if model.encoder_hash != bundled.hash:
            return None
        return model.posteriors(extract_features(bundled, [self.plan.posts.samples[i] for i in rows]))

    def curve(self, tested: _Tested, gold: IntArray) -> tuple[tuple[CurvePoint, ...], Interval | None]:
        """The learning curve, and what its last doubling added; heads are fitted to parts that lie inside each other.

        Args:
            tested: The answers of heads that were fitted to all posts.
            gold: The labels of the test posts.
        """
        whole = tested.posteriors["sentiment"].argmax(1)
        points = [CurvePoint(len(self.plan.parts.train), float((whole == gold).mean()))]
        doubling = None
        for divisor in CURVE:
            rows = self._part(divisor)
            if rows is None:
                break
            answers = self.tested(replace(self.plan.parts, train=rows)).posteriors["sentiment"].argmax(1)
            points.append(CurvePoint(len(rows), float((answers == gold).mean())))
            if doubling is None:
                doubling = metrics.paired_difference(metrics.accuracy, gold, whole, answers, len(LABELS))
        return tuple(reversed(points)), doubling

    def _part(self, divisor: int) -> IntArray | None:
        """One of `divisor` parts of the training posts; `None` where it is too small to be fitted in folds."""
        posts, train = self.plan.posts, self.plan.parts.train
        rows: IntArray = train[quarters(posts, train, self.plan.seed) < max(CURVE) // divisor]
        counts = Counter(posts.samples[i].label for i in rows)
        labels = {posts.samples[i].label for i in train}
        enough = len(counts) == len(labels) and min(counts.values()) * (FOLDS - 1) // FOLDS >= self.plan.config.least
        return rows if enough and set(self.plan.parts.folds[rows].tolist()) == set(range(FOLDS)) else None


def fit_fast_tier(
    posts: LabelledFile,
    parts: Parts,
    encoder: Encoder,
    *,
    name: str,
    start: Adapter,
    changes: Mapping[str, Any] | None = None,
) -> Adapter:
    """A fast tier fitted to the training part of posts, and not measured: whoever asks for it measures it.

    Args:
        posts: Checked posts.
        parts: What each is for; the test part is not looked at.
        encoder: The start's encoder.
        name: The adapter's name.
        start: The adapter whose heads are started from.
        changes: Fields of `FrozenConfig` that are not to be as they are by default.
    """
    rarest = min(Counter(posts.samples[i].label for i in parts.train).values())
    config = FEW_SHOT if rarest < FrozenConfig().least else FrozenConfig()
    config = replace(config, joining=replace(config.joining, strategy=start.head.strategy), **(changes or {}))
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


def _made_with(plan: AdapterPlan, start: Adapter | None, figures: AdapterFigures) -> dict[str, Any]:
    fitted = {plan.posts.digests[i] for i in (*plan.parts.train, *plan.parts.calibration)}
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
        "labels": {label: plan.posts.counts[label] for label in LABELS},
        "figures": figures.facts(),
        FITTED_TO: "".join(sorted(fitted)),
    }
