"""Verdicts that were made elsewhere (on a cluster, on another day), looked up by post id. Asks no model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import InputError, PostError
from ...types import LoraRef, Sample, Verdict, check_schema_version

__all__ = ["RecordedReasoner"]


class RecordedReasoner:
    """A reasoner whose verdicts are known beforehand: for measuring a cascade again, and for tests of one's own code.

    Args:
        verdicts: Verdict by `Sample.id`.
        id: Names the reasoner in `RouteDecision.answered_by`.

    Attributes:
        reads_pictures: Whether the reasoner that gave the verdicts was shown pictures: not where one of them says that
            it was not (`Verdict.unseen`). So the same posts are deferred as when it was asked itself.
    """

    def __init__(self, verdicts: Mapping[str, Verdict], id: str = "recorded") -> None:
        self.id = id
        self.verdicts = dict(verdicts)
        self.reads_pictures = not any("image" in verdict.unseen for verdict in self.verdicts.values())

    @classmethod
    def load(cls, path: Path) -> RecordedReasoner:
        """Read JSON lines: what `hybrid-mmsa batch --reasoner` wrote, or a `Verdict`'s fields and the post's `id` each.

        The reasoner is named as its verdicts name it, or after the file where they name several. Answers without a
        verdict (posts that were kept) are passed over.

        Raises:
            InputError: The file cannot be read or holds no verdict, or a line is neither, has no id, or one that stood
                before.
        """
        verdicts: dict[str, Verdict] = {}
        try:
            lines = path.read_text(encoding="utf-8").split("\n")  # other line ends may stand in a text
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {path}: {error}", field="reasoner") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                id_, verdict = _verdict(line, f"{path}, line {number}")
                if id_ in verdicts:
                    raise InputError(f"{path}, line {number}: a second verdict on post {id_!r}", field="reasoner")
                if verdict is not None:
                    verdicts[id_] = verdict
        if not verdicts:
            raise InputError(f"{path} holds no verdict: answer posts with a reasoner first", field="reasoner")
        names = {verdict.reasoner for verdict in verdicts.values()}
        return cls(verdicts, names.pop() if len(names) == 1 else path.stem)

    def reason(
        self, samples: Sequence[Sample], lora: LoraRef | None = None, *, rationale: bool = False
    ) -> list[Verdict]:
        """The recorded verdicts, in order and whole; `lora` and `rationale` change nothing that is recorded.

        Raises:
            PostError: There is none for a post.
        """
        missing = [sample.id for sample in samples if sample.id not in self.verdicts]
        if missing:
            raise PostError(f"no verdict is recorded for {len(missing)} posts, such as id {missing[0]!r}")
        return [self.verdicts[sample.id or ""] for sample in samples]


def _verdict(line: str, place: str) -> tuple[str, Verdict | None]:
    """The post's id and the verdict on it; an answer of `batch` may hold none."""
    try:
        values = json.loads(line)
        id_ = values.pop("id")
        verdict = values
        if "schema_version" in values:
            check_schema_version(values["schema_version"])
            verdict = values["verdict"]
        return str(id_), None if verdict is None else Verdict.model_validate(verdict)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        cause = "it has no id" if isinstance(error, KeyError) else str(error).replace("\n", " ")
        raise InputError(f"{place} holds no verdict: {cause}", field="reasoner") from error
