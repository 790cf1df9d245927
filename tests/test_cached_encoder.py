"""A remembered post has the features it had; what is forgotten is encoded again."""

import threading

import numpy as np
import pytest
from PIL import Image

from hybrid_mmsa import Analyzer, Sample
from hybrid_mmsa.encoders import CachedEncoder
from hybrid_mmsa.inputs import read_sample


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Analyzer.from_pretrained(tiny_model).encoder


def picture(shade):
    return Image.new("RGB", (40, 30), (shade, 10, 200))


POSTS = [
    read_sample(sample)
    for sample in (
        Sample(text="good day"),
        Sample(text="good day", target="day"),
        Sample(text="good day", image=picture(1)),
        Sample(text="good day", image=picture(2)),
        Sample(image=picture(1)),
    )
]


def equal(a, b):
    return all(np.allclose(getattr(a, name), getattr(b, name), atol=1e-5) for name in a.__slots__)


def test_features_are_those_of_the_encoder(encoder):
    cached = CachedEncoder(encoder)
    assert cached.hash == encoder.hash
    assert equal(cached.encode(POSTS), encoder.encode(POSTS))
    assert equal(cached.encode(POSTS[::-1]), encoder.encode(POSTS[::-1]))
    assert (cached.hits, cached.misses) == (5, 5)


def test_equal_posts_in_a_batch_are_encoded_once(encoder):
    cached = CachedEncoder(encoder)
    again = cached.encode([POSTS[2], POSTS[0], POSTS[2]])
    assert (cached.hits, cached.misses) == (1, 2)
    assert equal(again, encoder.encode([POSTS[2], POSTS[0], POSTS[2]]))
    assert len(cached.encode([])) == 0


def test_the_posts_used_longest_ago_are_forgotten(encoder):
    cached = CachedEncoder(encoder, size=2)
    for i in (0, 1, 0, 2, 0, 1):
        cached.encode([POSTS[i]])
    assert (cached.hits, cached.misses) == (2, 4)
    with pytest.raises(ValueError, match="one or more, not 0"):
        CachedEncoder(encoder, size=0)


def test_threads_share_it(encoder):
    cached, right = CachedEncoder(encoder, size=3), []
    wanted = encoder.encode(POSTS)

    def work():
        right.append(all(equal(cached.encode(POSTS), wanted) for _ in range(10)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 8
    assert cached.hits + cached.misses == 8 * 10 * len(POSTS)
