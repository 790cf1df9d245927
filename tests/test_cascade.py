"""The whole cascade on drawn posts of which the VLM knows more: fitted as a user fits it, it beats the fast tier."""

import json

import numpy as np
import pytest
from tiny_vlm import held_out

from hybrid_mmsa import Analyzer, ReasonerConfig
from hybrid_mmsa.cli import run
from hybrid_mmsa.metrics import accuracy, paired_difference
from hybrid_mmsa.types import LABELS

POSTS = 200
"""As many to fit on as to measure on."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two files of labelled posts, `fit.jsonl` and `test.jsonl`, with their pictures."""
    folder = tmp_path_factory.mktemp("cascade")
    samples = [post.sample for post in held_out(2 * POSTS)]
    assert len(samples) == 2 * POSTS
    for name, part in (("fit", samples[:POSTS]), ("test", samples[POSTS:])):
        rows = []
        for number, sample in enumerate(part):
            row = {"id": f"{name}-{number}", "text": sample.text, "label": sample.label}
            if sample.image is not None:
                row["image"] = f"{row['id']}.png"
                sample.image.save(folder / row["image"])
            rows.append(json.dumps(row))
        (folder / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def reasoner(folder, trained_vlm):
    """The configuration file of the reasoner."""
    file = folder / "reasoner.toml"
    lines = ('backend = "transformers"', f"model = {json.dumps(str(trained_vlm))}", 'id = "seer"', 'device = "cpu"')
    file.write_text("\n".join((*lines, "batch_size = 32")), encoding="utf-8")
    return file


def test_the_cascade_beats_the_fast_tier(folder, reasoner):
    fit, verdicts, model = folder / "fit.jsonl", folder / "verdicts.jsonl", folder / "model"
    asked = ["--reasoner", str(reasoner), "--mode", "deep", "--explain", "none"]
    assert run(["batch", str(fit), "-o", str(verdicts), *asked]) == 0
    assert run(["route", "fit", str(fit), "-o", str(model)]) == 0
    assert run(["route", "fit", str(fit), "--verdicts", str(verdicts), "--model", str(model)]) == 0

    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    gold = np.array([LABELS.index(row["label"]) for row in rows])
    rows = [row | {"image": str(folder / row["image"])} if "image" in row else row for row in rows]
    analyzer = Analyzer.from_pretrained(model, reasoner=ReasonerConfig.from_file(reasoner))
    answers = {mode: list(analyzer.stream(rows, mode=mode, explain="none")) for mode in ("fast", "auto")}
    told = {mode: np.array([LABELS.index(a.sentiment.label) for a in answers[mode]]) for mode in answers}
    gained = paired_difference(accuracy, gold, told["auto"], told["fast"], len(LABELS))
    assert gained.low > 0
    deferred = [a for a in answers["auto"] if a.route.decision == "defer"]
    assert 0 < len(deferred) < POSTS
    assert {a.route.answered_by for a in deferred} == {"seer"}
    assert not any(a.needs_review or a.warnings for a in deferred)
