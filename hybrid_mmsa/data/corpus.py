"""Every corpus by name, and the one door that loads them. It knows no file format.

`load_corpus` streams raw posts and counts into a `LoadReport` what it could not use; it decodes no picture. Packages
offer further corpora as entry points in the group `hybrid_mmsa.corpora` (see `plugins`): each refers to a `Corpus`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..bundled import bundled_path
from ..errors import InputError
from ..plugins import find_plugin, plugin_names
from .everyday import EVERYDAY, EVERYDAY_HOME, load_crossed, load_everyday
from .memes import MEMOTION_HOME, TWITTER1269_HOME, load_memotion, load_twitter1269
from .mvsa import HOME as MVSA_HOME
from .mvsa import load_mvsa_multiple, load_mvsa_single
from .records import LoadReport, Record, Records
from .sarcasm import ISARCASM_HOME, MMSD_HOME, load_isarcasm, load_mmsd2
from .sentences import SENTENCE_PACKS
from .tweets import SEMEVAL_HOME, TWEETEVAL_HOME, load_semeval2017, load_tweeteval_emotion, load_tweeteval_irony
from .twitter import HOME as TWITTER_HOME
from .twitter import load_twitter2015, load_twitter2017

__all__ = ["CORPORA", "Corpus", "find_corpus", "load_corpus"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus.

    Attributes:
        title: Its name, as tables print it.
        home: Where one gets it.
        load: Streams the `Record`s of its folder, and counts into the report what it could not use.
        bundled: Where its folder is bundled (see `bundled_path`), if it is.
    """

    title: str
    home: str
    load: Callable[[Path, LoadReport], Records]
    bundled: tuple[str, ...] = ()


CORPORA: dict[str, Corpus] = {
    "mvsa_single": Corpus("MVSA-Single", MVSA_HOME, load_mvsa_single),
    "mvsa_multiple": Corpus("MVSA-Multiple", MVSA_HOME, load_mvsa_multiple),
    "twitter2015": Corpus("Twitter-2015", TWITTER_HOME, load_twitter2015),
    "twitter2017": Corpus("Twitter-2017", TWITTER_HOME, load_twitter2017),
    "mmsd2": Corpus("MMSD2.0", MMSD_HOME, load_mmsd2),
    "memotion": Corpus("Memotion 7k", MEMOTION_HOME, load_memotion),
    "twitter1269": Corpus("Twitter1269", TWITTER1269_HOME, load_twitter1269),
    "semeval2017": Corpus("SemEval-2017 4A", SEMEVAL_HOME, load_semeval2017),
    "tweeteval_emotion": Corpus("TweetEval emotion", TWEETEVAL_HOME, load_tweeteval_emotion),
    "tweeteval_irony": Corpus("TweetEval irony", TWEETEVAL_HOME, load_tweeteval_irony),
    "isarcasm": Corpus("iSarcasmEval", ISARCASM_HOME, load_isarcasm),
    "everyday": Corpus("Everyday posts", EVERYDAY_HOME, load_everyday, EVERYDAY),
    "crossed": Corpus("Plain words beside any picture", EVERYDAY_HOME, load_crossed, EVERYDAY),
    **{name: Corpus(pack.title, pack.home, pack.load) for name, pack in SENTENCE_PACKS.items()},
}


def load_corpus(name: str, root: Path | None = None, report: LoadReport | None = None) -> Records:
    """Stream the posts of a corpus from its folder (or from its packed file).

    Args:
        name: A key of `CORPORA`, or a plugin's name.
        root: The folder in the corpus's official layout; a corpus that is bundled needs none.
        report: Filled while the records are read; see `LoadReport`.

    Returns:
        An iterator of `Record`. A second post with the same id, and a post with neither text nor picture, are counted
        and left out.

    Raises:
        InputError: The name is unknown, or the folder lacks something; the message says what and where it is had.
        PluginError: The package that offers it fails.
    """
    corpus = find_corpus(name)
    if root is None and not corpus.bundled:
        raise InputError(f"{corpus.title} is not bundled: name its folder; it is had from {corpus.home}", field="data")
    root = bundled_path(*corpus.bundled) if root is None else Path(root)
    if not root.exists():
        raise InputError(f"there is no folder {root}; {corpus.title} is had from {corpus.home}")
    report = LoadReport() if report is None else report
    return _usable(corpus.load(root, report), report)


def find_corpus(name: str) -> Corpus:
    """A corpus by name: a built-in one, or a plugin's, whose package is imported now.

    Raises:
        InputError: There is none of that name.
        PluginError: The package that offers it cannot be imported, or offers something else.
    """
    if name in CORPORA:
        return CORPORA[name]
    plugin = find_plugin("corpora", name)
    if plugin is None:
        raise InputError(f"no corpus {name!r}; there are {plugin_names('corpora', CORPORA)}")
    corpus = plugin.load()
    if not isinstance(corpus, Corpus):
        raise plugin.error(f"is a {type(corpus).__name__}, not a `hybrid_mmsa.data.Corpus`")

    def load(root: Path, report: LoadReport) -> Records:
        with plugin.border(f"cannot read {root}"):
            for record in corpus.load(root, report):
                if not isinstance(record, Record):
                    raise plugin.error(f"yields a {type(record).__name__}, not a `hybrid_mmsa.data.Record`")
                yield record

    return replace(corpus, load=load)


def _usable(records: Records, report: LoadReport) -> Records:
    ids: set[str] = set()
    for record in records:
        id_ = record.sample.id or ""
        if record.sample.text is None and record.sample.image is None:
            report.add("neither text nor picture", id_)
        elif id_ in ids:
            report.add("duplicate id", id_)
        else:
            ids.add(id_)
            report.records += 1
            yield record
