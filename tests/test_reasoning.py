"""Recorded verdicts answer deferred posts; what is not recorded is said, never invented."""

import json

import pytest
from PIL import Image

from hybrid_mmsa import InputError, LoraRef, ReasonerError, Sample, Verdict
from hybrid_mmsa.reasoning import RecordedReasoner, ask_about_deferred, open_reasoner
from hybrid_mmsa.reasoning.models.lora_base import misfit
from hybrid_mmsa.types import RouteDecision

SURE = Verdict(label="negative", probabilities={"negative": 0.8, "neutral": 0.1, "positive": 0.1}, reasoner="vlm")
KEEP, DEFER = (RouteDecision(decision=d, answered_by="fast", p_error=0.5) for d in ("keep", "defer"))


def written(folder, *rows):
    path = folder / "verdicts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(id_):
    return {"id": id_, **SURE.model_dump(mode="json")}


def test_verdicts_come_back_by_post(tmp_path):
    reasoner = RecordedReasoner.load(written(tmp_path, row("a"), row("b")))
    assert reasoner.id == "vlm"
    assert reasoner.reason([Sample(text="x", id="b"), Sample(text="y", id="a")]) == [SURE, SURE]


def test_line_ends_of_unicode_end_no_line(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    path.write_text(json.dumps(row("a\u2028b"), ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert RecordedReasoner.load(path).verdicts == {"a\u2028b": SURE}


def test_verdicts_of_several_models_are_named_after_their_file(tmp_path):
    other = {**row("b"), "reasoner": "another"}
    assert RecordedReasoner.load(written(tmp_path, row("a"), other)).id == "verdicts"


def test_what_batch_wrote_is_read_and_posts_that_were_kept_are_passed_over(tmp_path):
    def answer(id_, verdict):
        return {"schema_version": "1.0", "id": id_, "verdict": verdict}

    reasoner = RecordedReasoner.load(
        written(tmp_path, answer("a", SURE.model_dump(mode="json")), answer("b", None), answer("c", None))
    )
    assert reasoner.verdicts == {"a": SURE}
    with pytest.raises(InputError, match=r"holds no verdict: answer posts with a reasoner first"):
        RecordedReasoner.load(written(tmp_path, answer("a", None)))


@pytest.mark.parametrize("post", [Sample(text="x", id="z"), Sample(text="x")])
def test_a_post_without_a_verdict_is_an_error(post):
    with pytest.raises(ReasonerError, match="no verdict is recorded for 1 posts"):
        RecordedReasoner({"a": SURE}).reason([Sample(text="x", id="a"), post])


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([row("a"), row("a")], "line 2: a second verdict on post 'a'"),
        ([row("a"), SURE.model_dump(mode="json")], "line 2 holds no verdict: it has no id"),
        ([{"id": "a", "label": "angry"}], "line 1 holds no verdict"),
        ([["a"]], "line 1 holds no verdict"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path, rows, cause):
    with pytest.raises(InputError, match=cause):
        RecordedReasoner.load(written(tmp_path, *rows))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.jsonl"):
        RecordedReasoner.load(tmp_path / "nowhere.jsonl")


def test_only_deferred_posts_are_asked_about():
    posts = [Sample(text="x", id=i) for i in "abc"]
    answers = ask_about_deferred(RecordedReasoner({"b": SURE}), posts, [KEEP, DEFER, KEEP])
    assert (answers.by_row, answers.warnings) == ({1: SURE}, {})


def test_a_failure_is_a_warning_on_every_deferred_post():
    posts = [Sample(text="x", id=i) for i in "abc"]
    answers = ask_about_deferred(RecordedReasoner({"c": SURE}), posts, [DEFER, DEFER, KEEP])
    assert answers.by_row == {}
    assert sorted(answers.warnings) == [0, 1]
    assert "the fast answer stands: no verdict is recorded for 1 posts, such as id 'a'" in answers.warnings[0][0]


class Picky(RecordedReasoner):
    """Cannot answer some posts; counts how often it was asked."""

    def __init__(self, *hopeless):
        super().__init__({id_: SURE for id_ in "abcdef"})
        self.hopeless, self.times = hopeless, 0

    def reason(self, samples, lora=None, *, rationale=False):
        self.times += 1
        if hopeless := [sample.id for sample in samples if sample.id in self.hopeless]:
            raise ReasonerError(f"too long: {hopeless}")
        return super().reason(samples, lora)


def test_a_post_that_cannot_be_answered_takes_no_other_s_verdict():
    posts = [Sample(text="x", id=i) for i in "abcd"]
    answers = ask_about_deferred(Picky("b"), posts, [DEFER] * 4)
    assert sorted(answers.by_row) == [0, 2, 3]
    assert list(answers.warnings) == [1]
    assert "too long: ['b']" in answers.warnings[1][0]


def test_a_lost_reasoner_is_not_asked_about_every_post():
    lost = Picky(*"abcdef")
    answers = ask_about_deferred(lost, [Sample(text="x", id=i) for i in "abcdef"], [DEFER] * 6)
    assert (answers.by_row, sorted(answers.warnings), lost.times) == ({}, list(range(6)), 3)


def test_posts_without_a_verdict_of_their_own_end_no_asking():
    posts = [Sample(text="x", id=i) for i in "abcd"]
    answers = ask_about_deferred(RecordedReasoner({"d": SURE}), posts, [DEFER] * 4)
    assert answers.by_row == {3: SURE}
    assert sorted(answers.warnings) == [0, 1, 2]


def test_posts_without_words_take_nothing_from_others_where_words_alone_are_read():
    asked = []

    class OfWords:
        id, reads_pictures = "words", False

        def reason(self, samples, lora=None, *, rationale=False):
            asked.append([sample.id for sample in samples])
            return [SURE for _ in samples]

    picture = Image.new("RGB", (8, 8))
    posts = [Sample(image=picture, id="a"), Sample(image=picture, id="b"), *(Sample(text="x", id=i) for i in "cd")]
    answers = ask_about_deferred(OfWords(), posts, [DEFER] * 4)
    assert (sorted(answers.by_row), asked) == ([2, 3], [["c", "d"]])
    assert "words reads no pictures, and the post has no words" in answers.warnings[1][0]


class Listening(RecordedReasoner):
    """Notes how it was asked."""

    def reason(self, samples, lora=None, *, rationale=False):
        self.asked = ([sample.id for sample in samples], lora, rationale)
        return super().reason(samples, lora, rationale=rationale)


def test_deferred_posts_are_asked_together_with_the_adapter_and_the_wish():
    lora = LoraRef(name="memes", path="lora")
    reasoner = Listening({"b": SURE, "c": SURE})
    posts = [Sample(text="x", id=i) for i in "abc"]
    answers = ask_about_deferred(reasoner, posts, [KEEP, DEFER, DEFER], lora, rationale=True)
    assert reasoner.asked == (["b", "c"], lora, True)
    assert sorted(answers.by_row) == [1, 2]
    ask_about_deferred(reasoner, posts, [KEEP, DEFER, KEEP])
    assert reasoner.asked == (["b"], None, False)


def lora_for(folder, base, revision=None):
    """The reference of a LoRA whose configuration names a model."""
    folder.mkdir(exist_ok=True)
    told = {"base_model_name_or_path": base, "revision": revision}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return LoraRef(name="memes", path=folder)


class Loading:
    """Reads adapters beforehand, and knows its weights' revision."""

    def __init__(self, id_, revision):
        self.id, self.revision, self.loaded = id_, revision, []

    def load(self, lora):
        self.loaded.append(lora)

    def reason(self, samples, lora=None, *, rationale=False):
        self.asked = lora
        return [SURE for _ in samples]


@pytest.mark.parametrize(
    ("made_for", "revision", "answers_with_it"),
    [
        ("a" * 40, "a" * 40, True),
        ("a" * 40, "b" * 40, False),
        ("a" * 40, None, True),  # whether it fits is found out when it is put into the model
        (None, "a" * 40, True),
    ],
)
def test_a_lora_goes_by_the_weights_it_was_made_for(tmp_path, made_for, revision, answers_with_it):
    """A model of others answers without it, and says so."""
    lora = lora_for(tmp_path, "smol", made_for)
    reasoner = Loading("mine", revision)
    assert open_reasoner(reasoner, [lora]) is reasoner
    assert reasoner.loaded == [lora] * answers_with_it
    warnings = ask_about_deferred(reasoner, [Sample(text="x", id="a")], [DEFER], lora).warnings
    assert reasoner.asked == (lora if answers_with_it else None)
    assert ("is for smol aaaaaaaaaaaa; mine bbbbbbbbbbbb answered without it" in str(warnings)) != answers_with_it


def test_whether_a_lora_fits_is_read_anew(tmp_path):
    reasoner = Loading("smol", "a" * 40)
    assert misfit(lora_for(tmp_path, "smol", "b" * 40), reasoner)
    assert misfit(lora_for(tmp_path, "smol", "a" * 40), reasoner) is None


def test_verdicts_that_were_asked_with_the_lora_carry_no_warning(tmp_path):
    lora = lora_for(tmp_path, "smol", "a" * 40)
    recorded = Listening({"a": SURE.model_copy(update={"adapter": "memes"})}, id="smolvlm-500m")
    recorded.revision = "b" * 40
    assert ask_about_deferred(recorded, [Sample(text="x", id="a")], [DEFER], lora).warnings == {}


@pytest.mark.parametrize("told", ['{"base_model_name_or_path": "qwen"}', "{}", "[]", "no json", None])
def test_whether_any_other_lora_fits_is_left_to_the_model(tmp_path, told):
    if told is not None:
        (tmp_path / "adapter_config.json").write_text(told)
    assert misfit(LoraRef(name="mine", path=tmp_path), Listening({"a": SURE}, id="smolvlm-500m")) is None
