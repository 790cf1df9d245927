"""An exported LoRA answers as the adapter does, in PEFT, merged and in llama.cpp; what would not is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_posts import draw_posts
from peft import PeftModel
from safetensors import safe_open
from tiny_lora import EVERYWHERE, edit_config, train_lora, turned, write_lora
from tiny_vlm import held_out, make_model, make_processor, save
from tiny_vlm import made_from as made_from_vlm
from tiny_words import store_with_smol, words_alone
from trained_once import TRAINERS, sources, trained_once
from transformers import AutoTokenizer, LlamaForCausalLM, LlavaForConditionalGeneration

from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import Adapter, describe_adapter
from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.cli import run
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.reasoning import ReasonerConfig, load_prompt, open_reasoner, presets
from hybrid_mmsa.reasoning.models.own import own_config
from hybrid_mmsa.reasoning.models.store import Pulled, file_hashes, write_manifest
from hybrid_mmsa.training.lora.export import Export, export_lora
from hybrid_mmsa.types import LABELS

POSTS = [turned(post).sample for post in held_out(50)]
GOLD = [post.label for post in POSTS]


def numbers(verdicts):
    return np.array([[verdict.probabilities[label] for label in LABELS] for verdict in verdicts])


def labels(verdicts):
    return [verdict.label for verdict in verdicts]


def agreement(some, others):
    return np.mean([one == other for one, other in zip(labels(some), labels(others), strict=True)])


def as_adapter(folder):
    """What `adapter train` leaves behind: the LoRA, the prompt it was trained with, a card, a manifest."""
    prompt = (bundled_path("prompts") / "sentiment.toml").read_text(encoding="utf-8")
    (folder / "prompt.toml").write_text(prompt.replace('name = "sentiment"', 'name = "turned"'), encoding="utf-8")
    (folder / "card.md").write_text("# turned\n", encoding="utf-8")
    describe_adapter(folder, name=folder.name, made_with={"posts": 300})
    return folder


@pytest.fixture(scope="module")
def adapter(trained_vlm, tmp_path_factory):
    """A LoRA that learned to call glad posts sad and sad posts glad."""
    made_from = [*made_from_vlm(), *sources(Path(__file__).with_name("tiny_lora.py"))]
    lora = trained_once(
        "turned-lora",
        lambda out: train_lora(trained_vlm, out, [turned(post) for post in draw_posts(300, 21)]),
        made_from,
        (*TRAINERS, "peft"),
    )
    folder = tmp_path_factory.mktemp("adapters") / "turned"
    shutil.copytree(lora, folder / "lora")
    return as_adapter(folder)


@pytest.fixture(scope="module")
def in_peft(trained_vlm, adapter):
    """The adapter's own answers."""
    reasoner = open_reasoner(ReasonerConfig(backend="transformers", model=str(trained_vlm), device="cpu"))
    return reasoner.reason(POSTS, Adapter.load(adapter).lora)


def test_the_adapter_has_learned(in_peft):
    assert np.mean([label == gold for label, gold in zip(labels(in_peft), GOLD, strict=True)]) >= 0.85


