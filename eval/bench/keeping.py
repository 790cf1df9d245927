"""Shows a benchmark program's record, and keeps it as `results/NAME-DATE.json`. Knows nothing of what it measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["keep", "show", "today"]

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = Path(__file__).resolve().parent / "results"


def today() -> str:
    """The date records are named after, ISO 8601, in UTC."""
    return datetime.now(UTC).date().isoformat()


def show(record: Mapping[str, Any], table: Table, *, as_json: bool) -> None:
    """Print the record itself, for machines, or as a table."""
    if as_json:
        sys.stdout.write(json.dumps(record, indent=2) + "\n")
    else:
        Console().print(table)


def keep(name: str, record: Mapping[str, Any]) -> None:
    """Write the record under its program's name and its own `date`, and say where."""
    path = RESULTS / f"{name}-{record['date']}.json"
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    Console(stderr=True).print(f"kept as {path.relative_to(ROOT)}")
