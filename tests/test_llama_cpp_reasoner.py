"""The llama.cpp reasoner runs the trained LLaVA as transformers does, with adapters, in turns, within its limits."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from drawn_posts import draw_posts
from gguf_vlm import local, written
from safetensors.torch import load_file, save_file
from tiny_lora import EVERYWHERE, write_lora
from tiny_vlm import untrained_vlm

from hybrid_mmsa import Analyzer
from hybrid_mmsa.errors import ArtefactError, PostError, ReasonerError
from hybrid_mmsa.reasoning import ReasonerConfig, open_reasoner
from hybrid_mmsa.reasoning.backends import gguf_context, llama_cpp
from hybrid_mmsa.reasoning.backends.gguf_context import GgufContext
from hybrid_mmsa.reasoning.prompt.chat_text import ChatText
from hybrid_mmsa.training.lora.gguf import write_gguf_lora
from hybrid_mmsa.types import LABELS, LoraRef, Sample

POSTS = [post.sample for post in draw_posts(60, 11)]
MARK = "<__picture__>"


def numbers(verdicts):
    return np.array([[verdict.probabilities[label] for label in LABELS] for verdict in verdicts])


def adapter(vlm, folder, **options):
    """A LoRA as PEFT and as llama.cpp read it, in one folder."""
    write_lora(vlm, folder, **options)
    write_gguf_lora(folder, vlm, folder / "lora.gguf", "float32")
    return LoraRef(name=folder.name, path=folder)


@pytest.fixture(scope="module")
def files(trained_vlm, tmp_path_factory):
    return written(trained_vlm, tmp_path_factory.mktemp("gguf"))


@pytest.fixture(scope="module")
def reasoner(files):
    opened = open_reasoner(local(files))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def adapters(trained_vlm, tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    return [adapter(trained_vlm, root / f"number{seed}", seed=seed, strength=0.4) for seed in (1, 2)]


@pytest.fixture(scope="module")
def in_torch(trained_vlm):
    return open_reasoner(ReasonerConfig(backend="transformers", model=str(trained_vlm), device="cpu", batch_size=32))


def test_labels_agree_with_transformers(reasoner, in_torch):
    found, wanted = numbers(reasoner.reason(POSTS)), numbers(in_torch.reason(POSTS))
    assert np.mean(found.argmax(axis=1) == wanted.argmax(axis=1)) >= 0.95
    without_picture = [n for n, post in enumerate(POSTS) if post.image is None]
    assert without_picture
    # The reader of pictures is another program; what reads words is the same arithmetic, up to 16-bit keys and values.
    np.testing.assert_allclose(found[without_picture], wanted[without_picture], atol=0.01)


def test_a_rationale_is_read_and_changes_no_label(reasoner):
    plain, reasoned = reasoner.reason(POSTS[:8]), reasoner.reason(POSTS[:8], rationale=True)
    np.testing.assert_array_equal(numbers(plain), numbers(reasoned))
    for verdict in reasoned:
        assert verdict.rationale
        assert 0 <= verdict.sarcasm <= 1
        assert verdict.timings.keys() == {"prefill", "decode"}
    assert all(v.rationale is None and v.sarcasm is None and v.cues == () for v in plain)


def test_a_kept_opening_changes_no_answer(reasoner):
    together = numbers(reasoner.reason(POSTS[:6]))
    backwards = numbers(reasoner.reason(POSTS[:6][::-1]))[::-1]
    np.testing.assert_allclose(together, backwards, atol=1e-4)


def test_what_two_prompts_begin_with_is_read_once(reasoner, monkeypatch):
    read = []
    context = reasoner._context
    monkeypatch.setattr(
        context, "_decode", lambda tokens: (read.append(len(tokens)), GgufContext._decode(context, tokens))
    )
    first, second = Sample(text="what a lovely day at the sea"), Sample(text="what a lovely day with you")
    alone = []
    for sample in (first, second):
        context._forget()
        alone += reasoner.reason([sample])
    whole = sum(read)
    read.clear()
    context._forget()
    together = reasoner.reason([first, second])
    assert sum(read) < 0.7 * whole
    np.testing.assert_allclose(numbers(together), numbers(alone), atol=1e-4)
    read.clear()
    reasoner.reason([second])
    assert sum(read) == 1, "the last token gives the logits"


def test_random_weights_write_what_parses(tmp_path):
    files = written(untrained_vlm(tmp_path / "vlm"), tmp_path / "gguf")
    reasoner = open_reasoner(local(files, max_rationale_tokens=40))
    verdicts = reasoner.reason(POSTS[:6], rationale=True)
    reasoner.close()
    assert {verdict.label for verdict in verdicts} <= set(LABELS)


def test_an_adapter_answers_as_it_does_in_torch(reasoner, in_torch, adapters):
    words = [post for post in POSTS if post.image is None]
    assert words
    before = numbers(reasoner.reason(words))
    found, wanted = (numbers(each.reason(words, adapters[0])) for each in (reasoner, in_torch))
    assert np.abs(found - before).max() > 0.1
    np.testing.assert_allclose(found, wanted, atol=0.02)
    np.testing.assert_array_equal(numbers(reasoner.reason(words)), before)


def test_an_adapter_is_taken_as_peft_saves_it(reasoner, trained_vlm, adapters, tmp_path):
    """The same answers as with the file that `adapter export` writes, whatever precision it was saved in."""
    words = [post for post in POSTS if post.image is None][:8]
    folder = write_lora(trained_vlm, tmp_path / "peft", seed=1, strength=0.4)
    wanted = numbers(reasoner.reason(words, adapters[0]))
    np.testing.assert_allclose(numbers(reasoner.reason(words, LoraRef(name="peft", path=folder))), wanted, atol=2e-3)
    path = folder / "adapter_model.safetensors"
    save_file({name: weights.to(torch.bfloat16) for name, weights in load_file(path).items()}, path)
    coarse = numbers(reasoner.reason(words, LoraRef(name="coarse", path=shutil.copytree(folder, tmp_path / "coarse"))))
    np.testing.assert_allclose(coarse, wanted, atol=0.05)
    assert not list(folder.glob("*.gguf")), "nothing is written beside it"


def test_its_own_adapter_answers_where_no_other_is_asked_for(files, adapters, monkeypatch):
    monkeypatch.setattr(llama_cpp, "bundled_path", lambda *parts: adapters[0].path)
    own = open_reasoner(local(files, lora="house"))
    words = [post for post in POSTS if post.image is None][:6]
    said = own.reason(words)
    assert {verdict.adapter for verdict in said} == {"house"}
    np.testing.assert_allclose(numbers(own.reason(words, adapters[0])), numbers(said), atol=1e-4)
    assert np.abs(numbers(own.reason(words, adapters[1])) - numbers(said)).max() > 0.01
    own.close()


def test_brief_answers_are_read_from_logits(files, in_torch):
    """Label and irony by logits, reasons by hiding words: as the transformers backend does it."""
    brief = open_reasoner(local(files, mmproj=None, prompt="smol"))
    other = open_reasoner(in_torch.config.model_copy(update={"prompt": "smol"}))
    posts = [Sample(text=post.text) for post in POSTS if post.text][:10]
    found, wanted = brief.reason(posts, rationale=True), other.reason(posts, rationale=True)
    for one, two in zip(found, wanted, strict=True):
        assert one.timings.keys() == {"prefill", "decode", "hiding"}
        assert one.sarcasm == pytest.approx(two.sarcasm, abs=0.02)
        assert (one.label, one.rationale, one.cues) == (two.label, two.rationale, two.cues)
    brief.close()


def test_threads_and_adapters_do_not_mix(reasoner, adapters):
    asked = [(post, lora) for post in POSTS[:5] for lora in (None, *adapters)]
    alone = [numbers(reasoner.reason([post], lora)) for post, lora in asked]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda each: numbers(reasoner.reason([each[0]], each[1])), asked * 2))
    np.testing.assert_allclose(together, alone * 2, atol=1e-4)


def test_an_adapter_that_does_nothing_is_refused(reasoner, trained_vlm, tmp_path):
    untrained = adapter(trained_vlm, tmp_path / "untrained", strength=0)
    with pytest.raises(ArtefactError, match="changes nothing"):
        reasoner.load(untrained)
    assert reasoner.reason(POSTS[:1])[0].adapter is None


def test_an_adapter_must_be_one_of_this_model(reasoner, files, tmp_path):
    with pytest.raises(ArtefactError, match=r"holds 0 GGUF files and no adapter_model.safetensors"):
        reasoner.reason(POSTS[:1], LoraRef(name="nothing", path=tmp_path))
    with pytest.raises(ArtefactError, match="holds 2 GGUF files"):
        reasoner.reason(POSTS[:1], LoraRef(name="two", path=files))
    (tmp_path / "noise.gguf").write_bytes(b"GGUF and then nothing")
    with pytest.raises(ArtefactError, match="is no LoRA of this model"):
        reasoner.reason(POSTS[:1], LoraRef(name="noise", path=tmp_path / "noise.gguf"))


def test_a_lora_outside_of_the_language_model_is_not_written(trained_vlm, tmp_path):
    write_lora(trained_vlm, tmp_path / "eyes", targets=EVERYWHERE)
    with pytest.raises(ArtefactError, match="language model's layers alone"):
        write_gguf_lora(tmp_path / "eyes", trained_vlm, tmp_path / "eyes.gguf")


def test_what_takes_too_long_is_stopped_and_the_next_post_answered(reasoner):
    hasty = reasoner.config.model_copy(update={"timeout": 1e-4})
    patient, reasoner.config = reasoner.config, hasty
    try:
        with pytest.raises(ReasonerError, match="out of time"):
            reasoner.reason(POSTS[:1])
    finally:
        reasoner.config = patient
    assert reasoner.reason(POSTS[:1])[0].label in LABELS


def test_a_post_that_does_not_fit_is_said(files):
    reasoner = open_reasoner(local(files, context=128))
    with pytest.raises(PostError, match="raise `context`"):
        reasoner.reason(POSTS[:1])
    reasoner.close()


def test_what_is_closed_is_not_asked(files, analyzer):
    """Its memory is freed: llama.cpp would read what is no longer there, and the process end."""
    closed = open_reasoner(local(files))
    closed.reason(POSTS[:1])
    closed.close(), closed.close()
    with pytest.raises(ReasonerError, match="is closed"):
        closed.reason(POSTS[:1])
    cascade = Analyzer(analyzer.encoder, list(analyzer.adapters.values()), reasoner=closed)
    assert cascade.analyze("what a day", mode="deep").route.answered_by == "fast"


def test_without_a_picture_side_words_alone_are_read(files):
    blind = open_reasoner(local(files, mmproj=None))
    assert blind.reads_pictures is False
    posts = [post for post in POSTS if post.text][:30]
    found = blind.reason(posts[:8], rationale=True)
    assert all(verdict.picture_says is None for verdict in found)
    silent = next(post for post in POSTS if not post.text)
    with pytest.raises(PostError, match="reads no pictures, and the post has no words"):
        blind.reason([silent])
    blind.close()


@pytest.mark.parametrize("units", [b"AVX512 = 1 | AMX_INT8 = 1", b"AVX512 = 1"])
def test_weights_are_not_laid_out_for_units_that_crash(monkeypatch, units):
    """Quantised weights in AMX's layout end the process on some machines; on others nothing changes."""
    monkeypatch.setattr(gguf_context.llama_cpp, "llama_print_system_info", lambda: units)
    usual = gguf_context.bindings.llama_model_default_params().use_extra_bufts
    with gguf_context._plain_weights():
        inside = gguf_context.bindings.llama_model_default_params().use_extra_bufts
    assert inside == (usual and b"AMX" not in units)
    assert gguf_context.bindings.llama_model_default_params().use_extra_bufts == usual


