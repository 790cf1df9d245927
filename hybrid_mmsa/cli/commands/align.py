"""`hybrid-mmsa train align` and `embed`: one space of words and pictures, fitted and used. It holds no own logic."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from safetensors.numpy import save_file

from ...adapters import Adapter, resolve_adapter
from ...analyzer import Analyzer
from ...data import read_posts
from ...encoders import Encoder, open_encoder
from ...errors import ArtefactError, InputError, MissingExtraError
from ...fusion import Space, usable_space
from ...inputs import read_row
from ...types import FloatArray, RowError, Sample
from ..terminal.console import page, say
from ..terminal.options import Model, check_file
from ..terminal.progress import progress
from ..terminal.settings import with_settings
from .train import Corpora, Settings, check_folder, training_room

__all__ = ["embed", "train_align"]

CHUNK = 32
SUFFIXES = (".safetensors", ".parquet")
IDS = "ids"


def train_align(
    data: Corpora,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", metavar="NAME", help="Whose features are aligned; with -o, the model's own."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FOLDER", help="The model that gets the space; without it, it is measured."
        ),
    ] = None,
    settings: Settings = None,
) -> None:
    """Fit one space of words and pictures on captioned photos, and measure it on 200 held out.

    The photos stand in FOLDER/photos/SET, captions in captions.jsonl beside them
    ({"image": ..., "captions": [...]}). Search and likeness (`hybrid-mmsa
    embed`) use the space only if it finds five times as much as chance.

    For example:
        hybrid-mmsa train align --data corpora -o my-model
        hybrid-mmsa train align --data corpora --encoder open_clip:ViT-B-32/clip.safetensors
    """
    check_folder(data)
    adapter = None if out is None else Adapter.load(resolve_adapter(out))
    opened = _encoder(encoder, out, adapter)
    with training_room():
        from ...training.space import align

        config = with_settings(align.AlignConfig(), settings or ())
        kept = None if out is None else out.with_name(f"{out.name}.features")
        with progress("pictures and sentences", lambda: align.count_photos(data, config)) as advance:
            space = align.train_align(data, opened, config=config, kept=kept, advance=advance)
    if adapter is not None and out is not None:
        replace(adapter, space=space).save(out)
    _show(space)
    try:
        usable_space(space, adapter.name if adapter else opened.name, opened.hash)
    except ArtefactError as error:
        say(f"note: {error}")


def _encoder(name: str | None, out: Path | None, adapter: Adapter | None) -> Encoder:
    if adapter is None or out is None:
        return open_encoder(name or "compact", Path.cwd())
    own = open_encoder(adapter.encoder, out)
    adapter.check_encoder(own.name, own.hash)
    if name is not None and open_encoder(name, Path.cwd()).hash != own.hash:
        raise InputError(f"the model in {out} has the encoder {adapter.encoder}, not {name}", field="--encoder")
    return own


def _show(space: Space) -> None:
    """What the space finds among the held-out pairs, in %."""
    told, photos = space.facts["recall"], space.facts["held_out"]["photos"]
    page().print(f"{photos} held-out photos, each with one caption; in %, with 95 % intervals")
    for way in ("words_to_picture", "picture_to_words", "chance"):
        page().print(
            f"{way.replace('_', ' '):18}" + "".join(f"  {k.upper()} {_percent(v)}" for k, v in told[way].items())
        )


def _percent(share: Sequence[float] | float) -> str:
    if isinstance(share, float):
        return f"{100 * share:.1f}"
    value, low, high = (f"{100 * x:.1f}" for x in share)
    return f"{value} [{low}, {high}]"


def embed(
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help="Posts to embed: .jsonl, .csv or .parquet.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="FILE", help="Where the vectors go: .safetensors (ids in its metadata) or .parquet."
        ),
    ],
    model: Model = "default",
) -> None:
    """Give every post a vector in one space of words and pictures, for search and recommendation.

    The dot product of two vectors says how well two posts, a sentence and a
    picture, or two pictures go together. Rows that cannot be used are told and
    left out; the exit code is then 1.

    For example:
        hybrid-mmsa embed posts.jsonl -o vectors.safetensors
    """
    check_file(out, "-o")
    if out.suffix not in SUFFIXES:
        raise InputError(f"found {out.name}; wanted a name that ends in {' or '.join(SUFFIXES)}", field="-o")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise MissingExtraError("writing Parquet files", "eval")
    analyzer = Analyzer.from_pretrained(model)
    ids: list[str] = []
    vectors = [analyzer.embed([])]
    failed = 0
    with progress("posts", lambda: sum(1 for _ in read_posts(posts))) as advance:
        for rows in _chunks(posts):
            good = [(row.id or str(line), row) for line, row in rows if isinstance(row, Sample)]
            for line, row in rows:
                advance()
                if isinstance(row, RowError):
                    failed += 1
                    say(f"line {line}: " + (f"{row.field}: " if row.field else "") + row.error)
            ids += [id_ for id_, _ in good]
            vectors.append(analyzer.embed([row for _, row in good]))
    _write(out, ids, np.concatenate(vectors))
    say(f"{len(ids):,} vectors of {vectors[0].shape[1]} numbers in {out}")
    if failed:
        raise typer.Exit(1)


def _chunks(posts: Path) -> Iterator[list[tuple[int, Sample | RowError]]]:
    rows = ((line, read_row(line, row)) for line, row in read_posts(posts))
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _write(out: Path, ids: list[str], vectors: FloatArray) -> None:
    if out.suffix == ".safetensors":
        save_file({"vectors": vectors}, out, metadata={IDS: json.dumps(ids)})
        return
    import pyarrow
    import pyarrow.parquet

    flat: Any = pyarrow.array(vectors.ravel())
    column = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    pyarrow.parquet.write_table(pyarrow.table({"id": ids, "vector": column}), out)
