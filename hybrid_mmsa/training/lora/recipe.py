"""How a LoRA adapter is trained, as one frozen value, and the TOML files that hold one. Knows no model and no posts."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...bundled import bundled_path
from ...errors import InputError

__all__ = ["TuningRecipe", "load_recipe", "recipe_names"]

QUANTISED = ("none", "4bit")


@dataclass(frozen=True, slots=True)
class TuningRecipe:
    """Everything that decides a LoRA adapter but its posts.

    The defaults are the form that every server of LoRA adapters loads (language model only, alpha twice the rank) with
    the usual rate for it.
    """

    base: str = ""
    """A preset's name, or a model's folder; the command line may name another."""
    prompt: str = ""
    """A bundled prompt's name, or a TOML file; empty: the one that the base was made for, else `sentiment`."""
    start: str = ""
    """A folder with a LoRA of the same shape to go on from, or the name of a bundled adapter with one; empty: none."""
    quantise: str = "none"
    """`4bit` holds the base in NF4, doubly quantised (QLoRA, Dettmers et al. 2023)."""
    image_size: int = 0
    """Pixels the longest side of a picture is shrunk to; 0 leaves it to the preset."""
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    warmup: float = 0.05
    """Share of the steps in which the rate rises; it falls as a cosine afterwards."""
    clip_norm: float = 1.0
    epochs: float = 3.0
    """Turns through the training part; a turn has as many posts as the part."""
    batch_size: int = 16
    """Posts of a step, over all GPUs."""
    micro_batch: int = 2
    """Posts in memory at a time, per GPU."""
    label_weight: float = 0.5
    """Weight of the label's token in the loss; the rest of the answer has the other part."""
    reasons: float = 0.5
    """Share of the turns in which more than the label is taught; in the others the answer ends with it."""
    balance: float = 1.0
    """0: labels come as often as they are found; 1: equally often."""
    evaluate_every: int = 20
    """Steps between looks at the calibration part; each writes a checkpoint."""
    patience: int = 4
    """Looks in a row without a lower log-loss after which training ends; the best one is kept."""
    checkpointing: bool = True
    """Work activations out again in the backward pass, to save memory."""
    seed: int = 0
    terms: str = ""
    """The terms that the posts are under, for the card."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        if self.quantise not in QUANTISED:
            raise InputError(f"found {self.quantise!r}; wanted {' or '.join(QUANTISED)}", field="quantise")
        for name in ("rank", "alpha", "batch_size", "micro_batch", "evaluate_every", "patience"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        for name in ("label_weight", "reasons", "balance", "dropout", "warmup"):
            self._check(name, 0 <= getattr(self, name) <= 1, "a share from 0 to 1")
        for name in ("learning_rate", "epochs", "clip_norm"):
            self._check(name, getattr(self, name) > 0, "more than 0")
        self._check("image_size", self.image_size == 0 or self.image_size >= 16, "0, or 16 pixels or more")
        for name in ("dropout", "warmup"):
            self._check(name, getattr(self, name) < 1, "less than 1")

    def _check(self, name: str, holds: bool, range_: str) -> None:
        if not holds:
            raise InputError(f"found {getattr(self, name)}; wanted {range_}", field=name)


def recipe_names() -> list[str]:
    """The names of the bundled recipes."""
    return [path.stem for path in sorted(bundled_path("adapters", "recipes").glob("*.toml"))]


def load_recipe(name_or_path: str | Path) -> TuningRecipe:
    """A bundled recipe by name, or a TOML file whose keys are the recipe's fields.

    Paths in a file start from its folder.

    Raises:
        InputError: There is none of that name, the file cannot be read, or a key is unknown or its value wrong.
    """
    path = _find(name_or_path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no recipe: {error}", field="--recipe") from error
    for field in ("base", "prompt", "start"):
        if isinstance(values.get(field), str) and (path.parent / values[field]).exists():
            values[field] = str(path.parent / values[field])
    return _recipe_of(values, path)


def _find(name_or_path: str | Path) -> Path:
    if Path(name_or_path).suffix == ".toml":
        return Path(name_or_path)
    if str(name_or_path) not in (names := recipe_names()):
        raise InputError(
            f"no recipe {str(name_or_path)!r}; bundled are {', '.join(names)}; or name a .toml file", field="--recipe"
        )
    return bundled_path("adapters", "recipes", f"{name_or_path}.toml")


def _recipe_of(values: Mapping[str, Any], path: Path) -> TuningRecipe:
    known = {field.name: field.default for field in fields(TuningRecipe)}
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{path}: no setting {name!r}; known are {', '.join(known)}", field="--recipe")
        if type(value) is not type(known[name]) and not (type(value) is int and isinstance(known[name], float)):
            raise InputError(f"{path}: {name}: found {value!r}; wanted a value like {known[name]!r}", field="--recipe")
    floats = {name: float(values[name]) for name in values if isinstance(known[name], float)}
    return TuningRecipe(**{**values, **floats})
