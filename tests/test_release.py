"""A release is of one version everywhere, and its source distribution holds what a wheel is built from."""

import re
import subprocess
import sys
import tarfile

import pytest
import yaml
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


def steps():
    """Every step of every workflow, with its file."""
    for file in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        for job in yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values():
            yield from ((file.name, step) for step in job["steps"])


def test_workflows_run_what_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    made, programs = set(), set()
    for _, step in steps():
        made |= set(re.findall(r"\bmake ([a-z-]+)", step.get("run", "")))
        programs |= set(re.findall(r"\.ci/(\w+)", step.get("run", "")))
    made |= set(re.findall(r"\bmake ([a-z-]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8")))
    assert {"test", "bench-quick", "docs", "dist"} <= made <= targets
    assert {"run", "smoke"} <= programs
    assert [name for name in programs if not (ROOT / ".ci" / name).stat().st_mode & 0o100] == []


def test_workflows_agree_on_versions_and_keep_no_credentials():
    versions = {}
    for file, step in steps():
        name, _, version = step.get("uses", "").partition("@")
        assert versions.setdefault(name, version) == version, f"{file}: {name}"
        if name == "actions/checkout":
            assert step["with"]["persist-credentials"] is False, file


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
