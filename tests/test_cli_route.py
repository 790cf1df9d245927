"""`route`: fitted on own posts, shown in words, simulated, and checked against posts that shifted."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tiny
from PIL import Image

from hybrid_mmsa import Analyzer, Policy
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.cli import run
from hybrid_mmsa.encoders.compact import CompactEncoder
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.evaluation.cascade import RATES, STRATEGIES, cascade_page, simulate
from hybrid_mmsa.types import LABELS

POSTS = 240


@pytest.fixture(scope="module")
def posts(tmp_path_factory, tiny_model):
    """Posts whose label is the tiny model's own four times out of five, and verdicts that are right nearly always."""
    folder = tmp_path_factory.mktemp("posts")
    random = np.random.default_rng(4)
    pictures = tiny.pictures(POSTS, seed=21)
    rows = []
    for i in range(POSTS):
        Image.fromarray(pictures[i]).save(folder / f"{i}.png")
        rows.append({"id": str(i), "text": " ".join(random.choice(tiny.WORDS, 6)), "image": f"{i}.png"})
    file = folder / "posts.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    answers = list(
        Analyzer.from_pretrained(tiny_model).stream([{**r, "image": str(folder / r["image"])} for r in rows])
    )
    verdicts = []
    for row, answer in zip(rows, answers, strict=True):
        doubt = random.random() < 0.15 + 1.5 * (1 - answer.sentiment.confidence)
        row["label"] = LABELS[random.integers(0, 3)] if doubt else answer.sentiment.label
        p = {label: 0.9 if label == row["label"] else 0.05 for label in LABELS}
        verdicts.append(
            {"id": row["id"], "label": row["label"], "probabilities": p, "reasoner": "seer", "prompt": "p@1"}
        )
    file.write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "seer.jsonl").write_text("\n".join(json.dumps(v) for v in verdicts))
    return file


@pytest.fixture
def model(tiny_model, tmp_path):
    """A copy of the tiny model that may be changed."""
    return shutil.copytree(tiny_model, tmp_path / "tiny")


