"""Dated result files → `RESULTS.md`. It knows only result files; no figure in the page is typed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import mean, stdev

from .result import Result
from .tables import METRIC_TITLES, label_metrics, percent

__all__ = ["render_results"]

HEAD = """# Results

Generated from the files in `eval/results/` by `hybrid-mmsa eval results eval/results -o eval/RESULTS.md`; a test checks
that they agree. Figures are percentages with 95 % bootstrap intervals. Floors are fitted and scored in the same run, on
the same posts. "Text only" marks figures made without pictures. Published figures stand with their setting and source;
those with * are quoted second-hand.
"""


def render_results(results: Iterable[Result]) -> str:
    """The page, in Markdown: one section a protocol, the newest result last."""
    sections = [_section(list(group)) for _, group in groupby(results, key=lambda result: result.protocol)]
    return "\n".join([HEAD, *sections]).rstrip() + "\n"


def _section(results: Sequence[Result]) -> str:
    lines = [f"## {results[-1].title}", ""]
    for result in results:
        lines += [*_table(result), ""]
    lines += _over_seeds([result for result in results if result.seed is not None])
    lines += _published(results[-1])
    lines += [f"- {note}" for note in results[-1].notes]
    return "\n".join(lines) + "\n"


def _over_seeds(results: Sequence[Result]) -> list[str]:
    """Mean and standard deviation of the fused figures over models that differ in their training seed alone."""
    scores = [scores for result in results if (scores := result.system("fused")) is not None]
    if len(scores) < 2:
        return []
    figures = []
    for name in label_metrics(results[0])[:3]:
        values = [100 * each.figures[name].value for each in scores]
        figures.append(f"{METRIC_TITLES[name]} {mean(values):.1f} ± {stdev(values):.1f}")
    return [f"Over {len(scores)} training seeds (mean ± standard deviation): {', '.join(figures)}.", ""]


def _table(result: Result) -> list[str]:
    names = label_metrics(result)[:3]
    train = "" if result.n_train is None else f", n_train = {result.n_train:,}"
    model = "" if result.model is None else f", model `{result.model.model}` `{result.model.model_hash[:12]}`"
    lines = [
        f"{result.date}: {result.modalities}, n = {result.n:,}{train}{model}",
        "",
        _row(["system", "n", *(METRIC_TITLES[name] for name in names), "ECE"]),
        _row(["---", *["---:"] * (len(names) + 2)]),
    ]
    for scores in result.systems:
        system = scores.name if scores.kind == "model" else f"*floor:* {scores.name}"
        cells = [percent(scores.figures.get(metric)) for metric in names]
        lines.append(_row([system, f"{scores.n:,}", *cells, percent(scores.figures.get("ece"))]))
    for part in result.subsets:
        for system, figures in part.figures.items():
            if system == "fused":
                cells = [percent(figures.get(name)) for name in names]
                lines.append(_row([f"fused, {part.name}", f"{part.n:,}", *cells, "–"]))
    for c in result.synergy:
        if c.subset == "all posts":
            test = f"McNemar p = {c.p_value:.2g} ({c.first_only} : {c.second_only})"
            lines += ["", f"Synergy: {c.first} over {c.second} {percent(c.accuracy)} points of accuracy, {test}."]
    if result.deferral_rate is not None:
        lines += ["", f"Deferral rate {percent(result.deferral_rate)}."]
    return lines


def _published(result: Result) -> list[str]:
    if not result.published:
        return []
    names = list(dict.fromkeys(name for row in result.published for name in row.figures))
    lines = [
        _row(["published", "reads", *(METRIC_TITLES[name] for name in names), "setting", "source"]),
        _row(["---", "---", *["---:"] * len(names), "---", "---"]),
    ]
    for row in result.published:
        cells = [f"{row.figures[name]:.2f}" if name in row.figures else "–" for name in names]
        lines.append(_row([row.system + ("" if row.verified else " *"), row.modality, *cells, row.setting, row.source]))
    return [*lines, ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
