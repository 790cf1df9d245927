"""`train nano`: losses fall, a cut run ends as a whole one, the picture side is MobileNetV2, tokens are as asked."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from drawn_posts import draw_posts
from PIL import Image
from safetensors.torch import load_file
from tiny_nano import SETTINGS, config, lessons_from

from hybrid_mmsa.cli import run
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.reasoning import ReasonerConfig, load_prompt
from hybrid_mmsa.reasoning.backends.transformers.asking import ask
from hybrid_mmsa.reasoning.backends.transformers.loading import open_vlm
from hybrid_mmsa.reasoning.prompt.labels import label_tokens
from hybrid_mmsa.training.answers.targets import Known, known_target, label_target, reasoned_target
from hybrid_mmsa.training.nano import answers as nano_answers
from hybrid_mmsa.training.nano import train as nano
from hybrid_mmsa.training.nano import words as nano_words
from hybrid_mmsa.training.nano.answers import AnswersConfig, Course, _counted, _shares, _weighted, embedded
from hybrid_mmsa.training.nano.lessons import KINDS, Lessons, write_lessons
from hybrid_mmsa.training.nano.model import (
    SIDE,
    NanoShape,
    make_image_processor,
    make_model,
    picture_features,
    start_pieces,
)
from hybrid_mmsa.training.nano.pieces import make_tokenizer
from hybrid_mmsa.training.towers.image_tower import ImageTower
from hybrid_mmsa.types import Sample

PROMPT = load_prompt("nano")
CONFIG = config()
PICTURE = draw_posts(1, seed=8)[0].sample.image
QUESTIONS = {
    "both": Sample(text="A <b>lovely</b> day 🙂 @ann http://t.co/x", image=PICTURE, label="positive"),
    "words": Sample(text="So awful: the match", label="negative"),
    "picture": Sample(image=PICTURE, label="neutral"),
    "target": Sample(text="The match was lovely", image=PICTURE, target="The match", label="positive"),
}


@pytest.fixture(scope="module")
def vlm(tiny_nano):
    return open_vlm(ReasonerConfig(backend="transformers", model=str(tiny_nano.folder), dtype="float32"))


def record(folder, stage):
    return json.loads((folder / stage / "record.json").read_text())


def test_every_stage_learns(tiny_nano):
    words = json.loads((tiny_nano.runs / "words" / "dev.json").read_text())
    assert words["loss"] < words["loss_before"] - 0.5
    dev = json.loads((tiny_nano.runs / "answers" / "dev.json").read_text())
    before, after = dev["before"]["mvsa_single"], dev["after"]["mvsa_single"]
    assert before.keys() == after.keys() > {"label/right", "text_says/loss", "picture_says/loss", "rest/loss"}
    assert after["rest/loss"] < before["rest/loss"] - 0.3
    for kind in ("label", "text_says", "picture_says"):
        assert after[f"{kind}/loss"] < before[f"{kind}/loss"] - 3, f"{kind}: which pieces are possible is learnt"
    assert record(tiny_nano.runs, "answers")["resumed_at"] == 0
    reasons = json.loads((tiny_nano.runs / "reasons" / "dev.json").read_text())
    before, after = (reasons[when]["mvsa_single"]["claim/loss"] for when in ("before", "after"))
    assert after < before - 0.1


@pytest.mark.parametrize(
    ("stage", "module", "work"),
    [
        ("words", nano_words, "_mean_loss"),
        ("answers", nano_answers, "_weighted"),
        ("reasons", nano_answers, "_weighted"),
    ],
)
def test_a_cut_run_ends_as_a_whole_one(tiny_nano, tmp_path, monkeypatch, stage, module, work):
    """Cut after four steps, in which the third wrote a checkpoint; what was finished before is there already."""
    learnt = ("words", "answers", "reasons")
    for done in ("pieces", "pictures", *learnt[: learnt.index(stage)]):
        shutil.copytree(tiny_nano.runs / done, tmp_path / done)
    calls, original = [], getattr(module, work)

    def cut(*given):
        calls.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
        if sum(calls) > 4:
            raise KeyboardInterrupt
        return original(*given)

    def again():
        nano.train_nano(tiny_nano.data, tiny_nano.start, tmp_path, tmp_path / "out", CONFIG)

    monkeypatch.setattr(module, work, cut)
    with pytest.raises(KeyboardInterrupt):
        again()
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(module, work, original)
    again()
    assert record(tmp_path, stage)["resumed_at"] == 3
    assert moved(tiny_nano.runs / stage, tmp_path / stage) < 1e-5
    assert moved(tiny_nano.folder, tmp_path / "out") < 1e-5


def moved(one, other):
    """Mean difference of weights, over the tensor that differs most: as many threads as there are round differently."""
    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    return max(float((values.float() - second[name].float()).abs().mean()) for name, values in first.items())


def test_a_finished_run_is_written_again_without_training(tiny_nano, tmp_path, capsys, monkeypatch):
    """The command line, its recipe given by `--set`."""

    def never(*_, **__):
        raise AssertionError("a finished stage was trained again")

    for module in (nano, nano_words, nano_answers):
        monkeypatch.setattr(module, "train" if module is not nano else "train_words", never)
    words = ["--data", str(tiny_nano.data), "--start", str(tiny_nano.start), "--runs", str(tiny_nano.runs)]
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    assert run(["train", "nano", *words, "-o", str(tmp_path / "again"), *settings]) == 0
    assert f"--reasoner {tmp_path / 'again'}" in capsys.readouterr().err
    one, other = ((folder / "model.safetensors").read_bytes() for folder in (tiny_nano.folder, tmp_path / "again"))
    assert one == other


def test_stages_of_other_pieces_are_not_gone_on_with(tiny_nano, tmp_path):
    """A run whose first stage was made anew with no fast tier's opinions does not take the old weights for its own."""
    shutil.copytree(tiny_nano.runs, tmp_path / "runs", ignore=shutil.ignore_patterns("pieces", "checkpoint*"))
    silent = replace(CONFIG, pieces=replace(CONFIG.pieces, fast=""))
    with pytest.raises(InputError, match=r"answers holds a run of another pieces"):
        nano.train_nano(tiny_nano.data, tiny_nano.start, tmp_path / "runs", tmp_path / "out", silent)
    pieces = nano.prepare(tiny_nano.data, tiny_nano.start, silent.pieces, tmp_path / "runs" / "pieces")
    assert pieces.facts["fast"] is None
    assert not pieces.learnt.opinions.any()
    assert Lessons.load(tiny_nano.runs / "pieces" / "learnt.safetensors").opinions.any()


