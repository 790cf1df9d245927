"""What is measured, and how, as TOML: corpus, cleaning, split, part, metric. It measures nothing itself."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..bundled import bundled_path
from ..data import LoadReport, Record, SplitManifest, find_corpus, load_corpus, load_manifest
from ..errors import ArtefactError, InputError
from .predictions import EvaluatedTask, gold_index
from .result import Published

__all__ = ["Protocol", "load_protocol", "published_figures"]


class Protocol(BaseModel):
    """One protocol. Unknown keys fail.

    Attributes:
        name: Short name, the file's stem.
        title: As tables print it.
        corpus: A name `data.load_corpus` knows.
        task: The labels scored.
        cleaning: `joint_label`: posts whose two labels are opposed are dropped; `agreeing`: only posts whose text and
            picture labels are equal; `none`: every labelled post.
        split, split_sha256: A bundled manifest and the hash its ids must have.
        part: The part that is measured (with folds, each in turn is the test part).
        metric: The figure the field compares by.
        floors: The part that floors are fitted on; `out_of_fold`: the corpus has no other part, so they are fitted on
            the posts measured, each judged by floors that did not see its words.
        seeds: Training seeds of the models to measure, where a model is given as a pattern with `{seed}`.
        notes: What a reader must know before comparing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    corpus: str
    task: EvaluatedTask = "sentiment"
    cleaning: Literal["none", "joint_label", "agreeing"] = "none"
    split: str
    split_sha256: str
    part: Literal["dev", "test"] = "test"
    metric: str = "accuracy"
    floors: Literal["train", "dev", "out_of_fold"] = "train"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    notes: tuple[str, ...] = ()

    def manifest(self) -> SplitManifest:
        """The split manifest; `ArtefactError` if its ids are not those this protocol was written for."""
        manifest = load_manifest(self.split)
        if manifest.sha256 != self.split_sha256 or manifest.corpus != self.corpus:
            raise ArtefactError(f"protocol {self.name} was written for another split than {self.split} is now")
        return manifest

    def records(self, root: Path | None, report: LoadReport) -> list[Record]:
        """The corpus's posts that this protocol uses, their split not yet set; a bundled corpus needs no folder.

        Of several labels that are allowed, the first stands in the gold label's place.
        """
        records = (_with_gold(record) for record in load_corpus(self.corpus, root, report))
        labelled = [record for record in records if gold_index(record.sample, self.task) is not None]
        if self.cleaning != "agreeing":
            return labelled
        return [record for record in labelled if record.sample.text_label == record.sample.image_label]


def _with_gold(record: Record) -> Record:
    if not record.allowed:
        return record
    return replace(record, sample=replace(record.sample, label=record.allowed[0]))


def load_protocol(name: str | Path) -> Protocol:
    """A protocol by path, or by the name of a bundled one.

    Raises:
        InputError: There is none, or a key of it is wrong.
    """
    path = _protocol_file(name)
    try:
        protocol = Protocol.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise _unusable(f"no protocol file {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise _unusable(f"{path.name} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise _unusable(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    try:
        find_corpus(protocol.corpus)
    except InputError as error:
        raise _unusable(f"{path.name}: {error}") from error
    return protocol


def _protocol_file(name: str | Path) -> Path:
    if Path(name).suffix == ".toml":
        return Path(name)
    try:
        return bundled_path("eval", "protocols", f"{name}.toml")
    except ArtefactError as error:
        names = sorted(path.stem for path in bundled_path("eval", "protocols").glob("*.toml"))
        raise _unusable(f"no protocol {str(name)!r}; there are {', '.join(names)}") from error


def _unusable(message: str) -> InputError:
    return InputError(message, field="protocol")


def published_figures(protocol: str) -> tuple[Published, ...]:
    """What papers report under a protocol's setting, in percent, each with its source."""
    tables = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
    return tuple(Published(protocol=protocol, **row) for row in tables.get(protocol, ()))
