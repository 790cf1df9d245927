"""The border to users' own code: a failing encoder, reasoner or picture costs its own row and raises typed errors."""

import json
from collections import namedtuple
from dataclasses import replace
from enum import Enum

import numpy as np
import pytest
from PIL import Image

from hybrid_mmsa import (
    Analysis,
    Analyzer,
    ArtefactError,
    EncoderError,
    HybridError,
    InputError,
    Policy,
    ReasonerError,
    RowError,
    Sample,
    Verdict,
)
from hybrid_mmsa.errors import MissingExtraError
from hybrid_mmsa.foreign import cause, translated
from hybrid_mmsa.types import LABELS, Cue

DEFER = Policy(kind="threshold", p_error=0)
POSTS = [Sample(text=words, id=words) for words in ("a good day", "a bad day", "it was fine")]
SHARES = {"negative": 0.7, "neutral": 0.2, "positive": 0.1}
GOOD = Verdict(label="negative", probabilities=SHARES, reasoner="own")


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return Analyzer.from_pretrained(tiny_model)


class OwnEncoder:
    """A user's encoder: the loaded one, whose features of some posts are spoilt."""

    def __init__(self, encoder, spoil):
        self.name, self.hash, self.encoder, self.spoil = encoder.name, encoder.hash, encoder, spoil

    def encode(self, samples):
        features = self.encoder.encode(samples)
        bad = [i for i, sample in enumerate(samples) if "bad" in (sample.text or "")]
        return self.spoil(features, bad) if bad else features


def fail(features, bad):
    raise KeyError("no such layer")


def not_numbers(features, bad):
    text = features.text_features.copy()
    text[bad] = np.nan
    return replace(features, text_features=text)


def unspeakable(features, bad):
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("cannot even say so")

    raise MuteError


SPOILERS = {
    "raises": fail,
    "raises an error that cannot be printed": unspeakable,
    "recurses too deep": lambda features, bad: (_ for _ in ()).throw(RecursionError("too deep")),
    "returns nothing": lambda features, bad: None,
    "returns a dictionary": lambda features, bad: {"text_features": features.text_features},
    "returns too few rows": lambda features, bad: features.take(slice(0, len(features) - 1)),
    "returns too many rows": lambda features, bad: features.take([*range(len(features)), 0]),
    "returns another width": lambda features, bad: replace(features, text_features=features.text_features[:, 1:]),
    "returns no numbers": not_numbers,
    "returns strings": lambda features, bad: replace(features, n_tokens=np.full(len(features), "x")),
}


@pytest.fixture(params=SPOILERS.values(), ids=SPOILERS.keys())
def spoilt(request, loaded):
    return Analyzer(OwnEncoder(loaded.encoder, request.param), [*loaded.adapters.values()])


def test_a_post_that_an_encoder_fails_at_is_the_only_one_lost(spoilt, loaded):
    answers = list(spoilt.stream(POSTS))
    assert [type(answer) for answer in answers] == [Analysis, RowError, Analysis]
    assert (answers[1].line, answers[1].id) == (2, "a bad day")
    assert "encoder 'compact:towers'" in answers[1].error
    for answer, expected in zip(answers[::2], loaded.analyze_batch(POSTS[::2]), strict=True):
        assert answer.sentiment.label == expected.sentiment.label
        assert answer.sentiment.confidence == pytest.approx(expected.sentiment.confidence, abs=1e-5)


def test_a_single_post_or_batch_raises_a_typed_error(spoilt):
    with pytest.raises(EncoderError):
        spoilt.analyze("a bad day")
    with pytest.raises(EncoderError, match="post 1: ") as caught:
        spoilt.analyze_batch(POSTS)
    assert caught.value.index == 1


def test_an_encoder_that_fails_at_everything_loses_every_row_and_ends_nothing(loaded):
    hopeless = Analyzer(OwnEncoder(loaded.encoder, fail), [*loaded.adapters.values()])
    rows = list(hopeless.stream(["bad"] * 3))
    assert [row.line for row in rows] == [1, 2, 3]
    assert all("KeyError: 'no such layer'" in row.error for row in rows)


