"""Many threads on one analyzer give the answers that one thread gives."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hybrid_mmsa import Analyzer

THREADS = 16
CALLS = 50


def posts():
    """Posts of differing length and shape, so that padding and truncation settings would be seen to leak."""
    rng = np.random.default_rng(7)
    texts = [
        "Great!",
        "The queue was long, the food was cold and nobody said sorry.",
        "Parliament meets again on Tuesday. " * 40,
        None,
        "oh wonderful, another delay 🙄 #lovemondays @airline https://example.org/x",
    ]
    for number, text in enumerate(texts):
        shape = (40 + 30 * number, 120 - 15 * number, 3)
        picture = rng.integers(0, 256, shape, dtype=np.uint8) if number % 2 or text is None else None
        yield text, picture


def call_many(analyzer, first):
    pairs = list(posts())
    return [analyzer.analyze(*pairs[(first + step) % len(pairs)]) for step in range(CALLS)]


@pytest.fixture(scope="module")
def alone(analyzer):
    return [analyzer.analyze(text, picture) for text, picture in posts()]


def test_threads_give_the_answers_of_one_thread(analyzer, alone):
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda first: call_many(analyzer, first), range(THREADS)))
    assert len(answers) == THREADS
    for first, given in enumerate(answers):
        assert given == [alone[(first + step) % len(alone)] for step in range(CALLS)]


def test_thread_count_does_not_change_answers(alone):
    two = Analyzer.from_pretrained(threads=2)
    for expected, (text, picture) in zip(alone, posts(), strict=True):
        given = two.analyze(text, picture)
        assert given.sentiment.label == expected.sentiment.label
        assert given.sentiment.confidence == pytest.approx(expected.sentiment.confidence, abs=1e-4)
