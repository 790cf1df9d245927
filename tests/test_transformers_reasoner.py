"""The reasoner in this process: a small LLaVA that was trained to see and read, and other families for shapes."""

import logging
import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from shutil import copytree

import numpy as np
import pytest
import torch
from drawn_posts import draw_posts
from random_vlms import FAMILIES, qwen_vl
from tiny_lora import EVERYWHERE, edit_config, rename_keys, write_lora
from tiny_vlm import corpus, held_out, make_model, make_processor, make_tokenizer, save

from eval.bench.reasoner.figures import contradicts
from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.errors import ArtefactError, MissingExtraError, ReasonerError
from hybrid_mmsa.reasoning import ReasonerConfig, open_reasoner
from hybrid_mmsa.reasoning.backends.transformers import TransformersReasoner
from hybrid_mmsa.reasoning.backends.transformers import reasoner as reasoner_module
from hybrid_mmsa.reasoning.backends.transformers.loading import outside
from hybrid_mmsa.reasoning.backends.transformers.writing import closing_tokens
from hybrid_mmsa.reasoning.hiding import IRONY_TOLD
from hybrid_mmsa.reasoning.prompt.answer import read_answer
from hybrid_mmsa.reasoning.prompt.prompts import load_prompt
from hybrid_mmsa.reasoning.prompt.rationales import claims
from hybrid_mmsa.types import LABELS, LoraRef, Sample

PROMPT = load_prompt("sentiment")


def config(folder, **options):
    return ReasonerConfig(backend="transformers", model=str(folder), **{"batch_size": 32, "device": "cpu", **options})


def lora(name, path):
    return LoraRef(name=name, path=path)


def numbers(verdicts):
    return np.array([[verdict.probabilities[label] for label in LABELS] for verdict in verdicts])


def accuracy(reasoner, samples, gold):
    return np.mean([verdict.label == label for verdict, label in zip(reasoner.reason(samples), gold, strict=True)])


@pytest.fixture(scope="module")
def reasoner(trained_vlm):
    return open_reasoner(config(trained_vlm))


@pytest.fixture(scope="module")
def posts():
    """Held-out posts with both sides, as many of each label."""
    both = [post for post in held_out(900) if post.word and post.thing]
    return [post for label in LABELS for post in [p for p in both if p.sample.label == label][:70]]


@pytest.fixture(scope="module")
def random_vlm(tmp_path_factory):
    """A LLaVA of one narrow layer with random weights: fast, and good for all that meaning does not matter to."""
    tokenizer = make_tokenizer(corpus(draw_posts(100, 1), PROMPT))
    model = make_model(tokenizer, width=32, layers=1)
    return save(tmp_path_factory.mktemp("random"), model, make_processor(tokenizer))


@pytest.fixture(scope="module")
def loras(random_vlm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    return [lora(f"lora-{n}", write_lora(random_vlm, folder / str(n), seed=n, strength=0.5)) for n in range(3)]


def test_it_answers_from_both_sides(reasoner, posts):
    gold = [post.sample.label for post in posts]
    turn = random.Random(0)
    texts, pictures = ([getattr(post.sample, side) for post in posts] for side in ("text", "image"))
    other_texts, other_pictures = (turn.sample(side, len(side)) for side in (texts, pictures))
    majority = max(Counter(gold).values()) / len(gold)

    def judged(texts, pictures):
        samples = [Sample(text=text, image=image) for text, image in zip(texts, pictures, strict=True)]
        return [verdict.label for verdict in reasoner.reason(samples)]

    def right(labels, gold=gold):
        return np.mean([label == wanted for label, wanted in zip(labels, gold, strict=True)])

    assert right(judged(texts, pictures)) >= 0.9
    assert right(judged(other_texts, pictures)) < 0.75
    assert right(judged(texts, other_pictures)) < 0.75
    neither = judged(other_texts, other_pictures)
    by_chance = np.mean([right(neither, turn.sample(gold, len(gold))) for _ in range(20)])
    assert by_chance == pytest.approx(majority, abs=0.03)


def test_one_side_alone_is_answered(reasoner):
    alone = [post for post in held_out(300) if not (post.word and post.thing)]
    assert accuracy(reasoner, [post.sample for post in alone], [post.sample.label for post in alone]) >= 0.85


def test_one_prefill_gives_the_label_that_the_whole_answer_has(reasoner, posts):
    """The model writes freely here, without prefix, grammar and pinned label."""
    some = [post.sample for post in posts[::5]]
    chats = [PROMPT.messages(sample) for sample in some]
    processor, model = reasoner._vlm.processor, reasoner._vlm.model
    texts = processor.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=texts, images=[[s.image] for s in some], padding=True, return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=120)[:, inputs["input_ids"].shape[1] :]
    free = processor.batch_decode(written, skip_special_tokens=True)
    labels = [read_answer(text, PROMPT, sample).label for text, sample in zip(free, some, strict=True)]
    scored = [verdict.label for verdict in reasoner.reason(some)]
    assert np.mean([one == other for one, other in zip(labels, scored, strict=True)]) >= 0.95


