"""The fusion head: a gated product of experts that knows when a side is missing, and how it is fitted."""

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.fusion import STRATEGIES, FusionHead, log_softmax, sigmoid, softmax
from hybrid_mmsa.types import EMOTIONS, Features

WIDTHS = (5, 7)
FUSION_SHAPES = STRATEGIES["gated"].shapes
LOGITS = arrays(np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-60, 60, width=32))


def head(**changes):
    return FusionHead({**tiny.fusion_arrays(*WIDTHS), **changes})


def product_of_experts():
    """Gates 1, each side's `joint` opinion as it is, nothing else."""
    plain = {name: np.zeros(shape, np.float32) for name, shape in FUSION_SHAPES.items()}
    plain["fusion.text"][:, 3:] = plain["fusion.image"][:, 3:] = np.eye(3)
    return head(**plain)


def features(n=6, seed=0, *, text=True, image=True, target=False):
    rng = np.random.default_rng(seed)

    def flags(value):
        return np.broadcast_to(np.asarray(value, dtype=bool), n).copy()

    return Features(
        text_features=rng.normal(size=(n, WIDTHS[0])).astype(np.float32),
        image_features=rng.normal(size=(n, WIDTHS[1])).astype(np.float32),
        has_text=flags(text),
        has_image=flags(image),
        has_target=flags(target),
        n_tokens=np.full(n, 3),
        truncated=flags(False),
        unknown_share=np.zeros(n, np.float32),
    )


def drawn_opinions(rng, labels, strength):
    """Logits of a side that knows the label by `strength`, with honest noise."""
    return (strength * np.eye(3)[labels] + rng.normal(size=(len(labels), 3))).astype(np.float32)


def log_loss(logits, labels):
    return -log_softmax(logits.astype(np.float64))[np.arange(len(labels)), labels].mean()


@given(LOGITS)
def test_probabilities_sum_to_one_and_keep_the_order(logits):
    p = softmax(logits)
    assert np.allclose(p.sum(1), 1, atol=1e-5)
    assert (np.take_along_axis(p, logits.argmax(1)[:, None], 1)[:, 0] == p.max(1)).all()
    assert np.allclose(np.exp(log_softmax(logits)), p)


def test_no_number_is_too_large():
    assert np.allclose(softmax(np.array([[1e30, -1e30, 0]], np.float32)), [[1, 0, 0]])
    assert np.allclose(sigmoid(np.array([-1e4, 0, 1e4])), [0, 0.5, 1])
    assert np.isnan(softmax(np.full((1, 3), np.nan))).all()


def test_gates_of_one_make_a_product_of_experts():
    expert, seen = product_of_experts(), features()
    logits = expert.logits(seen)
    text, image = (
        softmax(f @ expert.arrays[f"{side}.joint.weight"].T + expert.arrays[f"{side}.joint.bias"])
        for side, f in (("text", seen.text_features), ("image", seen.image_features))
    )
    product = text * image
    assert np.allclose(softmax(logits["sentiment"]), product / product.sum(1, keepdims=True), atol=1e-5)
    assert np.allclose(softmax(logits["text_alone"]), text, atol=1e-5)
    assert np.allclose(softmax(logits["image_alone"]), image, atol=1e-5)
    assert np.allclose(softmax(expert.prior_logits()), 1 / 3)


NEEDS = {
    "sentiment": {"text", "image"},
    "text_sentiment": {"text"},
    "image_sentiment": {"image"},
    "target_sentiment": {"target"},
    "text_alone": {"text"},
    "image_alone": {"image"},
    "sarcasm": {"text"},
    "emotion": {"text"},
}


@pytest.mark.parametrize(
    "present", [{"text"}, {"image"}, {"text", "image"}, {"text", "target"}, {"text", "image", "target"}]
)
def test_what_cannot_be_said_is_nan_and_nothing_else_is(present):
    seen = features(text="text" in present, image="image" in present, target="target" in present)
    logits = head().logits(seen)
    assert logits.keys() == NEEDS.keys()
    for task, needed in NEEDS.items():
        assert np.isnan(logits[task]).all() == (not needed <= present), task
        assert np.isnan(logits[task]).any() == (not needed <= present), task
        assert logits[task].dtype == np.float32


