"""The answers and failures of a long run on disk, so that a killed run loses none and no two runs mix.

While a batch runs, answers grow in `OUT.partial` and failures in `ERRORS.partial`; both take their names when all rows
are done, so a file named OUT is always whole. `OUT.journal` says what the run is made from: the model and the options,
and a running digest of the rows, one line for each row before its answer. A run that goes on reads the rows again and
compares. The journal is locked while a run lasts, and stays beside the finished answers, so that rows added later can
be answered. A failure reaches the disk before any later answer does: so the failures and the number of answers tell
exactly which rows are done, however much of its answers a killed run leaves. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ...data import TABLE_SUFFIXES, LineFile, flat_answer, write_table
from ...errors import InputError
from ...inputs import NumberedRow
from ...types import Analysis, RowError, Sample

__all__ = ["Journal", "beside", "working_files"]

START = "0" * 32
ANEW = "start anew with --force"


def beside(out: Path) -> Path:
    """Where failures go unless the user says otherwise: `answers.jsonl` → `answers.errors.jsonl`."""
    return out.with_name(f"{out.stem}.errors.jsonl")


def working_files(out: Path, errors: Path) -> list[Path]:
    """The files that a run writes besides OUT and ERRORS."""
    return [_with(out, "partial"), _with(out, "table"), _with(out, "journal"), _with(errors, "partial")]


def _with(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


class Journal:
    """The files of a run; a context manager, in which they are open and locked.

    Args:
        out: Where the answers go when all rows are done. A table (`.csv`, ...) is made of them then.
        errors: Where the failures go; no such file is left when there are none.
        facts: What the answers depend on besides the rows, by name; all values are JSON.
        resume: Go on from what an earlier run has left: its partial files, or else its finished ones.
        force: Replace what is there.

    Attributes:
        done: Rows that an earlier run has answered or found unusable.
        failed: How many of them it found unusable.
        failures: The rows that failed in this run.

    Raises:
        InputError: Answers or an interrupted run are there and neither `resume` nor `force` is said; or what is there
            is not what an earlier run of the same kind has left.
    """

    def __init__(
        self,
        out: Path,
        errors: Path,
        facts: Mapping[str, object] | None = None,
        *,
        resume: bool = False,
        force: bool = False,
    ) -> None:
        self.out, self.errors = out, errors
        self._facts = dict(facts or {})
        self._answers, self._failures = LineFile(_with(out, "partial")), LineFile(_with(errors, "partial"))
        self._rows = LineFile(_with(out, "journal"))
        self._resume, self._force = resume, force
        self._check_start()
        self.failures: list[RowError] = []
        self.done = self.failed = 0
        self._earlier: dict[int, str] = {}  # the digest after so many rows
        self._failed_lines: frozenset[int] = frozenset()
        self._waiting: deque[tuple[int, int, str]] = deque()  # count, line and digest of rows without an answer yet
        self._written = 0
        self._open = ExitStack()

    def _check_start(self) -> None:
        interrupted = next((file.path for file in (self._answers, self._failures) if file.path.exists()), None)
        if self._resume or self._force:
            if self._resume and self._force:
                raise InputError("--force starts anew and --resume goes on: say one of them", field="--resume")
            if self._resume and interrupted is None and self.out.exists() and self._is_table():
                raise InputError(f"{self.out.name} is finished, and a table cannot be gone on from", field="--resume")
            return
        if interrupted is not None:
            raise InputError(
                f"{interrupted} is left of an interrupted run: go on with --resume, or start anew with --force",
                field="-o",
            )
        if self.out.exists():
            raise InputError(f"{self.out} is there already: --force replaces it, --resume adds to it", field="-o")

    def _is_table(self) -> bool:
        return self.out.suffix.lower() in TABLE_SUFFIXES

    def __enter__(self) -> Journal:
        with ExitStack() as opened:
            fresh = not self._rows.path.exists()
            lock = opened.enter_context(self._rows.path.open("ab"))
            _lock(lock, self.out)
            if self._resume:
                self._read_earlier()
            else:
                for file in (self._answers, self._failures):
                    file.path.unlink(missing_ok=True)
                self._rows.path.write_text(json.dumps(self._facts) + "\n", encoding="utf-8")
            for file in (self._answers, self._failures, self._rows):
                opened.enter_context(file)
            self._fresh = fresh
            self._open = opened.pop_all()
        return self

    def _read_earlier(self) -> None:
        """Take up what an earlier run has left."""
        for finished, file in ((self.out, self._answers), (self.errors, self._failures)):
            # A run may be killed between giving one file its name and giving the other.
            if finished.exists() and not file.path.exists() and not (file is self._answers and self._is_table()):
                shutil.copyfile(finished, file.path)
        self._count_done()
        header, *lines = [*self._rows.lines()] or [b"{}"]
        if not self.done:
            self._rows.path.write_text(json.dumps(self._facts) + "\n", encoding="utf-8")
            return
        try:
            facts = json.loads(header)
            self._earlier = {count: digest for count, _, digest in map(json.loads, lines)}
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{self._rows.path} is not what an earlier run has left: {error}", field="--resume"
            ) from error
        if self.done > max(self._earlier, default=0):
            raise InputError(
                f"{self._rows.path} does not say which {self.done:,} rows were answered before; {ANEW}",
                field="--resume",
            )
        for name in {**facts, **self._facts}:
            before, now = facts.get(name), self._facts.get(name)
            if before != now:
                raise InputError(f"the earlier answers are of {name} {before}, this is {now}; {ANEW}", field="--resume")

    def _count_done(self) -> None:
        """Read what is on disk: all failures, and how many answers."""
        try:
            answers, last = 0, b""
            for line in self._answers.lines():
                answers, last = answers + 1, line
            if answers:
                Analysis.model_validate_json(last)
            failures = [RowError.model_validate_json(line).line for line in self._failures.lines()]
        except ValueError as error:
            cause = str(error).splitlines()[0]
            raise InputError(f"{self.out} is not what an earlier run has left: {cause}", field="--resume") from error
        self._failed_lines, self.failed = frozenset(failures), len(failures)
        self.done = answers + self.failed

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        if error is not None and not self._written and not self.done:  # nothing that a next run should mind
            for file in (self._answers, self._failures):
                file.path.unlink(missing_ok=True)
            if self._fresh:
                self._rows.path.unlink(missing_ok=True)

    def remaining(self, rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
        """The rows that are still to do; what is written for them must come in their order.

        Raises:
            InputError: The earlier run cannot have been over these rows.
        """
        digest, count, answered = START, 0, self.done - self.failed
        for count, (line, row) in enumerate(rows, 1):
            digest = hashlib.sha256(f"{digest}{_content(line, row)}".encode(errors="surrogatepass")).hexdigest()[:32]
            if self._earlier.get(count, digest) != digest:
                which = (
                    f"line {line} is not"
                    if count - 1 in self._earlier or count == 1
                    else f"the first {count:,} rows are not"
                )
                raise InputError(f"{which} what was answered before; {ANEW}", field="--resume")
            if line in self._failed_lines:
                continue
            if answered:
                answered -= 1
                continue
            self._waiting.append((count, line, digest))
            yield line, row
        if answered:
            raise InputError(f"{answered} more rows were answered before than there are now; {ANEW}", field="--resume")

    def write(self, row: Analysis | RowError) -> None:
        """Keep one answer or failure: that of the first remaining row without one."""
        self._written += 1
        count, line, digest = self._waiting.popleft()
        if count not in self._earlier:
            self._rows.append(json.dumps([count, line, digest]))
        file = self._failures if isinstance(row, RowError) else self._answers
        file.append(row.model_dump_json())
        if isinstance(row, RowError):
            self.failures.append(row)

    def finish(self) -> None:
        """Give the files their names."""
        for file in (self._answers, self._failures, self._rows):
            file.close()  # an open file cannot be renamed everywhere
        if self.failed or self.failures:
            self._failures.path.replace(self.errors)
        else:
            self.errors.unlink(missing_ok=True)
            self._failures.path.unlink()
        if self._is_table():
            table = _with(self.out, "table")
            answers = (Analysis.model_validate_json(line) for line in self._answers.lines())
            write_table(map(flat_answer, answers), table, self.out.suffix)
            table.replace(self.out)
            self._answers.path.unlink()
        else:
            self._answers.path.replace(self.out)
        header, *lines = self._rows.lines()
        self._rows.path.write_bytes(b"".join([header, *lines[-1:]]))


def _content(line: int, row: Sample | RowError) -> str:
    """What an answer depends on of a row."""
    if isinstance(row, RowError):
        return repr((line, row.error))
    picture = row.image
    if isinstance(picture, bytes | bytearray | memoryview):
        picture = hashlib.sha256(picture).hexdigest()
    # The file may be named from another folder next time.
    shown = picture.name if isinstance(picture, Path) else None if picture is None else str(picture)
    return repr((row.id, row.text, row.target, shown))


def _lock(file: BinaryIO, out: Path) -> None:
    """Lock a file until it is closed, or this process ends.

    Raises:
        InputError: Another process holds it.
    """
    try:
        try:
            import fcntl
        except ImportError:  # Windows
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(f"another run is writing {out}", field="-o") from error
