"""An encoder, a reasoner and a corpus that `hybrid_mmsa` loads by name: `letters`, `rules` and `reviews`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hybrid_mmsa import Features, LoraRef, Sample, Verdict
from hybrid_mmsa.data import Corpus, LoadReport, Record
from hybrid_mmsa.types import LABELS

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class LettersEncoder:
    """How often each letter occurs, and how dark the picture is."""

    def __init__(self, name: str, cut: int | None) -> None:
        self.name, self.cut = name, cut
        self.hash = hashlib.sha256(f"letters {cut}".encode()).hexdigest()

    def encode(self, samples: Sequence[Sample]) -> Features:
        texts = [(sample.text or "").lower() for sample in samples]
        pictures = [sample.image for sample in samples]
        return Features(
            text_features=np.array([[t[: self.cut].count(c) for c in LETTERS] for t in texts], np.float32),
            image_features=np.array([[0 if p is None else np.asarray(p).mean() / 255] for p in pictures], np.float32),
            has_text=np.array([bool(text) for text in texts]),
            has_image=np.array([picture is not None for picture in pictures]),
            has_target=np.zeros(len(samples), bool),
            n_tokens=np.array([len(text) for text in texts]),
            truncated=np.array([self.cut is not None and len(text) > self.cut for text in texts]),
            unknown_share=np.zeros(len(samples), np.float32),
        )


def open_letters(name: str, root: Path, *, threads: int) -> LettersEncoder:
    """Open `letters`, or `letters:N`, which reads the first N letters of a text."""
    cut = name.partition(":")[2]
    return LettersEncoder(name, int(cut) if cut else None)


class RulesReasoner:
    """Names the label that a text holds the name of."""

    def __init__(self, otherwise: str) -> None:
        self.id, self.otherwise = "rules", otherwise

    def reason(
        self, samples: Sequence[Sample], lora: LoraRef | None = None, *, rationale: bool = False
    ) -> list[Verdict]:
        return [self._verdict(sample.text or "", rationale) for sample in samples]

    def _verdict(self, text: str, rationale: bool) -> Verdict:
        label = next((label for label in LABELS if label in text), self.otherwise)
        return Verdict(
            label=label,
            probabilities={other: 0.8 if other == label else 0.1 for other in LABELS},
            rationale=f"The rules say {label}." if rationale else None,
            reasoner=self.id,
        )


def open_rules(name: str) -> RulesReasoner:
    """Open `rules`, or `rules:LABEL`, which answers that label where no rule holds."""
    return RulesReasoner(name.partition(":")[2] or "neutral")


def load_reviews(root: Path, report: LoadReport) -> Iterator[Record]:
    """Lines `LABEL<tab>TEXT` of `reviews.tsv`; every fourth is for testing."""
    for number, line in enumerate((root / "reviews.tsv").read_text(encoding="utf-8").splitlines(), 1):
        label, tab, text = line.partition("\t")
        if not tab or label not in LABELS:
            report.add("broken line", str(number))
            continue
        yield Record(Sample(id=str(number), text=text, label=label), split="train" if number % 4 else "test")


REVIEWS = Corpus("Reviews", "https://example.org/reviews", load_reviews)
