"""Fits the router: P(error) on posts the towers had not seen, thresholds on posts that chose nothing else.

Knows posteriors, features and gold labels; knows nothing of towers, corpora or reasoners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import metrics
from ...routing import (
    CONFIDENCE,
    SIGNALS,
    CalibrationSample,
    ErrorModel,
    Novelty,
    Router,
    Thresholds,
    at_most,
    conformal_threshold,
    defer_scores,
    mockery,
    moved,
    opposition,
    signal_matrix,
    threshold_for_budget,
)
from ...types import LABELS, BoolArray, Features, IntArray, Reason, Sample, TaskArrays
from ..common.provenance import today
from ..posts.rows import fold_of

__all__ = ["LEAST_POSTS", "Judged", "RouterConfig", "fit_router", "reached", "sample_of", "within_budget"]

LEAST_POSTS = 50
"""Fewer posts than this calibrate nothing."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """How the router is fitted."""

    budget: float = 0.2
    """Share of posts deferred for any reason."""
    conflict_share: float = 0.05
    """Share of posts with two sides that conflict alone may defer, before the budget is held."""
    sarcasm_precision: float = 0.8
    """Share of posts above the sarcasm threshold that are sarcastic."""
    novel_share: float = 0.05
    """Share of posts that novelty alone may defer, if it pays."""
    alpha: float = 0.1
    """How often the prediction set may miss the gold label."""
    strength: float = 1.0
    """L2 penalty of P(error)."""
    folds: int = 10
    resamples: int = 500
    """Bootstrap resamples behind the intervals."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Posts whose fast answers can be judged: `n` of each.

    Attributes:
        probabilities: Calibrated, by a model that was not trained on these posts.
        features: The encoder's.
        gold: Class indices int64 `[n]`.
        keys: What tells posts apart: equal keys go into one fold.
        joined: bool `[n]`, whether the picture was put beside words of another post, so that the two are opposed by
            chance; none if not given.
        posts: As they were read, but for their pictures, which are not held decoded. What verdicts are pooled by
            (`fit_verdicts`) needs them, P(error) does not.
    """

    probabilities: TaskArrays
    features: Features
    gold: IntArray
    keys: Sequence[str]
    joined: BoolArray | None = None
    posts: Sequence[Sample] = ()

    def __len__(self) -> int:
        return len(self.gold)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether the fast label is wrong, bool `[n]`."""
        wrong: NDArray[np.bool_] = self.probabilities["sentiment"].argmax(1) != self.gold
        return wrong

    @property
    def is_joined(self) -> BoolArray:
        """Whether the picture was put beside words of another post, bool `[n]`."""
        return np.zeros(len(self), dtype=bool) if self.joined is None else self.joined

    @property
    def two_sided(self) -> BoolArray:
        """Whether somebody posted words and a picture together, bool `[n]`."""
        return self.features.has_text & self.features.has_image & ~self.is_joined

    @staticmethod
    def concatenate(parts: Sequence[Judged]) -> Judged:
        """Posts of several kinds, one after the other."""
        probabilities = {
            task: np.concatenate([part.probabilities[task] for part in parts]) for task in parts[0].probabilities
        }
        features = Features.concatenate([part.features for part in parts])
        gold = np.concatenate([part.gold for part in parts])
        keys = [key for part in parts for key in part.keys]
        joined = np.concatenate([part.is_joined for part in parts])
        posts = [post for part in parts for post in part.posts]
        return Judged(probabilities, features, gold, keys, joined, posts)

    def take(self, rows: NDArray[Any]) -> Judged:
        """Some posts, in the order given."""
        probabilities = {task: values[rows] for task, values in self.probabilities.items()}
        keys = [self.keys[i] for i in rows]
        posts = [self.posts[i] for i in rows] if self.posts else ()
        return Judged(probabilities, self.features.take(rows), self.gold[rows], keys, self.is_joined[rows], posts)


