"""Corpora of sentences, each packed as one JSON object a line (see `packed`). It knows files and splits, no model.

A row has `id`, `text`, `label` and, where they apply, `target`, `split`, `source`, `allowed`. A folder holds one file a
corpus, or several corpora side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .files import require
from .packed import read_packed
from .records import LoadReport, Record, Records

__all__ = ["SENTENCE_PACKS", "SentencePack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePack:
    """One corpus of sentences.

    Attributes:
        title: As tables print it.
        home: Where it is had.
        file: Its file.
        train_files: Files whose train part stands in for the one it lacks; a file that is not there is left out.
        group: The field of a row that names its group; see `read_packed`.
    """

    title: str
    home: str
    file: str
    train_files: tuple[str, ...] = ()
    group: str | None = None

    def load(self, root: Path, report: LoadReport) -> Records:
        """Yield its sentences; ids of another file's rows begin with that file's name.

        Raises:
            InputError: The folder (or the file that is named itself) lacks the corpus's file.
        """
        folder = root.parent if root.name == self.file else root
        require(folder, self.file, corpus=self.title, home=self.home)
        return self._records(folder, report)

    def _records(self, folder: Path, report: LoadReport) -> Records:
        yield from read_packed(folder / self.file, report, group=self.group)
        for name in self.train_files:
            if (folder / name).is_file():
                rows = read_packed(folder / name, report)
                yield from (_renamed(record, name) for record in rows if record.split == "train")


def _renamed(record: Record, file: str) -> Record:
    return replace(record, sample=replace(record.sample, id=f"{Path(file).stem}:{record.sample.id}"))


_ABSA = "https://github.com/songyouwei/ABSA-PyTorch"
_RESTAURANTS, _LAPTOPS = "target_semeval14_restaurants.jsonl", "target_semeval14_laptops.jsonl"
_SST = "sst5_sentences.jsonl"

SENTENCE_PACKS: Mapping[str, SentencePack] = {
    "checklist": SentencePack(
        title="CheckList, sentiment",
        home="https://github.com/marcotcr/checklist",
        file="checklist_mft.jsonl",
        train_files=(_SST,),
        group="test",
    ),
    "mams": SentencePack(
        title="MAMS",
        home="https://github.com/siat-nlp/MAMS-for-ABSA",
        file="target_mams.jsonl",
        group="two_sided",
    ),
    "semeval14_restaurants": SentencePack(
        title="SemEval-2014 4, restaurants", home=_ABSA, file=_RESTAURANTS, group="two_sided"
    ),
    "semeval14_laptops": SentencePack(title="SemEval-2014 4, laptops", home=_ABSA, file=_LAPTOPS, group="two_sided"),
    "arts": SentencePack(
        title="ARTS",
        home="https://github.com/zhijing-jin/ARTS_TestSet",
        file="target_arts.jsonl",
        train_files=(_RESTAURANTS, _LAPTOPS),
        group="source",
    ),
    "newsmtsc": SentencePack(
        title="NewsMTSC",
        home="https://github.com/fhamborg/NewsMTSC",
        file="target_newsmtsc.jsonl",
        group="source",
    ),
    "dynasent": SentencePack(
        title="DynaSent",
        home="https://github.com/cgpotts/dynasent",
        file="dynasent_r1r2_devtest.jsonl",
        group="source",
    ),
    "sst": SentencePack(title="SST-5", home="https://nlp.stanford.edu/sentiment/", file=_SST),
    "airline": SentencePack(
        title="US airline tweets",
        home="https://github.com/fastforwardlabs/airline-sentiment",
        file="airline_tweets.jsonl",
    ),
    "short_reviews": SentencePack(
        title="Short reviews with stars",
        home="https://github.com/rijinrajanrr14/ChatGPT-App-Reviews-Sentiment-Analysis",
        file="star_reviews_short.jsonl",
        group="source",
    ),
}
"""The corpora of sentences by name."""
