"""What may be deferred: the user's choice, one small typed value. Knows nothing of scores."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Policy"]


class Policy(BaseModel):
    """When posts are deferred to the reasoner.

    `fitted` uses the thresholds the model came with; `threshold` defers where P(error) is above `p_error`; `never`
    and `always` speak for themselves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["fitted", "threshold", "never", "always"] = "fitted"
    p_error: float | None = Field(default=None, ge=0, le=1, description="For kind `threshold` only.")

    @model_validator(mode="after")
    def _threshold_has_its_number(self) -> Policy:
        if (self.kind == "threshold") != (self.p_error is not None):
            raise ValueError("a policy of kind 'threshold', and no other, needs p_error, a number from 0 to 1")
        return self
