"""Keep or defer: each post by its own numbers, by lines that were drawn for a budget or a precision."""

import json
import math
from dataclasses import replace

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
    CONFIDENCE,
    SIGNALS,
    ErrorModel,
    Novelty,
    Policy,
    Router,
    Thresholds,
    conflict,
    opposition,
    signal_matrix,
    threshold_at_precision,
    threshold_for_budget,
)
from hybrid_mmsa.types import Features

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


def features(values, seed=0):
    """Features of the same posts: sides are there where their posteriors are."""
    rng = np.random.default_rng(seed)
    text, image = (~np.isnan(values[task][:, 0]) for task in ("text_sentiment", "image_sentiment"))
    n = len(text)
    return Features(
        text_features=rng.normal(size=(n, 24)).astype(np.float32) * text[:, None],
        image_features=rng.normal(size=(n, 40)).astype(np.float32) * image[:, None],
        has_text=text,
        has_image=image,
        has_target=np.zeros(n, bool),
        n_tokens=np.where(text, rng.integers(1, 40, n), 0),
        truncated=np.zeros(n, bool),
        unknown_share=(rng.random(n) * 0.2 * text).astype(np.float32),
    )


def rows(values, which):
    return {task: array[which] for task, array in values.items()}


def decide(router, values, *options, **more):
    return router.decide(values, features(values), *options, **more)


def deferred(decisions):
    return np.array([d.decision == "defer" for d in decisions])


POLICIES = (
    None,
    Policy(kind="budget", share=0.3),
    Policy(kind="risk", risk=0.25),
    Policy(kind="threshold", p_error=0.4),
    Policy(kind="always"),
)


@pytest.mark.parametrize("policy", POLICIES)
def test_each_decision_is_the_posts_own(policy):
    values, router = posteriors(), tiny.router()
    seen = features(values)
    together = router.decide(values, seen, policy=policy)
    for i, decision in enumerate(together):
        assert router.decide(rows(values, [i]), seen.take([i]), policy=policy) == [decision]
    order = np.random.default_rng(1).permutation(len(together))
    assert router.decide(rows(values, order), seen.take(order), policy=policy) == [together[i] for i in order]


def test_a_reason_is_a_score_above_its_threshold():
    values, router = posteriors(), tiny.router(p_error=0.45, sarcasm=0.6, conflict=0.5)
    apart, p_error = opposition(values), router.scores(values, features(values))["low_confidence"]
    decisions = decide(router, values)
    for i, d in enumerate(decisions):
        assert ("low_confidence" in d.reasons) == (p_error[i] > 0.45)
        assert ("sarcasm" in d.reasons) == (values["sarcasm"][i, 1] > 0.6)
        assert ("conflict" in d.reasons) == (apart[i] > 0.5)
        assert (d.decision == "defer") == bool(d.reasons)
        assert (d.answered_by, d.threshold) == ("fast", 0.45)
        assert d.p_error == pytest.approx(p_error[i])
    assert {r for d in decisions for r in d.reasons} == {"low_confidence", "sarcasm", "conflict"}


def test_words_are_hardly_sarcastic_where_the_picture_says_the_same():
    """One post of each: sides that agree, sides that differ, words alone, a picture alone."""
    values = posteriors(4)
    values["sarcasm"] = np.array([[0.1, 0.9], [0.1, 0.9], [0.1, 0.9], [math.nan, math.nan]])
    values["text_sentiment"] = np.array([[0, 0.1, 0.9]] * 3 + [[math.nan] * 3])
    values["image_sentiment"] = np.array([[0, 0, 1.0], [0.7, 0.3, 0], [math.nan] * 3, [0, 0, 1.0]])
    limits = tiny.router(p_error=math.inf, sarcasm=0.6, conflict=math.inf)
    router = replace(limits, sarcasm_by_difference=True)
    score = router.scores(values, features(values))["sarcasm"]
    assert score[:3].tolist() == pytest.approx([0.1, 0.9, 0.9])
    assert math.isnan(score[3])
    assert [d.reasons for d in decide(router, values)] == [(), ("sarcasm",), ("sarcasm",), ()]
    assert [d.reasons for d in decide(limits, values)] == [("sarcasm",)] * 3 + [()], "fitted by an earlier version"


def test_how_sarcasm_counts_goes_with_a_router():
    router = replace(tiny.router(), sarcasm_by_difference=True)
    assert Router.from_dict(router.to_dict(), router.arrays()).sarcasm_by_difference
    earlier = {name: value for name, value in router.to_dict().items() if name != "sarcasm_by_difference"}
    assert not Router.from_dict(earlier, router.arrays()).sarcasm_by_difference


