"""A reasoner's verdicts taught to the fast tier: what it learns that few labels do not show, and what is refused."""

import json

import numpy as np
import pytest
import tiny_encoders
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa import Analyzer, Verdict, metrics
from hybrid_mmsa.cli import run
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.training.heads.logistic import fit_heads, matching_bias
from hybrid_mmsa.training.posts.labelled import UNKNOWN, as_targets, mixed, taught_by
from hybrid_mmsa.types import LABELS

FEW, MANY = 45, 240
POSTS = tiny_encoders.drawn_posts(MANY, seed=31)
UNSEEN = tiny_encoders.drawn_posts(500, seed=32)
GOLD = np.array([LABELS.index(post.label) for post in UNSEEN])


def verdict(label, sure=0.9, reasoner="teacher"):
    probabilities = {each: sure if each == label else (1 - sure) / 2 for each in LABELS}
    return Verdict(label=label, probabilities=probabilities, reasoner=reasoner)


def write_verdicts(path, posts, **options):
    """Recorded verdicts of a teacher that is right, as JSON lines."""
    lines = [{"id": post.id, **json.loads(verdict(post.label, **options).model_dump_json())} for post in posts]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def write_data(folder, labelled, others=()):
    """A data folder: some posts with their label, others without."""
    file = tiny_encoders.write_posts(folder, [*labelled, *others])
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    known = {post.id for post in labelled}
    for row in rows:
        del row["text_label"], row["image_label"]
        if row["id"] not in known:
            del row["label"]
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return folder


