"""Where pulled models lie on this machine, and whether they are still what was pulled. Fetches and opens nothing.

A pulled model is a folder with `hybrid_mmsa.json` beside its files: repository, revision and SHA-256 of each file. The
manifest is written last, so that a download that broke off is no model.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ...errors import ArtefactError

__all__ = [
    "MANIFEST",
    "Pulled",
    "check_files",
    "file_hashes",
    "model_folder",
    "read_manifest",
    "weight_hashes",
    "write_manifest",
]

MANIFEST = "hybrid_mmsa.json"
"""What makes a folder a whole model: its name among the files."""
HOME = "HYBRID_MMSA_HOME"


class Pulled(BaseModel):
    """What was pulled: the manifest of a model folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    repository: str
    """Its name on the hub."""
    revision: str
    files: Mapping[str, str]
    """SHA-256 (hex) by path inside the folder, with forward slashes."""


def model_folder(name: str) -> Path:
    """Where a pulled model of this name lies, or would: under `$HYBRID_MMSA_HOME`, else `~/.cache/hybrid_mmsa`."""
    home = os.environ.get(HOME)
    return (Path(home) if home else Path.home() / ".cache" / "hybrid_mmsa") / "models" / name


def read_manifest(folder: Path) -> Pulled | None:
    """What was pulled into a folder; `None` where nothing was, or a download broke off.

    Raises:
        ArtefactError: The manifest is damaged.
    """
    try:
        return Pulled.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ArtefactError(f"{folder / MANIFEST} is damaged; pull the model again") from error


def write_manifest(folder: Path, pulled: Pulled) -> None:
    """Make a folder a pulled model; in one step, so that it is whole or not there."""
    written = folder / f"{MANIFEST}.new"
    written.write_text(pulled.model_dump_json(indent=1) + "\n", encoding="utf-8")
    written.replace(folder / MANIFEST)


def check_files(folder: Path, pulled: Pulled) -> None:
    """Read every file and compare it with what was pulled.

    Raises:
        ArtefactError: One is missing, changed, or was not pulled.
    """
    wrong = sorted(set(file_hashes(folder).items()) ^ set(pulled.files.items()))
    if wrong:
        raise ArtefactError(
            f"{folder / wrong[0][0]} is not as it was pulled (missing, changed or added); remove {folder} and run "
            f"`hybrid-mmsa models pull {pulled.name}`"
        )


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) by path inside a folder, hidden files and the manifest left out."""
    paths = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and inside.parts[0] != MANIFEST and not any(part.startswith(".") for part in inside.parts):
            paths[inside.as_posix()] = path
    return _hashes(paths)


def weight_hashes(folder: Path) -> dict[str, str]:
    """What tells a model or a LoRA from others of its name and size: SHA-256 (hex) by file of weights in its folder."""
    return _hashes({path.name: path for path in sorted(folder.glob("[!.]*.safetensors"))})


def _hashes(paths: Mapping[str, Path]) -> dict[str, str]:
    def sha256(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        return dict(zip(paths, pool.map(sha256, paths.values()), strict=True))
