"""One post's rows of numbers → the typed `Analysis`. Knows nothing of encoders, files or doors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .explain import compose, modality_shares
from .routing import conflict
from .types import (
    LABELS,
    Analysis,
    ExplainLevel,
    Explanation,
    Features,
    FloatArray,
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

NOT_POOLED = "a verdict is attached and does not count: no pooling of fast answers and verdicts is fitted"
TARGET_READS_TEXT = "sentiment towards a target is judged from the words alone"
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
    decided = verdict is not None and "requested" in route.reasons
    target = sample.target if answer.features.has_target[i] else None
    warnings = (*sample.warnings, *_reading_warnings(sample, answer.features, i), *answer.warnings.get(i, ()))
    if verdict is not None and not decided:
        warnings = (*warnings, NOT_POOLED)
    distance = float(conflict({t: v[i : i + 1] for t, v in answer.posteriors.items()})[0])
    return Analysis(
        id=sample.id,
        sentiment=_from_verdict(verdict) if decided and verdict is not None else fast,
        sarcasm=float(rows["sarcasm"][1]) if "text" in sides else None,
        emotion=emotion_prediction(rows["emotion"]) if "text" in sides else None,
        text_sentiment=sides.get("text"),
        image_sentiment=sides.get("image"),
        conflict=distance if len(sides) == 2 else None,
        route=route.model_copy(update={"answered_by": reasoner}) if decided else route,
        verdict=verdict,
        rationale=verdict.rationale if verdict is not None else None,
        explanation=None
        if explain == "none"
        else _explanation(fast, sides, rows, answer.prior, target, route, reasoner),
        timings=dict(answer.timings),
        provenance=provenance,
        warnings=warnings,
    )


def _sides(rows: Mapping[Task, FloatArray]) -> dict[Modality, Prediction]:
    """What each side present says by itself."""
    said: dict[Modality, FloatArray] = {"text": rows["text_sentiment"], "image": rows["image_sentiment"]}
    return {side: prediction(p) for side, p in said.items() if not np.isnan(p[0])}


def _explanation(
    fast: Prediction,
    sides: Mapping[Modality, Prediction],
    rows: Mapping[Task, FloatArray],
    prior: FloatArray,
    target: str | None,
    route: RouteDecision,
    reasoner: str | None,
) -> Explanation:
    k = LABELS.index(fast.label)
    baseline = float(prior[k])
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
        sarcasm=float(rows["sarcasm"][1]) if "text" in sides else None,
        route=route,
        has_reasoner=reasoner is not None,
        target=target,
    )
    ranked = sorted(fast.probabilities, key=lambda label: fast.probabilities[label])
    return Explanation(
        text=text,
        label=fast.label,
        baseline=baseline,
        shares=shares,
        runner_up=next(label for label in reversed(ranked) if label != fast.label),
        agree=len({p.label for p in sides.values()}) == 1 if len(sides) == 2 else None,
    )


def _from_verdict(verdict: Verdict) -> Prediction:
    confidence = verdict.probabilities[verdict.label]
    return Prediction(label=verdict.label, probabilities=verdict.probabilities, confidence=confidence)


def _reading_warnings(sample: Sample, features: Features, i: int) -> tuple[str, ...]:
    warnings = []
    if features.truncated[i]:
        warnings.append(f"the text is long: only its first {features.n_tokens[i]} tokens were read")
    if features.has_target[i] and features.has_image[i]:
        warnings.append(TARGET_READS_TEXT)
    if sample.target and not features.has_target[i]:
        warnings.append(TARGET_NEEDS_TEXT)
    return tuple(warnings)
