"""Finds what travels with the package: adapters, prompts, protocols, splits. It knows nothing of what they hold.

In a checkout they stand beside the package; in a wheel they are mapped under `hybrid_mmsa/_bundled/`.
"""

from __future__ import annotations

from pathlib import Path

from .errors import ArtefactError

__all__ = ["bundled_path"]

_PACKAGE = Path(__file__).resolve().parent


def bundled_path(*parts: str) -> Path:
    """The path of a bundled file or folder, e.g. `bundled_path("adapters", "default")`.

    Args:
        *parts: Names from the top level down. They are names, not paths: none of them leads out of the bundle.

    Raises:
        ArtefactError: Nothing of that name is bundled.
    """
    name = "/".join(parts)
    root = _root()
    path = root.joinpath(*parts).resolve()
    if not parts or not path.is_relative_to(root) or path == root:
        raise ArtefactError(f"{name!r} is not a bundled file or folder: its name leads out of the bundle")
    if not path.exists():
        raise ArtefactError(f"{name!r} is not bundled with this installation: it was looked for at {path}")
    return path


def _root() -> Path:
    """The folder the bundle stands in. `_bundled` exists in a wheel only, so it decides."""
    inside = _PACKAGE / "_bundled"
    if inside.is_dir():
        return inside
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        return _PACKAGE.parent
    raise ArtefactError(f"this installation is incomplete: {inside} is missing; install hybrid-mmsa again")
