"""Heads on frozen features: what they learn, what they are pulled to, and what is refused. Without torch."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa import Analyzer
from hybrid_mmsa.encoders import extract_features
from hybrid_mmsa.errors import ArtefactError, InputError
from hybrid_mmsa.fusion import STRATEGIES, log_softmax
from hybrid_mmsa.training.heads.frozen import FEW_SHOT, FrozenConfig, cross_fit_heads, fit_frozen
from hybrid_mmsa.training.heads.logistic import LinearHead, choose_head, fit_heads
from hybrid_mmsa.training.heads.strategies import JoiningConfig, compare_strategies
from hybrid_mmsa.training.posts.labelled import Labelled, labels_of
from hybrid_mmsa.types import LABELS, Features, Sample

WIDTHS = (12, 20)
RNG = np.random.default_rng(0)
DIRECTIONS = [RNG.normal(size=(3, width)) for width in WIDTHS]


@dataclasses.dataclass
class DrawnEncoder:
    """Names features that were drawn."""

    name: str = "compact:drawn"
    hash: str = "1" * 64


def drawn(n, seed, *, sarcastic=False):
    """Features whose sides each hold their own label under noise, and the labels; opposed sides are not drawn."""
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for a in range(3) for b in range(3) if {a, b} != {0, 2}]
    said, shown = (np.array(side) for side in zip(*(pairs[i] for i in rng.integers(0, len(pairs), n)), strict=True))
    joint = np.where(said == 1, shown, said)
    text, image = (
        (0.6 * directions[side] + rng.normal(size=(n, width))).astype(np.float32)
        for directions, side, width in zip(DIRECTIONS, (said, shown), WIDTHS, strict=True)
    )
    yes = np.ones(n, dtype=bool)
    features = Features(
        text_features=text,
        image_features=image,
        has_text=yes,
        has_image=yes,
        has_target=~yes,
        n_tokens=np.full(n, 5),
        truncated=~yes,
        unknown_share=np.zeros(n, np.float32),
    )
    samples = [
        Sample(
            text="x",
            label=LABELS[j],
            text_label=LABELS[t],
            image_label=LABELS[i],
            sarcastic=bool(t == 0) if sarcastic else None,
        )
        for j, t, i in zip(joint, said, shown, strict=True)
    ]
    return Labelled(features, labels_of(samples), np.arange(n) % 5, [str(i) for i in range(n)])


def accuracy(adapter, posts, task="sentiment"):
    found = adapter.posteriors(posts.features)[task]
    return (found.argmax(1) == posts.labels["text.joint"]).mean()


@pytest.fixture(scope="module")
def fitted():
    return fit_frozen(drawn(400, 1), drawn(160, 2), DrawnEncoder(), name="drawn")


def test_both_sides_together_beat_either(fitted):
    unseen = drawn(500, 3)
    both = accuracy(fitted, unseen)
    assert both > max(accuracy(fitted, unseen, side) for side in ("text_alone", "image_alone")) + 0.1
    assert both > 0.75


def test_probabilities_are_calibrated(fitted):
    from hybrid_mmsa.metrics import calibration_error

    unseen = drawn(2000, 4)
    found = fitted.posteriors(unseen.features)["sentiment"]
    assert calibration_error(unseen.labels["text.joint"], found) < 0.06


def test_a_task_without_labels_has_no_head(fitted):
    assert not fitted.head.has("text.sarcasm")
    assert np.isnan(fitted.posteriors(drawn(5, 5).features)["sarcasm"]).all()
    taught = fit_frozen(drawn(400, 1, sarcastic=True), None, DrawnEncoder(), name="drawn")
    unseen = drawn(300, 6, sarcastic=True)
    mocking = taught.posteriors(unseen.features)["sarcasm"].argmax(1)
    assert (mocking == unseen.labels["text.sarcasm"]).mean() > 0.8


def test_fitting_twice_gives_the_same(fitted):
    again = fit_frozen(drawn(400, 1), drawn(160, 2), DrawnEncoder(), name="drawn")
    assert all(np.array_equal(again.head.arrays[name], values) for name, values in fitted.head.arrays.items())
    assert again.calibration.temperatures == fitted.calibration.temperatures
    assert again.router.thresholds == fitted.router.thresholds


def test_saved_and_loaded_it_answers_alike(fitted, tmp_path):
    from hybrid_mmsa.adapters import Adapter

    fitted.save(tmp_path / "drawn")
    found = Adapter.load(tmp_path / "drawn")
    assert found.head.strategy == "gated"
    assert np.array_equal(
        found.posteriors(drawn(9, 7).features)["sentiment"], fitted.posteriors(drawn(9, 7).features)["sentiment"]
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_can_be_chosen(strategy, tmp_path):
    from hybrid_mmsa.adapters import Adapter

    config = FrozenConfig(joining=JoiningConfig(strategy), penalties=(1, 10))
    adapter = fit_frozen(drawn(200, 1), None, DrawnEncoder(), name="drawn", config=config)
    adapter.save(tmp_path / strategy)
    loaded = Adapter.load(tmp_path / strategy)
    assert loaded.head.strategy == strategy
    assert accuracy(loaded, drawn(300, 3)) > 0.7


def test_few_posts_lose_nothing_of_a_good_start(fitted):
    """From nothing, few posts teach little; from a start they keep what it knows."""
    few, unseen = drawn(45, 8), drawn(600, 9)
    begun = fit_frozen(few, None, DrawnEncoder(), name="few", config=FEW_SHOT, start=fitted)
    fresh = fit_frozen(few, None, DrawnEncoder(), name="few", config=FEW_SHOT)
    assert accuracy(begun, unseen) > accuracy(fitted, unseen) - 0.02
    assert accuracy(begun, unseen) > accuracy(fresh, unseen)


def test_words_alone_keep_the_start_s_picture_heads_and_fusion(fitted):
    posts = drawn(120, 10)
    blind = dataclasses.replace(posts, features=posts.features.without("image"))
    adapter = fit_frozen(blind, None, DrawnEncoder(), name="words", start=fitted)
    assert np.array_equal(adapter.head.arrays["image.joint.weight"], fitted.head.arrays["image.joint.weight"])
    assert np.array_equal(adapter.head.arrays["fusion.gate"], fitted.head.arrays["fusion.gate"])
    assert not np.array_equal(adapter.head.arrays["text.joint.weight"], fitted.head.arrays["text.joint.weight"])
    with pytest.raises(InputError, match="posts with image"):
        fit_frozen(blind, None, DrawnEncoder(), name="words")


def test_too_few_posts_are_counted():
    with pytest.raises(InputError, match=r"found \d+ negative, \d+ neutral, \d+ positive posts with text"):
        fit_frozen(drawn(20, 1), None, DrawnEncoder(), name="few")


def test_held_out_opinions_are_worse_than_fitted_ones():
    """Evidence must come from heads that had not seen the post: noise features show whether it does."""
    posts = drawn(90, 11)
    noise = np.random.default_rng(0).normal(size=(90, 300)).astype(np.float32)
    blank = dataclasses.replace(posts, features=dataclasses.replace(posts.features, text_features=noise))
    seen = cross_fit_heads(blank, FrozenConfig(penalties=(0.01,), least=10))
    gold = blank.labels["text.joint"]
    fitted = LinearHead(seen.arrays["text.joint.weight"], seen.arrays["text.joint.bias"]).logits(noise)
    assert (fitted.argmax(1) == gold).mean() > 0.9
    assert (seen.logits["text.joint"].argmax(1) == gold).mean() < 0.6


@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_a_stronger_penalty_stays_nearer_to_the_start(seed, penalty):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 5)).astype(np.float32), rng.integers(0, 3, 30)
    start = LinearHead(rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=3).astype(np.float32))
    strong, weak = fit_heads(x, y, 3, [10 * penalty, penalty], start)
    away = [np.linalg.norm(head.weight - start.weight) for head in (strong, weak)]
    assert away[0] <= away[1] + 1e-4
    logs = [-log_softmax(h.logits(x).astype(float))[np.arange(30), y].sum() for h in (strong, weak)]
    assert logs[1] <= logs[0] + 1e-3


def test_caution_prefers_the_start_where_posts_prove_nothing():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 30)).astype(np.float32), rng.integers(0, 3, 40)
    start = LinearHead(np.zeros((3, 30), np.float32), np.zeros(3, np.float32))
    choice = choose_head(x, y, np.arange(40) % 5, 3, (0.1, 1, 100), start, caution=1.0)
    assert choice.penalty == 100
    with pytest.raises(ValueError, match="two folds"):
        choose_head(x, y, np.zeros(40, int), 3, (1,))


def test_the_strategies_are_compared_on_the_same_posts():
    posts = drawn(300, 12)
    seen = cross_fit_heads(posts, FrozenConfig(penalties=(1, 10)))
    rows = compare_strategies(seen.evidence, posts.folds)
    assert [row.strategy for row in rows] == list(STRATEGIES)
    for row in rows:
        assert row.gain.low <= row.gain.value <= row.gain.high
        assert row.accuracy > max(row.text_alone, row.image_alone)


def test_features_are_kept_and_found_again(analyzer, tmp_path):
    """A second run encodes nothing; a changed post and a damaged shard are noticed."""
    posts = [Sample(text=f"post {i}") for i in range(70)]
    counted = []
    first = extract_features(analyzer.encoder, posts, tmp_path, advance=lambda: counted.append(1))
    assert len(counted) == 70

    class Spent:
        name, hash = analyzer.encoder.name, analyzer.encoder.hash

        def encode(self, samples):
            raise AssertionError("nothing is left to encode")

    again = extract_features(Spent(), posts, tmp_path)
    assert np.array_equal(again.text_features, first.text_features)
    assert np.allclose(again.text_features[69], analyzer.encoder.encode(posts[69:]).text_features[0], atol=1e-4)
    with pytest.raises(AssertionError):
        extract_features(Spent(), [Sample(text="post 70")], tmp_path)
    with pytest.raises(InputError, match="post 1"):
        extract_features(analyzer.encoder, [posts[0], Sample(text=" ")], tmp_path)
    shard = next(tmp_path.rglob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(ArtefactError, match="delete it"):
        extract_features(Spent(), posts, tmp_path)


def test_no_torch_is_needed():
    modules = "hybrid_mmsa.training.heads.adapting, hybrid_mmsa.training.heads.strategies"
    program = f"import sys; sys.modules['torch'] = None; import {modules}"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_default_model_still_answers(analyzer):
    """Whatever a model lacks, the bundled one has all heads."""
    answer = Analyzer.analyze(analyzer, "what a lovely day")
    assert answer.emotion is not None
    assert answer.sarcasm is not None
