"""The fenced blocks of the documents: collected, run, and, where they are marked `no-run`, checked without running.

The words after a fence's backticks say what is done with a block:

    python                   run; the blocks of a document share their names, in reading order
    console                  each `$ ` line is run; lines below it are what it prints
    text output              what the Python block above prints
    toml NAME, json NAME, jsonl NAME, csv NAME     written to the file NAME for the blocks below
    toml, json               parsed
    text                     a drawing or a quotation; holds no commands
    LANGUAGE no-run: REASON  not run: Python is compiled and its imports are looked up, command lines are parsed

Printed numbers may differ a little from machine to machine; `…` stands for any text.
"""

import ast
import contextlib
import importlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tiny_encoders
import typer

from hybrid_mmsa.cli import app, run
from hybrid_mmsa.errors import MissingExtraError
from hybrid_mmsa.types import LABELS

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "hybrid_mmsa" / "samples"
LIVING = [
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "adapters/*.md",
        "adapters/recipes/*.md",
        "prompts/*.md",
        "eval/protocols/*.md",
    )
    for path in sorted(ROOT.glob(pattern))
]
"""What must be true today. A log, a card and a table of results say what was true when they were written."""

FENCE = re.compile(r"^(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)
OWN_POSTS = 40
"""Labelled posts of each label that a reader has."""
NUMBER = re.compile(r"[-+−]?\d+(?:[.,]\d+)*")
WRITTEN = ("toml", "json", "jsonl", "csv")
FREE_PROGRAMS = {"cp", "echo", "mkdir"}
"""Programs that blocks may run beside ours."""
FOREIGN = {"accelerate", "curl", "git", "llama-server", "uvx", "vllm"}
"""Programs that are not ours: they stand in blocks marked `no-run`, and what follows them is not checked."""


@dataclass(frozen=True)
class Block:
    """One fenced block and where it stands."""

    document: Path
    line: int
    language: str
    mark: str
    body: str

    def __str__(self):
        return f"{self.document}:{self.line}"

    @property
    def runs(self):
        return not self.mark.startswith("no-run")

    def commands(self):
        """The `$ ` lines, continued lines joined, each with the lines it prints."""
        pairs = []
        for line in self.body.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                pairs.append((line[2:], []))
            elif pairs:
                pairs[-1][1].append(line)
            elif line.strip():
                raise AssertionError(f"{self}: a console block begins with a `$ ` line, found {line!r}")
        assert pairs, f"{self}: no command"
        return [(command, "\n".join(printed)) for command, printed in pairs]


def prose(document):
    """The document's text without its blocks."""
    return FENCE.sub("", document.read_text(encoding="utf-8"))


def blocks(document):
    """The blocks of a document, in reading order."""
    text = document.read_text(encoding="utf-8")
    found = []
    for fence in FENCE.finditer(text):
        language, _, mark = fence["info"].strip().partition(" ")
        found.append(Block(document, text.count("\n", 0, fence.start()) + 1, language, mark.strip(), fence["body"]))
    assert text.count("```") == sum(2 for _ in found), f"{document.name}: a fence is not closed"
    return found


def lay_out(desk, *, own_files):
    """A reader's folder: what a fresh clone holds, and, for all but the README, a reader's own posts and picture."""
    for name in ("eval", "hybrid_mmsa", "prompts"):
        (desk / name).symlink_to(ROOT / name)
    if not own_files:
        return
    shutil.copytree(SAMPLES, desk, dirs_exist_ok=True)
    shutil.copy(SAMPLES / "espresso.jpg", desk / "photo.jpg")
    drawn = tiny_encoders.drawn_posts(10 * OWN_POSTS, seed=5)
    own = [post for label in LABELS for post in [post for post in drawn if post.label == label][:OWN_POSTS]]
    labelled = tiny_encoders.write_posts(desk / "own", sorted(own, key=lambda post: int(post.id)))
    rows = [json.loads(line) for line in labelled.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps({**row, "image": f"own/{row['image']}"}) for row in rows]
    (desk / "labelled.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


class Reader:
    """Someone who follows a document in a folder of their own, block by block."""

    def __init__(self):
        self.names = {"__name__": "__main__"}
        self.printed = None

    def follow(self, block):
        """Do what a block says, and check what it prints."""
        printed, self.printed = self.printed, None
        if not block.runs:
            check(block)
        elif block.language == "python":
            self.printed = self.run_python(block)
        elif block.language == "console":
            for command, expected in block.commands():
                output = run_command(command, block)
                if expected.strip():
                    assert_agrees(expected, output, f"{block}: {command}")
        elif block.mark == "output":
            assert printed is not None, f"{block}: output of what?"
            assert_agrees(block.body, printed, str(block))
        elif block.mark:
            assert block.language in WRITTEN, f"{block}: {block.language} is not written to a file"
            parse(block)
            Path(block.mark).write_text(block.body, encoding="utf-8")
        else:
            parse(block)

    def run_python(self, block):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\n" * block.line + block.body, str(block.document), "exec"), self.names)
        return out.getvalue()


def check(block):
    """What a block that is not run can be held to all the same."""
    assert re.fullmatch(r"no-run: \S.*", block.mark), f"{block}: say why, as in `no-run: needs a GPU`"
    if block.language == "python":
        check_python(block)
    else:
        assert block.language == "console", f"{block}: {block.language} is never run"
        for command, _ in block.commands():
            check_command(shlex.split(command, comments=True), block)


def check_python(block):
    """The block compiles, and what it imports is there."""
    for node in ast.walk(ast.parse(block.body)):
        if isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)
        elif isinstance(node, ast.ImportFrom):
            try:
                module = importlib.import_module(node.module)
            except MissingExtraError:  # of an extra that the tests' environment cannot have
                continue
            missing = [name.name for name in node.names if not hasattr(module, name.name)]
            assert not missing, f"{block}: {node.module} has no {missing}"


def parse(block):
    """A block that is data can be read; a block that is text holds nothing that should have been checked."""
    if block.language == "toml":
        tomllib.loads(block.body)
    elif block.language == "json":
        json.loads(block.body)
    elif block.language == "jsonl":
        for line in block.body.splitlines():
            json.loads(line)
    elif block.language == "text":
        assert not re.search(r"^(\$ |hybrid-mmsa |pip |make )", block.body, re.MULTILINE), (
            f"{block}: is a console block"
        )
    else:
        assert block.language in WRITTEN, f"{block}: unknown language {block.language!r}"


def run_command(command, block):
    """What a command line prints; it must succeed, unless the block is marked `exit CODE`."""
    wanted = int(block.mark.removeprefix("exit ")) if block.mark else 0
    words = shlex.split(command, comments=True)
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        if re.search(r"[|<>;&]", re.sub(r"'[^']*'|\"[^\"]*\"", "", command)):
            code = in_a_shell(command, out)
        elif words[0] == "hybrid-mmsa":
            code = run(words[1:])
        elif words[0] == "python":
            assert len(words) == 2, f"{block}: programs run without arguments: {command}"
            out.write(program_output(words[1]))
            code = 0
        else:
            assert words[0] in FREE_PROGRAMS, f"{block}: mark it no-run: {command}"
            code = in_a_shell(command, out)
    printed = out.buffer.getvalue().decode()
    assert code == wanted, f"{block}: {command}: exit code {code}\n{printed}"
    return printed


@cache
def program_output(path):
    """What a program of the checkout prints when it is run without arguments; run once, for all tests that look."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    before, sys.argv = sys.argv, [path]
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(str(ROOT / path), run_name="__main__")
    finally:
        sys.argv = before
    return out.buffer.getvalue().decode()


def in_a_shell(command, out):
    """A line that only a shell understands."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], env=environment, capture_output=True, text=True, check=False
    )
    out.write(done.stdout + done.stderr)
    return done.returncode


