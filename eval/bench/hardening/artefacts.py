"""Mutated folders of adapters, LoRAs and encoders, and what opening and using them comes to.

Small real ones are made first: an adapter fitted to a small encoder, a LoRA for a small language model as PEFT writes
it, an encoder of two small ONNX files with a tokenizer. Then one file is damaged, or one field of a JSON file gets a
value of another kind or range; in half of the trials the hashes are made to fit again, so that what is behind is met.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel
from torch import nn

from eval.bench.hardening.damage import damaged
from eval.bench.hardening.trials import Attempt
from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import MANIFEST, Adapter, describe_adapter
from hybrid_mmsa.encoders.compact import WEIGHTS, CompactEncoder
from hybrid_mmsa.reasoning.backends.transformers.adapters import Adapters
from hybrid_mmsa.testing import TinyEncoder, tiny_adapter
from hybrid_mmsa.training.towers.onnx_graph import Graph
from hybrid_mmsa.types import LoraRef

COUNT, SEED = 2_000, 20_261_133
WIDTH, SIDE = 16, 32
PICTURE = np.full((8, 8, 3), 77, np.uint8)
LORA, COMPACT = "adapter_config.json", "compact.json"
_VALUES: tuple[Any, ...] = (
    *(
        None,
        0,
        7,
        -1,
        5.0,
        1e308,
        10**40,
        True,
        "",
        "text",
        "0" * 64,
        "../../etc/passwd",
        "(a+)+b",
        [],
        {},
        [[]],
        [7],
        {"a": None},
    ),
    *(["q_proj"] * 50_000, {"q_proj": 10**9}, float("nan"), float("inf")),
)
_RAW = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"NaN",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\xef\xbb\xbf{}",
    b"\0",
    b"1" + b"0" * 400,
)


def prepare(folder: Path) -> Callable[[int], Attempt]:
    """Number → a folder to open and use."""
    tiny_adapter(TinyEncoder()).save(folder / "adapter")
    write_lora(folder / "lora")
    write_encoder(folder / "encoder")
    made = {
        "adapter": (folder / "adapter", use_adapter),
        "LoRA": (folder / "lora", use_lora),
        "encoder": (folder / "encoder", encoder_user(folder / "encoder")),
    }
    for whole, use in made.values():
        use(whole)

    def attempt(number: int) -> Attempt:
        chance = Random(f"{SEED} {number}")
        kind = chance.choice(list(made))
        whole, use = made[kind]
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        change = mutate(copy, chance)
        fitting = chance.random() < 0.5
        if fitting:
            fit_hashes(copy, kind)
        return Attempt(f"{kind}: {change}, {'hashes fit' if fitting else 'hashes of before'}", lambda: use(copy))

    return attempt


def mutate(folder: Path, chance: Random) -> str:
    """Change one file of a folder; in which way, in words."""
    path = chance.choice(sorted(file for file in folder.iterdir() if file.is_file()))
    if path.suffix == ".json" and path.stat().st_size < 100_000 and chance.random() < 0.7:
        if chance.random() < 0.15:
            path.write_bytes(chance.choice(_RAW))
            return "another file"
        document = json.loads(path.read_bytes())
        place = chance.choice(list(_places(document)))
        path.write_text(json.dumps(_with(document, place, chance.choice(_VALUES))), encoding="utf-8")
        return "one field"
    path.write_bytes(damaged(path.read_bytes(), chance))
    return "damage"


def fit_hashes(folder: Path, kind: str) -> None:
    """Let the hashes in a manifest be those of the files, where the manifest can still be read."""
    try:
        if kind == "adapter":
            manifest = json.loads((folder / MANIFEST).read_bytes())
            fitted_to = {key: manifest[key] for key in ("encoder", "encoder_hash", "strategy") if key in manifest}
            describe_adapter(folder, name=manifest["name"], made_with=manifest["made_with"], fitted_to=fitted_to)
        elif kind == "encoder":
            manifest = json.loads((folder / COMPACT).read_bytes())
            manifest["files"] = _hashes(folder)
            (folder / COMPACT).write_text(json.dumps(manifest), encoding="utf-8")
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # it is the manifest that was changed


def use_adapter(folder: Path) -> str:
    """Load an adapter, and let it answer."""
    Analyzer(TinyEncoder(), [Adapter.load(folder)]).analyze("What a lovely day").model_dump_json()
    return "answered"


def use_lora(folder: Path) -> str:
    """Load a LoRA into a small model."""
    torch.manual_seed(0)
    model = Small()
    post = torch.ones(1, WIDTH)
    with warnings.catch_warnings():
        warnings.filterwarnings("default", category=UserWarning)  # PEFT's words on fields that it does not know
        Adapters(model, "language", lambda: model(post).detach()).load(LoraRef(path=folder, prompt=None, name="tried"))
    return "loaded"


def encoder_user(whole: Path) -> Callable[[Path], str]:
    """Opens an encoder, and lets it answer with an adapter that was fitted to the whole one."""
    adapter = tiny_adapter(CompactEncoder(whole))

    def use(folder: Path) -> str:
        encoder = CompactEncoder(folder)
        fitting = replace(adapter, encoder_hash=encoder.hash)
        Analyzer(encoder, [fitting]).analyze("What a lovely day", PICTURE).model_dump_json()
        return "answered"

    return use


class Small(nn.Module):
    """A model with a language model of two layers inside."""

    def __init__(self) -> None:
        super().__init__()
        self.language = nn.ModuleDict({"q_proj": nn.Linear(WIDTH, WIDTH), "v_proj": nn.Linear(WIDTH, WIDTH)})

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Both layers, one after the other."""
        answer: torch.Tensor = self.language["v_proj"](self.language["q_proj"](values))
        return answer


