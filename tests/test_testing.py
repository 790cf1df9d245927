"""The public parts for users' own tests are real: they answer with meaning, everywhere alike, from the light core."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hybrid_mmsa import Analyzer, InputError, Policy, ReasonerError, Sample, Verdict, testing
from hybrid_mmsa.encoders import MapEncoder
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.testing import ScriptedReasoner, TinyEncoder, example_posts, tiny_adapter


@pytest.fixture(scope="module")
def encoder():
    return TinyEncoder()


@pytest.fixture(scope="module")
def adapter(encoder):
    return tiny_adapter(encoder)


@pytest.fixture(scope="module")
def analyzer(encoder, adapter):
    return Analyzer(encoder, [adapter])


def picture(colour):
    return Image.new("RGB", (20, 30), colour)


def test_the_example_of_the_docstring_runs_from_the_light_core():
    lines = [line[4:] for line in testing.__doc__.splitlines() if line.startswith("    ")]
    assert len(lines) == 3
    program = "\n".join(
        [
            "import sys",
            *(f"sys.modules[{name!r}] = None" for name in ("torch", "scipy", "sklearn", "transformers")),
            "from hybrid_mmsa import Analyzer",
            "from hybrid_mmsa.testing import ScriptedReasoner, TinyEncoder, tiny_adapter",
            *lines,
        ]
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "colour", "label"),
    [
        ("Thanks, this is great!", None, "positive"),
        ("I hate this terrible thing", None, "negative"),
        ("The office opens on monday", None, "neutral"),
        (None, "orange", "positive"),
        (None, "darkblue", "negative"),
        ("What a happy day", "yellow", "positive"),
    ],
)
def test_the_tiny_model_answers_posts_that_it_was_not_fitted_to(analyzer, text, colour, label):
    assert analyzer.analyze(text, None if colour is None else picture(colour)).sentiment.label == label


def test_its_router_defers_what_is_unsure_sarcastic_or_in_conflict(analyzer):
    assert analyzer.analyze("a lovely day").route.decision == "keep"
    assert "low_confidence" in analyzer.analyze("good, bad").route.reasons
    assert "sarcasm" in analyzer.analyze("Great, another delay").route.reasons
    assert "conflict" in analyzer.analyze("a lovely day", picture("black")).route.reasons


def test_budgets_and_risks_can_be_asked_for(encoder, adapter):
    for policy in (Policy(kind="budget", share=0.3), Policy(kind="risk", risk=0.2)):
        posts = [post.text for post in example_posts() if post.text]
        answers = Analyzer(encoder, [adapter], policy=policy).analyze_batch([Sample(text=text) for text in posts])
        assert {answer.route.decision for answer in answers} <= {"keep", "defer"}


def test_a_tiny_adapter_is_an_adapter(encoder, adapter, tmp_path):
    adapter.save(tmp_path / "tiny")
    loaded = type(adapter).load(tmp_path / "tiny")
    posts = [read_sample(post) for post in example_posts()]
    before, after = (each.posteriors(encoder.encode(posts)) for each in (adapter, loaded))
    assert all(np.array_equal(before[task], after[task], equal_nan=True) for task in before)


def test_features_are_the_same_alone_and_in_a_batch(encoder):
    posts = [read_sample(Sample(text="A day at the sea", image=picture("gold"))), read_sample(Sample(text="rain"))]
    together, alone = encoder.encode(posts), [encoder.encode([post]) for post in posts]
    for row, features in enumerate(alone):
        assert np.array_equal(features.text_features[0], together.text_features[row])
        assert np.array_equal(features.image_features[0], together.image_features[row])
    assert together.has_image.tolist() == [True, False]
    assert together.n_tokens.tolist() == [5, 1]


def test_features_are_the_same_in_every_process(encoder):
    """Python's own hash of strings differs between processes; words must not go by it."""
    program = (
        "from hybrid_mmsa import Sample; from hybrid_mmsa.testing import TinyEncoder;"
        "print(TinyEncoder().encode([Sample(text='one two')]).text_features.nonzero()[1].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    here = encoder.encode([Sample(text="one two")]).text_features.nonzero()[1].tolist()
    assert done.stdout.strip() == str(here)


def test_picture_features_are_the_mean_of_their_map(encoder):
    assert isinstance(encoder, MapEncoder)
    left_half_black = np.zeros((40, 40, 3), np.uint8)
    left_half_black[:, 20:] = 255
    (post,) = [read_sample(Sample(image=left_half_black))]
    maps = encoder.image_maps([post])
    assert maps.shape == (1, 4, 4, 7)
    np.testing.assert_allclose(maps.mean((1, 2)), encoder.encode([post]).image_features, atol=1e-6)
    assert maps[0, :, 0, :6].max() < 0.1 < 0.9 < maps[0, :, 3, :6].min()


def test_evidence_of_words_and_regions_can_be_found(analyzer):
    explanation = analyzer.analyze("a lovely day", picture("gold"), explain="full").explanation
    assert {effect.word for effect in explanation.words} >= {"lovely"}
    assert len(explanation.heat_map) == 4


def test_a_users_own_posts_and_encoder_can_be_fitted():
    posts = [Sample(text="alpha", label="negative"), Sample(text="beta", label="positive")]
    encoder = TinyEncoder("mine")
    analyzer = Analyzer(encoder, [tiny_adapter(encoder, posts, name="own")])
    answer = analyzer.analyze("beta")
    assert (answer.sentiment.label, answer.provenance.model, answer.provenance.encoder) == ("positive", "own", "mine")
    for bad in ([], [Sample(text="no label")]):
        with pytest.raises(InputError, match="label"):
            tiny_adapter(encoder, bad)


def test_a_scripted_reasoner_answers_by_text_by_id_and_by_function(encoder, adapter):
    verdict = Verdict(label="neutral", probabilities={"negative": 0.2, "neutral": 0.6, "positive": 0.2}, reasoner="s")
    table = ScriptedReasoner({"bad day": "positive", "7": verdict}, id="table")
    analyzer = Analyzer(encoder, [adapter], reasoner=table)
    answers = analyzer.analyze_batch([Sample(text="bad day"), Sample(text="other", id="7")], mode="deep")
    assert [answer.sentiment.label for answer in answers] == ["positive", "neutral"]
    assert answers[0].route.answered_by == "table"
    by_length = ScriptedReasoner(lambda sample: "negative" if len(sample.text) > 5 else "positive")
    verdicts = by_length.reason([Sample(text="short"), Sample(text="rather long")])
    assert [each.label for each in verdicts] == ["positive", "negative"]
    assert sum(verdicts[0].probabilities.values()) == pytest.approx(1)


def test_a_scripted_reasoner_records_what_it_is_asked(encoder, adapter):
    reasoner = ScriptedReasoner(lambda sample: "neutral")
    analyzer = Analyzer(encoder, [adapter], reasoner=reasoner)
    analyzer.analyze("a lovely day")
    assert reasoner.calls == [], "a post that is kept reaches no reasoner"
    analyzer.analyze("Great, another delay", explain="full")
    analyzer.analyze("a lovely day", mode="deep", explain="none")
    assert [call.texts for call in reasoner.calls] == [["Great, another delay"], ["a lovely day"]]
    assert [(call.lora, call.rationale) for call in reasoner.calls] == [(None, True), (None, False)]


def test_a_scripted_failure_leaves_the_fast_answer(encoder, adapter):
    reasoner = ScriptedReasoner({"a lovely day": ReasonerError("time-out")})
    answer = Analyzer(encoder, [adapter], reasoner=reasoner).analyze("a lovely day", mode="deep")
    assert (answer.sentiment.label, answer.route.answered_by) == ("positive", "fast")
    assert "time-out" in " ".join(answer.warnings)
    with pytest.raises(ReasonerError, match="no answer to the post 'something else'"):
        reasoner.reason([Sample(text="something else")])
    with pytest.raises(ReasonerError, match="answers 'happy'"):
        ScriptedReasoner(lambda sample: "happy").reason([Sample(text="x")])
