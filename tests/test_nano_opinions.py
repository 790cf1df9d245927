"""Soft labels for nano: what the fast tier says of every row, and how much it counts beside what people said."""

import numpy as np
import pytest
import torch
from PIL import Image

from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import resolve_adapter
from hybrid_mmsa.reasoning import load_prompt
from hybrid_mmsa.training.nano.answers import _softened
from hybrid_mmsa.training.nano.corpora import NanoPost
from hybrid_mmsa.training.nano.cues import WordEvidence
from hybrid_mmsa.training.nano.lessons import KINDS
from hybrid_mmsa.training.nano.opinions import opinions
from hybrid_mmsa.training.nano.rows import rows_of
from hybrid_mmsa.types import LABELS, Sample


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "sunset.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    return path


def row(corpus, **sample):
    return next(rows_of(NanoPost(Sample(id="1", **sample), corpus), load_prompt("nano"), WordEvidence().fit([])))


def test_opinions_are_the_fast_tiers_own_probabilities(picture):
    words = "I love this, what a day"
    rows = [
        row("mvsa_single", text=words, image=picture, label="positive", text_label="positive"),
        row("semeval2017", text=words, label="positive"),
        row("twitter1269", image=picture, label="positive", image_label="positive"),
        row("twitter2015", text=words, target="this", label="positive"),
    ]
    found = opinions(rows, resolve_adapter("default"))
    posts = [Sample(text=r.sample.text, image=r.sample.image, target=r.sample.target) for r in rows]
    analyses = Analyzer.from_pretrained().analyze_batch(posts)
    assert found.shape == (4, 3, 3)
    for said, analysis in zip(found, analyses, strict=True):
        assert said[0] == pytest.approx([analysis.sentiment.probabilities[label] for label in LABELS], abs=2e-4)
    assert not found[1, 2].any(), "there is no picture to have an opinion on"
    assert not found[2, 1].any()
    assert found[0, 1] == pytest.approx(found[1, 1], abs=1e-5), "a side is judged by itself"
    assert found[0, 2] == pytest.approx(found[2, 2], abs=1e-5)
    assert not np.allclose(found[3, 1], found[1, 1], atol=1e-3), "about the target something else is said"


def test_nobody_is_asked_about_memes_and_a_picture_that_cannot_be_read_is_not_there(picture, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    rows = [
        row("memotion", text="me on mondays", image=picture, label="negative"),
        row("mmsd2", text="oh great", sarcastic=True),
        row("mvsa_single", text="so good", image=tmp_path / "broken.jpg", label="positive"),
    ]
    memes, unlabelled, broken = opinions(rows, resolve_adapter("default"))
    assert not memes.any()
    assert not unlabelled.any(), "there is no label to soften"
    assert broken[1].sum() == pytest.approx(1, abs=1e-5)
    assert not broken[2].any()
    assert opinions([], resolve_adapter("default")).shape == (0, 3, 3)


def test_an_opinion_counts_its_share_on_the_tokens_it_is_about():
    logits = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    gold = torch.tensor([5, 3, 2, 3, 1, 5])
    losses = torch.nn.functional.cross_entropy(logits, gold, reduction="none")
    words = torch.tensor([5, 3, 2])
    said = torch.zeros(2, 3, 3)  # of the second row's picture nothing is said
    said[0] = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.2, 0.5, 0.3]])
    said[1, 0] = torch.tensor([0.3, 0.3, 0.4])
    names = ("label", "text_says", "picture_says", "picture_says", "sarcastic", "claim")
    kinds = torch.tensor([KINDS[name] for name in names])
    mixed = _softened(losses, logits, words, said, (torch.tensor([0, 0, 0, 1, 0, 1]), kinds), share=0.25)
    for token in range(3):
        by_hand = -(said[0, token] * logits[token].log_softmax(0)[words]).sum()
        assert mixed[token] == pytest.approx(float(0.75 * losses[token] + 0.25 * by_hand), rel=1e-5), names[token]
    assert torch.equal(mixed[3:], losses[3:])
