"""What an evaluation found, as a file: ids and numbers, never a post's words or picture. It computes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import InputError
from ..types import Provenance

__all__ = [
    "ClassScores",
    "Comparison",
    "Figure",
    "Latency",
    "Mistake",
    "Published",
    "Result",
    "Subset",
    "SystemScores",
    "load_result",
    "load_results",
    "save_result",
]

RESULT_VERSION = "1.0"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Frozen):
    """A metric's value and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class ClassScores(_Frozen):
    """One class: the posts that have the label, and how well they were found."""

    label: str
    support: int
    precision: Figure
    recall: Figure
    f1: Figure


class PointSeries(_Frozen):
    """Points of a diagram, `x` ascending; `weight` is the posts at each point, where that is drawn."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    weight: tuple[int, ...] = ()


class SystemScores(_Frozen):
    """One system on one set of posts. A floor without probabilities has label metrics only."""

    name: str
    kind: Literal["model", "floor"]
    n: int
    figures: Mapping[str, Figure]
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: PointSeries | None = None
    risk_coverage: PointSeries | None = None


class Comparison(_Frozen):
    """`first` minus `second` on the same posts: paired bootstrap differences, and McNemar's exact test."""

    first: str
    second: str
    subset: str
    n: int
    accuracy: Figure
    macro_f1: Figure
    first_only: int
    second_only: int
    p_value: float


class Subset(_Frozen):
    """Main figures of every system on some of the posts."""

    name: str
    n: int
    figures: Mapping[str, Mapping[str, Figure]]


class Mistake(_Frozen):
    """A post the model got wrong, by id."""

    id: str
    gold: str
    predicted: str
    confidence: float


class Latency(_Frozen):
    """Milliseconds per post as the analyses report them; posts per second of a run done in one go, reading included."""

    p50_ms: float
    p95_ms: float
    posts_per_second: float | None = None


class Published(_Frozen):
    """A figure from a paper, in percent: its setting, where it is stated, and whether it was checked there."""

    protocol: str
    system: str
    modality: Literal["text", "image", "both"]
    figures: Mapping[str, float]
    setting: str
    source: str
    verified: bool = True


class Result(_Frozen):
    """One evaluation.

    `text_only` says that no picture was at hand: it must stand wherever a figure of this result is printed.
    `notes` are the load report's lines and whatever else a reader must know; `errors` the first rows that failed.
    """

    version: str = RESULT_VERSION
    protocol: str
    title: str
    date: str
    corpus: str | None = None
    task: Literal["sentiment", "sarcasm"] = "sentiment"
    labels: tuple[str, ...]
    metric: str
    cleaning: str = "none"
    split: str | None = None
    split_sha256: str | None = None
    part: str | None = None
    n: int
    n_train: int | None = None
    seed: int | None = None
    n_text: int
    n_image: int
    text_only: bool
    failed: int = 0
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    model: Provenance | None = None
    answered_by: Mapping[str, int] = {}
    deferral_rate: Figure | None = None
    latency: Latency | None = None
    systems: tuple[SystemScores, ...]
    subsets: tuple[Subset, ...] = ()
    synergy: tuple[Comparison, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    published: tuple[Published, ...] = ()

    @property
    def modalities(self) -> str:
        """How many texts and pictures the figures were measured on, as tables print it."""
        if self.text_only:
            return "text only"
        return f"{self.n_text:,} texts, {self.n_image:,} pictures"

    def system(self, name: str) -> SystemScores | None:
        """The scores of a system, or `None` if it was not run."""
        return next((scores for scores in self.systems if scores.name == name), None)


def save_result(result: Result, path: Path) -> None:
    """Write a result as JSON with floats cut to six digits, so that files differ only where figures do."""
    values = json.loads(result.model_dump_json(), parse_float=lambda text: round(float(text), 6))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def load_result(path: Path) -> Result:
    """Read a result file.

    Raises:
        InputError: There is none, or it is not a result of this version.
    """
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"no result file {path}: {error.strerror}", field="results") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{path.name} is not a result file: {place}: {first['msg']}", field="results") from error


def load_results(folder: Path) -> list[Result]:
    """The results in a folder, by protocol and then by date."""
    results = [load_result(path) for path in sorted(folder.glob("*.json"))]
    return sorted(results, key=lambda result: (result.protocol, result.date, result.seed or 0))
