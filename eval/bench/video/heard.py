"""How well a Whisper model hears the call of `eval/examples/service_call.py`, whose voices are espeak-ng's.

    python eval/bench/video/heard.py MODEL_FOLDER [--json] [--save]

Needs espeak-ng. Word errors are insertions, deletions and substitutions against what was said, by role, letters and
apostrophes alone; moments are compared with those that the true transcript gives. A made voice is no measure of calls.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.examples.service_call import make
from hybrid_mmsa.senses.speech import Speech
from hybrid_mmsa.types import Role, Utterance
from hybrid_mmsa.video import Timeline, analyze_video, read_transcript

NAME = "heard"
ROLES: tuple[Role, ...] = ("agent", "customer")


def words(utterances: Iterable[Utterance], role: str) -> list[str]:
    """What one of the two says, word by word."""
    return [word for each in utterances if each.role == role for word in re.findall(r"[a-z']+", each.text.lower())]


def errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """The least insertions, deletions and substitutions between them (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def found(timeline: Timeline) -> list[list[str]]:
    """The kinds of moments, with their roles."""
    return [[moment.kind, moment.role or ""] for moment in timeline.moments]


def main() -> None:
    """Measure, print and perhaps keep."""
    parser = program(__doc__, NAME)
    parser.add_argument("model", type=Path)
    options = parser.parse_args()
    if shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng is not installed: there is nothing to hear")
    with TemporaryDirectory() as folder:
        film, transcript = make(Path(folder))
        said = read_transcript(transcript).utterances
        model = Speech(options.model, language="en", channels=ROLES, threads=1)
        begun = time.process_time()
        heard = model.read(film)
        seconds = time.process_time() - begun
        true, by_ear = analyze_video(film, said), analyze_video(film, heard)
    roles = {
        role: {"words": len(words(said, role)), "errors": errors(words(said, role), words(heard, role))}
        for role in ROLES
    }
    record: dict[str, Any] = {
        **circumstances(["av", "faster-whisper", "ctranslate2"], 1),
        "model": options.model.name,
        "sound_seconds": true.film.duration,
        "processor_seconds": round(seconds, 2),
        "roles": roles,
        "word_error_rate": sum(r["errors"] for r in roles.values()) / sum(r["words"] for r in roles.values()),
        "heard": [each.text for each in heard],
        "moments": {"true transcript": found(true), "heard": found(by_ear)},
    }
    tell(NAME, record, _table(record), options)


def _table(record: dict[str, Any]) -> Table:
    table = Table(
        "role", "words", "errors", title=f"{record['processor_seconds']} s for {record['sound_seconds']:.0f} s"
    )
    for role, counts in record["roles"].items():
        table.add_row(role, str(counts["words"]), str(counts["errors"]))
    return table


if __name__ == "__main__":
    main()