def test_posts_of_all_kinds_go_in_one_batch():
    mixed = features(text=[1, 0, 1, 1, 0, 1], image=[1, 1, 0, 1, 1, 0], target=[0, 0, 1, 1, 0, 0])
    together = head().logits(mixed)
    for i in range(len(mixed)):
        for task, values in head().logits(mixed.take([i])).items():
            assert np.allclose(values[0], together[task][i], atol=1e-5, equal_nan=True), task


def test_a_side_that_is_not_there_has_no_say():
    one, other = features(seed=1, image=False), features(seed=2, image=False)
    noisy = Features(**{**{n: getattr(one, n) for n in one.__slots__}, "image_features": other.image_features})
    for task, values in head().logits(one).items():
        assert np.array_equal(values, head().logits(noisy)[task], equal_nan=True), task
    whole = features(seed=1)
    assert np.allclose(head().logits(whole)["text_alone"], head().logits(one)["text_alone"])
    assert np.allclose(head().logits(whole.without("image"))["text_alone"], head().logits(one)["text_alone"])


def test_what_is_expected_of_any_post_is_the_head_with_neither_side():
    nothing = np.zeros((4, 3), np.float32)
    nobody = np.zeros(4, bool)
    fused = head().fuse((nothing, nothing + 3), (nothing - 1, nothing), nobody, nobody)
    assert np.allclose(fused, head().prior_logits())


@pytest.mark.parametrize("name", ["fusion.pair", "text.emotion.bias", "image.joint.weight", "text.sentiment.weight"])
def test_a_head_that_lacks_an_array_names_it(name):
    values = tiny.fusion_arrays(*WIDTHS)
    with pytest.raises(ArtefactError, match=name.replace(".", r"\.")):
        FusionHead({**values, name: values[name][:0]})
    del values[name]
    with pytest.raises(ArtefactError, match="fusion head"):
        FusionHead(values)


