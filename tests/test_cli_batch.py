"""`batch`: every row leaves one line, whatever happens; an interrupted run goes on as if nothing had been."""

import json
import os
import shutil
from itertools import islice, pairwise

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.commands.demo import SAMPLES
from hybrid_mmsa.cli.terminal.journal import Journal, beside
from hybrid_mmsa.data import Reading, read_posts
from hybrid_mmsa.engines import Call, LocalEngine, local
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.types import Analysis, Provenance, RouteDecision, RowError, Sample, prediction

GOOD = '{"id": "a", "text": "What a day!"}'
ROWS = [
    GOOD,
    '{"text": "no id of its own"}',
    "no JSON",
    '{"id": "c", "image": "cat.jpg"}',
    '{"id": "d", "image": "missing.jpg"}',
    "",
    '{"id": "e", "text": "   "}',
    '{"id": "f", "text": "So sad", "image": "cat.jpg", "target": "cat"}',
    '{"id": "g", "text": "fine", "label": "mixed"}',
]
ANSWERED = ["a", "2", "c", "f", "g"]
FAILED = [3, 5, 7]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with `posts.jsonl`, good rows and bad ones, and a picture."""
    shutil.copy(SAMPLES / "cat.jpg", tmp_path)
    (tmp_path / "posts.jsonl").write_text("\n".join(ROWS) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answers(file):
    return [Analysis.model_validate_json(line) for line in file.read_text(encoding="utf-8").splitlines()]


def same(one, other):
    """Equal answers, up to the rounding that other neighbours in a batch may bring."""
    return len(one) == len(other) and all(
        (a.id, a.sentiment.label, a.route.decision) == (b.id, b.sentiment.label, b.route.decision)
        and a.sentiment.probabilities == pytest.approx(b.sentiment.probabilities, abs=1e-4)
        for a, b in zip(one, other, strict=True)
    )


def failures(file):
    return [RowError.model_validate_json(line) for line in file.read_text(encoding="utf-8").splitlines()]


def refused(capsys, *arguments):
    assert run(["batch", *arguments]) == 2
    out, error = capsys.readouterr()
    assert (out, len(error.splitlines())) == ("", 1), error
    return error


def stop_after(monkeypatch, rows):
    """Let `batch` be interrupted when it has written some rows."""
    work = LocalEngine.answers

    def interrupted(*arguments):
        for number, answer in enumerate(work(*arguments)):
            if number == rows:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(LocalEngine, "answers", interrupted)
    return lambda: monkeypatch.setattr(LocalEngine, "answers", work)


def test_nothing_is_lost(desk, capsys):
    assert run(["batch", "posts.jsonl", "-o", "out.jsonl"]) == 1
    assert [answer.id for answer in answers(desk / "out.jsonl")] == ANSWERED
    bad = failures(desk / "out.errors.jsonl")
    assert [failure.line for failure in bad] == FAILED
    assert [failure.id for failure in bad] == [None, "d", "e"]
    out, error = capsys.readouterr()
    assert out == ""
    assert "5 answers in out.jsonl" in error
    assert "3 rows failed, listed in out.errors.jsonl" in error
    assert "line 5: image: found no file" in error
    made = {"out.jsonl", "out.errors.jsonl", "out.jsonl.journal"}
    assert {file.name for file in desk.iterdir()} == {"posts.jsonl", "cat.jpg", *made}


def test_answers_are_those_of_the_library(desk, analyzer):
    run(["batch", "posts.jsonl", "-o", "out.jsonl", "--mode", "deep", "--explain", "none", "--workers", "3"])
    expected = list(analyzer.stream(read_posts(desk / "posts.jsonl"), mode="deep", explain="none"))
    named = [row.model_copy(update={"id": row.id or "2"}) for row in expected if isinstance(row, Analysis)]
    found = answers(desk / "out.jsonl")
    assert same(found, named)
    assert all(answer.explanation is None and "requested" in answer.route.reasons for answer in found)


def test_all_well_leaves_no_errors_file(desk, capsys):
    (desk / "posts.jsonl").write_text(GOOD)
    (desk / "out.errors.jsonl").write_text("of an earlier run")
    assert run(["batch", "posts.jsonl", "-o", "out.jsonl"]) == 0
    assert not (desk / "out.errors.jsonl").exists()
    assert "failed" not in capsys.readouterr().err


def test_no_rows_are_said(desk, capsys):
    (desk / "posts.jsonl").write_text("\n")
    assert "posts.jsonl holds no posts" in refused(capsys, "posts.jsonl", "-o", "out.jsonl")
    assert not (desk / "out.jsonl").exists()


def test_csv_with_an_errors_file_of_its_own(desk):
    (desk / "posts.csv").write_text('id,text\n1,"Two\nlines"\n2\n3,fine\n')
    assert run(["batch", "posts.csv", "-o", "out.jsonl", "--errors", "bad.jsonl"]) == 1
    assert [answer.id for answer in answers(desk / "out.jsonl")] == ["1", "3"]
    assert [failure.line for failure in failures(desk / "bad.jsonl")] == [4]


@pytest.mark.parametrize("rows", range(9))
def test_an_interrupted_run_goes_on(desk, capsys, monkeypatch, rows):
    run(["batch", "posts.jsonl", "-o", "whole.jsonl"])
    go_on = stop_after(monkeypatch, rows)
    code = run(["batch", "posts.jsonl", "-o", "out.jsonl"])
    if rows < len(ROWS) - 1:  # one line is blank
        assert code == 130
        assert not (desk / "out.jsonl").exists()
        capsys.readouterr()
    go_on()
    assert run(["batch", "posts.jsonl", "-o", "out.jsonl", "--resume"]) == 1
    assert same(answers(desk / "out.jsonl"), answers(desk / "whole.jsonl"))
    assert failures(desk / "out.errors.jsonl") == failures(desk / "whole.errors.jsonl")
    assert not list(desk.glob("*.partial"))


def test_an_interrupt_tells_how_to_go_on_in_one_line(desk, capsys, monkeypatch):
    stop_after(monkeypatch, 3)
    assert run(["batch", "posts.jsonl", "-o", "out.jsonl"]) == 130
    assert capsys.readouterr().err == "stopped: 3 rows done; go on with --resume\n"


def test_an_interrupted_run_is_not_forgotten(desk, capsys, monkeypatch):
    go_on = stop_after(monkeypatch, 3)
    run(["batch", "posts.jsonl", "-o", "out.jsonl"])
    go_on()
    capsys.readouterr()
    before = (desk / "out.jsonl.partial").read_bytes()
    assert "--resume" in refused(capsys, "posts.jsonl", "-o", "out.jsonl")
    assert (desk / "out.jsonl.partial").read_bytes() == before


def test_a_line_cut_off_by_a_kill_is_done_again(desk, monkeypatch):
    run(["batch", "posts.jsonl", "-o", "whole.jsonl"])
    go_on = stop_after(monkeypatch, 4)
    run(["batch", "posts.jsonl", "-o", "out.jsonl"])
    go_on()
    partial = desk / "out.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-20])
    assert run(["batch", "posts.jsonl", "-o", "out.jsonl", "--resume"]) == 1
    assert same(answers(desk / "out.jsonl"), answers(desk / "whole.jsonl"))


def test_a_kill_between_the_two_namings_is_no_harm(desk):
    run(["batch", "posts.jsonl", "-o", "out.jsonl"])
    whole = (desk / "out.jsonl").read_bytes()
    (desk / "out.jsonl").rename(desk / "out.jsonl.partial")
    assert run(["batch", "posts.jsonl", "-o", "out.jsonl", "--resume"]) == 1
    assert (desk / "out.jsonl").read_bytes() == whole
    assert [failure.line for failure in failures(desk / "out.errors.jsonl")] == FAILED


def test_resume_answers_the_rows_added_since(desk):
    run(["batch", "posts.jsonl", "-o", "out.jsonl"])
    first = (desk / "out.jsonl").read_bytes()
    with (desk / "posts.jsonl").open("a") as file:
        file.write('{"id": "new", "text": "later"}\n')
    assert run(["batch", "posts.jsonl", "-o", "out.jsonl", "--resume"]) == 1
    assert (desk / "out.jsonl").read_bytes().startswith(first)
    assert [answer.id for answer in answers(desk / "out.jsonl")] == [*ANSWERED, "new"]
    assert [failure.line for failure in failures(desk / "out.errors.jsonl")] == FAILED


@pytest.mark.parametrize("change", [["{}"], ['{"id": "other", "text": "x"}', *ROWS], ROWS[:2]])
def test_resume_over_other_rows_is_refused(desk, capsys, change):
    run(["batch", "posts.jsonl", "-o", "out.jsonl"])
    capsys.readouterr()
    before = (desk / "out.jsonl").read_bytes()
    (desk / "posts.jsonl").write_text("\n".join(change))
    assert "start anew" in refused(capsys, "posts.jsonl", "-o", "out.jsonl", "--resume")
    assert (desk / "out.jsonl").read_bytes() == before


def test_resume_with_another_model_is_refused(desk, capsys):
    run(["batch", "posts.jsonl", "-o", "out.jsonl"])
    whole = (desk / "out.jsonl").read_bytes()
    capsys.readouterr()
    for options, word in ((["--model", "memes"], "of model"), (["--mode", "deep"], "of mode auto, this is deep")):
        assert word in refused(capsys, "posts.jsonl", "-o", "out.jsonl", "--resume", *options)
    assert (desk / "out.jsonl").read_bytes() == whole


def test_resume_over_what_is_no_list_of_answers_is_refused(desk, capsys):
    (desk / "out.jsonl").write_text("a text of mine\n")
    assert "earlier run" in refused(capsys, "posts.jsonl", "-o", "out.jsonl", "--resume")
    assert (desk / "out.jsonl").read_text() == "a text of mine\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-such.jsonl", "-o", "out.jsonl"], "no-such.jsonl"),
        (["cat.jpg", "-o", "out.jsonl"], "is not text; wanted JSON lines"),
        (["posts.jsonl", "-o", "posts.jsonl"], "different files"),
        (["posts.jsonl", "-o", "out.jsonl", "--errors", "out.jsonl"], "different files"),
        (["posts.jsonl", "-o", "out.jsonl", "--errors", "out.jsonl.partial"], "different files"),
        (["posts.jsonl", "-o", "out.jsonl", "--queue", "out.jsonl.journal"], "different files"),
        (["posts.jsonl", "-o", "out.doc"], "out.doc; wanted a name that ends in one of .jsonl"),
        (["posts.jsonl", "-o", "no-such/out.jsonl"], "no-such"),
        (["posts.jsonl", "-o", "."], "folder"),
        (["posts.jsonl", "-o", os.devnull], "device"),
        (["posts.jsonl"], "--out"),
        (["posts.jsonl", "-o", "out.jsonl", "--workers", "0"], "--workers"),
        (["posts.jsonl", "-o", "out.jsonl", "--model", "no-such-model"], "no-such-model"),
        (["no-text.csv", "-o", "out.jsonl"], "no column is known as text or image"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_and_leaves_nothing(desk, capsys, arguments, told):
    (desk / "no-text.csv").write_text("id,words\n1,fine\n")
    before = {file.name: file.read_bytes() for file in desk.iterdir()}
    assert told in refused(capsys, *arguments)
    assert {file.name: file.read_bytes() for file in desk.iterdir()} == before


def test_workers_keep_the_order(analyzer):
    rows = [(line, Sample(text=f"post number {line}", id=str(line))) for line in range(1, 200)]
    given_ = LocalEngine(analyzer, Call(explain="none"), 4).answers(iter(rows))
    assert [answer.id for answer in given_] == [sample.id for _, sample in rows]


def test_rows_are_read_only_a_little_ahead(analyzer):
    """A file of any length is answered in bounded memory."""
    ahead = []

    def rows():
        for line in range(1, 3000):
            ahead.append(line)
            yield line, Sample(text="x", id=str(line))

    stream = LocalEngine(analyzer, Call(mode="fast", explain="none"), 2).answers(rows())
    seen = [next(stream) for _ in range(10)]
    stream.close()
    assert len(seen) == 10
    assert len(ahead) <= 4 * local.CHUNK


PROVENANCE = Provenance(package="0", model="m", model_hash="0", encoder="e", encoder_hash="1")


def answer(id_):
    third = prediction(np.full(3, 1 / 3, np.float32))
    return Analysis(
        id=id_,
        sentiment=third,
        fast=third,
        route=RouteDecision(decision="keep", answered_by="fast"),
        provenance=PROVENANCE,
    )


def result(line, good):
    return answer(str(line)) if good else RowError(line=line, error="bad")


@given(good=st.lists(st.booleans(), max_size=12), data=st.data())
def test_any_cut_can_be_resumed(tmp_path_factory, good, data):
    """However much of its answers a killed run leaves on disk, no row is lost and none is answered twice."""
    folder = tmp_path_factory.mktemp("journal")
    out = folder / "out.jsonl"
    rows = [(line, Sample(text="x", id=str(line))) for line in range(1, len(good) + 1)]
    kept = data.draw(st.integers(0, len(good)))
    journal = Journal(out, beside(out))
    with journal:
        for (line, _), fine in list(zip(journal.remaining(rows), good, strict=True))[:kept]:
            journal.write(result(line, fine))
    partial = folder / "out.jsonl.partial"
    if partial.exists():
        partial.write_bytes(partial.read_bytes()[: data.draw(st.integers(0, partial.stat().st_size))])
    again = Journal(out, beside(out), resume=True)
    with again:
        for line, _ in again.remaining(rows):
            again.write(result(line, good[line - 1]))
        again.finish()
    assert [a.id for a in answers(out)] == [str(line) for (line, _), fine in zip(rows, good, strict=True) if fine]
    bad = failures(beside(out)) if beside(out).exists() else []
    assert [f.line for f in bad] == [line for (line, _), fine in zip(rows, good, strict=True) if not fine]
    assert all(one.line < next_.line for one, next_ in pairwise(bad))


@pytest.mark.parametrize("finished", [True, False])
def test_another_input_is_never_mixed_in(tmp_path, finished):
    """The ids are line numbers: only what the rows hold tells the inputs apart."""
    out = tmp_path / "out.jsonl"
    rows = [(line, Sample(text=f"post {line}", id=str(line))) for line in range(1, 7)]
    with Journal(out, beside(out)) as journal:
        for line, _ in islice(journal.remaining(rows), None if finished else 3):
            journal.write(result(line, line != 2))
        if finished:
            journal.finish()
    other = [(line, Sample(text=f"other {line}", id=str(line))) for line in range(1, 9)]
    with pytest.raises(InputError, match="start anew"), Journal(out, beside(out), resume=True) as journal:
        list(journal.remaining(other))
    with pytest.raises(InputError, match="more rows were"), Journal(out, beside(out), resume=True) as journal:
        list(journal.remaining(rows[:2]))
    with Journal(out, beside(out), resume=True) as journal:
        assert [line for line, _ in journal.remaining([*rows, *other[6:]])] == ([7, 8] if finished else [4, 5, 6, 7, 8])


def test_two_runs_at_once_are_one(tmp_path):
    out = tmp_path / "out.jsonl"
    with (
        Journal(out, beside(out)),
        pytest.raises(InputError, match="another run is writing"),
        Journal(out, beside(out), force=True),
    ):
        pass


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx", ".parquet"])
def test_answers_become_a_table_by_the_suffix(tiny_model, tmp_path, capsys, suffix):
    posts, out, lines = tmp_path / "posts.jsonl", tmp_path / f"out{suffix}", tmp_path / "out.jsonl"
    rows = [{"id": id_, "text": f"{word} monday"} for id_, word in zip(["=1+1", "@x", "c"], tiny.WORDS, strict=False)]
    posts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["batch", str(posts), "--model", str(tiny_model)]
    assert run([*command, "-o", str(lines)]) == run([*command, "-o", str(out)]) == 0
    table = [row for _, row in read_posts(out, Reading({"text": "id"})).raw_rows()]
    assert [row["label"] for row in table] == [a.sentiment.label for a in answers(lines)]
    assert [row["text"] for row in table] == ["'=1+1", "'@x", "c"] if "sv" in suffix else ["=1+1", "@x", "c"]
    assert run([*command, "-o", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert run([*command, "-o", str(out), "--force"]) == 0
    assert run([*command, "-o", str(out), "--resume"]) == 2


def test_a_dash_is_standard_output(desk, capfdbinary):
    assert run(["batch", "posts.jsonl", "-o", "-", "--explain", "none"]) == 1
    out, error = capfdbinary.readouterr()
    assert [json.loads(line)["id"] for line in out.splitlines()] == ANSWERED
    assert b"3 rows failed" in error


def test_errors_stand_beside_the_answers(tmp_path):
    assert beside(tmp_path / "answers.jsonl") == tmp_path / "answers.errors.jsonl"


def test_a_queue_holds_what_a_person_should_see_the_worst_first(tiny_model, tmp_path, capsys):
    posts, out, queue = (tmp_path / name for name in ("posts.jsonl", "answers.jsonl", "queue.jsonl"))
    posts.write_text("\n".join(json.dumps({"text": f"{word} monday"}) for word in tiny.WORDS))
    options = ["-o", str(out), "--model", str(tiny_model), "--queue", str(queue)]
    assert run(["batch", str(posts), *options, "--mode", "deep"]) == 0
    rows = [json.loads(line) for line in queue.read_text().splitlines()]
    assert len(rows) == len(tiny.WORDS)
    errors = [row["route"]["p_error"] for row in rows]
    assert errors == sorted(errors, reverse=True)
    assert run(["batch", str(posts), *options, "--mode", "fast", "--force"]) == 0
    assert queue.read_text() == ""
    assert run(["batch", str(posts), "-o", str(out), "--queue", str(out)]) == 2
    assert "different files" in capsys.readouterr().err


def test_a_policy_says_which_posts_are_for_review(tiny_model, tmp_path, capsys):
    posts, out = tmp_path / "posts.jsonl", tmp_path / "out.jsonl"
    posts.write_text(
        "\n".join(json.dumps({"text": f"{word} train"}) for word in ("so", "sad", "sun")), encoding="utf-8"
    )
    command = ["batch", str(posts), "-o", str(out), "--model", str(tiny_model)]
    for policy, reviewed in (("always", 3), ("never", 0), ("threshold:0", 3), ("budget:1", 3), ("budget:0", 0)):
        assert run([*command, "--force", "--policy", policy]) == 0
        assert sum(a.needs_review for a in answers(out)) == reviewed
    for policy in ("budget:2", "budget", "never:0.3", "risk:nan", "risk:0", "threshold:", "sometimes", ""):
        assert run([*command, "--policy", policy]) == 2
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert repr(policy) in told
        assert "possible are" in told


def test_answers_of_a_later_schema_are_not_gone_on_from(tmp_path, capsys):
    posts, out = tmp_path / "posts.jsonl", tmp_path / "answers.jsonl"
    posts.write_text('{"text": "a good day"}\n{"text": "a bad day"}\n', encoding="utf-8")
    values = json.loads(answer("1").model_dump_json()) | {"schema_version": "2.0"}
    out.with_name("answers.jsonl.partial").write_text(json.dumps(values) + "\n", encoding="utf-8")
    assert run(["batch", str(posts), "-o", str(out), "--resume"]) == 2
    assert "schema version 2.0" in capsys.readouterr().err
