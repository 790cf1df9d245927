"""Columns as people's files name them → the columns of a row; labels likewise. It reads no file.

Nothing is guessed in silence: `Columns.lines` says what was understood, and where two columns could be meant, neither
is taken or, for the words, the user is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from ..errors import InputError
from ..inputs import read_label
from ..types import Label
from .exports import EXPORTS, Export, Value, join, value_at

__all__ = ["COLUMNS", "Columns", "Reading", "columns_of"]

COLUMNS = (
    "id",
    "text",
    "image",
    "target",
    "time",
    "group",
    "label",
    "text_label",
    "image_label",
    "sarcastic",
    "rationale",
    "split",
    "chosen",
)
"""Our columns. `split` says which posts are to be tested on, and `chosen` which ones a model's doubts chose; see
`training.posts.labelled_file`."""
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "text": (
        "tweet",
        "tweet_text",
        "full_text",
        "content",
        "body",
        "review",
        "review_text",
        "reviewtext",
        "review_body",
        "comment",
        "comment_text",
        "message",
        "post",
        "post_text",
        "caption",
        "sentence",
        "feedback",
    ),
    "image": ("image_path", "image_file", "image_name", "img", "img_path", "picture", "photo"),
    "label": (
        "sentiment",
        "airline_sentiment",
        "sentiment_label",
        "polarity",
        "rating",
        "stars",
        "star_rating",
        "review_stars",
    ),
    "id": ("post_id", "tweet_id", "review_id", "comment_id", "id_str"),
    "time": ("created_at", "createdat", "timestamp", "datetime", "date", "created", "created_utc", "posted_at"),
    "split": ("part", "subset"),
}
SHOWN = 6


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is to be read, where its user knows better.

    Attributes:
        columns: Our columns, and what they are called in the file: a name, `a.b` for what lies inside of `a`, or
            several texts joined by `+`.
        labels: The file's labels (any case), and what they mean.
        encoding: Of a text file; detected by default.
        delimiter: Between cells of a CSV file; detected by default.
        image_root: The folder that picture paths start from and may not leave; the file's own by default.

    Raises:
        InputError: The folder is none, a column is none of ours, or a label means none of the three.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    image_root: Path | None = None

    def __post_init__(self) -> None:
        if self.image_root is not None and not self.image_root.is_dir():
            raise InputError(f"there is no folder {self.image_root}", field="--image-root")
        if wrong := [name for name in self.columns if name not in COLUMNS]:
            raise InputError(f"found {wrong[0]!r}; wanted one of {', '.join(COLUMNS)}, as in text=tweet", field="--map")
        for name, label in self.labels.items():
            if label not in get_args(Label):
                raise InputError(
                    f"{name}={label}: wanted negative, neutral or positive, as in happy=positive", field="--labels"
                )


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Where our columns lie in the rows of a file.

    Attributes:
        sources: Our columns, those that are not simply there under their own name.
        labels: The file's labels in lower case, and what they mean.
        export: The program the file is from, if it was recognised.
        notes: What else is to be said of the file.
        label_notes: How the labels of its first rows are read, where they are not written as ours.
    """

    sources: Mapping[str, Value]
    labels: Mapping[str, Label]
    export: Export | None = None
    notes: Sequence[str] = ()
    label_notes: Sequence[str] = ()

    def row(self, row: Mapping[str, object], root: Path) -> Mapping[str, object]:
        """A row of the file in our columns."""
        read = {name: row[name] for name in COLUMNS if name in row} if self.export is None else {}
        for name, source in self.sources.items():
            read[name] = source(row, root) if callable(source) else _found(row, source, joined=name == "text")
        text = read.get("text")
        # A table's cell that is a number; NaN is an empty one.
        if isinstance(text, int | float) and not isinstance(text, bool) and text == text:
            read["text"] = str(text)
        label = read.get("label")
        if self.labels and isinstance(label, str | int | float):
            read["label"] = self.labels.get(_label_name(label), label)
        return read

    def lines(self) -> list[str]:
        """What was understood, in parts of one line; empty where the columns are simply ours."""
        parts = [] if self.export is None else [self.export.name]
        named = {name: source for name, source in self.sources.items() if not callable(source) and source != (name,)}
        parts += [f"{name} from {' and '.join(source)}" for name, source in named.items() if not callable(source)]
        return [*parts, *self.notes]


def _label_name(label: object) -> str:
    text = str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
    return text.strip().lower()


def _found(row: Mapping[str, object], paths: Sequence[str], *, joined: bool) -> object:
    values = [value for path in paths if (value := value_at(row, path)) not in (None, "")]
    if joined and len(values) > 1:
        return join([str(value) for value in values])
    return values[0] if values else None