@pytest.fixture(scope="module")
def merged(trained_vlm, adapter, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "merged"
    told = export_lora(Export(adapter, str(trained_vlm), out, "merged"))
    assert "lost in rounding" in told[-1]
    return out


def test_the_merged_model_answers_as_the_adapter(merged, in_peft):
    answers = open_reasoner(merged / "reasoner.toml").reason(POSTS)
    assert agreement(answers, in_peft) >= 0.98
    np.testing.assert_allclose(numbers(answers), numbers(in_peft), atol=1e-4)
    assert answers[0].prompt == in_peft[0].prompt, "the prompt it was trained with went with it"
    assert answers[0].adapter is None


def test_the_merged_folder_is_a_plain_model(merged, trained_vlm):
    for name in ("tokenizer.json", "processor_config.json", "chat_template.jinja"):
        assert (merged / name).read_bytes() == (trained_vlm / name).read_bytes()
    with safe_open(merged / "model.safetensors", "pt") as weights:
        assert not [key for key in weights.keys() if "lora" in key]  # noqa: SIM118 - a file, not a mapping
    model, found = LlavaForConditionalGeneration.from_pretrained(merged, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    before = LlavaForConditionalGeneration.from_pretrained(trained_vlm).state_dict()
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert moved
    assert all("language_model" in key for key in moved), "the picture's side stays as it was"


def test_llama_cpp_answers_as_the_adapter(trained_vlm, adapter, in_peft, tmp_path):
    out = tmp_path / "turned"
    told = export_lora(Export(adapter, str(trained_vlm), out, "gguf", with_base=True, threads=1))
    assert "tried there" in told[-1]
    exported = Adapter.load(out)
    assert exported.name == "turned"
    assert exported.made_with["exported_from"] == Adapter.load(adapter).hash
    config = ReasonerConfig.from_file(out / "llama.cpp" / "reasoner.toml")
    reasoner = open_reasoner(config.model_copy(update={"device": "cpu", "threads": 1}), [exported.lora])
    answers = reasoner.reason(POSTS, exported.lora)
    words = [n for n, post in enumerate(POSTS) if post.image is None]
    np.testing.assert_allclose(numbers(answers)[words], numbers(in_peft)[words], atol=0.02)
    assert agreement(answers, in_peft) >= 0.95, "llama.cpp reads a picture by another program, adapter or not"
    assert agreement(answers[:15], reasoner.reason(POSTS[:15])) < 0.7, "without it the base answers otherwise"
    analyzer = Analyzer.from_pretrained(reasoner=reasoner, adapters=[out])
    answer = analyzer.analyze(POSTS[0].text, POSTS[0].image, adapter="turned", mode="deep")
    assert answer.verdict.adapter == "turned"
    reasoner.close()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks by a deprecated name
def test_the_peft_folder_opens_without_this_package(trained_vlm, adapter, tmp_path, capsys):
    out = tmp_path / "lora"
    command = ["adapter", "export", str(adapter), "--format", "peft", "--base", str(trained_vlm), "-o", str(out)]
    assert run(command) == 0
    assert "--max-lora-rank 8" in " ".join(capsys.readouterr().err.split())
    assert {"adapter_config.json", "adapter_model.safetensors", "prompt.toml", "card.md"} == {
        path.name for path in out.iterdir()
    }
    settings = json.loads((out / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == trained_vlm.name
    ids = AutoTokenizer.from_pretrained(trained_vlm)("a lovely day", return_tensors="pt")
    folders = (None, out, adapter / "lora")
    with torch.inference_mode():
        before, after, wanted = (opened(trained_vlm, folder)(**ids).logits for folder in folders)
    torch.testing.assert_close(after, wanted)
    assert not torch.allclose(before, after, atol=0.1)


def opened(base, lora):
    """The base as transformers opens it, with a LoRA as PEFT opens it."""
    model = LlavaForConditionalGeneration.from_pretrained(base)
    return model if lora is None else PeftModel.from_pretrained(model, lora)


def refused(adapter, base, out, form="peft", *more):
    """One line on standard error, exit code 2, and nothing left behind."""
    code = run(["adapter", "export", str(adapter), "--format", form, "--base", str(base), "-o", str(out), *more])
    assert not out.with_name(f"{out.name}.partial").exists()
    return code == 2


@pytest.mark.parametrize("form", ["peft", "merged", "gguf"])
def test_an_adapter_of_a_model_of_words_alone_is_exported(trained_vlm, tmp_path, form):
    base = words_alone(trained_vlm, tmp_path / "words")
    folder = tmp_path / "spoken"
    write_lora(base, folder / "lora", strength=0.4, targets=EVERYWHERE, kind=LlamaForCausalLM)
    told = export_lora(Export(as_adapter(folder), str(base), tmp_path / form, form))
    assert told
    assert any((tmp_path / form).iterdir())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks by a deprecated name
def test_a_lora_of_a_preset_is_for_the_model_that_was_published(trained_vlm, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_MMSA_HOME", str(store_with_smol(trained_vlm, tmp_path / "home")))
    folder = tmp_path / "mine"
    write_lora(trained_vlm, folder / "lora", strength=0.4)
    export_lora(Export(as_adapter(folder), "smol", tmp_path / "out", "peft", threads=1))
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["revision"]) == (presets()["smol"].repository, None)
    published = words_alone(trained_vlm, tmp_path / "words")
    ids = AutoTokenizer.from_pretrained(trained_vlm)("a lovely day", return_tensors="pt")
    words = LlamaForCausalLM.from_pretrained(published)
    with torch.inference_mode():
        before, wanted = words(**ids).logits, opened(trained_vlm, folder / "lora")(**ids).logits
        after = PeftModel.from_pretrained(words, tmp_path / "out")(**ids).logits
    torch.testing.assert_close(after, wanted)
    assert not torch.allclose(before, after, atol=0.1)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_a_lora_of_words_alone_is_exported_for_a_model_that_sees(trained_vlm, tmp_path):
    words = words_alone(trained_vlm, tmp_path / "words")
    folder = tmp_path / "spoken"
    write_lora(words, folder / "lora", strength=0.4, targets=EVERYWHERE, kind=LlamaForCausalLM)
    as_adapter(folder)
    for form in ("peft", "merged"):
        export_lora(Export(folder, str(trained_vlm), tmp_path / form, form, threads=1))
    ids = AutoTokenizer.from_pretrained(trained_vlm)("a lovely day", return_tensors="pt")
    with torch.inference_mode():
        wanted = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(words), folder / "lora")(**ids).logits
        for base, lora in ((trained_vlm, tmp_path / "peft"), (tmp_path / "merged", None)):
            torch.testing.assert_close(opened(base, lora)(**ids).logits, wanted, atol=1e-4, rtol=1e-4)


def test_a_written_model_is_opened_as_its_base_is(trained_vlm, adapter, tmp_path):
    base = shutil.copytree(trained_vlm, tmp_path / "base")
    shutil.copyfile(bundled_path("prompts", "smol.toml"), base / "asked.toml")
    told = (
        'backend = "transformers"\nmodel = "."\nimage_size = 64\ncontext = 2048\nprompt = "asked.toml"\nlora = "smol"\n'
    )
    (base / "reasoner.toml").write_text(told)
    plain = tmp_path / "plain"
    shutil.copytree(adapter / "lora", plain / "lora")
    describe_adapter(plain, name="plain", made_with={})
    for source, asked_with in ((adapter, "turned"), (plain, "smol")):
        out = tmp_path / f"merged {source.name}"
        export_lora(Export(source, str(base), out, "merged", threads=1))
        written = own_config(out)
        assert (written.image_size, written.context, written.lora, written.id) == (64, 2048, None, out.name)
        assert Path(written.prompt).parent == out
        assert load_prompt(written.prompt).name == asked_with
    export_lora(Export(adapter, str(base), tmp_path / "gguf", "gguf", with_base=True, threads=1))
    written = own_config(tmp_path / "gguf" / "llama.cpp")
    assert (written.image_size, written.context, written.id) == (64, 2048, "base")


def test_an_adapter_without_lora_is_refused(trained_vlm, tmp_path, capsys):
    assert refused("default", trained_vlm, tmp_path / "out")
    assert "holds no LoRA" in capsys.readouterr().err


def test_a_wrong_base_is_refused(adapter, tmp_path, capsys, trained_vlm):
    tokenizer = AutoTokenizer.from_pretrained(trained_vlm)
    other = save(tmp_path / "other", make_model(tokenizer, width=64, layers=2), make_processor(tokenizer))
    for form in ("peft", "merged", "gguf"):
        assert refused(adapter, other, tmp_path / "out", form)
        assert "does not fit this model" in capsys.readouterr().err
    assert refused(adapter, tmp_path / "nowhere", tmp_path / "out")
    assert "or name a model's folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["peft", "merged", "gguf"])
def test_a_base_of_another_revision_is_refused(trained_vlm, tmp_path, form):
    base = shutil.copytree(trained_vlm, tmp_path / "base")
    write_manifest(base, Pulled(name="base", repository="o/base", revision="b" * 40, files=file_hashes(base)))
    folder = tmp_path / "mine"
    write_lora(base, folder / "lora", strength=0.4)
    edit_config(folder / "lora", base_model_name_or_path="o/other", revision="a" * 40)
    with pytest.raises(ArtefactError, match=r"is for o/other a{12}.*name the base that it was trained on"):
        export_lora(Export(as_adapter(folder), str(base), tmp_path / "out", form))
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_written_over(trained_vlm, adapter, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert refused(adapter, trained_vlm, tmp_path / "out")
    assert "is there already" in capsys.readouterr().err
    assert refused(adapter, trained_vlm, tmp_path / "new", "peft", "--with-base")
    assert "--with-base" in capsys.readouterr().err


def test_what_other_programs_would_not_run_is_refused(trained_vlm, adapter, tmp_path):
    folder = tmp_path / "odd"
    write_lora(trained_vlm, folder / "lora", strength=0.4)
    edit_config(folder / "lora", trainable_token_indices=[1])
    with pytest.raises(ArtefactError, match=r"trainable_token_indices|does not fit"):
        export_lora(Export(as_adapter(folder), str(trained_vlm), tmp_path / "out", "peft"))


def test_an_adapter_that_rounding_would_eat_is_not_merged(trained_vlm, tmp_path):
    base = tmp_path / "coarse"
    processor = make_processor(AutoTokenizer.from_pretrained(trained_vlm))
    save(base, LlavaForConditionalGeneration.from_pretrained(trained_vlm).to(torch.bfloat16), processor)
    folder = tmp_path / "faint"
    write_lora(trained_vlm, folder / "lora", strength=0.002)
    with pytest.raises(ArtefactError, match="too coarse for it"):
        export_lora(Export(as_adapter(folder), str(base), tmp_path / "out", "merged"))
    assert not (tmp_path / "out").exists()
