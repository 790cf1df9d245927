"""Fetches a preset's model from the hub, at its pinned commit, every file checked. With `packaged`, all that fetches.

A file that stands whole on this machine is not fetched again, so a pull that broke off goes on with the others.
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile

from ...errors import ArtefactError
from .presets import Preset
from .store import Pulled, file_hashes, model_folder, write_manifest

__all__ = ["pull"]

# Weights as safetensors only: a pickle runs code when it is opened. Other formats in sub-folders are not needed.
PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*")


def pull(preset: Preset) -> Path:
    """Fetch a preset's model; its folder, whole and checked.

    Raises:
        ArtefactError: The hub cannot be reached or does not have it, or a file is not what the hub says it is.
    """
    folder = model_folder(preset.name)
    try:
        tree = HfApi().list_repo_tree(preset.repository, recursive=True, revision=preset.revision)
        listed = [file for file in tree if isinstance(file, RepoFile) and "/" not in file.path]
        listed = [file for file in listed if any(fnmatch(file.path, pattern) for pattern in PATTERNS)]
        folder.mkdir(parents=True, exist_ok=True)
        snapshot_download(
            preset.repository,
            revision=preset.revision,
            local_dir=folder,
            allow_patterns=[file.path for file in listed],
        )
    except OfflineModeIsEnabled as error:
        raise ArtefactError(f"{preset.name} was not pulled: HF_HUB_OFFLINE is set, which forbids it") from error
    except Exception as error:  # the hub client's HTTP library, and so its errors, differ from version to version
        raise ArtefactError(f"{preset.name} was not pulled; run the command again to go on: {error}") from error
    hashes = _checked(folder, listed)
    for path in hashes.keys() - {file.path for file in listed}:
        (folder / path).unlink()  # of an older revision: the model would be refused for it
        del hashes[path]
    write_manifest(
        folder, Pulled(name=preset.name, repository=preset.repository, revision=preset.revision, files=hashes)
    )
    return folder


def _checked(folder: Path, listed: list[RepoFile]) -> dict[str, str]:
    """The hashes of what lies in the folder, compared with what the hub lists.

    A file that differs is removed, to be fetched again.
    """
    if not any(file.path.endswith(".safetensors") for file in listed):
        raise ArtefactError(f"the hub lists no weights (.safetensors) for {folder.name}")
    hashes = file_hashes(folder)
    for file in listed:
        path = folder / file.path
        whole = hashes.get(file.path) == file.lfs.sha256 if file.lfs else _is_blob(path, file.blob_id)
        if not whole:
            path.unlink(missing_ok=True)
            raise ArtefactError(f"{path} is not the file that the hub lists; it was removed: pull again")
    return hashes


def _is_blob(path: Path, blob_id: str) -> bool:
    """Whether a file has this git object id, which is how the hub names small files."""
    if not path.is_file():
        return False
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == blob_id
