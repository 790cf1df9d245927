"""What a reasoner is to learn of a post, and in which order: answers that read back, only what is known."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from other_domain import other_posts
from PIL import Image

from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.reasoning import load_prompt, presets
from hybrid_mmsa.reasoning.prompt.answer import read_answer
from hybrid_mmsa.training.answers.targets import label_target, reasoned_target
from hybrid_mmsa.training.lora.recipe import TuningRecipe, load_recipe, recipe_names
from hybrid_mmsa.training.lora.turns import plan_course
from hybrid_mmsa.types import LABELS, Cue, Sample, Verdict

PICTURE = Image.new("RGB", (8, 8))
PROMPT = load_prompt("sentiment")
BOTH = Sample(text="what a lovely day", image=PICTURE, label="negative", text_label="positive", image_label="negative")


def verdict(**values):
    given = {"label": "negative", "rationale": "It rains.", "cues": (Cue(side="text", text="lovely"),), **values}
    return Verdict(probabilities=dict(zip(LABELS, (0.8, 0.1, 0.1), strict=True)), reasoner="teacher", **given)


@pytest.mark.parametrize("sample", other_posts(24, 3))
def test_a_whole_target_is_an_answer_the_product_reads(sample):
    target = reasoned_target(sample, PROMPT, variant=1)
    answer = read_answer(target.answer, PROMPT, sample)
    assert (answer.label, answer.text_says, answer.picture_says) == (
        sample.label,
        sample.text_label,
        sample.image_label,
    )
    assert answer.sarcastic == sample.sarcastic
    assert answer.rationale
    assert answer.label in answer.rationale or answer.picture_says in answer.rationale


def test_what_each_side_says_is_put_into_different_words():
    said = {json.loads(reasoned_target(BOTH, PROMPT, variant=n).answer)["rationale"] for n in range(20)}
    assert len(said) >= 3
    assert all("positive" in rationale and "negative" in rationale for rationale in said)


def test_the_label_alone_ends_with_its_word():
    target = label_target(BOTH, PROMPT)
    assert target.words == '{"label": "negative'
    assert not target.closes


def test_what_is_not_known_is_not_taught():
    bare = replace(BOTH, text_label=None, image_label=None)
    target = reasoned_target(bare, PROMPT)
    assert json.loads(target.answer)["label"] == "negative"
    assert target.words == (
        '{"label": "negative", "text_says": "", "picture_says": "", "sarcastic": , "text_cues": , '
        '"picture_cues": , "rationale": ""}'
    )
    alone = reasoned_target(Sample(text="rain", label="negative", sarcastic=False), PROMPT)
    assert '"text_says": "negative", "picture_says": "none", "sarcastic": false' in alone.words
    assert "negative" in json.loads(alone.answer)["rationale"]


def test_own_columns_come_before_a_teacher_and_a_teacher_before_composing():
    own = replace(BOTH, rationale="Said by a person.", text_label=None)
    taught = reasoned_target(own, PROMPT, verdict=verdict(text_says="neutral", picture_says="positive", sarcasm=0.9))
    said = json.loads(taught.words)
    assert said["rationale"] == "Said by a person."
    assert (said["text_says"], said["picture_says"], said["sarcastic"]) == ("neutral", "negative", True)
    assert said["text_cues"] == ["lovely"]
    assert json.loads(reasoned_target(BOTH, PROMPT, verdict=verdict()).answer)["rationale"] == "It rains."


def test_a_teacher_that_gives_another_label_is_not_heard():
    target = reasoned_target(BOTH, PROMPT, verdict=verdict(label="positive"))
    assert "rains" not in target.answer
    assert "lovely" not in target.answer


def test_labels_come_equally_often_however_rare():
    samples = [Sample(text=str(n), label="negative" if n < 6 else "positive") for n in range(60)]
    turns = [t for b in plan_course(samples, TuningRecipe(epochs=4, batch_size=12, micro_batch=4)).batches for t in b]
    counts = Counter(samples[turn.row].label for turn in turns)
    assert abs(counts["negative"] - counts["positive"]) <= 1
    found = plan_course(samples, TuningRecipe(epochs=4, batch_size=12, micro_batch=4, balance=0.0)).batches
    share = Counter(samples[turn.row].label for batch in found for turn in batch)
    assert share["negative"] / share.total() == pytest.approx(0.1, abs=0.01)
    assert len({turn.row for turn in turns}) > 50


def test_half_of_the_turns_teach_the_label_alone():
    samples = [Sample(text=str(n), label=LABELS[n % 3]) for n in range(60)]
    turns = [t for b in plan_course(samples, TuningRecipe(epochs=8)).batches for t in b]
    assert sum(turn.reasons for turn in turns) / len(turns) == pytest.approx(0.5, abs=0.08)


def test_turns_that_teach_more_go_to_posts_of_which_more_is_known():
    samples = [Sample(text=str(n), label=LABELS[n % 3]) for n in range(90)]
    telling = set(range(0, 90, 2))
    turns = [t for b in plan_course(samples, TuningRecipe(epochs=8, reasons=0.4), 1, telling).batches for t in b]
    assert {turn.row for turn in turns if turn.reasons} <= telling
    assert sum(turn.reasons for turn in turns) / len(turns) == pytest.approx(0.4, abs=0.08)


def test_brief_answers_teach_label_and_irony_and_nothing_that_the_model_never_writes():
    brief = replace(PROMPT, brief=True)
    words = Sample(text="what a lovely day", label="negative", sarcastic=True)
    target = reasoned_target(words, brief, verdict=verdict())
    assert [target.answer[start:end] for start, end in target.taught] == ["negative", "true"]
    assert not target.closes
    assert read_answer(target.answer, brief, words).sarcastic
    assert target.tells
    assert not reasoned_target(replace(words, sarcastic=None), brief, verdict=verdict()).tells
    assert label_target(words, brief).words == "negative"


@pytest.mark.parametrize("gpus", [1, 3])
def test_a_micro_batch_is_of_one_kind_and_steps_are_whole(gpus):
    samples = [
        Sample(text=str(n), image=PICTURE if n % 7 else None, label=LABELS[n % 3], target="sea" if n == 5 else None)
        for n in range(50)
    ]
    recipe = TuningRecipe(epochs=3, batch_size=10, micro_batch=3)
    course = plan_course(samples, recipe, gpus)
    assert course.steps == 15
    assert len(course.batches) == course.steps * course.accumulate * gpus
    for batch in course.batches:
        kinds = {(samples[turn.row].image is None, bool(samples[turn.row].target)) for turn in batch}
        assert len(kinds) == 1
        assert len(batch) <= 3
    assert any(samples[batch[0].row].target for batch in course.batches)
    assert course == plan_course(samples, recipe, gpus)
    assert course != plan_course(samples, replace(recipe, seed=1), gpus)


def test_bundled_recipes_name_presets_and_prompts_that_are_there():
    assert len(recipe_names()) == 11
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.base in presets()
        assert load_prompt(recipe.prompt)
        assert recipe.alpha == 2 * recipe.rank


def test_every_recipe_stands_in_their_readme():
    told = bundled_path("adapters", "recipes", "README.md").read_text()
    assert all(f"`{name}`" in told for name in recipe_names())


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("rnak = 8", "no setting 'rnak'; known are base, prompt"),
        ("rank = 'eight'", "rank: found 'eight'; wanted a value like 16"),
        ("quantise = '3bit'", "found '3bit'; wanted none or 4bit"),
        ("reasons = 2", "found 2.0; wanted a share from 0 to 1"),
        ("epochs = 0", "found 0.0; wanted more than 0"),
        ("rank =", "is no recipe"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(tmp_path, written, told):
    file = tmp_path / "mine.toml"
    file.write_text(written)
    with pytest.raises(InputError, match=r"mine\.toml|found") as caught:
        load_recipe(file)
    assert told in str(caught.value)


def test_paths_in_a_recipe_start_from_its_folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "mine.toml").write_text('base = "model"\nlearning_rate = 1')
    recipe = load_recipe(tmp_path / "mine.toml")
    assert recipe.base == str(tmp_path / "model")
    assert recipe.learning_rate == 1.0


def test_unknown_recipes_are_named():
    with pytest.raises(InputError, match=r"no recipe 'x'; bundled are .*llava-1\.5-7b-memes"):
        load_recipe("x")
