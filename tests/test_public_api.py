"""What users may import is listed, sorted and there; nothing slips in beside it."""

import importlib
import inspect
import pkgutil
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import hybrid_mmsa

ROOT = Path(__file__).resolve().parent.parent

PUBLIC = [
    "AdapterFigures",
    "Analysis",
    "Analyzer",
    "ArtefactError",
    "CachedEncoder",
    "Change",
    "ClosedError",
    "Cue",
    "EmotionLabel",
    "EmotionPrediction",
    "Encoder",
    "EncoderError",
    "Explanation",
    "Features",
    "HybridError",
    "InputError",
    "Label",
    "Limits",
    "LoraRef",
    "MissingExtraError",
    "Modality",
    "NotFittedError",
    "PluginError",
    "Policy",
    "PostError",
    "Prediction",
    "Provenance",
    "Reason",
    "Reasoner",
    "ReasonerConfig",
    "ReasonerError",
    "Region",
    "RouteDecision",
    "RowError",
    "Sample",
    "SchemaVersionError",
    "ServerError",
    "Verdict",
    "VerdictUse",
    "WordEffect",
    "__version__",
    "analyze",
    "analyze_frame",
    "fit_adapter",
]
ROOMS = sorted(
    f"hybrid_mmsa.{module.name}" for module in pkgutil.iter_modules(hybrid_mmsa.__path__) if module.name != "__main__"
)
PACKAGES = [name for name in ROOMS if hasattr(importlib.import_module(name), "__path__")]


def test_public_names_are_these():
    """The list is spelt out once more here, so that no change to it goes unnoticed."""
    assert hybrid_mmsa.__all__ == PUBLIC


def order(name):
    """Constants, then classes, then the rest, each by the alphabet: the order the linter keeps."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", ["hybrid_mmsa", *PACKAGES])
def test_all_is_sorted_and_there(name):
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__), key=order)
    assert [member for member in module.__all__ if not hasattr(module, member)] == []


# The command line is left out: its functions are commands, called by their names in a shell.
@pytest.mark.parametrize("name", ["hybrid_mmsa", *(name for name in PACKAGES if name != "hybrid_mmsa.cli")])
def test_nothing_public_is_left_out(name):
    """A class or function of ours that a room's `__init__` shows is in its `__all__`."""
    module = importlib.import_module(name)
    shown = {
        member
        for member, value in vars(module).items()
        if not member.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.startswith(name)
    }
    assert shown <= set(module.__all__)


@pytest.mark.parametrize("name", ["Analyzer", "Policy", "Sample", "Analysis", "InputError", "analyze", "fit_adapter"])
def test_what_users_meet_is_documented(name):
    assert inspect.getdoc(getattr(hybrid_mmsa, name))


def test_the_command_is_installed():
    (command,) = [entry for entry in entry_points(group="console_scripts") if entry.name == "hybrid-mmsa"]
    assert callable(command.load())


def test_the_package_is_typed():
    assert (ROOT / "hybrid_mmsa" / "py.typed").is_file()
