"""A release is of one version everywhere, and its source distribution holds what a wheel is built from."""

import re
import subprocess
import sys
import tarfile

import pytest
from documents import ROOT

from hybrid_mmsa import __version__


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("CITATION.cff", r"^version: (\S+)$"),
        ("CHANGELOG.md", r"^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$"),
        ("docs/quickstart.md", r"dist/hybrid_mmsa-(\d+\.\d+\.\d+)-py3"),
    ],
)
def test_the_version_is_the_same_everywhere(file, pattern):
    found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert found[1] == __version__


def test_the_release_reads_the_version_that_a_tag_must_have():
    """The expression of the workflow, on the file that it reads."""
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    expression = re.search(r"sed -n '([^']+)' (\S+)\)", workflow)
    command = ["sed", "-n", expression[1], str(ROOT / expression[2])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == __version__


def test_the_source_distribution_holds_what_a_wheel_is_built_from(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "WEIGHTS_LICENSE.md", "CHANGELOG.md"}
    needed |= {"hybrid_mmsa/explain/function_words.txt", "adapters/default/card.md", "eval/everyday/everyday.jsonl"}
    assert needed <= names
    assert archive.name == f"hybrid_mmsa-{__version__}.tar.gz"
    assert not [name for name in names if name.startswith(("build/", ".git/", "eval/bench"))]
