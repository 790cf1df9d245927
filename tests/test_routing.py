"""Keep or defer: each post by its own numbers, by lines that were drawn for a budget or a precision."""

import json
import math

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from hybrid_mmsa.errors import ArtefactError, NotFittedError
from hybrid_mmsa.fusion import sigmoid
from hybrid_mmsa.routing import (
    SIGNALS,
    ErrorModel,
    Policy,
    Router,
    conflict,
    signal_matrix,
    threshold_at_precision,
    threshold_for_budget,
)

SCORES = arrays(np.float64, st.integers(1, 60), elements=st.one_of(st.floats(0, 1), st.just(math.nan), st.just(0.5)))


def posteriors(n=60, seed=0):
    """Drawn posteriors of posts of all kinds: a third words alone, a third pictures alone, a third both."""
    rng = np.random.default_rng(seed)
    values = {
        task: rng.dirichlet(np.full(k, 0.7), n).astype(np.float32)
        for task, k in {"sentiment": 3, "text_sentiment": 3, "image_sentiment": 3, "sarcasm": 2}.items()
    }
    values["image_sentiment"][::3] = np.nan
    for task in ("text_sentiment", "sarcasm"):
        values[task][1::3] = np.nan
    return values


def rows(values, which):
    return {task: array[which] for task, array in values.items()}


def test_each_decision_is_the_posts_own():
    values, router = posteriors(), tiny.router()
    together = router.decide(values)
    assert {d.decision for d in together} == {"keep", "defer"}
    for i, decision in enumerate(together):
        assert router.decide(rows(values, [i])) == [decision]
    order = np.random.default_rng(1).permutation(len(together))
    assert router.decide(rows(values, order)) == [together[i] for i in order]


def test_a_reason_is_a_score_above_its_threshold():
    values, router = posteriors(), tiny.router(p_error=0.45, sarcasm=0.6, conflict=0.5)
    distance, p_error = conflict(values), router.error_model.predict_proba(signal_matrix(values))
    decisions = router.decide(values)
    for i, d in enumerate(decisions):
        assert ("low_confidence" in d.reasons) == (p_error[i] > 0.45)
        assert ("sarcasm" in d.reasons) == (values["sarcasm"][i, 1] > 0.6)
        assert ("conflict" in d.reasons) == (distance[i] > 0.5)
        assert (d.decision == "defer") == bool(d.reasons)
        assert (d.answered_by, d.threshold) == ("fast", 0.45)
        assert d.p_error == pytest.approx(p_error[i])
    assert {r for d in decisions for r in d.reasons} == {"low_confidence", "sarcasm", "conflict"}


def test_a_missing_side_is_no_reason():
    router = tiny.router(p_error=math.inf, sarcasm=-1, conflict=-1)
    for i, decision in enumerate(router.decide(posteriors())):
        assert decision.reasons == {0: ("sarcasm",), 1: (), 2: ("sarcasm", "conflict")}[i % 3]


def test_a_threshold_of_infinity_switches_a_reason_off_and_is_no_number_to_show():
    decisions = tiny.router(p_error=math.inf, sarcasm=math.inf, conflict=math.inf).decide(posteriors())
    assert all(d.decision == "keep" and d.threshold is None for d in decisions)
    assert json.loads(decisions[0].model_dump_json(), parse_constant=pytest.fail)["decision"] == "keep"


def test_modes_override_the_policy():
    values, router = posteriors(), tiny.router()
    for policy in (None, Policy(kind="always"), Policy(kind="never")):
        assert all(d.decision == "keep" and not d.reasons for d in router.decide(values, "fast", policy))
        deep = router.decide(values, "deep", policy)
        assert all(d.decision == "defer" and d.reasons[-1] == "requested" for d in deep)
    auto = router.decide(values)
    assert [d.reasons for d in auto] == [d.reasons[:-1] for d in router.decide(values, "deep")]


def test_policies_are_what_they_say():
    values, router = posteriors(), tiny.router()
    assert router.decide(values, policy=Policy()) == router.decide(values)
    assert all(d.decision == "keep" for d in router.decide(values, policy=Policy(kind="never")))
    assert all(d.reasons[-1] == "requested" for d in router.decide(values, policy=Policy(kind="always")))
    lines = [router.decide(values, policy=Policy(kind="threshold", p_error=p)) for p in (0, 0.3, 0.6, 1)]
    shares = [sum(d.decision == "defer" for d in line) for line in lines]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (60, 0)
    assert all(set(d.reasons) <= {"low_confidence"} and d.threshold == 0.3 for d in lines[1])


@pytest.mark.parametrize(
    "values", [{"kind": "threshold"}, {"p_error": 0.5}, {"kind": "threshold", "p_error": 1.5}, {"kind": "sometimes"}]
)
def test_a_policy_that_makes_no_sense_is_refused(values):
    with pytest.raises(ValidationError):
        Policy(**values)


