"""Figures in documents come from what a program measured: each with an interval stands in a committed record too."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIGURE = re.compile(r"\d+\.\d \[\d+\.\d, \d+\.\d\]")
CARD_FIGURE = re.compile(r"\+(0\.\d{3}) \(\+(0\.\d{3}) to \+(0\.\d{3})\)")


def percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def measured(found: Any) -> Iterator[str]:
    """Every value with an interval in a benchmark's record."""
    if isinstance(found, dict):
        if {"value", "low", "high"} <= found.keys():
            yield percent(found["value"], found["low"], found["high"])
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


@pytest.mark.parametrize("document", ["README.md", "adapters/default/card.md", "eval/LOG.md"])
def test_figures_are_those_of_the_results(document, known):
    found = FIGURE.findall((ROOT / document).read_text(encoding="utf-8"))
    assert found, "a document on the model shows what was measured"
    assert [figure for figure in found if figure not in known] == []
