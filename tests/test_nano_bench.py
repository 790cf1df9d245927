"""What is measured of a very small VLM: sides, rationales, copies, a whole run on a tiny one. No speed is judged."""

import json
import random

import pytest
from drawn_posts import draw_posts

from eval.bench.nano import nano
from eval.bench.nano.figures import contradicts, copies, label_accuracy, rationales, shuffled, side_accuracy, spread
from eval.bench.nano.table import table
from hybrid_mmsa.data import load_manifest
from hybrid_mmsa.training.answers.rationales import Claims, Facts, compose
from hybrid_mmsa.training.posts.rows import MVSA_SPLIT
from hybrid_mmsa.types import LABELS, Sample, Verdict


def verdict(label="positive", **values):
    probabilities = {each: 0.8 if each == label else 0.1 for each in LABELS}
    return Verdict(label=label, probabilities=probabilities, reasoner="tiny", **values)


def post(text="a day", label="positive", text_label="positive", image_label="neutral"):
    return Sample(text=text, image="p.jpg", label=label, text_label=text_label, image_label=image_label)


def test_labels_are_counted_beside_the_majority():
    found = label_accuracy(["positive"] * 3 + ["negative"], [verdict()] * 4)
    assert (found["value"], found["majority"]) == (0.75, 0.75)
    assert found["low"] < 0.75 < found["high"]


def test_a_side_is_judged_by_its_own_label_and_silence_is_wrong():
    posts = [post(), post(image_label="negative"), post(image_label=None)]
    said = [verdict(picture_says="neutral", text_says="positive"), verdict(), verdict(picture_says="neutral")]
    found = side_accuracy(posts, said, "image")
    assert (found["posts"], found["value"], found["majority"]) == (2, 0.5, 0.5)
    assert side_accuracy(posts, said, "text")["value"] == pytest.approx(1 / 3)


def test_with_another_picture_a_model_that_looks_is_right_on_what_it_was_shown():
    labels = [LABELS[n % 3] for n in range(30)]
    posts = [post(image_label=label) for label in labels]
    shown = shuffled(posts)
    assert sorted(shown) == list(range(30))
    assert all(n != other for n, other in enumerate(shown))
    looks = side_accuracy(posts, [verdict(picture_says=labels[n]) for n in shown], "image", shown)
    assert looks["of_what_was_shown"] == 1.0
    assert looks["value"] == sum(labels[n] == label for n, label in zip(shown, labels, strict=True)) / 30 < 0.8


@pytest.mark.parametrize(
    ("told", "apart"),
    [
        (Claims("positive", "positive", "neutral", True), False),
        (Claims(), False),
        (Claims("negative"), True),
        (Claims(text="neutral"), True),
        (Claims(picture="positive"), True),
        (Claims(sarcastic=False), True),
        (Claims("positive", opposed=True), True),
    ],
)
def test_a_rationale_contradicts_where_it_tells_another_thing(told, apart):
    fields = verdict(text_says="positive", picture_says="neutral", sarcasm=0.7)
    assert contradicts(told, fields) == apart


def test_what_is_told_of_a_side_that_says_nothing_contradicts():
    assert contradicts(Claims(picture="neutral"), verdict(text_says="positive"))


def test_composed_rationales_never_contradict_and_turned_ones_do():
    rng = random.Random(0)
    posts, right, wrong = [], [], []
    for _ in range(50):
        label, text, picture = (rng.choice(LABELS) for _ in range(3))
        sarcastic = rng.choice([None, False, True])
        words = compose(Facts(label, text, picture, sarcastic, ("a day",)), rng)
        sarcasm = None if sarcastic is None else float(sarcastic)
        posts.append(post())
        right.append(verdict(label, text_says=text, picture_says=picture, sarcasm=sarcasm, rationale=words))
        other = LABELS[LABELS.index(label) - 1]
        wrong.append(verdict(other, text_says=text, picture_says=picture, sarcasm=sarcasm, rationale=words))
    found = rationales(posts, right)
    assert (found["written"], found["unread"]["value"], found["contradict"]["value"]) == (50, 0, 0)
    assert (found["quoting"], found["misquote"]) == (0, {})
    assert rationales(posts, wrong)["contradict"]["value"] == 1
    lost = rationales([post()] * 2, [verdict(rationale="It rains."), verdict()])
    assert (lost["written"], lost["unread"]["value"], lost["contradict"], lost["misquote"]) == (1, 1, {}, {})


