"""How an analyzer is opened, called, closed and moved: rows of every kind, adapters by name, cache, processes."""

import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import tiny

import hybrid_mmsa
from hybrid_mmsa import (
    Analysis,
    Analyzer,
    ArtefactError,
    CachedEncoder,
    ClosedError,
    InputError,
    Policy,
    ReasonerConfig,
    RowError,
    Sample,
    Verdict,
)
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.encoders import CompactEncoder
from hybrid_mmsa.model import open_model
from hybrid_mmsa.pooling import Pooling, VerdictWeights
from hybrid_mmsa.reasoning import RecordedReasoner
from hybrid_mmsa.types import POST_KINDS

WORDS = "we love the sun and the sea"
VERDICT = Verdict(label="negative", probabilities={"negative": 0.8, "neutral": 0.1, "positive": 0.1}, reasoner="wise")


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return Analyzer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def picture():
    return tiny.pictures(1, side=40)[0]


# --- what the answer remembers ---


def with_verdict(loaded, pooling):
    """The analyzer with a reasoner that is asked about every post."""
    adapter = replace(next(iter(loaded.adapters.values())), pooling=pooling)
    reasoner = RecordedReasoner({"x": VERDICT}, "wise")
    return Analyzer(loaded.encoder, [adapter], reasoner=reasoner, policy="threshold:0")


WEIGHTS = VerdictWeights(fast_weight=0.5, verdict_weight=1.5, bias=(0.0, 0.0, 0.0))
POOLING = Pooling(reasoner="wise", adapter=None, prompt=None, kinds=dict.fromkeys(POST_KINDS, WEIGHTS))


@pytest.mark.parametrize(
    ("pooling", "mode", "use", "answered_by"),
    [
        (None, "fast", None, "fast"),
        (None, "auto", "ignored", "fast"),
        (None, "deep", "alone", "wise"),
        (POOLING, "auto", "pooled", "wise"),
        (POOLING, "deep", "pooled", "wise"),
    ],
)
def test_the_fast_answer_is_remembered_and_how_the_verdict_counts(loaded, picture, pooling, mode, use, answered_by):
    post = Sample(text=WORDS, image=picture, id="x")
    (plain,) = loaded.analyze_batch([post], mode="fast")
    (answer,) = with_verdict(loaded, pooling).analyze_batch([post], mode=mode)
    assert answer.fast == plain.sentiment
    assert (answer.route.verdict, answer.route.answered_by) == (use, answered_by)
    expected = {None: answer.fast, "ignored": answer.fast, "alone": VERDICT.prediction}
    if use == "pooled":
        values = np.array([*answer.fast.probabilities.values()], np.float32)
        assert [*answer.sentiment.probabilities.values()] == pytest.approx(WEIGHTS.posterior(values, VERDICT))
    else:
        assert answer.sentiment == expected[use]


def test_a_pooling_of_posts_without_pictures_holds_for_such_posts_alone(loaded, picture):
    words_only = with_verdict(loaded, replace(POOLING, kinds={"words": WEIGHTS}))
    words, both = words_only.analyze_batch([Sample(text=WORDS, id="x"), Sample(text=WORDS, image=picture, id="x")])
    assert words.route.verdict == "pooled"
    assert words.sentiment != words.fast
    assert both.route.verdict == "ignored"
    assert both.sentiment == both.fast
    assert any("was fitted to other kinds of posts (words)" in warning for warning in both.warnings)
    nowhere = with_verdict(loaded, replace(POOLING, kinds={"words": replace(WEIGHTS, gain_from=math.inf)}))
    words, both = nowhere.analyze_batch([Sample(text=WORDS, id="x"), Sample(text=WORDS, image=picture, id="x")])
    assert (words.route.decision, both.route.decision) == ("keep", "defer")


def test_a_picture_alone_with_a_target_is_of_one_kind_when_deferred_and_when_answered(loaded, picture):
    kinds = {"picture": WEIGHTS, "target": replace(WEIGHTS, gain_from=math.inf)}
    analyzer = with_verdict(loaded, replace(POOLING, kinds=kinds))
    shown, towards = analyzer.analyze_batch([Sample(image=picture, target=t, id="x") for t in (None, "sea")])
    assert (shown.route.decision, shown.route.verdict) == ("defer", "pooled")
    assert towards.route.decision == "keep", "asking about a target gains nothing"


