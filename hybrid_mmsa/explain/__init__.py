"""Evidence for an answer: modality shares, words, regions, and the sentences composed from them. Changes no answer."""

from __future__ import annotations

from .compose import compose, quote
from .evidence import Evidence, find_all, find_evidence
from .probe import Opinions, Probe
from .regions import place
from .shares import modality_shares
from .words import word_spans

__all__ = [
    "Evidence",
    "Opinions",
    "Probe",
    "compose",
    "find_all",
    "find_evidence",
    "modality_shares",
    "place",
    "quote",
    "word_spans",
]
