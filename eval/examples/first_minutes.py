"""The first ten minutes of three people with hybrid_mmsa: who embeds it, who tunes it, and who reads its answers.

    python eval/examples/first_minutes.py [--person embedder] [--install build/dist/hybrid_mmsa-….whl] [--save]

Each step is a command or a few lines of Python in an empty folder outside of the checkout, timed. With `--install` the
package is first installed into a new environment, as they would; without it, the Python that runs this program has it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from eval.bench.keeping import circumstances, keep
from hybrid_mmsa import __version__


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that somebody does: what for, and the words of a `hybrid-mmsa` command, or a program in Python."""

    what: str
    command: tuple[str, ...] = ()
    program: str = ""


FILES = """
import csv, json, random
from pathlib import Path
from hybrid_mmsa.bundled import bundled_path
rows = [json.loads(line) for line in (bundled_path("eval", "everyday") / "everyday.jsonl").open(encoding="utf-8")]
rows = [row for row in rows if "image" not in row and "target" not in row]
random.Random(0).shuffle(rows)
with Path("labelled.csv").open("w", encoding="utf-8", newline="") as file:
    out = csv.writer(file)
    out.writerow(["id", "text", "label"])
    out.writerows([row["id"], row["text"], row["label"]] for row in rows[:120])
with Path("posts.jsonl").open("w", encoding="utf-8") as file:
    for day, row in enumerate(rows[120:144]):
        row = {"id": row["id"], "text": row["text"], "time": f"2026-03-{day + 1:02}", "group": "shop"}
        file.write(json.dumps(row) + "\\n")
"""
EMBEDDED = """
from hybrid_mmsa import Analyzer, analyze
answer = analyze("We waited an hour and the food was cold")
assert answer.sentiment.label == "negative", answer.sentiment
with Analyzer.from_pretrained(cache=100) as analyzer:
    answers = list(analyzer.stream([{"text": "Best coffee in town"}, {"text": " "}]))
assert answers[0].sentiment.label == "positive" and "neither text nor image" in answers[1].error
assert type(answer).model_validate_json(answer.model_dump_json()) == answer
"""
TESTED = """
from hybrid_mmsa import Analyzer
from hybrid_mmsa.testing import ScriptedReasoner, TinyEncoder, tiny_adapter
encoder = TinyEncoder()
analyzer = Analyzer(encoder, [tiny_adapter(encoder)], reasoner=ScriptedReasoner({"Great, another delay": "negative"}))
assert analyzer.analyze("Great, another delay", mode="deep").sentiment.label == "negative"
"""
PEOPLE: Mapping[str, Sequence[Step]] = {
    "embedder": (
        Step("see it work", ("demo",)),
        Step("see which models there are", ("models", "list")),
        Step("answer one post, for a program", ("analyze", "Best day of the year", "--json")),
        Step("answer posts from Python", program=EMBEDDED),
        Step("test code that uses it", program=TESTED),
    ),
    "tuner": (
        Step("have labelled posts", program=FILES),
        Step("measure the bundled model on them", ("eval", "posts", "labelled.csv")),
        Step("fit an adapter", ("adapter", "train", "labelled.csv", "--fast", "-o", "mine")),
        Step("see what it is", ("adapter", "inspect", "mine")),
        Step("answer with it", ("analyze", "Best day of the year", "--adapter", "mine")),
    ),
    "analyst": (
        Step("have posts", program=FILES),
        Step("answer them, with a queue", ("batch", "posts.jsonl", "-o", "answers.csv")),
        Step("ask why", ("analyze", "Great, another delay. Just what I needed", "--explain", "full")),
        Step("read them on a page", ("explain", "page", "posts.jsonl", "-o", "page.html")),
        Step("ask when posts are deferred", ("route", "show")),
    ),
}


def follow(person: str, python: str, folder: Path) -> list[tuple[str, float]]:
    """Do what a person does, in a folder, and time each step.

    Raises:
        SystemExit: A step failed; it says what was printed.
    """
    times = []
    for step in PEOPLE[person]:
        words = [python, "-c", step.program] if step.program else [python, "-m", "hybrid_mmsa", *step.command]
        times.append((step.what, _timed(words, folder)))
    return times


def _timed(words: Sequence[str], folder: Path) -> float:
    started = perf_counter()
    done = subprocess.run(words, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)[:200]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return perf_counter() - started


def installed(wheel: Path, folder: Path) -> tuple[str, float]:
    """A new environment with the wheel and what tuning needs: its Python, and the seconds that it took."""
    seconds = _timed([sys.executable, "-m", "venv", str(folder)], folder.parent)
    python = str(folder / "bin" / "python")
    return python, seconds + _timed(
        [python, "-m", "pip", "install", "--quiet", f"{wheel.resolve()}[tune]"], folder.parent
    )


def main() -> None:
    """Follow the people, print their times, and keep them if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--person", choices=list(PEOPLE), action="append")
    parser.add_argument("--install", type=Path, metavar="WHEEL")
    parser.add_argument(
        "--save", action="store_true", help="keep the times as eval/bench/results/first-minutes-DATE.json"
    )
    options = parser.parse_args()
    record: dict[str, Any] = {**circumstances((), 1), "seconds": {}}
    lines = Table("person", "step", "seconds")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = sys.executable
        if options.install is not None:
            os.environ.pop("PYTHONPATH", None)
            record["versions"] = {"hybrid-mmsa": __version__}  # the wheel's: its name holds it
            python, record["installation"] = installed(options.install, folder / "env")
            lines.add_row("", "install it in a new environment", f"{record['installation']:.1f}")
        for person in options.person or PEOPLE:
            desk = folder / person
            desk.mkdir()
            times = follow(person, python, desk)
            record["seconds"][person] = {what: round(seconds, 1) for what, seconds in times}
            for what, seconds in times:
                lines.add_row(person, what, f"{seconds:.1f}")
    Console().print(lines)
    if options.save:
        keep("first-minutes", record)


if __name__ == "__main__":
    main()
