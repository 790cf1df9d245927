"""Twitter-2015 and Twitter-2017 as TomBERT distributes them. It knows nothing of aspect terms beyond the marked target.

`train.tsv`, `dev.tsv`, `test.tsv` with a heading (`test.tsv` names one column fewer than its rows have), the columns
index, label, picture, text with `$T$` where the target stands, target; pictures in `twitter2015_images/`.
"""

from __future__ import annotations

from pathlib import Path

from ..types import Label, Sample
from .files import picture, read_tsv, require
from .records import LoadReport, Record, Records, Split

__all__ = ["HOME", "load_twitter2015", "load_twitter2017"]

HOME = "https://github.com/jefferyYu/TomBERT"
MARK = "$T$"
TOMBERT_LABELS: dict[str, Label] = {"0": "negative", "1": "neutral", "2": "positive"}
_SPLITS: tuple[Split, ...] = ("train", "dev", "test")


def load_twitter2015(root: Path, report: LoadReport) -> Records:
    """Yield Twitter-2015 (3,179 / 1,122 / 1,037 targets); ids are `split-index`, one post may hold many targets."""
    require(root, *(f"{split}.tsv" for split in _SPLITS), corpus="Twitter-2015", home=HOME)
    return _load(root, report, root / "twitter2015_images")


def load_twitter2017(root: Path, report: LoadReport) -> Records:
    """Yield Twitter-2017 (3,562 / 1,176 / 1,234 targets); ids are `split-index`, one post may hold many targets."""
    require(root, *(f"{split}.tsv" for split in _SPLITS), corpus="Twitter-2017", home=HOME)
    return _load(root, report, root / "twitter2017_images")


def _load(root: Path, report: LoadReport, pictures: Path) -> Records:
    for split in _SPLITS:
        # The heading of test.tsv has four cells; rows have five.
        for number, cells in read_tsv(root / f"{split}.tsv", report, columns=4):
            if cells[0].strip() == "index":
                continue
            where = f"{split}-{cells[0].strip()}"
            if len(cells) < 5 or MARK not in cells[3]:
                report.add("broken line", f"{split}.tsv:{number}")
            elif (label := TOMBERT_LABELS.get(cells[1].strip())) is None:
                report.add("unknown label", where)
            else:
                target = cells[4].strip()
                image = picture(pictures / cells[2].strip(), report, where)
                text = cells[3].replace(MARK, target).strip()
                yield Record(Sample(text=text, image=image, target=target, id=where, label=label), split)
