"""The text tower: a teacher tuned on gold labels, a student cut from it, and rows that are rewritten for it."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity, cross_entropy

from hybrid_mmsa.encoders.wordpieces import WordPieces
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.training.common.batches import alike
from hybrid_mmsa.training.common.loop import LoopConfig
from hybrid_mmsa.training.posts.mixture import Mixture
from hybrid_mmsa.training.posts.rewrites import rewritten
from hybrid_mmsa.training.posts.rows import TextRow
from hybrid_mmsa.training.towers import text
from hybrid_mmsa.training.towers.export import export_text_tower
from hybrid_mmsa.training.towers.export_text import MOST_WEIGHT, relative_buckets
from hybrid_mmsa.training.towers.import_text import BUCKETS, FIRST_POSITION, import_text
from hybrid_mmsa.training.towers.onnx_graph import Graph
from hybrid_mmsa.training.towers.text import StudentConfig, TeacherConfig, TextConfig, gold_loss, train_text
from hybrid_mmsa.training.towers.text_tower import HEADS, TextTower, head_scores, read_logits
from hybrid_mmsa.types import Sample

SMALL = TextConfig(
    teacher=TeacherConfig(loop=LoopConfig(epochs=8, learning_rate=5e-3), batch_size=8),
    student=StudentConfig(loop=LoopConfig(epochs=8, learning_rate=5e-3), batch_size=8, layers=(1,)),
    max_tokens=tiny.MAX_TOKENS,
)


def row(words, about=None, /, **labels):
    return TextRow(Sample(text=words, target=about), words, about, labels, "train")


ROWS = [
    *[row("we love it", sentiment=2, sarcasm=0)] * 20,
    *[row("so sad", sentiment=0)] * 20,
    *[row("great sun but awful queue", "sun", target=2), row("great sun but awful queue", "queue", target=0)] * 10,
    *[replace(row("monday", sentiment=(0.2, 0.8, 0.0)), made=True)] * 5,
]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return tiny.write_start(tmp_path_factory.mktemp("start") / "mpnet")


@pytest.fixture(scope="module")
def pieces(start):
    return WordPieces(start / "tokenizer.json", tiny.MAX_TOKENS)


@pytest.fixture(scope="module")
def runs(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "load_mixture", lambda *_, **__: Mixture(ROWS, {"drawn": ROWS[::3]}, {}))
        train_text(folder, start, folder, SMALL)
    return folder


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_both_towers_learn_what_the_rows_say_of_each_task(runs, pieces, stage):
    tower = TextTower.load(runs / stage)
    assert tower.encoder.config.num_hidden_layers == {"teacher": 2, "student": 1}[stage]
    logits = read_logits(tower, pieces, ROWS)
    assert (logits["sentiment"].argmax(1)[:40] == [2] * 20 + [0] * 20).all()
    assert (logits["target"].argmax(1)[40:60] == [2, 0] * 10).all(), "two targets of one text get a label each"
    scores = json.loads((runs / stage / "dev.json").read_text())["drawn"]
    assert scores["sentiment/accuracy"] == scores["target/macro_recall"] == 1


def test_the_student_learns_what_nobody_labelled_from_the_teacher(runs, pieces, start):
    towers = [TextTower.load(runs / stage) for stage in ("teacher", "student")]
    taught, learnt = (torch.from_numpy(read_logits(tower, pieces, ROWS[:40])["emotion"]).softmax(1) for tower in towers)
    torch.manual_seed(3)
    untaught = torch.from_numpy(read_logits(TextTower.begin(start, [1]), pieces, ROWS[:40])["emotion"]).softmax(1)
    assert (taught - learnt).abs().mean() < 0.5 * (taught - untaught).abs().mean()


def test_finished_stages_are_read_and_another_recipe_is_not_mixed_in(runs, start, monkeypatch):
    monkeypatch.setattr(text, "load_mixture", lambda *_, **__: Mixture(ROWS, {}, {}))
    monkeypatch.setattr(text, "train", lambda *_, **__: pytest.fail("trained again"))
    train_text(runs, start, runs, SMALL)
    changed = replace(SMALL, student=replace(SMALL.student, gold=0.9))
    with pytest.raises(InputError, match="another recipe"):
        train_text(runs, start, runs, changed)


def test_a_tower_survives_its_folder(start, pieces, tmp_path):
    tower = TextTower.begin(start).eval()
    tower.save(tmp_path / "tower", start / "tokenizer.json")
    loaded = TextTower.load(tmp_path / "tower")
    batch = pieces.encode(["we love it", "the food was not so very good but my team won this match"], [None, "food"])
    with torch.inference_mode():
        assert torch.allclose(loaded.features(batch), tower.features(batch), atol=0.02)
    weights = load_file(tmp_path / "tower" / "tower.safetensors")
    del weights["heads.sentiment.weight"]
    save_file(weights, tmp_path / "tower" / "tower.safetensors")
    with pytest.raises(ValueError, match=r"does not fit the text tower: .*heads\.sentiment\.weight"):
        TextTower.load(tmp_path / "tower")


def test_a_tower_comes_back_from_its_onnx_file(start, pieces, tmp_path):
    """Weights are within a level of what they were, and all that is not rounded is as it was."""
    tower, path = TextTower.begin(start).eval(), tmp_path / "text.onnx"
    with torch.no_grad():
        for name, value in tower.encoder.named_parameters():
            if name.endswith("bias") and value.ndim == 1:
                value.normal_(std=0.1)
    export_text_tower(tower, start / "tokenizer.json", path, max_tokens=tiny.MAX_TOKENS)
    back = import_text(path, {name: value.numpy() for name, value in tower.heads.state_dict().items()})
    for name, value in back.state_dict().items():
        rows = slice(0, None)
        if "position" in name:
            rows = slice(FIRST_POSITION, None)
        elif "relative" in name:  # distances that no text of so many tokens has are in no file
            rows = torch.from_numpy(np.unique(relative_buckets(tiny.MAX_TOKENS, BUCKETS)))
        known = tower.state_dict()[name]
        level = known.abs().amax() / MOST_WEIGHT if value.ndim == 2 else 0
        assert (value[rows] - known[rows]).abs().max() <= level + 1e-4, name
    batch = pieces.encode(["we love it", "so sad about the queue"], [None, "queue"])
    with torch.inference_mode():
        assert cosine_similarity(back.features(batch), tower.features(batch)).min() > 0.99


def test_a_file_of_another_graph_is_no_tower(tmp_path):
    graph = Graph()
    graph.node("Identity", ["x"], "y")
    graph.save(tmp_path / "other.onnx", {"x": ("float32", ["n"])}, {"y": ["n"]})
    with pytest.raises(ValueError, match="holds 0 products of whole numbers"):
        import_text(tmp_path / "other.onnx", {})


def test_features_are_the_mean_of_a_texts_windows(start, pieces):
    tower = TextTower.begin(start).eval()
    with torch.inference_mode():
        alone = tower.features(pieces.encode(["we love it"], [None]))
        padded = tower.features(pieces.encode(["we love it", "happy " * 20], [None, None]))[:1]
        long = tower.features(pieces.encode(["happy " * 100, "sad " * 100, "happy " * 50 + "sad " * 50], [None] * 3))
    assert torch.allclose(alone, padded, atol=1e-5)
    happy, sad, both = long
    assert (both - happy).norm() < (sad - happy).norm()
    assert (both - sad).norm() < (sad - happy).norm()


def test_the_gold_loss_counts_labels_soft_labels_and_no_label():
    logits = {"sentiment": torch.randn(3, 3), "sarcasm": torch.randn(3, 2)}
    labels = [{"sentiment": 2, "sarcasm": 1}, {"sentiment": (0.5, 0.5, 0.0)}, {}]
    wanted = cross_entropy(logits["sentiment"][:1], torch.tensor([2]))
    wanted = wanted + cross_entropy(logits["sentiment"][1:2], torch.tensor([[0.5, 0.5, 0.0]]))
    wanted = wanted + text.TASK_WEIGHTS["sarcasm"] * cross_entropy(logits["sarcasm"][:1], torch.tensor([1]))
    assert torch.allclose(gold_loss(logits, labels, 0.0), wanted / 3)


def test_a_rules_label_overrules_a_teacher_that_disagrees():
    taught = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.2, 0.7], [0.9, 0.1, 0.0]])
    gold = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    rows = [replace(row("a", sentiment=2), made=made) for made in (True, True, False)]
    mixed = text._corrected(taught, gold, rows, 0.5)
    assert torch.allclose(mixed[0], gold[0]), "it disagrees: the rule counts whole"
    assert torch.allclose(mixed[1], (taught[1] + gold[1]) / 2)
    assert torch.allclose(mixed[2], taught[2]), "a corpus's label is learnt beside, not mixed in"


def test_scores_leave_out_rows_without_a_hard_label():
    rows = [row("a", sentiment=2), row("b", sentiment=(0.1, 0.9, 0.0)), row("c", sarcasm=1)]
    logits = {head: np.zeros((3, classes), np.float32) for head, classes in HEADS.items()}
    logits["sentiment"][0, 2] = 1
    assert head_scores(logits, rows) == {
        "sentiment/accuracy": 1.0,
        "sentiment/macro_recall": 1.0,
        "sarcasm/accuracy": 0.0,
        "sarcasm/macro_recall": 0.0,
    }


@given(st.text(min_size=1, max_size=60).filter(lambda words: words.strip()), st.integers(0, 200))
def test_a_rewritten_text_has_words_and_no_label(words, seed):
    changed = rewritten(row(words, sentiment=1), ROWS[:40], random.Random(seed))
    assert changed.text.strip()
    assert not changed.labels
    assert changed.text == rewritten(row(words, sentiment=1), ROWS[:40], random.Random(seed)).text


@given(st.lists(st.integers(1, 90), min_size=1, max_size=300), st.integers(1, 16), st.integers(0, 5))
def test_batches_hold_every_row_once_and_little_padding(lengths, size, order):
    batches = alike(np.array(lengths), size, order)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert max(len(batch) for batch in batches) <= size
    again = alike(np.array(lengths), size, order)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
