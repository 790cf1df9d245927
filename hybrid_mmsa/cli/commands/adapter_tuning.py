"""`hybrid-mmsa adapter train --base`: its options, and a LoRA adapter tuned to a file of posts. No logic of its own.

Under `accelerate launch` the same program runs once per GPU; one of them prints and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import InputError, MissingExtraError
from ..terminal.console import page, say
from ..terminal.progress import progress
from ..terminal.settings import with_settings

if TYPE_CHECKING:
    from ...training.lora.recipe import TuningRecipe

__all__ = ["Tuning", "tune_posts"]

PACKAGES = ("accelerate", "bitsandbytes", "datasets", "peft", "sklearn", "scipy", "torch", "transformers", "trl")


@dataclass(frozen=True, slots=True)
class Tuning:
    """Options of `adapter train --base`."""

    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="MODEL", help="Tune a LoRA adapter for this model: nano, a preset, or a folder."
        ),
    ] = None
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="NAME_OR_FILE", help="How: a bundled recipe's name, or a TOML file."),
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Change a setting of the recipe; a wrong NAME lists them all."
        ),
    ] = None
    teacher: Annotated[
        Path | None,
        typer.Option("--teacher", metavar="FILE", help="Another reasoner's verdicts to learn reasons from (.jsonl)."),
    ] = None
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FOLDER", help="Where checkpoints and the log are kept; default: FOLDER.run"),
    ] = None
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME_OR_PATH", help="--base: the model whose fast tier it works beside."),
    ] = "default"

    @property
    def wanted(self) -> bool:
        """Whether a LoRA adapter is asked for."""
        return self.base is not None or self.recipe is not None

    def refuse_beside(self, other: str) -> None:
        """Raise `InputError` where one of them is given without a base."""
        if self != Tuning():
            raise InputError(
                f"--set, --teacher, --run and --model have no use beside {other} without --base", field=other
            )


def tune_posts(posts: Path, out: Path, tuning: Tuning, *, fast: bool, seed: int | None) -> None:
    """Read the posts, show the plan, tune, show the figures."""
    with _train_extra():
        from ...training.common.processes import place
        from ...training.lora.plan import LEAST_TUNED, plan_tuning
        from ...training.posts.labelled_file import read_labelled_file

        leads = place().leads
        recipe = _recipe(tuning, seed)
        with _shown(leads, "posts read", lambda: sum(1 for _ in posts.open("rb"))) as advance:
            own = read_labelled_file(posts, least=LEAST_TUNED, advance=advance)
        plan = plan_tuning(own, out, recipe, run=tuning.run, teacher=tuning.teacher, fast=tuning.model, fit_fast=fast)
        for line in plan.lines() if leads else ():
            say(line)
        from ...training.lora.tune import tune

        outcome = tune(plan, counting=lambda name, total, done: _shown(leads, name, lambda: total, done))
    if outcome is not None:
        page().print("\n".join(outcome.lines()), soft_wrap=True)
        say(f"wrote {out}; use it with --model {out} --reasoner {recipe.base}")


def _recipe(tuning: Tuning, seed: int | None) -> TuningRecipe:
    from ...training.lora.recipe import TuningRecipe, load_recipe

    recipe = TuningRecipe() if tuning.recipe is None else load_recipe(tuning.recipe)
    recipe = with_settings(recipe, tuning.settings or ())
    recipe = recipe if tuning.base is None else replace(recipe, base=tuning.base)
    return recipe if seed is None else replace(recipe, seed=seed)


def _shown(
    leads: bool, name: str, total: Callable[[], int], done: int = 0
) -> AbstractContextManager[Callable[[], None]]:
    return progress(name, total, done) if leads else _silent()


@contextmanager
def _silent() -> Iterator[Callable[[], None]]:
    yield lambda: None


@contextmanager
def _train_extra() -> Iterator[None]:
    """Names the extra where a package that tuning needs is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in PACKAGES:
            raise
        raise MissingExtraError("tuning an adapter", "train") from error
