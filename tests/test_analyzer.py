"""The whole way of a post, on a small real model: one answer by every door, and a reasoner that is never made up."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tiny

from hybrid_mmsa import (
    Analysis,
    Analyzer,
    ArtefactError,
    InputError,
    LoraRef,
    Policy,
    RowError,
    Sample,
    Verdict,
    __version__,
)
from hybrid_mmsa.adapters import Adapter, describe_adapter
from hybrid_mmsa.encoders.wordpieces import MOST_WINDOWS, OVERLAP
from hybrid_mmsa.errors import ReasonerError
from hybrid_mmsa.types import LABELS, TASKS

WORDS = "we love the sun and the sea"
KEEP, DEFER = Policy(kind="threshold", p_error=1), Policy(kind="threshold", p_error=0)
CLOSE = 1e-5


@pytest.fixture(scope="module")
def analyzer(tiny_model):
    return Analyzer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def picture():
    return tiny.pictures(1, side=48)[0]


@pytest.fixture(scope="module")
def samples():
    images = tiny.pictures(5, side=40, seed=6)
    return [
        Sample(text=WORDS, image=images[0], id="both"),
        Sample(text="the train was late and i am so very sad " * 4, id="words"),
        Sample(image=images[1], id="picture"),
        Sample(text="great, i lost my food again!", image=images[2], target="food", id="target"),
        Sample(text="monday", image=images[3]),
        Sample(text="it is fine", target="@bob", id="words about someone"),
        Sample(image=images[4], target="bob", id="picture with a target"),
    ]


class Scripted:
    """A reasoner with one answer, which remembers what it was asked; or with an error instead."""

    id = "scripted"

    def __init__(self, label="negative", *, failing=False):
        others = {other: 0.1 for other in LABELS if other != label}
        self.verdict = Verdict(
            label=label, probabilities={label: 0.8, **others}, rationale="It reads bitter.", reasoner=self.id
        )
        self.failing = failing
        self.asked = []

    def reason(self, samples, lora: LoraRef | None = None, *, rationale=False):
        self.asked.append([s.id for s in samples])
        self.how = (lora, rationale)
        if self.failing:
            raise ReasonerError("no memory left")
        return [self.verdict.model_copy(update={"tokens": number}) for number, _ in enumerate(samples)]


def numbers(values, path=""):
    """All floats inside an answer by their place, and the answer without them."""
    if isinstance(values, float):
        return {path: values}, None
    if not isinstance(values, dict):
        return {}, values
    found, rest = {}, {}
    for name, inner in values.items():
        floats, rest[name] = numbers(inner, f"{path}.{name}")
        found |= floats
    return found, rest


def assert_close(one: Analysis, other: Analysis):
    """Equal but for rounding, which may differ between batch sizes."""
    (left, said), (right, expected) = (numbers(a.model_dump(exclude={"timings"})) for a in (one, other))
    assert left == pytest.approx(right, abs=CLOSE)
    for answer in (said, expected):
        answer.get("explanation", {}).pop("text", None)  # where percentages may round to the other side
    assert said == expected


def test_words_alone(analyzer):
    answer = analyzer.analyze(WORDS)
    assert answer.sentiment == answer.text_sentiment
    assert answer.image_sentiment is answer.conflict is None
    assert 0 <= answer.sarcasm <= 1
    assert sum(answer.emotion.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert set(answer.explanation.shares) == {"text"}
    assert "there is no picture" in answer.explanation.text
    assert answer.warnings == ()


def test_a_picture_alone(analyzer, picture):
    answer = analyzer.analyze(image=picture)
    assert answer.sentiment == answer.image_sentiment
    assert answer.text_sentiment is answer.sarcasm is answer.emotion is answer.conflict is None
    assert set(answer.explanation.shares) == {"image"}


def test_words_and_picture(analyzer, picture):
    answer = analyzer.analyze(WORDS, picture)
    assert answer.text_sentiment == analyzer.analyze(WORDS).sentiment
    p, q = ([side.probabilities[label] for label in LABELS] for side in (answer.text_sentiment, answer.image_sentiment))
    assert answer.conflict == pytest.approx(0.5 * np.abs(np.subtract(p, q)).sum(), abs=1e-6)
    assert answer.sentiment.confidence == max(answer.sentiment.probabilities.values())
    assert set(answer.explanation.shares) == {"text", "image"}


def test_every_answer_is_whole(analyzer, samples):
    for sample, answer in zip(samples, analyzer.analyze_batch(samples), strict=True):
        assert answer.id == sample.id
        assert sum(answer.sentiment.probabilities.values()) == pytest.approx(1, abs=1e-5)
        explained = answer.explanation
        assert explained.label == answer.sentiment.label
        moved = sum(explained.shares.values())
        assert explained.baseline + moved == pytest.approx(answer.sentiment.confidence, abs=1e-5)
        assert Analysis.model_validate_json(answer.model_dump_json()) == answer
        assert {"encode", "decide"} <= answer.timings.keys()


def test_provenance_names_what_answered(analyzer, tiny_model):
    came_from = analyzer.analyze(WORDS).provenance
    adapter = Adapter.load(tiny_model)
    assert (came_from.model, came_from.model_hash) == ("tiny", adapter.hash)
    assert (came_from.encoder, came_from.encoder_hash) == ("compact:towers", adapter.encoder_hash)
    assert came_from.package == __version__


def test_words_about_a_target_are_judged_for_the_target(analyzer, picture):
    plain, about = (analyzer.analyze(WORDS, picture, target=t) for t in (None, "sea"))
    assert about.sentiment == about.text_sentiment
    assert about.sentiment.probabilities != plain.text_sentiment.probabilities
    assert about.image_sentiment == plain.image_sentiment
    assert any("words alone" in note for note in about.warnings)
    assert about.explanation.shares["image"] == pytest.approx(0, abs=1e-6)
    assert 'about "sea"' in about.explanation.text


def test_a_target_without_words_is_not_claimed_to_be_judged(analyzer, picture):
    plain, about = (analyzer.analyze(image=picture, target=t) for t in (None, "bob"))
    assert about.sentiment == plain.sentiment
    assert "about bob" not in about.explanation.text
    assert any("target" in note for note in about.warnings)


def test_a_text_that_was_cut_says_so(analyzer):
    (note,) = analyzer.analyze("happy " * 5000).warnings
    room = tiny.MAX_TOKENS - 2
    shared = room // OVERLAP
    assert f"first {MOST_WINDOWS * (room - shared) + shared} tokens" in note


def test_every_door_gives_the_same_answer(analyzer, samples):
    batch = analyzer.analyze_batch(samples)
    alone = [analyzer.analyze_batch([sample])[0] for sample in samples]
    streamed = list(analyzer.stream(samples))
    single = [analyzer.analyze(s.text, s.image, target=s.target) for s in samples]
    for i, answer in enumerate(batch):
        assert streamed[i] == answer
        assert_close(alone[i], answer)
        assert_close(single[i].model_copy(update={"id": samples[i].id}), answer)


def test_order_and_number_of_posts_change_nothing(analyzer, samples):
    expected = analyzer.analyze_batch(samples)
    for given, answer in zip(analyzer.analyze_batch(samples[::-1]), expected[::-1], strict=True):
        assert_close(given, answer)
    many = analyzer.analyze_batch(samples * 12)  # more than one chunk
    for given, answer in zip(many, itertools.cycle(expected), strict=False):
        assert_close(given, answer)
    assert len(many) == 12 * len(samples)
    assert analyzer.analyze_batch([]) == []


@pytest.mark.parametrize(("text", "image"), [(None, None), ("  \n", None), ("", None)])
def test_neither_words_nor_picture_is_an_error(analyzer, text, image):
    with pytest.raises(InputError, match="neither text nor image") as caught:
        analyzer.analyze(text, image)
    assert caught.value.index is None


def test_a_bad_post_of_a_batch_is_named_before_any_work(tiny_model, monkeypatch):
    fresh = Analyzer.from_pretrained(tiny_model)
    monkeypatch.setattr(fresh.encoder, "encode", None)
    posts = [Sample(text="fine"), Sample(text="good", image="http://example.org/a.jpg"), Sample(text=" ")]
    with pytest.raises(InputError, match="post 1") as caught:
        fresh.analyze_batch(posts)
    assert (caught.value.index, caught.value.field) == (1, "image")


def test_posteriors_are_for_measuring(analyzer, samples):
    found = analyzer.posteriors(samples)
    assert set(found) == set(TASKS)
    answers = analyzer.analyze_batch(samples)
    for row, answer in zip(found["sentiment"], answers, strict=True):
        assert list(answer.sentiment.probabilities.values()) == pytest.approx(row.tolist(), abs=CLOSE)
    with pytest.raises(InputError, match="post 0"):
        analyzer.posteriors([Sample()])


def test_a_stream_answers_in_place_and_never_raises_for_a_row(analyzer, picture):
    rows = [
        {"id": 7, "text": WORDS},
        {"id": "bare", "text": " "},
        Sample(text=WORDS, id="whole"),
        RowError(line=40, id="read before", error="broken JSON"),
        (90, {"id": "odd", "text": ["x"]}),
        (91, Sample(image=picture)),
        404,
        Sample(text=3),
        Sample(text="sun", id=5),
        Sample(text="", id="\ud800"),
        {"text": "sun", "image": "nowhere \ud800.jpg", "id": ["list"]},
        {"text": WORDS, "id": None},
    ]
    out = list(analyzer.stream(rows))
    assert len(out) == len(rows)
    kinds = [isinstance(row, RowError) for row in out]
    assert kinds == [False, True, False, True, True, False, True, True, True, True, True, False]
    assert [row.line for row in out if isinstance(row, RowError)] == [2, 40, 90, 7, 8, 9, 10, 11]
    assert [row.id for row in out][:5] == ["7", "bare", "whole", "read before", "odd"]
    assert out[3] is rows[3]
    assert (out[4].field, out[8].field) == ("text", "id")
    assert_close(out[0].model_copy(update={"id": None}), out[-1])
    for row in out:
        assert type(row).model_validate_json(row.model_dump_json()) == row


def test_a_stream_reads_only_a_little_ahead(analyzer):
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield {"text": WORDS, "id": number}

    stream = analyzer.stream(endless())
    assert taken == [], "nothing is read before it is asked for"
    first = list(itertools.islice(stream, 3))
    assert [answer.id for answer in first] == ["0", "1", "2"]
    assert len(taken) <= 64


def test_a_stream_of_errors_alone_goes_through(analyzer):
    assert [r.line for r in analyzer.stream([{}, {}, {}])] == [1, 2, 3]
    assert list(analyzer.stream([])) == []


def test_explain_levels(analyzer, samples):
    none, modality, full = (analyzer.analyze_batch(samples, explain=e) for e in ("none", "modality", "full"))
    assert all(answer.explanation is None for answer in none)
    for bare, answer in zip(none, modality, strict=True):
        assert answer.model_copy(update={"explanation": None}) == bare
    assert all(answer.explanation is not None for answer in full)


@pytest.mark.parametrize(("option", "value"), [("mode", "depp"), ("explain", "all"), ("adapter", "nobody")])
def test_an_unknown_option_is_refused_and_the_known_ones_named(analyzer, option, value):
    known = {"mode": "auto, fast or deep", "explain": "none, modality or full", "adapter": "tiny"}[option]
    with pytest.raises(InputError, match=f"{option}: .*{value}.*{known}") as caught:
        analyzer.analyze(WORDS, **{option: value})
    assert caught.value.field == option


@pytest.fixture(scope="module")
def second(tiny_model, tmp_path_factory):
    """Another adapter fitted to the same towers."""
    folder = tmp_path_factory.mktemp("more") / "second"
    tiny.adapter(encoder_hash=Adapter.load(tiny_model).encoder_hash, name="second", seed=11).save(folder)
    return folder


def test_an_adapter_is_chosen_by_name_per_call(tiny_model, second):
    both = Analyzer.from_pretrained(tiny_model, adapters=[second])
    first, other = both.analyze(WORDS), both.analyze(WORDS, adapter="second")
    assert first.provenance.model == both.analyze(WORDS, adapter="tiny").provenance.model == "tiny"
    assert other.provenance.model == "second"
    assert other.sentiment != first.sentiment
    assert [a.provenance.model for a in both.stream([Sample(text=WORDS)], adapter="second")] == ["second"]
    assert both.analyze(WORDS) == first, "choosing one changes nothing for later calls"


def test_an_adapter_for_another_encoder_is_refused(tiny_model, tmp_path):
    tiny.adapter(name="stranger").save(tmp_path / "stranger")
    with pytest.raises(ArtefactError, match=r"stranger.*hybrid-mmsa train fusion"):
        Analyzer.from_pretrained(tiny_model, adapters=[tmp_path / "stranger"])


def test_two_adapters_of_one_name_are_refused(tiny_model):
    with pytest.raises(ArtefactError, match="tiny, tiny"):
        Analyzer.from_pretrained(tiny_model, adapters=[tiny_model])


def test_modes_and_policies_decide_what_is_deferred(tiny_model, samples):
    def deferred(policy, mode):
        answers = Analyzer.from_pretrained(tiny_model, policy=policy).analyze_batch(samples, mode=mode)
        assert all(a.route.answered_by == "fast" for a in answers)
        return [a.route.decision == "defer" for a in answers]

    assert deferred(DEFER, "auto") == deferred(KEEP, "deep") == [True] * len(samples)
    assert deferred(KEEP, "auto") == deferred(DEFER, "fast") == [False] * len(samples)
    assert deferred(Policy(kind="never"), "auto") == [False] * len(samples)
    assert deferred(Policy(kind="always"), "auto") == [True] * len(samples)


def test_without_a_reasoner_the_fast_answer_stands_and_says_so(tiny_model, samples):
    fast = Analyzer.from_pretrained(tiny_model, policy=DEFER)
    for kept, answer in zip(fast.analyze_batch(samples, mode="fast"), fast.analyze_batch(samples), strict=True):
        assert answer.sentiment == kept.sentiment
        assert (answer.route.decision, answer.route.answered_by) == ("defer", "fast")
        assert answer.verdict is answer.rationale is None
        assert "no reasoner is configured" in answer.explanation.text
        assert kept.route.decision == "keep"


def test_auto_attaches_the_verdict_and_keeps_the_fast_label(tiny_model, samples):
    reasoner = Scripted()
    fast = Analyzer.from_pretrained(tiny_model, policy=KEEP).analyze_batch(samples)
    answers = Analyzer.from_pretrained(tiny_model, reasoner=reasoner, policy=DEFER).analyze_batch(samples)
    assert reasoner.asked == [[s.id for s in samples]]
    for i, (plain, answer) in enumerate(zip(fast, answers, strict=True)):
        assert answer.sentiment == plain.sentiment
        assert (answer.route.decision, answer.route.answered_by) == ("defer", "fast")
        assert answer.verdict.tokens == i, "each post has its own verdict"
        assert answer.rationale == "It reads bitter."
        assert "no pooling" in answer.warnings[-1]
        assert "bitter" not in answer.explanation.text, "an explanation holds no word that a model wrote"
        assert "reason" in answer.timings


@pytest.mark.parametrize("label", LABELS)
def test_deep_returns_the_verdict(tiny_model, samples, label):
    reasoner = Scripted(label)
    answers = Analyzer.from_pretrained(tiny_model, reasoner=reasoner, policy=KEEP).analyze_batch(samples, mode="deep")
    for plain, answer in zip(Analyzer.from_pretrained(tiny_model).analyze_batch(samples), answers, strict=True):
        assert (answer.sentiment.label, answer.sentiment.confidence) == (label, 0.8)
        assert answer.sentiment.probabilities == reasoner.verdict.probabilities
        assert answer.route.answered_by == "scripted"
        assert "requested" in answer.route.reasons
        assert answer.text_sentiment == plain.text_sentiment
        assert answer.explanation.label == plain.sentiment.label, "the evidence is the fast tier's"


def test_kept_posts_are_not_sent_to_the_reasoner(tiny_model, samples):
    reasoner = Scripted()
    p_errors = [a.route.p_error for a in Analyzer.from_pretrained(tiny_model).analyze_batch(samples)]
    some = Policy(kind="threshold", p_error=float(np.median(p_errors)))
    answers = Analyzer.from_pretrained(tiny_model, reasoner=reasoner, policy=some).analyze_batch(samples)
    deferred = [a.id for a in answers if a.route.decision == "defer"]
    assert 0 < len(deferred) < len(samples)
    assert reasoner.asked == [deferred]
    assert all((a.verdict is not None) == (a.id in deferred) for a in answers)
    Analyzer.from_pretrained(tiny_model, reasoner=reasoner, policy=KEEP).analyze_batch(samples)
    assert len(reasoner.asked) == 1


@pytest.mark.parametrize("mode", ["auto", "deep"])
def test_a_reasoner_that_fails_leaves_the_fast_answer_and_a_warning(tiny_model, samples, mode):
    failing = Analyzer.from_pretrained(tiny_model, reasoner=Scripted(failing=True), policy=DEFER)
    fast = Analyzer.from_pretrained(tiny_model).analyze_batch(samples, mode="fast")
    for plain, answer in zip(fast, failing.stream(samples, mode=mode), strict=True):
        assert answer.sentiment == plain.sentiment
        assert answer.route.answered_by == "fast"
        assert answer.verdict is answer.rationale is None
        assert "no memory left" in answer.warnings[-1]


def test_a_model_that_is_not_there_is_an_artefact_error(tmp_path):
    with pytest.raises(ArtefactError, match="no adapter"):
        Analyzer.from_pretrained("nobody")
    with pytest.raises(ArtefactError, match="is not an adapter folder"):
        Analyzer.from_pretrained(tmp_path / "nowhere")


def test_a_path_and_its_string_are_one_model(tiny_model):
    one, other = Analyzer.from_pretrained(str(tiny_model)), Analyzer.from_pretrained(Path(tiny_model), threads=2)
    assert one.analyze(WORDS).provenance == other.analyze(WORDS).provenance


@pytest.mark.parametrize(
    ("mode", "explain", "written"),
    [
        ("auto", "none", False),
        ("auto", "modality", False),
        ("auto", "full", True),
        ("deep", "none", False),
        ("deep", "modality", True),
        ("deep", "full", True),
    ],
)
def test_a_rationale_is_asked_for_where_it_will_be_read(tiny_model, mode, explain, written):
    reasoner = Scripted()
    asking = Analyzer.from_pretrained(tiny_model, reasoner=reasoner, policy=DEFER)
    asking.analyze(WORDS, mode=mode, explain=explain)
    assert reasoner.how == (None, written)


@pytest.fixture
def memes(tmp_path):
    """An adapter folder with a LoRA adapter alone."""
    folder = tmp_path / "memes"
    (folder / "lora").mkdir(parents=True)
    (folder / "lora" / "adapter_config.json").write_text("{}", encoding="utf-8")
    describe_adapter(folder, name="memes", made_with={})
    return folder


def test_an_adapter_s_lora_goes_to_the_reasoner_for_its_own_calls_only(tiny_model, memes):
    reasoner = Scripted()
    both = Analyzer.from_pretrained(tiny_model, adapters=[memes], reasoner=reasoner, policy=DEFER)
    fast = both.analyze(WORDS, mode="fast")
    with_lora = both.analyze(WORDS, adapter="memes")
    assert reasoner.how[0] == LoraRef(name="memes", path=memes / "lora")
    assert with_lora.provenance.model == "memes"
    assert with_lora.sentiment == fast.sentiment, "its fast parts are the default's"
    both.analyze(WORDS)
    assert reasoner.how[0] is None


def test_a_lora_adapter_is_checked_when_it_is_loaded(tiny_model, memes):
    class Checking(Scripted):
        def load(self, lora):
            raise ArtefactError(f"{lora.name} changes nothing")

    with pytest.raises(ArtefactError, match="memes changes nothing"):
        Analyzer.from_pretrained(tiny_model, adapters=[memes], reasoner=Checking())


def test_a_reasoner_is_named_by_a_file(tiny_model, tmp_path):
    verdict = Scripted("positive").verdict
    path = tmp_path / "known.jsonl"
    path.write_text(verdict.model_dump_json()[:-1] + ', "id": "a"}\n', encoding="utf-8")
    known = Analyzer.from_pretrained(tiny_model, reasoner=path)
    (answer,) = known.analyze_batch([Sample(text=WORDS, id="a")], mode="deep")
    assert (answer.verdict, answer.route.answered_by) == (verdict, "scripted")
    with pytest.raises(InputError, match="no reasoner 'nobody'; presets are "):
        Analyzer.from_pretrained(tiny_model, reasoner="nobody")
