"""Documents execute: README's Python runs, its commands parse, and examples in docstrings give what they say."""

import doctest
import importlib
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "hybrid_mmsa" / "samples"
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "WEIGHTS_LICENSE.md"]
EXAMPLES = [
    str(file.relative_to(ROOT).with_suffix("")).replace("/", ".")
    for file in sorted((ROOT / "hybrid_mmsa").rglob("*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]
FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = {"bash", "console", "sh", "shell"}


def blocks(document, languages):
    text = (ROOT / document).read_text(encoding="utf-8")
    return [found["body"] for found in FENCE.finditer(text) if found["language"] in languages]


def commands(document):
    """Shell lines as words: prompts, comments and what a command printed left out, continued lines joined."""
    for body in blocks(document, SHELL):
        lines = body.replace("\\\n", " ").splitlines()
        prompted = [line[2:] for line in lines if line.startswith("$ ")]
        for line in prompted or lines:
            if words := shlex.split(line, comments=True):
                yield words


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder as a reader of the README has it: the sample posts, one `photo.jpg`, one `posts.jsonl`."""
    shutil.copytree(SAMPLES, tmp_path, dirs_exist_ok=True)
    if not (tmp_path / "photo.jpg").exists():
        shutil.copy(sorted(SAMPLES.rglob("*.jpg"))[0], tmp_path / "photo.jpg")
    if not (tmp_path / "posts.jsonl").exists():
        shutil.copy(sorted(SAMPLES.rglob("*.jsonl"))[0], tmp_path / "posts.jsonl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("desk")
def test_readme_python_runs():
    """The blocks run in the order they are read, each seeing what came before."""
    names = {"__name__": "__main__"}
    for number, body in enumerate(blocks("README.md", {"python"}), 1):
        exec(compile(body, f"README.md, Python block {number}", "exec"), names)
    assert "analyze" in names


def check_command(words):
    from hybrid_mmsa.cli import app

    command, rest = typer.main.get_command(app), words[1:]
    while hasattr(command, "commands"):
        assert rest, f"a command is missing after: {' '.join(words)}"
        assert rest[0] in command.commands, f"no command {rest[0]!r} in: {' '.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    if "--help" not in rest:
        command.make_context(words[0], list(rest))


def check_words(words):
    if words[0] == "hybrid-mmsa":
        check_command(words)
    elif words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(word for word in words[1:] if "=" not in word) <= set(targets)
    elif "install" in words:
        declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for extras in re.findall(r"hybrid-mmsa\[([\w,]+)\]", " ".join(words)):
            assert set(extras.split(",")) <= set(declared["optional-dependencies"])
    elif words[0].endswith("python") and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file()


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document):
    """Each `hybrid-mmsa` line parses with its options, each make target, extra and program exists."""
    for words in commands(document):
        check_words(words)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (ROOT / link).exists()] == []


@pytest.mark.usefixtures("desk")
def test_docstring_examples_hold():
    """Every `>>>` in the package gives what it says."""
    results = {name: doctest.testmod(importlib.import_module(name.removesuffix(".__init__"))) for name in EXAMPLES}
    assert {name: result for name, result in results.items() if result.failed or not result.attempted} == {}
