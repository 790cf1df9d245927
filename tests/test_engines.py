"""Engines: batches of columns come back as batches of the same kind, and no lost process loses a post."""

import json
import os
import pickle
import sys

import numpy as np
import pandas
import pyarrow
import pytest
from deadly_encoder import DeadlyEncoder

from hybrid_mmsa import Analyzer, InputError, PostError, ReasonerError, RowError, Sample, Verdict
from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.commands.demo import SAMPLES
from hybrid_mmsa.data import ANSWER_COLUMNS, flat_answer
from hybrid_mmsa.engines import BatchAnalyzer, Call, FailureRate, LocalEngine
from hybrid_mmsa.engines.batches import rows_of
from hybrid_mmsa.engines.ray_engine import RayEngine, SharedReasoner, cluster
from hybrid_mmsa.reasoning import Account, Budget, BudgetedReasoner, RecordedReasoner, ask_about_deferred
from hybrid_mmsa.testing import ScriptedReasoner, TinyEncoder, tiny_adapter
from hybrid_mmsa.types import Analysis, RouteDecision

COLUMNS = {
    "id": [1, 2, 3, 4],
    "text": ["What a lovely day 😍", "I hate this", None, "The shop opens at nine"],
    "brand": ["a", "b", None, "a"],
}
LABELS = ["positive", "negative", None, "neutral"]
SURE = Verdict(label="negative", probabilities={"negative": 0.8, "neutral": 0.1, "positive": 0.1}, reasoner="vlm")
DEFER = RouteDecision(decision="defer", answered_by="fast", p_error=0.5)


def labels(batch):
    return [row["label"] if row["label"] == row["label"] else None for row in rows_of(batch)]


@pytest.fixture(scope="module")
def answering():
    return BatchAnalyzer(keep=("brand",))


@pytest.mark.parametrize(
    "batch",
    [
        pyarrow.table(COLUMNS),
        pyarrow.table(COLUMNS).to_batches()[0],
        pyarrow.table(COLUMNS).to_struct_array(),
        pandas.DataFrame(COLUMNS),
        {name: np.array(values, dtype=object) for name, values in COLUMNS.items()},
        COLUMNS,
    ],
    ids=["arrow table", "record batch", "structs", "pandas", "numpy", "lists"],
)
def test_a_batch_of_answers_is_of_the_kind_of_its_posts(answering, batch):
    answers = answering(batch)
    assert isinstance(answers, dict if isinstance(batch, dict) else type(batch) if hasattr(batch, "schema") else object)
    assert hasattr(answers, "iloc") == hasattr(batch, "iloc")
    assert labels(answers) == LABELS
    rows = rows_of(answers)
    assert list(rows[0]) == ["brand", *ANSWER_COLUMNS, "error"]
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0]["brand"] == "a"
    assert "neither text nor image" in rows[2]["error"]
    assert rows[0]["error"] is None or rows[0]["error"] != rows[0]["error"]


def test_iterators_are_answered_one_batch_at_a_time(answering):
    """As Spark's mapInPandas and mapInArrow call it."""
    taken = []

    def batches():
        for name in ("first", "second"):
            taken.append(name)
            yield pandas.DataFrame(COLUMNS)

    answers = answering(batches())
    assert taken == []
    assert labels(next(answers)) == LABELS
    assert taken == ["first"]


def test_settings_travel_cheaply_and_open_the_model_once():
    settings = BatchAnalyzer(columns={"text": "title+body"}, policy="never")
    sent = pickle.dumps(settings)
    assert len(sent) < 2000
    assert pickle.loads(sent) == settings
    assert hash(pickle.loads(sent)) == hash(settings)


def test_answers_are_those_of_the_library(analyzer):
    posts = {"id": ["a"], "title": ["Lovely"], "body": ["and so kind"]}
    flat = BatchAnalyzer(columns={"text": "title+body"}, whole=True)(posts)
    whole = Analysis.model_validate_json(flat["answer"][0])
    (expected,) = analyzer.analyze_batch([Sample(id="a", text="Lovely. and so kind")], explain="none")
    assert whole.sentiment.probabilities == pytest.approx(expected.sentiment.probabilities, abs=1e-4)
    for name, value in flat_answer(whole).items():
        assert flat[name][0] == value or value is None


