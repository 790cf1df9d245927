"""What may be deferred: the user's choice, one small typed value. Knows nothing of scores."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError

__all__ = ["Policy", "PolicyKind"]

PolicyKind: TypeAlias = Literal["fitted", "budget", "risk", "threshold", "never", "always"]
_NEEDS: Mapping[PolicyKind, tuple[frozenset[str], ...]] = MappingProxyType(
    {
        "budget": (frozenset({"share"}), frozenset({"per_thousand", "cost"})),
        "risk": (frozenset({"risk"}),),
        "threshold": (frozenset({"p_error"}),),
    }
)
"""The numbers of each kind; a kind that is not here has none."""
_SPELLED: Mapping[str, str] = MappingProxyType({"budget": "share", "risk": "risk", "threshold": "p_error"})
"""The number that stands behind the colon of `KIND:NUMBER`, by kind."""


class Policy(BaseModel):
    """When posts are deferred to the reasoner.

    `fitted` uses the thresholds the model came with. `budget` defers at most a `share` of posts, or as many as
    `per_thousand` pays for at `cost` each. `risk` keeps as many posts as it can with an error rate of at most `risk`
    among them, with probability `1 - delta` over the posts it was calibrated on. `threshold` defers where P(error) is
    above `p_error`. `never` and `always` speak for themselves.

    Budget and risk count posts deferred for any reason, and hold for posts like those the router was calibrated on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: PolicyKind = "fitted"
    share: float | None = Field(default=None, ge=0, le=1, description="Kind `budget`: largest share deferred.")
    per_thousand: float | None = Field(
        default=None, ge=0, description="Kind `budget`: what 1,000 posts may cost, in milliseconds or a currency."
    )
    cost: float | None = Field(default=None, gt=0, description="What one deferred post costs, in the same unit.")
    risk: float | None = Field(default=None, gt=0, lt=1, description="Kind `risk`: error rate among kept posts.")
    delta: float = Field(default=0.1, gt=0, lt=1, description="Kind `risk`: how often the promise may fail.")
    p_error: float | None = Field(default=None, ge=0, le=1, description="Kind `threshold`.")

    @model_validator(mode="after")
    def _has_its_numbers(self) -> Policy:
        numbers = ("share", "per_thousand", "cost", "risk", "p_error")
        actual = frozenset(name for name in numbers if getattr(self, name) is not None)
        possible = _NEEDS.get(self.kind, (frozenset(),))
        if actual not in possible:
            words = " or ".join(" and ".join(sorted(names)) or "no number" for names in possible)
            raise ValueError(
                f"a policy of kind {self.kind!r} needs {words}; it has {', '.join(sorted(actual)) or 'none'}"
            )
        return self

    @classmethod
    def parse(cls, spelling: str) -> Policy:
        """The policy that `KIND` or `KIND:NUMBER` names, as the command line spells it: `never`, `budget:0.1`.

        Raises:
            InputError: There is no such kind, or its number is missing, superfluous or out of range.
        """
        kind, colon, number = spelling.partition(":")
        try:
            return cls.model_validate({"kind": kind, **({_SPELLED[kind]: number} if colon else {})})
        except (KeyError, ValidationError) as error:
            spellings = ", ".join(f"{name}:NUMBER" for name in _SPELLED)
            raise InputError(
                f"{spelling!r} is not a policy; possible are {spellings} (a NUMBER from 0 to 1), never, always and "
                "fitted",
                field="policy",
            ) from error

    @property
    def largest_share(self) -> float:
        """The share of posts that a `budget` pays for."""
        if self.share is not None:
            return self.share
        return min(1.0, (self.per_thousand or 0.0) / (1000 * (self.cost or 1.0)))