def test_nothing_is_printed(files, capfd):
    reasoner = open_reasoner(local(files))
    reasoner.reason(POSTS[:2], rationale=True)
    reasoner.close()
    assert capfd.readouterr() == ("", "")


def test_files_must_be_what_they_are_named_for(files, tmp_path):
    with pytest.raises(ArtefactError, match="is no GGUF file"):
        open_reasoner(local(files, model=str(tmp_path / "nowhere.gguf")))
    with pytest.raises(ArtefactError, match="no picture side"):
        open_reasoner(local(files, mmproj=files / "model.gguf"))


def chat(template):
    return ChatText(template, bos="<s>", eos="</s>", marker=MARK)


SYSTEM = {"role": "system", "content": [{"type": "text", "text": "Judge."}]}
USER = {"role": "user", "content": [{"type": "image", "image": "the picture"}, {"type": "text", "text": "Well?"}]}


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        (
            "{% for m in messages %}{% for p in m.content %}{% if p.type == 'image' %}<img>\n{% else %}{{ p.text }} "
            "{% endif %}{% endfor %}{% endfor %}A:",
            f"Judge. {MARK}\nWell? A:",
        ),
        (
            "{% for m in messages %}{% for p in m.content %}{{ p.text }}|{% endfor %}{% endfor %}",
            f"Judge.|{MARK}|Well?|",
        ),
        (
            "{% for m in messages %}{{ m.role + ': ' + m.content }}; {% endfor %}",
            f"system: Judge.; user: {MARK}\nWell?; ",
        ),
        (
            "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
            "{{ m.content + '' }}{% endfor %}",
            f"Judge.\n\n\n{MARK}\nWell?",
        ),
    ],
    ids=["its own token", "parts of words", "strings", "no system"],
)
def test_a_chat_is_written_as_the_template_takes_it(template, wanted):
    assert chat(template)([SYSTEM, USER]) == (wanted, ["the picture"])


def test_a_template_that_drops_words_is_refused():
    with pytest.raises(ArtefactError, match="cannot be used: it drops words"):
        chat("{% for m in messages %}{{ m.role }}{% endfor %}")


def test_a_picture_too_many_is_an_error():
    asked = chat("{% for m in messages %}{% for p in m.content %}{{ p.text or '<img>' }} {% endfor %}{% endfor %}")
    told = {"role": "user", "content": [{"type": "text", "text": "an <img> of words"}]}
    with pytest.raises(ReasonerError, match="shows 1 pictures of 0"):
        asked([SYSTEM, told])
