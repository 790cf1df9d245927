"""Models and adapters written as GGUF: the tokenizer cuts as before, and what llama.cpp cannot run is refused."""

import json

import pytest
from gguf_vlm import local, written
from hypothesis import given
from hypothesis import strategies as st
from tiny_lora import edit_config, write_lora
from tiny_vlm import untrained_vlm
from tokenizers import Tokenizer
from tokenizers.decoders import ByteFallback, Fuse, Replace, Sequence, Strip
from tokenizers.models import BPE
from tokenizers.normalizers import Prepend
from tokenizers.normalizers import Replace as Normalised
from tokenizers.normalizers import Sequence as Steps
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.reasoning.backends.gguf_context import GgufContext
from hybrid_mmsa.training.lora.gguf import write_gguf, write_gguf_lora


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return untrained_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def context(folder, tmp_path_factory):
    opened = opened_context(written(folder, tmp_path_factory.mktemp("gguf")))
    yield opened
    opened.close()


def opened_context(files):
    config = local(files)
    return GgufContext(files / "model.gguf", config.mmproj, context=256, threads=1, gpu=False)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


@given(st.text(max_size=60) | st.text("aeinst 'ſé0123,.!\n\t日💛", max_size=60))
def test_words_are_cut_as_by_the_tokenizer(context, tokenizer, text):
    text = text.replace("\x00", "")  # C strings end there
    assert context.tokens(text) == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_special_tokens_and_template_travel(context, tokenizer):
    assert context.llama.metadata["tokenizer.chat_template"].startswith("{% for message in messages %}")
    assert context.llama.token_eos() == tokenizer.eos_token_id
    assert context.special_text(tokenizer.eos_token_id) == tokenizer.eos_token
    assert context.ends(tokenizer.eos_token_id)
    assert not context.ends(tokenizer("a")["input_ids"][0])


def changed(folder, out, **changes):
    """The folder with other values in its configuration."""
    out.mkdir()
    for path in folder.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    values = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**values, **changes}))
    return out


def test_another_way_to_choose_features_is_refused(folder, tmp_path):
    other = changed(folder, tmp_path / "other", vision_feature_select_strategy="full")
    with pytest.raises(ArtefactError, match="vision_feature_select_strategy 'full' where 'default' is read"):
        write_gguf(other, tmp_path / "model.gguf", tmp_path / "mmproj.gguf")


def test_another_layer_of_features_is_written(folder, tmp_path):
    other = changed(folder, tmp_path / "other", vision_feature_layer=-1)
    opened_context(written(other, tmp_path / "gguf")).close()


@pytest.mark.parametrize(
    ("changes", "cause"),
    [({"use_rslora": True}, "use_rslora = True"), ({"use_dora": True}, "use_dora"), ({"bias": "all"}, "bias = 'all'")],
)
def test_only_plain_lora_is_written(folder, tmp_path, changes, cause):
    edit_config(write_lora(folder, tmp_path / "lora"), **changes)
    with pytest.raises(ArtefactError, match=cause):
        write_gguf_lora(tmp_path / "lora", folder, tmp_path / "lora.gguf")


def test_a_folder_without_an_adapter_is_refused(folder, tmp_path):
    with pytest.raises(ArtefactError, match="is no LoRA as PEFT saves it"):
        write_gguf_lora(tmp_path, folder, tmp_path / "lora.gguf")


def sentencepiece_like():
    """A tokenizer of the kind of Llama 1 and 2: BPE over characters, unknown ones as bytes, `▁` for a space."""
    special = ["<unk>", "<s>", "</s>", "<image>", *(f"<0x{n:02X}>" for n in range(256))]
    tokenizer = Tokenizer(BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = Steps([Prepend("▁"), Normalised(" ", "▁")])
    tokenizer.decoder = Sequence([Replace("▁", " "), ByteFallback(), Fuse(), Strip(" ", 1, 0)])
    trainer = BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(["the rain and the train in the sun again"] * 3, trainer)
    described = json.loads(tokenizer.to_str())
    described["added_tokens"] = [t for t in described["added_tokens"] if not t["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(described))
    marks = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, additional_special_tokens=["<image>"], **marks)


def test_a_tokenizer_of_llama_2s_kind_cuts_the_same(tmp_path):
    from tiny_vlm import make_model, make_processor, save

    tokenizer = sentencepiece_like()
    folder = save(tmp_path / "vlm", make_model(tokenizer), make_processor(tokenizer))
    context = opened_context(written(folder, tmp_path / "gguf"))
    found = {text: context.tokens(text) for text in ("the train again", "rain in thé sun", "日 the", "insane rant")}
    context.close()
    assert found == {text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in found}