def test_the_written_answer_says_what_stands_in_the_post(reasoner, posts):
    some = posts[::5]
    samples = [post.sample for post in some]
    verdicts = reasoner.reason(samples, rationale=True)
    np.testing.assert_allclose(numbers(verdicts), numbers(reasoner.reason(samples)), atol=1e-5)

    def share(holds):
        return np.mean([holds(verdict, post) for verdict, post in zip(verdicts, some, strict=True)])

    assert share(lambda v, p: v.text_says == p.sample.text_label) >= 0.6
    assert share(lambda v, p: v.picture_says == p.sample.image_label) >= 0.9
    by_kind = {
        kind: [v.sarcasm for v, p in zip(verdicts, some, strict=True) if p.sample.sarcastic is kind]
        for kind in (True, False)
    }
    assert np.mean(by_kind[True]) > np.mean(by_kind[False]) + 0.1
    assert share(lambda v, p: p.thing in {cue.text for cue in v.cues}) >= 0.8
    assert share(lambda v, p: p.thing in v.rationale) >= 0.8
    first = verdicts[0]
    assert first.prompt == PROMPT.id
    assert first.adapter is None
    assert first.tokens > 300
    assert set(first.timings) == {"prefill", "decode"}


def test_a_post_alone_and_in_a_batch(reasoner, posts):
    samples = [*(post.sample for post in posts[::30]), Sample(text="lovely"), replace(posts[0].sample, text=None)]
    alone = [reasoner.reason([sample])[0] for sample in samples]
    np.testing.assert_allclose(numbers(alone), numbers(reasoner.reason(samples)), atol=1e-4)


def test_500_random_models_answers_parse(tmp_path):
    """`verdict` raises for an answer that does not parse; five models, some cut short, some writing at length."""
    posts = draw_posts(500, 5)
    tokenizer = make_tokenizer(corpus(posts[:100], PROMPT))
    count = 0
    for seed in range(5):
        model = make_model(tokenizer, width=32, layers=1, seed=seed)
        with torch.no_grad():
            for weights in model.model.language_model.parameters():
                weights.mul_(4)  # so that posts differ in what is written about them
        folder = save(tmp_path / str(seed), model, make_processor(tokenizer))
        room = (1, 5, 20, 40, 80)[seed]
        limited = TransformersReasoner(config(folder, max_rationale_tokens=room, batch_size=100, timeout=600))
        samples = [post.sample for post in posts[100 * seed : 100 * seed + 100]]
        verdicts = limited.reason(samples, rationale=True)
        assert all(verdict.tokens <= 500 + room + closing_tokens(PROMPT) for verdict in verdicts)
        assert len({verdict.rationale for verdict in verdicts}) > 1 or room < 80
        count += len(verdicts)
    assert count == 500


def test_threads_see_neither_each_others_adapter_nor_state(random_vlm, loras):
    shared = open_reasoner(config(random_vlm))
    samples = [post.sample for post in draw_posts(8, 7)]
    calls = [(n % len(samples), (n * 5) % 4) for n in range(8 * 50)]
    adapters = [*loras, None]

    def ask(call):
        sample, adapter = call
        (verdict,) = shared.reason([samples[sample]], adapters[adapter])
        return verdict.model_copy(update={"timings": {}})

    wanted = {call: ask(call) for call in sorted(set(calls))}
    assert len({tuple(numbers([verdict])[0]) for verdict in wanted.values()}) == len(wanted)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, calls))
    assert [answer.adapter for answer in answers] == [wanted[call].adapter for call in calls]
    np.testing.assert_allclose(numbers(answers), numbers([wanted[call] for call in calls]), atol=1e-6)


