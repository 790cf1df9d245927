"""A trained LoRA → what other programs load: a plain PEFT folder, a merged model, or GGUF. Knows no training.

Whatever is written is opened again and asked about a few fixed posts, beside the adapter that it was made from. What
answers otherwise is refused, and nothing of it is left.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from ...adapters import CARD, LORA, PROMPT, Adapter, describe_adapter, resolve_adapter
from ...artefacts import LORA_CONFIG, LORA_WEIGHTS
from ...errors import ArtefactError, InputError
from ...reasoning import Reasoner, ReasonerConfig, open_reasoner, presets
from ...reasoning.backends.transformers import TransformersReasoner
from ...reasoning.backends.transformers.adapters import Adapters, as_in, layers_of
from ...reasoning.backends.transformers.loading import language_name, open_vlm
from ...reasoning.backends.transformers.onnx_tower import know_onnx_towers
from ...reasoning.models.llava import language_alone
from ...reasoning.models.lora_base import misfit
from ...reasoning.models.own import CONFIGURATION, write_config
from ...reasoning.models.store import MANIFEST
from ...types import LoraRef, Sample, Verdict, posteriors
from .base import PATIENCE, find_base
from .gguf import write_gguf, write_gguf_lora

__all__ = ["Export", "Form", "export_lora"]

WORDS = (
    "What a day!",
    "The screen cracked after two days and nobody answers.",
    "Arrived on Tuesday.",
    "Great, another delay 🙄 #thanks",
)
SIDE = 96
Floats = NDArray[np.float64]
Form: TypeAlias = Literal["peft", "merged", "gguf"]
LLAMA_CPP = "llama.cpp"
# Everything of a base's folder but these goes with merged weights: tokenizer, processor, chat template, licence.
LEFT_BEHIND = ("*.safetensors", "*.index.json", "*.bin", "*.pt", "*.pth", "*.gguf", "*.py", "config.json", MANIFEST)
LOST: Mapping[str, float] = MappingProxyType({"float32": 0.001, "bfloat16": 0.1, "float16": 0.1})
"""How much of an adapter's effect on the label's logits a merge may lose, by the precision of the base."""
MOVED = 0.05
"""How far llama.cpp may move a probability: its keys and values are of 16 bits."""
# vLLM, SGLang and llama.cpp run plain LoRA; they pass over these in silence, or refuse them.
ODD = ("use_dora", "modules_to_save", "trainable_token_indices")


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What a model answers to the probe posts, without and with an adapter.

    Attributes:
        plain, adapted: The label's logits `[n, 3]`, up to a constant per post.
    """

    plain: Floats
    adapted: Floats

    @classmethod
    def of(cls, reasoner: Reasoner, lora: LoraRef) -> Trial:
        """Ask a model twice."""
        return cls(*(_logits(reasoner.reason(probe_posts(reasoner), each)) for each in (None, lora)))

    def lost(self, verdicts: Sequence[Verdict]) -> float:
        """The largest difference of a label's logit, as a share of the most that the adapter changes; 1: all of it."""
        return float(np.abs(_logits(verdicts) - self.adapted).max() / np.abs(self.adapted - self.plain).max())

    def moved(self, verdicts: Sequence[Verdict]) -> float:
        """The largest difference of a probability, over posts of words alone: programs read pictures differently."""
        words = slice(len(WORDS))
        return float(np.abs(_shares(_logits(verdicts))[words] - _shares(self.adapted)[words]).max())

    def same_labels(self, verdicts: Sequence[Verdict]) -> bool:
        """Whether every label is the adapter's."""
        return bool((_logits(verdicts).argmax(axis=1) == self.adapted.argmax(axis=1)).all())


def probe_posts(reasoner: Reasoner) -> list[Sample]:
    """The same posts at every call: words alone, and, for one that reads pictures, a picture alone and both."""
    words = [Sample(text=words, id=str(n)) for n, words in enumerate(WORDS)]
    if not getattr(reasoner, "reads_pictures", True):
        return words
    ramp = np.tile(np.linspace(0, 255, SIDE, dtype=np.uint8), (SIDE, 1))
    picture = Image.fromarray(np.stack([ramp, ramp.T, ramp[:, ::-1]], axis=2))
    return [
        *words,
        Sample(image=picture, id="picture"),
        *(replace(post, image=picture, id=f"both {post.id}") for post in words),
    ]


def _logits(verdicts: Sequence[Verdict]) -> Floats:
    logs = np.log(np.maximum(posteriors(verdicts), 1e-12))
    centred: Floats = logs - logs.mean(axis=1, keepdims=True)
    return centred


