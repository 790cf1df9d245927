"""The general text stage: teachers that differ, and a tower that learns from labels and teachers together."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from hybrid_mmsa.encoders.wordpieces import WordPieces
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.training.common.batches import alike
from hybrid_mmsa.training.common.loop import LoopConfig
from hybrid_mmsa.training.common.multitask import taught_loss
from hybrid_mmsa.training.posts.rows import TextRow
from hybrid_mmsa.training.towers import text
from hybrid_mmsa.training.towers.text import GeneralConfig, train_general, train_teacher
from hybrid_mmsa.training.towers.text_tower import read_states
from hybrid_mmsa.types import Sample

SMALL = GeneralConfig(
    loop=LoopConfig(epochs=6, learning_rate=5e-3),
    teachers=2,
    teacher=LoopConfig(epochs=4, learning_rate=5e-3),
    batch_size=8,
)


def test_without_teachers_the_loss_is_that_of_the_labels():
    logits = {"sentiment": torch.randn(4, 3), "sarcasm": torch.randn(4, 2)}
    gold = {"sentiment": torch.tensor([0, 2, -1, 1]), "sarcasm": torch.tensor([-1, -1, 1, -1])}
    nobody = {head: torch.zeros_like(values) for head, values in logits.items()}
    found = taught_loss(logits, gold, nobody, share=0.0, beside=0.3, smoothing=0.0)
    wanted = cross_entropy(logits["sentiment"][[0, 1, 3]], torch.tensor([0, 2, 1]), reduction="sum")
    wanted += cross_entropy(logits["sarcasm"][2:3], torch.tensor([1]), reduction="sum")
    assert torch.allclose(found, wanted / 4)


def test_teachers_count_their_share_and_beside_labels_what_they_are_given():
    logits, sure = {"sentiment": torch.randn(2, 3)}, {"sentiment": torch.eye(3)[[2, 1]]}
    gold = {"sentiment": torch.tensor([0, -1])}
    told = cross_entropy(logits["sentiment"], torch.tensor([0, 1]), reduction="none")
    taught = cross_entropy(logits["sentiment"], torch.tensor([2, 1]), reduction="none")
    found = taught_loss(logits, gold, sure, share=0.75, beside=0.5, smoothing=0.0)
    assert torch.allclose(found, (0.25 * told[0] + 0.75 * taught[0] + 0.5 * taught[1]) / 2)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=300), st.integers(1, 16), st.integers(0, 5))
def test_batches_hold_every_row_once_and_little_padding(lengths, size, order):
    batches = alike(np.array(lengths), size, order)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert max(len(batch) for batch in batches) <= size
    again = alike(np.array(lengths), size, order)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def row(text, target=None, **labels):
    return TextRow(Sample(text=text, target=target), text, target, labels, "train")


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """Sixty rows; the start weights are tiny."""
    happy, sad = [row("we love it", sentiment=2)] * 20, [row("so sad", sentiment=0)] * 20
    found = (
        happy + sad + [row("a great day in the sun", target="sun", target_=2)] * 10 + [row("my team", sarcasm=1)] * 10
    )
    found = [replace(r, labels={k.rstrip("_"): v for k, v in r.labels.items()}) for r in found]
    tiny.text_tower(tmp_path / "start")
    monkeypatch.setattr(text, "start_folder", lambda: tmp_path / "start")
    monkeypatch.setattr(text, "general_rows", lambda data: (found, {"drawn": found[::7]}))
    return found


@pytest.fixture
def pieces(tmp_path):
    return WordPieces(tiny.write_tokenizer(tmp_path / "tokenizer.json"), tiny.MAX_TOKENS)


def test_teachers_differ_and_speak_of_what_they_are_asked(rows, pieces, tmp_path):
    one, other = (train_teacher(rows, pieces, SMALL, tmp_path / "runs", k) for k in range(2))
    assert np.abs(one["emotion"] - other["emotion"]).max() > 1e-3
    named = np.array([r.target is not None for r in rows])
    for said in (one, other):
        assert np.allclose(said["target"].sum(1), named, atol=1e-2)
        assert np.allclose(said["sentiment"].sum(1), ~named, atol=1e-2)
    again = train_teacher(rows, pieces, SMALL, tmp_path / "runs", 0)
    assert np.array_equal(again["sentiment"], one["sentiment"]), "a finished teacher is read, not trained"


def test_the_tower_learns_labels_and_what_teachers_say_beside_them(rows, pieces, tmp_path):
    runs = tmp_path / "runs"
    tower = train_general(tmp_path, pieces, SMALL, runs)
    said = read_states(tower, pieces, rows).logits(tower)
    assert (said["sentiment"].argmax(1)[:40] == [2] * 20 + [0] * 20).all()
    assert json.loads((runs / "general" / "dev.json").read_text())["drawn"]["sentiment/accuracy"] == 1.0
    # Nobody labelled the emotion of these rows, but the teachers spoke of it, each from its own untrained head.
    teachers = np.mean([train_teacher(rows, pieces, SMALL, runs, k)["emotion"] for k in range(2)], axis=0)
    shares = torch.from_numpy(said["emotion"]).softmax(1).numpy()
    untaught = train_general(tmp_path, pieces, replace(SMALL, teachers=0), tmp_path / "alone")
    alone = torch.from_numpy(read_states(untaught, pieces, rows).logits(untaught)["emotion"]).softmax(1).numpy()
    asked = [i for i, r in enumerate(rows) if r.target is None]
    assert np.abs(shares - teachers)[asked].mean() < np.abs(alone - teachers)[asked].mean()


def test_another_recipe_is_not_mixed_in(rows, pieces, tmp_path):
    train_general(tmp_path, pieces, SMALL, tmp_path / "runs")
    with pytest.raises(InputError, match="another recipe"):
        train_general(tmp_path, pieces, replace(SMALL, share=0.1), tmp_path / "runs")
