"""Answers as people read them in a terminal: a panel for one, a table for several, steps for deferred ones.

Knows nothing of commands.

Nothing here hangs on colour alone: the likeliest label is marked with a sign as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ...explain import place, quote
from ...types import Analysis, Explanation, Label, Prediction, Reason, Sample, Verdict, VerdictUse

__all__ = ["AnswerPanel", "DeferredPosts", "PostTable", "bar"]

COLOURS: Mapping[Label, str] = MappingProxyType({"negative": "red", "neutral": "cyan", "positive": "green"})
REASONS: Mapping[Reason, str] = MappingProxyType(
    {
        "low_confidence": "unsure",
        "sarcasm": "perhaps sarcastic",
        "conflict": "words and picture disagree",
        "novel": "unlike what it learned from",
        "language": "not English",
        "requested": "asked for",
    }
)
EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
PANEL_WIDTH, PANEL_BAR, EFFECT_BAR = 90, 30, 20
EVIDENCE_BESIDE = 48
"""A panel of this width has no room for bars beside the evidence."""
WORDS_SHOWN = 6
LEAST_SHOWN = 0.005
"""Effects below half a point of probability are not listed."""
NARROWEST = 80
"""A table needs so many columns."""
STEP_BAR, NARROWEST_STEPS = 20, 72
"""Width of a bar beside a step; terminals narrower than this have none."""
LONGEST_NAME = 12
VERDICT_USES: Mapping[VerdictUse, str] = MappingProxyType(
    {
        "pooled": "fast answer and verdict pooled, as was fitted",
        "alone": "the verdict alone: it was asked for",
        "ignored": "the fast answer: no pooling is fitted to such posts and this reasoner; --mode deep lets it decide",
    }
)


@dataclass(frozen=True, slots=True)
class AnswerPanel:
    """One answer with its facts, evidence, rationale and warnings."""

    answer: Analysis

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        answer = self.answer
        facts = Table.grid(padding=(0, 2))
        for name, value in _facts(answer):
            facts.add_row(Text(name, style="dim"), value)
        parts: list[Text | Table] = [_bars(answer.sentiment, PANEL_BAR, options), Text(), facts]
        if answer.explanation is not None:
            parts += [Text(), Text(answer.explanation.text), *_evidence(answer.explanation, options)]
        if answer.verdict is not None and answer.rationale is not None:
            parts += [Text(), Text(f"Written by {answer.verdict.reasoner}, a model: {answer.rationale}")]
        if answer.warnings:
            parts += [Text(), Text("\n".join(f"Note: {warning}" for warning in answer.warnings), style="yellow")]
        label = answer.sentiment.label
        yield Panel(
            Group(*parts),
            title=Text(f" {label} ", style=f"bold {COLOURS[label]}"),
            subtitle=Text(f" {answer.provenance.model}, {sum(answer.timings.values()):.0f} ms ", style="dim"),
            box=box.ROUNDED,
            padding=(1, 2),
            width=min(PANEL_WIDTH, options.max_width),
        )


@dataclass(frozen=True, slots=True)
class PostTable:
    """Posts and their answers, one row each.

    Attributes:
        posts: Each post as it was read from its file, and its answer.
        pictures: What the pictures show, by file name.
    """

    posts: Sequence[tuple[Sample, Analysis]]
    pictures: Mapping[str, str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        spare = options.max_width - NARROWEST
        if spare < 0:
            yield from self._stacked(options)
            return
        bar_width, picture = 5 + min(spare // 6, 15), 12 + min(spare // 4, 10)
        lines = box.ASCII_DOUBLE_HEAD if options.ascii_only else box.HORIZONTALS
        table = Table(box=lines, show_lines=True, pad_edge=False, expand=True, border_style="dim", padding=(0, 1, 0, 0))
        # The default overflow may cut the last word of a line that holds emoji.
        table.add_column("post", ratio=1, overflow="fold")
        table.add_column("picture", width=picture, overflow="fold")
        table.add_column("sentiment", width=16 + bar_width)
        table.add_column("sarcasm", width=7, justify="right")
        table.add_column("fast answer", width=11 + min(spare // 4, 16), overflow="fold")
        for sample, answer in self.posts:
            table.add_row(
                Text(sample.text) if sample.text else Text("no words", style="dim"),
                self._picture(sample, picture),
                _bars(answer.fast, bar_width, options),
                _percent(answer.sarcasm),
                _route(answer),
            )
        yield table

    def _stacked(self, options: ConsoleOptions) -> Iterator[Text]:
        """One below the other, for a terminal too narrow for columns."""
        for sample, answer in self.posts:
            yield Text(sample.text) if sample.text else Text("no words", style="dim")
            yield Text(" ").join(self._picture(sample, options.max_width).split("\n"))
            yield _bars(answer.fast, max(options.max_width - 20, 5), options)
            yield Text("sarcasm ").append(_percent(answer.sarcasm)).append("; ").append(_route(answer, "; "))
            yield Text()

    def _picture(self, sample: Sample, width: int) -> Text:
        if not isinstance(sample.image, str | Path):
            return Text("no picture", style="dim")
        path = Path(sample.image)
        name = path.name if len(path.name) <= width else path.stem
        return Text(self.pictures.get(path.name, "")).append(f"\n{name}", style="dim")


@dataclass(frozen=True, slots=True)
class DeferredPosts:
    """Deferred posts one below the other, each with its steps; the fields are those of `PostTable`."""

    posts: Sequence[tuple[Sample, Analysis]]
    pictures: Mapping[str, str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for sample, answer in self.posts:
            yield Text(sample.text or "no words", style="bold")
            if name := self._picture(sample):
                yield Text(name, style="dim")
            yield Padding(_steps(answer, options), (0, 0, 1, 2))

    def _picture(self, sample: Sample) -> str:
        file = "" if sample.image is None else str(sample.image).rpartition("/")[2]
        return f"{self.pictures[file]}, {file}" if file in self.pictures else file


def bar(share: float, width: int, *, ascii_only: bool = False) -> str:
    """A bar of `width` characters, of which `share` (0 to 1) is filled."""
    if ascii_only:
        return ("#" * round(share * width)).ljust(width)
    eighths = round(share * width * 8)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).ljust(width)


def _bars(sentiment: Prediction, width: int, options: ConsoleOptions) -> Text:
    """A line per label: its name, a bar, per cent; the answer in bold and with a sign."""
    sign = ">" if options.ascii_only else "▸"
    lines = []
    for label, share in sentiment.probabilities.items():
        best = label == sentiment.label
        line = Text(f"{sign if best else ' '} {label:<9}", style="bold" if best else "")
        line.append(bar(share, width, ascii_only=options.ascii_only), style=COLOURS[label])
        lines.append(line.append(f"{share:5.0%}"))
    return Text("\n").join(lines)


def _facts(answer: Analysis) -> Iterator[tuple[str, Text]]:
    for name, side in (("words", answer.text_sentiment), ("picture", answer.image_sentiment)):
        if side is not None:
            yield name, _share(side.label, side.confidence)
    if answer.route.verdict in ("pooled", "alone"):
        yield "fast", _share(answer.fast.label, answer.fast.confidence)
    if answer.conflict is not None:
        yield "conflict", Text(f"{answer.conflict:.2f} between words and picture, from 0 to 1")
    if answer.sarcasm is not None:
        yield "sarcasm", _percent(answer.sarcasm)
    if answer.emotion is not None:
        yield "emotion", Text(f"{answer.emotion.label} {answer.emotion.confidence:.0%}")
    yield "route", _route(answer, "; ")
    if (verdict := answer.verdict) is not None:
        yield "reasoner", _share(verdict.label, verdict.probabilities[verdict.label]).append(f", {verdict.reasoner}")


def _share(label: Label, probability: float) -> Text:
    return Text(f"{label} ", style=COLOURS[label]).append(f"{probability:.0%}", style="default")


def _evidence(explanation: Explanation, options: ConsoleOptions) -> Iterator[Text | Table]:
    """The strongest words and regions with their effects, and what would change the answer, where it was looked for."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    effects = list(_effects(explanation))
    width = min(max((options.max_width - EVIDENCE_BESIDE) // 2, 0), EFFECT_BAR)
    top = max((abs(effect) for _, _, effect in effects), default=1.0)
    for kind, what, effect in effects:
        drawn = bar(abs(effect) / top, width, ascii_only=options.ascii_only)
        table.add_row(kind, Text(what), f"{effect:+.2f}", Text(drawn, style="blue" if effect > 0 else "yellow"))
    for change in explanation.changes or ():
        what = quote(change.what) if change.side == "text" else change.what
        table.add_row("without", Text(what), Text(change.label, style=COLOURS[change.label]))
    if table.rows:
        yield from (Text(), Text(f"What hiding a part takes from P({explanation.label}):", style="dim"), table)


def _effects(explanation: Explanation) -> Iterator[tuple[str, str, float]]:
    """Of what kind, what, and its effect; the strongest words come first."""
    words = sorted(explanation.words or (), key=lambda word: -abs(word.effect))[:WORDS_SHOWN]
    parts = [("text", quote(word.word), word.effect) for word in words]
    parts += [("picture", place(region), region.effect) for region in explanation.regions or ()]
    parts += [("P(sarcastic)", quote(word.word), word.effect) for word in explanation.sarcasm_words or ()]
    yield from (part for part in parts if abs(part[2]) >= LEAST_SHOWN)


def _route(answer: Analysis, separator: str = "\n") -> Text:
    route = answer.route
    if route.decision == "keep":
        return Text("kept")
    return Text("deferred", style="yellow").append(
        separator + separator.join(REASONS[r] for r in route.reasons), style="default"
    )


def _percent(share: float | None) -> Text:
    return Text("-", style="dim") if share is None else Text(f"{share:.0%}")


def _steps(answer: Analysis, options: ConsoleOptions) -> Table:
    """A line per step: who speaks, the label with a bar, and a remark."""
    wide = options.max_width >= NARROWEST_STEPS
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", max_width=LONGEST_NAME, overflow="fold")
    table.add_column(no_wrap=True)
    if wide:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, prediction, remark in _step_rows(answer):
        cells = [Text()] * (1 + wide)
        if prediction is not None:
            label, style = prediction.label, COLOURS[prediction.label]
            cells[0] = Text(f"{label:<8}", style=f"bold {style}").append(
                f"{prediction.confidence:5.0%}", style="default"
            )
        if prediction is not None and wide:
            cells[1] = Text(bar(prediction.confidence, STEP_BAR, ascii_only=options.ascii_only), style=style)
        table.add_row(name, *cells, Text(remark))
    return table


def _step_rows(answer: Analysis) -> Iterator[tuple[str, Prediction | None, str]]:
    """Name, answer and remark of every step."""
    reasons = ", ".join(REASONS[reason] for reason in answer.route.reasons)
    yield "fast", answer.fast, f"deferred: {reasons}"
    verdict = answer.verdict
    if verdict is None or answer.route.verdict is None:
        yield "reasoner", None, "; ".join(answer.warnings) or "did not answer"
        return
    yield verdict.reasoner, verdict.prediction, _sides(verdict)
    if verdict.rationale:
        yield "", None, f"“{verdict.rationale}”"
    yield "answer", answer.sentiment, VERDICT_USES[answer.route.verdict]


def _sides(verdict: Verdict) -> str:
    """What the verdict says of either side and of sarcasm."""
    sides = (("words", verdict.text_says), ("picture", verdict.picture_says))
    parts = [f"{name} {label}" for name, label in sides if label]
    if verdict.sarcasm is not None:
        parts.append(f"sarcasm {verdict.sarcasm:.0%}")
    return ", ".join(parts)