def test_an_adapter_holds_for_its_call_and_brings_its_prompt(random_vlm, loras, tmp_path):
    reasoner = open_reasoner(config(random_vlm))
    samples = [post.sample for post in draw_posts(4, 8)]
    before = numbers(reasoner.reason(samples))
    own = tmp_path / "prompt.toml"
    own.write_text(
        'name = "own"\nversion = 3\ninstruction = "Judge."\npost = "{text}"\nno_text = "no words"\n'
        'no_picture = "no picture"\n'
    )
    (tuned, *_) = verdicts = reasoner.reason(samples, loras[0])
    assert tuned.adapter == "lora-0"
    assert np.abs(numbers(verdicts) - before).max() > 1e-3
    assert reasoner.reason(samples, loras[0].model_copy(update={"prompt": own}))[0].prompt == load_prompt(own).id
    np.testing.assert_allclose(numbers(reasoner.reason(samples)), before, atol=1e-6)


def test_a_bundled_adapter_answers_where_no_other_is_asked_for(random_vlm, loras, tmp_path, monkeypatch):
    with pytest.raises(ArtefactError, match="'adapters/house/lora' is not bundled"):
        open_reasoner(config(random_vlm, lora="house"))
    copytree(loras[0].path, tmp_path / "adapters/house/lora")
    monkeypatch.setattr(reasoner_module, "bundled_path", tmp_path.joinpath)
    samples = [post.sample for post in draw_posts(4, 8)]
    plain, tuned = open_reasoner(config(random_vlm)), open_reasoner(config(random_vlm, lora="house"))
    np.testing.assert_allclose(numbers(tuned.reason(samples)), numbers(plain.reason(samples, loras[0])), atol=1e-6)
    assert tuned.reason(samples)[0].adapter == "house"
    np.testing.assert_allclose(
        numbers(tuned.reason(samples, loras[1])), numbers(plain.reason(samples, loras[1])), atol=1e-6
    )


def test_irony_is_read_as_it_would_be_written(random_vlm, posts, tmp_path, monkeypatch):
    wording = bundled_path("prompts", "sentiment.toml").read_text(encoding="utf-8")
    (tmp_path / "brief.toml").write_text(f"brief = true\n{wording}", encoding="utf-8")
    some = [replace(post.sample, image=None) for post in posts[:70:10]]
    reasoner = open_reasoner(config(random_vlm, prompt=tmp_path / "brief.toml"))
    read = reasoner.reason(some, rationale=True)
    monkeypatch.setattr(reasoner, "_brief", partial(reasoner._answer, rationale=True))
    written = reasoner.reason(some, rationale=True)
    assert [said.sarcasm for said in read] == pytest.approx([said.sarcasm for said in written], abs=1e-5)
    assert [said.rationale for said in read] == [said.rationale for said in written]


def test_a_model_that_answers_briefly_quotes_what_is_there_and_contradicts_nothing(random_vlm, posts, tmp_path):
    """Whatever its weights are: a random model shows it best."""
    wording = bundled_path("prompts", "sentiment.toml").read_text(encoding="utf-8")
    (tmp_path / "brief.toml").write_text(f"brief = true\n{wording}", encoding="utf-8")
    some = [posts[0].sample, replace(posts[1].sample, image=None), replace(posts[2].sample, text=None)]
    reasoner = open_reasoner(config(random_vlm, prompt=tmp_path / "brief.toml"))
    for sample, said in zip(some, reasoner.reason(some, rationale=True), strict=True):
        assert all(cue.text.lower() in sample.text.lower() for cue in said.cues)
        assert said.sarcasm is not None
        found = claims(said.rationale)
        assert found.label == said.label
        assert found.sarcastic == ((said.sarcasm >= IRONY_TOLD) or None)
        assert not contradicts(found, said)