def test_a_missing_side_is_no_reason():
    router = tiny.router(p_error=math.inf, sarcasm=-1, conflict=-1)
    for i, decision in enumerate(decide(router, posteriors())):
        assert decision.reasons == {0: ("sarcasm",), 1: (), 2: ("sarcasm", "conflict")}[i % 3]


def test_a_threshold_of_infinity_switches_a_reason_off_and_is_no_number_to_show():
    decisions = decide(tiny.router(p_error=math.inf, sarcasm=math.inf, conflict=math.inf), posteriors())
    assert all(d.decision == "keep" and d.threshold is None for d in decisions)
    assert json.loads(decisions[0].model_dump_json(), parse_constant=pytest.fail)["decision"] == "keep"


def test_modes_override_the_policy():
    values, router = posteriors(), tiny.router()
    for policy in (None, Policy(kind="always"), Policy(kind="never")):
        assert all(d.decision == "keep" and not d.reasons for d in decide(router, values, "fast", policy))
        deep = decide(router, values, "deep", policy)
        assert all(d.decision == "defer" and d.reasons[-1] == "requested" for d in deep)
    auto = decide(router, values)
    assert [d.reasons for d in auto] == [d.reasons[:-1] for d in decide(router, values, "deep")]


def test_policies_are_what_they_say():
    values, router = posteriors(), tiny.router()
    assert decide(router, values, policy=Policy()) == decide(router, values)
    assert all(d.decision == "keep" for d in decide(router, values, policy=Policy(kind="never")))
    assert all(d.reasons[-1] == "requested" for d in decide(router, values, policy=Policy(kind="always")))
    lines = [decide(router, values, policy=Policy(kind="threshold", p_error=p)) for p in (0, 0.3, 0.6, 1)]
    shares = [deferred(line).sum() for line in lines]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], shares[-1]) == (60, 0)
    assert all(set(d.reasons) <= {"low_confidence"} and d.threshold == 0.3 for d in lines[1])


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_budget_never_lowers_the_deferral_rate_and_defers_all_that_less_did(one, other):
    low, high = sorted((one, other))
    values, router = posteriors(), tiny.router()
    few, many = (deferred(decide(router, values, policy=Policy(kind="budget", share=b))) for b in (low, high))
    assert (many | ~few).all()
    for share in (low, high):
        level = router.level(Policy(kind="budget", share=share))
        assert (router.sample_scores() > level).mean() <= share + 1e-9, "all reasons count within the budget"


def test_a_budget_in_money_or_time_is_the_share_it_pays_for():
    router = tiny.router()
    paid = Policy(kind="budget", per_thousand=600, cost=3)
    assert paid.largest_share == pytest.approx(0.2)
    assert router.level(paid) == router.level(Policy(kind="budget", share=0.2))
    assert Policy(kind="budget", per_thousand=9, cost=0.001).largest_share == 1


def test_a_stricter_risk_keeps_fewer_posts_and_one_that_cannot_be_promised_none():
    values, router = posteriors(), tiny.router()
    kept = [1 - deferred(decide(router, values, policy=Policy(kind="risk", risk=r))).mean() for r in (0.02, 0.2, 0.9)]
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert kept[2] == 1
    assert router.level(Policy(kind="risk", risk=0.02)) == -math.inf


@pytest.mark.parametrize("policy", [Policy(kind="budget", share=0.1), Policy(kind="risk", risk=0.1)])
def test_a_router_without_its_posts_resolves_no_budget_and_says_what_to_do(policy):
    bare = Router.from_dict(tiny.router().to_dict())
    with pytest.raises(ArtefactError, match="hybrid-mmsa route fit"):
        decide(bare, posteriors(), policy=policy)


def test_where_asking_gains_nothing_posts_are_kept_unless_all_are_wanted():
    values, router = posteriors(), tiny.router(sarcasm=0.3)
    for d in decide(router, values, keep_below=0.4):
        assert d.decision == "keep" or d.p_error >= 0.4
    assert not deferred(decide(router, values, keep_below=math.inf)).any()
    assert deferred(decide(router, values, "deep", keep_below=math.inf)).all()


def test_a_promised_risk_is_not_given_up_because_asking_gains_nothing():
    values, router, risk = posteriors(), tiny.router(), Policy(kind="risk", risk=0.25)
    promised = decide(router, values, policy=risk)
    assert deferred(promised).any()
    assert decide(router, values, policy=risk, keep_below=math.inf) == promised


def test_where_p_error_has_no_threshold_a_promise_still_holds_and_a_budget_buys_the_other_reasons():
    values, router = posteriors(), tiny.router(p_error=math.inf, sarcasm=0.6)
    assert deferred(decide(router, values, policy=Policy(kind="risk", risk=0.02))).all()
    bought = deferred(decide(router, values, policy=Policy(kind="budget", share=0.9)))
    assert (bought == deferred(decide(router, values))).all()


