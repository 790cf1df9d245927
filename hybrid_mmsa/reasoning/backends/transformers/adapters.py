"""LoRA adapters of one open model: read, checked, several in memory, one active at a time. Knows no prompt.

Which adapter is active is a state of the model, so one owner at a time may use it: the reasoner's lock sees to that.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ....artefacts import LORA_CONFIG, LORA_WEIGHTS, LoraFile, read_artefact
from ....errors import ArtefactError
from ....extras import needs
from ....types import LoraRef

if TYPE_CHECKING:
    from peft import LoraConfig

    from .loading import Vlm

__all__ = ["BEFORE", "Adapters", "as_in", "layers_of"]

_BESIDE_THE_MODEL = frozenset({"gaussian", "eva", "orthogonal"})  # beginnings that leave the model's own weights alone
BEFORE = "base_model.model."
"""What PEFT writes before a module's own name."""
_IN_LLAVA = "model.language_model."  # where a language model stands in one that sees
_FIXED_WORDS = "What a day!"


class Adapters:
    """The LoRA adapters that were loaded into one model.

    Args:
        model: The model; adapters are put into its layers and change nothing while none is active.
        language: Name of its language model; adapters may touch nothing else.
        probe: The model's logits for some fixed post, to see whether an adapter does anything.
    """

    def __init__(self, model: Any, language: str, probe: Callable[[], torch.Tensor]) -> None:
        self._model = model
        self._language = language
        self._probe = probe
        self._peft: Any = None
        self._names: dict[Path, str] = {}
        self._active: str | None = None

    @classmethod
    def of(cls, vlm: Vlm) -> Adapters:
        """Those of an open model, with some fixed words as the probe."""
        ids = torch.tensor([vlm.encode(_FIXED_WORDS)], device=vlm.model.device)

        def probe() -> torch.Tensor:
            with torch.no_grad():
                last: torch.Tensor = vlm.model(input_ids=ids).logits[0, -1].float()
            return last

        return cls(vlm.model, vlm.language, probe)

    def use(self, lora: LoraRef | None) -> None:
        """Make this adapter the active one, or none, until another is asked for.

        Raises:
            ArtefactError: The adapter cannot be used, see `load`.
        """
        self._activate(None if lora is None else self.load(lora))

    def load(self, lora: LoraRef) -> str:
        """Read an adapter once; the name it has in the model.

        Raises:
            ArtefactError: It is no LoRA in safetensors, holds keys the model lacks or lacks keys the model has,
                touches the picture's side, or changes nothing.
            MissingExtraError: PEFT is not installed.
        """
        folder = Path(lora.path).resolve()
        if folder not in self._names:
            config, weights = _read(folder)
            named = as_in(self._model, self._language, weights)
            if named.keys() != weights.keys():  # by whole names: in a vision tower layers may be called the same
                config.target_modules = set(layers_of(named))
            weights = named
            self._refuse_outside(folder, weights)
            name = f"lora{len(self._names)}"
            self._activate(None)
            before = self._probe()
            try:
                self._inject(folder, name, config, weights)
                self._refuse_no_change(folder, name, before)
            except Exception:
                self._remove(name)
                raise
            finally:
                self._rest()
            self._names[folder] = name
        return self._names[folder]

    def merge(self, lora: LoraRef) -> None:
        """Put an adapter into the model's own weights, for good: what is trained beside it takes less time then.

        Raises:
            ArtefactError: It cannot be used, see `load`.
        """
        self.use(lora)
        self._peft.merge_and_unload()
        self._peft, self._names, self._active = None, {}, None

    def _inject(self, folder: Path, name: str, config: LoraConfig, weights: dict[str, torch.Tensor]) -> None:
        library = _library()
        try:
            with warnings.catch_warnings():
                # PEFT asks the model for a property under its deprecated name.
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
                warnings.filterwarnings("error", "target_parameters", RuntimeWarning)  # of those that are not there
                if self._peft is None:
                    self._peft = library.PeftModel(self._model, config, adapter_name=name)
                else:
                    self._peft.add_adapter(name, config)
            state = library.get_peft_model_state_dict(self._peft, adapter_name=name, save_embedding_layers=False)
            _refuse_other_keys(folder, set(state), set(weights))
            library.set_peft_model_state_dict(self._peft, weights, adapter_name=name)
        except (AttributeError, KeyError, RuntimeError, RuntimeWarning, TypeError, ValueError) as error:
            if isinstance(error, ArtefactError | torch.OutOfMemoryError):
                raise
            cause = str(error).strip().split("\n")[0]
            raise ArtefactError(f"the LoRA in {folder} does not fit this model: {cause}") from error

    def _refuse_outside(self, folder: Path, weights: dict[str, torch.Tensor]) -> None:
        for key in weights:
            if not key.startswith(f"{BEFORE}{self._language}."):
                raise ArtefactError(
                    f"the LoRA in {folder} touches {key.removeprefix(BEFORE)!r}, and only layers of the language "
                    f"model ({self._language}) may be tuned: the vision tower and the projector stay as they are"
                )

    def _refuse_no_change(self, folder: Path, name: str, before: torch.Tensor) -> None:
        self._activate(name)
        after = self._probe()
        if not torch.isfinite(after).all():
            raise ArtefactError(f"the LoRA in {folder} makes the model's logits no numbers")
        if torch.equal(before, after):
            raise ArtefactError(f"the LoRA in {folder} changes nothing: the model's logits are the same without it")

    def _remove(self, name: str) -> None:
        if self._peft is not None and name in self._peft.peft_config:
            if len(self._peft.peft_config) == 1:
                self._peft.unload()
                self._peft = None
            else:
                self._peft.set_adapter(next(other for other in self._peft.peft_config if other != name))
                self._peft.delete_adapter(name)

    def _activate(self, name: str | None) -> None:
        """A change takes as long as half an answer of a small model: PEFT goes through all of its layers."""
        if name == self._active:
            return
        if name is None:
            self._rest()
        else:
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(name, inference_mode=True)
            self._active = name

    def _rest(self) -> None:
        self._active = None
        if self._peft is not None:
            self._peft.base_model.disable_adapter_layers()


