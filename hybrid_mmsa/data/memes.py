"""Picture-led corpora: Memotion 7k (memes) and Twitter1269 (tweeted photographs). It knows no splits of Memotion.

Memotion's sentiment labels are very noisy, so treat figures on them as rough.
"""

from __future__ import annotations

from pathlib import Path

from ..types import Sample
from .files import as_label, picture, read_csv, require
from .packed import packed_file, read_packed
from .records import LoadReport, Record, Records

__all__ = ["MEMOTION_HOME", "TWITTER1269_HOME", "load_memotion", "load_twitter1269"]

MEMOTION_HOME = "https://www.kaggle.com/datasets/williamscott701/memotion-dataset-7k"
TWITTER1269_HOME = "the authors of You et al., AAAI 2015, https://arxiv.org/abs/1509.06041"
_COLUMNS = ("image_name", "text_ocr", "text_corrected", "sarcasm", "overall_sentiment")
_SARCASM = {"not_sarcastic": False, "general": True, "twisted_meaning": True, "very_twisted": True}


def load_memotion(root: Path, report: LoadReport) -> Records:
    """Yield Memotion 7k: `labels.csv` and `images/`, or one packed file. Corrected text comes before the OCR's."""
    if packed := packed_file(root, "pairs.jsonl"):
        return read_packed(packed, report)
    require(root, "labels.csv", "images", corpus="Memotion 7k", home=MEMOTION_HOME)
    return _memotion(root, report)


def _memotion(root: Path, report: LoadReport) -> Records:
    for _, row in read_csv(root / "labels.csv", report, _COLUMNS):
        name = row["image_name"].strip()
        where = Path(name).stem
        if (label := as_label(row["overall_sentiment"])) is None:
            report.add("unknown label", where)
            continue
        text = row["text_corrected"].strip() or row["text_ocr"].strip() or None
        if text is None:
            report.add("missing text", where)
        image = picture(root / "images" / name, report, where)
        sarcastic = _SARCASM.get(row["sarcasm"].strip())
        yield Record(Sample(text=text, image=image, id=where, label=label, sarcastic=sarcastic))


def load_twitter1269(root: Path, report: LoadReport) -> Records:
    """Yield Twitter1269, packed as `pairs.jsonl` with pictures beside it; it has no texts and no neutral posts."""
    require(root, "pairs.jsonl", corpus="Twitter1269 (packed)", home=TWITTER1269_HOME)
    return read_packed(root / "pairs.jsonl", report)
