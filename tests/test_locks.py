"""The lock of the light core with a reasoner holds all that it needs, every line as it stands in the tests' lock."""

import importlib.metadata
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def locked(name):
    """Names of a lock's packages with their pinned lines and hashes."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"\n(?=[a-z0-9])", text) if re.match(r"[\w.-]+==", block)]
    return {block.split("==")[0]: re.findall(r"==[^ ]+|--hash=\S+", block) for block in blocks}


def needed(requirements):
    """Names of all packages that these need on this machine, as the installed ones say."""
    waiting, seen = [Requirement(each) for each in requirements], set()
    while waiting:
        one = waiting.pop()
        if (key := (canonicalize_name(one.name), frozenset(one.extras))) in seen:
            continue
        seen.add(key)
        for more in map(Requirement, importlib.metadata.requires(one.name) or []):
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in (*one.extras, "")):
                waiting.append(more)
    return {name for name, _ in seen}


def test_the_lock_is_the_one_that_the_program_makes():
    done = subprocess.run([sys.executable, str(ROOT / ".ci" / "fulllock"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_lock_holds_all_that_a_reasoner_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = needed([*project["dependencies"], *project["optional-dependencies"]["vlm"]])
    full = locked("full")
    assert wanted <= set(full)
    assert locked("core").keys() <= full.keys()
    assert not {"pytest", "mypy", "torchvision", "trl", "llama-cpp-python"} & set(full)


def test_the_servers_lock_holds_all_that_it_needs_and_no_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert needed([*project["dependencies"], *extras["serve"], *extras["server"]]) <= set(locked("serve"))
    assert not {"pytest", "torch", "schemathesis"} & set(locked("serve"))


@pytest.mark.parametrize("name", ["full", "serve"])
def test_every_line_stands_in_the_tests_lock(name):
    full, tests = locked(name), locked("test")
    assert all(len(pins) > 1 for pins in full.values()), "each has a version and a hash"
    assert {name: tests[name] for name in full} == full


def test_every_locked_package_has_a_licence_that_is_allowed():
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "licences"), "core", "full", "serve", "test"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MPL-2.0 AND (GPL-3.0-only OR MIT)", True),
        ("MPL-2.0 AND (GPL-3.0-only OR LGPL-3.0-only)", False),
        ("GPL-3.0-only OR MIT", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("nothing", False),
    ],
)
def test_a_licence_is_allowed_where_one_of_its_alternatives_is(licence, allowed):
    program = runpy.run_path(str(ROOT / ".ci" / "licences"))
    rules = tomllib.loads((ROOT / "requirements" / "licences.toml").read_text(encoding="utf-8"))
    assert program["is_allowed"](licence, set(rules["allowed"])) == allowed
