"""`hybrid-mmsa review export | import`: answers to a labelling program, labels back. It holds no logic of its own."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ...data import PictureForm, ReviewForm, answered_posts, check_suffix, to_review, write_review
from ...data.review import INTERFACES
from ...errors import InputError
from ...types import RowError
from ..terminal.console import counted, tell_written
from ..terminal.options import DETECTED, POSTS_HELP, Force, ReadingOptions, WrittenAsJson, check_file, with_options
from ..terminal.whole import whole_file

__all__ = ["review_app"]

review_app = typer.Typer(
    help="Have posts labelled in Label Studio, Argilla or a table, and read the labels back.", no_args_is_help=True
)
COLUMNS = ("id", "text", "image", "target", "time", "group", "label")


@review_app.command("export")
@with_options("reading", DETECTED)
def export(
    answers: Annotated[Path, typer.Argument(metavar="ANSWERS", help="What `batch` wrote, .jsonl.")],
    posts: Annotated[Path, typer.Option("--posts", metavar="POSTS", help=f"The posts it answered: {POSTS_HELP}.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="File to write: .json; csv: .csv or .xlsx.")],
    to: Annotated[ReviewForm, typer.Option("--to", help="What people label in.")] = "label-studio",
    everything: Annotated[bool, typer.Option("--all", help="Also the posts that need no review.")] = False,
    most: Annotated[int | None, typer.Option("--most", min=1, help="So many posts at most.")] = None,
    random: Annotated[
        float,
        typer.Option(
            "--random",
            metavar="SHARE",
            min=0,
            max=0.99,
            help="Share of the posts that is drawn from all posts, whatever the model thinks of them: on these a new"
            " adapter is compared with the version before.",
        ),
    ] = 0.2,
    pictures: Annotated[
        PictureForm | None,
        typer.Option(
            "--pictures",
            help="link: paths, as Label Studio serves local files (its default); embed: small copies in the file"
            " (Argilla's).",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: WrittenAsJson = False,
    reading: ReadingOptions = DETECTED,
) -> None:
    """Write the posts to review, likeliest mistakes first, with answers and evidence.

    Among them stand some that are drawn from all posts, marked in `chosen`.
    For Label Studio the labelling interface is written beside the tasks, for
    Argilla the settings of the dataset.

    For example:
        hybrid-mmsa review export answers.jsonl --posts posts.csv --to label-studio -o tasks.json
        hybrid-mmsa review export answers.jsonl --posts posts.csv --to argilla -o records.json
    """
    _check_out(out, force, {answers, posts})
    if to == "csv":
        check_suffix(out, "-o")
    elif out.suffix.lower() != ".json":
        raise InputError(f"found {out.name}; wanted a name that ends in .json", field="-o")
    rows = reading.open(posts)
    chosen = to_review(answered_posts(rows, answers), everything=everything, most=most, drawn=random)
    with whole_file(out) as draft:
        write_review(chosen, draft, to, rows.source.root, pictures)
    drawn = sum(post.chosen == "random" for post in chosen)
    how = f" ({drawn} of them drawn from all posts)" if 0 < drawn < len(chosen) else ""
    sentence, files = f"{counted(len(chosen), 'post')} to label in {out}{how}", [out]
    if to in INTERFACES:
        suffix, content = INTERFACES[to]
        files.append(out.with_suffix(suffix))
        files[-1].write_text(content, encoding="utf-8")
        sentence += f", labelling interface in {files[-1]}"
    tell_written(sentence, files, as_json=as_json, posts=len(chosen), drawn=drawn)


@review_app.command("import")
@with_options("reading", DETECTED)
def import_labels(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The labelled posts: an export of the program, or a table.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="File for the labelled rows, .jsonl.")],
    force: Force = False,
    as_json: WrittenAsJson = False,
    reading: ReadingOptions = DETECTED,
) -> None:
    """Read labels back as rows that `adapter train` takes.

    Picture paths are those that the export was given: write the file beside the
    posts. Posts without a label are counted and left out.

    For example:
        hybrid-mmsa review import project.json -o labelled.jsonl
        hybrid-mmsa adapter train labelled.jsonl --fast -o adapters/mine
    """
    _check_out(out, force, {file})
    rows = reading.open(file, labels=True)
    labelled = others = failed = 0
    with whole_file(out) as draft, draft.open("w", encoding="utf-8") as lines:
        for (_, row), (_, raw) in zip(rows, rows.raw_rows(), strict=True):
            if isinstance(row, RowError) or isinstance(raw, RowError):
                failed += 1
            elif row.label is None:
                others += 1
            else:
                labelled += 1
                values = {name: getattr(row, name) for name in COLUMNS}
                values |= {"image": _named_picture(raw.get("image")), "chosen": raw.get("chosen")}
                lines.write(json.dumps({k: v for k, v in values.items() if v not in (None, "")}) + "\n")
    left = [f"{counted(others, 'post')} without a label"] * bool(others) + [
        f"{counted(failed, 'row')} unusable"
    ] * bool(failed)
    sentence = f"{counted(labelled, 'labelled post')} in {out}" + (f" ({' and '.join(left)} left out)" if left else "")
    tell_written(sentence, [out], as_json=as_json, posts=labelled, unlabelled=others, failed=failed)
    raise typer.Exit(1 if failed or not labelled else 0)


def _named_picture(value: object) -> str | None:
    """A picture as a row of JSON names it: its path or `data:` URI."""
    if isinstance(value, Mapping):  # as `datasets` writes a picture
        content = value.get("bytes")
        value = value.get("path") or ("data:;base64," + b64encode(content).decode() if content else None)
    return None if value is None else str(value)


def _check_out(out: Path, force: bool, sources: set[Path]) -> None:
    check_file(out, "-o")
    if out.resolve() in {source.resolve() for source in sources}:
        raise InputError("the file must not replace what it is made from", field="-o")
    if out.exists() and not force:
        raise InputError(f"{out} is there already; --force replaces it", field="-o")
