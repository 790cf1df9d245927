"""Promises about a finite number of posts, checked by drawing many; two-sample tests, by posts that shifted or not."""

import math

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa import routing
from hybrid_mmsa.routing import (
    at_most,
    conformal_threshold,
    kolmogorov_smirnov,
    level_for_risk,
    prediction_set,
    same_shares,
    shifts,
)
from hybrid_mmsa.types import LABELS

DRAWS = 300


def test_the_binomial_tail_is_exact():
    from scipy.stats import binom

    for count, n, share in (
        (0, 10, 0.1),
        (3, 50, 0.1),
        (40, 200, 0.3),
        (200, 200, 0.5),
        (0, 0, 0.2),
        (2, 9, 1),
        (9, 9, 1),
    ):
        expected = 1.0 if n == 0 else binom.cdf(count, n, share)
        assert at_most(count, n, share) == pytest.approx(expected, rel=1e-9)


def drawn(random, n):
    """Scores, and errors that come as often as the score says: sigmoid(score)."""
    score = random.normal(-1.2, 1.2, n)
    return score, random.random(n) < 1 / (1 + np.exp(-score))


@pytest.mark.parametrize(("risk", "least"), [(0.1, 0), (0.2, 0.6)])
def test_a_promised_risk_is_broken_no_more_often_than_delta(risk, least):
    """The true error rate of every level is known here, because errors are drawn from the scores."""
    random, delta, broken, kept = np.random.default_rng(0), 0.1, 0, []
    many, errors = drawn(random, 200_000)
    order = routing.testing_order(*drawn(random, 2000), risk, 300)
    for _ in range(DRAWS):
        level = level_for_risk(*drawn(random, 300), order, risk, delta)
        keep = many <= level
        kept.append(keep.mean())
        broken += keep.any() and errors[keep].mean() > risk
    assert broken / DRAWS <= delta + 3 * (delta * (1 - delta) / DRAWS) ** 0.5
    oracle = max((many <= level).mean() for level in order if errors[many <= level].mean() <= risk)
    assert np.mean(kept) >= least * oracle


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_a_looser_promise_keeps_no_less_and_order_changes_nothing(seed, one, other):
    low, high = sorted((one, other))
    random = np.random.default_rng(seed)
    scores, wrong = drawn(random, 120)
    order = routing.testing_order(*drawn(random, 400), low, 120)
    levels = [level_for_risk(scores, wrong, order, risk, 0.1) for risk in (low, high)]
    assert levels[0] <= levels[1]
    mixed = random.permutation(120)
    assert level_for_risk(scores[mixed], wrong[mixed], order, low, 0.1) == levels[0]


def test_levels_to_test_rise_and_end_with_all_posts():
    order = routing.testing_order(*drawn(np.random.default_rng(1), 500), 0.15, 100)
    assert (np.diff(order) > 0).all()
    assert order[-1] == math.inf
    assert level_for_risk(np.zeros(0), np.zeros(0, bool), order, 0.1, 0.1) == -math.inf


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_prediction_sets_hold_the_gold_label_as_often_as_they_say(alpha):
    """Split conformal: over draws of calibration and new posts, coverage is at least 1 - alpha, and not much more."""
    random, hits = np.random.default_rng(2), []
    for _ in range(DRAWS):
        # Overconfident on purpose: the promise does not lean on calibration.
        probabilities = random.dirichlet([0.5, 0.5, 0.5], 80)
        gold = np.array([random.choice(3, p=0.5 * p + 0.5 / 3) for p in probabilities])
        threshold = conformal_threshold(probabilities[:60], gold[:60], alpha)
        hits += [LABELS[g] in prediction_set(p, threshold) for p, g in zip(probabilities[60:], gold[60:], strict=True)]
    assert 1 - alpha - 0.02 <= np.mean(hits) <= 1 - alpha + 1 / 61 + 0.05


def test_too_few_posts_give_all_labels_and_a_set_is_never_empty():
    few = np.array([[0.8, 0.1, 0.1]] * 5)
    threshold = conformal_threshold(few, np.zeros(5, int), 0.1)
    assert prediction_set(few[0], threshold) == LABELS
    assert prediction_set(np.array([0.4, 0.35, 0.25]), 0.9) == ("negative",)
    assert prediction_set(np.array([0.1, 0.45, 0.45]), 0.3) == ("neutral", "positive")


def test_the_post_that_sets_the_threshold_has_its_gold_label_in_its_set():
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], 19)
    gold = probabilities.argmin(1)
    threshold = conformal_threshold(probabilities, gold, 0.3)
    inside = [LABELS[g] in prediction_set(p, threshold) for p, g in zip(probabilities, gold, strict=True)]
    assert sum(inside) == 14, "ceil(20 · 0.7) of the 19"


def test_kolmogorov_smirnov_is_scipys():
    from scipy.stats import ks_2samp

    random = np.random.default_rng(3)
    for shift in (0, 0.1, 0.5):
        first, second = random.normal(size=200), random.normal(shift, 1, 350)
        ours, theirs = kolmogorov_smirnov(first, second), ks_2samp(first, second, method="asymp")
        assert ours[0] == pytest.approx(theirs.statistic)
        assert ours[1] == pytest.approx(theirs.pvalue, abs=0.03)
    assert kolmogorov_smirnov(np.full(3, math.nan), first) == (0.0, 1.0)


def test_shares_are_compared_as_scipy_does():
    from scipy.stats import chi2_contingency

    for table in ([[30, 20, 50], [25, 30, 60]], [[30, 0, 50], [60, 0, 40]], [[9, 0, 0], [4, 0, 0]]):
        array = np.array(table)
        expected = chi2_contingency(array[:, array.sum(0) > 0], correction=False).pvalue
        assert same_shares(*array) == pytest.approx(expected)


def test_posts_of_the_same_kind_show_no_shift_and_others_do():
    sample = tiny.calibration_sample()
    same, other = tiny.calibration_sample(seed=11), tiny.calibration_sample(seed=12)
    scores = {"low_confidence": same.p_error, "sarcasm": same.sarcasm, "conflict": same.conflict}
    assert min(shift.p_value for shift in shifts(sample, scores, same.label)) > 0.001
    moved = {"low_confidence": other.p_error + 0.3, "conflict": np.full(200, math.nan)}
    found = {shift.what: shift.p_value for shift in shifts(sample, moved, np.full(200, 2))}
    assert found.pop("P(sides opposed)") == 1, "there is nothing to compare"
    assert set(found) == {"P(error)", "posts of one side", "labels given"}
    assert max(found.values()) < 1e-6
