"""Heads, fusion, calibration and router on the frozen features of any encoder: an adapter in seconds, without torch.

All that is fitted on predictions is fitted on those for posts of a fold left out. The router is fitted as the bundled
one is, or takes the calibrated probability as it is where posts are few. Knows no files and no corpora.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...adapters import Adapter
from ...calibration import Calibration, TemperatureScaling
from ...encoders import Encoder
from ...errors import InputError
from ...fusion import STRATEGIES, FusionHead, PresentSides, answer_from_sides
from ...fusion.head import OPTIONAL_HEADS
from ...routing import (
    CONFIDENCE,
    CalibrationSample,
    ErrorModel,
    Novelty,
    Router,
    Thresholds,
    conformal_threshold,
    defer_scores,
    mockery,
    opposition,
    signal_matrix,
    threshold_for_budget,
)
from ...types import LABELS, TASKS, BoolArray, FloatArray, IntArray, Reason, Task, TaskArrays
from ..posts.labelled import HEADS, UNKNOWN, Labelled
from ..routing.posts import half
from ..routing.router import LEAST_POSTS, Judged, RouterConfig, fit_router, reached, within_budget
from .logistic import LinearHead, choose_head, matching_bias
from .strategies import Evidence, JoiningConfig, cross_fit, fit_strategy, joined

__all__ = ["FEW_SHOT", "UNROUTED", "CrossFittedHeads", "FrozenConfig", "cross_fit_heads", "fit_frozen"]

UNROUTED = Router(error_model=ErrorModel.plain(), thresholds=Thresholds(np.inf, np.inf, np.inf))
"""A router that keeps every post."""
LEAST_ERRORS = 20
"""Wrong answers, and right ones, that P(error) is fitted to at the least."""


@dataclass(frozen=True, slots=True)
class FrozenConfig:
    """How everything on top of a frozen encoder is fitted."""

    joining: JoiningConfig = field(default_factory=JoiningConfig)
    penalties: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
    """What the heads' pull to their start is chosen from; see `logistic`."""
    caution: float = 0.0
    """See `logistic.choose_head`."""
    least: int = 30
    """Posts of a label that a head needs."""
    steady: float = 30.0
    """A temperature fitted to this many posts counts half; the other half is the start's, or 1."""
    keep_joining: bool = False
    """Pull the fused head to the start's, where there is one of the same strategy."""
    teaching: float = 0.5
    """How much a teacher counts beside a gold label, 0 to 1; where it alone speaks it counts whole."""
    match_shares: bool = False
    """Say each label as often as it occurs: where labels are skewed and hard to tell, macro F1 gains, accuracy and
    log-loss lose. See `shares`."""
    router: RouterConfig = field(default_factory=RouterConfig)


