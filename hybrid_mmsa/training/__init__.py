"""Making the towers, the head and what is fitted on them. Imports no torch by itself.

Towers need the extra `train`; heads on frozen features need `tune` alone.
"""

from __future__ import annotations

__all__: list[str] = []