@given(SCORES, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_budget_never_defers_less_and_no_budget_is_overspent(scores, one, other):
    low, high = sorted((one, other))
    shares = [(scores > threshold_for_budget(scores, b)).mean() for b in (low, high)]
    assert shares[0] <= shares[1]
    assert shares[0] <= low + 1e-9
    assert shares[1] <= high + 1e-9


def test_budgets_at_the_ends():
    scores = np.array([0.0, 0.2, 0.9, math.nan])
    assert not (scores > threshold_for_budget(scores, 0)).any()
    assert (scores > threshold_for_budget(scores, 1)).sum() == 3
    assert threshold_for_budget(np.array([math.nan]), 0.5) == math.inf


@given(SCORES, st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_above_the_line_the_precision_is_kept(scores, precision, seed):
    positive = np.random.default_rng(seed).random(len(scores)) < 0.5
    above = scores > threshold_at_precision(scores, positive, precision, least=3)
    if above.any():
        assert above.sum() >= 3
        assert positive[above].mean() >= precision


def test_a_line_that_nothing_proves_is_not_drawn():
    scores, positive = np.linspace(0, 1, 50), np.arange(50) >= 40
    assert threshold_at_precision(scores, positive, 0.9, least=20) == math.inf
    assert threshold_at_precision(scores, positive, 0.9, least=5) == pytest.approx(scores[38])


def test_newton_finds_what_scikit_learn_finds():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    signals = rng.random((300, len(SIGNALS)))
    wrong = rng.random(300) < sigmoid(signals @ [2, -1, 0.5, 1, 0] - 1.5)
    for strength in (0.1, 1.0, 10.0):
        ours = ErrorModel(strength).fit(signals, wrong)
        theirs = LogisticRegression(C=1 / strength, tol=1e-12, max_iter=2000).fit(signals, wrong)
        assert np.allclose(ours.weights_, theirs.coef_[0], atol=1e-4)
        assert ours.bias_ == pytest.approx(theirs.intercept_[0], abs=1e-4)
        assert np.allclose(ours.predict_proba(signals), theirs.predict_proba(signals)[:, 1], atol=1e-5)


def test_separable_errors_still_give_finite_weights():
    signals = np.linspace(0, 1, 40)[:, None]
    fitted = ErrorModel().fit(signals, signals[:, 0] > 0.5)
    assert np.isfinite(fitted.weights_).all()
    assert (np.diff(fitted.predict_proba(signals)) > 0).all()


@pytest.mark.parametrize("wrong", [np.zeros(4, bool), np.ones(4, bool)])
def test_an_error_model_needs_both_kinds_of_answers(wrong):
    with pytest.raises(ValueError, match="right and wrong"):
        ErrorModel().fit(np.zeros((4, 2)), wrong)


def test_nothing_is_predicted_before_fitting():
    with pytest.raises(NotFittedError):
        ErrorModel().predict_proba(np.zeros((1, 5)))


def test_signals_lie_between_nought_and_one():
    matrix = signal_matrix(posteriors())
    assert matrix.shape == (60, len(SIGNALS))
    assert not np.isnan(matrix).any()
    assert ((matrix >= -1e-6) & (matrix <= 1 + 1e-6)).all()
    named = dict(zip(SIGNALS, matrix.T, strict=True))
    assert not named["conflict"][::3].any()
    assert not named["sarcasm"][1::3].any()


def test_an_unsure_post_signals_more_than_a_sure_one():
    sure = {
        "sentiment": np.array([[0.98, 0.01, 0.01], [0.34, 0.33, 0.33]]),
        "text_sentiment": np.array([[1.0, 0, 0], [1.0, 0, 0]]),
        "image_sentiment": np.array([[1.0, 0, 0], [0, 0, 1.0]]),
        "sarcasm": np.array([[0.9, 0.1], [0.2, 0.8]]),
    }
    matrix = signal_matrix(sure)
    assert (matrix[1] > matrix[0]).all()
    assert conflict(sure).tolist() == [0, 1]


@pytest.mark.parametrize("p_error", [0.3, math.inf])
def test_a_router_survives_its_file(p_error):
    router = tiny.router(p_error=p_error, conflict=math.inf)
    text = json.dumps(router.to_dict(), allow_nan=False)
    again = Router.from_dict(json.loads(text))
    assert again.decide(posteriors()) == router.decide(posteriors())
    assert again.to_dict() == router.to_dict()
    assert again.thresholds.conflict == math.inf
    assert again.fitted_on == {"posts": 0}


def without(values, *path):
    *parents, last = path
    inner = values
    for name in parents:
        inner = inner[name]
    del inner[last]
    return values


@pytest.mark.parametrize(
    "path", [("thresholds",), ("thresholds", "sarcasm"), ("error_model", "bias"), ("error_model", "signals", "entropy")]
)
def test_a_router_file_that_lacks_a_part_is_refused(path):
    with pytest.raises(ArtefactError, match="router"):
        Router.from_dict(without(tiny.router().to_dict(), *path))


@pytest.mark.parametrize("number", ["high", math.nan, [1]])
def test_a_router_file_with_a_wrong_number_is_refused(number):
    values = tiny.router().to_dict()
    values["thresholds"]["p_error"] = number
    with pytest.raises(ArtefactError, match="router"):
        Router.from_dict(values)