def test_verdicts_of_words_alone_do_not_count_as_those_of_a_reasoner_that_looks(loaded, picture):
    """Both may bear one name: the same weights, with and without their eyes."""
    seeing = {kind: replace(WEIGHTS, gain_from=math.inf) for kind in ("words", "picture")}
    posts = [Sample(text=WORDS, id="x"), Sample(text=WORDS, image=picture, id="x")]
    analyzer = with_verdict(loaded, replace(POOLING, kinds=seeing))
    assert [answer.route.decision for answer in analyzer.analyze_batch(posts)] == ["keep", "keep"]
    analyzer.reasoner.reads_pictures = False
    words, both = analyzer.analyze_batch(posts)
    assert (words.route.decision, both.route.decision) == ("keep", "defer"), "what such a verdict gains is not known"
    assert both.verdict.unseen == ("image",)
    assert both.route.verdict == "ignored"


class Blind:
    """Is shown no pictures."""

    id = "wise"
    reads_pictures = False

    def reason(self, samples, lora=None, *, rationale=False):
        return [VERDICT] * len(samples)


@pytest.mark.parametrize("gain_from", [0.0, math.inf])
def test_recorded_verdicts_replay_the_cascade_of_the_reasoner_that_gave_them(loaded, picture, gain_from):
    weights = replace(WEIGHTS, gain_from=gain_from)
    pooling = replace(POOLING, kinds={"words": WEIGHTS, "unseen_picture": weights})
    adapter = replace(next(iter(loaded.adapters.values())), pooling=pooling)
    posts = [Sample(text=WORDS, id="words"), Sample(text=WORDS, image=picture, id="both")]
    live = Analyzer(loaded.encoder, [adapter], reasoner=Blind(), policy="threshold:0")
    said = {answer.id: answer.verdict for answer in live.analyze_batch(posts, mode="deep")}
    replayed = Analyzer(loaded.encoder, [adapter], reasoner=RecordedReasoner(said, "wise"), policy="threshold:0")
    first, again = (
        [(answer.route, answer.sentiment, answer.warnings) for answer in analyzer.analyze_batch(posts)]
        for analyzer in (live, replayed)
    )
    assert again == first
    assert [route.decision for route, *_ in first] == ["defer", "keep" if gain_from else "defer"]


def test_each_side_alone_is_remembered(loaded, picture):
    both, words, shown = (
        loaded.analyze(WORDS, picture),
        loaded.analyze(WORDS),
        loaded.analyze(image=picture),
    )
    arrays = loaded.posteriors([Sample(text=WORDS, image=picture)])
    for side, answer in (("text_alone", both.text_alone), ("image_alone", both.image_alone)):
        assert [*answer.probabilities.values()] == pytest.approx(arrays[side][0].tolist(), abs=1e-5)
    assert words.text_alone == words.fast == words.sentiment
    assert shown.image_alone == shown.fast == shown.sentiment
    assert words.image_alone is shown.text_alone is None


def test_conflict_is_computed_once_a_batch(loaded, picture, monkeypatch):
    from hybrid_mmsa import analyzer as module

    calls = []

    def counted(probabilities):
        calls.append(len(probabilities["sentiment"]))
        return conflict(probabilities)

    conflict = module.conflict
    monkeypatch.setattr(module, "conflict", counted)
    loaded.analyze_batch([Sample(text=WORDS, image=picture)] * 5)
    assert calls == [5]


# --- rows of every kind ---

Post = namedtuple("Post", "Index text target id")
KINDS = {
    "a text": WORDS,
    "a mapping": {"text": WORDS, "label": "positive", "extra": 1},
    "a sample": Sample(text=WORDS),
    "a named tuple": Post(0, WORDS, float("nan"), None),
}


@pytest.mark.parametrize("row", KINDS.values(), ids=KINDS.keys())
def test_rows_of_every_kind_have_one_answer(loaded, row):
    expected = loaded.analyze(WORDS)
    assert loaded.analyze_batch([row]) == [expected]
    assert list(loaded.stream([row])) == [expected]
    assert list(loaded.stream([(7, row)])) == [expected]


