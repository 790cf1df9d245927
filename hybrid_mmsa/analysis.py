"""What the stages found out about a batch of posts → one typed `Analysis` each. Knows nothing of files or doors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from time import perf_counter

import numpy as np

from .adapters import Adapter
from .explain import Evidence, compose, modality_shares
from .fusion import PresentSides
from .pooling import VerdictWeights
from .reasoning import Verdicts
from .routing import FAST
from .senses import InPictures
from .types import (
    LABELS,
    PICTURE_SOURCES,
    Analysis,
    EmotionPrediction,
    ExplainLevel,
    Explanation,
    Features,
    FloatArray,
    FrozenDict,
    Label,
    Modality,
    PictureReading,
    PictureSource,
    Prediction,
    Provenance,
    RouteDecision,
    Sample,
    Sense,
    Source,
    Task,
    TaskArrays,
    Verdict,
    VerdictUse,
    emotion_prediction,
    posteriors,
    prediction,
)

__all__ = ["FastAnswers", "Stopwatch", "compose_analyses"]

NOT_POOLED = (
    "a verdict is attached and does not count: no pooling of fast answers and verdicts is fitted; "
    "fit one with `hybrid-mmsa route fit POSTS --verdicts FILE`"
)
OTHER_POOLED = (
    "a verdict is attached and does not count: the pooling was fitted to another reasoner, adapter or prompt; "
    "fit it again with `hybrid-mmsa route fit POSTS --verdicts FILE`"
)
OTHER_POSTS = (
    "a verdict is attached and does not count: the pooling was fitted to other kinds of posts ({}); "
    "fit one to yours with `hybrid-mmsa route fit POSTS --verdicts FILE`"
)
NOT_READY = (
    "the adapter that answered is not ready: when it was made, it did not surely beat its base, or its cascade the "
    "fast tier; its card says which"
)
NO_EVIDENCE = "words and regions are not explained: {}"
TARGET_READS_TEXT = "sentiment towards a target is judged from the words alone"
TARGET_NOT_KNOWN = "the target was not asked about: this model has no head for targets"
TARGET_NEEDS_TEXT = "the target was not asked about: there are no words that could speak of it"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FastAnswers:
    """The fast tier's answers to a batch of posts; row `i` of each part is post `i`.

    Attributes:
        adapter: What answered.
        samples: The posts, read.
        features: What the encoder made of them.
        sides: Which of their sides are there, and which answers are about a target.
        posteriors: Calibrated probabilities per task.
        sides_alone: Sentiment without what was read in pictures, `[n, 3]`.
        conflict: Total variation distance of the two sides `[n]`, NaN where one is missing.
        routes: Which answers are kept.
        in_pictures: What the senses read in their pictures, where any were asked for; what of it counts does so in
            `posteriors` already.
        senses: What reads, by sense.
    """

    adapter: Adapter
    samples: Sequence[Sample]
    features: Features
    sides: PresentSides
    posteriors: TaskArrays
    sides_alone: FloatArray
    conflict: FloatArray
    routes: Sequence[RouteDecision]
    in_pictures: InPictures | None = None
    senses: Mapping[Sense, str] = field(default_factory=dict)

    def joined(
        self,
        row: int,
        sentiment: FloatArray,
        *,
        has_text: bool,
        sources: Collection[PictureSource] = PICTURE_SOURCES,
    ) -> FloatArray:
        """Sentiment `[3]` of a version of a post with some of what is in its picture read as well, where it counts."""
        if self.in_pictures is None:
            return sentiment
        joined: FloatArray = self.in_pictures.joined([row], sentiment[None], np.array([has_text]), sources)[0]
        return joined

    def prior(self, row: int) -> FloatArray:
        """Class probabilities `[3]` of a post of which neither side is read, but what was read in its picture."""
        return self.joined(row, self.adapter.prior(), has_text=False)


class Stopwatch:
    """Milliseconds a post that each stage of a batch took.

    Args:
        posts: How many posts share the time.
    """

    def __init__(self, posts: int) -> None:
        self.laps: dict[str, float] = {}
        self._share = 1000 / max(posts, 1)
        self._last = perf_counter()

    def lap(self, stage: str, *, recorded: bool = True) -> None:
        """End a stage; one that did nothing need not be recorded."""
        now = perf_counter()
        if recorded:
            self.laps[stage] = (now - self._last) * self._share
        self._last = now


def compose_analyses(
    fast: FastAnswers,
    verdicts: Verdicts,
    evidence: Sequence[Evidence],
    *,
    reasoner: str | None,
    explain: ExplainLevel,
    timings: Mapping[str, float],
) -> list[Analysis]:
    """The `Analysis` of every post of a batch.

    Args:
        fast: The fast tier's answers.
        verdicts: What the reasoner made of the deferred ones.
        evidence: What hiding words and regions showed, per post; empty where it was not asked for.
        reasoner: Id of the configured reasoner.
        explain: `none` leaves the explanation out.
        timings: Milliseconds a post, by stage.
    """
    prior = fast.adapter.prior()
    posts = [
        _Post(
            batch=fast,
            row=i,
            verdict=verdicts.by_row.get(i),
            reasoner=reasoner,
            evidence=evidence[i] if evidence else None,
            prior=prior,
        )
        for i in range(len(fast.samples))
    ]
    return [post.analysis(explain, verdicts.warnings.get(i, ()), timings) for i, post in enumerate(posts)]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Post:
    """One row of the stages' values.

    Attributes:
        batch: The fast answers of its batch.
        row: Its place there.
        verdict: The reasoner's verdict on it.
        reasoner: Id of the configured reasoner.
        evidence: What hiding its words and regions showed.
        prior: Class probabilities `[3]` with neither side read.
    """

    batch: FastAnswers
    row: int
    verdict: Verdict | None
    reasoner: str | None
    evidence: Evidence | None
    prior: FloatArray

    def analysis(self, explain: ExplainLevel, warnings: Sequence[str], timings: Mapping[str, float]) -> Analysis:
        """All that is known of it; `warnings` are the reasoner's."""
        sample, route = self.batch.samples[self.row], self.batch.routes[self.row]
        fast, use = prediction(self.probabilities("sentiment")), self.verdict_use
        answered_by = self.reasoner if use in ("pooled", "alone") and self.reasoner is not None else FAST
        has_text, has_image = bool(self.batch.sides.text[self.row]), bool(self.batch.sides.image[self.row])
        return Analysis(
            id=sample.id,
            sentiment=self.answer(fast, use),
            fast=fast,
            sarcasm=self.sarcasm,
            emotion=self.emotion,
            text_sentiment=self.side("text_sentiment") if has_text else None,
            image_sentiment=self.side("image_sentiment") if has_image else None,
            text_alone=self.side("text_alone") if has_text else None,
            image_alone=self.side("image_alone") if has_image else None,
            conflict=float(self.batch.conflict[self.row]) if has_text and has_image else None,
            picture=self.picture,
            route=route.model_copy(update={"answered_by": answered_by, "verdict": use}),
            verdict=self.verdict,
            rationale=self.verdict.rationale if self.verdict is not None else None,
            explanation=None if explain == "none" else self.explanation(fast),
            prediction_set=self.prediction_set if answered_by == FAST else None,
            needs_review=route.decision == "defer" and answered_by == FAST,
            timings=timings,
            provenance=self.provenance,
            warnings=(*sample.warnings, *self.reading_warnings(), *warnings, *self.verdict_warnings(use)),
        )

    def probabilities(self, task: Task) -> FloatArray:
        """The fast tier's for one task, `[classes]`."""
        row: FloatArray = self.batch.posteriors[task][self.row]
        return row

    def side(self, task: Task) -> Prediction:
        """The fast tier's prediction for one task."""
        return prediction(self.probabilities(task))

    @property
    def provenance(self) -> Provenance:
        """Which weights answered, and what read the picture."""
        fast = self.batch.adapter.provenance()
        return fast.model_copy(update={"senses": FrozenDict(self.batch.senses)}) if self.batch.senses else fast

    @property
    def picture(self) -> PictureReading | None:
        """What the senses read in the picture, and how far the faces there contradict the words of the post."""
        reading = None if self.batch.in_pictures is None else self.batch.in_pictures.readings[self.row]
        if reading is None or reading.faces_sentiment is None or not self.batch.sides.text[self.row]:
            return reading
        (faces,) = posteriors([reading.faces_sentiment])
        distance = float(np.abs(faces - self.probabilities("text_sentiment")).sum() / 2)
        return reading.model_copy(update={"faces_conflict": min(distance, 1.0)})

    @property
    def read_in_picture(self) -> tuple[PictureSource, ...]:
        """What was read in the picture and counts in the answer."""
        return () if self.batch.in_pictures is None else self.batch.in_pictures.counted(self.row)

    @property
    def prediction_set(self) -> tuple[Label, ...] | None:
        """The labels that the post may well have; sets were not calibrated for answers about a target.

        Where something that was read in the picture counts, the sets are as wide as that source needs them to be.
        """
        if self.about_target:
            return None
        pictures = self.batch.in_pictures
        others = [] if pictures is None else [pictures.poolings[each].set_threshold for each in self.read_in_picture]
        return self.batch.adapter.router.prediction_set(self.probabilities("sentiment"), others)

    @property
    def about_target(self) -> bool:
        """Whether the answer is about the post's target."""
        return bool(self.batch.sides.target[self.row])

    @property
    def sarcasm(self) -> float | None:
        """P(sarcastic), where there are words and a head for it."""
        p = float(self.probabilities("sarcasm")[1])
        return None if np.isnan(p) else p

    @property
    def emotion(self) -> EmotionPrediction | None:
        """The emotion, where there are words and a head for it."""
        p = self.probabilities("emotion")
        return None if np.isnan(p[0]) else emotion_prediction(p)

    @property
    def verdict_use(self) -> VerdictUse | None:
        """How the verdict counts: pooled where that was fitted, alone where it was asked for, else not at all."""
        if self.verdict is None:
            return None
        if self.verdict_weights is not None:
            return "pooled"
        return "alone" if "requested" in self.batch.routes[self.row].reasons else "ignored"

    @property
    def verdict_weights(self) -> VerdictWeights | None:
        """How the verdict joins the fast answer, where a pooling holds for it."""
        pooling = self.batch.adapter.pooling
        if pooling is None or self.verdict is None:
            return None
        return pooling.weights(self.verdict, self.batch.samples[self.row])

    def answer(self, fast: Prediction, use: VerdictUse | None) -> Prediction:
        """The answer in which the verdict counts as it is to be used."""
        if self.verdict is None or use == "ignored":
            return fast
        weights = self.verdict_weights
        if weights is None:
            return self.verdict.prediction
        return prediction(weights.posterior(self.probabilities("sentiment"), self.verdict))

    def explanation(self, fast: Prediction) -> Explanation:
        """The evidence for the fast answer, and the text composed of it."""
        sides: dict[Modality, Prediction] = {}
        if self.batch.sides.text[self.row]:
            sides["text"] = self.side("text_sentiment")
        if self.batch.sides.image[self.row]:
            sides["image"] = self.side("image_sentiment")
        target = self.batch.samples[self.row].target if self.about_target else None
        baseline = float(self.prior[LABELS.index(fast.label)])
        shares = modality_shares(self.values_of_sources(fast, frozenset(sides)))
        evidence = None if self.evidence is None or self.evidence.failure is not None else self.evidence
        text = compose(
            fast,
            sides,
            shares,
            sarcasm=self.sarcasm,
            route=self.batch.routes[self.row],
            has_reasoner=self.reasoner is not None,
            target=target,
            evidence=evidence,
            picture=self.picture,
        )
        ranked = sorted(fast.probabilities, key=lambda label: fast.probabilities[label])
        return Explanation(
            text=text,
            label=fast.label,
            baseline=baseline,
            shares=shares,
            runner_up=next(label for label in reversed(ranked) if label != fast.label),
            agree=len({side.label for side in sides.values()}) == 1 if len(sides) == 2 else None,
            words=evidence.words if evidence else None,
            sarcasm_words=evidence.sarcasm_words if evidence else None,
            heat_map=evidence.heat_map if evidence else None,
            regions=evidence.regions if evidence else None,
            changes=evidence.changes if evidence else None,
        )

    def values_of_sources(self, fast: Prediction, sides: frozenset[Modality]) -> dict[frozenset[Source], float]:
        """Probability of the fast label for every set of sources read: the sides, and what is in the picture."""
        k = LABELS.index(fast.label)
        read: dict[frozenset[Source], FloatArray] = {
            frozenset(): self.prior,
            frozenset(sides): self.batch.sides_alone[self.row],
        }
        if len(sides) == 2:
            read[frozenset({"text"})] = self.probabilities("text_alone")
            # For a target the picture is not read: alone it tells no more than the prior.
            read[frozenset({"image"})] = self.prior if self.about_target else self.probabilities("image_alone")
        values: dict[frozenset[Source], float] = {}
        found = self.read_in_picture
        for size in range(len(found) + 1):
            for chosen in combinations(found, size):
                for sources, sentiment in read.items():
                    joined = self.batch.joined(self.row, sentiment, has_text="text" in sources, sources=chosen)
                    values[sources.union(chosen)] = float(joined[k])
        return values

    def reading_warnings(self) -> list[str]:
        """What of the post was not read, and why."""
        features, sides, sample = self.batch.features, self.batch.sides, self.batch.samples[self.row]
        warnings = []
        if features.truncated[self.row]:
            warnings.append(f"the text is long: only its first {features.n_tokens[self.row]} tokens were read")
        if self.about_target and sides.image[self.row]:
            warnings.append(TARGET_READS_TEXT)
        if sample.target and not self.about_target:
            warnings.append(TARGET_NOT_KNOWN if sides.text[self.row] else TARGET_NEEDS_TEXT)
        if self.batch.in_pictures is not None:
            warnings += self.batch.in_pictures.warnings[self.row]
        if self.evidence is not None and self.evidence.failure is not None:
            warnings.append(NO_EVIDENCE.format(self.evidence.failure))
        return warnings

    def verdict_warnings(self, use: VerdictUse | None) -> list[str]:
        """Why a verdict does not count, or should not count for much."""
        warnings = []
        if use == "ignored":
            pooling = self.batch.adapter.pooling
            if pooling is None:
                warnings.append(NOT_POOLED)
            else:
                known = self.verdict is not None and pooling.fits(self.verdict)
                warnings.append(OTHER_POSTS.format(", ".join(pooling.kinds)) if known else OTHER_POOLED)
        if self.verdict is not None and self.verdict.adapter is not None and not self.batch.adapter.ready:
            warnings.append(NOT_READY)
        return warnings