def fit_router(
    learn: Judged,
    choose: Judged | None,
    judge: Judged,
    *,
    sarcasm: float,
    novelty: Novelty | None,
    facts: dict[str, Any],
    config: RouterConfig | None = None,
) -> Router:
    """Fit P(error), thresholds, prediction sets and the sample that budgets and risks are resolved from.

    Args:
        learn: P(error) is fitted on these.
        choose: Held-out posts on which more signals must do better than plain confidence, too, and novelty must pay;
            `None` where the encoder was not trained on `learn`, which then answers for itself.
        judge: Held-out posts that choose nothing; thresholds, sets and the sample are theirs.
        sarcasm: Threshold for P(sarcastic); `inf` for none.
        novelty: The summary of the training features; `None` where there is none.
        facts: What to say of the posts, for `router.json`.
        config: The recipe.
    """
    config = config or RouterConfig()
    error_model, held_out, table = _fit_error_model(learn, choose, novelty, config)
    draft = Router(
        error_model=error_model,
        thresholds=Thresholds(0.5, 0.5, 0.5, 0.5),
        novelty=novelty,
        sarcasm_by_difference=True,
    )
    scores = draft.scores(judge.probabilities, judge.features)
    # Words and a picture that were put together by us oppose each other more often than those that people post.
    opposed = scores["conflict"][judge.two_sided] if judge.two_sided.any() else scores["conflict"]
    own = Thresholds(
        p_error=threshold_for_budget(scores["low_confidence"], config.budget),
        sarcasm=sarcasm,
        conflict=threshold_for_budget(opposed, config.conflict_share),
        novel=_novelty_pays(draft, learn if choose is None else choose, config),
    )
    thresholds = within_budget(own, scores, config.budget)
    order: dict[Reason, Floats] = {
        "low_confidence": held_out,
        "sarcasm": mockery(learn.probabilities).astype(np.float64),
        "conflict": opposition(learn.probabilities).astype(np.float64),
    }
    sample = sample_of(judge, scores, order_score=defer_scores(order, thresholds), order_wrong=learn.wrong)
    keeps_novelty = "novelty" in error_model.signals or np.isfinite(thresholds.novel)
    router = Router(
        error_model=error_model,
        thresholds=thresholds,
        fitted_on=facts | reached(judge.wrong, defer_scores(scores, thresholds) > 0, config) | table,
        novelty=novelty if keeps_novelty else None,
        sample=sample,
        set_threshold=conformal_threshold(judge.probabilities["sentiment"], judge.gold, config.alpha),
        sarcasm_by_difference=True,
    )
    return router


def sample_of(
    judge: Judged, scores: Mapping[Reason, Floats], *, order_score: Floats, order_wrong: NDArray[np.bool_]
) -> CalibrationSample:
    """Held-out posts with their scores `[n]`, beside the posts `[m]` that order the tests of a risk."""
    return CalibrationSample(
        p_error=scores["low_confidence"],
        sarcasm=scores["sarcasm"],
        conflict=scores["conflict"],
        novel=scores.get("novel", np.full(len(judge), np.nan)),
        label=judge.probabilities["sentiment"].argmax(1).astype(np.int64),
        wrong=judge.wrong,
        order_score=order_score,
        order_wrong=order_wrong,
    )


def within_budget(own: Thresholds, scores: dict[Reason, Floats], budget: float) -> Thresholds:
    """Thresholds moved together, in log-odds, so that the budget covers the posts deferred for any reason."""
    level = threshold_for_budget(defer_scores(scores, own), budget)
    # A little more, or the post on the line would lie above it once thresholds are rounded, and overspend.
    level = level + 1e-9 if level > 0 else 0.0
    return Thresholds(**{f.name: moved(getattr(own, f.name), level) for f in fields(own)})


