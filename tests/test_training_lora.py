"""Tuning a LoRA adapter on a small VLM that really sees and reads: what is learnt, what is refused, a killed run."""

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from drawn_posts import draw_posts
from other_domain import other_posts, write_posts
from random_vlms import FAMILIES
from safetensors.torch import load_file, save_file
from tiny_lora import rename_keys, write_lora
from transformers import TrainerCallback

from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import describe_adapter
from hybrid_mmsa.errors import ArtefactError, InputError, ReasonerError
from hybrid_mmsa.reasoning import load_prompt, open_reasoner
from hybrid_mmsa.reasoning.backends.transformers import TransformersReasoner
from hybrid_mmsa.reasoning.backends.transformers.loading import open_vlm
from hybrid_mmsa.training.lora.checks import check_frozen, check_learnt, language_linears
from hybrid_mmsa.training.lora.examples import IGNORED, Examples
from hybrid_mmsa.training.lora.plan import LEAST_TUNED, plan_tuning
from hybrid_mmsa.training.lora.recipe import TuningRecipe
from hybrid_mmsa.training.lora.start import read_start
from hybrid_mmsa.training.lora.trainer import HeldOut, answer_loss, quietly, train_lora
from hybrid_mmsa.training.lora.tune import tune
from hybrid_mmsa.training.lora.turns import Turn, plan_course
from hybrid_mmsa.training.posts.labelled_file import read_labelled_file
from hybrid_mmsa.types import LABELS

