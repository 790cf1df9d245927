"""An adapter folder as a value: what is fitted for the fast tier and a reasoner, checked by hash. Knows no training.

    adapter.json         what it is, the encoder it was fitted to, SHA-256 of what was fitted
    card.md              for people: data and terms, splits, figures, limits; its hash is checked where it is listed
    fast.safetensors     the fusion head
    calibration.json     a temperature per task
    router.json          P(error), thresholds
    router.safetensors   scores of the posts it was calibrated on, for budgets and risks
    pooling.json         how a reasoner's verdicts are pooled with fast answers
    senses.json          how what words and faces in a picture say joins the fast answer
    align.safetensors    maps into one space of words and pictures, with align.json
    lora/                a LoRA adapter for a reasoner
    projector.safetensors  how a reasoner's language model sees by a picture tower
    prompt.toml          the prompt it was trained with

A folder may hold the fast tier's three parts, a LoRA adapter, or both; with a LoRA adapter alone, another adapter gives
the fast parts. Every part that is there stands in `adapter.json` with its hash.

The bundled default model is such a folder (`adapters/default`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ._version import __version__
from .artefacts import (
    PROJECTOR,
    AdapterFile,
    CalibrationFile,
    PoolingFile,
    RouterFile,
    SensesFile,
    SpaceFile,
    read_arrays,
    read_artefact,
)
from .bundled import bundled_path
from .calibration import Calibration
from .errors import ArtefactError, InputError
from .foreign import translated
from .fusion import SPACE_FILES, FusionHead, PresentSides, Space, Strategy, answer_from_sides, usable_space
from .pooling import Pooling, SourcePooling, kind_of
from .routing import Router
from .types import (
    PICTURE_SOURCES,
    Features,
    FloatArray,
    LoraRef,
    Modality,
    PictureSource,
    Provenance,
    Sample,
    TaskArrays,
)

__all__ = [
    "ADAPTER_FORMAT",
    "Adapter",
    "bundled_adapters",
    "check_new_folder",
    "describe_adapter",
    "resolve_adapter",
]

ADAPTER_FORMAT = 1
MANIFEST, CARD = "adapter.json", "card.md"
HEAD, CALIBRATION, ROUTER = "fast.safetensors", "calibration.json", "router.json"
FITTED = (HEAD, CALIBRATION, ROUTER)
ROUTER_ARRAYS, POOLING, SENSES = "router.safetensors", "pooling.json", "senses.json"
LORA, PROMPT = "lora", "prompt.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """Everything that is fitted on top of an encoder, and perhaps on top of a reasoner's model.

    Attributes:
        name: Its name, shown in provenance.
        encoder: Name of the encoder, such as `"compact"`.
        encoder_hash: SHA-256 (hex) of the encoder it was fitted to.
        head, calibration, router: The fitted parts.
        made_with: Data, splits, seed and code version, for `adapter.json`.
        card: The model card, Markdown.
        hash: SHA-256 (hex) of its manifest, and so of its fitted parts; empty until loaded.
        lora: The LoRA adapter that a reasoner answers with, where there is one.
        pooling: How the verdicts of one reasoner are pooled with fast answers, where that was fitted.
        senses: How what words and faces in a picture say joins the fast answer, each where that was fitted.
        space: One space of words and pictures, where that was fitted.
        ready: Whether its LoRA adapter proved itself when it was made: it surely beat its base, and the cascade the
            fast tier.
    """

    name: str
    encoder: str
    encoder_hash: str
    head: FusionHead
    calibration: Calibration
    router: Router
    made_with: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""
    hash: str = ""
    lora: LoraRef | None = None
    pooling: Pooling | None = None
    senses: Mapping[PictureSource, SourcePooling] = field(default_factory=dict)
    space: Space | None = None
    ready: bool = True

    def posteriors(self, features: Features) -> TaskArrays:
        """Calibrated probabilities per task, float32 `[n, classes]`, NaN where a side or a head is missing."""
        return answer_from_sides(self.calibration.probabilities(self.head.logits(features)), self.sides(features))

    def sides(self, features: Features) -> PresentSides:
        """Which sides of the posts the heads answer from, and for which posts they answer about a target."""
        return PresentSides.of(features, answers_targets=self.head.answers_targets)

    def prior(self) -> FloatArray:
        """Class probabilities `[3]` with neither side read."""
        return self.calibration.prior(self.head.prior_logits())

    def embed(self, features: Features) -> FloatArray:
        """Vectors in the space of words and pictures; errors as in `fusion.usable_space`."""
        return usable_space(self.space, self.name, self.encoder_hash).embed(features)

    def gain_from(
        self, reasoner: str | None, posts: Sequence[Sample], unseen: Sequence[Modality] = ()
    ) -> NDArray[np.float64]:
        """P(error) from which asking this reasoner is known to help, `[n]`; 0 where that was not measured.

        Args:
            reasoner: Its id.
            posts: The posts, read.
            unseen: Sides that it is not shown.
        """
        pooling = self.pooling
        if pooling is None or pooling.reasoner != reasoner:
            return np.zeros(len(posts))
        weights = [pooling.kinds.get(kind_of(post, unseen)) for post in posts]
        return np.array([0.0 if each is None else each.gain_from for each in weights])

    def provenance(self) -> Provenance:
        """Which weights answer with this adapter."""
        return Provenance(
            package=__version__,
            model=self.name,
            model_hash=self.hash,
            encoder=self.encoder,
            encoder_hash=self.encoder_hash,
        )

    def check_encoder(self, name: str, hash_: str) -> None:
        """Raise `ArtefactError` unless the encoder is the one this adapter was fitted to."""
        if hash_ != self.encoder_hash:
            raise ArtefactError(
                f"adapter {self.name!r} was fitted to encoder {self.encoder} {self.encoder_hash[:12]}…, "
                f"this is {name} {hash_[:12]}…; fit it again with `hybrid-mmsa train fusion` or `adapter train`"
            )

    def router_fits(self) -> bool:
        """Whether the router was fitted with this adapter's encoder; one that does not say so is taken to be."""
        return bool(self.router.fitted_on.get("encoder_hash", self.encoder_hash) == self.encoder_hash)

    def check_router(self) -> None:
        """Raise `ArtefactError` unless the router was fitted with this adapter's encoder."""
        if not self.router_fits():
            raise ArtefactError(
                f"adapter {self.name!r} has encoder {self.encoder_hash[:12]}…, its router was fitted with "
                f"{self.router.fitted_on['encoder_hash'][:12]}…: P(error) and thresholds mean nothing here; "
                "fit the router again with `hybrid-mmsa route fit POSTS --model FOLDER`"
            )

    def save(self, folder: Path) -> None:
        """Write the folder; existing files of the same names are replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: np.ascontiguousarray(v) for k, v in self.head.arrays.items()}, folder / HEAD)
        _write_json(folder / CALIBRATION, {"temperatures": self.calibration.temperatures})
        _write_json(folder / ROUTER, self.router.to_dict())
        for name in (ROUTER_ARRAYS, POOLING, SENSES, *SPACE_FILES):
            (folder / name).unlink(missing_ok=True)
        if arrays := self.router.arrays():
            save_file(dict(arrays), folder / ROUTER_ARRAYS)
        if self.pooling is not None:
            _write_json(folder / POOLING, self.pooling.to_dict())
        if self.senses:
            _write_json(folder / SENSES, {source: pooling.to_dict() for source, pooling in self.senses.items()})
        if self.space is not None:
            self.space.save(folder)
        if self.card:
            (folder / CARD).write_text(self.card, encoding="utf-8")
        if self.lora is not None:
            _copy_lora(self.lora, folder)
        describe_adapter(
            folder,
            name=self.name,
            made_with=self.made_with if self.ready else {**self.made_with, "ready": False},
            fitted_to={
                "encoder": self.encoder,
                "encoder_hash": self.encoder_hash,
                "strategy": self.head.strategy,
            },
        )

    def save_whole(self, folder: str | Path) -> None:
        """Write the folder in one step, so that a kill leaves what was there before or a whole adapter.

        Args:
            folder: An adapter's folder that is replaced, an empty one, or a new one; see `check_new_folder`.
        """
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
            new, old = Path(place) / "new", Path(place) / "old"
            self.save(new)
            if folder.exists():
                folder.rename(old)
            new.rename(folder)

    @classmethod
    def load(cls, folder: Path, base: Adapter | None = None) -> Adapter:
        """Read a folder, checking every file against its hash.

        Args:
            folder: The adapter's folder.
            base: Gives the fast tier's parts where the folder holds a LoRA adapter alone; default the bundled adapter.

        Raises:
            ArtefactError: A part is missing, damaged, or of another format version.
        """
        manifest = read_artefact(folder / MANIFEST, AdapterFile)
        if manifest.format != ADAPTER_FORMAT:
            raise ArtefactError(f"{folder}: adapter format {manifest.format}, this version reads {ADAPTER_FORMAT}")
        with translated(lambda cause: ArtefactError(f"{folder}: {cause}")):
            _check_parts(folder, manifest.files)
            described = _described(folder)
            own: dict[str, Any] = {
                "name": manifest.name,
                "made_with": manifest.made_with,
                "card": (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).is_file() else "",
                "lora": _lora(folder, manifest.name),
                "pooling": _pooling(folder),
                "ready": bool(manifest.made_with.get("ready", True)),
            }
            if HEAD not in manifest.files:
                base = base or cls.load(resolve_adapter("default"))
                return replace(base, **own, hash=_sha256((described + base.hash).encode()))
            if manifest.encoder is None or manifest.encoder_hash is None:
                raise ArtefactError(
                    f"{folder / MANIFEST} lacks `encoder` or `encoder_hash`, which the heads were fitted to"
                )
            return cls(
                encoder=manifest.encoder,
                encoder_hash=manifest.encoder_hash,
                head=FusionHead(read_arrays(folder / HEAD), cast(Strategy, manifest.strategy)),
                calibration=Calibration(cast(Any, read_artefact(folder / CALIBRATION, CalibrationFile).temperatures)),
                router=_router(folder),
                senses=_senses(folder),
                space=_space(folder),
                hash=_sha256(described.encode()),
                **own,
            )


def bundled_adapters() -> dict[str, Path]:
    """The folders of the bundled adapters, by their names."""
    return {
        manifest.parent.name: manifest.parent for manifest in sorted(bundled_path("adapters").glob(f"*/{MANIFEST}"))
    }


def resolve_adapter(name_or_path: str | Path) -> Path:
    """The folder of a bundled adapter's name, or of a path.

    A bundled name means the bundled adapter whatever stands in the working directory; `./name` is a path.

    Raises:
        ArtefactError: There is no such folder.
    """
    bundled = bundled_adapters()
    with translated(lambda cause: ArtefactError(f"no adapter has such a name or path ({cause})")):
        if isinstance(name_or_path, str) and name_or_path in bundled:
            return bundled[name_or_path]
        path = Path(name_or_path)
        if (path / MANIFEST).is_file():
            return path
    if isinstance(name_or_path, str) and len(path.parts) == 1:
        raise ArtefactError(f"no adapter {name_or_path!r}; bundled are {', '.join(bundled) or 'none'}")
    raise ArtefactError(f"{path} is not an adapter folder: it has no {MANIFEST}")


def check_new_folder(folder: Path, *, force: bool = False) -> Path | None:
    """Check that an adapter may be written to a folder.

    Args:
        folder: The adapter's folder; its name is the adapter's.
        force: Whether an adapter that is there may be replaced.

    Returns:
        The folder where it holds an adapter that is going to be replaced, `None` where it is new or empty.

    Raises:
        InputError: Something else is there, or the name is a bundled adapter's.
    """
    if folder.resolve().name in bundled_adapters():
        message = f"{folder.resolve().name!r} is the name of the bundled adapter; name another folder"
        raise InputError(message, field="out")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} is there already and is not an adapter; name another folder", field="out")
    if not force:
        raise InputError(f"{folder} is there already; name another folder, or replace it: --force", field="out")
    parts = {folder / part for part in (*_parts(folder), MANIFEST)}
    if others := sorted(path.name for path in folder.rglob("*") if path.is_file() and path not in parts):
        raise InputError(f"{folder} also holds {others[0]}, which is not part of an adapter; move it away", field="out")
    return folder


def describe_adapter(
    folder: Path, *, name: str, made_with: Mapping[str, Any], fitted_to: Mapping[str, str] | None = None
) -> None:
    """Write `adapter.json` for the parts that stand in a folder.

    Args:
        folder: The adapter's folder.
        name: The adapter's name.
        made_with: Data, splits, seed and code version.
        fitted_to: `encoder` and `encoder_hash` of the fast parts; not for a LoRA adapter alone.
    """
    manifest = {
        "format": ADAPTER_FORMAT,
        "name": name,
        **(fitted_to or {}),
        "made_with": dict(made_with),
        "files": {part: _sha256((folder / part).read_bytes()) for part in _parts(folder)},
    }
    _write_json(folder / MANIFEST, manifest)


def _parts(folder: Path) -> list[str]:
    """Every part of an adapter that stands in a folder, by its path inside."""
    names = (*FITTED, ROUTER_ARRAYS, POOLING, SENSES, *SPACE_FILES, PROJECTOR, PROMPT, CARD)
    single = [name for name in names if (folder / name).is_file()]
    return single + sorted(p.relative_to(folder).as_posix() for p in (folder / LORA).rglob("*") if p.is_file())


def _described(folder: Path) -> str:
    """What an adapter's hash is of: its manifest without the card, whose words change no answer."""
    manifest = _read_json(folder / MANIFEST)
    files = {part: sha for part, sha in manifest["files"].items() if part != CARD}
    return json.dumps({**manifest, "files": files}, sort_keys=True)