def test_evidence_that_an_encoder_fails_at_is_a_warning_beside_the_answer(loaded):
    class Once(OwnEncoder):
        """Encodes posts, and fails at the changed versions that evidence needs."""

        def encode(self, samples):
            if not all(sample.id for sample in samples):
                raise OSError("device lost")
            return self.encoder.encode(samples)

    analyzer = Analyzer(Once(loaded.encoder, fail), [*loaded.adapters.values()])
    (answer,) = analyzer.stream(POSTS[:1], explain="full")
    (plain,) = loaded.analyze_batch(POSTS[:1])
    assert answer.sentiment == plain.sentiment
    assert answer.explanation == plain.explanation, "what is known without more encoding is explained"
    assert "words and regions are not explained" in answer.warnings[-1]
    assert "device lost" in answer.warnings[-1]


def test_an_interrupt_is_no_failure_of_the_encoder(loaded):
    def interrupt(features, bad):
        raise KeyboardInterrupt

    analyzer = Analyzer(OwnEncoder(loaded.encoder, interrupt), [*loaded.adapters.values()])
    with pytest.raises(KeyboardInterrupt):
        list(analyzer.stream(POSTS))


class OwnReasoner:
    """A user's reasoner that does what it is told for some posts, and answers the others."""

    id = "own"

    def __init__(self, act):
        self.act = act

    def reason(self, samples, lora=None, *, rationale=False):
        bad = [i for i, sample in enumerate(samples) if "bad" in (sample.text or "")]
        verdicts = [GOOD for _ in samples]
        return self.act(verdicts, bad) if bad else verdicts


def replaced(other):
    def act(verdicts, bad):
        return [other if i in bad else verdict for i, verdict in enumerate(verdicts)]

    return act


def raising(error):
    def act(verdicts, bad):
        raise error

    return act


def unchecked(**changes):
    """A verdict that was built past every check."""
    return Verdict.model_construct(**{**vars(GOOD), **changes})


def deep_json(verdicts, bad):
    return json.loads("[" * 100_000)


def invalid(verdicts, bad):
    return [Verdict.model_validate({"label": "negative", "probabilities": SHARES, "tokens": "many"})]


FAILINGS = {
    "raises": raising(KeyError("label")),
    "has no memory left": raising(MemoryError()),
    "raises our own error": raising(ReasonerError("busy")),
    "raises another of our errors": raising(MissingExtraError("the reasoner", "vlm")),
    "reads JSON that is too deep": deep_json,
    "raises a validation error": invalid,
    "returns nothing": lambda verdicts, bad: None,
    "returns a text": lambda verdicts, bad: "negative",
    "returns too few verdicts": lambda verdicts, bad: verdicts[:-1],
    "returns too many verdicts": lambda verdicts, bad: [*verdicts, GOOD],
    "returns a dictionary for a verdict": replaced({"label": "negative"}),
    "names a label outside the three": replaced(unchecked(label="purple")),
    "names a side's label outside the three": replaced(unchecked(text_says="purple")),
    "counts tokens in words": replaced(unchecked(tokens="many")),
    "lacks a probability": replaced(unchecked(probabilities={"negative": 1.0})),
    "gives a probability that is no number": replaced(unchecked(probabilities={**SHARES, "neutral": float("nan")})),
    "gives probabilities that do not sum to 1": replaced(unchecked(probabilities=dict.fromkeys(LABELS, 0.9))),
    "quotes something else than cues": replaced(unchecked(cues=("day", Cue(side="text", text="day")))),
}


@pytest.mark.parametrize("mode", ["auto", "deep"])
@pytest.mark.parametrize("failing", FAILINGS.values(), ids=FAILINGS.keys())
def test_a_post_that_a_reasoner_fails_at_keeps_its_fast_answer(loaded, failing, mode):
    analyzer = Analyzer(loaded.encoder, [*loaded.adapters.values()], reasoner=OwnReasoner(failing), policy=DEFER)
    answers = list(analyzer.stream(POSTS, mode=mode))
    assert [answer.verdict is not None for answer in answers] == [True, False, True]
    lost = answers[1]
    assert lost.sentiment == lost.fast
    assert (lost.route.answered_by, lost.route.verdict) == ("fast", None)
    assert "the fast answer stands" in lost.warnings[-1]
    assert analyzer.analyze("a bad day", mode=mode).verdict is None


