"""Deprecation: what is going warns where it is used, works meanwhile, and is gone when its time is over."""

import importlib
import inspect
import pkgutil

import pytest

import hybrid_mmsa
from hybrid_mmsa.deprecation import deprecated, outlived, warn_deprecated


@deprecated("old()", since="0.3", successor="new()")
def old(number):
    """The old one."""
    return number + 1


def test_it_works_and_warns_at_the_place_that_calls_it():
    with pytest.warns(
        DeprecationWarning, match=r"^old\(\) is deprecated since 0.3 and goes with 0.4; use new\(\)$"
    ) as seen:
        assert old(1) == 2
    assert seen[0].filename == __file__
    assert (old.__name__, old.__doc__) == ("old", "The old one.")


def test_a_parameter_warns_as_a_function_does():
    def call(mode=None):
        if mode is not None:
            warn_deprecated("mode", since="1.9", successor="policy", stacklevel=3)

    with pytest.warns(DeprecationWarning, match="mode is deprecated since 1.9 and goes with 1.10; use policy"):
        call(mode="x")


@pytest.mark.parametrize(("version", "over"), [("0.3.0", False), ("0.3.9", False), ("0.4.0", True), ("1.0.0", True)])
def test_its_time_is_one_minor_version(version, over):
    assert outlived("0.3", version) is over


def test_nothing_public_has_outlived_its_time():
    rooms = [
        f"hybrid_mmsa.{module.name}"
        for module in pkgutil.iter_modules(hybrid_mmsa.__path__)
        if module.name != "__main__"
    ]
    for name in ("hybrid_mmsa", *rooms):
        for value in vars(importlib.import_module(name)).values():
            facts = getattr(value, "__deprecated__", None) if inspect.isfunction(value) else None
            assert facts is None or not outlived(facts["since"]), facts
