"""The files of an adapter folder as they come from elsewhere: every field of its type and in its range, or an error.

Knows nothing of what the values mean to those who read them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors.numpy import load_file

from .errors import ArtefactError
from .foreign import translated
from .types import POST_KINDS, PostKind

__all__ = [
    "LORA_CONFIG",
    "LORA_WEIGHTS",
    "PROJECTOR",
    "AdapterFile",
    "CalibrationFile",
    "LoraFile",
    "PoolingFile",
    "RouterFile",
    "SensesFile",
    "SpaceFile",
    "read_arrays",
    "read_artefact",
    "wrong_fields",
]

PROJECTOR = "projector.safetensors"
"""What a language model sees by through a picture tower: the file's name in an adapter's folder."""

MOST_CAUSES = 3
LONGEST_VALUE = 60
MOST_REPEATS = 3
"""So many `*`, `+` and `{}` may a pattern of layers have: more can take hours to be found not to match."""
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(ge=1e-6, le=1e6)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Artefact(BaseModel):
    """Base of the files below: no value is converted, numbers are finite, and fields of later versions are ignored."""

    # Validators are built when a file of their kind is first read: few programs read all kinds.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)


class AdapterFile(Artefact):
    """`adapter.json`."""

    format: int
    name: str = Field(min_length=1, max_length=200)
    encoder: str | None = None
    encoder_hash: str | None = None
    strategy: str = "gated"
    made_with: dict[str, Any]
    files: dict[str, Hash]


class CalibrationFile(Artefact):
    """`calibration.json`: a temperature per task."""

    temperatures: dict[str, Temperature]


class _ErrorModel(Artefact):
    signals: dict[str, float]
    bias: float


class _FittedOn(Artefact):
    model_config = ConfigDict(extra="allow")

    encoder_hash: str | None = None


class RouterFile(Artefact):
    """`router.json`: P(error) and thresholds; a threshold of `null` is never passed."""

    error_model: _ErrorModel
    thresholds: dict[str, float | None]
    set_threshold: Share | None = None
    sarcasm_by_difference: bool = False
    fitted_on: _FittedOn = _FittedOn()


class _VerdictWeights(Artefact):
    fast_weight: NotNegative
    verdict_weight: NotNegative
    bias: Annotated[list[float], Field(min_length=3, max_length=3)]
    gain_from: NotNegative | None
    fitted_on: dict[str, Any]


class PoolingFile(Artefact):
    """`pooling.json`: how verdicts are pooled with fast answers, for each kind of post."""

    reasoner: str
    adapter: str | None
    prompt: str | None
    target_prompt: str | None = None
    kinds: dict[PostKind, _VerdictWeights]

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, values: Any) -> Any:
        """Files up to 0.1 hold weights for all posts."""
        if not isinstance(values, dict) or "kinds" in values:
            return values
        weights = {name: values[name] for name in _VerdictWeights.model_fields if name in values}
        return {**values, "kinds": dict.fromkeys(POST_KINDS, weights)}


class _Weights(Artefact):
    fast_weight: NotNegative
    source_weight: NotNegative


class _SourcePooling(Artefact):
    with_text: _Weights
    picture_only: _Weights
    set_threshold: Share | None = None
    fitted_on: dict[str, Any]


class SensesFile(Artefact):
    """`senses.json`: how what words and faces in a picture say joins the fast answer."""

    picture_words: _SourcePooling | None = None
    faces: _SourcePooling | None = None


class _Found(Artefact):
    model_config = ConfigDict(extra="allow")

    chance: Share


class SpaceFile(Artefact):
    """`align.json`: what the space was fitted to, and how much it finds."""

    encoder_hash: str
    found: _Found


def _plain(pattern: str) -> str:
    """The pattern, where matching it against the names of layers takes little time."""
    repeats = sum(pattern.count(each) for each in "*+{")
    if repeats > MOST_REPEATS or any(f"){each}" in pattern for each in "*+{"):
        raise ValueError(f"a pattern may repeat {MOST_REPEATS} things at most, and no group; list the layers' names")
    return pattern


Rank = Annotated[int, Field(ge=1, le=4096)]
Scale = Annotated[float, Field(gt=0, le=65_536)]
LayerName = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(_plain)]
LayerNames = Annotated[list[LayerName], Field(max_length=20_000)] | LayerName


LORA_CONFIG, LORA_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The files of a LoRA, as PEFT names them."""


class LoraFile(Artefact):
    """`adapter_config.json`, as PEFT writes it: what decides how much is computed, and with which numbers."""

    peft_type: Literal["LORA"]
    r: Rank
    lora_alpha: Scale
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: LayerNames | None = None
    exclude_modules: LayerNames | None = None
    target_parameters: LayerNames | None = None
    layers_to_transform: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=10_000)] | int | None = None
    rank_pattern: dict[LayerName, Rank] | None = None
    alpha_pattern: dict[LayerName, Scale] | None = None
    use_rslora: bool = False
    use_dora: bool = False
    megatron_config: None = None
    """PEFT would import a module that the file names."""


Kind = TypeVar("Kind", bound=Artefact)


def read_artefact(path: Path, kind: type[Kind]) -> Kind:
    """A JSON file as its type.

    Raises:
        ArtefactError: It cannot be read, or holds a field of another type or outside its range.
    """
    with translated(lambda cause: ArtefactError(f"cannot read {path}: {cause}")):
        content = path.read_bytes()
        try:
            return kind.model_validate_json(content)
        except ValidationError as error:
            raise ArtefactError(f"{path} holds what it may not: {wrong_fields(error)}") from None


def wrong_fields(error: ValidationError) -> str:
    """The first fields that are wrong, what stands there, and what is wanted; in one line."""
    causes = []
    for each in error.errors(include_url=False)[:MOST_CAUSES]:
        place, value = ".".join(map(str, each["loc"])) or "file", each["input"]
        shown = f", found {str(value)[:LONGEST_VALUE]!r}" if isinstance(value, str | int | float | None) else ""
        causes.append(f"{place}: {each['msg']}{shown}")
    return "; ".join(causes)[:600]


def read_arrays(path: Path, *, with_gaps: str | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file.

    Args:
        path: The file.
        with_gaps: How the names of arrays begin that are measurements and may hold NaN where one is missing.

    Raises:
        ArtefactError: It cannot be read, or some number in it is not finite: such weights switch a side off silently.
    """
    with translated(lambda cause: ArtefactError(f"cannot read {path}: {cause}")):
        arrays: dict[str, NDArray[Any]] = load_file(path)
        for name, array in arrays.items():
            if with_gaps is not None and name.startswith(with_gaps):
                continue
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ArtefactError(f"{path} holds numbers that are not finite, in {name}")
        return arrays
