"""An adapter folder as a value: the fast tier's head, calibration and router, checked by hash. Knows no training.

    adapter.json         what it is, the encoder it was fitted to, SHA-256 of what was fitted
    card.md              for people: data and terms, splits, figures, limits
    fast.safetensors     the fusion head
    calibration.json     a temperature per task
    router.json          P(error), thresholds

The bundled default model is such a folder (`adapters/default`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ._version import __version__
from .bundled import bundled_path
from .calibration import Calibration
from .errors import ArtefactError
from .fusion import FusionHead
from .routing import Router
from .types import Features, FloatArray, Provenance, TaskArrays

__all__ = ["ADAPTER_FORMAT", "Adapter", "resolve_adapter"]

ADAPTER_FORMAT = 1
HEAD, CALIBRATION, ROUTER, CARD, MANIFEST = (
    "fast.safetensors",
    "calibration.json",
    "router.json",
    "card.md",
    "adapter.json",
)
FITTED = (HEAD, CALIBRATION, ROUTER)


@dataclass(frozen=True, slots=True)
class Adapter:
    """Everything of the fast tier that is fitted on top of an encoder.

    Attributes:
        name: Its name, shown in provenance.
        encoder: Name of the encoder, such as `"compact"`.
        encoder_hash: SHA-256 (hex) of the encoder it was fitted to.
        head, calibration, router: The fitted parts.
        made_with: Data, splits, seed and code version, for `adapter.json`.
        card: The model card, Markdown.
        hash: SHA-256 (hex) of its manifest, and so of its fitted parts; empty until loaded.
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

    def posteriors(self, features: Features) -> TaskArrays:
        """Calibrated probabilities per task, float32 `[n, classes]`, NaN where a side is missing."""
        return self.calibration.probabilities(self.head.logits(features))

    def prior(self) -> FloatArray:
        """Class probabilities `[3]` with neither side seen."""
        return self.calibration.prior(self.head.prior_logits())

    def provenance(self) -> Provenance:
        """Which weights answer with this adapter."""
        return Provenance(
            package=__version__,
            model=self.name,
            model_hash=self.hash,
            encoder=self.encoder,
            encoder_hash=self.encoder_hash,
        )

    def check_encoder(self, name: str, found: str) -> None:
        """Raise `ArtefactError` unless the encoder is the one this adapter was fitted to."""
        if found != self.encoder_hash:
            raise ArtefactError(
                f"adapter {self.name!r} was fitted to encoder {self.encoder} {self.encoder_hash[:12]}…, "
                f"this is {name} {found[:12]}…; fit it again with `hybrid-mmsa train fusion`"
            )

    def save(self, folder: Path) -> None:
        """Write the folder; existing files of the same names are replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: np.ascontiguousarray(v) for k, v in self.head.arrays.items()}, folder / HEAD)
        _write_json(folder / CALIBRATION, {"temperatures": self.calibration.temperatures})
        _write_json(folder / ROUTER, self.router.to_dict())
        if self.card:
            (folder / CARD).write_text(self.card, encoding="utf-8")
        files = {name: _sha256(folder / name) for name in FITTED}
        manifest = {
            "format": ADAPTER_FORMAT,
            "name": self.name,
            "encoder": self.encoder,
            "encoder_hash": self.encoder_hash,
            "made_with": dict(self.made_with),
            "files": files,
        }
        _write_json(folder / MANIFEST, manifest)

    @classmethod
    def load(cls, folder: Path) -> Adapter:
        """Read a folder, checking every file against its hash.

        Raises:
            ArtefactError: A part is missing, damaged, or of another format version.
        """
        manifest = _read_json(folder / MANIFEST)
        try:
            if manifest["format"] != ADAPTER_FORMAT:
                raise ArtefactError(
                    f"{folder}: adapter format {manifest['format']}, this version reads {ADAPTER_FORMAT}"
                )
            for name in FITTED:
                if not (folder / name).is_file() or _sha256(folder / name) != manifest["files"].get(name):
                    raise ArtefactError(f"{folder / name} is missing or not the file that {MANIFEST} describes")
            return cls(
                name=manifest["name"],
                encoder=manifest["encoder"],
                encoder_hash=manifest["encoder_hash"],
                head=FusionHead(load_file(folder / HEAD)),
                calibration=Calibration(_read_json(folder / CALIBRATION)["temperatures"]),
                router=Router.from_dict(_read_json(folder / ROUTER)),
                made_with=manifest["made_with"],
                card=(folder / CARD).read_text(encoding="utf-8") if (folder / CARD).is_file() else "",
                hash=hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest(),
            )
        except (AttributeError, KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
            if isinstance(error, ArtefactError):
                raise
            raise ArtefactError(f"{folder}: {error!r}") from error


def resolve_adapter(name_or_path: str | Path) -> Path:
    """The folder of a bundled adapter's name, or of a path.

    A bundled name means the bundled adapter whatever stands in the working directory; `./name` is a path.

    Raises:
        ArtefactError: There is no such folder.
    """
    bundled = {p.parent.name: p.parent for p in sorted(bundled_path("adapters").glob(f"*/{MANIFEST}"))}
    if isinstance(name_or_path, str) and name_or_path in bundled:
        return bundled[name_or_path]
    path = Path(name_or_path)
    if (path / MANIFEST).is_file():
        return path
    if isinstance(name_or_path, str) and len(path.parts) == 1:
        raise ArtefactError(f"no adapter {name_or_path!r}; bundled are {', '.join(bundled) or 'none'}")
    raise ArtefactError(f"{path} is no adapter folder: it has no {MANIFEST}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"cannot read {path}: {error}") from error
    return values