def _shares(logits: Floats) -> Floats:
    powers = np.exp(logits)
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written.

    Attributes:
        adapter: The adapter's folder or its bundled name.
        base: The model it was trained on: a pulled preset's name, or a folder.
        out: The folder to write; there must be nothing in it.
        form: `peft`: a LoRA folder as vLLM, SGLang and PEFT load it. `merged`: a model's folder. `gguf`: an adapter
            folder for llama.cpp, its LoRA in `lora/lora.gguf`.
        with_base: `gguf`: also write the base, and try the adapter on it in llama.cpp. For LLaVA.
        threads: CPU threads that trials take; the libraries' choice if `None`.
    """

    adapter: str | Path
    base: str
    out: Path
    form: Form
    with_base: bool = False
    threads: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """What is exported: the order, the adapter, its folder and LoRA, the base as it says it is opened, and answers."""

    export: Export
    folder: Path
    adapter: Adapter
    lora: LoraRef
    base: ReasonerConfig
    trial: Trial

    def here(self, config: ReasonerConfig) -> ReasonerConfig:
        """A configuration as a trial opens it."""
        return _patient(config, self.export.threads)


def export_lora(export: Export) -> list[str]:
    """Write an adapter's LoRA in another form, and try what was written.

    Args:
        export: What to write.

    Returns:
        What was written and how it was tried, a sentence each.

    Raises:
        InputError: The output folder is not empty, or the base is neither a folder nor a preset of transformers.
        ArtefactError: The adapter has no LoRA, is of another base, or what was written answers otherwise.
    """
    if export.out.exists() and (not export.out.is_dir() or any(export.out.iterdir())):
        raise InputError(f"{export.out} is there already; name another folder", field="-o")
    if export.with_base and export.form != "gguf":
        raise InputError("only --format gguf writes the base beside the adapter", field="--with-base")
    folder = resolve_adapter(export.adapter)
    adapter = Adapter.load(folder)
    if adapter.lora is None:
        raise ArtefactError(f"adapter {adapter.name!r} in {folder} holds no LoRA: it is of the fast tier alone")
    base = _base(export.base)
    reasoner = open_reasoner(_patient(base, export.threads), [adapter.lora])
    if cause := misfit(adapter.lora, reasoner):
        raise ArtefactError(f"{cause}: name the base that it was trained on (--base)")
    trial = Trial.of(reasoner, adapter.lora)
    del reasoner  # one model in memory at a time
    settings = json.loads((adapter.lora.path / LORA_CONFIG).read_text(encoding="utf-8"))
    if odd := [name for name in ODD if settings.get(name)]:
        raise ArtefactError(
            f"the LoRA in {adapter.lora.path} is not plain ({', '.join(odd)}): other programs would not run it"
        )
    source = _Source(export, folder, adapter, adapter.lora, base, trial)
    draft = export.out.with_name(f"{export.out.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        if adapter.card:
            (draft / CARD).write_text(adapter.card, encoding="utf-8")
        report = _FORMS[export.form](source, draft)
        export.out.mkdir(parents=True, exist_ok=True)
        draft.replace(export.out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


def _base(name: str) -> ReasonerConfig:
    """The base, found on this machine, in the precision it was published in: what is merged is stored so."""
    config = find_base(name)
    know_onnx_towers()
    settings = AutoConfig.from_pretrained(config.model, local_files_only=True, trust_remote_code=False)
    if getattr(settings, "quantization_config", None) is not None:
        raise ArtefactError(
            f"{name} holds quantised weights, which take no adapter; name the model as it was published"
        )
    dtype = str(settings.dtype or settings.get_text_config().dtype).removeprefix("torch.")
    return config.model_copy(update={"dtype": dtype if dtype in LOST else "float32", "quantise": None})


def _write_peft(source: _Source, out: Path) -> list[str]:
    lora, name, base = source.lora, source.export.base, source.here(source.base)
    preset = presets().get(name)
    vlm = open_vlm(base)
    # The model that the folder names: a preset with a projector was published as its language model alone.
    of_words = vlm.sees and preset is not None and preset.projector is not None
    model = language_alone(vlm.model) if of_words else vlm.model
    settings = json.loads((lora.path / LORA_CONFIG).read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = Path(name).name if preset is None else preset.repository
    if preset is not None and preset.package is not None:
        settings["revision"] = None  # a package's is no commit, and PEFT would ask the hub for it
    weights = load_file(lora.path / LORA_WEIGHTS)
    named = as_in(model, language_name(model), weights)
    if named.keys() != weights.keys():
        settings["target_modules"] = layers_of(named)
    (out / LORA_CONFIG).write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    save_file(named, out / LORA_WEIGHTS, metadata={"format": "pt"})
    with warnings.catch_warnings():  # PEFT asks the model for a property under its deprecated name
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        PeftModel.from_pretrained(model, str(out))  # as anybody opens it: the layers that `vlm` shares answer with it
    if lora.prompt is not None:  # what the adapter was trained to be asked with travels with it
        shutil.copyfile(lora.prompt, out / PROMPT)
    reasoner = TransformersReasoner(base.model_copy(update={"prompt": lora.prompt or base.prompt}), vlm)
    posts = probe_posts(reasoner)
    lost = source.trial.lost(reasoner.reason(posts))
    if not lost <= LOST["float32"]:
        raise ArtefactError(f"the exported LoRA answers otherwise than the adapter: {lost:.1%} of its effect is lost")
    return [
        f"a LoRA of rank {settings['r']} for PEFT, SGLang and vLLM (--max-lora-rank {settings['r']} or more)",
        f"opened again by PEFT on {name}: the same answers to {len(posts)} posts",
    ]


def _write_merged(source: _Source, out: Path) -> list[str]:
    lora, base = source.lora, source.base
    vlm = open_vlm(source.here(base))
    Adapters.of(vlm).merge(lora)
    vlm.model.save_pretrained(out)
    del vlm  # one model in memory at a time
    left = {path.name for pattern in LEFT_BEHIND for path in Path(base.model).glob(pattern)}
    for path in Path(base.model).iterdir():
        if path.is_file() and path.name not in left and not path.name.startswith("."):
            shutil.copyfile(path, out / path.name)  # a processor travels as it was published, not as it was opened
    changes = {"model": ".", "id": "", "revision": None, "prompt": lora.prompt or base.prompt}
    write_config(out, base.model_copy(update=changes))
    reasoner = open_reasoner(source.here(ReasonerConfig.from_file(out / CONFIGURATION)))
    verdicts = reasoner.reason(probe_posts(reasoner))
    lost = source.trial.lost(verdicts)
    if not (lost <= LOST[base.dtype] and source.trial.same_labels(verdicts)):
        raise ArtefactError(
            f"merged into {base.dtype} weights, {lost:.1%} of what the adapter changes is lost, and "
            f"{LOST[base.dtype]:.1%} may be: the weights are too coarse for it; export it as peft"
        )
    return [
        f"a model in {base.dtype}; ask it with --reasoner FOLDER/{CONFIGURATION}",
        f"opened again: {lost:.2%} of what the adapter changes in the label's logits is lost in rounding",
    ]


def _write_gguf(source: _Source, out: Path) -> list[str]:
    """A copy of the adapter with its LoRA as GGUF; its fast parts and its pooling stay."""
    folder, adapter, base = source.folder, source.adapter, source.base
    manifest = json.loads((folder / "adapter.json").read_text(encoding="utf-8"))
    for name in manifest["files"]:
        if not name.startswith(f"{LORA}/"):
            shutil.copyfile(folder / name, out / name)
    (out / LORA).mkdir()
    write_gguf_lora(folder / LORA, Path(base.model), out / LORA / "lora.gguf")
    fitted_to = {key: manifest[key] for key in ("encoder", "encoder_hash", "strategy") if key in manifest}
    made_with = {**adapter.made_with, "exported_from": adapter.hash}
    describe_adapter(out, name=adapter.name, made_with=made_with, fitted_to=fitted_to)
    report = [f"an adapter for llama.cpp; its LoRA is {LORA}/lora.gguf"]
    if not source.export.with_base:
        return [*report, "not tried in llama.cpp; --with-base writes a LLaVA's files beside it and tries both"]
    files = out / LLAMA_CPP
    files.mkdir()
    write_gguf(Path(base.model), files / "model.gguf", files / "mmproj.gguf")
    changes = {"backend": "llama_cpp", "model": "model.gguf", "mmproj": "mmproj.gguf", "revision": None}
    write_config(files, base.model_copy(update={**changes, "dtype": "auto", "device": "auto"}))
    prompt = out / PROMPT if (out / PROMPT).is_file() else None
    reasoner = open_reasoner(ReasonerConfig.from_file(files / CONFIGURATION))
    verdicts = reasoner.reason(probe_posts(reasoner), LoraRef(name=adapter.name, path=out / LORA, prompt=prompt))
    moved = source.trial.moved(verdicts)
    if not moved <= MOVED:
        raise ArtefactError(f"llama.cpp moves a probability by {moved:.3f} where {MOVED} may be: not the same adapter")
    return [
        *report,
        f"the base is in {LLAMA_CPP}/; ask both with --reasoner FOLDER/{LLAMA_CPP}/{CONFIGURATION} --adapter FOLDER",
        f"tried there: no probability of a post without picture moved by more than {moved:.3f}",
    ]


def _patient(config: ReasonerConfig, threads: int | None) -> ReasonerConfig:
    return config.model_copy(update={"device": "cpu", "timeout": PATIENCE, "threads": threads})


_FORMS: Mapping[Form, Callable[[_Source, Path], list[str]]] = MappingProxyType(
    {"peft": _write_peft, "merged": _write_merged, "gguf": _write_gguf}
)