QUICK = TuningRecipe(
    learning_rate=5e-3, epochs=6, batch_size=16, micro_batch=16, evaluate_every=20, dropout=0.0, checkpointing=False
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def posts(tmp_path_factory):
    return write_posts(tmp_path_factory.mktemp("posts"), other_posts(180, seed=11))


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return write_posts(tmp_path_factory.mktemp("few"), other_posts(40, seed=13))


def planned(posts, out, vlm, recipe=QUICK, **options):
    own = read_labelled_file(posts, least=LEAST_TUNED)
    return plan_tuning(own, out, replace(recipe, base=str(vlm)), **options)


@pytest.fixture(scope="module")
def tuned(posts, trained_vlm, tmp_path_factory):
    """An adapter's folder, and what came of it."""
    out = tmp_path_factory.mktemp("adapters") / "other"
    return out, tune(planned(posts, out, trained_vlm, replace(QUICK, epochs=10)))


@pytest.fixture
def vlm(trained_vlm):
    """A model of one's own, to be changed."""
    return opened(trained_vlm)


def opened(folder, **options):
    from hybrid_mmsa.reasoning import ReasonerConfig

    return open_vlm(ReasonerConfig(backend="transformers", model=str(folder), device="cpu", **options))


def examples(vlm, samples, kind=Examples):
    return kind(vlm, load_prompt("sentiment"), samples)


def test_an_adapter_learns_what_its_base_gets_wrong(tuned, trained_vlm):
    out, outcome = tuned
    unseen = other_posts(60, seed=12)
    analyzer = Analyzer.from_pretrained(out, reasoner=trained_vlm)
    right = [
        answer.verdict.label == sample.label
        for answer, sample in zip(analyzer.analyze_batch(unseen, mode="deep", explain="none"), unseen, strict=True)
    ]
    base = [v.label == s.label for v, s in zip(open_reasoner(trained_vlm).reason(unseen), unseen, strict=True)]
    assert sum(base) / len(base) < 0.5
    assert sum(right) / len(right) > 0.7
    assert outcome.figures.gains["adapter − base"].low > 0
    looks = outcome.curve.looks
    assert looks[0][0] == 0
    assert min(nll for _, nll, _ in looks) < 0.7 * looks[0][1]


def test_the_folder_says_what_it_is(tuned, posts, trained_vlm):
    out, outcome = tuned
    manifest = json.loads((out / "adapter.json").read_text())
    made = manifest["made_with"]
    assert made["ready"] is outcome.readiness.ready
    assert made["posts_sha256"] == read_labelled_file(posts, least=LEAST_TUNED).sha256
    assert sum(made["parts"].values()) == 180
    assert made["parts"]["calibration"] >= 50
    assert {"lora/adapter_model.safetensors", "lora/adapter_config.json", "pooling.json", "prompt.toml"} <= set(
        manifest["files"]
    )
    card = (out / "card.md").read_text()
    for told in (made["posts_sha256"], "Learning curve", "Licence of the base", "adapter − base", "## Limits"):
        assert told in card
    config = json.loads((out / "lora" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == trained_vlm.name
    assert str(trained_vlm.parent) not in "".join(p.read_text() for p in out.rglob("*.json"))
    run = out.with_name("other.run")
    assert not list(run.glob("checkpoint-*"))
    steps = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [e["step"] for e in steps if "loss" in e] == list(range(1, outcome.curve.steps + 1))


def test_an_adapter_that_is_not_ready_warns_where_it_answers(tuned, trained_vlm, tmp_path):
    out = shutil.copytree(tuned[0], tmp_path / "other")
    manifest = json.loads((out / "adapter.json").read_text())
    for ready in (True, False):
        manifest["made_with"]["ready"] = ready
        (out / "adapter.json").write_text(json.dumps(manifest))
        analyzer = Analyzer.from_pretrained("default", adapters=[out], reasoner=trained_vlm)
        deep, fast = (analyzer.analyze("What a day!", adapter="other", mode=mode) for mode in ("deep", "fast"))
        assert sum("not ready" in warning for warning in deep.warnings) == (not ready)
        assert not any("not ready" in warning for warning in fast.warnings)


def test_one_without_a_sure_gain_is_not_ready(few, trained_vlm, tmp_path):
    plan = planned(few, tmp_path / "few-shot", trained_vlm, replace(QUICK, epochs=0.5))
    assert any("too few for a pooling" in line for line in plan.lines())
    outcome = tune(plan)
    assert not outcome.readiness.ready
    assert any("no pooling" in cause for cause in outcome.readiness.causes)
    assert "It is not ready" in (tmp_path / "few-shot" / "card.md").read_text()
    assert json.loads((tmp_path / "few-shot" / "adapter.json").read_text())["made_with"]["ready"] is False


def test_what_is_learnt_is_what_the_reasoner_asks(trained_vlm):
    """The same tokens and pixels up to the label, and the label's own token right behind them."""
    samples = [sample for sample in other_posts(40, seed=14) if sample.image and sample.text][:4]
    reasoner = TransformersReasoner(open_reasoner(trained_vlm).config)
    prompt = load_prompt("sentiment")
    labels = reasoner._labels[prompt.hash]
    asked = reasoner._inputs(prompt, samples, labels)
    batch = examples(reasoner._vlm, samples).batch([Turn(n, True, n) for n in range(4)])
    assert torch.equal(batch.inputs["input_ids"][:, : batch.column], asked["input_ids"])
    assert torch.equal(batch.inputs["pixel_values"], asked["pixel_values"])
    assert batch.labels[:, batch.column].tolist() == [labels.ids[sample.label] for sample in samples]
    assert (batch.labels[:, : batch.start] == IGNORED).all()


def test_the_first_batch_is_decoded(vlm):
    samples = [sample for sample in other_posts(20, seed=15) if sample.image]
    batch = examples(vlm, samples).batch([Turn(0, True, 0), Turn(1, False, 0)])
    whole, label = check_learnt(vlm, batch)
    said = samples[0]
    assert whole.startswith(f'{{"label": "{said.label}", "text_says": "{said.text_label or "none"}"')
    assert '"rationale": "' in whole
    assert label == f'{{"label": "{samples[1].label}'


def test_the_loss_weighs_the_label_against_the_rest():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 7), torch.tensor([[1, 2, 3, 4], [1, 5, IGNORED, IGNORED]])
    chances = logits[:, :-1].log_softmax(2)
    label = -(chances[0, 1, 2] + chances[1, 1, 5]) / 2
    rest = -(chances[0, 0, 1] + chances[0, 2, 3] + chances[0, 3, 4] + chances[1, 0, 1]) / 4
    for weight in (0.0, 0.3, 1.0):
        assert answer_loss(logits, labels, 1, weight) == pytest.approx(float(weight * label + (1 - weight) * rest))
    alone = torch.tensor([[IGNORED, 2, IGNORED, IGNORED]])
    assert answer_loss(logits[:1], alone, 1, 0.5) == pytest.approx(float(-chances[0, 1, 2] / 2))


def test_only_the_language_model_is_tuned(vlm):
    names = language_linears(vlm)
    assert len(names) == 3 * 7
    assert all(name.startswith("model.language_model.layers.") for name in names)


class Masked(Examples):
    """Everything that would be learnt is masked, as a template that hides the answer does."""

    def batch(self, turns):
        batch = super().batch(turns)
        return replace(batch, labels=torch.full_like(batch.labels, IGNORED))


class Shifted(Examples):
    """The prompt's last tokens are learnt, too."""

    def batch(self, turns):
        batch = super().batch(turns)
        labels = batch.labels.clone()
        labels[:, batch.start - 2 : batch.start] = batch.inputs["input_ids"][:, batch.start - 2 : batch.start]
        return replace(batch, labels=labels)


class Unfreeze(TrainerCallback):
    """The vision tower is set free, as a careless recipe does."""

    def on_init_end(self, args, state, control, model=None, **kwargs):
        for name, weights in model.named_parameters():
            weights.requires_grad_(weights.requires_grad or "vision_tower" in name)


class Nudge(TrainerCallback):
    """Something moves the projector behind the trainer's back."""

    def on_step_end(self, args, state, control, model=None, **kwargs):
        for name, weights in model.named_parameters():
            if "multi_modal_projector" in name:
                weights.data += 1e-4


@pytest.mark.parametrize(
    ("kind", "callback", "error", "told"),
    [
        (Masked, None, InputError, "all labels are masked"),
        (Shifted, None, InputError, "tokens outside of the answer would be learnt"),
        (Examples, Unfreeze, ArtefactError, "must stay as they are would be trained, such as .*vision_tower"),
        (Examples, Nudge, ArtefactError, "weights outside of the language model changed"),
    ],
)
def test_injected_faults_are_refused_with_their_cause(vlm, posts, trained_vlm, tmp_path, kind, callback, error, told):
    plan = planned(posts, tmp_path / "x", trained_vlm, replace(QUICK, epochs=0.1))
    held = HeldOut(plan.part("calibration")[:4], examples(vlm, plan.part("calibration")[:4]))
    with pytest.raises(error, match=told):
        train_lora(
            examples(vlm, plan.part("train"), kind),
            held,
            plan.course,
            plan.recipe,
            tmp_path / "run",
            callbacks=[callback()] if callback else [],
        )
    assert not (tmp_path / "run" / "done.json").exists()


def test_an_adapter_outside_of_the_language_model_is_refused(vlm):
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(target_modules=["q_proj"]), vlm.model)
    for name, weights in vlm.model.named_parameters():
        weights.requires_grad_("lora_" in name and "language_model" in name)
    with pytest.raises(ArtefactError, match="a LoRA stands outside of the language model"):
        check_frozen(vlm, vlm.model)


def test_a_run_goes_on_from_a_lora_of_its_own_shape(tuned, vlm):
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

    recipe = replace(QUICK, start=str(tuned[0]))
    start = read_start(recipe, vlm)
    wanted = load_file(tuned[0] / "lora" / "adapter_model.safetensors")
    assert all(torch.equal(value, wanted[name]) for name, value in start.items())
    shape = LoraConfig(r=QUICK.rank, lora_alpha=QUICK.alpha, target_modules=language_linears(vlm))
    with quietly():
        assert start.keys() == get_peft_model_state_dict(get_peft_model(copy.deepcopy(vlm.model), shape)).keys()
    with pytest.raises(InputError, match="another rank"):
        read_start(replace(recipe, rank=QUICK.rank + 1), vlm)
    with pytest.raises(InputError, match="was made with alpha"):
        read_start(replace(recipe, alpha=2 * QUICK.alpha), vlm)


def test_an_adapter_with_a_wrong_prefix_is_refused(tuned, trained_vlm, tmp_path):
    out = shutil.copytree(tuned[0], tmp_path / "other")
    manifest = json.loads((out / "adapter.json").read_text())
    rename_keys(out / "lora", lambda key: key.replace("base_model.model.model.", "base_model.model."))
    fitted_to = {name: manifest[name] for name in ("encoder", "encoder_hash", "strategy")}
    describe_adapter(out, name="other", made_with=manifest["made_with"], fitted_to=fitted_to)
    with pytest.raises(ArtefactError, match=r"touches 'language_model|keys are missing"):
        Analyzer.from_pretrained("default", adapters=[out], reasoner=trained_vlm)


def test_what_would_lose_a_training_is_refused_before_it(trained_vlm, tmp_path):
    """A post that the model cannot read, a fast tier or a LoRA to go on from that is not there or does not fit.

    And a slow machine has time to answer.
    """
    drawn = other_posts(40, seed=13)
    long = [replace(drawn[0], text="word " * 3000), *drawn[1:]]
    posts = write_posts(tmp_path / "long", long)
    with pytest.raises(InputError, match=r"line 1: \d+ tokens of prompt, post and answer; the model reads \d+"):
        planned(posts, tmp_path / "x", trained_vlm)
    posts = write_posts(tmp_path / "posts", drawn)
    with pytest.raises(ArtefactError, match="no adapter 'nobody'"):
        planned(posts, tmp_path / "x", trained_vlm, fast="nobody")
    with pytest.raises(InputError, match="found 'nobody'; wanted a folder with a LoRA"):
        planned(posts, tmp_path / "x", trained_vlm, replace(QUICK, start="nobody"))
    start = write_lora(trained_vlm, tmp_path / "start")
    with pytest.raises(InputError, match="other layers than the recipe's LoRA, or another rank"):
        planned(posts, tmp_path / "x", trained_vlm, replace(QUICK, start=str(start)))
    assert planned(posts, tmp_path / "x", trained_vlm).base.timeout >= 600


def test_a_run_folder_of_another_recipe_is_refused(posts, trained_vlm, tmp_path):
    plan = planned(posts, tmp_path / "x", trained_vlm, run=tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text(json.dumps({"recipe": {"rank": 3}}))
    with pytest.raises(InputError, match="another recipe"):
        tune(plan)


def other_weights(folder):
    """Other weights of the same names and sizes, in the same file."""
    (file,) = folder.glob("*.safetensors")
    save_file({name: value.flip(0) for name, value in load_file(file).items()}, file, metadata={"format": "pt"})


def other_verdicts(file):
    """As many verdicts on the same posts, of another label."""
    file.write_text(file.read_text().replace('"label": "neutral"', '"label": "positive"'))


@pytest.mark.parametrize(
    ("part", "change"), [("base", other_weights), ("start", other_weights), ("teacher", other_verdicts)]
)
def test_a_run_is_not_gone_on_with_other_weights_or_verdicts_of_the_same_name(
    few, trained_vlm, vlm, tmp_path, monkeypatch, part, change
):
    base = shutil.copytree(trained_vlm, tmp_path / "base")
    start = write_lora(base, tmp_path / "start", targets=language_linears(vlm))
    teacher = tmp_path / "teacher"
    ids = [json.loads(line)["id"] for line in few.read_text().splitlines()]
    even = {"label": "neutral", "probabilities": dict.fromkeys(LABELS, 1 / 3), "reasoner": "vlm"}
    teacher.write_text("".join(json.dumps({"id": id_, **even}) + "\n" for id_ in ids))
    recipe = replace(QUICK, rank=8, alpha=16, start=str(start))

    def stopped(config):
        raise ReasonerError("memory ended")

    monkeypatch.setattr("hybrid_mmsa.training.lora.tune.open_vlm", stopped)
    for _ in range(2):  # the same again is gone on with
        with pytest.raises(ReasonerError, match="memory ended"):
            tune(planned(few, tmp_path / "x", base, recipe, teacher=teacher))
    change(tmp_path / part)
    with pytest.raises(InputError, match=f"holds a run of another {part};"):
        tune(planned(few, tmp_path / "x", base, recipe, teacher=teacher))


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_are_tuned(family, tmp_path):
    """Two steps: the answer is found in their chats, the language model is told from the picture's side."""
    prompt = load_prompt("sentiment")
    vlm = opened(family(tmp_path / "model", draw_posts(60, 11), prompt))
    samples = [sample for sample in other_posts(40, seed=16) if sample.image and sample.text][:16]
    recipe = replace(QUICK, batch_size=8, micro_batch=4, epochs=1, evaluate_every=2)
    held = HeldOut(samples[:4], examples(vlm, samples[:4]))
    course = plan_course(samples, recipe)
    curve = train_lora(examples(vlm, samples), held, course, recipe, tmp_path / "run", advance=lambda: None)
    assert curve.steps == 2
    learnt = load_file(tmp_path / "run" / "lora" / "adapter_model.safetensors")
    assert all(weights.any() for name, weights in learnt.items() if "lora_B" in name)


def test_four_bits_learn_too(few, trained_vlm, tmp_path):
    recipe = replace(QUICK, quantise="4bit", epochs=2, batch_size=4, micro_batch=4, checkpointing=True)
    outcome = tune(planned(few, tmp_path / "small", trained_vlm, recipe))
    first, *_, last = outcome.curve.looks
    assert last[1] < first[1] - 0.1
    assert json.loads((tmp_path / "small" / "adapter.json").read_text())["made_with"]["base"]["quantise"] == "4bit"


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from transformers import TrainerCallback
from test_training_lora import SHORT, planned
from hybrid_mmsa.training.common import device
from hybrid_mmsa.training.lora.tune import tune

device.BF16_UNITS = ()  # as in the process that goes on with the run

class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)

tune(planned(Path({posts!r}), Path({out!r}), Path({vlm!r}), SHORT), callbacks=[Kill()])
"""
SHORT = replace(QUICK, epochs=1.5, batch_size=4, micro_batch=2, evaluate_every=3, dropout=0.1)


def logged(out):
    lines = out.with_name(f"{out.name}.run").joinpath("log.jsonl").read_text().splitlines()
    return [(e["step"], e["loss"]) for e in map(json.loads, lines) if "loss" in e]


def test_a_killed_run_goes_on_where_it_stopped(few, trained_vlm, tmp_path):
    paths = {"posts": str(few), "out": str(tmp_path / "one"), "vlm": str(trained_vlm)}
    code = KILLED.format(tests=str(Path(__file__).parent), **paths)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr[-2000:]
    run = tmp_path / "one.run"
    assert not (tmp_path / "one").exists()
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-3"]
    (run / "checkpoint-5").mkdir()  # as a kill in the middle of writing leaves it
    resumed = tune(planned(few, tmp_path / "one", trained_vlm, SHORT))
    whole = tune(planned(few, tmp_path / "two", trained_vlm, SHORT))
    assert resumed.curve.steps == whole.curve.steps
    assert whole.curve.steps > 5
    steps, losses = zip(*logged(tmp_path / "one"), strict=True)
    assert steps == tuple(range(1, whole.curve.steps + 1))
    assert losses == pytest.approx([loss for _, loss in logged(tmp_path / "two")], rel=1e-3)
    assert [look[0] for look in resumed.curve.looks] == [look[0] for look in whole.curve.looks]


def test_labels_are_all_judged(tuned):
    figures = tuned[1].figures
    assert figures.n >= 36
    assert set(figures.accuracy) == {"base", "adapter", "fast", "cascade", "all asked"}
    assert all(interval.low <= interval.value <= interval.high for interval in figures.accuracy.values())
