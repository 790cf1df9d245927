"""`adapter train --base`: what is refused before a model is opened, stars as labels, a whole run as users see it."""

import json
from dataclasses import replace

import pytest
from other_domain import other_posts, write_posts
from safetensors.numpy import load_file
from tiny_words import words_alone

from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.cli import run
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.reasoning import load_prompt
from hybrid_mmsa.training.common.processes import place
from hybrid_mmsa.training.posts.labelled_file import part_posts, read_labelled_file


@pytest.fixture(scope="module")
def posts(tmp_path_factory):
    return write_posts(tmp_path_factory.mktemp("posts"), other_posts(60, seed=21))


def rewritten(posts, change):
    """The file beside the pictures again, its rows changed."""
    rows = [json.loads(line) for line in posts.read_text().splitlines()]
    for number, row in enumerate(rows):
        change(number, row)
    file = posts.with_name("changed.jsonl")
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def one_label(number, row):
    row["label"] = "neutral"


def picture_gone(number, row):
    if number == 2:
        row["image"] = "gone.png"


def numbered_labels(number, row):
    row["label"] = 1 + number % 3


def from_nought(number, row):
    row["label"] = number % 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (one_label, "0 negative, 60 neutral, 0 positive; posts of two labels at the least are wanted"),
        (picture_gone, "1 of 60 rows cannot be used: line 3: image: "),
        (numbered_labels, "all are numbers from 1 to 3; stars go up to 5"),
        (from_nought, "wanted negative, neutral or positive, or 1 to 5 stars; labels are not numbered"),
    ],
)
def test_a_file_that_cannot_teach_is_refused_before_the_model_is_looked_for(posts, tmp_path, capsys, change, told):
    file = rewritten(posts, change)
    assert run(["adapter", "train", str(file), "--base", "no-such-model", "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert told in said[-1]
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.run").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--base", "no-such-model"], "no model 'no-such-model'; presets are smol, smol-llama, smolvlm-500m"),
        (["--base", "smolvlm-500m"], "smolvlm-500m is not on this machine"),
        (["--base", "smol-llama"], "smol-llama is for the backend llama_cpp, not for transformers"),
        (["--recipe", "no-such-recipe"], "no recipe 'no-such-recipe'"),
        (["--base", "x", "--set", "rnak=8"], "no setting 'rnak'; known are base, prompt"),
        (["--base", "x", "--set", "rank=0"], "rank: found 0; wanted 1 or more"),
        (["--base", "x", "--few-shot"], "have no use beside --base"),
        (["--fast", "--set", "rank=8"], "have no use beside --fast without --base"),
        ([], "say what to train"),
    ],
)
def test_what_makes_no_sense_is_refused(posts, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.setenv("HYBRID_MMSA_HOME", str(tmp_path))
    assert run(["adapter", "train", str(posts), "-o", str(tmp_path / "out"), *words]) == 2
    assert told in capsys.readouterr().err


def test_stars_are_labels(tmp_path):
    stars = (1, "2", 3, "4", 5.0)
    file = tmp_path / "reviews.jsonl"
    words = ("cup", "lamp", "chair", "phone", "shoe", "bag", "book", "pan", "coat", "desk")
    rows = [{"text": f"the {words[n // 5]} number {n} came {n * 'so '}late", "label": stars[n % 5]} for n in range(50)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    assert dict(read_labelled_file(file, least=8).counts) == {"negative": 20, "neutral": 10, "positive": 20}


def test_a_small_file_gives_more_to_calibration(posts):
    own = read_labelled_file(posts, least=8)
    sizes = {n: part_posts(own, calibration=True, calibration_posts=n) for n in (0, 50)}
    assert len(sizes[50].calibration) > len(sizes[0].calibration)
    for parts in sizes.values():
        assert sorted([*parts.train, *parts.calibration, *parts.test]) == list(range(60))


def test_a_long_chain_of_near_duplicates_is_trained_on(tmp_path):
    words = ("cup", "lamp", "chair", "phone", "shoe", "bag", "book", "pan", "coat", "desk")
    same = [{"text": "the very same words about one and the same thing", "label": "neutral"} for _ in range(60)]
    apart = [
        {"text": f"{words[n % 10]} {n} {words[n // 10]}{n} {n * n}", "label": ("negative", "positive")[n % 2]}
        for n in range(40)
    ]
    file = tmp_path / "posts.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in (*same, *apart)))
    parts = part_posts(read_labelled_file(file, least=8), calibration=True)
    assert set(range(60)) <= set(parts.train.tolist())
    assert len(parts.test) > 5


def test_a_whole_run_as_users_see_it(posts, trained_vlm, tmp_path, capsys):
    """One step: the plan on standard error, figures on standard output, a folder with a fast tier of its own."""
    out = tmp_path / "mine"
    settings = ["epochs=0.2", "batch_size=8", "micro_batch=8", "learning_rate=1e-3", "checkpointing=false"]
    words = [word for setting in settings for word in ("--set", setting)]
    command = ["adapter", "train", str(posts), "--base", str(trained_vlm), "--fast", "-o", str(out), *words]
    assert run(command) == 0
    said = capsys.readouterr()
    assert "LoRA of rank 16 in the language model of" in said.err
    assert "estimated: " in said.err
    assert "its heads fitted to the same posts" in said.err
    assert "| base, untuned |" in said.out
    assert "The adapter is not ready" in said.out
    assert "Loading" not in said.err
    adapter = Adapter.load(out)
    assert adapter.lora is not None
    assert (adapter.head.arrays["text.joint.weight"] != Adapter.load(_default()).head.arrays["text.joint.weight"]).any()
    answer = Analyzer.from_pretrained(out, reasoner=trained_vlm).analyze("so lovely: the match at home", mode="deep")
    assert any("not ready" in warning for warning in answer.warnings)
    assert run(["adapter", "inspect", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["ready"], facts["lora"]) == (False, True)
    assert run(command) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_model_of_words_alone_is_tuned_with_its_own_question(trained_vlm, tmp_path, capsys):
    """Its folder says with which; only its language model gets a LoRA; posts without words are refused."""
    base = words_alone(trained_vlm, tmp_path / "base")
    drawn = [replace(post, image=None) for post in other_posts(60, seed=21) if post.text]
    posts = write_posts(tmp_path, drawn)
    out = tmp_path / "mine"
    settings = ["epochs=0.2", "batch_size=8", "micro_batch=8", "learning_rate=1e-2", "checkpointing=false"]
    words = [word for setting in settings for word in ("--set", setting)]
    assert run(["adapter", "train", str(posts), "--base", str(base), "-o", str(out), *words]) == 0
    assert load_prompt(out / "prompt.toml").id == load_prompt("smol").id
    keys = load_file(out / "lora" / "adapter_model.safetensors").keys()
    assert keys
    assert all(key.startswith("base_model.model.model.layers.") for key in keys)
    answer = Analyzer.from_pretrained(out, reasoner=base).analyze("so lovely: the match at home", mode="deep")
    assert (answer.verdict.adapter, answer.verdict.prompt) == ("mine", load_prompt("smol").id)
    silent = write_posts(tmp_path / "silent", other_posts(60, seed=21))
    assert run(["adapter", "train", str(silent), "--base", str(base), "-o", str(tmp_path / "other"), *words]) == 2
    assert "reads no pictures, and " in capsys.readouterr().err


def _default():
    from hybrid_mmsa.adapters import resolve_adapter

    return resolve_adapter("default")


def test_the_leader_alone_prints_and_writes(monkeypatch):
    assert place().leads
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert (place().rank, place().local, place().size, place().leads) == (1, 1, 2, False)


def test_an_id_that_stands_twice_cannot_be_taught(posts, trained_vlm, tmp_path):
    from hybrid_mmsa.training.lora.plan import plan_tuning
    from hybrid_mmsa.training.lora.recipe import TuningRecipe

    def same(number, row):
        row["id"] = str(number // 2)

    own = read_labelled_file(rewritten(posts, same), least=8)
    with pytest.raises(InputError, match="30 ids stand more than once"):
        plan_tuning(own, tmp_path / "x", TuningRecipe(base=str(trained_vlm)), teacher=tmp_path / "v.jsonl")
