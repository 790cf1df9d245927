"""`hybrid-mmsa adapter train --fast`: its options, and the fast tier fitted to a file of posts. No logic of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...errors import InputError, MissingExtraError
from ...fusion import Strategy
from ..terminal.console import page, say
from ..terminal.progress import progress

__all__ = ["Heads", "fit_heads"]


@dataclass(frozen=True, slots=True)
class Heads:
    """Options of `adapter train --fast`."""

    few_shot: Annotated[
        bool, typer.Option("--few-shot", help="--fast: for 8 to 64 posts of a label, hold on to the bundled heads.")
    ] = False
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help="--fast: compact, open_clip:ARCHITECTURE/WEIGHTS or hf:TEXT+timm:PICTURE; local files only.",
        ),
    ] = "compact"
    strategy: Annotated[Strategy, typer.Option("--strategy", help="--fast: how words and picture are joined.")] = (
        "gated"
    )
    features: Annotated[
        Path | None,
        typer.Option("--features", metavar="FOLDER", help="--fast: keep what the encoder saw here, for other runs."),
    ] = None

    def refuse_beside(self, other: str) -> None:
        """Raise `InputError` where one of them is given with an option that has no use for it."""
        if self != Heads():
            raise InputError(
                f"--few-shot, --encoder, --strategy and --features have no use beside {other}", field=other
            )


def fit_heads(posts: Path, out: Path, heads: Heads, *, seed: int) -> None:
    """Read the posts, show the plan, fit, show the figures."""
    with _tune_extra():
        from ...training.heads.adapting import plan_adapter, train_adapter
        from ...training.heads.frozen import FEW_SHOT, FrozenConfig
        from ...training.posts.labelled_file import read_labelled_file

        least = (FEW_SHOT if heads.few_shot else FrozenConfig()).least
        with progress("posts read", lambda: sum(1 for _ in posts.open("rb"))) as advance:
            own = read_labelled_file(posts, least=least, advance=advance)
        plan = plan_adapter(
            own, out, encoder=heads.encoder, few_shot=heads.few_shot, strategy=heads.strategy, seed=seed
        )
        for line in plan.lines():
            say(line)
        with progress("posts encoded", lambda: len(own.samples)) as advance:
            figures = train_adapter(plan, features=heads.features, advance=advance)
    page().print("\n".join(figures.lines()), soft_wrap=True)
    say(f"wrote {out}; use it with --model {out}")


@contextmanager
def _tune_extra() -> Iterator[None]:
    """Names the extra where a package that fitting needs is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("scipy", "sklearn"):
            raise
        raise MissingExtraError("training an adapter", "tune") from error
