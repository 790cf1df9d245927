"""A model's folder that says itself how it is opened: `reasoner.toml` beside the weights.

It may only configure the model it stands with: the folder, or GGUF files in it.
"""

from __future__ import annotations

import json
from pathlib import Path

from ...errors import ArtefactError
from ..config import ReasonerConfig

__all__ = ["CONFIGURATION", "own_config", "write_config"]

CONFIGURATION, PROMPT = "reasoner.toml", "prompt.toml"


def own_config(folder: Path) -> ReasonerConfig | None:
    """How a folder wants its model to be opened; `None` where it does not say.

    Raises:
        InputError: Its `reasoner.toml` cannot be read.
        ArtefactError: It configures another model than the folder's own.
    """
    path = folder / CONFIGURATION
    if not path.is_file():
        return None
    config = ReasonerConfig.from_file(path)
    # A folder may come from elsewhere: naming it must not send posts to a server or open another model.
    whole = folder.resolve()
    files = [Path(config.model).resolve(), *([] if config.mmproj is None else [config.mmproj.resolve()])]
    own = {"transformers": files == [whole], "llama_cpp": all(file.parent == whole for file in files)}
    if not own.get(config.backend, False):
        raise ArtefactError(f"{path} configures another model than the one it stands with")
    return config


def write_config(folder: Path, config: ReasonerConfig) -> None:
    """Have a folder say how it is opened: what differs from the defaults.

    Args:
        folder: The model's.
        config: Its paths start from the folder, but for a prompt's file, which is copied into it.
    """
    values = config.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    if Path(config.prompt).suffix == ".toml":
        values["prompt"] = PROMPT
        (folder / PROMPT).write_bytes(Path(config.prompt).read_bytes())
    # A string of JSON is one of TOML, as long as no character is spelled as two halves.
    lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())
    (folder / CONFIGURATION).write_text("".join(lines), encoding="utf-8")
