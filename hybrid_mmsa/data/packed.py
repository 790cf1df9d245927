"""A corpus packed as one JSON object a line, pictures beside it. It knows the field names, not the corpora.

Fields: `id`, `text`, `image` (a path relative to the file) or `image_name` (a file in `data/`), `label`, `text_label`,
`image_label`, `target`, `sarcastic` (0, 1 or a bool), `emotion`, `split` (`all`: the corpus has no split), `allowed`
(the labels that count as right where there is no single one). All but `id` may be missing; others are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from ..types import EMOTIONS, EmotionLabel, Label, Sample
from .files import as_label, picture, read_json_lines
from .records import LoadReport, Record, Records, Split

__all__ = ["packed_file", "read_packed"]


def packed_file(root: Path, name: str) -> Path | None:
    """The packed file, given itself or its folder; `None` if it is not there."""
    path = root if root.suffix == ".jsonl" else root / name
    return path if path.is_file() else None


def read_packed(path: Path, report: LoadReport, *, group: str | None = None, pictures: Path | None = None) -> Records:
    """Yield the posts of a packed corpus; rows whose label is none of ours are counted and left out.

    Args:
        path: The file.
        report: Counts what could not be used.
        group: The field that `Record.group` is taken from; a field that is `true` names the group itself.
        pictures: The folder that `image` is relative to; the file's own unless it is given.
    """
    folder = path.parent if pictures is None else pictures
    for number, row in read_json_lines(path, report):
        where = f"{path.name}:{number}" if row.get("id") is None else str(row["id"])
        try:
            yield _record(row, folder, report, where, group)
        except LookupError:
            report.add("unknown label", where)
        except TypeError:  # a list where a name should stand
            report.add("broken line", where)


def _record(row: Mapping[str, Any], folder: Path, report: LoadReport, where: str, group: str | None) -> Record:
    """One row as a record; LookupError for a label, emotion or split that is none of ours."""
    name = row.get("image") or (f"data/{row['image_name']}" if row.get("image_name") else None)
    text = str(row.get("text") or "").strip() or None
    if text is None:
        report.add("missing text", where)
    allowed = tuple(_known_label(label) for label in row.get("allowed") or ())
    sample = Sample(
        text=text,
        image=picture(folder / name, report, where) if name else None,
        id=where,
        target=str(row["target"]) if row.get("target") else None,
        label=None if allowed else _sentiment(row, "label"),
        text_label=_sentiment(row, "text_label"),
        image_label=_sentiment(row, "image_label"),
        sarcastic=None if row.get("sarcastic") is None else {0: False, 1: True}[row["sarcastic"]],
    )
    return Record(
        sample, _split(row.get("split")), _emotion(row.get("emotion")), _group(row, group) if group else None, allowed
    )


def _sentiment(row: Mapping[str, Any], column: str) -> Label | None:
    return None if row.get(column) is None else _known_label(row[column])


def _known_label(value: object) -> Label:
    if (label := as_label(value)) is None:
        raise LookupError(value)
    return label


def _group(row: Mapping[str, Any], field: str) -> str | None:
    value = row.get(field)
    return field if value is True else str(value) if value else None


def _split(value: object) -> Split | None:
    splits: dict[object, Split | None] = {None: None, "all": None} | {name: name for name in get_args(Split)}
    return splits[value]


def _emotion(value: object) -> EmotionLabel | None:
    emotions: dict[object, EmotionLabel] = {name: name for name in EMOTIONS}
    return emotions[value] if value is not None else None