def check_command(words, where):
    """A command line that could be run: its command, options, make targets, extras and files exist."""
    program = Path(words[0]).name
    if program == "hybrid-mmsa" or "hybrid_mmsa" in words:
        check_ours(words[words.index("hybrid_mmsa") + 1 :] if "hybrid_mmsa" in words else words[1:], where)
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets), f"{where}: no such make target"
    elif program == "pip" or "pip" in words:
        check_extras(" ".join(words), where)
    elif program == "python":
        assert (ROOT / words[1]).is_file(), f"{where}: no program {words[1]}"
    else:
        assert program in FOREIGN, f"{where}: unknown program {program}"


def check_ours(words, where):
    """Each word of a `hybrid-mmsa` line is a command, an option or a value that it takes."""
    command, rest = typer.main.get_command(app), list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"{where}: no command {rest[0]!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    if rest and "--help" not in rest:
        try:
            command.make_context("hybrid-mmsa", rest)
        except Exception as error:
            raise AssertionError(f"{where}: {error}") from error


def project():
    """What `pyproject.toml` declares."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def extras():
    """The extras of the package."""
    return set(project()["optional-dependencies"])


def check_extras(words, where):
    for named in re.findall(r"(?:hybrid[-_]mmsa|\.)\[([\w,]+)\]", words):
        assert set(named.split(",")) <= extras(), f"{where}: no extra {named}"


def assert_agrees(expected, printed, where):
    """The same words, and nearly the same numbers; `…` stands for any text."""
    parts = re.split(rf"(…|{NUMBER.pattern})", " ".join(expected.split()))
    wanted = [part for part in parts[1::2] if part != "…"]
    pattern = "".join(
        re.escape(part) if i % 2 == 0 else ".*?" if part == "…" else f"({NUMBER.pattern})"
        for i, part in enumerate(parts)
    )
    match = re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL)
    assert match, f"{where}: expected\n{expected}\nprinted\n{printed}"
    for want, number in zip(wanted, match.groups(), strict=True):
        assert close(want, number), f"{where}: expected {want}, printed {number} in\n{printed}"


def close(wanted, number):
    """Within a few hundredths of a share, a few points of a percentage or a twentieth of anything larger."""
    if wanted == number:
        return True
    try:
        wish, found = (float(text.replace(",", "").replace("−", "-")) for text in (wanted, number))
    except ValueError:  # a version
        return False
    return abs(wish - found) <= (0.05 if abs(wish) <= 1 else max(3.0, 0.05 * abs(wish)))
