"""Asks a reasoner about the deferred posts of a batch. What it cannot answer becomes a warning, never a verdict.

This is where a reasoner's own code is called: whatever it raises or returns, the posts keep their fast answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ..bounds.deadline import ENDLESS, NO_TIME, Deadline
from ..errors import HybridError, PostError, ReasonerError
from ..foreign import translated
from ..types import LABELS, LoraRef, RouteDecision, Sample, Verdict
from .base import Reasoner, unseen_by, without_pictures, words_of
from .models.lora_base import misfit

__all__ = ["Verdicts", "ask_about_deferred"]

MOST_FAILURES = 2
UNSEEN = "the reasoner reads words alone: it was not shown the picture"
TOO_LATE = f"the reasoner was not asked, the fast answer stands: {NO_TIME}"
SUM_TOLERANCE = 0.01
"""By how much the probabilities of a verdict may miss 1: reasoners round them."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What a reasoner made of the deferred posts of a batch.

    Attributes:
        by_row: Verdict by row of the batch.
        warnings: By row, why there is no verdict, or in what it differs from what was asked for.
    """

    by_row: Mapping[int, Verdict] = field(default_factory=dict)
    warnings: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def ask_about_deferred(
    reasoner: Reasoner | None,
    samples: Sequence[Sample],
    routes: Sequence[RouteDecision],
    lora: LoraRef | None = None,
    *,
    rationale: bool = False,
    deadline: Deadline = ENDLESS,
) -> Verdicts:
    """Verdicts on the deferred posts, and warnings where the reasoner could not answer, or not with the adapter.

    Args:
        reasoner: `None` answers nothing.
        samples: The whole batch.
        routes: One decision per sample. The deferred posts are asked about together, or some at a time where there is
            a deadline.
        lora: The LoRA adapter to answer with; one made for another model is left out.
        rationale: Also let the model write, see `Reasoner.reason`.
        deadline: When no more posts are asked about.
    """
    deferred = [i for i, route in enumerate(routes) if route.decision == "defer"]
    if reasoner is None or not deferred:
        return Verdicts()
    question = _Question(reasoner, samples, lora, rationale)
    try:
        cause = question.misfit()
    except HybridError as error:
        return Verdicts(warnings=dict.fromkeys(deferred, _warning(error)))
    if cause is not None:
        verdicts = ask_about_deferred(reasoner, samples, routes, rationale=rationale, deadline=deadline)
        # Recorded verdicts may come from the adapter.
        without = {
            i: (*verdicts.warnings.get(i, ()), cause)
            for i, verdict in verdicts.by_row.items()
            if verdict.adapter != question.adapter
        }
        return Verdicts(verdicts.by_row, {**verdicts.warnings, **without})
    by_row: dict[int, Verdict] = {}
    warnings = question.unreadable(deferred)
    deferred = [i for i in deferred if i not in warnings]
    count = 0
    for rows in deadline.groups(deferred):
        asked = _ask_together(question, rows, deadline)
        by_row.update(asked.by_row)
        warnings.update(asked.warnings)
        count += len(rows)
    return Verdicts(by_row, {**warnings, **dict.fromkeys(deferred[count:], (TOO_LATE,))})


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What a reasoner is asked about the posts of a batch."""

    reasoner: Reasoner
    samples: Sequence[Sample]
    lora: LoraRef | None
    rationale: bool

    @property
    def adapter(self) -> str | None:
        """Name of the LoRA adapter it is to be answered with."""
        return None if self.lora is None else self.lora.name

    def misfit(self) -> str | None:
        """Why the reasoner cannot answer with the LoRA adapter; `None` where nothing is known against it."""
        with translated(ReasonerError):
            return None if self.lora is None else misfit(self.lora, self.reasoner)

    def unreadable(self, rows: Sequence[int]) -> dict[int, tuple[str, ...]]:
        """A warning for each post of which a reasoner of words alone has nothing to read."""
        warnings = {}
        for row in rows if "image" in unseen_by(self.reasoner) else ():
            try:
                words_of(self.samples[row], self.reasoner.id)
            except PostError as error:
                warnings[row] = _warning(error)
        return warnings

    def ask(self, rows: Sequence[int]) -> dict[int, Verdict]:
        """A checked verdict on each of some posts; `HybridError` whatever the reasoner does instead."""
        with translated(ReasonerError):
            answers: Any = self.reasoner.reason([self.samples[i] for i in rows], self.lora, rationale=self.rationale)
            if not isinstance(answers, list | tuple):
                raise ReasonerError(f"the reasoner returned a {type(answers).__name__}, not a list of verdicts")
            if len(answers) != len(rows):
                raise ReasonerError(f"the reasoner returned {len(answers)} verdicts on {len(rows)} posts")
            checked = [_checked(verdict) for verdict in answers]
        if "image" in unseen_by(self.reasoner):
            checked = without_pictures([self.samples[i] for i in rows], checked)
        return dict(zip(rows, checked, strict=True))

    def answered(
        self, verdicts: Mapping[int, Verdict], failures: Mapping[int, tuple[str, ...]] | None = None
    ) -> Verdicts:
        """The verdicts, with a warning where the reasoner did not look at a post's picture."""
        unseen = [i for i, verdict in verdicts.items() if "image" in verdict.unseen]
        return Verdicts(verdicts, {**dict.fromkeys(unseen, (UNSEEN,)), **(failures or {})})