def test_the_rows_of_a_table_are_answered(loaded):

    table = pandas.DataFrame(
        {
            "id": ["a", "b", "c"],
            "text": [WORDS, None, "monday"],
            "target": ["sea", pandas.NA, pandas.NaT],
            "label": ["positive", pandas.NA, "neutral"],
        }
    )
    answers = list(loaded.stream(table.itertuples()))
    assert [type(answer) for answer in answers] == [Analysis, RowError, Analysis]
    assert [answer.id for answer in answers] == ["a", "b", "c"]
    about = loaded.analyze(WORDS, target="sea").sentiment
    assert answers[0].sentiment.confidence == pytest.approx(about.confidence, abs=1e-5)
    assert list(loaded.stream(table.itertuples(index=False))) == answers


def test_a_row_is_named_by_its_line_or_its_place(loaded):
    bad = {"text": " "}
    lines = [
        row.line for row in loaded.stream([(40, bad), bad, (0, bad), Post(9, None, None, "p"), (np.int64(8), bad)])
    ]
    assert lines == [40, 2, 1, 4, 8]


# --- adapters and policies by name ---


def test_a_bundled_adapter_is_loaded_by_the_call_that_names_it(analyzer):
    fresh = Analyzer(analyzer.encoder, [analyzer.adapters["default"]])
    assert "memes" not in fresh.adapters
    answer = fresh.analyze("when monday comes", adapter="memes")
    assert answer.provenance.model == "memes"
    assert set(fresh.adapters) == {"default", "memes"}
    assert answer == Analyzer.from_pretrained(adapters=["memes"]).analyze("when monday comes", adapter="memes")


def test_the_module_s_own_function_takes_a_bundled_adapter():
    assert hybrid_mmsa.analyze("when monday comes", adapter="memes").provenance.model == "memes"
    assert hybrid_mmsa.analyze("when monday comes").provenance.model == "default"
    with pytest.raises(InputError, match=r"no adapter 'nobody'; loaded are default.*memes"):
        hybrid_mmsa.analyze("x", adapter="nobody")


def test_a_bundled_adapter_for_another_encoder_is_refused(loaded):
    with pytest.raises(ArtefactError, match="adapter 'memes' was fitted to encoder compact"):
        loaded.analyze(WORDS, adapter="memes")
    assert "memes" not in loaded.adapters


@pytest.mark.parametrize(
    ("spelling", "policy"),
    [
        ("never", Policy(kind="never")),
        ("fitted", Policy()),
        ("budget:0.1", Policy(kind="budget", share=0.1)),
        ("risk:0.25", Policy(kind="risk", risk=0.25)),
        ("threshold:0.4", Policy(kind="threshold", p_error=0.4)),
    ],
)
def test_a_policy_is_spelt_as_on_the_command_line(tiny_model, spelling, policy):
    assert Policy.parse(spelling) == policy
    spelt, built = (Analyzer.from_pretrained(tiny_model, policy=each) for each in (spelling, policy))
    assert spelt.policy == built.policy == policy
    assert [a.route for a in spelt.analyze_batch([WORDS, "monday"])] == [
        a.route for a in built.analyze_batch([WORDS, "monday"])
    ]


@pytest.mark.parametrize("spelling", ["budget", "budget:2", "budget:many", "never:1", "mostly", "", "risk:0"])
def test_what_is_no_policy_is_refused_and_the_spellings_named(tiny_model, spelling):
    with pytest.raises(InputError, match=r"is not a policy; possible are budget:NUMBER") as caught:
        Analyzer.from_pretrained(tiny_model, policy=spelling)
    assert caught.value.field == "policy"


# --- parts that fit together stay together ---


@pytest.mark.parametrize("name", ["encoder", "adapters", "policy", "reasoner", "default"])
def test_parts_cannot_be_replaced(loaded, name):
    with pytest.raises(AttributeError):
        setattr(loaded, name, None)


def test_the_loaded_adapters_cannot_be_changed(loaded):
    with pytest.raises(TypeError):
        loaded.adapters["other"] = next(iter(loaded.adapters.values()))


def test_a_cache_encodes_equal_posts_once(tiny_model, loaded):
    cached = Analyzer.from_pretrained(tiny_model, cache=10)
    first, again = cached.analyze(WORDS), cached.analyze(WORDS)
    assert first == again == loaded.analyze(WORDS)
    assert isinstance(cached.encoder, CachedEncoder)
    assert (cached.encoder.hits, cached.encoder.misses) == (1, 1)
    cached.analyze(WORDS, explain="full")
    assert cached.encoder.misses == 1, "changed versions of a post are not remembered"
    with pytest.raises(InputError, match=r"cache: .*not 0"):
        Analyzer.from_pretrained(tiny_model, cache=0)