class Forgetful(OwnReasoner):
    """Knows its name once."""

    def __init__(self):
        super().__init__(lambda verdicts, bad: verdicts)
        self.names = iter(["own"] * 3)

    @property
    def id(self):
        return next(self.names)


def test_a_reasoner_is_named_when_the_analyzer_is_built(loaded):
    analyzer = Analyzer(loaded.encoder, [*loaded.adapters.values()], reasoner=Forgetful(), policy=DEFER)
    answers = list(analyzer.stream(POSTS * 3, mode="deep"))
    assert {answer.route.answered_by for answer in answers} == {"own"}


@pytest.mark.parametrize("option", ["adapter", "mode", "explain"])
@pytest.mark.parametrize("value", [3, ["default"], {}], ids=["number", "list", "mapping"])
def test_an_option_of_another_type_is_refused(loaded, option, value):
    with pytest.raises(InputError, match=f"{option}: "):
        loaded.analyze("good day", **{option: value})


def test_an_interrupt_is_no_failure_of_the_reasoner(loaded):
    reasoner = OwnReasoner(raising(KeyboardInterrupt()))
    analyzer = Analyzer(loaded.encoder, [*loaded.adapters.values()], reasoner=reasoner, policy=DEFER)
    with pytest.raises(KeyboardInterrupt):
        list(analyzer.stream(POSTS))


@pytest.mark.parametrize("id_", ["fast", "", None, 7])
def test_a_reasoner_must_have_a_name_that_cannot_be_taken_for_the_fast_tier(loaded, id_):
    reasoner = OwnReasoner(raising(KeyError()))
    reasoner.id = id_
    with pytest.raises(InputError, match="needs an `id`"):
        Analyzer(loaded.encoder, [*loaded.adapters.values()], reasoner=reasoner)


def closed_picture():
    picture = Image.new("RGB", (8, 8))
    picture.close()
    return picture


def closed_file_picture(folder):
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    picture = Image.open(folder / "a.png")
    picture.close()
    return picture


def released_view():
    view = memoryview(b"some bytes")
    view.release()
    return view


class HomelessPath:
    def __fspath__(self):
        raise LookupError("no path today")


class Stubborn:
    """An open file that refuses one thing."""

    def __init__(self, refused):
        self.refused = refused

    def _do(self, name, result):
        if name == self.refused:
            raise KeyError(f"no {name}")
        return result

    def tell(self):
        return self._do("tell", 0)

    def seek(self, position):
        return self._do("seek", position)

    def read(self, size=-1):
        return self._do("read", b"")


class Shy:
    @property
    def read(self):
        raise RuntimeError("not now")


PICTURES = {
    "a closed picture": closed_picture,
    "a released memoryview": released_view,
    "a path without a path": HomelessPath,
    "a file that cannot tell": lambda: Stubborn("tell"),
    "a file that cannot seek": lambda: Stubborn("seek"),
    "a file that cannot read": lambda: Stubborn("read"),
    "an object whose attributes raise": Shy,
    "an array of objects": lambda: np.full((4, 4), None),
    "a number": lambda: 404,
}