FEW_SHOT = FrozenConfig(penalties=(0.3, 1, 3, 10, 30, 100), caution=1.0, least=8, keep_joining=True)
"""For 8 to 64 posts of a label."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossFittedHeads:
    """Linear heads, and their logits `[n, classes]` for posts of a fold left out; NaN where the side is missing."""

    arrays: dict[str, FloatArray]
    logits: dict[str, FloatArray]
    both: BoolArray
    labels: IntArray
    targets: NDArray[np.float64]

    @property
    def evidence(self) -> Evidence:
        """What both sides answer, of the posts that have both and of whose label something is known."""
        names = ("text.sentiment", "text.joint", "image.sentiment", "image.joint")
        parts = [self.logits[name][self.both] for name in names]
        return Evidence(parts[0], parts[1], parts[2], parts[3], self.labels[self.both], self.targets[self.both])


def fit_frozen(
    posts: Labelled,
    judged: Labelled | None,
    encoder: Encoder,
    *,
    name: str,
    config: FrozenConfig | None = None,
    start: Adapter | None = None,
    heads: CrossFittedHeads | None = None,
) -> Adapter:
    """Everything on top of an encoder.

    Args:
        posts: Posts to train on.
        judged: Other posts, for the router's thresholds; their keys tell its two halves apart. Without them, or with
            few, the training posts' held-out answers serve.
        encoder: What made the features.
        name: The adapter's name.
        config: The recipe.
        start: An adapter for the same encoder: its heads are started from and pulled to, and kept for tasks that the
            posts have no labels for.
        heads: Linear heads that were fitted already, with their logits for posts of a fold left out.

    Raises:
        InputError: Too few posts, or too few of a side, for a head that there is no start for.
    """
    config = config or FrozenConfig()
    heads = heads or cross_fit_heads(posts, config, start)
    begin, strategy = _fusion_of(start, config), config.joining.strategy
    if int(heads.both.sum()) >= config.least:
        pull = begin if config.keep_joining else None
        fusion = fit_strategy(heads.evidence, config.joining, pull)
        fused = cross_fit(heads.evidence, posts.folds[heads.both], config.joining, pull)
    elif begin is None:
        raise InputError(
            f"{int(heads.both.sum())} posts have both words and a picture; {config.least} are wanted", field="posts"
        )
    else:
        fusion, fused = begin, joined(begin, strategy, heads.evidence) if heads.both.any() else {}
    if config.match_shares and fused:
        shift = matching_bias(fused["sentiment"], _shares(posts, "text.joint", np.flatnonzero(heads.both)))
        fusion = {**fusion, "fusion.bias": fusion["fusion.bias"] + shift}
        fused = {task: logits + shift for task, logits in fused.items()}
    head = FusionHead({**heads.arrays, **fusion}, strategy)
    logits = _task_logits(heads, fused)
    calibration = _calibrate(logits, posts, config, start)
    draft = Adapter(
        name=name,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        head=head,
        calibration=calibration,
        router=UNROUTED,
    )
    sarcasm = np.inf if start is None else start.router.thresholds.sarcasm
    sides = PresentSides.of(posts.features, answers_targets=False)
    learn = _judged(posts, answer_from_sides(calibration.probabilities(logits), sides))
    held = None if judged is None else _judged(judged, draft.posteriors(judged.features))
    router = _route_frozen(learn, held, sarcasm=sarcasm, encoder_hash=encoder.hash, config=config.router)
    return replace(draft, router=router)


def cross_fit_heads(posts: Labelled, config: FrozenConfig, start: Adapter | None = None) -> CrossFittedHeads:
    """Fit the linear heads, and give their logits for posts of a fold left out."""
    arrays = {} if start is None else {k: v for k, v in start.head.arrays.items() if not k.startswith("fusion.")}
    logits: dict[str, FloatArray] = {}
    present = {"text": posts.features.has_text, "image": posts.features.has_image}
    values = {"text": posts.features.text_features, "image": posts.features.image_features}
    for name, classes in HEADS.items():
        side = name.partition(".")[0]
        targets = posts.targets(name, config.teaching)
        rows = np.flatnonzero(present[side] & (targets.sum(1) > 0))
        before = LinearHead(arrays[f"{name}.weight"], arrays[f"{name}.bias"]) if f"{name}.weight" in arrays else None
        counts = np.bincount(targets[rows].argmax(1), minlength=classes)
        if (counts >= config.least).sum() >= 2 and len(np.unique(posts.folds[rows])) > 1:
            choice = choose_head(
                values[side][rows],
                targets[rows],
                posts.folds[rows],
                classes,
                config.penalties,
                before,
                caution=config.caution,
            )
            shift = matching_bias(choice.held_out, _shares(posts, name, rows)) if config.match_shares else np.float32(0)
            arrays |= {f"{name}.weight": choice.head.weight, f"{name}.bias": choice.head.bias + shift}
            logits[name] = choice.head.logits(values[side]) + shift
            logits[name][rows] = choice.held_out + shift
        elif before is not None:
            logits[name] = before.logits(values[side])
        elif name in OPTIONAL_HEADS:
            continue
        else:
            need = f"{config.least} posts with {side} of two labels at the least"
            listed = ", ".join(f"{n} {label}" for n, label in zip(counts, LABELS, strict=False))
            raise InputError(f"found {listed} posts with {side}; wanted {need}", field="posts")
        logits[name][~present[side]] = np.nan
    joint = posts.targets("text.joint", config.teaching)
    both = present["text"] & present["image"] & (joint.sum(1) > 0)
    return CrossFittedHeads(arrays, logits, both, posts.labels["text.joint"], joint)


def _shares(posts: Labelled, name: str, rows: NDArray[Any]) -> NDArray[np.float64]:
    """How often each label occurs among some posts, counting a teacher's doubts."""
    counts = posts.targets(name, 0.0)[rows].sum(0)
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def _judged(posts: Labelled, answers: TaskArrays) -> Judged:
    """The posts whose answers can be judged, with those answers."""
    rows, gold = posts.judging(LEAST_POSTS)
    probabilities = {task: values[rows] for task, values in answers.items()}
    return Judged(probabilities, posts.features.take(rows), gold, [posts.keys[i] for i in rows])


def _fusion_of(start: Adapter | None, config: FrozenConfig) -> dict[str, FloatArray] | None:
    """The start's fused head, if it is of the strategy asked for."""
    if start is None or start.head.strategy != config.joining.strategy:
        return None
    return {name: start.head.arrays[name] for name in STRATEGIES[config.joining.strategy].shapes}


def _task_logits(heads: CrossFittedHeads, fused: Mapping[Task, FloatArray]) -> TaskArrays:
    """Held-out logits of all tasks; NaN where a side is missing, and where there is no head."""
    n = len(heads.labels)
    logits: TaskArrays = {
        "text_sentiment": heads.logits["text.sentiment"],
        "image_sentiment": heads.logits["image.sentiment"],
        "sarcasm": heads.logits.get("text.sarcasm", _nothing(n, 2)),
        "emotion": _nothing(n, 4),
        "target_sentiment": _nothing(n, len(LABELS)),
    }
    tasks: tuple[Task, ...] = ("sentiment", "text_alone", "image_alone")
    for task in tasks:
        logits[task] = _nothing(n, len(LABELS))
        if task in fused:
            logits[task][heads.both] = fused[task]
    return logits


