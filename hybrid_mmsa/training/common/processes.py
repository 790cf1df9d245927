"""Which of several processes this is, as `accelerate launch` and `torchrun` say it. Starts none and talks to none."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Place", "place"]


@dataclass(frozen=True, slots=True)
class Place:
    """One process among those that train together.

    Attributes:
        rank: Its number; 0 prints and writes.
        local: Its number on this machine, and that of its GPU.
        size: How many there are.
    """

    rank: int = 0
    local: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is the one that prints and writes."""
        return self.rank == 0


def place() -> Place:
    """This process's place; the only one where nothing launched it with others."""
    rank, local, size = (
        int(os.environ.get(name, alone)) for name, alone in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"))
    )
    return Place(rank, local, size)
