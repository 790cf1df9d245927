"""What decides a reasoner, in one frozen value: backend, model, prompt, limits. Opens nothing."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError

__all__ = ["Backend", "ReasonerConfig", "causes"]

Backend: TypeAlias = Literal["transformers", "llama_cpp", "openai_server"]


class ReasonerConfig(BaseModel):
    """Names a model and says how it runs. The backend is chosen here, never guessed from a model's name."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    backend: Backend
    model: str = Field(min_length=1, description="A folder, a GGUF file, or the server's name of the model.")
    id: str = Field(default="", description="Names the reasoner in answers; the model's own name if not given.")
    revision: str | None = Field(default=None, description="Revision of the weights; a LoRA made for them names it.")
    prompt: str | Path = Field(default="sentiment", description="A bundled prompt's name, or a TOML file.")
    lora: str | None = Field(
        default=None,
        pattern=r"^[\w-]+$",
        description="transformers, llama_cpp: a bundled adapter, whose LoRA answers where no other is asked for.",
    )
    mmproj: Path | None = Field(
        default=None, description="llama_cpp: the GGUF file of the picture side, if it has one."
    )
    url: str | None = Field(default=None, description="openai_server: where it listens, with the `/v1`.")
    pictures: bool = Field(default=True, description="openai_server: whether the model there takes pictures.")
    api_key_env: str = Field(default="OPENAI_API_KEY", description="The environment variable that holds the key.")
    quantise: Literal["4bit", "8bit"] | None = Field(default=None, description="transformers: by bitsandbytes.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda`, `cuda:1` ...")
    batch_size: int = Field(default=8, ge=1, description="Posts, or requests, at a time.")
    context: int = Field(default=4096, ge=64, description="Tokens of prompt and answer together.")
    max_rationale_tokens: int = Field(default=400, ge=1, description="Most tokens written for one post.")
    timeout: float = Field(
        default=60,
        gt=0,
        description="Seconds for one question, or a batch in transformers, retries included; hidden words are more.",
    )
    retries: int = Field(default=2, ge=0, description="How often a failed request is sent again.")
    image_size: int | None = Field(default=None, ge=16, description="Pixels the longest side is shrunk to first.")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; the library's choice if not given.")

    @model_validator(mode="before")
    @classmethod
    def _named_after_its_model(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("id") and isinstance(values.get("model"), str | Path):
            return {**values, "model": str(values["model"]), "id": Path(values["model"]).name.removesuffix(".gguf")}
        return values

    @model_validator(mode="after")
    def _whole(self) -> ReasonerConfig:
        if self.backend == "openai_server" and self.url is None:
            raise ValueError("openai_server needs `url`, such as http://127.0.0.1:8000/v1")
        if not self.pictures and self.backend != "openai_server":
            raise ValueError("`pictures` is for servers; a model in this process says what it takes")
        if self.quantise is not None and self.backend != "transformers":
            raise ValueError("`quantise` is for transformers; name a quantised model instead")
        if self.lora is not None and self.backend == "openai_server":
            raise ValueError("`lora` is for models in this process; start the server with it instead")
        return self

    @classmethod
    def from_file(cls, path: Path) -> ReasonerConfig:
        """Read a TOML file whose keys are the fields; relative paths in it start from its folder.

        Raises:
            InputError: The file cannot be read, or a field is unknown, missing or wrong.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
            # A server's model is a name, not a path.
            paths = ("mmproj", "prompt") if values.get("backend") == "openai_server" else ("model", "mmproj", "prompt")
            for field in paths:
                value = values.get(field)
                if isinstance(value, str) and (path.parent / value).exists():
                    values[field] = str(path.parent / value)
            return cls.model_validate(values)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} configures no reasoner: {causes(error)}", field="reasoner") from error


def causes(error: Exception) -> str:
    """What is wrong with a file's fields, in one line: each field of a `ValidationError`, else the error's message."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
    return str(error)
