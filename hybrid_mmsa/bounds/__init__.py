"""What work may take: seconds for posts, seconds and bytes for an exchange with a server. Knows nothing of the work."""

from __future__ import annotations

__all__: list[str] = []