def _nothing(n: int, classes: int) -> FloatArray:
    return np.full((n, classes), np.nan, np.float32)


def _calibrate(logits: TaskArrays, posts: Labelled, config: FrozenConfig, start: Adapter | None) -> Calibration:
    """A temperature per task, the nearer to the start's the fewer posts it is fitted to."""
    temperatures: dict[Task, float] = dict.fromkeys(TASKS, 1.0)
    if start is not None:
        temperatures |= start.calibration.temperatures
    heads: dict[Task, str] = {
        "sentiment": "text.joint",
        "text_alone": "text.joint",
        "image_alone": "image.joint",
        "text_sentiment": "text.sentiment",
        "image_sentiment": "image.sentiment",
        "sarcasm": "text.sarcasm",
    }
    for task, head in heads.items():
        there, gold = ~np.isnan(logits[task][:, 0]), posts.labels[head] != UNKNOWN
        # Gold labels alone say how sure one may be; a teacher's probabilities stand in where there are too few.
        enough = int((there & gold).sum()) >= config.least
        targets = posts.targets(head, 0.0 if enough else config.teaching)
        rows = np.flatnonzero(there & (gold if enough else targets.sum(1) > 0))
        if len(rows):
            fitted = TemperatureScaling().fit(logits[task][rows], targets[rows]).temperature_
            share = len(rows) / (len(rows) + config.steady)
            temperatures[task] = float(fitted**share * temperatures[task] ** (1 - share))
    return Calibration(temperatures)


def _route_frozen(
    learn: Judged, held: Judged | None, *, sarcasm: float, encoder_hash: str, config: RouterConfig
) -> Router:
    """A router; where there are too few posts to fit one, the calibrated probability is taken at its word.

    Args:
        learn: Training posts with the answers of heads that had not seen them.
        held: Posts that nothing was fitted to, if any.
        sarcasm: Threshold for P(sarcastic).
        encoder_hash: For `router.json`.
        config: The recipe.
    """
    errors = int(learn.wrong.sum())
    if held is not None and min(errors, len(learn) - errors) >= LEAST_ERRORS:
        judges = np.array([half(key) for key in held.keys], dtype=bool)
        choose, judge = (held.take(np.flatnonzero(part)) for part in (~judges, judges))
        if min(len(choose), len(judge)) >= LEAST_POSTS:
            novelty = Novelty().fit(learn.features)
            facts: dict[str, Any] = {"encoder_hash": encoder_hash}
            return fit_router(learn, choose, judge, sarcasm=sarcasm, novelty=novelty, facts=facts, config=config)
    model = ErrorModel.plain()
    p_error = model.predict_proba(signal_matrix(CONFIDENCE, learn.probabilities, learn.features, None))
    scores: dict[Reason, NDArray[np.float64]] = {
        "low_confidence": p_error,
        "sarcasm": mockery(learn.probabilities).astype(np.float64),
        "conflict": opposition(learn.probabilities).astype(np.float64),
    }
    own = Thresholds(
        p_error=threshold_for_budget(p_error, config.budget),
        sarcasm=sarcasm,
        conflict=threshold_for_budget(scores["conflict"], config.conflict_share),
    )
    thresholds = within_budget(own, scores, config.budget)  # all reasons together, sarcasm among them
    router = Router(
        error_model=model,
        thresholds=thresholds,
        sarcasm_by_difference=True,
        fitted_on={
            "p_error": "the calibrated probability at its word: too few posts, or errors, to fit it",
            "data": f"{len(learn)} posts that are trained on, answered by heads that were fitted to the others",
            "posts": len(learn),
            "encoder_hash": encoder_hash,
        },
    )
    return router if len(learn) < LEAST_POSTS else _with_sample(router, learn, scores, config)


def _with_sample(
    router: Router, learn: Judged, scores: Mapping[Reason, NDArray[np.float64]], config: RouterConfig
) -> Router:
    """The router with scores of posts, for budgets, risks, prediction sets and `route check`.

    One half of the posts orders the tests of a risk, the other is tested on; groups of twins are in one half.
    """
    tested = np.array([half(key) for key in learn.keys], dtype=bool)
    if not tested.any() or tested.all():
        return router
    margins = defer_scores(scores, router.thresholds)
    answers = learn.probabilities["sentiment"]
    sample = CalibrationSample(
        p_error=scores["low_confidence"][tested],
        sarcasm=scores["sarcasm"][tested],
        conflict=scores["conflict"][tested],
        novel=np.full(int(tested.sum()), np.nan),
        label=answers[tested].argmax(1).astype(np.int64),
        wrong=learn.wrong[tested],
        order_score=margins[~tested],
        order_wrong=learn.wrong[~tested],
    )
    return replace(
        router,
        sample=sample,
        set_threshold=conformal_threshold(answers, learn.gold, config.alpha),
        fitted_on={**router.fitted_on, **reached(learn.wrong, margins > 0, config)},
    )