def columns_of(rows: Iterable[Mapping[str, object]], heading: Sequence[str] | None, reading: Reading) -> Columns:
    """Where our columns lie, from the first rows of a file.

    What the user says counts first; then an export that is recognised; then our own names, in any case; then the
    common names of the same thing, if there is but one of them.

    Args:
        rows: The first rows.
        heading: The columns, where the file names them once for all rows.
        reading: What the user says.

    Raises:
        InputError: A column that the user names is not there, a column that is used is named twice, or there is
            neither text nor picture.
    """
    first = list(rows)
    names = list(heading) if heading is not None else list(dict.fromkeys(key for row in first for key in row))
    there = dict.fromkeys([*names, *(path for row in first for path in _paths(row))])
    sources: dict[str, Value] = {}
    for ours, theirs in reading.columns.items():
        paths = tuple(path.strip() for path in theirs.split("+"))
        if lacking := [path for path in paths if path not in there] if there else []:
            raise InputError(f"no column {lacking[0]!r}; {_listed(names)}", field="--map")
        sources[ours] = paths
    export = next((export for export in EXPORTS if export.signature <= set(there)), None)
    if export is not None:
        sources = {**export.columns, **sources}
    notes = [export.pictures] if export is not None and export.pictures else []
    if export is None:
        notes += _add_by_name(sources, names)
    _check_named_once(names, sources)
    labels = {name.strip().lower(): label for name, label in reading.labels.items()}
    if labels:
        notes.append("labels " + ", ".join(f"{name} as {label}" for name, label in labels.items()))
    if not {"text", "image"} & (set(sources) | set(names)) and (names or heading is not None):
        raise InputError(
            f"no column is known as text or image; {_listed(names)}; name it: --map text=COLUMN", field="file"
        )
    columns = Columns(sources, labels, export, notes)
    return replace(columns, label_notes=_label_notes(columns, first))


def _paths(row: Mapping[str, object]) -> Iterable[str]:
    """The paths of what lies inside of a row's columns, two deep."""
    for key, value in row.items():
        if isinstance(value, Mapping):
            for inner, deep in value.items():
                yield f"{key}.{inner}"
                if isinstance(deep, Mapping):
                    yield from (f"{key}.{inner}.{name}" for name in deep)


def _add_by_name(sources: dict[str, Value], names: Sequence[str]) -> list[str]:
    """Add the columns that are known by their names; what is to be said of others."""
    notes = []
    plain = {name: name.strip().lower().replace(" ", "_").replace("-", "_") for name in names}
    for ours in COLUMNS:
        if ours in sources or ours in names:
            continue
        own = [name for name in names if plain[name] == ours]
        common = [name for name in names if plain[name] in SYNONYMS.get(ours, ())]
        candidates = list(dict.fromkeys(own or common))
        used = {path for source in sources.values() if not callable(source) for path in source}
        candidates = [name for name in candidates if name not in used]
        if len(candidates) == 1:
            sources[ours] = (candidates[0],)
        elif len(candidates) > 1 and ours == "text":
            raise InputError(
                f"{' and '.join(map(repr, candidates[:3]))} may be the text; say which: --map text={candidates[0]}",
                field="file",
            )
        elif len(candidates) > 1:
            notes.append(f"{ours} not read: {' or '.join(candidates[:3])}? (--map {ours}=...)")
    return notes


def _check_named_once(names: Sequence[str], sources: Mapping[str, Value]) -> None:
    used = {path for source in sources.values() if not callable(source) for path in source} | set(COLUMNS)
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1 and name in used]:
        raise InputError(
            f"the heading names {twice[0]!r} {names.count(twice[0])} times; name each column once", field="file"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[: 2 * SHOWN])
    return (
        f"found the columns {shown}" + (" and more" if len(names) > 2 * SHOWN else "") if names else "found no columns"
    )


def _label_notes(columns: Columns, rows: Sequence[Mapping[str, object]]) -> list[str]:
    """How the labels of the first rows are read, where they are not written as ours."""
    read: dict[str, Label | None] = {}
    for row in rows:
        label = columns.row(row, Path()).get("label")
        if isinstance(label, str | int | float) and str(label).strip() and label == label:
            read[_label_name(label)] = read_label(label)
    other = {name: label for name, label in read.items() if name != label}
    known = ", ".join(f"{name} as {label}" for name, label in [*other.items()][:SHOWN] if label is not None)
    unknown = [repr(name[:30]) for name, label in other.items() if label is None]
    notes = [f"labels {known}"] if known else []
    if unknown:
        notes.append(f"labels not known: {', '.join(unknown[:SHOWN])} (--labels {unknown[0][1:-1]}=...)")
    return notes
