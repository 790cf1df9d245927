"""The record of `reasoner.py` as a table. Measures nothing."""

from __future__ import annotations

from typing import Any

from rich.table import Table

__all__ = ["table"]

MORE_LABELS = (
    "label_of_dev_and_test",
    "label_with_another_picture",
    "label_with_another_words",
    "label_from_words_alone",
    "label_from_picture_alone",
    "text_label_from_words_alone",
    "image_label_from_picture_alone",
)


def table(result: dict[str, Any]) -> Table:
    """The main figures, one row each."""
    shown = Table("figure", "value", title=f"{result['reasoner']} and the fast tier {result['fast']}")
    for group, figures in result["everyday"].items():
        name = f"everyday, {group} ({figures['posts']} posts)"
        for system in ("reasoner", "fast", "pooled", "cascade"):
            shown.add_row(f"{name}: {system}", _interval(figures[system]))
        shown.add_row(f"{name}: what it adds, pooled out of fold", _interval(figures["gain"]))
        gained = _interval(figures["cascade_gain"])
        shown.add_row(f"{name}: what the cascade adds", f"{gained}, {figures['asked']:.1%} asked")
    told = result["written"]
    for row in (
        ("what it writes: valid", f"{told['valid']:.1%}"),
        *_of_rationales(told),
        ("answers that quote the post", f"{told['with_a_quotation']:.1%}"),
    ):
        shown.add_row(*row)
    for name, figures in result.get("sentences", {}).items():
        shown.add_row(f"sentences of {name}", _interval(figures))
    for row in _on_mvsa(result) if "cascade" in result else ():
        shown.add_row(*row)
    return shown


def _on_mvsa(result: dict[str, Any]) -> list[tuple[str, str]]:
    cascaded, fresh = result["cascade"], result["fresh_process"]
    sides = {"text_says": "text_says_of_another_text", "picture_says": "picture_says_of_another_picture"}
    freely = result["valid_written_freely"]
    rows = [
        (f"MVSA-Single, {result['posts']['test']} test posts: label", _interval(result["label"])),
        *((name.replace("_", " "), _interval(result[name])) for name in MORE_LABELS if name in result),
        ("JSON valid, as asked", f"{result['valid_as_asked']:.1%}"),
        ("JSON valid, written freely", "not measured" if freely is None else f"{freely:.1%}"),
    ]
    for name, mixed in sides.items():
        rows.append((name, _interval(result[name])))
        rows.append((mixed, f"{_interval(result[mixed])}; of what was shown {result[mixed]['of_what_was_shown']:.3f}"))
    return [
        *rows,
        *_of_rationales(result),
        ("fresh process", f"{fresh['peak_memory_mb']:.0f} MB, open after {fresh['seconds_to_open']:.1f} s"),
        *((f"accuracy, {system}", _interval(figure)) for system, figure in cascaded["accuracy"].items()),
        *((name, _interval(gain)) for name, gain in cascaded["gains"].items()),
        ("share asked", "no pooling" if cascaded["deferred"] is None else f"{cascaded['deferred']:.1%}"),
        ("asking helps", helps(cascaded["pooling"])),
    ]


def _of_rationales(measured: dict[str, Any]) -> list[tuple[str, str]]:
    """What rationales are like, and how long answers take."""
    told, seconds = measured["rationales"], measured["seconds"]
    return [
        ("rationales that contradict", _interval(told["contradict"])),
        (f"rationales that misquote, of {told['quoting']} that quote", _interval(told["misquote"])),
        ("rationales not read", _interval(told["unread"])),
        ("different rationales", f"{told['different']} of {told['written']}"),
        *((f"seconds, {name}", f"median {s['median']:.3f}, p95 {s['p95']:.3f}") for name, s in seconds.items()),
    ]


def helps(pooling: dict[str, Any] | None) -> str:
    """What the fit of the expected gain says, in words."""
    if pooling is None:
        return "no pooling"
    lines = {kind: weights["gain_from"] for kind, weights in pooling["kinds"].items()}
    return "; ".join(f"{k}: nowhere" if p is None else f"{k}: from P(error) {p:.3f} on" for k, p in lines.items())


def _interval(figure: dict[str, float]) -> str:
    if "value" not in figure:
        return "none"
    majority = f"; majority {figure['majority']:.3f}" if "majority" in figure else ""
    return "{value:.3f} [{low:.3f}, {high:.3f}]".format(**figure) + majority
