"""The options that several commands share, each written once. Knows nothing of what they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, get_type_hints

import typer

from ..analyzer import Analyzer
from ..types import ExplainLevel, Mode

__all__ = ["AsJson", "Asked", "Explain", "ModeChoice", "Model", "ReasonerChoice", "asking"]

Model = Annotated[
    str,
    typer.Option("--model", metavar="NAME_OR_PATH", help="A bundled model's name (see `models list`), or its folder."),
]
ModeChoice = Annotated[
    Mode,
    typer.Option(
        "--mode", help="auto: defer unsure posts to a reasoner, where one is configured; fast: none; deep: all."
    ),
]
Explain = Annotated[
    ExplainLevel,
    typer.Option("--explain", help="How much evidence: none, what each side counts, or full: words and regions too."),
]
AdapterChoice = Annotated[
    str | None,
    typer.Option("--adapter", metavar="NAME_OR_PATH", help="An adapter that answers in place of the model's own."),
]
ReasonerChoice = Annotated[
    str | None,
    typer.Option(
        "--reasoner",
        metavar="NAME_OR_PATH",
        help="What answers deferred posts: a pulled model's name (see `models list`), a model's folder, a configuration"
        " (.toml), or recorded verdicts (.jsonl, with the post's id).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs, instead of text for people.")]


@dataclass(frozen=True, slots=True)
class Asked:
    """How posts are to be answered: the options of every command that answers some."""

    mode: ModeChoice = "auto"
    explain: Explain = "modality"
    model: Model = "default"
    adapter: AdapterChoice = None
    reasoner: ReasonerChoice = None

    def open(self) -> tuple[Analyzer, str | None]:
        """The analyzer, and the name of the adapter to answer with where it is not the model's own."""
        more = () if self.adapter is None else (self.adapter,)
        analyzer = Analyzer.from_pretrained(self.model, adapters=more, reasoner=self.reasoner)
        return analyzer, [*analyzer.adapters][-1] if more else None


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `asked: Asked` an option for each of its fields, behind its own."""
    shared = {field.name: field.default for field in fields(Asked)}
    hints = {**get_type_hints(command, include_extras=True), **get_type_hints(Asked, include_extras=True)}

    @wraps(command)
    def run(**given: Any) -> None:
        asked = Asked(**{name: given.pop(name) for name in shared})
        command(**given, asked=asked)

    own = [p.replace(annotation=hints[p.name]) for p in signature(command).parameters.values() if p.name != "asked"]
    added = [Parameter(n, Parameter.KEYWORD_ONLY, default=d, annotation=hints[n]) for n, d in shared.items()]
    ordered = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own] + added
    run.__signature__ = signature(command).replace(parameters=ordered)  # type: ignore[attr-defined]
    run.__annotations__ = {name: hint for name, hint in hints.items() if name != "asked"}
    return run
