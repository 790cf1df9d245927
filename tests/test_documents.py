"""Documents execute and are true: blocks run, links lead somewhere, figures are those of committed records."""

import doctest
import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import documents
import pytest
from documents import LIVING, ROOT
from tiny_words import store_with_smol

from hybrid_mmsa import Analysis

README, DOCS = ROOT / "README.md", ROOT / "docs"
FIGURE = re.compile(r"\d+\.\d \[\d+\.\d, \d+\.\d\]")
CARD_FIGURE = re.compile(r"\+(0\.\d{3}) \(\+(0\.\d{3}) to \+(0\.\d{3})\)")
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
EXAMPLES = [
    str(file.relative_to(ROOT).with_suffix("")).replace("/", ".")
    for file in sorted((ROOT / "hybrid_mmsa").rglob("*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]
LARGEST = {"README.md": 10_000, "CONTRIBUTING.md": 9_000}


def name(document):
    return document.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    """A reader's folder without and with own files, to be copied for each document."""
    folders = {}
    for own_files in (False, True):
        folders[own_files] = tmp_path_factory.mktemp("desk")
        documents.lay_out(folders[own_files], own_files=own_files)
    return folders


@pytest.fixture(scope="module")
def home(trained_vlm, tmp_path_factory):
    """A reader's model store, with `smol` pulled."""
    return store_with_smol(trained_vlm, tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("document", LIVING, ids=name)
def test_blocks_run_in_reading_order(document, desks, home, tmp_path, monkeypatch):
    """Someone who follows the document in a folder of their own meets no error and reads what stands there."""
    desk = shutil.copytree(desks[document != README], tmp_path / "desk", symlinks=True)
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HYBRID_MMSA_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    follow(document)


STALE = {
    "a command that is gone": "```console\n$ hybrid-mmsa frobnicate\n```",
    "an option that is gone": "```console no-run: needs a GPU\n$ hybrid-mmsa analyze hello --frobnicate\n```",
    "a mark without a reason": "```console no-run\n$ hybrid-mmsa --help\n```",
    "an extra that is gone": "```console no-run: downloads\n$ pip install 'hybrid-mmsa[frobnicate]'\n```",
    "an unknown program": "```console no-run: is unknown\n$ frobnicate\n```",
    "a program that must not run": "```console\n$ pip install hybrid-mmsa\n```",
    "another output": "```console\n$ hybrid-mmsa --version\nfrobnicate 0.1\n```",
    "a name that is gone": "```python no-run: is long\nfrom hybrid_mmsa import frobnicate\n```",
    "another number": "```python\nprint(0.5)\n```\n```text output\n0.9\n```",
    "data that cannot be read": "```toml\nfrobnicate\n```",
    "a command that hides": "```text\n$ hybrid-mmsa --help\n```",
    "an unknown language": "```yaml\na: 1\n```",
}


@pytest.mark.parametrize("stale", STALE.values(), ids=STALE)
def test_a_stale_block_is_found(stale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = tmp_path / "page.md"
    document.write_text(stale + "\n", encoding="utf-8")
    with pytest.raises((AssertionError, ValueError)):
        follow(document)


def follow(document):
    reader = documents.Reader()
    for block in documents.blocks(document):
        reader.follow(block)


@pytest.mark.parametrize("document", LIVING, ids=name)
def test_what_the_text_names_exists(document):
    """Commands, make targets, extras and paths in `code` are there."""
    for code in CODE.findall(documents.prose(document)):
        if re.match(r"hybrid-mmsa (?!COMMAND)", code):
            check_mention(shlex.split(code), f"{name(document)}: {code}")
        elif code.startswith(("make ", "python ", "pip ")):
            documents.check_command(shlex.split(code), f"{name(document)}: {code}")
        elif re.match(r"(hybrid_mmsa|eval|tests|docs|requirements|\.ci|\.github)/[\w./-]*$", code):
            assert (ROOT / code).exists(), f"{name(document)}: no {code}"


def check_mention(words, where):
    """`hybrid-mmsa eval run --model`: a command and options of it, perhaps without what they need."""
    import typer

    from hybrid_mmsa.cli import app

    command, rest = typer.main.get_command(app), words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"{where}: no command {rest[0]!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in rest if word.startswith("-") and len(word) > 1} <= options | {"--help", "-h"}, where


@pytest.mark.parametrize("document", LIVING, ids=name)
def test_links_lead_somewhere(document):
    """To a file, and to a heading of it."""
    for link in LINK.findall(documents.prose(document)):
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{name(document)}: {link}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", documents.prose(file), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, f"{name(document)}: {link}"


def test_every_page_is_in_the_index():
    index = {link.split("#")[0] for link in LINK.findall((DOCS / "README.md").read_text(encoding="utf-8"))}
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= index


@pytest.mark.parametrize("document", LARGEST)
def test_what_one_reads_first_is_short(document):
    assert len((ROOT / document).read_bytes()) <= LARGEST[document]


def test_the_quickstart_explains_every_field_and_extra():
    page = (DOCS / "quickstart.md").read_text(encoding="utf-8")
    assert {field for field in Analysis.model_fields if f"`{field}`" not in page} == set()
    assert {extra for extra in documents.extras() if f"`{extra}`" not in page} == set()
    core = [re.split(r"[>=]", wanted)[0] for wanted in documents.project()["dependencies"]]
    assert [package for package in core if package not in page.lower().replace("onnx runtime", "onnxruntime")] == []


def test_the_command_line_page_names_every_command():
    import typer

    from hybrid_mmsa.cli import app

    def commands(command, words):
        if not hasattr(command, "commands"):
            return [" ".join(words)]
        return [line for word, child in command.commands.items() for line in commands(child, [*words, word])]

    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert [line for line in commands(typer.main.get_command(app), []) if f"`{line}`" not in page] == []


def test_contributing_names_every_room():
    """The rooms of the package, and the sub-rooms of those that have some."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    package = ROOT / "hybrid_mmsa"
    modules = [path for path in package.iterdir() if path.suffix == ".py" and not path.name.startswith("_")]
    rooms = [path.parent for path in package.glob("*/__init__.py")]
    subrooms = [
        path.parent for room in ("training", "reasoning", "cli") for path in package.glob(f"{room}/*/__init__.py")
    ]
    names = {path.stem for path in (*modules, *rooms, *subrooms)}
    assert {room for room in names if f"`{room}`" not in text} == set()


def test_the_map_gives_each_file_one_sentence():
    command = [sys.executable, str(ROOT / ".ci" / "filemap")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    sentences = dict(line.split(": ", 1) for line in lines)
    assert sorted(sentences) == sorted(name(file) for file in (ROOT / "hybrid_mmsa").rglob("*.py"))
    assert [line for line in lines if not line.endswith((".", "?", ":"))] == []


@pytest.fixture
def samples_folder(desks, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(desks[True], tmp_path / "desk", symlinks=True))


@pytest.mark.usefixtures("samples_folder")
def test_docstring_examples_hold():
    """Every `>>>` in the package gives what it says."""
    results = {name: doctest.testmod(importlib.import_module(name.removesuffix(".__init__"))) for name in EXAMPLES}
    assert {name: result for name, result in results.items() if result.failed or not result.attempted} == {}


def percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def measured(found: Any) -> Iterator[str]:
    """Every value with an interval in a benchmark's record."""
    if isinstance(found, dict):
        if {"low", "high"} <= found.keys() and ("value" in found or "share" in found):
            yield percent(found.get("value", found.get("share")), found["low"], found["high"])
        found = list(found.values())
    if isinstance(found, list):
        for part in found:
            yield from measured(part)


@pytest.fixture(scope="module")
def known() -> set[str]:
    results = FIGURE.findall((ROOT / "eval" / "RESULTS.md").read_text(encoding="utf-8"))
    records = [
        figure
        for path in (ROOT / "eval" / "bench" / "results").glob("*.json")
        for figure in measured(json.loads(path.read_text(encoding="utf-8")))
    ]
    cards = [
        percent(*map(float, figure))
        for path in (ROOT / "adapters").glob("*/card.md")
        for figure in CARD_FIGURE.findall(path.read_text(encoding="utf-8"))
    ]
    assert results
    assert records
    assert cards
    return {*results, *records, *cards}


@pytest.mark.parametrize("document", ["README.md", "docs/measuring.md", "adapters/default/card.md", "eval/LOG.md"])
def test_documents_on_the_model_show_figures(document):
    assert FIGURE.search((ROOT / document).read_text(encoding="utf-8")), "it shows what was measured"


CARDS = [*ROOT.glob("adapters/*/card.md"), *ROOT.glob("hybrid_mmsa/**/card.md")]


@pytest.mark.parametrize("document", [*LIVING, ROOT / "eval" / "LOG.md", *CARDS], ids=name)
def test_figures_are_those_of_the_results(document, known):
    found = FIGURE.findall(document.read_text(encoding="utf-8"))
    assert [figure for figure in found if figure not in known] == []


def test_the_speed_in_the_readme_is_the_one_recorded():
    """Every number of the table of speed stands in the newest record, rounded."""
    record = json.loads(sorted((ROOT / "eval" / "bench" / "results").glob("bench-*.json"))[-1].read_text())
    table = README.read_text(encoding="utf-8").partition("| CLIP ViT-B/32 |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.+) \| ([\d.,]+).* \| ([\d.,]+).* \|$", table, re.MULTILINE)
    assert len(rows) >= 5
    for heading, *shown in rows:
        for system, text in zip(("hybrid_mmsa", "clip"), shown, strict=True):
            digits = len(text.partition(".")[2])
            rounded = {f"{value:,.{digits}f}" for value in record["sides"][system].values()}
            assert text in rounded, f"{heading}: {text} is no figure of {system}"
