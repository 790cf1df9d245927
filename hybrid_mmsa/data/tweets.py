"""Text-only corpora of tweets: SemEval-2017 task 4A and TweetEval. It knows nothing of pictures."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import InputError
from ..types import EMOTIONS, EmotionLabel, Sample
from .files import as_label, read_tsv, require
from .packed import packed_file, read_packed
from .records import LoadReport, Record, Records, Split

__all__ = ["SEMEVAL_HOME", "TWEETEVAL_HOME", "load_semeval2017", "load_tweeteval_emotion", "load_tweeteval_irony"]

SEMEVAL_HOME = "https://alt.qcri.org/semeval2017/task4/"
TWEETEVAL_HOME = "https://github.com/cardiffnlp/tweeteval"
_SEMEVAL_FILE = re.compile(
    r"twitter-201[3-6]\w+-A\.(?:txt|tsv)|SemEval2017-task4-test\.subtask-A\.english\.(?:txt|tsv)", re.IGNORECASE
)
_TWEETEVAL_SPLITS: dict[str, Split] = {"train": "train", "val": "dev", "test": "test"}


def load_semeval2017(root: Path, report: LoadReport) -> Records:
    """Yield SemEval-2017 4A in English from its `id<tab>label<tab>text` files, or from one packed file.

    The 2013-2016 files are train, but for 2016 devtest, which is dev; the 2017 test file is test. Some tweets stand in
    the files of several years: the first is kept and the others are counted.
    """
    if packed := packed_file(root, "semeval2017_4a.jsonl"):
        return read_packed(packed, report)
    require(root, corpus="SemEval-2017 4A", home=SEMEVAL_HOME)
    files = sorted(path for path in root.rglob("*") if _SEMEVAL_FILE.fullmatch(path.name))
    if not files:
        raise InputError(
            f"{root} is not SemEval-2017 4A: no file such as twitter-2016train-A.txt or "
            f"SemEval2017-task4-test.subtask-A.english.txt there; it is had from {SEMEVAL_HOME}"
        )
    return _semeval(files, report)


def _semeval(files: list[Path], report: LoadReport) -> Records:
    for path in files:
        split: Split = "test" if "2017" in path.name else "dev" if "2016devtest" in path.name.lower() else "train"
        for _, cells in read_tsv(path, report, columns=3):
            where = cells[0].strip()
            if (label := as_label(cells[1])) is None:
                report.add("unknown label", where)
            else:
                yield Record(Sample(text=cells[2].strip().strip('"'), id=where, label=label), split)


def load_tweeteval_emotion(root: Path, report: LoadReport) -> Records:
    """Yield TweetEval's emotion task: four emotions, no sentiment label (the corpus gives none)."""
    if packed := packed_file(root, "tweeteval_emotion.jsonl"):
        return read_packed(packed, report)
    return _tweeteval(root, report, "emotion")


def load_tweeteval_irony(root: Path, report: LoadReport) -> Records:
    """Yield TweetEval's irony task; irony is read as `sarcastic`."""
    if packed := packed_file(root, "tweeteval_irony.jsonl"):
        return read_packed(packed, report)
    return _tweeteval(root, report, "irony")


def _tweeteval(root: Path, report: LoadReport, task: str) -> Records:
    """The official folder: `train_text.txt` and `train_labels.txt`, line by line, and so for `val` and `test`."""
    names = [f"{split}_{part}.txt" for split in _TWEETEVAL_SPLITS for part in ("text", "labels")]
    require(root, *names, corpus=f"TweetEval {task}", home=f"{TWEETEVAL_HOME} (datasets/{task})")
    for name, split in _TWEETEVAL_SPLITS.items():
        texts = (root / f"{name}_text.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
        labels = (root / f"{name}_labels.txt").read_text(encoding="utf-8").split()
        if len(texts) != len(labels):
            raise InputError(f"{name}_text.txt has {len(texts)} lines, {name}_labels.txt {len(labels)}; one is cut off")
        for index, (text, code) in enumerate(zip(texts, labels, strict=True)):
            where = f"{split}_{index}"
            known = {str(i): i for i in range(len(EMOTIONS) if task == "emotion" else 2)}
            if code not in known:
                report.add("unknown label", where)
                continue
            emotion: EmotionLabel | None = EMOTIONS[known[code]] if task == "emotion" else None
            sarcastic = None if emotion else bool(known[code])
            yield Record(Sample(text=text.strip() or None, id=where, sarcastic=sarcastic), split, emotion)
