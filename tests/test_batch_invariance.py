"""A post's answer does not depend on the posts beside it: alone, padded by a longer one, in a batch of 64."""

import numpy as np
import pytest

from hybrid_mmsa import Sample

TOLERANCE = 1e-4
BATCH = 64
SENTENCE = "the sun over a cold sea makes me happy and sad but never bored on this awful grey wonderful monday"
LONG = Sample(text="this goes on and on and says very little about anything at all " * 60)


def posts():
    """64 posts of all shapes: words only, picture only, both; one word to a page; dark, bright and noisy pictures."""
    rng = np.random.default_rng(3)
    for number in range(BATCH):
        text = " ".join(rng.choice(SENTENCE.split(), size=1 + (number * 7) % 60))
        low, high = sorted(rng.integers(0, 256, size=2))
        height, width = rng.integers(16, 200, size=2)
        picture = rng.integers(low, high + 1, size=(height, width, 3), dtype=np.uint8)
        kind = number % 3
        yield Sample(text=None if kind == 1 else text, image=None if kind == 0 else picture, id=str(number))


def numbers(analysis):
    """Every probability in an answer, by name."""
    found = {"sarcasm": analysis.sarcasm, "conflict": analysis.conflict, "p_error": analysis.route.p_error}
    for name in ("sentiment", "text_sentiment", "image_sentiment", "emotion"):
        prediction = getattr(analysis, name)
        found |= {f"{name} {k}": p for k, p in prediction.probabilities.items()} if prediction else {name: None}
    if analysis.explanation:
        found |= {f"share {side}": share for side, share in analysis.explanation.shares.items()}
    return found


def assert_same(given, expected):
    assert given.id == expected.id
    left, right = numbers(given), numbers(expected)
    assert left.keys() == right.keys()
    for name, value in right.items():
        if value is None:
            assert left[name] is None, name
        else:
            assert left[name] == pytest.approx(value, abs=TOLERANCE), f"post {expected.id}: {name}"


@pytest.fixture(scope="module")
def samples():
    return list(posts())


@pytest.fixture(scope="module")
def alone(analyzer, samples):
    return [analyzer.analyze_batch([sample])[0] for sample in samples]


def test_batch_of_64_answers_as_alone(analyzer, samples, alone):
    for given, expected in zip(analyzer.analyze_batch(samples), alone, strict=True):
        assert_same(given, expected)


def test_order_in_the_batch_does_not_matter(analyzer, samples, alone):
    for given, expected in zip(analyzer.analyze_batch(samples[::-1]), alone[::-1], strict=True):
        assert_same(given, expected)


def test_padding_by_a_longer_neighbour_does_not_matter(analyzer, samples, alone):
    for sample, expected in list(zip(samples, alone, strict=True))[:9]:
        assert_same(analyzer.analyze_batch([sample, LONG])[0], expected)


def test_one_post_many_times_is_one_answer(analyzer, samples, alone):
    copies = [samples[2]] * BATCH
    for given in analyzer.analyze_batch(copies):
        assert_same(given, alone[2])


def test_stream_answers_as_alone(analyzer, samples, alone):
    for given, expected in zip(analyzer.stream(samples), alone, strict=True):
        assert_same(given, expected)


def test_single_call_answers_as_the_batch_of_one(analyzer, samples, alone):
    for sample, expected in list(zip(samples, alone, strict=True))[:6]:
        given = analyzer.analyze(sample.text, sample.image)
        assert_same(given.model_copy(update={"id": expected.id}), expected)
