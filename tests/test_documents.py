"""Figures in documents come from result files: each figure with an interval stands in eval/RESULTS.md too."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIGURE = re.compile(r"\d+\.\d \[\d+\.\d, \d+\.\d\]")
RESULTS = (ROOT / "eval" / "RESULTS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["README.md", "adapters/default/card.md", "eval/LOG.md"])
def test_figures_are_those_of_the_results(document):
    found = FIGURE.findall((ROOT / document).read_text(encoding="utf-8"))
    assert found, "a document on the model shows what was measured"
    assert [figure for figure in found if figure not in RESULTS] == []