def test_pictures_come_as_bytes_and_by_path_only_below_a_root():
    cat = (SAMPLES / "cat.jpg").read_bytes()
    batch = pyarrow.table({"image": [cat, cat]})
    assert labels(BatchAnalyzer()(batch)) == labels(BatchAnalyzer()(batch))
    paths = {"image": [str(SAMPLES / "cat.jpg"), "cat.jpg", "../secret.jpg", "https://example.org/cat.jpg"]}
    refused = BatchAnalyzer()(paths)["error"]
    assert all("image: " in error for error in refused)
    below = BatchAnalyzer(image_root=SAMPLES)(paths)
    assert [label is not None for label in below["label"]] == [True, True, False, False]
    assert "leaves the folder" in below["error"][2]


@pytest.mark.parametrize("batch", [3, "text", {"id": [1, 2], "text": ["a"]}])
def test_what_is_no_batch_is_said(answering, batch):
    with pytest.raises(InputError, match="batch"):
        answering(batch)


def test_a_column_to_keep_must_be_there(answering):
    with pytest.raises(InputError, match="no column 'brand'"):
        answering({"text": ["fine"]})


def test_columns_for_spark_and_arrow():
    settings = BatchAnalyzer(keep=("id",), whole=True)
    assert settings.schema.names == [*[name for name in ANSWER_COLUMNS if name != "id"], "answer", "error"]
    assert settings.ddl.startswith("label string, confidence double")
    assert "needs_review boolean" in settings.ddl


def test_failures_stop_a_run_when_they_are_surely_too_many():
    rate = FailureRate(0.1)
    for _ in range(3):
        rate.count(5, 5)  # too few rows to say
    with pytest.raises(InputError, match=r"20 of 20 rows failed, and 10\.00% may"):
        rate.count(5, 5)
    lucky = FailureRate(0.1)
    lucky.count(100, 12)  # more than may, but perhaps by chance
    with pytest.raises(InputError, match="12 of 100"):
        lucky.check()
    FailureRate(None).count(100, 100)
    with pytest.raises(InputError, match="share"):
        FailureRate(1.5)


def test_a_batch_analyzer_stops_as_well():
    settings = BatchAnalyzer(max_failure_rate=0.5, policy="never")
    with pytest.raises(InputError, match="rows failed"):
        settings({"text": [None] * 40})


def test_a_budget_stops_questions_and_not_answers():
    """All that are asked about are paid for; the others keep their fast answers and say why."""
    encoder = TinyEncoder()
    account = Account(Budget(max_cost=3, cost=0.5))
    reasoner = BudgetedReasoner(ScriptedReasoner(lambda _: "negative"), account)
    analyzer = Analyzer(encoder, [tiny_adapter(encoder)], reasoner=reasoner)
    posts = [f"post number {n}" for n in range(10)]
    answers = analyzer.analyze_batch(posts, mode="deep")
    asked = [answer for answer in answers if answer.verdict is not None]
    assert (len(asked), account.spent) == (6, 3.0)
    assert all(any("budget of 3 is spent" in warning for warning in a.warnings) for a in answers[6:])
    assert all(answer.needs_review for answer in answers[6:])


@pytest.mark.parametrize("most", [2, 3])
def test_what_cannot_be_answered_is_not_paid_for(most):
    account = Account(Budget(max_cost=most))
    reasoner = BudgetedReasoner(RecordedReasoner({"b": SURE, "c": SURE}), account)
    posts = [Sample(text="x", id=id_) for id_ in "abc"]
    answers = ask_about_deferred(reasoner, posts, [DEFER] * 3)
    assert (sorted(answers.by_row), account.spent) == ([1, 2], 2)
    assert "no verdict is recorded" in answers.warnings[0][0]


def test_time_for_questions_ends():
    reasoner = BudgetedReasoner(ScriptedReasoner(lambda _: "negative"), Account(Budget(max_seconds=0)))
    with pytest.raises(ReasonerError, match="time of 0 s is over"):
        reasoner.reason([Sample(text="x")])
    with pytest.raises(InputError, match="max_cost"):
        Budget(max_cost=-1)


