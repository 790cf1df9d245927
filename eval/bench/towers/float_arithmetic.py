"""What whole numbers cost in right answers: the shipped text tower, and its own weights multiplied in float32.

    python eval/bench/towers/float_arithmetic.py --data DATA [--most 1000] [--only NAME ...] [--save]

The tower that was trained is not at hand everywhere, its weights are: levels of the shipped file times their scales. So
every product of whole numbers in the graph becomes one of float32, and activations are not rounded. On the posts of
protocols, of which `--most` are drawn at the most, both towers' features go through the same heads. What rounding the
weights cost, `int8_agreement.py` says. Pictures play no part: their tower computes in float32 as it is.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from rich.progress import track
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.protocol_posts import FOLDERS, drawn_posts
from hybrid_mmsa import Analyzer
from hybrid_mmsa.encoders.compact import WEIGHTS, CompactEncoder, CompactManifest
from hybrid_mmsa.evaluation.predictions import gold_index, task_labels
from hybrid_mmsa.evaluation.protocol import load_protocol
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.metrics import accuracy, paired_difference
from hybrid_mmsa.types import Features, Sample

BATCH = 64


@dataclass(frozen=True, slots=True)
class Costs:
    """One protocol: how often each tower is right, and what float32 would gain, in [0, 1].

    Attributes:
        posts: Measured.
        shipped, exact: Accuracies.
        gain: `exact - shipped`, with a paired bootstrap interval.
        low, high: Of the gain, at 95 %.
        agree: Share of posts with the same label.
    """

    posts: int
    shipped: float
    exact: float
    gain: float
    low: float
    high: float
    agree: float


def in_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with float32 products: `MatMulIntegerToFloat` of rounded values becomes `MatMul` of whole ones.

    The exporter makes each product as levels of x / scale (see `training.towers.export_text`), and multiplies it with
    that scale afterwards; here x itself is multiplied, so the scale is left out.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    products: set[str] = set()
    nodes = []
    for node in model.graph.node:
        if node.op_type == "MatMulIntegerToFloat":
            levels, scales = (numpy_helper.to_array(constants[node.input[place]]) for place in (1, 3))
            weight = (levels.astype(np.float32) * scales).astype(np.float32)
            constants[node.input[1]].CopyFrom(numpy_helper.from_array(weight, node.input[1]))
            products.add(node.output[0])
            nodes.append(helper.make_node("MatMul", [_unrounded(node.input[0], makers), node.input[1]], node.output))
        elif node.op_type == "Mul" and node.input[0] in products:
            nodes.append(helper.make_node("Identity", [node.input[0]], node.output))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _unrounded(levels: str, makers: Mapping[str, onnx.NodeProto]) -> str:
    """What was divided by its scale, moved to the middle and rounded."""
    name = makers[levels].input[0]  # of QuantizeLinear
    while makers[name].op_type == "Add":
        name = makers[name].input[0]
    if makers[name].op_type != "Div":
        raise ValueError(f"found {makers[name].op_type} before rounding; wanted Div: another exporter made this tower")
    return str(makers[name].input[0])


def exact_encoder(folder: Path) -> CompactEncoder:
    """The shipped encoder with a text tower in float32, written to an empty folder."""
    for name in ("image.onnx", "tokenizer.json"):
        (folder / name).symlink_to(WEIGHTS / name)
    onnx.save_model(in_float(onnx.load(WEIGHTS / "text.onnx")), folder / "text.onnx")
    manifest = CompactManifest.load(WEIGHTS)
    digest = hashlib.sha256((folder / "text.onnx").read_bytes()).hexdigest()
    manifest = replace(manifest, files={**manifest.files, "text.onnx": digest})
    (folder / "compact.json").write_text(json.dumps(asdict(manifest)), encoding="utf-8")
    return CompactEncoder(folder)


def measured(name: str, data: Path, most: int, analyzer: Analyzer, exact: CompactEncoder) -> Costs:
    """One protocol."""
    task = load_protocol(name).task
    posts = [read_sample(sample) for sample in drawn_posts(name, data, most)]
    gold = np.array([gold_index(post, task) for post in posts])
    shipped = encoded(analyzer.encoder, posts, name)
    words = encoded(exact, [replace(post, image=None) for post in posts], f"{name}, float32")
    said = [
        analyzer.adapters[analyzer.default].posteriors(features)[task].argmax(1)
        for features in (shipped, replace(shipped, text_features=words.text_features))
    ]
    classes = len(task_labels(task))
    gain = paired_difference(accuracy, gold, said[1], said[0], classes)
    before, after = (float((labels == gold).mean()) for labels in said)
    return Costs(len(posts), before, after, gain.value, gain.low, gain.high, float((said[0] == said[1]).mean()))


def encoded(encoder: Any, posts: Sequence[Sample], title: str) -> Features:
    """Features of read posts."""
    starts = track(range(0, len(posts), BATCH), title, transient=True)
    return Features.concatenate([encoder.encode(posts[start : start + BATCH]) for start in starts])


def table(record: Mapping[str, Any]) -> Table:
    """A row per protocol, in points."""
    shown = Table("protocol", "posts", "shipped", "float32", "gain of float32", "labels as shipped")
    for name, found in record["protocols"].items():
        gain = f"{100 * found['gain']:+.2f} [{100 * found['low']:+.2f}, {100 * found['high']:+.2f}]"
        rights = (f"{100 * found[key]:.1f}" for key in ("shipped", "exact"))
        shown.add_row(name, str(found["posts"]), *rights, gain, f"{100 * found['agree']:.1f}")
    return shown


def pooled(found: Sequence[Costs]) -> dict[str, float]:
    """Over all posts of all protocols."""
    weights: NDArray[Any] = np.array([each.posts for each in found], float)
    return {
        key: float(np.average([getattr(each, key) for each in found], weights=weights)) for key in ("gain", "agree")
    }


def main() -> None:
    """Measure, print, and keep if asked."""
    parser = program(__doc__, "float-arithmetic")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    parser.add_argument("--most", type=int, default=1000, help="posts of a protocol")
    parser.add_argument("--only", nargs="+", choices=FOLDERS, default=list(FOLDERS), help="protocols to measure")
    options = parser.parse_args()
    analyzer = Analyzer.from_pretrained(threads=1)
    with tempfile.TemporaryDirectory() as folder:
        exact = exact_encoder(Path(folder))
        found = {name: measured(name, options.data, options.most, analyzer, exact) for name in options.only}
    record = {
        **circumstances(["onnxruntime"], threads=1),
        "provenance": analyzer.adapters[analyzer.default].provenance().model_dump(),
        "protocols": {name: {key: round(v, 5) for key, v in asdict(each).items()} for name, each in found.items()},
        "pooled": {key: round(value, 5) for key, value in pooled(list(found.values())).items()},
    }
    tell("float-arithmetic", record, table(record), options)


if __name__ == "__main__":
    main()
