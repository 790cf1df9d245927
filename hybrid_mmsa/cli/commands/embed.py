"""`hybrid-mmsa embed`: a file of posts → a file of vectors. It holds no logic of its own."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from safetensors.numpy import save_file

from ...analyzer import Analyzer
from ...errors import InputError
from ...extras import needs
from ...fusion import AFFECT
from ...inputs import read_row
from ...types import FloatArray, RowError, Sample
from ..terminal.console import tell_written
from ..terminal.failures import say_failures
from ..terminal.options import DETECTED, POSTS_HELP, Model, ReadingOptions, WrittenAsJson, check_file, with_options
from ..terminal.progress import progress
from ..terminal.whole import whole_file

__all__ = ["embed"]

CHUNK = 32
SUFFIXES = (".safetensors", ".parquet")
IDS = "ids"


@with_options("reading", DETECTED)
def embed(
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help=f"Posts to embed: {POSTS_HELP}.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="FILE", help="File for the vectors: .safetensors (ids in its metadata) or .parquet."
        ),
    ],
    model: Model = "default",
    as_json: WrittenAsJson = False,
    reading: ReadingOptions = DETECTED,
) -> None:
    """Write two vectors for each post, for search and recommendation: what it is about, and what it feels.

    The dot product of two `vectors` says how well two posts, a sentence and a
    picture, or two pictures go together; that of two `affect` how alike two
    posts feel. Rows that cannot be used are listed and left out; the exit code
    is then 1.

    For example:
        hybrid-mmsa embed posts.jsonl -o vectors.safetensors
    """
    check_file(out, "-o")
    if out.suffix not in SUFFIXES:
        raise InputError(f"found {out.name}; wanted a name that ends in {' or '.join(SUFFIXES)}", field="-o")
    if out.suffix == ".parquet":
        with needs("tables", "writing Parquet files"):
            import pyarrow.parquet  # noqa: F401  # before any post is read
    rows = reading.open(posts)
    analyzer = Analyzer.from_pretrained(model, cache=CHUNK)  # both vectors of a post come from one reading of it
    ids: list[str] = []
    vectors, affect = [analyzer.embed([])], [analyzer.affect([])]
    failed = 0
    with progress("posts", lambda: sum(1 for _ in rows)) as advance:
        numbered = ((line, read_row(line, row, analyzer.limits)) for line, row in rows)
        while chunk := list(islice(numbered, CHUNK)):
            good = [(row.id or str(line), row) for line, row in chunk if isinstance(row, Sample)]
            for _, row in chunk:
                advance()
                if isinstance(row, RowError):
                    failed += 1
                    say_failures([row])
            ids += [id_ for id_, _ in good]
            posts_alone = [Sample(id=row.id, text=row.text, image=row.image) for _, row in good]
            vectors.append(analyzer.embed(posts_alone))
            affect.append(analyzer.affect(posts_alone))
    with whole_file(out) as draft:
        _write(draft, ids, {"vectors": np.concatenate(vectors), "affect": np.concatenate(affect)})
    width = vectors[0].shape[1]
    sentence = f"{len(ids):,} vectors of {width} numbers in {out}"
    tell_written(sentence, [out], as_json=as_json, posts=len(ids), failed=failed, width=width)
    if failed:
        raise typer.Exit(1)


def _write(out: Path, ids: list[str], arrays: dict[str, FloatArray]) -> None:
    if out.suffix == ".safetensors":
        save_file(arrays, out, metadata={IDS: json.dumps(ids), "affect": json.dumps(AFFECT)})
        return
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, Any] = {"id": ids}
    for name, array in zip(("vector", "affect"), arrays.values(), strict=True):
        columns[name] = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(array.ravel()), array.shape[1])
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