class Closing(RecordedReasoner):
    closed = 0

    def close(self):
        self.closed += 1


def test_a_closed_analyzer_answers_no_more(tiny_model):
    with Analyzer.from_pretrained(tiny_model) as analyzer:
        assert analyzer.analyze(WORDS)
    analyzer.close()
    calls = [
        lambda: analyzer.analyze(WORDS),
        lambda: analyzer.analyze_batch([WORDS]),
        lambda: analyzer.stream([WORDS]),
        lambda: analyzer.posteriors([WORDS]),
        lambda: analyzer.embed([WORDS]),
        lambda: pickle.dumps(analyzer),
    ]
    for call in calls:
        with pytest.raises(ClosedError, match="from_pretrained"):
            call()
    with pytest.raises(ClosedError), analyzer:
        pass


def test_a_stream_ends_where_its_analyzer_is_closed(tiny_model):
    analyzer = Analyzer.from_pretrained(tiny_model)
    answers = analyzer.stream([WORDS] * 100)
    assert next(answers).sentiment
    analyzer.close()
    with pytest.raises(ClosedError):
        list(answers)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"policy": 0.1}, "policy"),
        ({"policy": b"budget:0.1"}, "policy"),
        ({"cache": "3"}, "cache"),
        ({"cache": True}, "cache"),
        ({"threads": 0}, "threads"),
        ({"threads": "2"}, "threads"),
        ({"adapters": "memes"}, "adapters"),
        ({"adapters": None}, "adapters"),
    ],
    ids=str,
)
def test_an_option_of_another_kind_is_refused_when_a_model_is_opened(tiny_model, options, field):
    with pytest.raises(InputError) as caught:
        Analyzer.from_pretrained(tiny_model, **options)
    assert caught.value.field == field


@pytest.mark.parametrize("name", [None, 3, b"default", "x" * 5000], ids=["nothing", "number", "bytes", "a long name"])
def test_a_name_that_no_folder_can_have_is_an_error_of_the_artefact(name):
    with pytest.raises(ArtefactError, match="no adapter has such a name or path"):
        Analyzer.from_pretrained(name)


def test_what_was_opened_is_closed_and_what_was_handed_over_is_not(tiny_model, monkeypatch):
    reasoner = Closing({"x": VERDICT}, "wise")
    with Analyzer.from_pretrained(tiny_model, reasoner=reasoner):
        pass
    assert reasoner.closed == 0
    monkeypatch.setattr("hybrid_mmsa.model.open_reasoner", lambda source: reasoner)
    with Analyzer.from_pretrained(tiny_model, reasoner="named") as analyzer:
        pass
    analyzer.close()
    assert reasoner.closed == 1, "once, however often it is closed"


# --- other processes ---


def test_an_analyzer_is_opened_again_from_its_folder(tiny_model, monkeypatch, tmp_path):
    verdicts = tmp_path / "known.jsonl"
    verdicts.write_text(VERDICT.model_dump_json()[:-1] + ', "id": "x"}\n', encoding="utf-8")
    monkeypatch.chdir(tiny_model.parent)
    analyzer = Analyzer.from_pretrained(
        tiny_model.name, reasoner=Path(os.path.relpath(verdicts)), policy="always", cache=5, threads=2
    )
    written = pickle.dumps(analyzer)
    monkeypatch.chdir("/")
    again = pickle.loads(written)
    post = Sample(text=WORDS, id="x")
    assert again.analyze_batch([post], mode="deep") == analyzer.analyze_batch([post], mode="deep")
    assert (again.policy, again.reasoner.id, again.encoder.size) == (Policy(kind="always"), "wise", 5)
    assert len(written) < 2000, "names travel and no weights"


def test_an_analyzer_answers_in_a_spawned_process(tiny_model, loaded):
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as pool:
        assert pool.submit(Analyzer.analyze, loaded, WORDS).result(timeout=300) == loaded.analyze(WORDS)


def test_an_analyzer_of_open_parts_travels_where_they_can(loaded, tiny_model):
    model = open_model(tiny_model)
    built = Analyzer(model.encoder, [model.adapter], reasoner=RecordedReasoner({"x": VERDICT}), policy="always")
    again = pickle.loads(pickle.dumps(built))
    post = Sample(text=WORDS, id="x")
    assert again.analyze_batch([post], mode="deep") == built.analyze_batch([post], mode="deep")