def write_lora(folder: Path) -> None:
    """A LoRA for `Small` that changes something."""
    torch.manual_seed(0)
    tuned = PeftModel(
        Small(), LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    tuned.save_pretrained(str(folder))


def write_encoder(folder: Path) -> None:
    """An encoder of the compact kind: words looked up and averaged, colours averaged."""
    folder.mkdir()
    shutil.copy(WEIGHTS / "tokenizer.json", folder)
    rng, size = np.random.default_rng(SEED), _vocabulary(folder)
    graph = Graph()
    looked_up = graph.node("Gather", [graph.constant(rng.normal(size=(size, WIDTH)).astype(np.float32)), "ids"])
    mask = graph.node("Unsqueeze", [graph.node("Cast", ["mask"], to=1), graph.ints(2)])
    summed = graph.node("ReduceSum", [graph.node("Mul", [looked_up, mask]), graph.ints(1)], keepdims=0)
    graph.node("Div", [summed, graph.node("ReduceSum", [mask, graph.ints(1)], keepdims=0)], "features")
    graph.save(
        folder / "text.onnx", {"ids": ("int64", ["n", "l"]), "mask": ("int64", ["n", "l"])}, {"features": ["n", WIDTH]}
    )
    graph = Graph()
    pixels = graph.node("Transpose", [graph.node("Cast", ["pixels"], to=1)], perm=[0, 3, 1, 2])
    graph.node("Identity", [pixels], "map")
    graph.node("ReduceMean", [pixels, graph.ints(2, 3)], "features", keepdims=0)
    shape: list[str | int] = ["n", SIDE, SIDE, 3]
    graph.save(folder / "image.onnx", {"pixels": ("uint8", shape)}, {"features": ["n", 3], "map": ["n", 3, SIDE, SIDE]})
    manifest = {"max_tokens": 64, "image_size": SIDE, "text_width": WIDTH, "image_width": 3, "files": _hashes(folder)}
    (folder / COMPACT).write_text(json.dumps(manifest), encoding="utf-8")


def _vocabulary(folder: Path) -> int:
    return len(json.loads((folder / "tokenizer.json").read_bytes())["model"]["vocab"])


def _hashes(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
        if file.name != COMPACT
    }


def _places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from _places(inner, (*path, key))


def _with(document: Any, path: tuple[str, ...], value: Any) -> Any:
    return {**document, path[0]: _with(document[path[0]], path[1:], value)} if path else value
