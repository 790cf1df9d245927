"""A language model and a picture tower become one model: without a picture it answers as before, with one it sees."""

from dataclasses import replace
from functools import partial
from shutil import copytree

import numpy as np
import pytest
import torch
from drawn_posts import draw_posts
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_eyes import PATCH, SIDE, WIDTH, write_tower
from tiny_lora import EVERYWHERE, write_lora
from tiny_vlm import untrained_vlm
from tiny_words import words_alone
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
)

from hybrid_mmsa.encoders.compact import PICTURE_TOWER, CompactEncoder
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.reasoning import ReasonerConfig, load_prompt, open_reasoner
from hybrid_mmsa.reasoning.models.llava import join, open_tower, read_projector, write_projector
from hybrid_mmsa.types import LABELS, LoraRef, Sample, posteriors


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return untrained_vlm(tmp_path_factory.mktemp("vlm"), load_prompt("smol"))


@pytest.fixture(scope="module")
def words(vlm, tmp_path_factory):
    return words_alone(vlm, tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return open_tower(write_tower(tmp_path_factory.mktemp("tower") / "tower.onnx"))


@pytest.fixture(scope="module")
def seeing(words, tower, tmp_path_factory):
    """The folder of the two as one, with a projector that shows."""
    folder = tmp_path_factory.mktemp("seeing") / "model"
    torch.manual_seed(1)
    llava = join(words, tower)
    for weights in llava.model.model.multi_modal_projector.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    llava.save(folder)
    (folder / "reasoner.toml").write_text((words / "reasoner.toml").read_text())
    return folder


POSTS = [post.sample for post in draw_posts(24, 5) if post.sample.text and post.sample.image is not None]
TEXTS = [replace(sample, image=None) for sample in POSTS]


def test_the_bundled_tower_gives_what_the_encoder_gives():
    pictures = [read_sample(sample).image for sample in POSTS[:3]]
    tower = open_tower(PICTURE_TOWER)
    maps = CompactEncoder().image_maps([Sample(image=picture) for picture in pictures])
    np.testing.assert_array_equal(tower.read(pictures).numpy(), maps.reshape(3, tower.tokens, -1))


def test_posts_without_a_picture_get_the_same_answers(words, seeing):
    plain, eyes = open_reasoner(str(words)), open_reasoner(str(seeing))
    assert (plain.reads_pictures, eyes.reads_pictures) == (False, True)
    one, other = (reasoner.reason(TEXTS[:6], rationale=True) for reasoner in (plain, eyes))
    np.testing.assert_allclose(posteriors(other), posteriors(one), atol=1e-6)
    assert [said.rationale for said in other] == [said.rationale for said in one]


def test_pictures_are_seen_alone_and_in_any_batch(seeing):
    reasoner = open_reasoner(str(seeing))
    together = posteriors(reasoner.reason([*POSTS[:5], *TEXTS[:5]]))
    assert np.abs(together[:5] - together[5:]).max() > 1e-3
    alone = posteriors([reasoner.reason([sample])[0] for sample in [*POSTS[:5], *TEXTS[:5]]])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    said = reasoner.reason(POSTS[:2], rationale=True)
    assert all(each.text_says in LABELS and each.picture_says in LABELS for each in said)


def test_what_questions_begin_with_is_shared_up_to_the_picture(seeing, monkeypatch):
    reasoner = open_reasoner(str(seeing))
    shared = posteriors(reasoner.reason(POSTS[:6]))
    read = [states for _, states in reasoner._beginnings._read.values()]
    assert len(read) == 1
    assert read[0][0][0].shape[2] > 10, "the instruction is remembered"
    monkeypatch.setattr(type(reasoner._vlm), "resumes", False)
    np.testing.assert_allclose(posteriors(reasoner.reason(POSTS[:6])), shared, atol=1e-5)


def test_a_post_cannot_write_the_picture_s_token(seeing):
    reasoner = open_reasoner(str(seeing))
    token = reasoner._vlm.processor.image_token
    assert reasoner.reason([Sample(text=f"fine {token} day"), replace(POSTS[0], text=f"{token}{token} so so")])


def test_a_lora_for_the_words_alone_answers_on_the_whole(words, seeing, tmp_path):
    whole = open_reasoner(str(words))
    folder = write_lora(words, tmp_path / "lora", targets=EVERYWHERE, kind=LlamaForCausalLM)
    lora = LoraRef(name="mine", path=folder)
    tuned = whole.reason(TEXTS[:4], lora)
    assert np.abs(posteriors(tuned) - posteriors(whole.reason(TEXTS[:4]))).max() > 1e-4
    np.testing.assert_allclose(
        posteriors(open_reasoner(str(seeing)).reason(TEXTS[:4], lora)), posteriors(tuned), atol=1e-6
    )


def test_a_vision_model_of_transformers_is_a_tower(words, tmp_path):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=SIDE, patch_size=PATCH)).save_pretrained(tmp_path / "clip")
    square = {"height": SIDE, "width": SIDE}
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=square).save_pretrained(tmp_path / "clip")
    tower = open_tower(tmp_path / "clip")
    assert (tower.tokens, tower.own_token) == ((SIDE // PATCH) ** 2, True)
    join(words, tower).save(tmp_path / "model")
    reasoner = open_reasoner(ReasonerConfig(backend="transformers", model=str(tmp_path / "model"), prompt="smol"))
    assert reasoner.reads_pictures
    assert np.isfinite(posteriors(reasoner.reason(POSTS[:2]))).all()


def test_a_lora_for_the_whole_answers_on_the_words_alone(words, seeing, tmp_path):
    lora = LoraRef(name="mine", path=write_lora(seeing, tmp_path / "lora"))
    tuned = open_reasoner(str(seeing)).reason(TEXTS[:4], lora)
    np.testing.assert_allclose(
        posteriors(open_reasoner(str(words)).reason(TEXTS[:4], lora)), posteriors(tuned), atol=1e-6
    )


def test_the_tower_of_a_model_that_sees_is_its_own_at_every_opening(vlm, seeing, tower):
    own = LlavaForConditionalGeneration.from_pretrained(vlm).model.vision_tower.state_dict()
    opened = open_tower(vlm)
    assert all(torch.equal(value, own[name]) for name, value in opened.model.state_dict().items())
    assert open_tower(vlm).hash == opened.hash
    assert open_tower(seeing).hash == tower.hash, "a file's as well"


def test_weights_are_whole_and_never_a_pickle(vlm, words, tower, tmp_path):
    files = ("model.safetensors", "pytorch_model.bin")
    for name, folder, opened in (("eyes", vlm, open_tower), ("words", words, partial(join, tower=tower))):
        lacking = copytree(folder, tmp_path / f"lacking {name}")
        weights = load_file(lacking / files[0])
        some = {key: value for key, value in weights.items() if ".layers.0." not in key}
        save_file(some, lacking / files[0], metadata={"format": "pt"})
        with pytest.raises(ArtefactError, match=rf"^{lacking} lacks weights.*\.layers\.0\."):
            opened(lacking)
        pickled = copytree(folder, tmp_path / f"pickled {name}")
        torch.save(weights, pickled / files[1])
        (pickled / files[0]).unlink()
        with pytest.raises(ArtefactError, match="cannot be opened as"):
            opened(pickled)


def test_a_projector_is_for_its_own_tower(words, tower, tmp_path):
    llava = join(words, tower)
    weights = llava.model.model.multi_modal_projector.state_dict()
    write_projector(weights, tower, tmp_path / "projector.safetensors")
    read_projector(llava, tower, tmp_path / "projector.safetensors")
    other = open_tower(write_tower(tmp_path / "tower.onnx", seed=1))
    with pytest.raises(ArtefactError, match="was made for another picture tower"):
        read_projector(llava, other, tmp_path / "projector.safetensors")
    write_projector({"linear_1.weight": torch.zeros(2, WIDTH)}, tower, tmp_path / "small.safetensors")
    with pytest.raises(ArtefactError, match="is no projector of this language model and tower"):
        read_projector(llava, tower, tmp_path / "small.safetensors")


def test_what_is_no_tower_or_no_language_model_is_refused(words, tower, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ArtefactError, match="cannot open the model in the weights"):
        open_tower(tmp_path / "broken.onnx")
    with pytest.raises(ArtefactError, match="cannot be opened as a picture tower"):
        open_tower(tmp_path)
    with pytest.raises(ArtefactError, match="cannot be opened as a language model"):
        join(tmp_path, tower)


def test_a_picture_may_be_of_any_size(tower):
    sizes = [(1, 1), (3, 200), (640, 480)]
    assert tower.read([Image.new("RGB", size) for size in sizes]).shape == (3, tower.tokens, WIDTH)
