"""`BatchAnalyzer`: batches of posts in, batches of answers out, as Ray Data, Daft and Spark call a function.

    ray.data.read_parquet(posts).map_batches(BatchAnalyzer(), batch_format="pyarrow")
    frame.mapInArrow(analyzer, analyzer.ddl)                                            # Spark; mapInPandas likewise
    daft.func.batch(return_dtype=struct)(analyzer)(struct_of_columns)

It holds settings alone, so that it travels cheaply: each process opens the model when it is first called there, and
keeps it. It knows no engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..analyzer import Analyzer
from ..data import ANSWER_COLUMNS, flat_answer
from ..errors import InputError
from ..forks import OpenLock
from ..inputs import DEFAULT_LIMITS, Limits
from ..model import ReasonerSource
from ..types import Analysis, ExplainLevel, Mode, RowError, Sense
from ..types.frozen import FrozenDict
from .batches import Batch, arrow_schema, columns_like, length, rows_of, values_of
from .failure_rate import FailureRate
from .posts import columns_named, post_of

__all__ = ["BatchAnalyzer"]

ERROR, WHOLE = "error", "answer"
_SQL = {str: "string", float: "double", bool: "boolean"}
_OPENING = OpenLock()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnalyzer:
    """Answers batches of columns; see `batches` for their kinds. A batch of answers is of the kind of its posts.

    Posts have the columns of a row (`id, text, image, target`), or those that `columns` names. A picture is its bytes,
    `{"bytes": ..., "path": ...}`, or a path below `image_root`; what lies in an object store is fetched by the engine's
    own reader, never here. Answers have the columns of `data.flat_answer` and `error`: in which way a row could not be
    used, empty for all others. Each row of posts gives one row of answers, in their order.

    Attributes:
        model: See `Analyzer.from_pretrained`, and there: `reasoner`, `policy`, `cache`, `limits`, `senses`.
        adapter: An adapter that answers in place of the model's own: a name or a folder.
        mode, explain: See `Analyzer.analyze`.
        columns: Our columns, and what they are called in the batches; see `data.Reading.columns`.
        image_root: The folder that picture paths start from and may not leave; without one, paths are refused.
        keep: Columns of the posts to carry along as they are. A column `id` that is kept is not made a text.
        whole: Add a column `answer`, the whole answer as JSON.
        max_failure_rate: Raise where, in one process, surely a larger share of rows has failed.
    """

    model: str | Path = "default"
    adapter: str | Path | None = None
    reasoner: ReasonerSource | None = None
    policy: str | None = None
    mode: Mode = "auto"
    explain: ExplainLevel = "none"
    cache: int | None = None
    limits: Limits = DEFAULT_LIMITS
    senses: tuple[Sense, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    image_root: Path | None = None
    keep: tuple[str, ...] = ()
    whole: bool = False
    max_failure_rate: float | None = None

    def __post_init__(self) -> None:
        FailureRate(self.max_failure_rate)
        object.__setattr__(self, "columns", FrozenDict(self.columns))  # so that settings can be compared
        object.__setattr__(self, "keep", tuple(self.keep))
        object.__setattr__(self, "senses", tuple(self.senses))

    @property
    def kinds(self) -> dict[str, type[str] | type[float] | type[bool]]:
        """The columns of the answers and what they hold, those that are carried along left out."""
        made = {**ANSWER_COLUMNS, **({WHOLE: str} if self.whole else {}), ERROR: str}
        return {name: kind for name, kind in made.items() if name not in self.keep}

    @property
    def schema(self) -> Any:
        """The columns of the answers as a `pyarrow.Schema`, those that are carried along left out."""
        return arrow_schema(self.kinds)

    @property
    def ddl(self) -> str:
        """The same as Spark writes it: `id string, label string, confidence double, ...`."""
        return ", ".join(f"{name} {_SQL[kind]}" for name, kind in self.kinds.items())

    def __call__(self, batch: Batch) -> Batch:
        """The answers to a batch of posts; to an iterator of batches, as Spark hands them over, an iterator.

        Raises:
            InputError: It is no batch, or more rows fail than may.
            ArtefactError: The model cannot be opened.
        """
        if isinstance(batch, Iterator):
            return map(self, batch)
        with _OPENING:
            opened = _open(self)
        answers = opened.answers(rows_of(batch))
        opened.failures.count(len(answers), sum(isinstance(answer, RowError) for answer in answers))
        kept = {name: values_of(batch, name) for name in self.keep}
        if missing := [name for name, values in kept.items() if values is None]:
            raise InputError(f"there is no column {missing[0]!r} in the batch", field="keep")
        made = {name: [cells.get(name) for cells in map(self._cells, answers)] for name in self.kinds}
        if length(batch) != len(answers):
            raise InputError(f"found {len(answers)} rows in a batch of {length(batch)}", field="batch")
        return columns_like(batch, {**kept, **made}, self.kinds)

    def _cells(self, answer: Analysis | RowError) -> Mapping[str, Any]:
        if isinstance(answer, RowError):
            return {"id": answer.id, ERROR: f"{answer.field}: {answer.error}" if answer.field else answer.error}
        return {**flat_answer(answer), **({WHOLE: answer.model_dump_json()} if self.whole else {})}


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A model that is open in this process, and how many rows have failed in it."""

    settings: BatchAnalyzer
    analyzer: Analyzer
    adapter: str | None
    failures: FailureRate

    def answers(self, rows: list[Mapping[str, object]]) -> list[Analysis | RowError]:
        settings = self.settings
        columns = columns_named(settings.columns)
        posts = [(line, post_of(line, row, columns, settings.image_root)) for line, row in enumerate(rows, 1)]
        return list(self.analyzer.stream(posts, adapter=self.adapter, mode=settings.mode, explain=settings.explain))


@lru_cache(maxsize=2)
def _open(settings: BatchAnalyzer) -> _Opened:
    more = () if settings.adapter is None else (settings.adapter,)
    analyzer = Analyzer.from_pretrained(
        settings.model,
        adapters=more,
        reasoner=settings.reasoner,
        policy=settings.policy,
        cache=settings.cache,
        limits=settings.limits,
        senses=settings.senses,
    )
    adapter = [*analyzer.adapters][-1] if more else None
    return _Opened(settings, analyzer, adapter, FailureRate(settings.max_failure_rate))
