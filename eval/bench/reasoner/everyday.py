"""A reasoner on the everyday posts: alone, beside the fast tier, pooled with it out of fold, in the cascade, written.

It trains nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.bench.reasoner.asking import asked
from eval.bench.reasoner.figures import rationales, spread
from hybrid_mmsa import Analysis, Analyzer, ArtefactError, ReasonerError, metrics
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.pooling import fit_pooling, pool
from hybrid_mmsa.reasoning import Reasoner, RecordedReasoner
from hybrid_mmsa.types import LABELS, IntArray, Sample, Verdict, posteriors

__all__ = ["EXPLAINED", "POSTS", "everyday", "groups", "samples_of", "written"]

POSTS = Path(__file__).resolve().parents[2] / "everyday" / "everyday.jsonl"
EXPLAINED = 100
Floats = NDArray[np.float64]
FOLDS = 5


def everyday(reasoner: Reasoner, fast: str, most: int | None = None) -> dict[str, Any]:
    """Accuracies by group of posts, and what the reasoner adds.

    The gain is that of the pooled posteriors over the fast tier's own, calibrated to the same folds: so what is learnt
    of these posts' labels alone counts for nothing. The cascade is the product as it is: the model's own router decides
    which posts are asked about, and its own pooling how verdicts count, neither of which was fitted to these posts.

    Args:
        reasoner: Judges the words alone, with the post's target where it has one.
        fast: The model that gives the fast tier.
        most: So many posts, evenly taken; all if `None`.
    """
    rows = _rows(most)
    samples = samples_of(rows)
    gold = np.array([LABELS.index(row["label"]) for row in rows], dtype=np.int64)
    said = asked(reasoner, samples, rationale=False)
    answers = _cascade(fast, reasoner.id, samples, said)
    verdicts, known = posteriors(said), posteriors([answer.fast for answer in answers])
    cascade = posteriors([answer.sentiment for answer in answers])
    deferred = np.array([answer.verdict is not None for answer in answers])
    fold = np.random.default_rng(0).permutation(len(rows)) % FOLDS
    pooled, calibrated = (_out_of_fold(known, verdicts, gold, fold, ignore_verdicts=i) for i in (False, True))
    found: dict[str, Any] = {}
    for name, inside in groups(rows).items():
        systems = {"reasoner": verdicts, "fast": known, "pooled": pooled, "cascade": cascade}
        found[name] = {"posts": len(inside)} | {
            system: _accuracy(gold[inside], values[inside].argmax(1)) for system, values in systems.items()
        }
        found[name]["gain"] = _gain(gold[inside], pooled[inside], calibrated[inside])
        found[name]["cascade_gain"] = _gain(gold[inside], cascade[inside], known[inside])
        found[name]["asked"] = float(deferred[inside].mean())
    return found


def written(reasoner: Reasoner, most: int | None = None) -> dict[str, Any]:
    """What it writes of `EXPLAINED` posts, evenly taken and asked one by one, and how many seconds that takes.

    Args:
        reasoner: Judges the words alone.
        most: So many posts; `EXPLAINED` if `None`.
    """
    samples = samples_of(_rows(min(most or EXPLAINED, EXPLAINED)))
    seconds: dict[str, list[float]] = {"label": [], "rationale": []}
    answered, said = [], []
    reasoner.reason(samples[:1], rationale=True)  # the first answer takes longer than the others
    for sample in samples:
        start = time.perf_counter()
        reasoner.reason([sample])
        labelled = time.perf_counter()
        with suppress(ReasonerError):  # what is missing is counted
            said += reasoner.reason([sample], rationale=True)
            answered.append(sample)
        seconds["label"].append(labelled - start)
        seconds["rationale"].append(time.perf_counter() - labelled)
    cues = [cue for verdict in said for cue in verdict.cues]
    return {
        "valid": len(said) / len(samples),
        "rationales": rationales(answered, said),
        "with_a_quotation": sum(bool(verdict.cues) for verdict in said) / max(len(said), 1),
        "quotations": len(cues),
        "seconds": {name: spread(values) for name, values in seconds.items()},
    }


def _rows(most: int | None) -> list[dict[str, Any]]:
    rows = [row for row in map(json.loads, POSTS.read_text(encoding="utf-8").splitlines()) if row["kind"] != "crossed"]
    return rows if most is None else rows[:: max(1, len(rows) // most)][:most]


def samples_of(rows: Sequence[dict[str, Any]]) -> list[Sample]:
    """The words of posts, with their targets, read."""
    return [read_sample(Sample(text=row["text"], target=row.get("target"))) for row in rows]


def groups(rows: Sequence[dict[str, Any]]) -> dict[str, IntArray]:
    """Row numbers of posts with a target, ironic ones, all others, and all."""
    names = ["two targets" if row.get("target") else "irony" if row.get("sarcastic") else "plain" for row in rows]
    parts = {name: np.flatnonzero(np.array(names) == name) for name in ("plain", "irony", "two targets")}
    return {**{name: rows_ for name, rows_ in parts.items() if len(rows_)}, "all": np.arange(len(rows))}


def _cascade(fast: str, reasoner: str, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> list[Analysis]:
    named = [replace(sample, id=str(row)) for row, sample in enumerate(samples)]
    recorded = RecordedReasoner({str(row): verdict for row, verdict in enumerate(verdicts)}, reasoner)
    answers = Analyzer.from_pretrained(fast, reasoner=recorded).analyze_batch(named, explain="none")
    found = [answer for answer in answers if isinstance(answer, Analysis)]
    if len(found) < len(samples):
        raise ArtefactError("the fast tier could not read every everyday post")
    return found


def _out_of_fold(fast: Floats, verdicts: Floats, gold: IntArray, fold: IntArray, *, ignore_verdicts: bool) -> Floats:
    values = np.empty_like(fast)
    for number in range(FOLDS):
        inside, outside = fold == number, fold != number
        weights = fit_pooling(fast[outside], verdicts[outside], gold[outside], ignore_verdicts=ignore_verdicts)
        values[inside] = pool(fast[inside], verdicts[inside], weights)
    return values


def _gain(gold: IntArray, one: Floats, other: Floats) -> dict[str, float]:
    labels = (one.argmax(1), other.argmax(1))
    return asdict(metrics.paired_difference(metrics.accuracy, gold, *labels, len(LABELS)))


def _accuracy(gold: IntArray, labels: IntArray) -> dict[str, float]:
    return asdict(metrics.bootstrap_labels(metrics.accuracy, metrics.confusion(gold, labels, len(LABELS))))