def test_a_budget_for_all_posts_defers_all_and_one_for_none_defers_none():
    values = posteriors()
    assert not deferred(decide(tiny.router(p_error=0.01), values, policy=Policy(kind="budget", share=0))).any()
    assert deferred(decide(tiny.router(), values, policy=Policy(kind="budget", share=1))).all()
    sure = tiny.router()
    sure.error_model.bias_ = -30.0  # surer than any post it was calibrated on
    assert deferred(decide(sure, values, policy=Policy(kind="budget", per_thousand=2000, cost=1))).all()


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "threshold"},
        {"p_error": 0.5},
        {"kind": "threshold", "p_error": 1.5},
        {"kind": "sometimes"},
        {"kind": "budget"},
        {"kind": "budget", "per_thousand": 3},
        {"kind": "budget", "share": 0.1, "per_thousand": 3, "cost": 1},
        {"kind": "risk", "share": 0.1},
        {"kind": "risk", "risk": 0.1, "delta": 1},
        {"kind": "never", "risk": 0.1},
    ],
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
    signals = rng.random((300, 4))
    wrong = rng.random(300) < sigmoid(signals @ [2, 1, 0.5, 1] - 1.5)
    for strength in (0.1, 1.0, 10.0):
        ours = ErrorModel("abcd", strength).fit(signals, wrong)
        theirs = LogisticRegression(C=1 / strength, tol=1e-12, max_iter=2000).fit(signals, wrong)
        assert np.allclose(ours.weights_, theirs.coef_[0], atol=1e-4)
        assert ours.bias_ == pytest.approx(theirs.intercept_[0], abs=1e-4)
        assert np.allclose(ours.predict_proba(signals), theirs.predict_proba(signals)[:, 1], atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_p_error_never_falls_when_a_signal_rises_and_is_the_best_such_fit(seed, width):
    rng = np.random.default_rng(seed)
    signals = rng.normal(size=(80, width))
    wrong = rng.random(80) < sigmoid(signals @ rng.normal(size=width))
    wrong[:2] = (False, True)
    model = ErrorModel([str(i) for i in range(width)]).fit(signals, wrong)
    before = model.predict_proba(signals)
    for k in range(width):
        raised = signals.copy()
        raised[:, k] += 0.5
        assert (model.predict_proba(raised) >= before).all()
    slope = signals.T @ (before - wrong) + model.weights_
    # Optimal under the bounds: no slope where a weight is free, and none that points to a useful positive weight.
    assert np.allclose(slope[model.weights_ > 0], 0, atol=1e-5)
    assert (slope[model.weights_ == 0] >= -1e-5).all()
    assert (before - wrong).sum() == pytest.approx(0, abs=1e-5)


def test_separable_errors_still_give_finite_weights():
    signals = np.linspace(0, 1, 40)[:, None]
    fitted = ErrorModel(CONFIDENCE).fit(signals, signals[:, 0] > 0.5)
    assert np.isfinite(fitted.weights_).all()
    assert (np.diff(fitted.predict_proba(signals)) > 0).all()


@pytest.mark.parametrize("wrong", [np.zeros(4, bool), np.ones(4, bool)])
def test_an_error_model_needs_both_kinds_of_answers(wrong):
    with pytest.raises(ValueError, match="right and wrong"):
        ErrorModel().fit(np.zeros((4, 2)), wrong)


def test_nothing_is_predicted_before_fitting():
    with pytest.raises(NotFittedError):
        ErrorModel().predict_proba(np.zeros((1, 5)))


def test_a_plain_error_model_takes_the_probability_at_its_word_and_can_be_saved():
    said = posteriors()
    matrix = signal_matrix(CONFIDENCE, said, features(said), None)
    assert np.allclose(ErrorModel.plain().predict_proba(matrix), 1 - said["sentiment"].max(1), atol=1e-5)
    never = Router(error_model=ErrorModel.plain(), thresholds=Thresholds(np.inf, np.inf, np.inf))
    again = Router.from_dict(json.loads(json.dumps(never.to_dict(), allow_nan=False)))
    assert {each.decision for each in decide(again, said)} == {"keep"}


def test_signals_lie_between_nought_and_one():
    values = posteriors()
    names = [name for name in SIGNALS if name != "doubt"]
    matrix = signal_matrix(names, values, features(values), Novelty(4).fit(features(values, 1)))
    assert matrix.shape == (60, len(names))
    assert not np.isnan(matrix).any()
    assert ((matrix >= -1e-6) & (matrix <= 1 + 1e-6)).all()
    named = dict(zip(names, matrix.T, strict=True))
    assert not named["conflict"][::3].any()
    assert not named["opposition"][::3].any()
    assert not named["sarcasm"][1::3].any()
    assert named["no_image"].tolist() == [float(i % 3 == 0) for i in range(60)]


def test_an_unsure_post_signals_more_than_a_sure_one():
    sure = {
        "sentiment": np.array([[0.98, 0.01, 0.01], [0.34, 0.33, 0.33]]),
        "text_sentiment": np.array([[1.0, 0, 0], [1.0, 0, 0]]),
        "image_sentiment": np.array([[1.0, 0, 0], [0, 0, 1.0]]),
        "sarcasm": np.array([[0.9, 0.1], [0.2, 0.8]]),
    }
    names = ("doubt", "narrowness", "entropy", "conflict", "opposition", "sarcasm")
    matrix = signal_matrix(names, sure, features(sure))
    assert (matrix[1] > matrix[0]).all()
    assert conflict(sure).tolist() == opposition(sure).tolist() == [0, 1]


def test_words_and_picture_that_are_neutral_are_not_opposed():
    calm = {"text_sentiment": np.array([[0, 0, 1.0]]), "image_sentiment": np.array([[0, 1.0, 0]])}
    assert (conflict(calm)[0], opposition(calm)[0]) == (1, 0)


def test_novelty_tells_posts_of_another_kind_and_reads_each_by_itself():
    values = posteriors(300)
    known = features(values, 1)
    novelty = Novelty(8).fit(known)
    again = novelty.score(features(values, 2))
    strange = novelty.score(strangers(values))
    assert again.mean() == pytest.approx(0.5, abs=0.1)
    assert strange.min() > again.max()
    for i in (0, 1, 2):
        assert novelty.score(known.take([i]))[0] == novelty.score(known)[i]
    copied = Novelty.from_arrays(novelty.arrays_)
    assert np.array_equal(copied.score(known), novelty.score(known))
    assert sum(a.nbytes for a in novelty.arrays_.values()) < 200_000


def strangers(values):
    ordinary = features(values, 3)
    return Features(
        text_features=ordinary.text_features * 9,
        image_features=ordinary.image_features * 9,
        has_text=ordinary.has_text,
        has_image=ordinary.has_image,
        has_target=ordinary.has_target,
        n_tokens=ordinary.n_tokens,
        truncated=ordinary.truncated,
        unknown_share=ordinary.unknown_share,
    )


def test_half_a_summary_of_the_training_features_is_refused():
    with pytest.raises(ArtefactError, match="novelty of the text"):
        Novelty.from_arrays({"text.mean": np.zeros(3)})


@pytest.mark.parametrize("p_error", [0.3, math.inf])
def test_a_router_survives_its_file(p_error):
    router = tiny.router(p_error=p_error, conflict=math.inf)
    text = json.dumps(router.to_dict(), allow_nan=False)
    again = Router.from_dict(json.loads(text), router.arrays())
    for policy in POLICIES:
        assert decide(again, posteriors(), policy=policy) == decide(router, posteriors(), policy=policy)
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
    "path", [("thresholds",), ("thresholds", "sarcasm"), ("error_model", "bias"), ("error_model", "signals")]
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


@pytest.mark.parametrize(
    ("part", "number"), [("set_threshold", "high"), ("set_threshold", math.nan), ("error_model", {"bias": math.nan})]
)
def test_a_router_file_with_a_part_that_is_no_number_is_refused(part, number):
    values = tiny.router().to_dict()
    values[part] = {**values[part], **number} if isinstance(number, dict) else number
    with pytest.raises(ArtefactError, match="router"):
        Router.from_dict(values)


def test_a_router_that_reads_what_this_version_lacks_is_refused():
    values = tiny.router().to_dict()
    values["error_model"]["signals"]["mood"] = 1.0
    with pytest.raises(ArtefactError, match="mood"):
        Router.from_dict(values)
    values = tiny.router(novel=0.9).to_dict()
    with pytest.raises(ArtefactError, match="novelty"):
        Router.from_dict(values, tiny.router().arrays())


def test_half_a_calibration_sample_is_refused():
    arrays = tiny.router().arrays()
    del arrays["sample.wrong"]
    with pytest.raises(ArtefactError, match="wrong"):
        Router.from_dict(tiny.router().to_dict(), arrays)
    empty = {name: array[:0] for name, array in tiny.router().arrays().items()}
    with pytest.raises(ArtefactError, match="no posts"):
        Router.from_dict(tiny.router().to_dict(), empty)
