"""Accuracy, time and size of text towers of more or fewer layers, in one run.

    python eval/bench/towers/frontier.py --tower teacher=RUNS/text/teacher --tower student=RUNS/text/student [--save]

Each tower is exported as it would ship and judges the bundled everyday posts by its words alone, and so does the
shipped one, from its file. Times are a processor's for one text on one thread, and towers take turns, so that a busy
machine slows all alike.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.towers.students import shipped_tower
from hybrid_mmsa.data import Record, load_corpus
from hybrid_mmsa.encoders.compact import WEIGHTS, CompactManifest
from hybrid_mmsa.encoders.wordpieces import WordPieces
from hybrid_mmsa.inputs import as_sentence, normalise, reword
from hybrid_mmsa.training.heads.fusion import FusionConfig
from hybrid_mmsa.training.towers.export import export_text_tower
from hybrid_mmsa.training.towers.text_tower import TextTower
from hybrid_mmsa.types import LABELS, FloatArray

NAME = "frontier"
TURNS, EACH, WARM_UP = 15, 10, 2
TEXT = "I can't believe they cancelled it an hour before the doors opened. Never again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A tower as it ships or would ship: quantised, in ONNX Runtime on one thread, with its heads.

    Attributes:
        path: The ONNX file.
        pieces: Its tokenizer.
        heads: Weights by `<task>.weight` and `<task>.bias`.
        layers: How many it has.
        session: It, opened.
    """

    path: Path
    pieces: WordPieces
    heads: Mapping[str, FloatArray]
    layers: int
    session: ort.InferenceSession

    @classmethod
    def of_run(cls, folder: Path, place: Path) -> Exported:
        """A trained tower, exported to a folder."""
        tower, longest, path = TextTower.load(folder), FusionConfig().max_tokens, place / f"{folder.name}.onnx"
        export_text_tower(tower, folder / "tokenizer.json", path, max_tokens=longest)
        return cls._of(tower, path, WordPieces(folder / "tokenizer.json", longest))

    @classmethod
    def shipped(cls) -> Exported:
        """The bundled tower with the bundled model's heads."""
        pieces = WordPieces(WEIGHTS / "tokenizer.json", CompactManifest.load(WEIGHTS).max_tokens)
        return cls._of(shipped_tower(), WEIGHTS / "text.onnx", pieces)

    @classmethod
    def _of(cls, tower: TextTower, path: Path, pieces: WordPieces) -> Exported:
        return cls(
            path=path,
            pieces=pieces,
            heads={name: value.numpy() for name, value in tower.heads.state_dict().items()},
            layers=tower.encoder.config.num_hidden_layers,
            session=_opened(path),
        )

    def features(self, text: str, target: str | None = None) -> FloatArray:
        """Features `[width]` of one text: the mean of its windows by their share."""
        batch = self.pieces.encode(
            [as_sentence(reword(normalise(text)))], [reword(normalise(target)) if target else None]
        )
        (windows,) = self.session.run(["features"], {"ids": batch.ids, "mask": batch.mask})
        features: FloatArray = batch.shares @ windows
        return features

    def label(self, record: Record) -> str:
        """What the words say, towards the target if there is one."""
        sample = record.sample
        task = "target" if sample.target else "sentiment"
        features = self.features(sample.text or "", sample.target)
        logits = self.heads[f"{task}.weight"] @ features + self.heads[f"{task}.bias"]
        return LABELS[int(np.argmax(logits))]


def _opened(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path.read_bytes(), options)


def measured(towers: dict[str, Path]) -> dict[str, Any]:
    """Size, time and accuracy of the shipped tower and of every other, as a record."""
    records = [record for record in load_corpus("everyday") if record.sample.text and record.sample.label]
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        exported = {"shipped": Exported.shipped()}
        exported |= {name: Exported.of_run(folder, Path(place)) for name, folder in towers.items()}
        times: dict[str, list[float]] = {name: [] for name in exported}
        for _ in range(TURNS):
            for name, tower in exported.items():
                for number in range(WARM_UP + EACH):
                    started = time.process_time()
                    tower.features(TEXT)
                    if number >= WARM_UP:
                        times[name].append(time.process_time() - started)
        for name, tower in exported.items():
            right = np.mean([tower.label(record) == record.sample.label for record in records])
            rows[name] = {
                "layers": tower.layers,
                "megabytes": round(tower.path.stat().st_size / 1e6, 1),
                "median_ms": round(1000 * statistics.median(times[name]), 2),
                "everyday_accuracy": float(right),
            }
    return {**circumstances(["onnxruntime"], 1), "posts": len(records), "towers": rows}


def table(record: dict[str, Any]) -> Table:
    """The record as people read it."""
    shown = Table(
        "tower", "layers", "MB", "ms a text", "everyday", title=f"{record['posts']} everyday posts, words alone"
    )
    for name, row in record["towers"].items():
        cells = (row["layers"], row["megabytes"], row["median_ms"], f"{row['everyday_accuracy']:.1%}")
        shown.add_row(name, *map(str, cells))
    return shown


def main() -> None:
    """Measure, show, keep if asked."""
    parser = program(__doc__, NAME)
    parser.add_argument("--tower", action="append", default=[], metavar="NAME=FOLDER", help="may be repeated")
    options = parser.parse_args()
    record = measured({name: Path(folder) for name, _, folder in (tower.partition("=") for tower in options.tower)})
    tell(NAME, record, table(record), options)


if __name__ == "__main__":
    main()
