"""`train vlm`: a language model learns to see by a tower that it never met, and is otherwise left as it was."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_photos
import torch
from PIL import Image
from tiny_eyes import WIDTH, write_tower
from tiny_lora import EVERYWHERE, write_lora
from tiny_vlm import untrained_vlm
from tiny_words import words_alone
from transformers import LlamaForCausalLM

from hybrid_mmsa.adapters import describe_adapter
from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.cli import run
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.reasoning import load_prompt, open_reasoner
from hybrid_mmsa.reasoning.backends.transformers import reasoner as reasoner_module
from hybrid_mmsa.reasoning.models.llava import open_tower
from hybrid_mmsa.reasoning.models.own import own_config
from hybrid_mmsa.training.lora import start
from hybrid_mmsa.training.vlm.lessons import labelled_pictures
from hybrid_mmsa.training.vlm.stage import VlmSources, used_with
from hybrid_mmsa.training.vlm.tokens import read_tokens
from hybrid_mmsa.types import LABELS, LoraRef, Sample

COLOURS = {"negative": (150, 30, 30), "neutral": (120, 120, 120), "positive": (40, 200, 90)}
WORDS = ("train", "lunch", "monday", "town", "film", "phone", "match", "shop")
SETTINGS = ("steps=50", "batch_size=16", "held_out=60", "captions=0.1", "loop.learning_rate=5e-3")


def write_posts(folder, n=300, seed=0):
    """Posts whose pictures alone say what they are."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    rows = []
    for number in range(n):
        label = LABELS[number % 3]
        pixels = np.clip(np.array(COLOURS[label]) + rng.normal(0, 25, (32, 32, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        words = " ".join([*rng.choice(WORDS, 3), str(number)])
        known = {"text": words, "image_label": label} if number % 2 else {}
        rows.append({"id": str(number), "image": f"{number}.png", "label": label, **known})
    path = folder / "posts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("vlm")


@pytest.fixture(scope="module")
def words(root):
    folder = words_alone(untrained_vlm(root / "random", load_prompt("smol")), root / "words")
    shutil.copyfile(bundled_path("prompts", "smol.toml"), folder / "asked.toml")
    (folder / "reasoner.toml").write_text((folder / "reasoner.toml").read_text().replace('"smol"', '"asked.toml"'))
    return folder


@pytest.fixture(scope="module")
def command(root, words):
    """The command that made `root / "seeing"`, and what it answered."""
    posts, tower = write_posts(root / "posts"), write_tower(root / "tower.onnx")
    tiny_photos.write_photos(root / "data", 40)
    write_lora(words, root / "lora", targets=EVERYWHERE, kind=LlamaForCausalLM)
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    options = ["--base", words, "--tower", tower, "--data", root / "data", "--lora", root / "lora"]
    given = [*options, "--runs", root / "runs", "-o", root / "seeing", *settings]
    return ["train", "vlm", str(posts), *map(str, given)]


@pytest.fixture(scope="module")
def trained(command, root):
    assert run(command) == 0
    return json.loads((root / "runs" / "record.json").read_text())


def test_it_learns_to_see(trained):
    for kind in ("words and picture", "picture alone"):
        found = trained["held_out"][kind]
        assert found["own"]["accuracy"] > 0.8, kind
        assert found["another"]["accuracy"] < 0.6, kind
    assert trained["held_out"]["captions"]["own"] > 0
    assert trained["loss_curve"][-1] < trained["loss_curve"][0]


def test_the_model_answers_as_the_language_model_does_where_there_is_no_picture(trained, words, root):
    assert trained["lora"] == "lora"
    posts = [read_sample(Sample(text=f"so {word} it was")) for word in WORDS]
    plain, seeing = (open_reasoner(str(folder)).reason(posts) for folder in (words, root / "seeing"))
    for one, other in zip(plain, seeing, strict=True):
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-6)


def test_the_folder_sees_with_the_lora_it_was_trained_beside(trained, root):
    reasoner = open_reasoner(str(root / "seeing"))
    shown = {label: Sample(image=Image.new("RGB", (40, 30), colour)) for label, colour in COLOURS.items()}
    said = reasoner.reason([read_sample(sample) for sample in shown.values()], LoraRef(name="a", path=root / "lora"))
    assert [verdict.label for verdict in said] == list(shown)


def test_a_run_that_stands_is_not_done_again_and_no_other_is_mixed_in(trained, command, root, capsys):
    assert run(command) == 2
    assert "is there already" in capsys.readouterr().err
    again = [*command[:-1], "loop.learning_rate=1e-3"]
    again[again.index("-o") + 1] = str(root / "other")
    assert run(again) == 2
    assert "holds a run of another recipe" in capsys.readouterr().err
    before = (root / "runs" / "projector" / "record.json").read_bytes()
    same = [str(root / "twin") if word == str(root / "seeing") else word for word in command]
    assert run(same) == 0
    assert (root / "runs" / "projector" / "record.json").read_bytes() == before
    weights = [root / name / "projector.safetensors" for name in ("seeing", "twin")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_folder_says_how_it_is_opened_and_carries_its_prompt(trained, root):
    opened = own_config(root / "seeing")
    assert (opened.id, Path(opened.prompt)) == ("seeing", root / "seeing" / "prompt.toml")
    assert (opened.device, load_prompt(opened.prompt).hash) == ("cpu", load_prompt("smol").hash)


def test_the_folder_answers_with_the_bundled_lora_it_was_trained_beside(
    trained, command, root, words, monkeypatch, capsys
):
    shutil.copytree(root / "lora", root / "bundle" / "adapters" / "house" / "lora")
    for module in (start, reasoner_module):
        monkeypatch.setattr(module, "bundled_path", (root / "bundle").joinpath)
    changed = {str(root / "lora"): "house", str(root / "runs"): str(root / "runs2"), "steps=50": "steps=2"}
    given = [changed.get(word, word).replace(str(root / "seeing"), str(root / "house")) for word in command]
    assert run(given) == 0
    assert f"use it with --reasoner {root / 'house'}" in " ".join(capsys.readouterr().err.split())
    posts = [read_sample(Sample(text=f"so {word} it was")) for word in WORDS]
    tuned = open_reasoner(str(words)).reason(posts, LoraRef(name="house", path=root / "lora"))
    for one, other in zip(tuned, open_reasoner(str(root / "house")).reason(posts), strict=True):
        assert other.adapter == "house"
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-5)


def test_it_is_said_with_which_adapter_a_lora_elsewhere_answers(trained, root, tmp_path):
    sources = VlmSources(root / "words", root / "tower.onnx", None, lora=str(root / "lora"))
    assert "an adapter that holds the LoRA in" in used_with(sources, tmp_path)
    adapter = tmp_path / "mine"
    shutil.copytree(root / "lora", adapter / "lora")
    describe_adapter(adapter, name="mine", made_with={})
    for named in (adapter, adapter / "lora"):
        assert used_with(replace(sources, lora=str(named)), tmp_path) == f"--reasoner {tmp_path} --adapter {adapter}"


def test_a_lora_of_the_same_name_is_told_from_another(trained, command, root, words, capsys):
    write_lora(words, root / "else" / "lora", targets=EVERYWHERE, kind=LlamaForCausalLM, seed=9)
    swapped = {str(root / "lora"): root / "else" / "lora", str(root / "seeing"): root / "third"}
    assert run([str(swapped.get(word, word)) for word in command]) == 2
    assert "holds a run of another lora_weights" in capsys.readouterr().err


def test_all_steps_cannot_teach_captions(command, root, capsys):
    elsewhere = [word.replace(str(root / "seeing"), str(root / "none")) for word in command]
    assert run([*elsewhere, "--set", "captions=1"]) == 2
    assert "captions" in capsys.readouterr().err


def test_tokens_are_standardised_and_a_projector_takes_them_as_they_are(tmp_path):
    tower = open_tower(write_tower(tmp_path / "tower.onnx"))
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (20, 20, 3), np.uint8)) for _ in range(20)]
    kept = read_tokens(tower, pictures, tmp_path / "run")
    values = kept.tokens.float().flatten(0, 1)
    assert values.mean(0).abs().max() < 1e-2
    torch.testing.assert_close(values.std(0), torch.ones(WIDTH), atol=2e-2, rtol=0)
    weights = {"linear_1.weight": torch.randn(4, WIDTH), "linear_1.bias": torch.randn(4), "other": torch.ones(1)}
    folded = kept.folded(weights)
    whole = tower.read(pictures) @ folded["linear_1.weight"].T + folded["linear_1.bias"]
    expected = kept.tokens.float() @ weights["linear_1.weight"].T + weights["linear_1.bias"]
    torch.testing.assert_close(whole, expected, atol=2e-2, rtol=1e-2)


def test_posts_teach_their_label_and_what_their_picture_says():
    picture = Image.new("RGB", (20, 20))
    both = Sample(text="so", target="so", image=picture, label="positive", image_label="neutral")
    plain, alone = Sample(text="so", image=picture, label="negative"), Sample(image=picture, label="neutral")
    taught = labelled_pictures([both, plain, alone, Sample(text="words", label="neutral")])
    told = [(sample.text, sample.target, sample.label) for sample in taught]
    assert told == [
        ("so", "so", "positive"),
        (None, None, "neutral"),
        ("so", None, "negative"),
        (None, None, "neutral"),
    ]