def test_fit_show_and_policies_of_a_model_fitted_to_own_posts(posts, model, capsys):
    before = Adapter.load(model)
    assert run(["route", "fit", str(posts), "--model", str(model)]) == 0
    after = Adapter.load(model)
    assert after.hash != before.hash
    assert np.array_equal(after.head.arrays["fusion.bias"], before.head.arrays["fusion.bias"])
    assert after.router.fitted_on["encoder_hash"] == CompactEncoder(model / "towers").hash
    sample = after.router.sample
    assert POSTS / 3 < len(sample) < POSTS / 1.5
    words = capsys.readouterr().out
    assert "a post is deferred when" in words
    assert run(["route", "show", "--model", str(model)]) == 0
    assert 5 <= len(capsys.readouterr().out.splitlines()) <= 9
    assert run(["route", "show", "--model", str(model), "--verbose"]) == 0
    words = capsys.readouterr().out
    assert "plain confidence" in words or "all signals" in words
    assert run(["route", "show", "--model", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["router"] == after.router.to_dict()
    shares = []
    for share in (0.1, 0.5):
        analyzer = Analyzer.from_pretrained(model, policy=Policy(kind="budget", share=share))
        answers = list(analyzer.stream([{"text": f"{word} train"} for word in tiny.WORDS]))
        shares.append(np.mean([a.needs_review for a in answers]))
        assert all(a.needs_review == (a.route.decision == "defer") for a in answers)
        assert all(a.sentiment.label in a.prediction_set for a in answers)
    assert shares[0] <= shares[1]
    about = analyzer.analyze("we love the sun", target="sun")
    assert about.prediction_set is None, "the sets were not calibrated on targets"


def test_verdicts_that_know_more_count_and_answer(posts, model, capsys):
    file = posts.with_name("seer.jsonl")
    assert run(["route", "fit", str(posts), "--model", str(model)]) == 0
    assert run(["route", "fit", str(posts), "--verdicts", str(file), "--model", str(model)]) == 0
    words = capsys.readouterr().out
    assert "asking helps where P(error)" in words
    assert "verdicts of seer" in words
    analyzer = Analyzer.from_pretrained(model, reasoner=file, policy=Policy(kind="budget", share=0.4))
    rows = [json.loads(line) for line in posts.read_text().splitlines()]
    answers = list(analyzer.stream([{**r, "image": str(posts.parent / r["image"])} for r in rows]))
    pooling = analyzer.adapters["tiny"].pooling
    asked = [a for a in answers if a.verdict is not None]
    assert 0.03 < len(asked) / len(answers) < 0.6
    for answer in asked:
        assert answer.route.answered_by == "seer"
        assert (answer.needs_review, answer.prediction_set) == (False, None)
        assert not answer.warnings
    fast = list(Analyzer.from_pretrained(model).stream([{**r, "image": str(posts.parent / r["image"])} for r in rows]))
    right = [np.mean([a.sentiment.label == r["label"] for a, r in zip(s, rows, strict=True)]) for s in (answers, fast)]
    assert right[0] > right[1] + 0.02
    assert pooling.kinds["picture"].gain_from < 0.5


def test_a_picture_alone_with_a_target_is_a_post_with_a_target(posts, model, tmp_path):
    """Whatever the encoder reads of it; a target in which nothing can be read is none."""
    folder = shutil.copytree(posts.parent, tmp_path / "posts")
    asked, said = folder / "posts.jsonl", folder / "seer.jsonl"
    rows, verdicts = ([json.loads(line) for line in file.read_text().splitlines()] for file in (asked, said))
    for id_, target, prompt in (("towards", "the sea", "p_target@1"), ("blank", "\u200b", "p@1")):
        rows.append({**rows[0], "id": id_, "text": None, "target": target})
        verdicts.append({**verdicts[0], "id": id_, "prompt": prompt})
    for file, values in ((asked, rows), (said, verdicts)):
        file.write_text("\n".join(map(json.dumps, values)))
    assert run(["route", "fit", str(asked), "--verdicts", str(said), "--model", str(model)]) == 0
    pooling = Adapter.load(model).pooling
    assert (pooling.prompt, pooling.target_prompt) == ("p@1", "p_target@1")
    assert list(pooling.kinds) == ["picture", "target"]


def test_where_asking_gains_nothing_no_post_is_deferred_in_auto(posts, model, tmp_path, capsys):
    shrugs = [json.loads(line) for line in posts.with_name("seer.jsonl").read_text().splitlines()]
    even = {"label": "positive", "probabilities": {"negative": 0.33, "neutral": 0.33, "positive": 0.34}}
    file = tmp_path / "seer.jsonl"
    file.write_text("\n".join(json.dumps(v | even) for v in shrugs))
    assert run(["route", "fit", str(posts), "--verdicts", str(file), "--model", str(model)]) == 0
    assert "asking gains nothing" in capsys.readouterr().out
    rows = [json.loads(line) for line in posts.read_text().splitlines()]
    rows = [{**row, "image": str(posts.parent / row["image"])} for row in rows]
    share = Policy(kind="budget", share=0.9)
    answers = Analyzer.from_pretrained(model, reasoner=file, policy=share).stream(rows)
    assert all(a.route.decision == "keep" for a in answers)
    deep = Analyzer.from_pretrained(model, reasoner=file).stream(rows[:3], mode="deep")
    assert all(a.route.answered_by == "seer" for a in deep)


def test_a_verdict_of_another_prompt_does_not_count(posts, model, tmp_path):
    assert (
        run(["route", "fit", str(posts), "--verdicts", str(posts.with_name("seer.jsonl")), "--model", str(model)]) == 0
    )
    other = tmp_path / "seer.jsonl"
    other.write_text(posts.with_name("seer.jsonl").read_text().replace("p@1", "p@2"))
    defer_all = Policy(kind="threshold", p_error=0)
    (answer,) = Analyzer.from_pretrained(model, reasoner=other, policy=defer_all).stream([{"id": "0", "text": "sad"}])
    if answer.verdict is not None:
        assert answer.route.answered_by == "fast"
        assert "route fit" in answer.warnings[-1]


def test_simulate_prints_and_draws(posts, model, tmp_path, capsys):
    page = tmp_path / "plan.html"
    assert run(["route", "simulate", str(posts), "--accuracy", "0.9", "--model", str(model), "-o", str(page)]) == 0
    assert "oracle" in capsys.readouterr().out
    assert page.read_text().count("<polyline") == len(STRATEGIES)
    file = posts.with_name("seer.jsonl")
    assert run(["route", "simulate", str(posts), "--verdicts", str(file), "--model", str(model), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["rate"] for row in rows] == list(RATES)
    assert rows[-1]["accuracy"]["P(error)"] == pytest.approx(1)
    assert run(["route", "simulate", str(posts), "--model", str(model)]) == 2


def test_simulated_strategies_agree_at_the_ends_and_the_oracle_is_above_all():
    random = np.random.default_rng(0)
    score = random.random(500)
    fast = random.random(500) > score
    rows = simulate(fast, np.full(500, 0.8), {"confidence": score, "P(error)": score}, fast_cost=1, slow_cost=10)
    assert set(rows[0].accuracy.values()) == {float(fast.mean())}
    for row in rows:
        assert row.accuracy["oracle"] >= row.accuracy["P(error)"] - 1e-9
        assert row.cost == pytest.approx(1 + 10 * row.rate)
    assert rows[-1].accuracy["P(error)"] == pytest.approx(0.8)
    middle = rows[len(rows) // 2].accuracy
    assert middle["oracle"] > middle["P(error)"] > middle["random"]
    assert "<script" not in cascade_page(rows, "<b>", "ms")
    assert "&lt;b&gt;" in cascade_page(rows, "<b>", "ms")


def test_a_refit_takes_the_pooling_along_that_was_measured_by_the_old_p_error(posts, model, capsys):
    file = posts.with_name("seer.jsonl")
    assert run(["route", "fit", str(posts), "--verdicts", str(file), "--model", str(model)]) == 0
    assert Adapter.load(model).pooling is not None
    capsys.readouterr()
    assert run(["route", "fit", str(posts), "--model", str(model)]) == 0
    assert "fit it again with --verdicts" in capsys.readouterr().err
    assert Adapter.load(model).pooling is None


def test_check_tells_shifted_posts_from_posts_of_the_same_kind(posts, model, tmp_path, capsys):
    assert run(["route", "fit", str(posts), "--model", str(model)]) == 0
    assert run(["route", "check", str(posts), "--model", str(model)]) == 0
    capsys.readouterr()
    other = tmp_path / "new.jsonl"
    for k in range(1, 80):
        shutil.copy(posts.parent / f"{k}.png", tmp_path)
    rows = [{"text": "march madness " * k, "image": f"{k}.png"} for k in range(1, 80)]
    other.write_text("\n".join(map(json.dumps, rows)))
    assert run(["route", "check", str(other), "--model", str(model), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["stale"] is True


def test_posts_of_one_side_are_no_shift_of_a_model_that_never_saw_such(posts, model, tmp_path, capsys):
    assert run(["route", "fit", str(posts), "--model", str(model)]) == 0
    rows = [{**json.loads(row), "image": None} for row in posts.read_text().splitlines()]
    for number, answer in enumerate(Analyzer.from_pretrained(model).stream(rows)):
        wrong = LABELS[LABELS.index(answer.sentiment.label) - 1]
        rows[number]["label"] = wrong if number % 4 == 0 else answer.sentiment.label
    words = tmp_path / "words.jsonl"
    words.write_text("\n".join(map(json.dumps, rows)))
    assert run(["route", "check", str(words), "--model", str(model)]) == 2
    assert f"{POSTS} of a kind that tiny was not calibrated on" in capsys.readouterr().err
    mixed = posts.with_name("mixed.jsonl")
    mixed.write_text("\n".join([*posts.read_text().splitlines(), *map(json.dumps, rows[:30])]))
    assert run(["route", "check", str(mixed), "--model", str(model)]) == 0
    assert "30 posts of one side alone not compared" in capsys.readouterr().err
    assert run(["route", "fit", str(words), "--model", str(model)]) == 0
    assert run(["route", "check", str(words), "--model", str(model)]) == 0


def test_check_counts_the_rows_it_cannot_use_and_wants_enough_of_the_others(posts, model, tmp_path, capsys):
    rows = posts.read_text().splitlines()
    mixed = posts.with_name("some.jsonl")
    mixed.write_text("\n".join([*rows[:80], '{"id": "lost", "text": "so sad", "image": "none.jpg"}']))
    assert run(["route", "check", str(mixed), "--model", str(model)]) == 1
    assert "line 81" in capsys.readouterr().err
    mixed.write_text("\n".join(rows[:5]))
    assert run(["route", "check", str(mixed), "--model", str(model)]) == 2
    assert "takes 50 posts" in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_is_named_by_its_post(posts, model, tmp_path, capsys):
    file = tmp_path / "posts.jsonl"
    file.write_text('{"id": "lost", "text": "so sad", "image": "none.jpg", "label": "negative"}')
    assert run(["route", "simulate", str(file), "--accuracy", "0.8", "--model", str(model)]) == 2
    assert "post lost: image" in capsys.readouterr().err


def test_posts_are_read_as_other_commands_read_them(model, tmp_path, capsys):
    file = tmp_path / "shop.csv"
    file.write_text("what;mood\nso sad;bad\nI love it;fine\n")
    asked = ["route", "simulate", str(file), "--accuracy", "0.8", "--model", str(model), "--json"]
    named = ["--map", "text=what", "--map", "label=mood", "--labels", "bad=negative,fine=positive"]
    assert run([*asked, *named]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)[0]["rate"] == 0
    assert told.err.startswith("shop.csv: CSV with semicolons; text from what")


def test_outputs_that_cannot_be_written_are_told_before_the_work(posts, model, tmp_path, capsys):
    simulated = ["route", "simulate", str(posts), "--accuracy", "0.8", "--model", str(model)]
    assert run([*simulated, "-o", str(tmp_path / "none" / "plan.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert run(["route", "fit", str(posts), "--model", str(model), "-o", str(posts)]) == 2
    assert "a folder is wanted" in capsys.readouterr().err


def test_own_posts_of_which_hardly_any_is_wrong_fit_no_router(model, tmp_path, capsys):
    words = [" ".join(np.random.default_rng(i).choice(tiny.WORDS, 6)) for i in range(160)]
    answers = Analyzer.from_pretrained(model).stream([{"text": text} for text in words])
    labels = [a.sentiment.label for a in answers]
    labels[0] = next(label for label in LABELS if label != labels[0])
    file = tmp_path / "right.jsonl"
    rows = [{"text": text, "label": label} for text, label in zip(words, labels, strict=True)]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert run(["route", "fit", str(file), "--model", str(model)]) == 2
    assert "as many that it has wrong" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["fit"], ["simulate", "--accuracy", "0.5"], ["check"]])
def test_bad_files_are_told_in_one_line(command, model, tmp_path, capsys):
    name, *options = command
    assert run(["route", name, str(tmp_path / "none.jsonl"), *options, "--model", str(model)]) == 2
    few = tmp_path / "few.jsonl"
    few.write_text('{"text": "good", "label": "positive"}\n{"text": "bad", "label": "negative"}')
    if name == "fit":
        assert run(["route", "fit", str(few), "--model", str(model)]) == 2
        assert run(["route", "fit", str(few)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert all(line.startswith("error: ") for line in lines)


def test_a_router_of_another_encoder_is_refused_with_the_command_that_fits_it_again(posts, model):
    loaded = Adapter.load(model)
    values = loaded.router.to_dict()
    values["fitted_on"] = {"encoder_hash": "f" * 64}
    strange = type(loaded.router).from_dict(values, loaded.router.arrays())
    dataclasses.replace(loaded, router=strange).save(model)
    with pytest.raises(ArtefactError, match=r"fffffffffff.*hybrid-mmsa route fit"):
        Analyzer.from_pretrained(model)
    assert run(["route", "simulate", str(posts), "--accuracy", "0.8", "--model", str(model)]) == 2
    assert run(["route", "fit", str(posts), "--model", str(model)]) == 0, "the command that it names does fit it again"
    Analyzer.from_pretrained(model)