@pytest.mark.parametrize("make", PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_object_that_fails_is_the_error_of_its_row(loaded, make):
    answers = list(loaded.stream([{"text": "fine", "image": make(), "id": "odd"}, Sample(text="good day")]))
    assert isinstance(answers[1], Analysis)
    assert (answers[0].line, answers[0].id, answers[0].field) == (1, "odd", "image")
    with pytest.raises(InputError, match="image: found"):
        loaded.analyze(image=make())


def test_a_picture_whose_file_was_closed_is_the_error_of_its_row(loaded, tmp_path):
    (answer,) = loaded.stream([Sample(text="fine", image=closed_file_picture(tmp_path))])
    assert answer.field == "image"


class Unreadable(dict):
    def get(self, key, default=None):
        raise RuntimeError("locked")


class Unhashable(str):
    """A string that raises where it is looked up."""

    def __hash__(self):
        raise RuntimeError("not today")


class Incomparable(str):
    """A string that raises where it is compared."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        raise RuntimeError("not today")


ROWS = {
    "a mapping that raises": Unreadable(text="x"),
    "a number": 12,
    "a plain tuple": ("text", "x"),
    "a longer tuple": (1, 2, 3),
    "bytes": b"text",
    "nothing": None,
    "a named tuple with a wrong column": namedtuple("Post", "text label")(["x"], "positive"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_row_that_cannot_be_read_is_an_error_and_the_others_go_on(loaded, row):
    answers = list(loaded.stream([row, "good day"]))
    assert [type(answer) for answer in answers] == [RowError, Analysis]
    with pytest.raises(InputError) as caught:
        loaded.analyze_batch(["good day", row])
    assert caught.value.index == 1


@pytest.mark.parametrize("option", ["adapter", "mode", "explain"])
@pytest.mark.parametrize("value", [Unhashable("memes"), Incomparable("memes")], ids=lambda v: type(v).__name__)
def test_an_option_that_cannot_be_read_is_refused(loaded, option, value):
    with pytest.raises(InputError):
        loaded.analyze("good day", **{option: value})


def test_an_option_may_be_a_string_of_its_own_kind(loaded):
    modes = Enum("Modes", {"QUICK": "fast"}, type=str)
    plain = loaded.analyze("good day", mode="fast", explain="full")
    assert loaded.analyze("good day", mode=modes.QUICK, explain=np.str_("full")) == plain
    assert loaded.analyze("good day", mode=Unhashable("fast"), explain="full") == plain


@pytest.mark.parametrize("method", ["analyze_batch", "stream", "posteriors", "embed"])
@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (type("Frame", (), {"itertuples": list, "__iter__": lambda _: iter("text")})(), "Frame; wanted its rows"),
        ("good day", "found one str; wanted an iterable of posts"),
        (b"good day", "found one bytes"),
        ({"text": "good day"}, "found one dict"),
        (Sample(text="good day"), "found one Sample"),
        (None, "NoneType, which cannot be iterated"),
        (3, "int, which cannot be iterated"),
    ],
    ids=["table", "text", "bytes", "mapping", "sample", "nothing", "number"],
)
def test_one_post_is_not_taken_for_many(loaded, method, rows, told):
    with pytest.raises(InputError, match=told):
        getattr(loaded, method)(rows)


class Nameless:
    @property
    def __class__(self):
        raise RuntimeError("no class")


def test_a_row_that_hides_its_class_is_an_error_and_the_others_go_on(loaded):
    answers = list(loaded.stream([Nameless(), (7, Nameless()), "good day"]))
    assert [type(answer) for answer in answers] == [RowError, RowError, Analysis]
    assert [answer.line for answer in answers[:2]] == [1, 7]
    with pytest.raises(InputError):
        loaded.analyze("good day", mode=Nameless())


@pytest.mark.parametrize("option", ["reasoner", "policy", "limits", "adapters", "name_or_path", "threads"])
def test_an_argument_that_hides_its_class_is_refused(option):
    with pytest.raises((InputError, ArtefactError)):
        Analyzer.from_pretrained(**{option: Nameless()})


def test_a_reasoner_that_hides_its_class_answers(tiny_model):
    class Hidden(Nameless):
        id = "hidden"

        def reason(self, samples, lora=None, *, rationale=False):
            shares = {"negative": 0.1, "neutral": 0.1, "positive": 0.8}
            return [Verdict(label="positive", probabilities=shares, reasoner=self.id) for _ in samples]

    answer = Analyzer.from_pretrained(tiny_model, reasoner=Hidden()).analyze("good day", mode="deep")
    assert answer.route.answered_by == "hidden"


def test_an_error_of_the_iterator_of_rows_is_the_caller_s(loaded):
    def rows():
        yield "good day"
        raise ZeroDivisionError

    stream = loaded.stream(rows())
    with pytest.raises(ZeroDivisionError):
        list(stream)


def test_translation_keeps_our_errors_and_names_the_others():
    with pytest.raises(ReasonerError, match="busy"), translated(EncoderError):
        raise ReasonerError("busy")
    with pytest.raises(EncoderError, match="ValueError: two lines") as caught, translated(EncoderError):
        raise ValueError("two\n lines")
    assert isinstance(caught.value.__cause__, ValueError)
    assert isinstance(caught.value, HybridError)
    assert len(cause(ValueError("x" * 10_000))) < 300