@pytest.mark.parametrize("stage", ["answers", "reasons"])
def test_either_stage_practises_as_its_recipe_says(tiny_nano, tmp_path, monkeypatch, stage):
    """Every lesson that tells a rationale comes once more, or none does."""
    for done in ("pieces", "words", "pictures"):
        shutil.copytree(tiny_nano.runs / done, tmp_path / done)
    courses = {}
    monkeypatch.setattr(nano, "train_answers", lambda *given: courses.setdefault(given[4].name, given[1].lessons))
    monkeypatch.setattr(nano, "write_folder", lambda *_: None)
    found = []
    for share in (0.0, 1.0):
        config = replace(CONFIG, **{stage: replace(getattr(CONFIG, stage), practice=share)})
        nano.train_nano(tiny_nano.data, tiny_nano.start, tmp_path, tmp_path / "out", config)
        found.append(courses.pop(stage))
    without, practised = found
    assert not (without.kinds == KINDS["given"]).any()
    telling = Lessons.load(tiny_nano.runs / "pieces" / "learnt.safetensors").teaching("claim")
    assert len(practised) == len(without) + len(telling) > len(without)
    assert len(practised.teaching("given")) == len(telling)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"--data": "gone"}, "there is no folder"),
        ({"--start": "gone"}, "there is no file"),
        ({"--set": "shape.widht=8"}, "no setting"),
        ({"--set": "pieces.pieces=500"}, "another recipe"),
        ({"--set": "pieces.fast="}, "another recipe and fast"),
        ({"--set": "answers.label_weight=0.4"}, "another recipe"),
        ({"--set": "reasons.label_weight=0.4"}, "another recipe"),
        ({"-o": "occupied"}, "holds something that is no model"),
        ({"--data": "empty", "--runs": "fresh"}, "no posts to train on"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(tiny_nano, tmp_path, capsys, change, told):
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "thesis.txt").write_text("years of work")
    (tmp_path / "empty").mkdir()
    given = {"--data": tiny_nano.data, "--start": tiny_nano.start, "--runs": tiny_nano.runs, "-o": tmp_path / "out"}
    paths = {option: tmp_path / word for option, word in change.items() if option != "--set"}
    settings = [*SETTINGS, *(word for option, word in change.items() if option == "--set")]
    words = [str(word) for pair in (given | paths).items() for word in pair]
    assert run(["train", "nano", *words, *(word for setting in settings for word in ("--set", setting))]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert (tmp_path / "occupied" / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "out").exists()


def test_the_picture_side_sees_what_mobilenet_sees(tiny_nano, vlm):
    """Patch by patch, from the picture on; and a folder's model sees exactly what was trained on."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8))
    pixels = make_image_processor()(images=[picture], return_tensors="pt")["pixel_values"]
    start = tiny.start_weights()
    model = make_model(NanoShape(64, 1, 64, 2, 1), 300, tiny_nano.start)
    tower = ImageTower(start).eval()
    raw = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None]
    with torch.inference_mode():
        seen = model.model.vision_tower(pixels)
        wanted = tower.features(raw)
        whole = tower._through(tower.specs, tower.trunk(raw) if tower.frozen else (raw.float() - 127.0) / 127.5)
    assert seen.hidden_states == (seen.last_hidden_state,)
    assert seen.last_hidden_state.shape == (1, 25, 1280)
    assert torch.allclose(seen.last_hidden_state, whole.flatten(2).transpose(1, 2), atol=1e-3)
    assert torch.allclose(seen.last_hidden_state.mean(1), wanted, atol=1e-3)
    assert float(wanted.std()) > 0.01
    nano.round_as_stored(model.model.vision_tower)
    assert torch.equal(picture_features(model, pixels), picture_features(vlm.model, pixels))


def test_the_picture_side_is_not_trained(tiny_nano, vlm):
    weights = tiny.start_weights()
    tower = vlm.model.model.vision_tower
    assert torch.equal(tower.conv_1x1.convolution.weight, weights["l.51.c.weight"].half().float())
    assert torch.equal(tower.conv_stem.first_conv.normalization.bias, weights["l.0.c.bias"].half().float())
    assert not any("vision_tower" in name for name in nano_answers._learning(vlm.model).state_dict())
    whole = vlm.model.train()
    assert whole.model.language_model.training
    assert not any(part.training for part in tower.modules()), "batch norms follow no batch"
    whole.eval()


@pytest.mark.parametrize("kind", QUESTIONS)
def test_what_is_learnt_is_what_is_asked(vlm, kind):
    """A lesson's tokens are the backend's question, then the beginning of the answer, then the label."""
    sample = QUESTIONS[kind]
    prompt = PROMPT.for_sample(sample)
    target = reasoned_target(sample, prompt)
    ((ids, kinds),), _ = write_lessons(vlm.processor, PROMPT, [(sample, target)], patches=25, longest=999)
    labels = label_tokens(lambda text: vlm.tokenizer(text, add_special_tokens=False)["input_ids"], prompt.labels)
    asked = ask(vlm, prompt, [read_sample(sample)], [labels.prefix], image_size=None)["input_ids"][0].tolist()
    assert ids[: len(asked)].tolist() == asked
    assert ids[len(asked)] == labels.ids[sample.label]
    assert kinds[len(asked)] == KINDS["label"]
    assert not kinds[: len(asked) - len(labels.prefix)].any(), "nothing of the question is learnt"
    written = vlm.tokenizer.decode(ids[len(asked) - len(labels.prefix) :].tolist())
    assert written.removesuffix("<|end|>") == target.answer


def test_what_is_not_known_is_not_learnt(vlm):
    sample = QUESTIONS["both"]
    ((ids, kinds),), kept = write_lessons(
        vlm.processor, PROMPT, [(sample, label_target(sample, PROMPT))], patches=25, longest=999
    )
    taught = vlm.tokenizer.decode(ids[kinds > 0].tolist())
    assert "positive" in taught
    assert "rationale" not in taught
    assert kept == [0]
    assert write_lessons(vlm.processor, PROMPT, [(sample, label_target(sample, PROMPT))], patches=25, longest=20) == (
        [],
        [],
    )


def test_labels_said_in_a_rationale_are_claims_and_those_in_fields_are_not(vlm):
    sample = replace(QUESTIONS["both"], rationale="The words are positive, the picture is neutral.")
    target = reasoned_target(sample, PROMPT)
    ((ids, kinds),), _ = write_lessons(vlm.processor, PROMPT, [(sample, target)], patches=25, longest=999)
    claimed = vlm.tokenizer.decode(ids[kinds == KINDS["claim"]].tolist())
    assert claimed.split() == ["positive", "neutral"]


def course_of(vlm, targets):
    """A course of one lesson for each sample and target, with random pictures."""
    lessons = lessons_from(vlm.processor, targets)
    shown = int((lessons.pictures >= 0).sum())
    features = torch.randn(shown, 25, 1280, generator=torch.Generator().manual_seed(0))
    return Course(lessons, features.half(), ["mvsa_single"], [5, 6, 7])


@pytest.fixture(scope="module")
def told(vlm):
    """A post of words and picture with its rationale, its label alone, and whether a text is sarcastic."""
    reasoned = replace(QUESTIONS["both"], rationale="The words are positive, the picture is neutral.")
    meant = Sample(text="oh great", sarcastic=True)
    known = known_target(meant, PROMPT, Known(sarcastic=True), stand_in="neutral")
    whole = Known(label="positive", text="positive", picture="neutral", rationale=reasoned.rationale)
    why = known_target(reasoned, PROMPT, whole, stand_in="neutral")
    targets = [(reasoned, why), (reasoned, label_target(reasoned, PROMPT)), (meant, known)]
    return course_of(vlm, targets)


def test_reasons_and_sarcasm_are_told_and_labels_alone_are_not(told):
    telling = told.lessons.telling()
    assert telling.lengths.tolist() == told.lessons.lengths[[0, 2]].tolist()
    assert {KINDS["claim"], KINDS["sarcastic"]} <= set(telling.kinds.tolist())


@pytest.mark.parametrize("claims", [0.0, 0.35])
def test_shares_of_the_loss_are_one_together_and_claims_without_one_are_part_of_the_rest(told, claims):
    config = AnswersConfig(claims_weight=claims)
    shares = _shares(config)
    assert sum(shares.values()) == pytest.approx(1)
    kinds = torch.tensor([KINDS["claim"], KINDS["rest"], KINDS["rest"]])
    found = float(_weighted(_counted(kinds, config), torch.tensor([9.0, 3.0, 3.0]), shares))
    assert found == pytest.approx(9 * claims + 3 * shares["rest"] if claims else 5 * shares["rest"])


def test_features_go_in_as_llava_puts_them(vlm):
    """One post with a picture and one without, in one batch, give what the whole model gives for each alone."""
    prompts = [(PROMPT.for_sample(QUESTIONS[kind]), read_sample(QUESTIONS[kind])) for kind in ("words", "both")]
    inputs = [ask(vlm, prompt, [sample], [[7, 8]], image_size=None) for prompt, sample in prompts]
    width = max(each["input_ids"].shape[1] for each in inputs)
    ids = torch.zeros(2, width, dtype=torch.long)
    for row, each in enumerate(inputs):
        ids[row, : each["input_ids"].shape[1]] = each["input_ids"][0]
    with torch.inference_mode():
        seen = vlm.model.model.vision_tower(inputs[1]["pixel_values"]).last_hidden_state
        hidden = vlm.model.model.language_model(inputs_embeds=embedded(vlm.model, ids, seen)).last_hidden_state
        logits = vlm.model.lm_head(hidden)
        for row, each in enumerate(inputs):
            wanted = vlm.model(**each).logits[0]
            assert torch.allclose(logits[row, : len(wanted)], wanted, atol=1e-4), row
        blind, shown = (embedded(vlm.model, ids, each) for each in (torch.zeros_like(seen), seen))
    assert torch.equal(blind[0], shown[0])
    assert not torch.allclose(blind[1], shown[1])


@pytest.mark.parametrize("width", [384, 96])
def test_pieces_start_where_minilm_has_them(tmp_path, tiny_nano, width):
    words = "good great dog cat monday tuesday"
    tokenizer = make_tokenizer([f"x {words} {words}"] * 50, PROMPT, 420)
    model = make_model(NanoShape(width, 1, 64, 6, 2), len(tokenizer), tiny_nano.start)
    start_pieces(model, tokenizer)

    def place(word):
        (number,) = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        return model.get_input_embeddings().weight[number].detach()

    def alike(one, other):
        return float(torch.cosine_similarity(place(one), place(other), dim=0))

    for one, like, unlike in (("good", "great", "dog"), ("dog", "cat", "tuesday"), ("monday", "tuesday", "great")):
        assert alike(one, like) > alike(one, unlike) + 0.1
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert model.get_input_embeddings().weight.detach().std() < 0.1
