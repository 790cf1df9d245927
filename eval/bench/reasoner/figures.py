"""What verdicts are worth: sides against gold labels, rationales against their own fields.

Knows no model and no corpus.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from hybrid_mmsa.metrics import accuracy, bootstrap_labels, confusion, wilson
from hybrid_mmsa.reasoning.prompt.rationales import Claims, claims
from hybrid_mmsa.types import LABELS, Label, Sample, Verdict

QUOTE = re.compile(r"“([^“”]+)”")
Side = Literal["text", "image"]


def label_accuracy(gold: Sequence[Label | None], verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Share of right labels with its interval, and the majority's share."""
    counts = confusion(_indices(gold), _indices([v.label for v in verdicts]), len(LABELS))
    return asdict(bootstrap_labels(accuracy, counts)) | {"majority": float(counts.sum(1).max() / counts.sum())}


def side_accuracy(
    samples: Sequence[Sample], verdicts: Sequence[Verdict], side: Side, shown: Sequence[int] | None = None
) -> dict[str, float]:
    """How often a verdict says of a side what people say of it; to say nothing of it is wrong.

    Args:
        samples: Labelled posts.
        verdicts: One a post.
        side: Which side.
        shown: Whose text or picture each post was judged with, where they were shuffled: then a model that looks is
            as good as before on what was shown, and no better than chance on the post's own.
    """
    golds = [s.text_label if side == "text" else s.image_label for s in samples]
    said = [v.text_says if side == "text" else v.picture_says for v in verdicts]
    known = [n for n, gold in enumerate(golds) if gold]
    found = {"posts": len(known)} | share_of([golds[n] == said[n] for n in known])
    found["majority"] = max(Counter(golds[n] for n in known).values()) / len(known)
    if shown is not None:
        found["of_what_was_shown"] = float(np.mean([golds[shown[n]] == said[n] for n in known]))
    return found


def shuffled(samples: Sequence[Sample], seed: int = 0) -> list[int]:
    """For each post, another one whose text or picture it is judged with."""
    order = np.random.default_rng(seed).permutation(len(samples))
    other = np.empty(len(samples), dtype=np.int64)
    other[order] = np.roll(order, 1)
    return [int(n) for n in other]


def rationales(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Shares of rationales that cannot be read, that contradict their own verdict, or that quote what is not there.

    Contradictions and quotations are shares of the rationales that `claims` reads, and of those that quote.
    """
    written = [(s, v, v.rationale) for s, v in zip(samples, verdicts, strict=True) if v.rationale]
    read = [(v, found) for _, v, words in written if (found := claims(words)) is not None]
    quoting = [(s.text or "", quotes) for s, _, words in written if (quotes := QUOTE.findall(words))]
    return {
        "posts": len(verdicts),
        "written": len(written),
        "different": len({words for _, _, words in written}),
        "unread": share_of([claims(words) is None for _, _, words in written]),
        "contradict": share_of([contradicts(found, verdict) for verdict, found in read]),
        "quoting": len(quoting),
        "misquote": share_of([any(_folded(q) not in _folded(text) for q in quotes) for text, quotes in quoting]),
    }


def contradicts(found: Claims, verdict: Verdict) -> bool:
    """Whether a rationale says something else than the fields of its own verdict, or two things at once."""
    pairs: tuple[tuple[Label | bool | None, Label | bool | None], ...] = (
        (found.label, verdict.label),
        (found.text, verdict.text_says),
        (found.picture, verdict.picture_says),
        (found.sarcastic, None if verdict.sarcasm is None else verdict.sarcasm >= 0.5),
    )
    return found.opposed or any(told is not None and told != field for told, field in pairs)


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {"median": float(np.median(seconds)), "p95": float(np.quantile(seconds, 0.95))}


def share_of(found: Sequence[bool]) -> dict[str, float]:
    """The share that is so, with Wilson's interval; nothing of nothing."""
    return asdict(wilson(sum(found), len(found))) if found else {}


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _indices(labels: Sequence[Label | None]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([LABELS.index(label) for label in labels if label], dtype=np.int64)
