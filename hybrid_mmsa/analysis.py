"""One post's rows of numbers → the typed `Analysis`. Knows nothing of encoders, files or doors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .explain import Evidence, compose, modality_shares
from .pooling import Pooling
from .routing import FAST, Router, conflict
from .types import (
    LABELS,
    Analysis,
    ExplainLevel,
    Explanation,
    Features,
    FloatArray,
    Label,
    Modality,
    Prediction,
    Provenance,
    RouteDecision,
    Sample,
    Task,
    TaskArrays,
    Verdict,
    emotion_prediction,
    prediction,
)

__all__ = ["Answer", "compose_analysis"]

NOT_POOLED = (
    "a verdict is attached and does not count: no pooling of fast answers and verdicts is fitted; "
    "fit one with `hybrid-mmsa route fit POSTS --verdicts FILE`"
)
OTHER_POOLED = (
    "a verdict is attached and does not count: the pooling was fitted to another reasoner, adapter or prompt; "
    "fit it again with `hybrid-mmsa route fit POSTS --verdicts FILE`"
)
NOT_READY = (
    "the adapter that answered is not ready: when it was made, it did not surely beat its base, or its cascade the "
    "fast tier; its card says which"
)
TARGET_READS_TEXT = "sentiment towards a target is judged from the words alone"
TARGET_NOT_KNOWN = "the target was not asked about: this model has no head for targets"
TARGET_NEEDS_TEXT = "the target was not asked about: there are no words that could speak of it"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """All that was found out about a batch of posts; row `i` of each is post `i`."""

    samples: Sequence[Sample]
    features: Features
    posteriors: TaskArrays
    routes: Sequence[RouteDecision]
    verdicts: Mapping[int, Verdict]
    warnings: Mapping[int, tuple[str, ...]]
    timings: Mapping[str, float]
    prior: FloatArray
    """Class probabilities `[3]` with neither side seen, the same for all."""
    evidence: Sequence[Evidence] = ()
    """What hiding words and regions showed; empty where it was not asked for."""
    router: Router | None = None
    """Gives prediction sets."""
    pooling: Pooling | None = None
    """Joins fast answers and the verdicts it was fitted to."""
    ready: bool = True
    """Whether the adapter that the verdicts come from proved itself when it was made."""


def compose_analysis(
    answer: Answer, i: int, provenance: Provenance, *, explain: ExplainLevel, reasoner: str | None
) -> Analysis:
    """The `Analysis` of post `i`.

    Args:
        answer: What was found out about its batch.
        i: The post's row.
        provenance: Goes into the result.
        explain: `none` leaves the explanation out.
        reasoner: Id of the configured reasoner, if any.
    """
    rows = {task: values[i] for task, values in answer.posteriors.items()}
    fast = prediction(rows["sentiment"])
    sample, route, verdict = answer.samples[i], answer.routes[i], answer.verdicts.get(i)
    sides = _sides(rows)
    heard = _heard(rows["sentiment"], route, verdict, answer.pooling)
    answered_by = reasoner if heard is not None and reasoner is not None else FAST
    target = None if np.isnan(rows["target_sentiment"][0]) else sample.target
    warnings = (*sample.warnings, *_reading_warnings(sample, target, answer.features, i), *answer.warnings.get(i, ()))
    if verdict is not None and heard is None:
        warnings = (*warnings, NOT_POOLED if answer.pooling is None else OTHER_POOLED)
    if verdict is not None and verdict.adapter is not None and not answer.ready:
        warnings = (*warnings, NOT_READY)
    distance = float(conflict({t: v[i : i + 1] for t, v in answer.posteriors.items()})[0])
    return Analysis(
        id=sample.id,
        sentiment=heard or fast,
        sarcasm=_sarcasm(rows),
        emotion=None if np.isnan(rows["emotion"][0]) else emotion_prediction(rows["emotion"]),
        text_sentiment=sides.get("text"),
        image_sentiment=sides.get("image"),
        conflict=distance if len(sides) == 2 else None,
        route=route.model_copy(update={"answered_by": answered_by}),
        verdict=verdict,
        rationale=verdict.rationale if verdict is not None else None,
        explanation=None if explain == "none" else _explanation(fast, sides, rows, answer, i, target, reasoner),
        prediction_set=_prediction_set(rows, answer.router) if answered_by == FAST else None,
        needs_review=route.decision == "defer" and answered_by == FAST,
        timings=dict(answer.timings),
        provenance=provenance,
        warnings=warnings,
    )


def _sides(rows: Mapping[Task, FloatArray]) -> dict[Modality, Prediction]:
    """What each side present says by itself."""
    said: dict[Modality, FloatArray] = {"text": rows["text_sentiment"], "image": rows["image_sentiment"]}
    return {side: prediction(p) for side, p in said.items() if not np.isnan(p[0])}


def _sarcasm(rows: Mapping[Task, FloatArray]) -> float | None:
    """P(sarcastic), where there are words and a head for it."""
    p = float(rows["sarcasm"][1])
    return None if np.isnan(p) else p


def _explanation(
    fast: Prediction,
    sides: Mapping[Modality, Prediction],
    rows: Mapping[Task, FloatArray],
    answer: Answer,
    i: int,
    target: str | None,
    reasoner: str | None,
) -> Explanation:
    k = LABELS.index(fast.label)
    baseline = float(answer.prior[k])
    evidence = answer.evidence[i] if answer.evidence else None
    values: dict[frozenset[Modality], float] = {frozenset(): baseline, frozenset(sides): fast.probabilities[fast.label]}
    if len(sides) == 2:
        values[frozenset({"text"})] = float(rows["text_alone"][k])
        # For a target the picture is not read: alone it tells no more than the prior.
        values[frozenset({"image"})] = baseline if target else float(rows["image_alone"][k])
    shares = modality_shares(values)
    text = compose(
        fast,
        sides,
        shares,
        sarcasm=_sarcasm(rows),
        route=answer.routes[i],
        has_reasoner=reasoner is not None,
        target=target,
        evidence=evidence,
    )
    ranked = sorted(fast.probabilities, key=lambda label: fast.probabilities[label])
    return Explanation(
        text=text,
        label=fast.label,
        baseline=baseline,
        shares=shares,
        runner_up=next(label for label in reversed(ranked) if label != fast.label),
        agree=len({p.label for p in sides.values()}) == 1 if len(sides) == 2 else None,
        words=evidence.words if evidence else None,
        sarcasm_words=evidence.sarcasm_words if evidence else None,
        heat_map=evidence.heat_map if evidence else None,
        regions=evidence.regions if evidence else None,
        changes=evidence.changes if evidence else None,
    )


def _heard(
    fast: FloatArray, route: RouteDecision, verdict: Verdict | None, pooling: Pooling | None
) -> Prediction | None:
    """The answer in which the verdict counts: pooled where that was fitted, its own where it was asked for."""
    if verdict is None:
        return None
    if pooling is not None and pooling.fits(verdict):
        return prediction(pooling.probabilities(fast, verdict))
    return _from_verdict(verdict) if "requested" in route.reasons else None


def _prediction_set(rows: Mapping[Task, FloatArray], router: Router | None) -> tuple[Label, ...] | None:
    """The labels the post may well have; `None` towards a target, of which the sets were not calibrated."""
    if router is None or not np.isnan(rows["target_sentiment"][0]):
        return None
    return router.prediction_set(rows["sentiment"])


def _from_verdict(verdict: Verdict) -> Prediction:
    confidence = verdict.probabilities[verdict.label]
    return Prediction(label=verdict.label, probabilities=verdict.probabilities, confidence=confidence)


def _reading_warnings(sample: Sample, target: str | None, features: Features, i: int) -> tuple[str, ...]:
    warnings = []
    if features.truncated[i]:
        warnings.append(f"the text is long: only its first {features.n_tokens[i]} tokens were read")
    if target and features.has_image[i]:
        warnings.append(TARGET_READS_TEXT)
    if sample.target and not target:
        warnings.append(TARGET_NOT_KNOWN if features.has_text[i] else TARGET_NEEDS_TEXT)
    return tuple(warnings)
