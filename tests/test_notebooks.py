"""The notebooks run from top to bottom in a reader's folder, and show an answer where they end in one."""

import ast
import json

import documents
import pytest
from documents import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def run_cell(source, names):
    """What a notebook does with a cell; the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_and_shows_something(notebook, tmp_path, monkeypatch):
    documents.lay_out(tmp_path, own_files=True)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    shown = [run_cell("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"]
    assert len(shown) >= 3
    assert [value for value in shown if value is None] == []
    assert [cell for cell in cells if cell.get("outputs")] == [], "a notebook is kept without what it printed"
