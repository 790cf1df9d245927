"""Every corpus by name, and the one door that loads them. It knows no file format.

`load_corpus` streams raw posts and counts into a `LoadReport` what it could not use; it decodes no picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from . import memes, mvsa, sarcasm, tweets, twitter
from .records import LoadReport, Records

__all__ = ["CORPORA", "Corpus", "load_corpus"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus: its title, where it is had, and the function that reads its folder."""

    title: str
    home: str
    load: Callable[[Path, LoadReport], Records]


CORPORA: dict[str, Corpus] = {
    "mvsa_single": Corpus("MVSA-Single", mvsa.HOME, mvsa.load_mvsa_single),
    "mvsa_multiple": Corpus("MVSA-Multiple", mvsa.HOME, mvsa.load_mvsa_multiple),
    "twitter2015": Corpus("Twitter-2015", twitter.HOME, twitter.load_twitter2015),
    "twitter2017": Corpus("Twitter-2017", twitter.HOME, twitter.load_twitter2017),
    "mmsd2": Corpus("MMSD2.0", sarcasm.MMSD_HOME, sarcasm.load_mmsd2),
    "memotion": Corpus("Memotion 7k", memes.MEMOTION_HOME, memes.load_memotion),
    "twitter1269": Corpus("Twitter1269", memes.TWITTER1269_HOME, memes.load_twitter1269),
    "semeval2017": Corpus("SemEval-2017 4A", tweets.SEMEVAL_HOME, tweets.load_semeval2017),
    "tweeteval_emotion": Corpus("TweetEval emotion", tweets.TWEETEVAL_HOME, tweets.load_tweeteval_emotion),
    "tweeteval_irony": Corpus("TweetEval irony", tweets.TWEETEVAL_HOME, tweets.load_tweeteval_irony),
    "isarcasm": Corpus("iSarcasmEval", sarcasm.ISARCASM_HOME, sarcasm.load_isarcasm),
}


def load_corpus(name: str, root: Path, report: LoadReport | None = None) -> Records:
    """Stream the posts of a corpus from its folder (or from its packed file).

    Args:
        name: A key of `CORPORA`.
        root: The folder in the corpus's official layout.
        report: Filled while the records are read; see `LoadReport`.

    Returns:
        An iterator of `Record`. A second post with the same id, and a post with neither text nor picture, are counted
        and left out.

    Raises:
        InputError: The name is unknown, or the folder lacks something; the message says what and where it is had.
    """
    if name not in CORPORA:
        raise InputError(f"no corpus {name!r}; there are {', '.join(CORPORA)}")
    corpus = CORPORA[name]
    root = Path(root)
    if not root.exists():
        raise InputError(f"there is no folder {root}; {corpus.title} is had from {corpus.home}")
    report = LoadReport() if report is None else report
    return _usable(corpus.load(root, report), report)


def _usable(records: Records, report: LoadReport) -> Records:
    seen: set[str] = set()
    for record in records:
        id_ = record.sample.id or ""
        if record.sample.text is None and record.sample.image is None:
            report.add("neither text nor picture", id_)
        elif id_ in seen:
            report.add("duplicate id", id_)
        else:
            seen.add(id_)
            report.records += 1
            yield record
