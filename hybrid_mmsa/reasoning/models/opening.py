"""From what a user names (preset, folder, file, configuration) to a reasoner that answers. Fetches nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import cast

from ...errors import ArtefactError, InputError, ReasonerError
from ...extras import needs
from ...foreign import translated
from ...plugins import Plugin, find_plugin, installed_plugins
from ...types import LoraRef
from ..backends.recorded import RecordedReasoner
from ..base import Reasoner, check_reasoner
from ..config import Backend, ReasonerConfig
from .lora_base import misfit
from .own import own_config
from .packaged import outdated
from .presets import Preset, presets
from .store import check_files, model_folder, read_manifest

__all__ = ["load_lora", "located", "open_reasoner"]

_LOG = logging.getLogger(__name__)
# Module, class, and the extra that brings its packages. They are imported only when a reasoner is opened.
_BACKENDS: MappingProxyType[Backend, tuple[str, str, str]] = MappingProxyType(
    {
        "transformers": ("..backends.transformers", "TransformersReasoner", "vlm"),
        "llama_cpp": ("..backends.llama_cpp", "LlamaCppReasoner", "llama"),
        "openai_server": ("..backends.openai_server", "OpenAIServerReasoner", "server"),
    }
)


def open_reasoner(what: str | Path | ReasonerConfig | Reasoner, loras: Sequence[LoraRef] = ()) -> Reasoner:
    """Open a reasoner.

    Args:
        what: A preset's name (pulled before), a model's folder, a `.toml` file of a
            `ReasonerConfig`, a `.jsonl` file of recorded verdicts, a `ReasonerConfig` (whose `model` may be a name
            too), or a reasoner, which is returned as it is. Where it is none of these, `KIND` or `KIND:REST` is a
            plugin's (entry-point group `hybrid_mmsa.reasoners`, see `plugins`): what the entry point `KIND` refers to
            is called with the whole name and returns a `Reasoner`.
        loras: LoRA adapters it will answer with. A reasoner that can check them (it has `load`) does so now rather than
            at the first deferred post.

    Raises:
        InputError: It is none of these.
        ArtefactError: A preset that was not pulled, or a model or LoRA adapter that is damaged or does not fit.
        MissingExtraError: The backend's packages are not installed.
        PluginError: The package that offers it fails, or does not return a reasoner.
    """
    reasoner = _opened(what)
    for lora in loras:
        load_lora(reasoner, lora)
    return reasoner


def load_lora(reasoner: Reasoner, lora: LoraRef) -> None:
    """Let a reasoner that can check a LoRA adapter beforehand (it has `load`) do so.

    Nothing happens where the adapter was made for another model: the answers say so, and stand without it.

    Raises:
        ArtefactError: The adapter is damaged or does not fit.
        ReasonerError: The reasoner cannot check it.
    """
    with translated(ReasonerError):
        load = getattr(reasoner, "load", None)
        # The `load` of recorded verdicts reads a file of them.
        if callable(load) and not isinstance(reasoner, RecordedReasoner) and misfit(lora, reasoner) is None:
            load(lora)


def _opened(what: str | Path | ReasonerConfig | Reasoner) -> Reasoner:
    kind = type(what)  # `isinstance` would ask an object for its `__class__`, which may raise
    if issubclass(kind, ReasonerConfig):
        return _backend(located(cast(ReasonerConfig, what)))
    if not issubclass(kind, str | Path):
        reasoner = cast(Reasoner, what)
        check_reasoner(reasoner)
        return reasoner
    path = Path(cast("str | Path", what))
    if path.suffix == ".jsonl":
        return RecordedReasoner.load(path)
    if path.suffix == ".toml":
        return _opened(ReasonerConfig.from_file(path))
    folder = model_folder(str(what)) if what in presets() else path
    own = own_config(folder)
    if own is not None:
        if what in presets() and outdated(presets()[str(what)], folder):
            _LOG.warning("%s was pulled by another version: `hybrid-mmsa models pull %s` makes it anew", what, what)
        return _opened(own)
    if what in presets() or (path / "config.json").is_file():
        backend = presets()[str(what)].backend if what in presets() else "transformers"
        return _opened(ReasonerConfig(backend=backend, model=str(what)))
    plugin = find_plugin("reasoners", str(what).partition(":")[0])
    if plugin is None:
        raise InputError(_advice(path), field="reasoner")
    return _from_plugin(plugin, str(what))


def _from_plugin(plugin: Plugin, name: str) -> Reasoner:
    opener = plugin.load()
    with plugin.border(f"cannot open {name!r}"):
        reasoner: Reasoner = opener(name)
    try:
        check_reasoner(reasoner)
    except InputError as error:
        raise plugin.error(f"returned what cannot answer posts: {error.message}") from error
    return reasoner


def located(config: ReasonerConfig) -> ReasonerConfig:
    """The configuration with a name replaced by its folder or file, and the folder's files checked against its hashes.

    Raises:
        InputError: A preset that the backend does not open.
        ArtefactError: A preset that was not pulled, or files that are not as they were pulled.
    """
    if config.backend == "openai_server":
        return config
    preset = presets().get(config.model)
    model = Path(config.model)
    folder = model_folder(preset.name) if preset else model if config.backend == "transformers" else model.parent
    pulled = read_manifest(folder)
    if pulled is not None:
        check_files(folder, pulled)
        config = config.model_copy(update={"revision": pulled.revision})
    if preset is None:
        return config
    opened = _opens(preset, folder, config.backend)
    if pulled is None:
        raise ArtefactError(_not_pulled(preset))
    changes = {"model": str(opened), "image_size": config.image_size or preset.image_size}
    return config.model_copy(update=changes)


def _opens(preset: Preset, folder: Path, backend: Backend) -> Path:
    """What a backend opens of a pulled preset: its folder, or the GGUF file that came in a package."""
    if backend == "llama_cpp" and preset.package is not None:
        return folder / Path(preset.package.file).name
    if backend != preset.backend:
        raise InputError(f"{preset.name} is for the backend {preset.backend}, not for {backend}", field="reasoner")
    return folder


def _backend(config: ReasonerConfig) -> Reasoner:
    module, name, extra = _BACKENDS[config.backend]
    with needs(extra, f"the {config.backend} reasoner"):
        opened: Reasoner = getattr(import_module(module, __package__), name)(config)
    return opened


def _not_pulled(preset: Preset) -> str:
    return (
        f"{preset.name} is not on this machine, and nothing is fetched by itself: run `hybrid-mmsa models pull "
        f"{preset.name}` ({preset.download} GB, {preset.licence}), or name a model's folder or a .toml file"
    )


def _advice(path: Path) -> str:
    if path.suffix == ".gguf":
        return (
            f"{path} alone does not say which file holds the picture side: write a .toml with "
            "backend = 'llama_cpp', model and mmproj, and name that"
        )
    if path.exists():
        return f"{path} is no model folder (it has no config.json) and no .toml or .jsonl file"
    others = ", ".join(plugin.name for plugin in installed_plugins("reasoners") if plugin.name not in presets())
    known = f"presets are {', '.join(presets())}" + (f"; plugins offer {others}" if others else "")
    return f"no reasoner {str(path)!r}; {known}; or name a model's folder or a .toml file"
