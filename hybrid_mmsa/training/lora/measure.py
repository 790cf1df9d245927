"""Base, adapter, fast tier and cascade on the same posts: pooling fitted, figures with intervals. Trains nothing.

The calibration part fits the pooling, the test part is read once. All answers are asked for as users will ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import metrics
from ...adapters import Adapter
from ...analyzer import Analyzer
from ...data import Record
from ...encoders import Encoder
from ...inputs import read_sample
from ...metrics import Interval
from ...reasoning import Reasoner, RecordedReasoner
from ...types import LABELS, Analysis, IntArray, LoraRef, Mode, Sample, Verdict, posteriors
from ..routing.posts import pool_on_posts
from ..routing.router import LEAST_POSTS

__all__ = ["Readiness", "TuningFigures", "figures_of", "fit_pooled", "judge"]

ASKED_AT_A_TIME = 32
SYSTEMS = ("base", "adapter", "fast", "cascade", "all asked")
"""`cascade` is mode auto; `all asked` is mode deep."""


@dataclass(frozen=True, slots=True)
class TuningFigures:
    """Figures on posts that nothing was fitted to.

    Attributes:
        n: Posts.
        accuracy, macro_f1: By system, with 95 % intervals; the cascade's are missing without a pooling.
        log_loss: By system, in nats.
        deferred: Share of posts that the cascade asks about.
        gains: Paired differences in accuracy: adapter less base, cascade less fast, and others.
    """

    n: int
    accuracy: dict[str, Interval]
    macro_f1: dict[str, Interval]
    log_loss: dict[str, float]
    deferred: float | None
    gains: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Tables in Markdown."""
        names = {
            "base": "base, untuned",
            "adapter": "adapter",
            "fast": "fast tier",
            "cascade": "cascade" if self.deferred is None else f"cascade, {self.deferred:.0%} asked",
            "all asked": "all asked and pooled",
        }
        lines = [f"| on {self.n} test posts | accuracy | macro F1 | log-loss |", "|---|---|---|---|"]
        for system in self.accuracy:
            shown = " | ".join(_shown(figures[system]) for figures in (self.accuracy, self.macro_f1))
            lines.append(f"| {names[system]} | {shown} | {self.log_loss[system]:.3f} |")
        lines += ["", "| difference in accuracy, paired | |", "|---|---|"]
        return lines + [f"| {name} | {_shown(gain, '+')} |" for name, gain in self.gains.items()]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether an adapter may answer without a warning, and why not."""

    ready: bool
    causes: tuple[str, ...] = ()


def judge(figures: TuningFigures) -> Readiness:
    """Ready where the adapter surely beats its base, and the cascade the fast tier: both paired intervals above 0."""
    causes = []
    for name in ("adapter − base", "cascade − fast"):
        gain = figures.gains.get(name)
        if gain is None:
            causes.append(f"{name}: not measured, since no pooling could be fitted")
        elif gain.low <= 0:
            causes.append(f"{name}: {_shown(gain, '+')} is not surely above 0")
    return Readiness(not causes, tuple(causes))


def ask_all(
    reasoner: Reasoner, samples: Sequence[Sample], lora: LoraRef | None, advance: Callable[[], None]
) -> list[Verdict]:
    """A verdict on every post, a few pictures in memory at a time."""
    verdicts: list[Verdict] = []
    for start in range(0, len(samples), ASKED_AT_A_TIME):
        some = [read_sample(sample) for sample in samples[start : start + ASKED_AT_A_TIME]]
        verdicts += reasoner.reason(some, lora)
        for _ in some:
            advance()
    return verdicts


def fit_pooled(fast: Adapter, encoder: Encoder, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> Adapter:
    """The adapter with a pooling fitted to these posts; with none where they are too few to fit one."""
    if len(samples) < LEAST_POSTS:
        return replace(fast, pooling=None)  # that of another reasoner is none of this one's
    posts = [Record(replace(sample, id=str(i))) for i, sample in enumerate(samples)]
    return pool_on_posts(fast, encoder, posts, {str(i): verdict for i, verdict in enumerate(verdicts)})


def figures_of(
    fitted: Adapter,
    encoder: Encoder,
    samples: Sequence[Sample],
    base: Sequence[Verdict],
    adapter: Sequence[Verdict],
) -> TuningFigures:
    """TuningFigures of all systems on the test part.

    Args:
        fitted: The adapter, with its pooling if it has one.
        encoder: The fast tier's.
        samples: Labelled posts.
        base: The untuned model's verdicts on them.
        adapter: The tuned model's.
    """
    gold = np.array([LABELS.index(sample.label) for sample in samples if sample.label], dtype=np.int64)
    probabilities = {"base": posteriors(base), "adapter": posteriors(adapter)}
    named = [replace(sample, id=str(i)) for i, sample in enumerate(samples)]
    recorded = RecordedReasoner({str(i): v for i, v in enumerate(adapter)}, adapter[0].reasoner)
    analyzer = Analyzer(encoder, [replace(fitted, lora=None)], reasoner=recorded)
    probabilities["fast"], _ = _answers(analyzer, named, "fast")
    deferred = None
    if fitted.pooling is not None:
        probabilities["cascade"], deferrals = _answers(analyzer, named, "auto")
        probabilities["all asked"], _ = _answers(analyzer, named, "deep")
        deferred = float(deferrals.mean())
    labels = {system: values.argmax(1) for system, values in probabilities.items()}
    pairs = [("adapter", "base"), ("adapter", "fast"), ("cascade", "fast"), ("cascade", "adapter")]
    pairs += [("all asked", "fast"), ("all asked", "adapter")]
    return TuningFigures(
        n=len(gold),
        accuracy={system: _interval(metrics.accuracy, gold, predicted) for system, predicted in labels.items()},
        macro_f1={system: _interval(metrics.macro_f1, gold, predicted) for system, predicted in labels.items()},
        log_loss={system: metrics.nll(gold, values) for system, values in probabilities.items()},
        deferred=deferred,
        gains={
            f"{one} − {other}": metrics.paired_difference(
                metrics.accuracy, gold, labels[one], labels[other], len(LABELS)
            )
            for one, other in pairs
            if one in labels and other in labels
        },
    )


def _answers(
    analyzer: Analyzer, samples: Sequence[Sample], mode: Mode
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What users would be answered `[n, 3]`, and which posts were asked about."""
    stream = analyzer.stream(samples, mode=mode, explain="none")
    answers = [answer for answer in stream if isinstance(answer, Analysis)]
    return posteriors([a.sentiment for a in answers]), np.array([a.route.decision == "defer" for a in answers])


def _interval(metric: metrics.LabelMetric, gold: IntArray, predicted: IntArray) -> Interval:
    return metrics.bootstrap_labels(metric, metrics.confusion(gold, predicted, len(LABELS)))


def _shown(interval: Interval, sign: str = "") -> str:
    return f"{interval.value:{sign}.3f} ({interval.low:{sign}.3f} to {interval.high:{sign}.3f})"
