"""Folders that take long to train, made once for all test processes and kept for the next run.

A folder is found again by a hash of what makes it, so a change of recipe, source or library trains it anew. They lie
in `build/trained`. Knows nothing of models.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / "build" / "trained"
SOURCES = {".json", ".py", ".toml"}
TRAINERS = ("numpy", "pillow", "tokenizers", "torch", "transformers")
"""Packages whose version decides how a small model is trained."""


def sources(*paths: Path) -> list[bytes]:
    """Names and content of files and of all sources in folders, for `trained_once`.

    The manifests among them hold the hashes of their weights.
    """
    inside = [sorted(path.rglob("*")) if path.is_dir() else [path] for path in paths]
    files = [file for found in inside for file in found if file.suffix in SOURCES]
    return [part for file in files for part in (file.relative_to(ROOT).as_posix().encode(), file.read_bytes())]


def trained_once(
    name: str, train: Callable[[Path], object], made_from: Iterable[bytes], packages: Iterable[str]
) -> Path:
    """A folder that `train` filled now or in an earlier run.

    Test processes that ask at the same time wait for the one that trains. Folders of the same name that were made
    from something else are removed.

    Args:
        name: Says what is in the folder.
        train: Fills an empty folder.
        made_from: Everything in this checkout that decides what is in it.
        packages: Libraries whose version decides too.
    """
    digest = hashlib.sha256(repr((sys.version_info[:2], STORE)).encode())  # runs that can be gone on with hold paths
    for part in (*made_from, *(f"{package} {version(package)}".encode() for package in packages)):
        digest.update(len(part).to_bytes(8, "big") + part)
    folder = STORE / name / digest.hexdigest()[:16]
    finished = folder.with_suffix(".finished")
    STORE.mkdir(parents=True, exist_ok=True)
    with FileLock(STORE / f"{name}.lock"):
        if not finished.exists():
            shutil.rmtree(STORE / name, ignore_errors=True)
            folder.mkdir(parents=True)
            train(folder)
            finished.touch()
    return folder
