"""LoRA on the towers of bigger encoders: trained, saved, loaded, and refused where it does not fit or does nothing."""

import shutil

import numpy as np
import pytest
import tiny_encoders
import torch
from safetensors.torch import load_file, save_file

from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.cli import run
from hybrid_mmsa.encoders import moved_name, open_encoder
from hybrid_mmsa.errors import ArtefactError, InputError
from hybrid_mmsa.training.common.loop import LoopConfig
from hybrid_mmsa.training.heads.frozen_posts import train_frozen
from hybrid_mmsa.training.heads.tower_lora import LoraConfig, LoraSideConfig, train_with_lora
from hybrid_mmsa.types import LABELS

CONFIG = LoraConfig(
    text=LoraSideConfig(loop=LoopConfig(epochs=14, learning_rate=4e-3)),
    image=LoraSideConfig(loop=LoopConfig(epochs=8, learning_rate=4e-3)),
    folds=2,
)
HF, CLIP = "hf:bert+timm:vit", "open_clip:clip"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Tiny models and posts, and the folder they stand in as the working directory."""
    root = tmp_path_factory.mktemp("lora")
    tiny_encoders.write_bert(root / "bert")
    tiny_encoders.write_timm(root / "vit", "vit_tiny_patch16_224")
    tiny_encoders.write_timm(root / "resnet", "resnet10t")
    tiny_encoders.write_open_clip(root / "clip")
    tiny_encoders.write_posts(root / "data", tiny_encoders.tangled_posts(330, seed=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield root


@pytest.fixture(scope="module")
def tuned(desk):
    """A model with LoRA on both towers."""
    train_with_lora(desk / "data", HF, "both", desk / "mine", config=CONFIG)
    return desk / "mine"


def right(folder, task):
    unseen = tiny_encoders.tangled_posts(120, seed=2)
    side = {"text_sentiment": "text_label", "sentiment": "label"}[task]
    gold = np.array([LABELS.index(getattr(post, side)) for post in unseen])
    return (Analyzer.from_pretrained(folder).posteriors(unseen)[task].argmax(1) == gold).mean()


def test_lora_learns_what_no_head_on_frozen_features_can(desk, tuned):
    train_frozen(desk / "data", HF, desk / "frozen")
    assert right(tuned, "text_sentiment") > right(desk / "frozen", "text_sentiment") + 0.2
    assert right(tuned, "sentiment") > right(desk / "frozen", "sentiment") + 0.05
    losses = Adapter.load(tuned).made_with["log_loss_left_out"]
    assert set(losses) == {"text.sentiment", "text.joint", "image.sentiment", "image.joint"}
    for name in ("text.sentiment", "text.joint", "image.joint"):
        assert losses[name]["lora"] < losses[name]["frozen"] - 0.015, losses
    answer = Analyzer.from_pretrained(tuned).analyze("we the not awful", tiny_encoders.tangled_posts(1)[0].image)
    assert answer.provenance.encoder_hash == Adapter.load(tuned).encoder_hash
    assert answer.text_sentiment.label == "positive"


def test_the_command_tunes_a_clip_model_too(desk):
    settings = ["text.loop.epochs=14", "text.loop.learning_rate=0.004", "folds=2"]
    words = [word for setting in settings for word in ("--set", setting)]
    command = ["train", "fusion", "--data", "data", "--encoder", CLIP, "--lora", "text", "-o", "clip-tuned", *words]
    assert run(command) == 0
    train_frozen(desk / "data", CLIP, desk / "clip-frozen")
    gained = right(desk / "clip-tuned", "text_sentiment") - right(desk / "clip-frozen", "text_sentiment")
    assert gained > 0.08
    assert sorted(p.name for p in (desk / "clip-tuned" / "towers").iterdir()) == ["text"]


def test_a_second_run_finds_everything_done_and_the_towers_as_they_were(desk, tuned):
    before = {path: path.stat().st_mtime_ns for path in desk.glob("mine.features/lora-*/*/done.safetensors")}
    assert len(before) == 6
    first = Adapter.load(tuned)
    again = train_with_lora(desk / "data", HF, "both", desk / "mine", config=CONFIG)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.encoder_hash == first.encoder_hash
    assert all(np.array_equal(again.head.arrays[name], values) for name, values in first.head.arrays.items())
    other = LoraConfig(text=LoraSideConfig(rank=4), folds=2)
    with pytest.raises(InputError, match="a run of another recipe"):
        train_with_lora(desk / "data", HF, "text", desk / "mine", config=other)


def test_vectors_are_the_same_alone_and_in_any_batch(desk, tuned):
    encoder = open_encoder(Adapter.load(tuned).encoder, tuned)
    from hybrid_mmsa.inputs import read_sample

    posts = [read_sample(post) for post in tiny_encoders.drawn_posts(40, seed=1)]
    changed = tiny_encoders.check_encoder(encoder, posts)
    plain = open_encoder(HF, desk).encode(posts)
    assert not np.allclose(changed.text_features, plain.text_features, atol=1e-3)
    assert not np.allclose(changed.image_features, plain.image_features, atol=1e-3)


def lora_of(tuned, to, change):
    """The model elsewhere beside its towers' folders, its text LoRA's weights changed."""
    shutil.copytree(tuned, to)
    path = to / "towers" / "text" / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)
    return to


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: {k: v * (1 + 1e-4) for k, v in w.items()}, "was fitted to encoder"),
        (lambda w: {k: torch.zeros_like(v) for k, v in w.items()}, "changes nothing"),
        (lambda w: {k: v * float("nan") for k, v in w.items()}, "no numbers"),
        (lambda w: {f"x.{k}": v for k, v in w.items()}, "keys are missing"),
        (lambda w: {k: v[:, :3].contiguous() for k, v in w.items()}, "has shape"),
    ],
    ids=["touched", "nothing", "no-numbers", "other-keys", "other-shapes"],
)
def test_a_lora_that_does_not_fit_is_refused(desk, tuned, change, told):
    folder = lora_of(tuned, desk / f"model-{told[:3]}{len(told)}", change)
    with pytest.raises(ArtefactError, match=told):
        Analyzer.from_pretrained(folder)


def test_a_missing_or_foreign_lora_is_refused(desk, tuned):
    with pytest.raises(ArtefactError, match="holds no LoRA for a tower"):
        open_encoder(f"{HF}+lora:nowhere", desk)
    broken = desk / "broken" / "text"
    shutil.copytree(tuned / "towers" / "text", broken)
    (broken / "adapter_config.json").write_text('{"peft_type": "LOHA"}')
    with pytest.raises(ArtefactError, match="no plain LoRA: LOHA"):
        open_encoder(f"{HF}+lora:broken", desk)
    with pytest.raises(ArtefactError, match="known are 'compact'"):
        open_encoder("compact+lora:mine/towers", desk)


def test_what_cannot_be_tuned_is_refused(desk, capsys):
    with pytest.raises(InputError, match="no linear layers"):
        train_with_lora(desk / "data", "hf:bert+timm:resnet", "image", desk / "res", config=CONFIG)
    assert run(["train", "fusion", "--data", "data", "--encoder", "compact", "--lora", "text", "-o", "x"]) == 2
    assert "LoRA is for open_clip: and hf: encoders" in capsys.readouterr().err
    assert run(["train", "fusion", "--data", "data", "--lora", "text", "-o", "x"]) == 2
    assert "name one" in capsys.readouterr().err


def test_paths_in_a_name_move_with_the_lora(desk, tuned):
    assert moved_name(f"{HF}+lora:mine/towers", desk, desk / "mine") == "hf:../bert+timm:../vit+lora:towers"
    assert Adapter.load(tuned).encoder == "hf:../bert+timm:../vit+lora:towers"
