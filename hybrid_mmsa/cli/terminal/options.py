"""The options that several commands share, each written once. Knows nothing of what they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ...analyzer import Analyzer
from ...errors import InputError
from ...routing import Policy
from ...types import ExplainLevel, Mode

__all__ = [
    "AnswerOptions",
    "AsJson",
    "Explain",
    "ModeChoice",
    "Model",
    "ReasonerChoice",
    "check_file",
    "with_answer_options",
    "with_options",
]

Model = Annotated[
    str,
    typer.Option("--model", metavar="NAME_OR_PATH", help="A bundled model's name (see `models list`), or its folder."),
]
ModeChoice = Annotated[
    Mode,
    typer.Option(
        "--mode",
        help="auto: defer uncertain posts to the reasoner, if there is one; fast: defer none; deep: defer all.",
    ),
]
Explain = Annotated[
    ExplainLevel,
    typer.Option(
        "--explain", help="How much evidence: none; modality: the share of each side; full: words and regions as well."
    ),
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
        help="What judges deferred posts: nano (bundled), a pulled preset (see `models list`), a model's folder, a"
        " configuration (.toml), recorded verdicts (.jsonl, with the post's id), or a plugin's name.",
    ),
]
PolicyChoice = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="KIND[:NUMBER]",
        help="Which posts are deferred: budget:0.2 (at most that share), risk:0.15 (so many that at most that share"
        " of the others is wrong), threshold:0.3 (those with a higher P(error)), never, always, or fitted (the model's"
        " own thresholds, the default).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs, instead of text for people.")]


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """How posts are to be answered: the options of every command that answers some."""

    mode: ModeChoice = "auto"
    explain: Explain = "modality"
    model: Model = "default"
    adapter: AdapterChoice = None
    reasoner: ReasonerChoice = None
    policy: PolicyChoice = None

    def open(self) -> tuple[Analyzer, str | None]:
        """The analyzer, and the name of the adapter to answer with where it is not the model's own."""
        more = () if self.adapter is None else (self.adapter,)
        try:
            policy = None if self.policy is None else Policy.parse(self.policy)
        except InputError as error:
            raise InputError(error.message, field="--policy") from error
        analyzer = Analyzer.from_pretrained(self.model, adapters=more, reasoner=self.reasoner, policy=policy)
        return analyzer, [*analyzer.adapters][-1] if more else None


def check_file(path: Path | None, option: str) -> None:
    """Raise `InputError` if a file cannot be written there: said before the work and not after it."""
    if path is not None and path.exists() and not path.is_file():
        raise InputError(f"{path} is a folder or a device; a file is wanted", field=option)
    if path is not None and not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}", field=option)


def with_answer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `options: AnswerOptions` an option for each of its fields, behind its own.

    Where the command has a default for `options`, the options have its values as theirs.
    """
    default = signature(command).parameters["options"].default
    return with_options("options", default if isinstance(default, AnswerOptions) else AnswerOptions())(command)


def with_options(name: str, default: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that takes a frozen dataclass as `name` an option for each of its fields, behind its own.

    Args:
        name: The command's parameter.
        default: Its value where no option is given; its fields are annotated as options are.
    """
    kind = type(default)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        shared = {field.name: getattr(default, field.name) for field in fields(kind)}
        hints = {**get_type_hints(command, include_extras=True), **get_type_hints(kind, include_extras=True)}

        @wraps(command)
        def run(**values: Any) -> None:
            options = kind(**{field: values.pop(field) for field in shared})
            command(**values, **{name: options})

        own = [p.replace(annotation=hints[p.name]) for p in signature(command).parameters.values() if p.name != name]
        added = [Parameter(n, Parameter.KEYWORD_ONLY, default=d, annotation=hints[n]) for n, d in shared.items()]
        ordered = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own] + added
        run.__signature__ = signature(command).replace(parameters=ordered)  # type: ignore[attr-defined]
        run.__annotations__ = {field: hint for field, hint in hints.items() if field != name}
        return run

    return decorate
