"""Mutated files of posts in every form that is read, and what reading them comes to.

Small tables with hostile cells are written as CSV in many dialects, JSON, JSON lines, Excel, Parquet and gzip, and
damaged: their bytes, the parts inside of an Excel file, the text behind gzip. Some claim to be another format, and a
few unpack to far more than they are.
"""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet
from openpyxl import Workbook

from eval.bench.hardening.damage import damaged
from eval.bench.hardening.trials import Attempt
from hybrid_mmsa.data import read_posts
from hybrid_mmsa.inputs import read_row
from hybrid_mmsa.types import Sample

COUNT, SEED = 5_000, 20_261_131
BOMB_EVERY = 500
BOMB = 300_000_000
"""Bytes that a bomb unpacks to."""
WHOLE_SHARE, OTHER_SUFFIX_SHARE = 0.15, 0.1
COLUMNS = ("id", "text", "image", "target", "label", "time")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".js", ".xlsx", ".parquet", ".txt", ".csv.gz", ".jsonl.gz", "")

_CELLS: tuple[Any, ...] = (
    *(
        "",
        " ",
        "a,b;c\td|e",
        'an "open quote',
        '"',
        "line\nbreak",
        "\r",
        "=1+1",
        "\x00",
        "é’–",
        "\ud83d\ude00",
        "None",
        "null",
    ),
    *("sea.jpg", "../../etc/passwd", "/dev/zero", "http://a.b/c.jpg", "data:image/png;base64,AAAA", "data:,%41%"),
    *(
        "positive",
        "NEG",
        "5 stars",
        "mixed",
        "2024-01-01",
        "1e400",
        "-1",
        "99999999999999999999",
        "Wed Oct 10 20:19:24 +0000 2018",
    ),
)
_VALUES: tuple[Any, ...] = (
    *_CELLS,
    None,
    True,
    0,
    -1,
    10**40,
    1.5,
    float("inf"),
    [],
    {},
    [["a"]],
    {"bytes": "x", "path": 7},
    "x" * 5_000,
)


def prepare(folder: Path) -> Callable[[int], Attempt]:
    """Number → a file to read to its end."""

    def attempt(number: int) -> Attempt:
        chance = Random(f"{SEED} {number}")
        if number % BOMB_EVERY == 0:
            suffix, content = chance.choice(BOMBS)()
            kind = f"bomb {suffix}"
        else:
            kind = chance.choice(list(WRITERS))
            suffix, content = WRITERS[kind](chance)
            if chance.random() > WHOLE_SHARE:
                content = damaged(content, chance)
        if chance.random() < OTHER_SUFFIX_SHARE:
            suffix = chance.choice(SUFFIXES)
        path = folder / f"posts{suffix}"
        path.write_bytes(content)
        return Attempt(kind, lambda: read(path))

    return attempt


def read(path: Path) -> str:
    """Read a file to its end, every row as the analyzer would."""
    rows = [read_row(line, row) for line, row in read_posts(path)]
    return "all rows read" if all(isinstance(row, Sample) for row in rows) else "some rows refused"


def _table(chance: Random, cells: Sequence[Any]) -> list[dict[str, Any]]:
    columns = [*COLUMNS[: chance.randint(2, len(COLUMNS))], *(["text"] if chance.random() < 0.03 else ["more"])]
    return [{name: chance.choice(cells) for name in columns} for _ in range(chance.randint(0, 12))]


def _csv(chance: Random) -> tuple[str, bytes]:
    rows, delimiter = _table(chance, _CELLS), chance.choice(",;\t|")
    file = StringIO(newline="")
    writer = csv.writer(
        file,
        delimiter=delimiter,
        quoting=chance.choice((csv.QUOTE_ALL, csv.QUOTE_MINIMAL)),
        lineterminator=chance.choice(("\n", "\r\n", "\r")),
    )
    writer.writerow(rows[0] if rows else COLUMNS)
    writer.writerows(row.values() for row in rows)
    text = chance.choice(("", "sep=" + delimiter + "\n")) + file.getvalue()
    return chance.choice((".csv", ".tsv", ".txt")), text.encode(
        chance.choice(("utf-8", "utf-8-sig", "utf-16", "cp1252")), "replace"
    )


