"""What an adapter reached on posts that it was not fitted to, beside other models. Knows no files and no encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...metrics import Interval, accuracy, calibration_error, confusion, macro_f1, nll, paired_difference
from ...types import LABELS, FloatArray, IntArray, Task, TaskArrays

__all__ = ["AdapterFigures", "Comparison", "CurvePoint", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An adapter beside another model, on the same posts, which the heads of neither were fitted to.

    Attributes:
        other: The other model, as tables name it.
        n: How many posts.
        adapter, others: Figures of the adapter and of the other model, by name; shares in [0, 1], log-loss in nats.
        accuracy_gain, macro_f1_gain: What the adapter has more, with 95 % paired bootstrap intervals.
    """

    other: str
    n: int
    adapter: dict[str, float]
    others: dict[str, float]
    accuracy_gain: Interval
    macro_f1_gain: Interval

    @property
    def better(self) -> bool:
        """Whether one figure is better by more than chance, and neither is worse."""
        gains = (self.accuracy_gain, self.macro_f1_gain)
        return any(gain.low > 0 for gain in gains) and all(gain.high > 0 for gain in gains)

    @property
    def worse(self) -> bool:
        """Whether a figure is worse by more than chance."""
        return self.accuracy_gain.high < 0 or self.macro_f1_gain.high < 0

    def lines(self, posts: str = "test posts") -> list[str]:
        """A table in Markdown.

        Args:
            posts: What the posts are.
        """
        gains = {"accuracy": self.accuracy_gain, "macro F1": self.macro_f1_gain}
        lines = [
            f"| on {self.n} {posts} | adapter | {self.other} | difference, 95 % paired interval |",
            "|---|---|---|---|",
        ]
        for name, value in self.adapter.items():
            gain = gains.get(name)
            interval = f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})" if gain else ""
            lines.append(f"| {name} | {value:.3f} | {self.others[name]:.3f} | {interval} |")
        return lines

    def facts(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The accuracy of heads that were fitted to a part of the posts.

    Attributes:
        posts: How many of the posts to train on.
        accuracy: On the test posts, in [0, 1].
    """

    posts: int
    accuracy: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AdapterFigures:
    """What an adapter reached on posts that the heads that answered were not fitted to.

    Attributes:
        gold: The labels of the test posts, class indices int64 `[n]`.
        posteriors: The adapter's P(label) float32 `[n, 3]`.
        default: The adapter beside the bundled model.
        before: The adapter beside its version before, if there is one that can be compared.
        note: What is to be said of that comparison, or why there is none.
        deferred: Share of the posts that the router defers.
        learnt: Whether any head differs from the one it was started from.
        curve: The accuracy by the number of posts that the heads are fitted to, the fewest first; all of them last.
        doubling: What the last doubling of the posts added to the accuracy, with its 95 % paired interval; `None`
            where half of the posts are too few to be fitted to.
        contradictions: Posts that others with the same words and picture contradict by their labels.
        unfair: Whether the posts were chosen by a model's doubts: on them that model looks worse than it is.
    """

    gold: IntArray
    posteriors: FloatArray
    default: Comparison
    before: Comparison | None = None
    note: str = ""
    deferred: float = 0.0
    learnt: bool = True
    curve: Sequence[CurvePoint] = ()
    doubling: Interval | None = None
    contradictions: int = 0
    unfair: bool = False

    @property
    def n(self) -> int:
        """How many posts were tested on."""
        return len(self.gold)

    @property
    def ready(self) -> bool:
        """Whether it learnt something, is better than the bundled model, and is not worse than its version before."""
        worse = self.before is not None and self.before.worse
        return self.learnt and self.default.better and not worse and not self.unfair

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        other = f"{self.default.other!r}"
        if not self.learnt:
            return f"Nothing was learnt: it answers as {other} does. It is not ready; label more posts."
        if self.unfair:
            return (
                "These posts were chosen by a model's doubts, and do not show whether it is better: it is not ready; "
                "label some that are drawn from all posts (`review export --random`)."
            )
        if self.before is not None and self.before.worse:
            return "It is worse than the version before by more than chance, and not ready."
        if self.ready:
            return f"It is better than {other} by more than chance."
        if self.default.accuracy_gain.high < 0:
            return f"It is worse than {other} by more than chance, and not ready."
        return f"These posts do not show whether it is better than {other}: it is not ready; label more posts."

    def lines(self) -> list[str]:
        """Tables in Markdown, and what follows from them."""
        lines = [*self.default.lines(), "", f"It would defer {self.deferred:.0%} of these posts. {self.verdict}"]
        lines += ["", *helped] if (helped := self._helped()) else []
        return lines + (["", *curve] if (curve := self._curve()) else [])

    def facts(self) -> dict[str, Any]:
        """The figures as JSON values, for `adapter.json`."""
        return {
            "default": self.default.facts(),
            "before": None if self.before is None else self.before.facts(),
            "note": self.note,
            "deferred": self.deferred,
            "learnt": self.learnt,
            "curve": [asdict(point) for point in self.curve],
            "doubling": None if self.doubling is None else asdict(self.doubling),
            "contradictions": self.contradictions,
            "unfair": self.unfair,
            "verdict": self.verdict,
        }

    def _helped(self) -> list[str]:
        """Whether it is better than the version before."""
        if self.before is None:
            return [f"Did it help? {self.note}"] if self.note else []
        answer = "The two are not told apart by these posts."
        if self.unfair:
            answer = (
                "That is not known: the posts were chosen by a model's doubts, and on them it looks worse than it is."
            )
        elif self.before.better:
            answer = "Yes: it is better than the version before by more than chance."
        elif self.before.worse:
            answer = "No: it is worse than the version before by more than chance."
        return [
            *self.before.lines("posts")[:4],
            "",
            f"Did it help? {answer} {self.note}".rstrip(),
        ]  # accuracy and macro F1

    def _curve(self) -> list[str]:
        """The learning curve, and what more labels would buy."""
        if self.doubling is None:
            return []
        cells = " | ".join(str(point.posts) for point in self.curve)
        accuracies = " | ".join(f"{point.accuracy:.3f}" for point in self.curve)
        low, value, high = (100 * v for v in (self.doubling.low, self.doubling.value, self.doubling.high))
        return [
            f"| posts to train on | {cells} |",
            "|---|" + "---|" * len(self.curve),
            f"| accuracy | {accuracies} |",
            "",
            f"Twice the labels would buy about {value:+.1f} points of accuracy ({low:+.1f} to {high:+.1f}), as much as "
            "the last doubling did.",
        ]


def compare(adapter: TaskArrays, other: TaskArrays, gold: IntArray, name: str) -> Comparison:
    """Figures of two models' posteriors on the same posts.

    Args:
        adapter: Posteriors per task of the adapter.
        other: Those of the other model.
        gold: Class indices `[n]`.
        name: The other model's.
    """
    first, second = adapter["sentiment"].argmax(1), other["sentiment"].argmax(1)
    gains = [paired_difference(metric, gold, first, second, len(LABELS)) for metric in (accuracy, macro_f1)]
    own, others = _figures(adapter, gold), _figures(other, gold)
    return Comparison(
        other=name, n=len(gold), adapter=own, others=others, accuracy_gain=gains[0], macro_f1_gain=gains[1]
    )


def _figures(posteriors: TaskArrays, gold: IntArray) -> dict[str, float]:
    counts = confusion(gold, posteriors["sentiment"].argmax(1), len(LABELS))
    values = {
        "accuracy": float(accuracy(counts)),
        "macro F1": float(macro_f1(counts)),
        "log-loss": float(nll(gold, posteriors["sentiment"])),
        "calibration error": calibration_error(gold, posteriors["sentiment"]),
    }
    sides: dict[str, Task] = {"accuracy, words alone": "text_alone", "accuracy, picture alone": "image_alone"}
    for name, task in sides.items():
        there = ~np.isnan(posteriors[task][:, 0])
        if there.any():
            values[name] = float((posteriors[task][there].argmax(1) == gold[there]).mean())
    return values
