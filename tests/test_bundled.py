"""Bundled folders are found by name, and a name never leads out of the bundle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa import bundled
from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.errors import ArtefactError


def test_finds_the_default_model():
    assert (bundled_path("adapters", "default") / "adapter.json").is_file()


def test_finds_the_rooms_of_the_bundle():
    assert bundled_path("prompts").is_dir()
    assert bundled_path("eval", "protocols").is_dir()


def test_what_is_not_there_is_named():
    with pytest.raises(ArtefactError, match="adapters/no-such-adapter"):
        bundled_path("adapters", "no-such-adapter")


@pytest.mark.parametrize("parts", [(), ("",), (".",), ("..",), ("adapters", "..", "..", "etc"), ("/etc", "passwd")])
def test_names_that_climb_are_refused(parts):
    with pytest.raises(ArtefactError):
        bundled_path(*parts)


@given(st.lists(st.sampled_from(["..", "adapters", "default", ".", "/", "~", "prompts"]), max_size=6))
def test_a_path_is_inside_or_refused(parts):
    try:
        path = bundled_path(*parts)
    except ArtefactError:
        return
    assert path.is_relative_to(bundled_path("prompts").parent)


def test_installed_folder_wins_over_the_checkout(tmp_path, monkeypatch):
    """In a wheel `_bundled` decides, whatever stands beside the package."""
    package = tmp_path / "hybrid_mmsa"
    (package / "_bundled" / "prompts").mkdir(parents=True)
    (tmp_path / "adapters").mkdir()
    monkeypatch.setattr(bundled, "_PACKAGE", package)
    assert bundled_path("prompts") == package / "_bundled" / "prompts"
    with pytest.raises(ArtefactError):
        bundled_path("adapters")


def test_incomplete_installation_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "_PACKAGE", tmp_path / "hybrid_mmsa")
    with pytest.raises(ArtefactError, match="install hybrid-mmsa again"):
        bundled_path("prompts")