def as_in(model: Any, language: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A LoRA's weights by the names that layers have in a model.

    A LoRA that was made for a language model alone fits a vision-language model made from it, and one that was made for
    a LLaVA fits its language model: the same layers stand there under another name. All other names stay.

    Args:
        model: The model.
        language: Name of its language model.
        weights: By PEFT's names.
    """
    decoder = model.get_submodule(language)
    alone = f"{getattr(decoder, 'base_model_prefix', '')}."  # where the decoder stands in a model of words alone
    layers = {name for name, _ in decoder.named_modules()}

    def renamed(key: str) -> str:
        layer, own = _module_of(key), key.removeprefix(BEFORE)
        for place in (f"{language}.", alone, _IN_LLAVA):
            if layer.startswith(place) and layer.removeprefix(place) in layers:
                return f"{BEFORE}{language}.{own.removeprefix(place)}"
        return key

    return {renamed(key): value for key, value in weights.items()}


def layers_of(weights: Iterable[str]) -> list[str]:
    """The layers that PEFT's names of a LoRA's weights are about, by their whole names."""
    return sorted({_module_of(key) for key in weights})


def _module_of(key: str) -> str:
    """The layer that one of PEFT's names is about."""
    return key.removeprefix(BEFORE).partition(".lora_")[0]


def _library() -> Any:
    """PEFT, imported with the first adapter: with what it draws in it holds more memory than a small model's weights.

    Raises:
        MissingExtraError: It is not installed.
    """
    # PEFT imports it, and it complains of a kernel for 4 bits that nobody asked for.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    with needs("vlm", "a LoRA adapter"):
        import peft
    return peft


def _read(folder: Path) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    for file in (LORA_CONFIG, LORA_WEIGHTS):
        if not (folder / file).is_file():
            raise ArtefactError(f"{folder} is no LoRA adapter: it has no {file}")
    library = _library()
    try:
        method = json.loads((folder / LORA_CONFIG).read_text(encoding="utf-8")).get("peft_type")
        if method != "LORA":
            raise ArtefactError(f"the adapter in {folder} is {method}, not LoRA")
        read_artefact(folder / LORA_CONFIG, LoraFile)
        config: LoraConfig = library.LoraConfig.from_pretrained(str(folder))
        weights = load_file(folder / LORA_WEIGHTS)
    except ArtefactError:
        raise
    except (AttributeError, OSError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        cause = str(error).strip().split("\n")[0]
        raise ArtefactError(f"the LoRA in {folder} cannot be read: {cause}") from error
    if config.bias != "none":
        raise ArtefactError(f"the LoRA in {folder} changes biases of the model itself (bias = {config.bias!r})")
    start = config.init_lora_weights
    if isinstance(start, str) and start not in _BESIDE_THE_MODEL:
        raise ArtefactError(f"the LoRA in {folder} began by changing the model itself (init_lora_weights = {start!r})")
    config.inference_mode = True
    # Every weight comes from the file; a random beginning would leave a trace where an adapter is refused half way.
    config.init_lora_weights = True
    return config, weights


def _refuse_other_keys(folder: Path, expected: set[str], actual: set[str]) -> None:
    missing, unexpected = sorted(expected - actual), sorted(actual - expected)
    if missing or unexpected:
        differences = [
            f"{len(keys)} {what}, such as {keys[0]}"
            for what, keys in (("keys are missing", missing), ("keys are unexpected", unexpected))
            if keys
        ]
        raise ArtefactError(f"the LoRA in {folder} does not fit this model: {'; '.join(differences)}")
