"""Results → one HTML page that opens offline: no script, no font, no picture from elsewhere. It computes no metric.

Words of posts stand in it only where the caller passes them; everything else is ids and numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from ..explain.document import document
from .charts import class_chart, forest_chart, reliability_chart, risk_chart, slug
from .result import Comparison, Figure, Result, SystemScores
from .tables import METRIC_TITLES, figure_text, percent

__all__ = ["render_report"]

PUBLISHED_SHOWN = 4
SIGNIFICANT = 0.05
SHADES = 20
"""Steps from the lightest cell of a confusion matrix to the darkest: no element may have a style of its own."""


def render_report(results: Sequence[Result], words: Mapping[str, str] | None = None) -> str:
    """The page.

    Args:
        results: What to show, in this order.
        words: Texts by post id, for the list of mistakes; without it only ids stand there.
    """
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    titles = [escape(r.title) + (" (text only)" if r.text_only else "") for r in results]
    links = "".join(f'<li><a href="#r{k}">{title}</a></li>' for k, title in enumerate(titles))
    body = "".join(_section(result, words or {}, f"r{k}") for k, result in enumerate(results))
    return document(
        "Evaluation report",
        '<h1>Evaluation report</h1><p class="soft">Figures are percentages with 95 % bootstrap intervals in brackets '
        "unless a table says otherwise. Floors were fitted and scored in the same run, on the same posts.</p>"
        f"<nav><ul>{links}</ul></nav>{body}",
        style=style + "".join(f".share{n}{{--share:{n / SHADES}}}" for n in range(SHADES + 1)),
    )


def _section(result: Result, words: Mapping[str, str], anchor: str) -> str:
    blocks = (
        _head(result),
        _cards(result),
        _charts(result),
        _confusions(result),
        _all_figures(result),
        _subsets(result),
        _synergy(result.synergy),
        _mistakes(result, words),
        _published(result),
        _notes(result),
    )
    return f'<section id="{anchor}"><h2>{escape(result.title)}</h2>{"".join(blocks)}</section>'


def _head(result: Result) -> str:
    badge = '<span class="badge">text only: no pictures were at hand</span> ' if result.text_only else ""
    parts = [result.date, f"{result.n:,} posts", result.modalities]
    if result.n_train is not None:
        parts.append(f"{result.n_train:,} training posts")
    if result.split is not None:
        parts.append(f"split {result.split} {str(result.split_sha256)[:12]}, {result.part}")
    if result.model is not None:
        parts.append(f"model {result.model.model} {result.model.model_hash[:12]}")
    return f'<p class="soft">{badge}{escape(" · ".join(parts))}</p>'


def _cards(result: Result) -> str:
    metric = METRIC_TITLES[result.metric]
    models = [s for s in result.systems if s.kind == "model"]
    cards = [_card(s.name, s.figures.get(result.metric), metric, slug(s.name)) for s in models]
    floors = [s for s in result.systems if s.kind == "floor"]
    if floors:
        best = max(floors, key=lambda s: s.figures[result.metric].value)
        cards.append(_card(f"best floor: {best.name}", best.figures[result.metric], metric, "s-floor"))
    if result.deferral_rate is not None:
        cards.append(_card("deferred", result.deferral_rate, "share of posts", "s-floor"))
    if result.latency is not None:
        rate = result.latency.posts_per_second
        speed = "" if rate is None else f"<br>{rate:.1f} posts/s with reading"
        cards.append(
            f'<div class="card">latency<b>{result.latency.p50_ms:.1f} ms</b><span class="soft">p50; '
            f"p95 {result.latency.p95_ms:.1f} ms{speed}</span></div>"
        )
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(name: str, figure: Figure | None, metric: str, kind: str) -> str:
    if figure is None:
        return ""
    interval = f"[{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
    value = f"<b>{100 * figure.value:.1f}</b>"
    return f'<div class="card {kind}">{escape(name)}{value}<span class="soft">{metric} {interval}</span></div>'


def _charts(result: Result) -> str:
    model = {s.name: s for s in result.systems if s.kind == "model"}
    standing = forest_chart(_standing(result), METRIC_TITLES[result.metric])
    figures = [_chart("Where it stands", standing, "Filled: this run. Hollow: published, in their own settings.")]
    fused = model.get("fused")
    if fused is not None and fused.reliability is not None:
        words = (
            f"On the dashed line, confidence keeps its word; larger is more posts. ECE {percent(fused.figures['ece'])}."
        )
        figures.append(_chart("Reliability", reliability_chart(fused.reliability), words))
    risks = {name: s.risk_coverage for name, s in model.items() if s.risk_coverage is not None}
    if risks:
        figures.append(_chart("Risk and coverage", risk_chart(risks), "Error rate if only the surest posts are kept."))
    if model:
        bars = class_chart({name: s.classes for name, s in model.items()})
        figures.append(_chart("F1 per class", bars, "With 95 % intervals."))
    return f'<div class="charts">{"".join(figures)}</div>'


def _standing(result: Result) -> Iterable[tuple[str, str, Figure]]:
    for scores in result.systems:
        if result.metric in scores.figures:
            kind = slug(scores.name) if scores.kind == "model" else "s-floor"
            yield scores.name, kind, scores.figures[result.metric]
    rows = [row for row in result.published if result.metric in row.figures]
    for row in sorted(rows, key=lambda row: -row.figures[result.metric])[:PUBLISHED_SHOWN]:
        value = row.figures[result.metric] / 100
        yield f"{row.system} (published)", "s-published", Figure(value=value, low=value, high=value)


def _chart(title: str, drawing: str, caption: str) -> str:
    return f"<figure><h3>{title}</h3>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _confusions(result: Result) -> str:
    tables = [_confusion(s, result.labels) for s in result.systems if s.kind == "model"]
    return f'<h3>Confusion matrices</h3><div class="matrices">{"".join(tables)}</div>' if tables else ""


def _confusion(scores: SystemScores, labels: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    rows = []
    for k, counts in enumerate(scores.confusion):
        total = sum(counts) or 1
        cells = "".join(
            f'<td class="share{round(SHADES * count / total)}{" right" if j == k else ""}">{count}</td>'
            for j, count in enumerate(counts)
        )
        rows.append(f'<tr><th scope="row">{escape(labels[k])}</th>{cells}</tr>')
    caption = f"{escape(scores.name)}, n = {scores.n:,}. Rows: gold; columns: answered; shaded by share of the row."
    return (
        f'<div class="scroll"><table class="confusion"><caption>{caption}</caption>'
        f'<thead><tr><th scope="col">gold</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _all_figures(result: Result) -> str:
    names = [name for name in METRIC_TITLES if any(name in s.figures for s in result.systems)]
    head = ["system", "n", *(METRIC_TITLES[name] for name in names)]
    rows = [
        [
            s.name if s.kind == "model" else f"floor: {s.name}",
            f"{s.n:,}",
            *(figure_text(n, s.figures.get(n)) for n in names),
        ]
        for s in result.systems
    ]
    return f"<details><summary>All figures</summary>{_table(head, rows)}</details>"


def _subsets(result: Result) -> str:
    if not result.subsets:
        return ""
    names = [s.name for s in result.systems]
    rows = [
        [part.name, f"{part.n:,}", *(percent(part.figures.get(name, {}).get(result.metric)) for name in names)]
        for part in result.subsets
    ]
    return f"<h3>{METRIC_TITLES[result.metric].capitalize()} on parts</h3>{_table(['posts', 'n', *names], rows)}"


def _synergy(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return ""
    head = ["fused against", "posts", "n", "accuracy, points", "macro F1, points", "only right", "McNemar p", "reading"]
    rows = []
    for c in comparisons:
        differences = [percent(c.accuracy), percent(c.macro_f1), f"{c.first_only} : {c.second_only}"]
        reading = "fused is better" if c.first_only > c.second_only else f"{c.second} is better"
        reading = reading if c.p_value < SIGNIFICANT else "no difference shown"
        rows.append([c.second, c.subset, f"{c.n:,}", *differences, f"{c.p_value:.2g}", reading])
    return f"<h3>Modal synergy</h3>{_table(head, rows)}"


def _mistakes(result: Result, words: Mapping[str, str]) -> str:
    if not result.mistakes:
        return ""
    head = ["post", "gold", "answered", "confidence", *(["text"] if words else [])]
    rows = [
        [m.id, m.gold, m.predicted, f"{m.confidence:.2f}", *([words.get(m.id, "")] if words else [])]
        for m in result.mistakes
    ]
    return f"<h3>Surest mistakes</h3>{_table(head, rows, wide=len(head) - 1 if words else None)}"


def _published(result: Result) -> str:
    if not result.published:
        return ""
    names = list(dict.fromkeys(name for row in result.published for name in row.figures))
    rows = []
    for row in result.published:
        figures = [f"{row.figures[name]:.2f}" if name in row.figures else "–" for name in names]
        star = "" if row.verified else " *"
        rows.append([row.system + star, row.modality, *figures, f"{row.setting}. {row.source}"])
    head = ["system", "reads", *(METRIC_TITLES[name] for name in names), "setting and source"]
    unchecked = any(not row.verified for row in result.published)
    foot = '<p class="soft">* quoted second-hand, not checked against the paper</p>' if unchecked else ""
    return f"<h3>Published figures</h3>{_table(head, rows, wide=len(head) - 1)}{foot}"


def _notes(result: Result) -> str:
    items = [*result.notes, *(f"failed: {error}" for error in result.errors)]
    if result.failed:
        items.insert(0, f"{result.failed:,} rows failed and are not in the figures")
    return f"<h3>Notes</h3><ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>" if items else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], wide: int | None = None) -> str:
    """A table that scrolls sideways on a phone; column `wide` holds words and may wrap."""

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=words' if k == wide else ''}>{escape(str(cell))}</{tag}>" for k, cell in enumerate(row)
        )

    lines = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells(head, "th")}</tr></thead><tbody>{lines}</tbody></table></div>'