def _checked(verdict: object) -> Verdict:
    """The verdict, once every field of it is what its type says: a reasoner may have built it unchecked."""
    if not isinstance(verdict, Verdict):
        raise ReasonerError(f"the reasoner returned a {type(verdict).__name__} where a Verdict belongs")
    try:
        checked = Verdict.model_validate({**vars(verdict), "cues": [dict(cue) for cue in verdict.cues]})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ReasonerError(f"the reasoner returned a verdict whose {place} is wrong: {first['msg']}") from error
    shares = checked.probabilities
    if set(shares) != set(LABELS) or not all(map(math.isfinite, shares.values())):
        raise ReasonerError(f"a verdict needs a probability for each of {', '.join(LABELS)}, not {dict(shares)}")
    if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > SUM_TOLERANCE:
        raise ReasonerError(f"the probabilities of a verdict must be 0 or more and sum to 1, unlike {dict(shares)}")
    return checked


def _ask_together(question: _Question, rows: Sequence[int], deadline: Deadline) -> Verdicts:
    """Verdicts on some posts of one request, or on each by itself where that fails."""
    try:
        return question.answered(question.ask(rows))
    except HybridError as error:
        if len(rows) == 1:
            return Verdicts(warnings={rows[0]: _warning(error)})
    # Perhaps one post is at fault: the others shall have their verdicts.
    return _one_by_one(question, rows, deadline)


def _one_by_one(question: _Question, rows: Sequence[int], deadline: Deadline) -> Verdicts:
    """Each post by itself, until `MOST_FAILURES` fail in a row: then it is the reasoner, and the rest is not asked.

    A `PostError` says that it is not the reasoner.
    """
    verdicts: dict[int, Verdict] = {}
    warnings: dict[int, tuple[str, ...]] = {}
    failures = 0
    warning: tuple[str, ...] = ()
    for row in rows:
        if deadline.passed:
            warning = (TOO_LATE,)
        elif failures < MOST_FAILURES:
            try:
                verdicts |= question.ask([row])
                failures = 0
            except PostError as error:
                warnings[row] = _warning(error)
                continue
            except HybridError as error:
                failures, warning = failures + 1, _warning(error)
        if row not in verdicts:
            warnings[row] = warning
    return question.answered(verdicts, warnings)


def _warning(error: HybridError) -> tuple[str, ...]:
    return (f"the reasoner could not answer, the fast answer stands: {error}",)