def spoil(folder, kind):
    def renamed(key):
        if kind == "wrong prefix":
            return key.replace("model.language_model.", "language_model.model.")
        if kind == "missing key":
            return None if "layers.0.self_attn.q_proj.lora_B" in key else key
        if kind == "unexpected key":
            return key.replace("layers.0.self_attn.q_proj", "layers.7.self_attn.q_proj")
        return key

    rename_keys(folder, renamed)
    if kind == "no weights":
        (folder / "adapter_model.safetensors").unlink()
    if kind == "other method":
        edit_config(folder, peft_type="IA3")
    if kind == "broken weights":
        (folder / "adapter_model.safetensors").write_bytes(b"{}")
    if kind == "other rank":
        edit_config(folder, r=4)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wrong prefix", "touches 'language_model.model"),
        ("missing key", "1 keys are missing, such as .*layers.0.self_attn.q_proj.lora_B"),
        ("unexpected key", "2 keys are unexpected, such as .*layers.7"),
        ("no weights", "has no adapter_model.safetensors"),
        ("broken weights", "cannot be read"),
        ("other method", "not LoRA"),
        ("other rank", "does not fit this model"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_and_leaves_no_trace(random_vlm, loras, tmp_path, kind, said):
    reasoner = open_reasoner(config(random_vlm))
    samples = [post.sample for post in draw_posts(2, 9)]
    before = numbers(reasoner.reason(samples))
    folder = copytree(loras[1].path, tmp_path / "lora")
    spoil(folder, kind)
    with pytest.raises(ArtefactError, match=said):
        reasoner.load(lora("spoilt", folder))
    np.testing.assert_allclose(numbers(reasoner.reason(samples)), before, atol=1e-6)
    with pytest.raises(ArtefactError, match=said):
        reasoner.reason(samples, lora("spoilt", folder))
    good = numbers(reasoner.reason(samples, loras[0]))
    assert np.abs(good - before).max() > 1e-3
    with pytest.raises(ArtefactError, match=said):
        reasoner.load(lora("spoilt", folder))
    np.testing.assert_allclose(numbers(reasoner.reason(samples, loras[0])), good, atol=1e-6)


def test_an_adapter_that_changes_nothing_is_refused(random_vlm, tmp_path):
    idle = lora("idle", write_lora(random_vlm, tmp_path, strength=0))
    with pytest.raises(ArtefactError, match="changes nothing"):
        open_reasoner(config(random_vlm)).load(idle)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bias": "lora_only"}, "changes biases of the model itself"),
        ({"init_lora_weights": "pissa"}, "began by changing the model itself"),
        ({"init_lora_weights": "olora"}, "began by changing the model itself"),
    ],
)
def test_an_adapter_that_would_change_the_model_itself_is_refused(random_vlm, posts, tmp_path, changes, said):
    samples = [post.sample for post in posts[:4]]
    reasoner = open_reasoner(config(random_vlm))
    before = numbers(reasoner.reason(samples))
    folder = write_lora(random_vlm, tmp_path)
    edit_config(folder, **changes)
    with pytest.raises(ArtefactError, match=said):
        reasoner.load(lora("greedy", folder))
    np.testing.assert_array_equal(numbers(reasoner.reason(samples)), before)