def distil(data, out, verdicts=None, *more):
    words = ["train", "fusion", "--data", str(data), "--encoder", "compact", "-o", str(out), "--set", "least=8"]
    return run([*words, *(() if verdicts is None else ("--distil", str(verdicts))), *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("distil")
    write_data(root / "few", POSTS[:FEW])
    write_data(root / "all", POSTS[:FEW], POSTS[FEW:])
    write_verdicts(root / "verdicts.jsonl", POSTS)
    return root


@pytest.fixture(scope="module")
def unseen(analyzer):
    """Features of the unseen posts, encoded once for all models that are fitted here."""
    return analyzer.encoder.encode([read_sample(post) for post in UNSEEN])


def answers(model, unseen):
    """A fitted model's sentiment of the unseen posts; opening it checks that it was fitted to the bundled encoder."""
    return Analyzer.from_pretrained(model).adapters[model.name].posteriors(unseen)["sentiment"]


@pytest.fixture(scope="module")
def taught(folder, unseen):
    assert distil(folder / "all", folder / "taught", folder / "verdicts.jsonl") == 0
    return answers(folder / "taught", unseen)


def test_what_the_teacher_knows_beats_what_few_labels_show(folder, taught, unseen):
    assert distil(folder / "few", folder / "alone") == 0
    alone = answers(folder / "alone", unseen).argmax(1)
    gain = metrics.paired_difference(metrics.accuracy, GOLD, taught.argmax(1), alone, len(LABELS))
    assert gain.low > 0, gain
    assert (taught.argmax(1) == GOLD).mean() > 0.85


def test_what_was_used_is_counted(folder, taught, capsys):
    made = json.loads((folder / "taught" / "adapter.json").read_text())["made_with"]["taught"]
    assert made["reasoner"] == "teacher"
    assert made["verdicts"] == MANY
    assert made["posts"] == made["labelled_too"] + made["by_verdict_alone"]
    assert 0 < made["labelled_too"] < FEW, "a tenth is for calibration, a tenth for tests"
    assert 0.7 * MANY < made["posts"] < 0.9 * MANY


def test_gold_labels_calibrate_it(taught):
    assert metrics.calibration_error(GOLD, taught) < 0.15


def test_verdicts_alone_teach_too(folder, unseen, tmp_path):
    data = write_data(tmp_path / "unlabelled", [], POSTS)
    assert distil(data, tmp_path / "taught", folder / "verdicts.jsonl") == 0
    assert (answers(tmp_path / "taught", unseen).argmax(1) == GOLD).mean() > 0.85


def test_what_cannot_teach_is_refused(folder, tmp_path, capsys):
    strangers = write_verdicts(tmp_path / "strangers.jsonl", UNSEEN[:1])
    strangers.write_text(strangers.read_text().replace(f'"id": "{UNSEEN[0].id}"', '"id": "stranger"'))
    assert distil(folder / "few", tmp_path / "out", strangers) == 2
    assert "the ids do not meet" in capsys.readouterr().err
    assert distil(folder / "all", tmp_path / "out", strangers) == 2
    assert "needs a label or a verdict" in capsys.readouterr().err
    assert distil(folder / "all", tmp_path / "out") == 2
    assert "needs a label" in capsys.readouterr().err
    two = write_verdicts(tmp_path / "two.jsonl", POSTS[:9])
    two.write_text(two.read_text().replace("teacher", "another", 1))
    assert distil(folder / "few", tmp_path / "out", two) == 2
    assert "more than one model" in capsys.readouterr().err
    assert distil(folder / "few", tmp_path / "out", folder / "verdicts.jsonl", "--strategy", "all") == 2
    assert "leave --distil out" in capsys.readouterr().err
    runs = ["--text-runs", str(tmp_path), "--image-runs", str(tmp_path)]
    words = ["train", "fusion", "--data", str(folder / "few"), *runs, "-o", str(tmp_path / "out")]
    assert run([*words, "--distil", str(two)]) == 2
    assert "name one" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_targets_mix_gold_and_teacher():
    labels = np.array([0, 2, UNKNOWN, UNKNOWN])
    taught = np.array([[0.2, 0.6, 0.2], [np.nan] * 3, [0.1, 0.1, 0.8], [np.nan] * 3], np.float32)
    found = mixed(labels, taught, 3, share=0.5)
    np.testing.assert_allclose(found, [[0.6, 0.3, 0.1], [0, 0, 1], [0.1, 0.1, 0.8], [0, 0, 0]], atol=1e-6)
    np.testing.assert_array_equal(mixed(labels, None, 3, share=0.5), as_targets(labels, 3))
    np.testing.assert_array_equal(mixed(labels, taught, 3, share=0.0)[:2], as_targets(labels, 3)[:2])


def test_what_the_reasoner_wrote_of_the_sides_is_heard():
    wrote = verdict("negative").model_copy(update={"text_says": "positive", "sarcasm": 0.75})
    taught = taught_by([wrote, None, verdict("positive")])
    np.testing.assert_allclose(taught["text.sentiment"][0], [0, 0, 1])
    np.testing.assert_allclose(taught["image.sentiment"][0], taught["text.joint"][0])
    np.testing.assert_allclose(taught["text.sarcasm"][0], [0.25, 0.75])
    assert all(np.isnan(values[1]).all() for values in taught.values())
    assert np.isnan(taught["text.sarcasm"][2]).all()


def test_class_indices_and_their_targets_fit_the_same_head():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 8)).astype(np.float32), rng.integers(0, 3, 60)
    by_index, by_target = (fit_heads(x, labels, 3, (1.0,))[0] for labels in (y, as_targets(y, 3)))
    np.testing.assert_array_equal(by_index.weight, by_target.weight)
    doubled = fit_heads(x, 2 * as_targets(y, 3), 3, (2.0,))[0]
    np.testing.assert_allclose(doubled.weight, by_index.weight, atol=1e-2)


@given(st.integers(0, 10**6), st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_each_label_is_said_in_its_share(seed, wanted):
    logits = np.random.default_rng(seed).normal(size=(500, 3)) * (1, 3, 0.2) + (5, 0, -5)
    shares = np.array(wanted) / sum(wanted)
    said = (logits + matching_bias(logits, shares)).argmax(1)
    np.testing.assert_allclose(np.bincount(said, minlength=3) / 500, shares, atol=0.02)


def test_shares_of_nothing_are_refused():
    with pytest.raises(ValueError, match="needs posts"):
        matching_bias(np.zeros((0, 3)), np.full(3, 1 / 3))
