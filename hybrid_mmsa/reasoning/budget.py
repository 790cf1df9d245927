"""What asking a reasoner may cost in all: questions are counted and paid for, and then no more are asked.

The answers go on: a post that is not asked about keeps its fast answer, with a warning. It knows no reasoner's inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Protocol

from ..errors import InputError, PostError, ReasonerError
from ..types import LoraRef, Sample, Verdict
from .backends.recorded import RecordedReasoner
from .base import Reasoner

__all__ = ["Account", "Budget", "BudgetedReasoner"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent on a reasoner.

    Attributes:
        max_cost: In the unit of `cost`; `None` for no limit.
        cost: What one question costs: asking about one post once, whatever requests to a server that takes.
        max_seconds: For so long questions are asked, by the clock on the wall; `None` for no limit.

    Raises:
        InputError: A number is negative.
    """

    max_cost: float | None = None
    cost: float = 1.0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_cost", "cost", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InputError(f"found {value}; wanted a number from 0 on", field=name)


class Payer(Protocol):
    """Whoever keeps the account of a budget, in this process or another."""

    def pay(self, questions: int) -> str | None:
        """Pay for some questions together; or why they are not to be asked, and nothing is paid."""
        ...

    def give_back(self, questions: int) -> None:
        """Take back what was paid for questions that were not asked."""
        ...


class Account:
    """Counts what is spent of a budget. Safe to share between threads.

    Attributes:
        spent: In the budget's unit.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.spent = 0.0
        self._began = monotonic()
        self._lock = Lock()

    def pay(self, questions: int) -> str | None:
        """Pay for some questions together; or why they are not to be asked, and nothing is paid."""
        budget = self.budget
        with self._lock:
            after = self.spent + questions * budget.cost
            if budget.max_cost is not None and after > budget.max_cost * (1 + 1e-9):
                return f"the budget of {budget.max_cost:g} is spent"
            if budget.max_seconds is not None and monotonic() - self._began >= budget.max_seconds:
                return f"the time of {budget.max_seconds:g} s is over"
            self.spent = after
            return None

    def give_back(self, questions: int) -> None:
        """Take back what was paid for questions that were not asked."""
        with self._lock:
            self.spent = max(0.0, self.spent - questions * self.budget.cost)

    def total(self) -> float:
        """What is spent, for those who ask from another process."""
        return self.spent


class BudgetedReasoner:
    """A reasoner that is asked as long as somebody pays; see `Reasoner`.

    Args:
        reasoner: Answers.
        payer: Pays for each question before it is asked.
    """

    def __init__(self, reasoner: Reasoner, payer: Payer) -> None:
        self.reasoner, self.payer = reasoner, payer
        self.id = reasoner.id
        # What a reasoner may also offer; the `load` of recorded verdicts reads a file of them.
        others = ("revision", "reads_pictures", *(() if isinstance(reasoner, RecordedReasoner) else ("load",)))
        for name in others:
            if hasattr(reasoner, name):
                setattr(self, name, getattr(reasoner, name))

    def reason(
        self, samples: Sequence[Sample], lora: LoraRef | None = None, *, rationale: bool = False
    ) -> list[Verdict]:
        """One verdict per post, in order; see `Reasoner.reason`.

        Raises:
            ReasonerError: Nobody pays for so many questions, or the reasoner failed.
            PostError: One of the posts cannot be answered; nothing is paid, and the others may be asked about again.
        """
        if refused := self.payer.pay(len(samples)):
            raise ReasonerError(refused)
        try:
            return self.reasoner.reason(samples, lora, rationale=rationale)
        except PostError:
            self.payer.give_back(len(samples))
            raise

    def close(self) -> None:
        """Close the reasoner, where it can be closed."""
        if callable(close := getattr(self.reasoner, "close", None)):
            close()