def _json_lines(chance: Random) -> tuple[str, bytes]:
    return ".jsonl", "".join(json.dumps(row) + "\n" for row in _table(chance, _VALUES)).encode()


def _json(chance: Random) -> tuple[str, bytes]:
    rows: Any = _table(chance, _VALUES)
    whole = chance.choice(
        (rows, {"data": rows}, {"kind": "Listing", "data": {"children": [{"data": row} for row in rows]}})
    )
    head = chance.choice(("", "", "window.YTD.tweets.part0 = "))
    return ".js" if head else ".json", (head + json.dumps(whole, indent=chance.choice((None, 1)))).encode()


def _nested(chance: Random) -> tuple[str, bytes]:
    depth, opening = int(10 ** chance.uniform(1, 5)), chance.choice(("[", '{"a":', '[{"text":'))
    return chance.choice((".json", ".jsonl")), (chance.choice(("", '{"text": "fine"}\n')) + opening * depth).encode()


def _excel(chance: Random) -> tuple[str, bytes]:
    book, file = Workbook(), BytesIO()
    sheet = book.active if book.active is not None else book.create_sheet()
    rows = _table(chance, [cell for cell in _CELLS if "\x00" not in cell and "\ud83d" not in cell])
    for row in (list(rows[0]) if rows else list(COLUMNS), *(list(row.values()) for row in rows)):
        sheet.append(row)
    book.save(file)
    return ".xlsx", file.getvalue()


def _excel_inside(chance: Random) -> tuple[str, bytes]:
    """An Excel file of which one part is damaged, packed anew so that the damage is met."""
    (_, content), file = _excel(chance), BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        hit = chance.choice(old.namelist())
        for name in old.namelist():
            body = old.read(name)
            new.writestr(name, damaged(body, chance) if name == hit else body)
    return ".xlsx", file.getvalue()


def _parquet(chance: Random) -> tuple[str, bytes]:
    names, file = COLUMNS[: chance.randint(2, len(COLUMNS))], BytesIO()
    values: list[Any] = ["a", None, "positive", "2024-01-01"]
    columns = {name: [chance.choice(values) for _ in range(6)] for name in names}
    pyarrow.parquet.write_table(
        pyarrow.table(columns), file, compression=chance.choice(("snappy", "gzip", "zstd", "none"))
    )
    return ".parquet", file.getvalue()


def _packed(chance: Random) -> tuple[str, bytes]:
    suffix, content = chance.choice((_csv, _json_lines))(chance)
    return f"{suffix}.gz", gzip.compress(damaged(content, chance), 1)


def _noise(chance: Random) -> tuple[str, bytes]:
    return chance.choice(SUFFIXES), chance.randbytes(chance.randrange(3_000))


def _gzip_bomb() -> tuple[str, bytes]:
    return ".csv.gz", gzip.compress(b"id,text\n1," + b"a" * BOMB, 1)


def _gzip_lines_bomb() -> tuple[str, bytes]:
    return ".jsonl.gz", gzip.compress(b'{"text": "' + b" " * BOMB, 1)


def _excel_bomb() -> tuple[str, bytes]:
    (_, content), file = _excel(Random(0)), BytesIO()
    with (
        zipfile.ZipFile(BytesIO(content)) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for name in old.namelist():
            body = old.read(name)
            if name.endswith("sheet1.xml"):
                body = body.replace(b"<sheetData>", b"<sheetData>" + b"<row></row>" * (BOMB // 33))
            new.writestr(name, body)
    return ".xlsx", file.getvalue()


BOMBS = (_gzip_bomb, _gzip_lines_bomb, _excel_bomb)
WRITERS: dict[str, Callable[[Random], tuple[str, bytes]]] = {
    "CSV": _csv,
    "JSON lines": _json_lines,
    "JSON": _json,
    "nested JSON": _nested,
    "Excel": _excel,
    "Excel, inside": _excel_inside,
    "Parquet": _parquet,
    "packed": _packed,
    "noise": _noise,
}
