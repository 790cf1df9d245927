"""The faithfulness programme measures what it says. No corpus, no clock."""

import numpy as np
import pytest
import tiny

from eval.bench.explain import faithfulness as program
from hybrid_mmsa.fusion import FusionHead
from hybrid_mmsa.types import LABELS, Features, Sample


def test_ties_are_counted_and_left_out():
    falls = [program.Fall(0.2, 0.5), program.Fall(0.5, 0.5), program.Fall(0.6, 0.5), program.Fall(0.1, 0.5)]
    found = program.share_of_falls(falls)
    assert (found["posts"], found["ties"]) == (3, 1)
    assert found["share"] == pytest.approx(2 / 3)
    assert found["low"] < 2 / 3 < found["high"]
    assert found["mean_fall_beyond_random"] == pytest.approx(0.6 / 4)


def test_ranks_are_compared_where_there_are_any():
    up = np.arange(6.0)
    assert program.correlation(up, up**3) == pytest.approx(1)
    assert program.correlation(up, -up) == pytest.approx(-1)
    assert program.correlation(up, np.ones(6)) is None
    assert program.correlation(up[:3], up[:3]) is None


def test_a_head_learns_the_labels_it_is_given_and_keeps_the_rest():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    values = {side: rng.normal(size=(90, 8)).astype(np.float32) + 2 * np.eye(8)[labels] for side in ("text", "image")}
    values = {side: v.astype(np.float32) for side, v in values.items()}
    start = FusionHead(tiny.fusion_arrays(8, 8))
    posts = [Sample(text="a", label=LABELS[k]) for k in labels]
    head = program.fit_head(start, values, posts)
    whole = np.ones(90, dtype=bool)
    features = Features(
        text_features=values["text"],
        image_features=values["image"],
        has_text=whole,
        has_image=whole,
        has_target=~whole,
        n_tokens=np.ones(90, np.int64),
        truncated=~whole,
        unknown_share=np.zeros(90, np.float32),
    )
    assert (head.logits(features)["sentiment"].argmax(1) == labels).mean() > 0.9
    assert (start.logits(features)["sentiment"].argmax(1) == labels).mean() < 0.7
    assert np.array_equal(head.arrays["text.sarcasm.weight"], start.arrays["text.sarcasm.weight"])
