"""Fast answers and verdicts become one posterior, and asking is switched off where it gains nothing."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from hybrid_mmsa.artefacts import PoolingFile
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.pooling import Pooling, VerdictWeights, fit_pooling, pool
from hybrid_mmsa.training.routing.router import Judged
from hybrid_mmsa.training.routing.verdicts import GAIN_LEVEL, fit_verdicts, gain_from
from hybrid_mmsa.types import LABELS, POST_KINDS, Features, Sample, Verdict

POSTERIORS = arrays(np.float64, (7, 3), elements=st.floats(0.01, 1)).map(lambda a: a / a.sum(1, keepdims=True))
NEUTRAL = np.array([1.0, 0, 0, 0, 0])


def drawn(n=400, seed=0, fast=1.0, slow=2.0):
    """Gold labels, and posteriors of two voices that know something of them, each by itself."""
    random = np.random.default_rng(seed)
    gold = random.integers(0, 3, n)
    voices = []
    for knows in (fast, slow):
        logits = knows * np.eye(3)[gold] + random.normal(size=(n, 3))
        voices.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    return gold, *voices


def log_loss(p, gold):
    return -np.log(p[np.arange(len(gold)), gold]).mean()


def verdict(p, **changes):
    values = {label: float(x) for label, x in zip(LABELS, p, strict=True)}
    label = max(values, key=values.get)
    return Verdict(**{"label": label, "probabilities": values, "reasoner": "vlm", "prompt": "p/1@00", **changes})


WORDS, SHOWN = Sample(text="sea"), Sample(text="sea", image="sea.png")


def judged(gold, fast, posts=None):
    """Posts of words, if nothing else is said; what an encoder that reads no targets makes of them."""
    posts = [WORDS] * len(gold) if posts is None else posts
    nothing, yes = np.zeros((len(gold), 1), np.float32), np.ones(len(gold), dtype=bool)
    features = Features(
        text_features=nothing,
        image_features=nothing,
        has_text=np.array([post.text is not None for post in posts]),
        has_image=np.array([post.image is not None for post in posts]),
        has_target=~yes,
        n_tokens=np.ones(len(gold), np.int64),
        truncated=~yes,
        unknown_share=nothing[:, 0],
    )
    keys = [f"post {i}" for i in range(len(gold))]
    return Judged({"sentiment": fast.astype(np.float32)}, features, gold, keys, posts=posts)


@given(POSTERIORS, POSTERIORS)
def test_with_no_weight_on_the_reasoner_the_pooled_posterior_is_the_fast_one(fast, said):
    assert np.allclose(pool(fast, said, NEUTRAL), fast, atol=1e-12)
    assert np.allclose(pool(fast, said, np.array([0, 1.0, 0, 0, 0])), said, atol=1e-12)


@given(POSTERIORS, POSTERIORS, arrays(np.float64, 5, elements=st.floats(0, 3)))
def test_pooled_rows_are_posteriors_and_agreeing_voices_keep_their_label(fast, said, weights):
    pooled = pool(fast, said, weights)
    assert np.allclose(pooled.sum(1), 1)
    weights[2:] = 0
    agreeing = pool(fast, fast, weights + 0.1 * np.eye(5)[0])
    assert (agreeing.argmax(1) == fast.argmax(1)).all()


def test_a_fitted_pooling_is_better_than_either_voice_and_hears_the_better_one_more():
    gold, fast, said = drawn()
    weights = fit_pooling(fast, said, gold)
    new_gold, new_fast, new_said = drawn(seed=1)
    pooled = pool(new_fast, new_said, weights)
    assert log_loss(pooled, new_gold) < min(log_loss(new_fast, new_gold), log_loss(new_said, new_gold))
    assert weights[1] > weights[0] > 0


def test_the_fit_is_the_lowest_point():
    gold, fast, said = drawn(200, slow=0.5)
    weights = fit_pooling(fast, said, gold)

    def loss(w):
        return 200 * log_loss(pool(fast, said, w), gold) + 2.5 * ((w - NEUTRAL) ** 2).sum()

    for step in 0.01 * np.concatenate([np.eye(5), -np.eye(5)]):
        assert loss(weights) < loss(weights + step)


def test_a_reasoner_that_is_wrong_on_purpose_is_not_heard():
    gold, fast, _ = drawn()
    lies = np.roll(fast, 1, axis=1)
    lies[np.arange(400), gold] = 0.01
    weights = fit_pooling(fast, lies / lies.sum(1, keepdims=True), gold)
    assert weights[1] == 0
    assert weights[0] > 0


def test_asking_begins_where_it_gains_and_nowhere_else():
    p_error = np.linspace(0, 0.7, 300)
    random = np.random.default_rng(0)
    gained = np.where(p_error > 0.35, 0.4, -0.2) + random.normal(0, 0.3, 300)
    folds = random.integers(0, 10, 300)
    gain = gain_from(p_error, gained, folds)
    assert gain.p_error == pytest.approx(0.35, abs=0.05)
    assert gain.share == pytest.approx(0.5, abs=0.1)
    assert gain.log_loss == pytest.approx(0.4, abs=0.1)
    mixed = random.permutation(300)
    again = gain_from(p_error[mixed], gained[mixed], folds[mixed])
    assert (again.p_error, again.share) == (gain.p_error, gain.share)
    assert again.log_loss == pytest.approx(gain.log_loss)
    assert gain_from(p_error, gained + 1, folds).p_error == 0


@pytest.mark.parametrize("gained", [np.full(200, -0.1), np.zeros(200), np.random.default_rng(1).normal(-0.05, 1, 200)])
def test_where_nothing_is_gained_asking_is_switched_off(gained):
    assert gain_from(np.linspace(0, 0.7, 200), gained, np.arange(200) % 10).p_error == math.inf


def test_a_gain_that_is_chance_is_found_about_as_rarely_as_the_test_says():
    """The best of many lines shows a gain on the posts it was drawn on; four in ten such tests would pass."""
    random = np.random.default_rng(5)
    found = [
        gain_from(random.random(400), random.normal(0, 0.5, 400), np.arange(400) % 10).p_error < math.inf
        for _ in range(200)
    ]
    assert np.mean(found) < GAIN_LEVEL + 3 * (GAIN_LEVEL * (1 - GAIN_LEVEL) / 200) ** 0.5


def test_a_line_does_not_part_posts_of_one_p_error():
    p_error = np.repeat([0.1, 0.3, 0.5], 40)
    gained = np.tile([-0.3, 0.5], 60) + np.repeat([-0.5, 0.2, 0.4], 40)
    gain = gain_from(p_error, gained, np.arange(120) % 10)
    assert (gain.p_error, gain.share) == (0.3, pytest.approx(2 / 3))


def test_verdicts_that_know_more_are_asked_for_and_empty_ones_are_not():
    gold, fast, said = drawn(300)
    p_error = 1 - fast.max(1)
    good = fit_verdicts(judged(gold, fast), p_error, [verdict(p) for p in said], {"posts from": "a test"})
    assert good.kinds["words"].gain_from < 0.3
    facts = good.kinds["words"].fitted_on
    assert facts["accuracy"]["pooled"]["value"] > facts["accuracy"]["fast"]["value"]
    assert facts["gained_per_100_asked"] > 5
    assert set(facts["asking"]) == {"share", "log_loss", "p_value"}
    assert "milliseconds" not in facts, "nobody said what a verdict took"
    timed = [verdict(p, timings={"prefill": 90.0, "decode": 30.0}) for p in said]
    assert fit_verdicts(judged(gold, fast), p_error, timed, {}).kinds["words"].fitted_on["milliseconds"] == 120
    shrug = [verdict([0.2, 0.3, 0.5])] * 300
    useless = fit_verdicts(judged(gold, fast), p_error, shrug, {})
    assert useless.kinds["words"].gain_from == math.inf
    json.dumps(useless.to_dict(), allow_nan=False)


def test_verdicts_of_two_models_or_too_few_are_refused():
    gold, fast, said = drawn(60)
    verdicts = [verdict(p) for p in said]
    with pytest.raises(InputError, match="more than one model"):
        fit_verdicts(judged(gold, fast), gold / 3, [*verdicts[1:], verdict(said[0], reasoner="other")], {})
    with pytest.raises(InputError, match="needs 50"):
        fit_verdicts(judged(gold[:9], fast[:9]), gold[:9] / 3, verdicts[:9], {})


def test_posts_with_a_target_may_be_asked_with_a_prompt_of_their_own():
    gold, fast, said = drawn(60)
    of_words, of_picture = (Sample(**{side: "sea"}, target="sea") for side in ("text", "image"))
    posts = [of_words, of_picture] * 15 + [WORDS] * 30
    verdicts = [verdict(p, prompt="p_target/1@22" if s.target else "p/1@00") for p, s in zip(said, posts, strict=True)]
    pooling = fit_verdicts(judged(gold, fast, posts), gold / 3, verdicts, {})
    assert (pooling.prompt, pooling.target_prompt) == ("p/1@00", "p_target/1@22")
    again = written_and_read(pooling)
    assert again.fits(verdicts[0])
    assert again.fits(verdicts[-1])
    assert list(again.kinds) == ["words", "target"]
    with pytest.raises(InputError, match="more than one model, adapter or prompt"):
        fit_verdicts(judged(gold, fast), gold / 3, verdicts, {})


WEIGHTS = VerdictWeights(fast_weight=0.8, verdict_weight=1.2, bias=(0.1, 0.0, -0.1), gain_from=math.inf)


def written_and_read(pooling):
    """The pooling as its file holds it."""
    return Pooling.from_dict(PoolingFile.model_validate_json(json.dumps(pooling.to_dict())).model_dump())


def test_a_pooling_survives_its_file_and_counts_for_one_reasoner_only():
    pooling = Pooling(reasoner="vlm", adapter=None, prompt="p/1@00", kinds={"words": WEIGHTS})
    again = written_and_read(pooling)
    assert again == pooling
    said = verdict([0.2, 0.3, 0.5])
    assert again.fits(said)
    for change in ({"reasoner": "other"}, {"prompt": "p/1@11"}, {"adapter": "mine"}):
        assert not again.fits(verdict([0.2, 0.3, 0.5], **change))
    p = again.kinds["words"].posterior(np.array([0.5, 0.3, 0.2], np.float32), said)
    assert (p.dtype, p.sum()) == (np.float32, pytest.approx(1))


def test_each_kind_of_post_is_pooled_by_weights_of_its_own():
    """What helps words alone may harm posts with a picture: here the verdicts on those are noise."""
    gold, fast, said = drawn(600)
    has_image = np.arange(600) % 2 == 1
    said[has_image] = np.random.default_rng(1).dirichlet(np.ones(3), has_image.sum())
    posts = judged(gold, fast, [SHOWN if shown else WORDS for shown in has_image])
    pooling = fit_verdicts(posts, 1 - fast.max(1), [verdict(p) for p in said], {})
    assert list(pooling.kinds) == ["words", "picture"]
    words, pictures = pooling.kinds["words"], pooling.kinds["picture"]
    assert words.verdict_weight > 1 > 0.2 > pictures.verdict_weight
    assert words.gain_from < 0.3
    assert pictures.gain_from == math.inf
    assert (words.fitted_on["posts"], pictures.fitted_on["posts"]) == (300, 300)


def test_a_rare_kind_of_post_shares_the_weights_of_all():
    gold, fast, said = drawn(160)
    posts = judged(gold, fast, [SHOWN] * 20 + [WORDS] * 140)
    pooling = fit_verdicts(posts, gold / 3, [verdict(p) for p in said], {})
    assert [weights.fitted_on["posts"] for weights in pooling.kinds.values()] == [140, 160]


def test_a_pooling_holds_for_no_kind_of_post_that_it_was_not_fitted_to():
    pooling = Pooling(reasoner="vlm", adapter=None, prompt="p/1@00", kinds={"words": WEIGHTS, "picture": WEIGHTS})
    said, picture = verdict([0.2, 0.3, 0.5]), object()
    assert pooling.weights(said, Sample(text="sea")) is WEIGHTS
    assert pooling.weights(said, Sample(text="sea", image=picture)) is WEIGHTS
    assert pooling.weights(said, Sample(text="sea", target="sea")) is None
    unseen = verdict([0.2, 0.3, 0.5], unseen=("image",))
    assert pooling.weights(unseen, Sample(text="sea", image=picture)) is None, "of another kind: it saw less"
    assert pooling.weights(verdict([0.2, 0.3, 0.5], reasoner="other"), Sample(text="sea")) is None


def test_a_file_with_one_pooling_for_all_posts_is_still_read():
    """Such files were written up to 0.1."""
    former = {"reasoner": "vlm", "adapter": None, "prompt": "p/1@00", **WEIGHTS.to_dict()}
    read = Pooling.from_dict(PoolingFile.model_validate_json(json.dumps(former)).model_dump())
    assert read.kinds == dict.fromkeys(POST_KINDS, WEIGHTS)


@pytest.mark.parametrize(
    "change",
    [
        {"bias": [0, 0]},
        {"fast_weight": "much"},
        {"verdict_weight": -1.0},
        {"gain_from": "x"},
        {"gain_from": math.nan},
    ],
)
def test_a_pooling_file_with_a_wrong_part_is_refused(change):
    values = Pooling(reasoner="vlm", adapter=None, prompt=None, kinds={"words": WEIGHTS}).to_dict()
    for wrong in (
        {"reasoner": None},
        {"kinds": {"words": {**WEIGHTS.to_dict(), **change}}},
        {"kinds": {"films": WEIGHTS.to_dict()}},
        {"kinds": {"words": {}}},
    ):
        with pytest.raises(ValidationError):
            PoolingFile.model_validate({**values, **wrong})