# One small cluster for all that follows: two processes that answer with a tiny model.


@pytest.fixture(scope="module")
def two_workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # where the processes find `deadly_encoder`
        with cluster(2):
            yield


def numbered(texts):
    return [(line, Sample(text=text, id=str(line))) for line, text in enumerate(texts, 1)]


def test_a_lost_worker_loses_no_post_and_a_deadly_post_costs_one_row(two_workers, tmp_path):
    texts = [*[f"a lovely day number {n}" for n in range(32)], "kill me once", "fine", "poison", ""]
    rows = numbered(texts)
    deadly = DeadlyEncoder(tmp_path)
    analyzer = Analyzer(deadly, [tiny_adapter(deadly)])
    answers = list(RayEngine(analyzer, Call(explain="none"), 2).answers(rows))
    assert (tmp_path / "killed once").exists()
    assert [answer.id for answer in answers] == [sample.id for _, sample in rows]
    failed = {answer.id: answer.error for answer in answers if isinstance(answer, RowError)}
    assert failed.keys() == {"35", "36"}
    assert "a worker was lost over this post" in failed["35"]
    encoder = TinyEncoder()
    here = LocalEngine(Analyzer(encoder, [tiny_adapter(encoder)]), Call(explain="none"), 1)
    expected = {a.id: a.sentiment for a in here.answers(rows) if isinstance(a, Analysis)}
    found = {answer.id: answer.sentiment for answer in answers if isinstance(answer, Analysis)}
    assert {id_: expected[id_].label for id_ in found} == {id_: found[id_].label for id_ in found}


def test_all_workers_share_a_reasoner_and_its_budget(two_workers):
    encoder = TinyEncoder()
    script = {f"post number {n}": "negative" for n in range(80)}
    shared = SharedReasoner.start(ScriptedReasoner(script), Budget(max_cost=50))
    analyzer = Analyzer(encoder, [tiny_adapter(encoder)], reasoner=shared)
    answers = list(RayEngine(analyzer, Call(mode="deep", explain="none"), 2).answers(numbered(script)))
    asked = sum(answer.verdict is not None for answer in answers)
    assert asked == shared.spent
    assert 0 < asked <= 50
    assert sum("budget of 50 is spent" in " ".join(answer.warnings) for answer in answers) == 80 - asked


def test_what_a_shared_reasoner_cannot_answer_is_not_paid_for(two_workers):
    shared = SharedReasoner.start(RecordedReasoner({"b": SURE}), Budget(max_cost=50))
    with pytest.raises(PostError, match=r"^no verdict is recorded for 1 posts, such as id 'a'$"):
        shared.reason([Sample(text="x", id=id_) for id_ in "ab"])
    assert shared.spent == 0
    assert shared.reason([Sample(text="x", id="b")]) == [SURE]
    assert shared.spent == 1


def test_batch_on_a_cluster_answers_as_here(two_workers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"p{n}", "text": text} for n, text in enumerate(["What a day 😍", "I hate it", "", "Shop hours"])]
    (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    common = ["batch", "posts.jsonl", "--explain", "none"]
    assert run([*common, "-o", "here.jsonl"]) == 1
    assert run([*common, "-o", "there.jsonl", "--engine", "ray", "--workers", "1"]) == 1
    for ending in ("jsonl", "errors.jsonl"):
        here, there = (tmp_path.joinpath(f"{name}.{ending}").read_text() for name in ("here", "there"))
        drop = ["timings"]
        assert [{k: v for k, v in json.loads(line).items() if k not in drop} for line in here.splitlines()] == [
            {k: v for k, v in json.loads(line).items() if k not in drop} for line in there.splitlines()
        ]
    assert run([*common, "-o", "there.jsonl", "--resume"]) == 1  # a run may go on elsewhere


def test_too_many_failures_stop_a_batch_that_can_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"p{n}", "text": "" if n < 30 else "fine"} for n in range(40)]
    (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    common = ["batch", "posts.jsonl", "-o", "out.jsonl", "--explain", "none"]
    assert run([*common, "--max-failure-rate", "0.2"]) == 2
    assert "rows failed, and 20.00% may" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
    assert run([*common, "--resume"]) == 1
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 10