def test_a_quotation_must_stand_in_the_words_of_the_post():
    quoting = [verdict(rationale="The words say “A day” and no more."), verdict(rationale="No words are quoted.")]
    assert rationales([post()] * 2, quoting)["quoting"] == 1
    assert rationales([post()] * 2, quoting)["misquote"]["value"] == 0
    assert rationales([post("other words")] * 2, quoting)["misquote"]["value"] == 1


def test_copies_are_runs_of_eight_words_that_stand_in_a_post():
    line = "One two three four five six seven eight nine"
    said = [verdict(rationale=line), verdict(rationale="too short to count"), verdict()]
    assert copies(said, [])["value"] == 0
    assert copies(said, [f"and {line.upper()[:-5]}"]) | {"low": 0, "high": 0} == {
        "words": 8,
        "runs": 2,
        "value": 0.5,
        "low": 0,
        "high": 0,
    }


def test_times_are_told_by_median_and_tail():
    assert spread([1.0] * 90 + [9.0] * 10) == {"median": 1.0, "p95": 9.0}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Drawn posts as MVSA-Single's, with ids of its split: a few to measure, enough dev posts to fit a pooling."""
    root = tmp_path_factory.mktemp("corpora")
    folder = root / "MVSA_Single"
    (folder / "data").mkdir(parents=True)
    parts = load_manifest(MVSA_SPLIT).parts
    ids = [*parts["train"][:12], *parts["dev"][:52], *parts["test"][:8]]
    drawn = [each.sample for each in draw_posts(400, seed=5) if each.word and each.thing and not each.sample.sarcastic]
    rows = []
    for id_, sample in zip(ids, drawn, strict=False):
        (folder / "data" / f"{id_}.txt").write_text(sample.text)
        sample.image.save(folder / "data" / f"{id_}.jpg")
        rows.append(f"{id_}\t{sample.text_label},{sample.image_label}")
    (folder / "labelResultAll.txt").write_text("\n".join(["ID\ttext,image", *rows]) + "\n")
    return root


def test_a_small_nano_is_measured_from_end_to_end(corpora, tiny_nano, tmp_path):
    (tmp_path / "tiny.toml").write_text(
        f"backend = 'transformers'\nmodel = '{tiny_nano.folder}'\nprompt = 'nano'\ndevice = 'cpu'\n"
        "timeout = 600\nmax_rationale_tokens = 80\ncontext = 400\n"
    )
    result = json.loads(json.dumps(nano.record(corpora, str(tmp_path / "tiny.toml"), "default"), allow_nan=False))
    assert result["posts"] == {"dev": 52, "test": 8}
    assert result["valid_as_asked"] == 1, "the schema sees to that, whatever the model has learnt"
    assert 0 <= result["valid_written_freely"] <= 1
    sides = ("text_says", "picture_says", "text_says_of_another_text", "picture_says_of_another_picture")
    for name in ("label", *sides):
        assert 0 <= result[name]["low"] <= result[name]["value"] <= result[name]["high"] <= 1
    assert result["text_says"]["posts"] == result["picture_says"]["posts"] == 8
    assert 0 <= result["picture_says_of_another_picture"]["of_what_was_shown"] <= 1
    assert result["rationales"]["written"] <= 8
    assert result["copied"]["words"] == 8
    cascade = result["cascade"]
    assert set(cascade["accuracy"]) == {"reasoner", "fast", "cascade", "all asked"}
    assert cascade["accuracy"]["reasoner"]["value"] == result["label"]["value"], "both are the labels alone"
    assert cascade["n"] == 8
    assert 0 <= cascade["deferred"] <= 1
    gain = cascade["gains"]["cascade − fast"]
    assert gain["value"] == pytest.approx(
        cascade["accuracy"]["cascade"]["value"] - cascade["accuracy"]["fast"]["value"]
    )
    assert cascade["pooling"]["reasoner"] == result["reasoner"]
    assert cascade["pooling"]["fitted_on"]["asking"]["p_value"] <= 1
    assert result["fresh_process"]["peak_memory_mb"] > 50
    assert result["seconds"]["label"]["median"] > 0
    assert result["weights"]["folder_mb"] > result["weights"]["mb"] > 0
    assert table(result).row_count == 17 + len(cascade["accuracy"]) + len(cascade["gains"])
