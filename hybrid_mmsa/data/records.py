"""What every loader yields, and the tally of what it could not use. It knows no corpus and no model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..types import EmotionLabel, Label, Sample

__all__ = ["LoadReport", "Problem", "Record", "Records", "Split", "joint_label"]

Split: TypeAlias = Literal["train", "dev", "test"]
Problem: TypeAlias = Literal[
    "missing picture",
    "missing text",
    "text read as gb18030",
    "text read as latin-1",
    "broken line",
    "unknown label",
    "no majority label",
    "opposed labels",
    "no label row",
    "duplicate id",
    "neither text nor picture",
]
LOST: frozenset[Problem] = frozenset(
    {"broken line", "unknown label", "no label row", "duplicate id", "neither text nor picture"}
)
"""Problems that cost the post; with all others the post is kept."""
_EXAMPLES_KEPT = 5


@dataclass(frozen=True, slots=True)
class Record:
    """One post of a corpus: the raw sample (its picture a path, not decoded) and where the corpus puts it.

    Attributes:
        sample: Text, picture path, target and gold labels; `label` is `None` where the cleaning rule drops the post.
        split: The corpus's own split, or `None` where it has none (see `data.splits`).
        emotion: Gold emotion, where known.
        group: What the corpus counts the post under (a kind, a source, a test), where it has groups.
        allowed: Labels that all count as right, where the corpus names no single one; `sample.label` is then `None`.
    """

    sample: Sample
    split: Split | None = None
    emotion: EmotionLabel | None = None
    group: str | None = None
    allowed: tuple[Label, ...] = ()


Records: TypeAlias = Iterator[Record]


@dataclass(slots=True)
class LoadReport:
    """What loading had to count: nothing is dropped or changed without a line here.

    Attributes:
        records: Posts yielded.
        counts: How often each problem was met.
        examples: The first few ids (or line numbers) of each problem.
    """

    records: int = 0
    counts: dict[Problem, int] = field(default_factory=dict)
    examples: dict[Problem, list[str]] = field(default_factory=dict)

    def add(self, problem: Problem, where: str) -> None:
        """Count one problem of the post or line named by `where`."""
        self.counts[problem] = self.counts.get(problem, 0) + 1
        examples = self.examples.setdefault(problem, [])
        if len(examples) < _EXAMPLES_KEPT:
            examples.append(where)

    @property
    def lost(self) -> int:
        """Posts that could not be used at all."""
        return sum(n for problem, n in self.counts.items() if problem in LOST)

    def lines(self) -> list[str]:
        """One readable line per problem, the most frequent first."""
        ranked = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return [f"{n} × {problem} (such as {', '.join(self.examples[problem])})" for problem, n in ranked]


def joint_label(text_label: Label | None, image_label: Label | None) -> Label | None:
    """The label of a whole post from those of its two sides, or `None` when they cannot be joined.

    Equal labels give that label; where one is neutral the other decides; positive against negative is dropped.
    The rule of MultiSentiNet (Xu and Mao, CIKM 2017), which all later work on MVSA uses.
    """
    if text_label == image_label or image_label == "neutral":
        return text_label
    return image_label if text_label == "neutral" else None
