"""The card of an adapter's fast tier, Markdown for people: its data, figures, mistakes and limits. It fits nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import metrics
from ...fusion import FusionHead
from ...types import LABELS, IntArray, Sample
from ..common.model_card import CardResult, front_matter
from .figures import AdapterFigures

__all__ = ["adapter_card"]

MISTAKES = 20
SHOWN_CHARS = 100


def adapter_card(
    name: str, encoder: str, data: Sequence[str], head: FusionHead, figures: AdapterFigures, tested: Sequence[Sample]
) -> str:
    """The card.

    Args:
        name: The adapter's.
        encoder: What it was fitted to.
        data: Lines on the posts, and on what was done with them.
        head: What was fitted.
        figures: What it reached.
        tested: The test posts, in the order of the figures.
    """
    tasks = [task for task in ("sarcasm", "emotion", "target") if head.has(f"text.{task}")]
    measured = [
        CardResult(dataset="test posts of the same file", metric=metric, value=round(value, 3), note=f"n = {figures.n}")
        for metric, value in figures.default.adapter.items()
    ]
    return front_matter(name, measured) + "\n".join(
        [
            f"# {name}",
            "",
            f"An adapter for the encoder `{encoder}`, fitted to labelled posts. {figures.verdict}",
            "",
            "## Data",
            "",
            *(f"- {line}" for line in data),
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
            *_mistakes(figures, tested),
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


def _mistakes(figures: AdapterFigures, tested: Sequence[Sample]) -> list[str]:
    """The wrong answers that it is surest of; some are wrong labels."""
    answers: IntArray = figures.posteriors.argmax(1)
    confidence = figures.posteriors.max(1)
    wrong = np.flatnonzero(answers != figures.gold)
    lines = ["| post | label | answer | confidence | words |", "|---|---|---|---|---|"]
    for i in wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]:
        words = " ".join((tested[i].text or "").split())[:SHOWN_CHARS].replace("|", "/")
        name = (tested[i].id or f"test post {i + 1}").replace("|", "/")
        lines.append(f"| {name} | {LABELS[figures.gold[i]]} | {LABELS[answers[i]]} | {confidence[i]:.2f} | {words} |")
    return lines if len(wrong) else ["None."]