class Bound(RecordedReasoner):
    """Holds something that no other process could have."""

    def __init__(self):
        super().__init__({"x": VERDICT})
        self.lock = threading.Lock()


@pytest.mark.parametrize("how", ["from_pretrained", "parts"])
def test_a_live_part_that_cannot_travel_is_named(loaded, tiny_model, how):
    model, reasoner = open_model(tiny_model), Bound()
    if how == "parts":
        analyzer = Analyzer(model.encoder, [model.adapter], reasoner=reasoner)
    else:
        analyzer = Analyzer.from_pretrained(tiny_model, reasoner=reasoner)
    with pytest.raises(InputError, match=r"reasoner: .*live object that cannot be pickled.*from_pretrained"):
        pickle.dumps(analyzer)


def test_a_configured_reasoner_travels_as_its_configuration(tiny_model):
    config = ReasonerConfig(backend="openai_server", model="wise", url="http://127.0.0.1:9/v1")
    with Analyzer.from_pretrained(tiny_model, reasoner=config) as analyzer:
        again = pickle.loads(pickle.dumps(analyzer))
        assert again.reasoner.id == "wise"
        again.close()


def test_encoders_travel_without_their_sessions(tiny_model):
    encoder = CompactEncoder(tiny_model / "towers", threads=2, name="compact:towers")
    again = pickle.loads(pickle.dumps(CachedEncoder(encoder, 3)))
    assert (again.name, again.hash, again.size) == (encoder.name, encoder.hash, 3)


# --- one way to open a model ---


def test_a_model_is_opened_with_the_encoder_it_was_fitted_to(tiny_model, tmp_path):
    model = open_model(tiny_model)
    assert (model.folder, model.adapter.name, model.encoder.hash) == (tiny_model, "tiny", model.adapter.encoder_hash)
    tiny.adapter(encoder="compact", name="stranger").save(tmp_path / "stranger")
    with pytest.raises(ArtefactError, match="stranger"):
        open_model(tmp_path / "stranger")


def test_nobody_opens_a_model_in_a_way_of_their_own():
    """`open_model` resolves, loads, opens and checks; who opens an adapter's encoder by itself skips the check."""
    root = Path(hybrid_mmsa.__file__).parent.parent
    files = [file for part in ("hybrid_mmsa", "eval") for file in (root / part).rglob("*.py")]
    found = [str(file) for file in files if "open_encoder(adapter.encoder" in file.read_text(encoding="utf-8")]
    assert found == [str(root / "hybrid_mmsa" / "model.py")]


def test_importing_and_analysing_needs_no_name_from_inside_the_package(tiny_model):
    """Every type inside an answer is had at the top."""
    inside = {type(value).__name__ for value in vars(Analyzer.from_pretrained(tiny_model).analyze(WORDS)).values()}
    ours = {name for name in inside if hasattr(hybrid_mmsa.types, name) and name[0].isupper()} - {"FrozenDict"}
    assert ours <= set(hybrid_mmsa.__all__)


def test_readiness_is_part_of_an_adapter(tmp_path):
    made = tiny.adapter()
    assert made.ready
    replace(made, ready=False).save(tmp_path / "unready")
    assert not Adapter.load(tmp_path / "unready").ready
    replace(made, made_with={"ready": False}).save(tmp_path / "of old")
    assert not Adapter.load(tmp_path / "of old").ready


def test_errors_go_through_pickle():
    for error in (
        InputError("bad", field="text", index=3),
        hybrid_mmsa.MissingExtraError("a thing", "vlm"),
        hybrid_mmsa.EncoderError("failed", index=2),
        hybrid_mmsa.PluginError("broken", package="other 1.0"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), vars(again)) == (str(error), vars(error))


def test_the_example_of_a_script_works_under_spawn(tiny_model, tmp_path):
    """What a user's script does: one analyzer, opened again in each worker."""
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "from hybrid_mmsa import Analyzer\n"
        "def main():\n"
        "    with Analyzer.from_pretrained(sys.argv[1]) as analyzer:\n"
        "        with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "            print([a.sentiment.label for a in pool.map(analyzer.analyze, ['good day', 'bad day'])])\n"
        "if __name__ == '__main__':\n"
        "    main()\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script), str(tiny_model)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'") == 4
