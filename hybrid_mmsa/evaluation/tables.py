"""A result as plain text for a terminal. It computes nothing and knows no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .result import Figure, Result

__all__ = ["METRIC_TITLES", "percent", "summary", "text_table"]

METRIC_TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "sarcastic_f1": "F1 of sarcastic",
    "ece": "ECE",
    "brier": "Brier",
    "nll": "NLL",
    "aurc": "AURC",
    "coverage_at_10_risk": "coverage at 10 % risk",
}
_SURENESS = ("ece", "brier", "nll", "aurc", "coverage_at_10_risk")
_PLAIN = ("brier", "nll")


def percent(figure: Figure | None, interval: bool = True) -> str:
    """A share in percent with its interval, as tables print it: `73.3 [69.1, 77.3]`."""
    if figure is None:
        return "–"
    value = f"{100 * figure.value:.1f}"
    return f"{value} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]" if interval else value


def figure_text(metric: str, figure: Figure | None) -> str:
    """A figure in its own unit: percent, but for Brier and NLL."""
    if figure is None or metric not in _PLAIN:
        return percent(figure)
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def text_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table whose first column is set left and whose others are set right."""
    cells = [list(heading), *(list(row) for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(heading))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    return [lines[0], "  ".join("─" * width for width in widths), *lines[1:]]


def summary(result: Result) -> str:
    """The whole result in plain text: every system, floors, published figures, synergy, and what was lost."""
    blocks = [
        _head(result),
        _systems(result),
        _classes(result),
        _sureness(result),
        _subsets(result),
        _synergy(result),
        _published(result),
        _foot(result),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def label_metrics(result: Result) -> list[str]:
    """The label metrics of a result, its main one first."""
    names = [name for name in METRIC_TITLES if name in result.systems[0].figures and name not in _SURENESS]
    return sorted(names, key=lambda name: name != result.metric)


def _head(result: Result) -> list[str]:
    sizes = f"n = {result.n:,}" + ("" if result.n_train is None else f", n_train = {result.n_train:,}")
    lines = [f"{result.title} · {result.modalities} · {sizes} · {result.date}"]
    if result.model is not None:
        lines.append(f"model {result.model.model} ({result.model.model_hash[:12]}), hybrid-mmsa {result.model.package}")
    return lines


def _systems(result: Result) -> list[str]:
    names = label_metrics(result)[:4]
    rows = []
    for scores in result.systems:
        system = scores.name if scores.kind == "model" else f"floor: {scores.name}"
        rows.append([system, f"{scores.n:,}", *(percent(scores.figures.get(name)) for name in names)])
    return text_table(["system", "n", *(METRIC_TITLES[name] for name in names)], rows)


def _classes(result: Result) -> list[str]:
    fused = result.system("fused")
    if fused is None:
        return []
    rows = [[c.label, f"{c.support:,}", percent(c.precision), percent(c.recall), percent(c.f1)] for c in fused.classes]
    return text_table(["fused, per class", "n", "precision", "recall", "F1"], rows)


def _sureness(result: Result) -> list[str]:
    sure = [s for s in result.systems if s.kind == "model" and "ece" in s.figures]
    if not sure:
        return []
    rows = [[s.name, *(figure_text(name, s.figures.get(name)) for name in _SURENESS)] for s in sure]
    return text_table(["how sure", *(METRIC_TITLES[name] for name in _SURENESS)], rows)


def _subsets(result: Result) -> list[str]:
    if not result.subsets:
        return []
    names = [s.name for s in result.systems]
    rows = [
        [part.name, f"{part.n:,}", *(percent(part.figures.get(name, {}).get(result.metric), False) for name in names)]
        for part in result.subsets
    ]
    return text_table([f"{METRIC_TITLES[result.metric]} on", "n", *names], rows)


def _synergy(result: Result) -> list[str]:
    if not result.synergy:
        return []
    rows = []
    for c in result.synergy:
        differences = [percent(c.accuracy), percent(c.macro_f1), f"{c.first_only} : {c.second_only}"]
        rows.append([f"{c.first} - {c.second}, {c.subset}", f"{c.n:,}", *differences, f"{c.p_value:.2g}"])
    return text_table(["modal synergy", "n", "accuracy, points", "macro F1, points", "only right", "McNemar p"], rows)


def _published(result: Result) -> list[str]:
    if not result.published:
        return []
    names = list(dict.fromkeys(name for row in result.published for name in row.figures))
    rows = []
    for row in result.published:
        figures = [f"{row.figures[name]:.1f}" if name in row.figures else "–" for name in names]
        rows.append([row.system + ("" if row.verified else " *"), row.modality, *figures, row.setting])
    lines = text_table(["published", "reads", *(METRIC_TITLES[name] for name in names), "setting"], rows)
    unchecked = any(not row.verified for row in result.published)
    return [*lines, "* quoted second-hand, not checked against the paper"] if unchecked else lines


def _foot(result: Result) -> list[str]:
    lines = []
    if result.deferral_rate is not None:
        lines.append(f"deferral rate {percent(result.deferral_rate)} %")
    if (time := result.latency) is not None:
        rate = "" if time.posts_per_second is None else f", {time.posts_per_second:.1f} posts/s with reading"
        lines.append(f"latency p50 {time.p50_ms:.1f} ms, p95 {time.p95_ms:.1f} ms per post{rate}")
    lines += [f"note: {note}" for note in result.notes]
    if result.failed:
        lines.append(f"{result.failed:,} rows failed; the first of them:")
        lines += [f"  {error}" for error in result.errors]
    return lines