def _fit_error_model(
    learn: Judged, choose: Judged | None, novelty: Novelty | None, config: RouterConfig
) -> tuple[ErrorModel, Floats, dict[str, Any]]:
    """P(error), its cross-fitted values on `learn`, and the ablation table.

    More signals than confidence are used where they lower AURC on both: on `learn`, cross-fitted, by more than chance,
    and on `choose`, if there is one. It is there because the encoder may have been trained on `learn`, and then
    features of these posts, novelty above all, hold something of the gold label.
    """
    names = tuple(name for name in SIGNALS if name != "novelty" or novelty is not None)
    matrix = signal_matrix(names, learn.probabilities, learn.features, novelty)
    folds = np.array([fold_of(f"router/{key}", config.folds) for key in learn.keys])

    def columns(chosen: Sequence[str]) -> Floats:
        picked: Floats = matrix[:, [names.index(name) for name in chosen]]
        return picked

    def cross_fitted(chosen: Sequence[str]) -> Floats:
        values, probabilities = columns(chosen), np.zeros(len(learn))
        for k in np.unique(folds):
            model = ErrorModel(chosen, config.strength).fit(values[folds != k], learn.wrong[folds != k])
            probabilities[folds == k] = model.predict_proba(values[folds == k])
        return probabilities

    confidence, everything = cross_fitted(CONFIDENCE), cross_fitted(names)
    doubt = columns(CONFIDENCE)[:, 0]
    rows = [_row("all signals", everything, doubt, learn.wrong, config)]
    rows += [
        _row(f"without {n}", cross_fitted([x for x in names if x != n]), doubt, learn.wrong, config) for n in names
    ]
    rows += [_row(f"{name} alone", columns([name])[:, 0], doubt, learn.wrong, config) for name in names]
    full = ErrorModel(names, config.strength).fit(matrix, learn.wrong)
    better, apart = rows[0]["difference"]["high"] < 0, ""
    if choose is not None:
        held = signal_matrix(names, choose.probabilities, choose.features, novelty)
        change = _aurc(full.predict_proba(held), choose.wrong) - _aurc(held[:, names.index("doubt")], choose.wrong)
        better, apart = better and change < 0, f", by {change:+.4f} on {len(choose)} held-out ones; both must fall"
    plain = ErrorModel(CONFIDENCE, config.strength).fit(columns(CONFIDENCE), learn.wrong)
    choice = "all signals" if better else "plain confidence"
    table = {
        "p_error": f"{choice}: signals change AURC by {rows[0]['difference']['value']:+.4f} on the {len(learn)} posts "
        "that fit them, cross-fitted "
        f"(95 % interval {rows[0]['difference']['low']:+.4f} to {rows[0]['difference']['high']:+.4f}){apart}",
        "aurc_of_confidence": round(_aurc(doubt, learn.wrong), 5),
        "ablation": rows,
    }
    return (full, everything, table) if better else (plain, confidence, table)


def _aurc(score: Floats, wrong: NDArray[np.bool_]) -> float:
    return metrics.aurc(-score, ~wrong)


def _row(name: str, score: Floats, doubt: Floats, wrong: NDArray[np.bool_], config: RouterConfig) -> dict[str, Any]:
    """AURC of a score, and its difference to that of plain confidence with a paired interval."""
    difference = metrics.bootstrap(
        lambda s, d, w: _aurc(s, w) - _aurc(d, w), score, doubt, wrong, resamples=config.resamples
    )
    rounded = {key: round(value, 5) for key, value in asdict(difference).items()}
    return {"signals": name, "aurc": round(_aurc(score, wrong), 5), "difference": rounded}


def _novelty_pays(draft: Router, choose: Judged, config: RouterConfig) -> float:
    """The threshold for novelty if posts above it, that confidence would keep, are wrong more often; else `inf`."""
    if draft.novelty is None:
        return np.inf
    scores = draft.scores(choose.probabilities, choose.features)
    kept = scores["low_confidence"] <= threshold_for_budget(scores["low_confidence"], config.budget)
    threshold = threshold_for_budget(scores["novel"], config.novel_share)
    novel = kept & (scores["novel"] > threshold)
    others = kept & ~novel
    if not novel.any() or not others.any():
        return np.inf
    right = int((~choose.wrong[novel]).sum())
    # As few right answers as these, were they as often right as the others, have this probability.
    by_chance = at_most(right, int(novel.sum()), 1 - float(choose.wrong[others].mean()))
    return threshold if by_chance < 0.05 else np.inf


def reached(wrong: NDArray[np.bool_], deferred: NDArray[np.bool_], config: RouterConfig) -> dict[str, Any]:
    """What the thresholds reach on the posts they were fitted on, each with a 95 % bootstrap interval."""
    kept = ~deferred

    def share(flags: NDArray[np.bool_]) -> dict[str, float] | None:
        if not len(flags):
            return None
        interval = metrics.bootstrap(lambda x: float(x.mean()), flags, resamples=config.resamples)
        return {name: round(value, 4) for name, value in asdict(interval).items()}

    return {
        "date": today(),
        "posts": len(wrong),
        "coverage": share(kept),
        "error_rate": share(wrong),
        "error_rate_kept": share(wrong[kept]),
        "error_rate_deferred": share(wrong[deferred]),
        "alpha": config.alpha,
        "labels": list(LABELS),
    }
