"""`--json` of the commands that write files: one object with what was written, and counts that add up."""

import json
from pathlib import Path

import pytest

from hybrid_mmsa.cli import run

ROWS = [
    {"id": "a", "text": "What a day!"},
    {"id": "b", "text": "   "},
    {"id": "c", "text": "So sad", "label": "negative"},
]
COMMANDS = {
    "batch": ["batch", "posts.jsonl", "-o", "answers.csv"],
    "batch with a queue": [
        "batch",
        "posts.jsonl",
        "-o",
        "queued.jsonl",
        "--queue",
        "queue.jsonl",
        "--policy",
        "always",
    ],
    "embed": ["embed", "posts.jsonl", "-o", "vectors.safetensors"],
    "explain page": ["explain", "page", "posts.jsonl", "-o", "page.html", "--explain", "modality"],
    "review export": ["review", "export", "answers.jsonl", "--posts", "posts.jsonl", "-o", "tasks.json", "--all"],
    "review import": ["review", "import", "posts.jsonl", "-o", "labelled.jsonl"],
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    (folder / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert run(["batch", str(folder / "posts.jsonl"), "-o", str(folder / "answers.jsonl")]) == 1
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_tells_programs_what_it_wrote(name, desk, monkeypatch, capsysbinary):
    monkeypatch.chdir(desk)
    code = run([*COMMANDS[name], "--json"])
    (line,) = capsysbinary.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["written"][0] == COMMANDS[name][COMMANDS[name].index("-o") + 1]
    assert all(Path(file).stat().st_size for file in told["written"])
    assert told["posts"] + told.get("failed", 0) + told.get("unlabelled", 0) == (2 if "export" in name else len(ROWS))
    assert code == (1 if told.get("failed") else 0)


def test_people_are_told_on_standard_error_alone(desk, monkeypatch, capsysbinary):
    monkeypatch.chdir(desk)
    run(["batch", "posts.jsonl", "-o", "told.jsonl", "--queue", "queue.jsonl", "--policy", "always", "--force"])
    told = capsysbinary.readouterr()
    assert told.out == b""
    assert b"2 answers in told.jsonl" in told.err
    assert b"2 answers to review in queue.jsonl" in told.err


def test_answers_on_standard_output_leave_no_room_for_a_summary(desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    assert run(["batch", "posts.jsonl", "-o", "-", "--json"]) == 2
    assert "--json need a file of answers" in capsys.readouterr().err
