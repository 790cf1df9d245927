"""The router's fit: more signals only where they pay, a budget that counts every reason, sets that cover."""

import math

import numpy as np
import pytest

from hybrid_mmsa.routing import (
    CONFIDENCE,
    SIGNALS,
    Novelty,
    Policy,
    Router,
    Thresholds,
    defer_scores,
    prediction_set,
    threshold_for_budget,
)
from hybrid_mmsa.training.routing.router import Judged, RouterConfig, fit_router, within_budget
from hybrid_mmsa.types import LABELS, Features

CONFIG = RouterConfig(resamples=100)


def posts(n=600, seed=0, *, sarcasm_misleads=0.0, strangers_mislead=0.0):
    """Calibrated fast answers; of sarcastic posts, or of strange ones, a share is wrong that should have been right."""
    random = np.random.default_rng(seed)
    p = random.dirichlet([0.8, 0.8, 0.8], n)
    gold = np.array([random.choice(3, p=row) for row in p])
    sarcastic, strange = random.random(n) < 0.3, random.random(n) < 0.1
    misled = (sarcastic & (random.random(n) < sarcasm_misleads)) | (strange & (random.random(n) < strangers_mislead))
    gold = np.where(misled, (p.argmax(1) + 1) % 3, gold)
    mocking = np.where(sarcastic, random.uniform(0.6, 0.95, n), random.uniform(0.05, 0.4, n))
    text = random.normal(size=(n, 12)) * np.where(strange, 5, 1)[:, None]
    yes = np.ones(n, bool)
    features = Features(
        text_features=text.astype(np.float32),
        image_features=random.normal(size=(n, 20)).astype(np.float32),
        has_text=yes,
        has_image=yes,
        has_target=~yes,
        n_tokens=random.integers(3, 30, n),
        truncated=~yes,
        unknown_share=np.zeros(n, np.float32),
    )
    probabilities = {
        "sentiment": p,
        "text_sentiment": random.dirichlet([0.5, 0.5, 0.5], n),
        "image_sentiment": random.dirichlet([0.5, 0.5, 0.5], n),
        "sarcasm": np.stack([1 - mocking, mocking], 1),
    }
    values = {task: array.astype(np.float32) for task, array in probabilities.items()}
    return Judged(values, features, gold, [f"{seed}/{i}" for i in range(n)])


def fit(sarcasm=math.inf, novelty=None, **options):
    learn, choose, judge = (posts(seed=seed, **options) for seed in range(3))
    return fit_router(learn, choose, judge, sarcasm=sarcasm, novelty=novelty, facts={}, config=CONFIG)


def test_where_confidence_tells_all_it_is_used_and_the_table_says_why():
    router = fit()
    assert router.error_model.signals == CONFIDENCE
    # The drawn answers are calibrated, so that P(error) takes them at their word.
    assert router.error_model.weights_[0] == pytest.approx(1, abs=0.3)
    assert router.error_model.bias_ == pytest.approx(0, abs=0.3)
    assert router.fitted_on["p_error"].startswith("plain confidence")
    names = {row["signals"] for row in router.fitted_on["ablation"]}
    assert names >= {"all signals", "doubt alone", "without sarcasm", "shortness alone"}


def test_where_another_signal_tells_more_it_is_used():
    router = fit(sarcasm_misleads=0.8)
    assert router.fitted_on["p_error"].startswith("all signals")
    assert set(router.error_model.signals) == set(SIGNALS) - {"novelty"}
    weights = dict(zip(router.error_model.signals, router.error_model.weights_, strict=True))
    assert weights["sarcasm"] > 1
    assert min(weights.values()) >= 0
    rows = {row["signals"]: row["difference"] for row in router.fitted_on["ablation"]}
    assert rows["all signals"]["high"] < 0
    assert rows["without sarcasm"]["value"] > rows["all signals"]["value"]


@pytest.mark.parametrize("sarcasm", [math.inf, 0.5, 0.9])
def test_the_budget_counts_every_reason(sarcasm):
    router = fit(sarcasm)
    assert (router.sample_scores() > 0).mean() <= CONFIG.budget
    assert 1 - router.fitted_on["coverage"]["value"] <= CONFIG.budget + 1e-4
    same = router.sample_scores() > router.level(Policy(kind="budget", share=CONFIG.budget))
    assert (same == (router.sample_scores() > 0)).all()
    fresh = posts(seed=9)
    share = np.mean([d.decision == "defer" for d in router.decide(fresh.probabilities, fresh.features)])
    assert share == pytest.approx(CONFIG.budget, abs=0.06)


def test_own_posts_that_the_encoder_never_saw_speak_for_themselves():
    learn, judge = posts(seed=0, sarcasm_misleads=0.8), posts(seed=2, sarcasm_misleads=0.8)
    summary = Novelty(4).fit(learn.features)
    router = fit_router(learn, None, judge, sarcasm=math.inf, novelty=summary, facts={}, config=CONFIG)
    assert router.fitted_on["p_error"].startswith("all signals")
    assert "held-out" not in router.fitted_on["p_error"]


def test_thresholds_moved_for_a_budget_are_not_rounded_beyond_it():
    random = np.random.default_rng(0)
    for _ in range(300):
        n = random.integers(50, 300)
        scores = {
            "low_confidence": random.uniform(0.01, 0.7, n),
            "sarcasm": random.beta(1, 4, n),
            "conflict": random.beta(1, 4, n),
        }
        own = Thresholds(threshold_for_budget(scores["low_confidence"], 0.2), 0.5, 0.5)
        assert (defer_scores(scores, within_budget(own, scores, 0.2)) > 0).mean() <= 0.2


def test_where_all_other_answers_are_right_novelty_is_judged_and_breaks_nothing():
    summary = Novelty(4).fit(posts(seed=7).features)
    learn, choose, judge = (posts(seed=seed, strangers_mislead=1.0) for seed in range(3))
    calm = summary.score(choose.features) < np.quantile(summary.score(choose.features), 0.9)
    right = choose.probabilities["sentiment"].argmax(1)
    choose = Judged(choose.probabilities, choose.features, np.where(calm, right, (right + 1) % 3), choose.keys)
    router = fit_router(learn, choose, judge, sarcasm=math.inf, novelty=summary, facts={}, config=CONFIG)
    assert router.thresholds.novel < 1


def test_novelty_is_a_reason_only_where_it_pays():
    summary = Novelty(4).fit(posts(seed=7).features)
    assert fit(novelty=summary).thresholds.novel == math.inf
    fitted = fit(novelty=summary, strangers_mislead=1.0)
    assert 0.5 < fitted.thresholds.novel < 1
    again = Router.from_dict(fitted.to_dict(), fitted.arrays())
    fresh = posts(seed=9, strangers_mislead=1.0)
    found = again.decide(fresh.probabilities, fresh.features)
    assert found == fitted.decide(fresh.probabilities, fresh.features)
    assert any("novel" in d.reasons for d in found)


def test_sets_cover_new_posts_and_risk_is_kept():
    router, fresh = fit(), posts(4000, seed=9)
    found = [prediction_set(p, router.set_threshold) for p in fresh.probabilities["sentiment"]]
    assert np.mean([LABELS[g] in labels for g, labels in zip(fresh.gold, found, strict=True)]) > 0.86
    keep = [
        d.decision == "keep"
        for d in router.decide(fresh.probabilities, fresh.features, policy=Policy(kind="risk", risk=0.2))
    ]
    assert np.mean(keep) > 0.2
    assert fresh.wrong[np.array(keep)].mean() < 0.22
