"""A limit of time per post: a chunk of slow posts ends soon after it, and what was not done is said."""

import math
import time

import pytest
import tiny

from hybrid_mmsa import Analyzer, InputError, Limits, Policy, RowError, Verdict
from hybrid_mmsa.bounds.deadline import NO_TIME, Deadline
from hybrid_mmsa.cli import run

POSTS = [f"we love the sun and the sea {number}" for number in range(32)]
SLOW = 0.1
"""Seconds that a slow part takes for a post; a chunk of 32 posts would take 3.2."""
BRIEF = Limits(max_post_seconds=0.6 / len(POSTS))
"""A chunk has 0.6 s."""
SOON = 1.6
"""Seconds within which a chunk has ended on a slow machine as well: half of what it would take."""


class Slow:
    """An encoder or a reasoner that takes its time for every post."""

    id = "slow"

    def __init__(self, encoder=None):
        self.encoder, self.name, self.hash = encoder, getattr(encoder, "name", ""), getattr(encoder, "hash", "")

    def encode(self, samples):
        time.sleep(SLOW * len(samples))
        return self.encoder.encode(samples)

    def reason(self, samples, lora=None, *, rationale=False):
        time.sleep(SLOW * len(samples))
        shares = {"negative": 0.8, "neutral": 0.1, "positive": 0.1}
        return [Verdict(label="negative", probabilities=shares, reasoner=self.id) for _ in samples]


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return Analyzer.from_pretrained(tiny_model)


def timed(work):
    began = time.monotonic()
    answers = work()
    return answers, time.monotonic() - began


def parts(loaded, **options):
    return Analyzer(options.pop("encoder", loaded.encoder), [*loaded.adapters.values()], limits=BRIEF, **options)


def test_a_slow_reasoner_is_asked_while_there_is_time(loaded):
    slow = parts(loaded, reasoner=Slow(), policy=Policy(kind="always"))
    answers, seconds = timed(lambda: slow.analyze_batch(POSTS))
    assert seconds < SOON
    asked = [answer for answer in answers if answer.verdict is not None]
    assert 1 <= len(asked) < len(POSTS)
    assert asked == answers[: len(asked)]
    for answer in answers[len(asked) :]:
        assert answer.sentiment == answer.fast
        assert any(NO_TIME in warning for warning in answer.warnings)
    assert not any(NO_TIME in warning for answer in asked for warning in answer.warnings)


def test_a_slow_encoder_leaves_the_rest_unread(loaded):
    slow = parts(loaded, encoder=Slow(loaded.encoder))
    rows, seconds = timed(lambda: list(slow.stream(POSTS)))
    assert seconds < SOON
    late = [row for row in rows if isinstance(row, RowError)]
    assert 1 <= len(rows) - len(late) < len(rows)
    assert rows[-len(late) :] == late
    assert all(NO_TIME in row.error for row in late)


def test_evidence_is_left_out_when_the_time_is_spent(loaded):
    slow = parts(loaded, reasoner=Slow(), policy=Policy(kind="always"))
    answer = slow.analyze_batch(POSTS, explain="full")[-1]
    assert answer.explanation.words is None
    assert f"words and regions are not explained: {NO_TIME}" in answer.warnings


def test_one_post_in_time_is_answered_whole(loaded):
    answer = Analyzer(loaded.encoder, [*loaded.adapters.values()], limits=Limits(max_post_seconds=60)).analyze(
        POSTS[0], tiny.pictures(1, side=40)[0], explain="full"
    )
    assert answer.explanation.words
    assert not any(NO_TIME in warning for warning in answer.warnings)


def test_without_a_limit_everything_is_one_group():
    assert list(Deadline().groups(range(5))) == [range(5)]
    assert list(Deadline().groups([])) == []
    assert list(Deadline(0).groups(range(5))) == []
    groups = list(Deadline(60).groups(range(100)))
    assert [len(group) for group in groups] == [1, 2, 4, 8, 16, 32, 37]
    assert [item for group in groups for item in group] == [*range(100)]


def test_the_limit_is_a_positive_number_and_may_be_endless(capsys):
    assert Limits(max_post_seconds=math.inf) == Limits()
    for wrong in (0, -1, math.nan, "2"):
        with pytest.raises(InputError, match="max_post_seconds"):
            Limits(max_post_seconds=wrong)
    assert run(["analyze", "I love this", "--limit", "max_post_seconds=60", "--json"]) == 0
    assert NO_TIME not in capsys.readouterr().out