def test_without_peft_a_model_answers_and_an_adapter_names_the_extra(random_vlm, loras, posts, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    opened = open_reasoner(config(random_vlm))
    asked = [posts[0].sample]
    before = numbers(opened.reason(asked))
    for use in (lambda: opened.load(loras[0]), lambda: opened.reason(asked, loras[0])):
        with pytest.raises(MissingExtraError, match=r"a LoRA adapter needs the extra 'vlm': pip install"):
            use()
    assert np.array_equal(numbers(opened.reason(asked)), before)


def test_an_adapter_that_touches_the_picture_side_is_refused(random_vlm, tmp_path):
    wide = lora("wide", write_lora(random_vlm, tmp_path, targets=EVERYWHERE))
    with pytest.raises(ArtefactError, match=r"vision_tower.*only layers of the language model"):
        open_reasoner(config(random_vlm)).load(wide)


def test_four_bits_on_a_cpu(reasoner, trained_vlm, posts, tmp_path, caplog):
    samples = [post.sample for post in posts[::2]]
    with caplog.at_level(logging.INFO, logger="hybrid_mmsa.reasoning"):
        small = open_reasoner(config(trained_vlm, quantise="4bit"))
    kept = "lm_head, model.multi_modal_projector, model.vision_tower"
    assert kept in caplog.text
    kinds = {name: type(module).__name__ for name, module in small._vlm.model.named_modules()}
    assert kinds["model.language_model.layers.0.self_attn.q_proj"] == "Linear4bit"
    assert kinds["lm_head"] == kinds["model.vision_tower.encoder.layers.0.self_attn.q_proj"] == "Linear"
    quantised, full = small.reason(samples), reasoner.reason(samples)
    assert np.mean([one.label == other.label for one, other in zip(quantised, full, strict=True)]) >= 0.95
    tuned = lora("tuned", write_lora(trained_vlm, tmp_path, strength=0.4))
    assert np.abs(numbers(small.reason(samples[:8], tuned)) - numbers(quantised[:8])).max() > 1e-3
    np.testing.assert_allclose(numbers(small.reason(samples[:32])), numbers(small.reason(samples[:32])), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_answer(family, tmp_path):
    posts = draw_posts(60, 11)
    reasoner = open_reasoner(config(family(tmp_path, posts, PROMPT), max_rationale_tokens=20))
    samples = [post.sample for post in posts[:12]]
    assert len({sample.image is None for sample in samples}) == 2
    verdicts = reasoner.reason(samples)
    alone = [reasoner.reason([sample])[0] for sample in samples]
    np.testing.assert_allclose(numbers(verdicts), numbers(alone), atol=1e-4)
    written = reasoner.reason(samples, rationale=True)
    np.testing.assert_allclose(numbers(written), numbers(verdicts), atol=1e-5)
    with_picture = next(n for n, sample in enumerate(samples) if sample.image is not None and sample.text)
    blank = reasoner.reason([replace(samples[with_picture], image=samples[with_picture].image.point(lambda v: 0))])
    assert np.abs(numbers(blank) - numbers([verdicts[with_picture]])).max() > 1e-7


def test_pictures_are_shrunk_as_configured(tmp_path):
    """Qwen-VL reads a picture in its own size, so fewer pixels are fewer tokens."""
    post = next(post for post in draw_posts(20, 12) if post.word and post.thing)
    large = replace(post.sample, image=post.sample.image.resize((112, 112)))
    folder = qwen_vl(tmp_path, [post], PROMPT)
    (whole,) = open_reasoner(config(folder)).reason([large])
    (shrunk,) = open_reasoner(config(folder, image_size=56)).reason([large])
    assert whole.tokens - shrunk.tokens == 12


def test_what_is_beside_the_language_model():
    names = ["lm_head", "model.vision.a.b", "model.vision.c", "model.join.x", "model.text.layers.0.q"]
    assert outside(names, "model.text") == ["lm_head", "model.join", "model.vision"]
    assert outside(["vision.a", "text.q", "head"], "text") == ["head", "vision"]


def test_a_post_longer_than_the_context_is_not_cut(random_vlm):
    with pytest.raises(ReasonerError, match=r"tokens of prompt and post .* exceed 400"):
        open_reasoner(config(random_vlm, context=400)).reason([Sample(text="lovely day " * 200)])


def test_the_timeout_ends_an_answer(random_vlm):
    reasoner = open_reasoner(config(random_vlm, timeout=1e-6))
    with pytest.raises(ReasonerError, match="time-out"):
        reasoner.reason([Sample(text="lovely day")], rationale=True)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nmore"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 99 bytes"),
        MemoryError(),
    ],
)
def test_memory_that_ends_is_a_reasoners_error(random_vlm, monkeypatch, error):
    reasoner = open_reasoner(config(random_vlm))

    def full(*args, **options):
        raise error

    monkeypatch.setattr(reasoner._vlm.model, "forward", full)
    with pytest.raises(ReasonerError, match="out of memory"):
        reasoner.reason([Sample(text="lovely day")])
    monkeypatch.undo()
    assert len(reasoner.reason([Sample(text="lovely day")])) == 1


@pytest.mark.parametrize("spoilt", ["gone", "no weights", "pickled weights", "weights missing", "no chat template"])
def test_a_folder_that_is_no_whole_model_is_refused(random_vlm, tmp_path, spoilt):
    folder = tmp_path / "model"
    if spoilt != "gone":
        copytree(random_vlm, folder)
    weights = folder / "model.safetensors"
    if spoilt == "weights missing":
        rename_keys_of_model(weights)
    if spoilt in {"no weights", "pickled weights"}:
        weights.unlink()
    if spoilt == "pickled weights":
        torch.save({}, folder / "pytorch_model.bin")
    if spoilt == "no chat template":
        (folder / "chat_template.jinja").unlink()
    with pytest.raises(ArtefactError, match=r"cannot be opened|lacks weights|chat template"):
        TransformersReasoner(config(folder))


def rename_keys_of_model(path):
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    save_file({k: v for k, v in weights.items() if "layers.0.mlp.up_proj" not in k}, path, {"format": "pt"})


def test_logits_that_are_no_numbers_are_said(random_vlm):
    reasoner = open_reasoner(config(random_vlm))
    with torch.no_grad():
        reasoner._vlm.model.lm_head.weight.fill_(torch.nan)
    with pytest.raises(ReasonerError, match="no numbers"):
        reasoner.reason([Sample(text="lovely day")])
