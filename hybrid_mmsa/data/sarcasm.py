"""Sarcasm corpora: MMSD2.0 (text and picture) and iSarcasmEval (English text). It knows nothing of sentiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..types import Sample
from .files import picture, read_csv, require
from .packed import packed_file, read_packed
from .records import LoadReport, Record, Records, Split

__all__ = ["ISARCASM_HOME", "MMSD_HOME", "load_isarcasm", "load_mmsd2"]

MMSD_HOME = "https://github.com/JoeYing1019/MMSD2.0"
ISARCASM_HOME = "https://github.com/iabufarha/iSarcasmEval"
_MMSD_FILES: dict[Split, str] = {"train": "train.json", "dev": "valid.json", "test": "test.json"}
_FLAGS = {"0": False, "1": True, "False": False, "True": True}


def load_mmsd2(root: Path, report: LoadReport) -> Records:
    """Yield MMSD2.0 (19,816 / 2,410 / 2,409): `text_json_final/*.json`, pictures in `dataset_image/`."""
    folder = root / "text_json_final" if (root / "text_json_final").is_dir() else root
    require(folder, *_MMSD_FILES.values(), corpus="MMSD2.0", home=MMSD_HOME)
    return _mmsd(folder, root / "dataset_image", report)


def _mmsd(folder: Path, pictures: Path, report: LoadReport) -> Records:
    for split, name in _MMSD_FILES.items():
        for number, row in enumerate(_json_list(folder / name), 1):
            if not isinstance(row, dict) or "image_id" not in row:
                report.add("broken line", f"{name}:{number}")
                continue
            where = str(row["image_id"])
            if (sarcastic := _FLAGS.get(str(row.get("label")))) is None:
                report.add("unknown label", where)
                continue
            text = str(row.get("text") or "").strip() or None
            if text is None:
                report.add("missing text", where)
            image = picture(pictures / f"{where}.jpg", report, where)
            yield Record(Sample(text=text, image=image, id=where, sarcastic=sarcastic), split)


def _json_list(path: Path) -> list[Any]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path.name} is cut off or damaged ({error}); fetch it again from {MMSD_HOME}") from error
    if not isinstance(rows, list):
        raise InputError(f"{path.name} holds a JSON {type(rows).__name__}; a list of posts is wanted")
    return rows


def load_isarcasm(root: Path, report: LoadReport) -> Records:
    """Yield iSarcasmEval English, task A: `train.En.csv` and `task_A_En_test.csv`, or one packed file."""
    if packed := packed_file(root, "isarcasmeval_en.jsonl"):
        return read_packed(packed, report)
    require(root, "train.En.csv", "task_A_En_test.csv", corpus="iSarcasmEval", home=ISARCASM_HOME)
    return _isarcasm(root, report)


def _isarcasm(root: Path, report: LoadReport) -> Records:
    files: tuple[tuple[Split, str, str], ...] = (
        ("train", "train.En.csv", "tweet"),
        ("test", "task_A_En_test.csv", "text"),
    )
    for split, name, column in files:
        for index, (_, row) in enumerate(read_csv(root / name, report, (column, "sarcastic"))):
            where = f"{split}_{index}"
            if (sarcastic := _FLAGS.get(row["sarcastic"].strip())) is None:
                report.add("unknown label", where)
            else:
                yield Record(Sample(text=row[column].strip() or None, id=where, sarcastic=sarcastic), split)
