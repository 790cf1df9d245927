"""What is measured of a very small VLM: sides, rationales, a whole run on a tiny one. No speed is judged."""

import json
import math
import random
from dataclasses import replace

import pytest
from drawn_posts import draw_posts
from gguf_vlm import written
from tiny_words import words_alone

from eval.bench.reasoner import backends, reasoner
from eval.bench.reasoner.everyday import groups
from eval.bench.reasoner.figures import contradicts, label_accuracy, rationales, shuffled, side_accuracy, spread
from eval.bench.reasoner.sentences import irony_accuracy
from eval.bench.reasoner.table import MORE_LABELS, helps, table
from hybrid_mmsa.data import load_manifest
from hybrid_mmsa.pooling import Pooling, VerdictWeights
from hybrid_mmsa.reasoning.prompt.rationales import Claims, Facts, compose
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


def test_irony_that_is_not_told_is_wrong():
    posts = [Sample(text="a day", sarcastic=sarcastic) for sarcastic in (True, False, False, True)]
    found = irony_accuracy(posts, [verdict(sarcasm=0.9), verdict(sarcasm=0.1), verdict(sarcasm=0.7), verdict()])
    assert (found["value"], found["majority"]) == (0.5, 0.5)


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


def test_a_small_vlm_is_measured_from_end_to_end(corpora, trained_vlm, tmp_path):
    (tmp_path / "tiny.toml").write_text(
        f"backend = 'transformers'\nmodel = '{trained_vlm}'\ndevice = 'cpu'\ntimeout = 600\nmax_rationale_tokens = 40\n"
    )
    found = reasoner.record(corpora, str(tmp_path / "tiny.toml"), "default", most=12)
    result = json.loads(json.dumps(found, allow_nan=False))
    everyday = result["everyday"]
    assert everyday["all"]["posts"] == sum(part["posts"] for name, part in everyday.items() if name != "all") >= 12
    for part in everyday.values():
        assert part["gain"]["low"] <= part["gain"]["value"] <= part["gain"]["high"]
    assert result["posts"] == {"dev": 12, "test": 8, "explained": 8}
    assert result["valid_as_asked"] == 1, "the schema sees to that, whatever the model has learnt"
    sides = ("text_says", "picture_says", "text_says_of_another_text", "picture_says_of_another_picture")
    for name in ("label", *MORE_LABELS, *sides):
        assert 0 <= result[name]["low"] <= result[name]["value"] <= result[name]["high"] <= 1
    assert 0 <= result["picture_says_of_another_picture"]["of_what_was_shown"] <= 1
    assert result["cascade"]["accuracy"]["reasoner"]["value"] == result["label"]["value"], "both are the labels alone"
    assert result["cascade"]["pooling"] is None, "12 dev posts are too few to fit one"
    assert result["fresh_process"]["peak_memory_mb"] > 50
    assert result["weights"]["folder_mb"] > result["weights"]["mb"] > 0
    figures = result["cascade"]
    assert result["written"]["valid"] == 1
    assert result["written"]["seconds"]["rationale"]["median"] > 0
    rows = 6 * len(everyday) + 8 + 16 + len(MORE_LABELS) + len(figures["accuracy"]) + len(figures["gains"])
    assert table(result).row_count == rows


def test_one_model_is_measured_through_two_backends_and_a_server(trained_vlm, tmp_path, monkeypatch):
    words = words_alone(trained_vlm, tmp_path / "words")
    written(trained_vlm, tmp_path / "gguf")
    (tmp_path / "llama.toml").write_text(
        "backend = 'llama_cpp'\nmodel = 'gguf/model.gguf'\nprompt = 'smol'\ndevice = 'cpu'\nthreads = 1\n"
    )
    monkeypatch.setattr(backends, "fresh_process", lambda *_: {"peak_memory_mb": 1.0})  # measured above
    names = (str(words), str(tmp_path / "llama.toml"))
    result = json.loads(json.dumps(backends.record(*names, most=8, server=True, clock=backends.CPU), allow_nan=False))
    assert result["agreement"]["same_label"]["value"] >= 0.75, "eight posts"
    assert result["server"]["agreement"]["same_label"]["value"] >= 0.75
    torch, llama = (result["one_by_one"][name] for name in names)
    assert torch["inside_llama_cpp"] == {}
    for kind in ("label", "reasons"):
        assert 0 < llama["inside_llama_cpp"][kind]["seconds"] < llama["seconds"][kind]["p95"]
    assert llama["rationales"]["contradict"]["value"] == 0
    assert backends.table(result).row_count > 10


def test_posts_are_grouped_and_none_is_lost():
    rows = [{"target": "it"}, {"sarcastic": True}, {"sarcastic": False}, {}]
    assert {name: list(found) for name, found in groups(rows).items()} == {
        "plain": [2, 3],
        "irony": [1],
        "two targets": [0],
        "all": [0, 1, 2, 3],
    }


def test_where_asking_helps_is_told_for_each_kind_of_post():
    weights = VerdictWeights(fast_weight=1.0, verdict_weight=0.5, bias=(0.0, 0.0, 0.0), gain_from=0.25)
    nowhere = replace(weights, gain_from=math.inf)
    pooling = Pooling(reasoner="x", adapter=None, prompt=None, kinds={"words": weights, "picture": nowhere})
    assert helps(pooling.to_dict()) == "words: from P(error) 0.250 on; picture: nowhere"
    assert helps(None) == "no pooling"
