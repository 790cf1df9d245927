"""The answers and failures of a long run on disk, so that a killed run loses none. Knows nothing of models.

While a batch runs, answers grow in `OUT.partial` and failures in `ERRORS.partial`; both take their names when all rows
are done, so a file named OUT is always whole. Every row leaves exactly one line, in the order of the input, and a
failure reaches the disk before any later answer does. So the failures and the number of answers tell exactly
which rows are done.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ...data import LineFile
from ...errors import InputError
from ...types import Analysis, Provenance, RowError, Sample

__all__ = ["Done", "Journal", "beside"]


@dataclass(frozen=True, slots=True)
class Done:
    """What an earlier run has left.

    Attributes:
        answers: Number of answered rows.
        failed: Lines of the rows that failed.
        last_id: Identifier of the last answered row.
        provenance: What answered it.
    """

    answers: int = 0
    failed: frozenset[int] = frozenset()
    last_id: str | None = None
    provenance: Provenance | None = None

    def __len__(self) -> int:
        return self.answers + len(self.failed)

    def check_model(self, model_hash: str) -> None:
        """Raise `InputError` where another model gave the earlier answers."""
        before = self.provenance
        if before is not None and before.model_hash != model_hash:
            raise InputError(
                f"the earlier answers are from the model {before.model} {before.model_hash[:12]}…, "
                f"this is {model_hash[:12]}…; start anew, or name that model",
                field="--resume",
            )

    def remaining(self, rows: Iterable[tuple[int, Sample | RowError]]) -> Iterator[tuple[int, Sample | RowError]]:
        """The rows that are still to do.

        Raises:
            InputError: The earlier run cannot have been over these rows.
        """
        left = self.answers
        for line, row in rows:
            if line in self.failed:
                continue
            if not left:
                yield line, row
                continue
            left -= 1
            if isinstance(row, RowError) or (left == 0 and row.id != self.last_id):
                raise InputError(f"line {line} is not the row that was answered before; start anew", field="--resume")
        if left:
            raise InputError(f"{left} more rows were answered before than there are now; start anew", field="--resume")


class Journal:
    """Two files that grow line by line; a context manager.

    Args:
        out: Where the answers go when all rows are done.
        errors: Where the failures go; no such file is left when there are none.
        resume: Go on from what an earlier run has left: its partial files, or else its finished ones.

    Attributes:
        done: What an earlier run has left.
        failures: The rows that failed in this run.

    Raises:
        InputError: An interrupted run is there and `resume` is false, or a file cannot be read as an earlier run's.
    """

    def __init__(self, out: Path, errors: Path, *, resume: bool) -> None:
        self.out, self.errors = out, errors
        self._answers, self._failures = (LineFile(path.with_name(f"{path.name}.partial")) for path in (out, errors))
        self.failures: list[RowError] = []
        self._written = 0
        interrupted = [file.path for file in (self._answers, self._failures) if file.path.exists()]
        if interrupted and not resume:
            raise InputError(
                f"{interrupted[0]} is left of an interrupted run: go on with --resume, or delete it", field="-o"
            )
        self._fresh = not interrupted
        self._resume = resume
        self._open = ExitStack()
        # A run may be killed between giving one file its name and giving the other.
        finished = ((self._answers, out), (self._failures, errors))
        left = [file if file.path.exists() else LineFile(path) for file, path in finished]
        self.done = _read_done(*left) if resume else Done()

    def __enter__(self) -> Journal:
        for finished, file in ((self.out, self._answers), (self.errors, self._failures)):
            if self._resume and finished.exists() and not file.path.exists():
                shutil.copyfile(finished, file.path)
            self._open.enter_context(file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        if error is not None and self._fresh and not self._written:  # nothing that a next run should mind
            for file in (self._answers, self._failures):
                file.path.unlink(missing_ok=True)

    def write(self, row: Analysis | RowError) -> None:
        """Keep one answer or failure."""
        file = self._failures if isinstance(row, RowError) else self._answers
        file.append(row.model_dump_json())
        self._written += 1
        if isinstance(row, RowError):
            self.failures.append(row)

    def finish(self) -> None:
        """Give the files their names."""
        for file in (self._answers, self._failures):
            file.close()  # an open file cannot be renamed everywhere
        if self.done.failed or self.failures:
            self._failures.path.replace(self.errors)
        else:
            self.errors.unlink(missing_ok=True)
            self._failures.path.unlink()
        self._answers.path.replace(self.out)


def beside(out: Path) -> Path:
    """Where failures go unless the user says otherwise: `answers.jsonl` → `answers.errors.jsonl`."""
    return out.with_name(f"{out.stem}.errors.jsonl")


def _read_done(answers: LineFile, failures: LineFile) -> Done:
    try:
        failed = frozenset(RowError.model_validate_json(line).line for line in failures.lines())
        count, last = 0, b""
        for line in answers.lines():
            count, last = count + 1, line
        if not count:
            return Done(failed=failed)
        answer = Analysis.model_validate_json(last)
        return Done(count, failed, answer.id, answer.provenance)
    except ValueError as error:
        raise InputError(f"{answers.path} is not what an earlier run has left: {error!r}", field="--resume") from error
