"""Posts that a reasoner was asked about, step by step: fast answer, why it was deferred, verdict, what counts.

Knows nothing of commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...types import Analysis, Label, Prediction, Sample, Verdict
from .show import COLOURS, REASONS, bar

__all__ = ["Asked", "AskedPosts"]

BAR, NARROWEST = 20, 72
"""Width of a bar; terminals narrower than this have none."""
LONGEST_NAME = 12


@dataclass(frozen=True, slots=True)
class Asked:
    """A post, and what was answered at each step.

    Attributes:
        sample: As it was read from its file.
        fast: The fast tier's answer, which says why it defers.
        asked: The answer with the reasoner's verdict, where there is one.
        pooled: Whether both count in it, as was fitted to this reasoner; else the verdict alone.
    """

    sample: Sample
    fast: Analysis
    asked: Analysis
    pooled: bool


class AskedPosts:
    """Deferred posts one below the other, each with its steps.

    Args:
        posts: What was asked about.
        pictures: What the pictures show, by file name.
    """

    def __init__(self, posts: Sequence[Asked], pictures: Mapping[str, str]) -> None:
        self.posts = posts
        self.pictures = pictures

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for post in self.posts:
            yield Text(post.sample.text or "no words", style="bold")
            if name := self._picture(post.sample):
                yield Text(name, style="dim")
            yield Padding(_steps(post, options), (0, 0, 1, 2))

    def _picture(self, sample: Sample) -> str:
        file = "" if sample.image is None else str(sample.image).rpartition("/")[2]
        return f"{self.pictures[file]}, {file}" if file in self.pictures else file


def _steps(post: Asked, options: ConsoleOptions) -> Table:
    """A line per step: who speaks, the label with a bar, and what goes with it."""
    wide = options.max_width >= NARROWEST
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", max_width=LONGEST_NAME, overflow="fold")
    table.add_column(no_wrap=True)
    if wide:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, said, remark in _told(post):
        drawn = [] if said is None else [_label(said)]
        if wide and said is not None:
            share = bar(said.confidence, BAR, ascii_only=options.ascii_only)
            drawn.append(Text(share, style=COLOURS[said.label]))
        blank = [Text()] * (1 + wide - len(drawn))
        table.add_row(name, *drawn, *blank, Text(remark))
    return table


def _told(post: Asked) -> Iterator[tuple[str, Prediction | None, str]]:
    """Name, answer and remark of every step."""
    why = ", ".join(REASONS[reason] for reason in post.fast.route.reasons)
    yield "fast", post.fast.sentiment, f"deferred: {why}"
    verdict = post.asked.verdict
    if verdict is None:
        yield "reasoner", None, "; ".join(post.asked.warnings) or "did not answer"
        return
    yield verdict.reasoner, _prediction(verdict), _sides(verdict)
    if verdict.rationale:
        yield "", None, f"“{verdict.rationale}”"
    together = "fast and verdict pooled, as was fitted" if post.pooled else "the verdict alone: no pooling is fitted"
    yield "answer", post.asked.sentiment, together


def _prediction(verdict: Verdict) -> Prediction:
    shares = verdict.probabilities
    return Prediction(label=verdict.label, probabilities=shares, confidence=shares[verdict.label])


def _label(said: Prediction) -> Text:
    label: Label = said.label
    return Text(f"{label:<8}", style=f"bold {COLOURS[label]}").append(f"{said.confidence:5.0%}", style="default")


def _sides(verdict: Verdict) -> str:
    """What the verdict says of either side and of sarcasm."""
    told = [
        f"{name} {said}" for name, said in (("words", verdict.text_says), ("picture", verdict.picture_says)) if said
    ]
    if verdict.sarcasm is not None:
        told.append(f"sarcasm {verdict.sarcasm:.0%}")
    return ", ".join(told)
