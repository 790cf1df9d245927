"""Models of this package's own making: a folder that says itself how it is opened, and the one that is bundled.

Such a folder holds `reasoner.toml` beside the weights. It may only configure the model it stands with.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import ArtefactError
from ..config import ReasonerConfig
from .store import MANIFEST, Pulled, read_manifest

__all__ = ["BUNDLED", "CONFIGURATION", "bundled_folder", "bundled_reasoner", "own_config"]

BUNDLED = "nano"
"""The reasoner that travels with the package."""
CONFIGURATION = "reasoner.toml"
_WEIGHTS = Path(__file__).parent.parent / "weights"


def bundled_folder() -> Path:
    """Where the bundled reasoner lies.

    Raises:
        ArtefactError: This installation lacks it.
    """
    bundled_reasoner()
    return _WEIGHTS / BUNDLED


def bundled_reasoner() -> Pulled:
    """What the bundled reasoner says of itself; its files are not looked at.

    Raises:
        ArtefactError: This installation lacks it, or its manifest is damaged.
    """
    folder = _WEIGHTS / BUNDLED
    manifest = read_manifest(folder)
    if manifest is None:
        raise ArtefactError(
            f"{BUNDLED} is not in this installation: {folder} has no {MANIFEST}; install hybrid-mmsa again, or make "
            f"one with `hybrid-mmsa train {BUNDLED}` and name its folder"
        )
    return manifest


def own_config(folder: Path) -> ReasonerConfig | None:
    """How a folder wants its model to be opened; `None` where it does not say.

    Raises:
        InputError: Its `reasoner.toml` cannot be read.
        ArtefactError: It configures another model than the folder's own.
    """
    path = folder / CONFIGURATION
    if not path.is_file():
        return None
    config = ReasonerConfig.from_file(path)
    # A folder may come from elsewhere: naming it must not send posts to a server or open another model.
    if config.backend != "transformers" or Path(config.model).resolve() != folder.resolve():
        raise ArtefactError(f"{path} configures another model than the one it stands with")
    return config