def _router(folder: Path) -> Router:
    read_artefact(folder / ROUTER, RouterFile)
    path = folder / ROUTER_ARRAYS
    arrays = read_arrays(path, with_gaps="sample.") if path.is_file() else {}
    return Router.from_dict(_read_json(folder / ROUTER), arrays)


def _pooling(folder: Path) -> Pooling | None:
    if not (folder / POOLING).is_file():
        return None
    return Pooling.from_dict(read_artefact(folder / POOLING, PoolingFile).model_dump())


def _senses(folder: Path) -> dict[PictureSource, SourcePooling]:
    if not (folder / SENSES).is_file():
        return {}
    fitted = read_artefact(folder / SENSES, SensesFile).model_dump()
    return {source: SourcePooling.from_dict(fitted[source]) for source in PICTURE_SOURCES if fitted[source]}


def _space(folder: Path) -> Space | None:
    space = Space.load(folder)
    if space is not None:
        arrays, facts = SPACE_FILES
        read_artefact(folder / facts, SpaceFile)
        read_arrays(folder / arrays)
    return space


def _check_parts(folder: Path, described: Mapping[str, str]) -> None:
    """Every part is there and the one described, none stands there undescribed, and they make an adapter."""
    for name in dict.fromkeys((*described, *_parts(folder))):
        if name == CARD and name not in described:
            continue  # folders that were made before cards had a hash
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise ArtefactError(f"{folder / MANIFEST} names a file outside of the folder")
        if not (folder / name).is_file() or _sha256((folder / name).read_bytes()) != described.get(name):
            raise ArtefactError(f"{folder / name} is missing or not the file that {MANIFEST} describes")
    fast = sum(name in described for name in FITTED)
    if fast not in (0, len(FITTED)) or not (fast or _lora(folder, "")):
        raise ArtefactError(f"{folder} is not an adapter: it needs {', '.join(FITTED)}, or {LORA}/, or both")


def _lora(folder: Path, name: str) -> LoraRef | None:
    if not any((folder / LORA).rglob("*")):
        return None
    prompt = folder / PROMPT
    return LoraRef(name=name, path=folder / LORA, prompt=prompt if prompt.is_file() else None)


def _copy_lora(lora: LoraRef, folder: Path) -> None:
    if lora.path.resolve() != (folder / LORA).resolve():
        shutil.copytree(lora.path, folder / LORA, dirs_exist_ok=True)
    if lora.prompt is not None and lora.prompt.resolve() != (folder / PROMPT).resolve():
        shutil.copyfile(lora.prompt, folder / PROMPT)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    with translated(lambda cause: ArtefactError(f"cannot read {path}: {cause}")):
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values
