"""What benchmark programs share: their options, and how a record is shown and kept as `results/NAME-DATE.json`.

Knows nothing of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["INSTRUCTIONS", "circumstances", "keep", "program", "show", "tell", "today"]

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
INSTRUCTIONS = "BENCH_INSTRUCTIONS"
"""The variable that names the widest instructions a program may use, where they are not all that the machine has."""


def today() -> str:
    """The date records are named after, ISO 8601, in UTC."""
    return datetime.now(UTC).date().isoformat()


def circumstances(packages: Sequence[str], threads: int) -> dict[str, Any]:
    """What a record of a timed run begins with: date, machine and its load, versions, threads, instructions."""
    return {
        "date": today(),
        "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {name: metadata.version(name) for name in ("hybrid-mmsa", *packages)},
        "python": platform.python_version(),
        "threads": threads,
        **({"instructions": os.environ[INSTRUCTIONS]} if INSTRUCTIONS in os.environ else {}),
    }


def program(description: str | None, name: str) -> argparse.ArgumentParser:
    """A parser with the options `--json` and `--save`; the program adds its own.

    Args:
        description: The program's docstring; its first line is shown.
        name: What records are named after.
    """
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the record instead of the table")
    parser.add_argument("--save", action="store_true", help=f"keep the record as eval/bench/results/{name}-DATE.json")
    return parser


def tell(name: str, record: Mapping[str, Any], table: Table, options: argparse.Namespace) -> None:
    """Show a record, and keep it if asked to: what a program made by `program` ends with."""
    show(record, table, as_json=options.json)
    if options.save:
        keep(name, record)


def show(record: Mapping[str, Any], table: Table, *, as_json: bool) -> None:
    """Print the record itself, for machines, or as a table."""
    if as_json:
        sys.stdout.write(json.dumps(record, indent=2) + "\n")
    else:
        Console().print(table)


def keep(name: str, record: Mapping[str, Any]) -> None:
    """Write the record under its program's name, `date` and `instructions`, if those are not all, and say where."""
    fewer = f"{record['instructions'].lower()}-" if "instructions" in record else ""
    path = RESULTS / f"{fewer}{name}-{record['date']}.json"
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    Console(stderr=True).print(f"kept as {path.relative_to(ROOT)}")
