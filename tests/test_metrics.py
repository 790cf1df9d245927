"""Every metric against scikit-learn or a case computed by hand; bounds and invariances as properties."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from hybrid_mmsa import metrics as m
from hybrid_mmsa.errors import InputError

LABELS = [0, 1, 2]


def drawn(n=200, seed=3):
    random = np.random.default_rng(seed)
    gold = random.integers(0, 3, n)
    probabilities = random.dirichlet([1, 1, 1], n)
    probabilities[np.arange(n), gold] += 0.4
    return gold, probabilities / probabilities.sum(1, keepdims=True)


@st.composite
def labelled(draw):
    n = draw(st.integers(1, 30))
    gold = np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    weights = draw(st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=n, max_size=n))
    probabilities = np.array(weights)
    return gold, probabilities / probabilities.sum(1, keepdims=True)


def test_confusion_and_label_metrics_are_those_of_scikit_learn():
    gold, probabilities = drawn()
    predicted = probabilities.argmax(1)
    counts = m.confusion(gold, predicted, 3)
    np.testing.assert_array_equal(counts, sk.confusion_matrix(gold, predicted, labels=LABELS))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(gold, predicted, labels=LABELS, zero_division=0)
    np.testing.assert_allclose(m.class_precision(counts), precision)
    np.testing.assert_allclose(m.class_recall(counts), recall)
    np.testing.assert_allclose(m.class_f1(counts), f1)
    assert m.accuracy(counts) == pytest.approx(sk.accuracy_score(gold, predicted))
    for ours, average in ((m.macro_f1, "macro"), (m.weighted_f1, "weighted")):
        assert ours(counts) == pytest.approx(sk.f1_score(gold, predicted, average=average))
    assert m.macro_precision(counts) == pytest.approx(sk.precision_score(gold, predicted, average="macro"))
    assert m.macro_recall(counts) == pytest.approx(sk.recall_score(gold, predicted, average="macro"))


def test_a_class_never_named_and_never_met_scores_zero():
    counts = m.confusion(np.array([0, 0, 1]), np.array([0, 0, 0]), 3)
    np.testing.assert_allclose(m.class_precision(counts), [2 / 3, 0, 0])
    np.testing.assert_allclose(m.class_f1(counts), [0.8, 0, 0])
    assert m.weighted_f1(counts) == pytest.approx(0.8 * 2 / 3)


def test_nll_and_brier_are_those_of_scikit_learn():
    gold, probabilities = drawn()
    assert m.nll(gold, probabilities) == pytest.approx(sk.log_loss(gold, probabilities, labels=LABELS))
    one_sided = probabilities[:, :2] / probabilities[:, :2].sum(1, keepdims=True)
    binary = np.minimum(gold, 1)
    # Summed over two classes, the Brier score is twice the usual one.
    assert m.brier(binary, one_sided) == pytest.approx(2 * sk.brier_score_loss(binary, one_sided[:, 1]))


def test_nll_of_an_impossible_label_is_finite():
    assert m.nll(np.array([1]), np.array([[1.0, 0.0]])) == pytest.approx(-log(1e-12))


def test_calibration_error_by_hand():
    # Two posts at confidence 0.9, one right; two at 0.6, both right: (2·|0.5-0.9| + 2·|1-0.6|) / 4.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    gold = np.array([0, 1, 0, 0])
    assert m.calibration_error(gold, probabilities) == pytest.approx(0.4)
    table = m.reliability(gold, probabilities, bins=10)
    assert table.count.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2]
    assert table.accuracy[9] == 0.5


def test_risk_coverage_by_hand():
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    correct = np.array([True, False, True, True])
    coverage, risk = m.risk_coverage(confidence, correct)
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3, 1 / 4])
    assert m.aurc(confidence, correct) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert m.coverage_at_risk(confidence, correct, 0.25) == 1.0
    assert m.coverage_at_risk(confidence, correct, 0.2) == 0.25
    assert m.coverage_at_risk(confidence, ~correct, 0.2) == 0.0


def test_no_threshold_can_part_equal_confidences():
    assert m.coverage_at_risk(np.array([0.9, 0.9]), np.array([True, False]), 0.1) == 0.0


def test_deferral_and_cost_by_hand():
    deferred = np.array([True, False, False, True])
    assert m.deferral_rate(deferred) == 0.5
    assert m.cost(deferred, fast=1.0, slow=20.0) == 11.0


def test_mcnemar_by_hand():
    gold = np.zeros(10, dtype=int)
    first, second = gold.copy(), gold.copy()
    second[:5] = 1  # the first alone is right five times, the second never
    test = m.mcnemar(gold, first, second)
    assert (test.first_only, test.second_only) == (5, 0)
    assert test.p_value == pytest.approx(2 / 2**5)
    assert m.mcnemar(gold, first, first).p_value == 1.0


def test_mcnemar_is_the_exact_binomial_test():
    gold, probabilities = drawn(300)
    first, second = probabilities.argmax(1), np.roll(gold, 1)
    test = m.mcnemar(gold, first, second)
    expected = stats.binomtest(test.first_only, test.first_only + test.second_only, 0.5).pvalue
    assert test.p_value == pytest.approx(expected)


def test_both_bootstraps_agree_with_theory():
    gold, probabilities = drawn(400)
    predicted = probabilities.argmax(1)
    interval = m.bootstrap_labels(m.accuracy, m.confusion(gold, predicted, 3), seed=1)
    one_by_one = m.bootstrap(lambda g, p: float((g == p).mean()), gold, predicted, resamples=1000, seed=2)
    assert interval.value == one_by_one.value
    half = 1.96 * np.sqrt(interval.value * (1 - interval.value) / 400)
    for found in (interval, one_by_one):
        assert found.high - found.value == pytest.approx(half, rel=0.15)
        assert found.value - found.low == pytest.approx(half, rel=0.15)


def test_bootstrap_is_repeatable_and_wider_at_a_higher_level():
    gold, probabilities = drawn(50)
    counts = m.confusion(gold, probabilities.argmax(1), 3)
    assert m.bootstrap_labels(m.macro_f1, counts, seed=7) == m.bootstrap_labels(m.macro_f1, counts, seed=7)
    narrow, wide = (m.bootstrap_labels(m.macro_f1, counts, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_paired_difference_keeps_the_pairing():
    gold, probabilities = drawn(300)
    first = probabilities.argmax(1)
    second = first.copy()
    second[:20] = (gold[:20] + 1) % 3
    paired = m.paired_difference(m.accuracy, gold, first, second, 3)
    alone = [m.bootstrap_labels(m.accuracy, m.confusion(gold, p, 3)) for p in (first, second)]
    assert paired.value == pytest.approx(alone[0].value - alone[1].value)
    assert paired.high - paired.low < (alone[0].high - alone[0].low) + (alone[1].high - alone[1].low)
    same = m.paired_difference(m.macro_f1, gold, first, first, 3)
    assert (same.low, same.value, same.high) == (0, 0, 0)


@given(labelled())
def test_bounds(case):
    gold, probabilities = case
    predicted = probabilities.argmax(1)
    counts = m.confusion(gold, predicted, 3)
    for metric in (m.accuracy, m.macro_f1, m.weighted_f1, m.macro_precision, m.macro_recall):
        assert 0 <= metric(counts) <= 1
    assert 0 <= m.calibration_error(gold, probabilities) <= 1
    assert 0 <= m.brier(gold, probabilities) <= 2
    assert m.nll(gold, probabilities) >= 0
    interval = m.bootstrap_labels(m.accuracy, counts, resamples=50)
    assert 0 <= interval.low <= interval.high <= 1


@given(labelled(), st.integers(0, 2**32 - 1))
def test_order_of_posts_changes_nothing(case, seed):
    gold, probabilities = case
    order = np.random.default_rng(seed).permutation(len(gold))
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == gold
    for metric in (m.nll, m.brier, m.calibration_error):
        assert metric(gold[order], probabilities[order]) == pytest.approx(metric(gold, probabilities))
    assert m.aurc(confidence[order], correct[order]) == pytest.approx(m.aurc(confidence, correct))


@given(labelled())
def test_risk_ends_at_the_error_rate_and_a_perfect_ranking_has_least_area(case):
    gold, probabilities = case
    correct = probabilities.argmax(1) == gold
    _, risk = m.risk_coverage(probabilities.max(1), correct)
    assert risk[-1] == pytest.approx(1 - correct.mean())
    assert m.aurc(correct.astype(float), correct) <= m.aurc(probabilities.max(1), correct) + 1e-12


@given(labelled(), st.permutations(LABELS))
def test_renaming_the_classes_changes_no_mean(case, names):
    gold, probabilities = case
    names = np.array(names)
    counts = m.confusion(gold, probabilities.argmax(1), 3)
    renamed = m.confusion(names[gold], names[probabilities.argmax(1)], 3)
    for metric in (m.accuracy, m.macro_f1, m.weighted_f1, m.macro_recall):
        assert metric(counts) == pytest.approx(metric(renamed))


@pytest.mark.parametrize(
    ("gold", "predicted"),
    [
        (np.array([], dtype=int), np.array([], dtype=int)),
        (np.array([0]), np.array([0, 1])),
        (np.array([3]), np.array([0])),
    ],
    ids=["empty", "unequal", "unknown class"],
)
def test_arrays_that_cannot_be_scored_are_refused(gold, predicted):
    with pytest.raises(InputError):
        m.confusion(gold, predicted, 3)
