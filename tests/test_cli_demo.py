"""`demo --reasoner`: every step of a deferred post is shown, whether verdicts are pooled or stand alone."""

import io
import json
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from hybrid_mmsa import Analyzer
from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.commands.demo import PICTURES, SAMPLES
from hybrid_mmsa.cli.terminal.show import DeferredPosts
from hybrid_mmsa.data import read_posts
from hybrid_mmsa.pooling import Pooling, VerdictWeights
from hybrid_mmsa.reasoning import RecordedReasoner
from hybrid_mmsa.types import POST_KINDS, Analysis, Verdict

POSTS = [json.loads(line) for line in (SAMPLES / "posts.jsonl").read_text(encoding="utf-8").splitlines()]
VERDICT = {
    "label": "neutral",
    "probabilities": {"negative": 0.3, "neutral": 0.6, "positive": 0.1},
    "text_says": "negative",
    "sarcasm": 0.25,
    "rationale": "Written for this very post.",
    "reasoner": "wise",
}


def samples():
    return [sample for _, sample in read_posts(SAMPLES / "posts.jsonl")]


@pytest.fixture
def verdicts(tmp_path):
    file = tmp_path / "verdicts.jsonl"
    file.write_text("\n".join(json.dumps({"id": post["id"], **VERDICT}) for post in POSTS))
    return file


@pytest.fixture
def deferred(analyzer):
    """Ids of the posts that the fast tier defers."""
    found = [answer.id for answer in analyzer.stream(samples()) if answer.route.decision == "defer"]
    assert found, "the sample posts are there to show a deferral"
    return found


def test_every_step_of_deferred_posts_is_shown(verdicts, deferred, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert run(["demo", "--reasoner", str(verdicts)]) == 0
    shown = capsys.readouterr().out.partition(" deferred; wise is asked:")[2]
    for post in POSTS:
        assert (" ".join(post.get("text", "no words").split()[:4]) in shown) == (post["id"] in deferred)
    for step in ("fast", "deferred: ", "wise", "neutral   60%", "words negative, sarcasm 25%", "very post.", "answer"):
        assert shown.count(step) >= len(deferred), step
    assert shown.count("the fast answer: no pooling is fitted") == len(deferred)
    assert f"--reasoner {verdicts} --mode deep" in shown.splitlines()[-1]


def test_answers_in_json_hold_the_verdicts_of_deferred_posts(verdicts, deferred, capsys):
    assert run(["demo", "--reasoner", str(verdicts), "--json"]) == 0
    answers = [Analysis.model_validate_json(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer.id for answer in answers] == [post["id"] for post in POSTS]
    assert [answer.id for answer in answers if answer.verdict is not None] == deferred


@pytest.mark.parametrize("width", [40, 71, 72, 100])
def test_pooled_answers_fit_any_terminal(analyzer, width):
    """What both say together is named so, and no line is longer than the terminal."""
    weights = VerdictWeights(fast_weight=1.0, verdict_weight=1.0, bias=(0.0, 0.0, 0.0))
    adapter = replace(
        analyzer.adapters["default"],
        pooling=Pooling(reasoner="wise", adapter=None, prompt=None, kinds=dict.fromkeys(POST_KINDS, weights)),
    )
    verdict = RecordedReasoner({"x": Verdict(**VERDICT)}, "wise")
    asking = Analyzer(analyzer.encoder, [adapter], reasoner=verdict)
    (sample,) = [post for post in samples() if post.id == "sarcastic"]
    sample = replace(sample, id="x")
    (first,) = analyzer.stream([sample])
    (then,) = asking.stream([sample], mode="deep")
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    console.print(DeferredPosts([(sample, then)], PICTURES))
    out = console.file.getvalue()
    assert max(cell_len(line) for line in out.splitlines()) <= width
    assert f"{then.sentiment.confidence:.0%}" in out
    assert then.sentiment.probabilities != first.sentiment.probabilities
    words = " ".join(out.split())
    assert "pooled" in words
    assert "alone" not in words
    assert ("█" in out) == (width >= 72)
