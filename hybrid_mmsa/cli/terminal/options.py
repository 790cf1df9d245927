"""The options that several commands share, each written once. Knows nothing of what they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_type_hints

import typer

from ...analyzer import Analyzer
from ...data import PostsFile, Reading, read_posts
from ...engines import Call
from ...errors import InputError
from ...inputs import DEFAULT_LIMITS, Limits
from ...model import ReasonerSource
from ...reasoning import Budget
from ...routing import Policy
from ...senses import check_senses
from ...types import ExplainLevel, Label, Mode, Sense
from .console import say

__all__ = [
    "DETECTED",
    "POSTS_HELP",
    "AdapterChoice",
    "AnswerOptions",
    "AsJson",
    "EngineOptions",
    "Explain",
    "Force",
    "LimitChoices",
    "MapChoices",
    "ModeChoice",
    "Model",
    "PolicyChoice",
    "ReadingOptions",
    "ReasonerChoice",
    "RecordedAnswers",
    "SensesChoice",
    "Workers",
    "WrittenAsJson",
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
        help="What judges deferred posts: a pulled preset such as smol (see `models list`), a model's folder, a"
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
LimitChoices = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help="What a post may cost: "
        + ", ".join(f"{limit.name} ({getattr(DEFAULT_LIMITS, limit.name):,})" for limit in fields(Limits))
        + "; repeat it.",
    ),
]
SensesChoice = Annotated[
    str | None,
    typer.Option(
        "--senses",
        metavar="NAME,...",
        help="What else is read in pictures: ocr (the words there, which count in the answer), faces (what they look"
        " like, as evidence alone), or both; each needs the extra of its name.",
    ),
]
BudgetCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        metavar="NUMBER",
        min=0,
        help="What asking the reasoner may cost in all; then the fast answers stand, with a warning.",
    ),
]
QuestionCost = Annotated[
    float, typer.Option("--cost", metavar="NUMBER", min=0, help="What asking the reasoner about one post costs.")
]
BudgetTime = Annotated[
    float | None,
    typer.Option(
        "--max-time",
        metavar="SECONDS",
        min=0,
        help="For how long the reasoner is asked; then the fast answers stand, with a warning.",
    ),
]
MapChoices = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="OURS=THEIRS",
        help="What a column is called in the file, as in text=tweet or text=title+body; repeat it.",
    ),
]
RecordedAnswers = Annotated[
    Path | None,
    typer.Option(
        "--answers", metavar="FILE", help="The answers that `batch` wrote for these posts; nothing is analysed again."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Threads or processes that answer side by side; default: one per core."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier run wrote there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs, instead of text for people.")]
WrittenAsJson = Annotated[bool, typer.Option("--json", help="Print what was written, and counts, as JSON.")]


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """How posts are to be answered: the options of every command that answers some."""

    mode: ModeChoice = "auto"
    explain: Explain = "modality"
    model: Model = "default"
    adapter: AdapterChoice = None
    reasoner: ReasonerChoice = None
    policy: PolicyChoice = None
    limit: LimitChoices = None
    senses: SensesChoice = None

    def limits(self) -> Limits:
        """The limits of a post, those that were named changed.

        Raises:
            InputError: No such limit, or not a positive number.
        """
        values: dict[str, Any] = {}
        for name, written in _pairs(self.limit or (), "--limit"):
            if name not in {limit.name for limit in fields(Limits)}:
                known = ", ".join(limit.name for limit in fields(Limits))
                raise InputError(f"no limit {name!r}; known are {known}", field="--limit")
            try:
                values[name] = float(written) if name.endswith("seconds") else int(written)
            except ValueError:
                raise InputError(f"{name}: found {written!r}; wanted a number", field="--limit") from None
        return Limits(**values)

    def read(self) -> tuple[Sense, ...]:
        """The senses that were named.

        Raises:
            InputError: There is no such sense.
        """
        try:
            return check_senses([name.strip() for name in (self.senses or "").split(",") if name.strip()])
        except InputError as error:
            raise InputError(error.message, field="--senses") from error

    def call(self, adapter: str | None) -> Call:
        """How an engine is to answer with them; `adapter` is what `open` gave."""
        return Call(adapter=adapter, mode=self.mode, explain=self.explain)

    def open(self, reasoner: ReasonerSource | None = None, cache: int | None = None) -> tuple[Analyzer, str | None]:
        """The analyzer, and the name of the adapter to answer with where it is not the model's own.

        Args:
            reasoner: Is asked in place of the one that the options name.
            cache: Remember the features of so many posts.
        """
        more = () if self.adapter is None else (self.adapter,)
        try:
            policy = None if self.policy is None else Policy.parse(self.policy)
        except InputError as error:
            raise InputError(error.message, field="--policy") from error
        analyzer = Analyzer.from_pretrained(
            self.model,
            adapters=more,
            reasoner=self.reasoner if reasoner is None else reasoner,
            policy=policy,
            cache=cache,
            limits=self.limits(),
            senses=self.read(),
        )
        return analyzer, [*analyzer.adapters][-1] if more else None


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """On what a long run is done, and what it may cost."""

    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            "--engine",
            help="local: threads of this machine; ray: processes of the cluster RAY_ADDRESS, or of this one.",
        ),
    ] = "local"
    workers: Workers = None
    reasoners: Annotated[
        int, typer.Option("--reasoners", min=1, help="With ray: processes that hold the reasoner, for all workers.")
    ] = 1
    cache: Annotated[
        int | None,
        typer.Option(
            "--cache", metavar="POSTS", min=1, help="Remember so many posts: equal ones (reposts) are read once."
        ),
    ] = None
    max_failure_rate: Annotated[
        float | None,
        typer.Option(
            "--max-failure-rate", metavar="SHARE", min=0, max=1, help="Stop when surely more of the rows fail."
        ),
    ] = None
    max_cost: BudgetCost = None
    cost: QuestionCost = 1.0
    max_time: BudgetTime = None

    def budget(self) -> Budget:
        """What all questions to a reasoner may cost."""
        return Budget(max_cost=self.max_cost, cost=self.cost, max_seconds=self.max_time)


POSTS_HELP = "CSV, JSON, Excel, Parquet, an export, a folder of pictures, or - for standard input"
"""What a command takes as its posts."""


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How a file of posts is to be read: the options of every command that reads one."""

    map: MapChoices = None
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="THEIRS=OURS,...",
            help="What the file's labels mean, as in happy=positive,angry=negative.",
        ),
    ] = None
    encoding: Annotated[
        str | None, typer.Option("--encoding", metavar="NAME", help="Encoding of a text file; detected by default.")
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option("--delimiter", metavar="CHARACTER", help="Delimiter of a CSV file; detected by default."),
    ] = None

    image_root: Annotated[
        Path | None,
        typer.Option(
            "--image-root",
            metavar="DIR",
            help="Folder that picture paths start from and may not leave; the file's own by default.",
        ),
    ] = None

    def open(self, posts: Path, *, labels: bool = False) -> PostsFile:
        """The posts of a file; how they are read is said on standard error, where it is not as documented.

        Args:
            posts: Where they are.
            labels: Whether their labels matter.
        """
        file = read_posts(posts, self.reading())
        if line := file.understood(labels=labels):
            say(line)
        return file

    def reading(self) -> Reading:
        """As the reading room takes it."""
        delimiter = {"\\t": "\t", "tab": "\t"}.get(self.delimiter or "", self.delimiter)
        if delimiter is not None and len(delimiter) != 1:
            raise InputError(f"found {delimiter!r}; wanted one character, or tab", field="--delimiter")
        columns = {ours: theirs for ours, theirs in _pairs(self.map or (), "--map")}
        labels = dict(_pairs([pair for pairs in self.labels or () for pair in pairs.split(",")], "--labels"))
        return Reading(columns, cast(dict[str, Label], labels), self.encoding, delimiter, self.image_root)


DETECTED = ReadingOptions()
"""A file is read as it looks."""


def _pairs(written: Iterable[str], option: str) -> Iterator[tuple[str, str]]:
    for pair in written:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (equals and name and value):
            raise InputError(f"found {pair!r}; wanted NAME=VALUE", field=option)
        yield name, value


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