VIEWS = [(True, True), (True, False), (False, True), (False, False)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("view", VIEWS)
def test_gradients_are_those_of_the_served_loss(strategy, view):
    """Central differences of the log-loss by every number of every array."""
    from hybrid_mmsa.fusion.strategies import Sides
    from hybrid_mmsa.training.heads.strategies import log_loss as loss_and_gradient

    rng = np.random.default_rng(5)
    text, image = (tuple(rng.normal(size=(2, 9, 3))) for _ in range(2))
    sides = Sides.of(text, image, *(np.full(9, there) for there in view))
    labels = rng.integers(0, 3, 9)
    drawn = {name: rng.normal(size=shape) for name, shape in STRATEGIES[strategy].shapes.items()}
    _, gradient = loss_and_gradient(strategy, drawn, sides, labels)
    assert gradient.keys() == drawn.keys()
    for name, values in drawn.items():
        for place in np.ndindex(values.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = {**drawn, name: values.copy()}
                moved[name][place] += step
                ends.append(loss_and_gradient(strategy, moved, sides, labels)[0])
            assert gradient[name][place] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6), (name, place)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_answers_with_either_side_missing(strategy):
    arrays = tiny.fusion_arrays(*WIDTHS, strategy=strategy)
    joined = FusionHead(arrays, strategy)
    one, other = features(seed=1, image=False), features(seed=2, image=False)
    noisy = Features(**{**{n: getattr(one, n) for n in one.__slots__}, "image_features": other.image_features})
    assert np.array_equal(joined.logits(one)["text_alone"], joined.logits(noisy)["text_alone"])
    for task in ("sentiment", "text_alone", "image_alone"):
        assert np.isfinite(joined.logits(features())[task]).all()
    assert np.isfinite(joined.prior_logits()).all()
    for i in range(6):
        alone = joined.logits(features().take([i]))["sentiment"][0]
        assert np.allclose(alone, joined.logits(features())["sentiment"][i], atol=1e-5)


def test_attention_weighs_only_what_is_there():
    from hybrid_mmsa.fusion.strategies import Sides, attention

    rng = np.random.default_rng(6)
    text, image = (tuple(rng.normal(size=(2, 5, 3))) for _ in range(2))
    drawn = tiny.fusion_arrays(*WIDTHS, strategy="attention")
    for has_text, has_image in VIEWS:
        sides = Sides.of(text, image, np.full(5, has_text), np.full(5, has_image))
        weights = attention(drawn, sides)
        there = np.repeat([has_text, has_image], 2)
        assert np.allclose(weights[:, ~there], 0)
        assert np.allclose(weights.sum(1), there.sum())


def test_an_unknown_strategy_is_named():
    with pytest.raises(ArtefactError, match="'loud'; there are early, late, attention, gated"):
        FusionHead(tiny.fusion_arrays(*WIDTHS), "loud")


def test_a_task_without_a_head_has_no_answer_and_costs_no_other():
    values = tiny.fusion_arrays(*WIDTHS)
    without = {name: v for name, v in values.items() if not name.startswith(("text.sarcasm", "text.emotion"))}
    logits, whole = FusionHead(without).logits(features()), head().logits(features())
    assert np.isnan(logits["sarcasm"]).all()
    assert logits["emotion"].shape == (6, len(EMOTIONS))
    assert np.array_equal(logits["sentiment"], whole["sentiment"])
    del values["text.emotion.bias"]
    with pytest.raises(ArtefactError, match=r"text\.emotion\.bias"):
        FusionHead(values)


@pytest.fixture(scope="module")
def evidence():
    from hybrid_mmsa.training.heads.strategies import Evidence

    rng = np.random.default_rng(7)
    labels = rng.choice(3, size=1200, p=[0.2, 0.3, 0.5])
    sides = [drawn_opinions(rng, labels, s) for s in (1.0, 1.2, 0.7, 0.9)]
    return Evidence(*sides, labels)


def fitted(evidence, **config):
    from hybrid_mmsa.training.heads.strategies import JoiningConfig, fit_strategy

    return head(**fit_strategy(evidence, JoiningConfig(**config)))


def views(gated, part):
    text, image = (part.text, part.text_joint), (part.image, part.image_joint)
    yes, no = np.ones(len(part.labels), bool), np.zeros(len(part.labels), bool)
    return {
        k: gated.fuse(text, image, *v) for k, v in {"both": (yes, yes), "text": (yes, no), "image": (no, yes)}.items()
    }


def test_two_sides_that_know_something_know_more_together(evidence):
    seen, unseen = evidence.take(np.arange(800)), evidence.take(np.arange(800, 1200))
    gated = fitted(seen)
    losses = {name: log_loss(logits, unseen.labels) for name, logits in views(gated, unseen).items()}
    raw = min(log_loss(unseen.text_joint, unseen.labels), log_loss(unseen.image_joint, unseen.labels))
    assert losses["both"] < min(losses["text"], losses["image"]) - 0.05
    assert losses["both"] < raw - 0.05
    # One side alone must still be an answer, better than the share of each label.
    base = -np.log(np.bincount(seen.labels) / len(seen.labels))[unseen.labels].mean()
    assert max(losses["text"], losses["image"]) < base


def test_a_side_that_knows_nothing_does_little_harm(evidence):
    from hybrid_mmsa.training.heads.strategies import Evidence

    noise = np.random.default_rng(8).normal(size=(2, len(evidence.labels), 3)).astype(np.float32)
    deaf = Evidence(evidence.text, evidence.text_joint, *noise, evidence.labels)
    seen, unseen = deaf.take(np.arange(800)), deaf.take(np.arange(800, 1200))
    losses = {name: log_loss(logits, unseen.labels) for name, logits in views(fitted(seen), unseen).items()}
    unfitted = log_loss(log_softmax(unseen.text_joint) + log_softmax(unseen.image_joint), unseen.labels)
    assert losses["both"] < losses["text"] + 0.05
    assert losses["both"] < unfitted - 0.1, "a product of experts would believe the noise"


def test_hidden_sides_teach_the_head_to_do_with_one(evidence):
    spoilt, taught = (
        views(fitted(evidence, penalty=1e-4, least_penalty=0.0, hidden=weight), evidence) for weight in (0, 0.25)
    )
    for side in ("text", "image"):
        assert log_loss(taught[side], evidence.labels) < log_loss(spoilt[side], evidence.labels) - 0.01
    assert log_loss(taught["both"], evidence.labels) < log_loss(spoilt["both"], evidence.labels) + 0.02


def test_fitting_twice_gives_the_same_head(evidence):
    one, two = fitted(evidence), fitted(evidence)
    assert all(np.array_equal(one.arrays[name], two.arrays[name]) for name in FUSION_SHAPES)
