"""How an answer looks in a notebook: a few lines of HTML. Knows nothing of what is shown; every text is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from .words import Label

__all__ = ["answer_html"]

_BAR = "display:inline-block;height:.7em;background:currentColor;opacity:.55;border-radius:2px"


def answer_html(headline: str, judgements: Mapping[str, Mapping[Label, float]], notes: Sequence[str]) -> str:
    """A headline, a table of bars, and sentences below.

    Args:
        headline: The answer in a few words.
        judgements: Who says what: probabilities by label, all of the same labels.
        notes: Sentences.
    """
    labels = list(next(iter(judgements.values()), {}))
    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    rows = "".join(
        f"<tr><th>{escape(who)}</th>{''.join(_cell(shares[label]) for label in labels)}</tr>"
        for who, shares in judgements.items()
    )
    sentences = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f"<div><strong>{escape(headline)}</strong><table><tr><th></th>{head}</tr>{rows}</table>{sentences}</div>"


def _cell(share: float) -> str:
    return f'<td style="text-align:left"><span style="{_BAR};width:{6 * share:.1f}em"></span> {share:.0%}</td>'
