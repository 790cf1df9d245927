"""A reasoner that writes nothing is asked again without each word: what moves its label is told, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eval.bench.reasoner.figures import contradicts
from hybrid_mmsa import Sample, Verdict
from hybrid_mmsa.reasoning import load_prompt
from hybrid_mmsa.reasoning.hiding import MOST_HIDDEN, with_reasons
from hybrid_mmsa.reasoning.prompt.rationales import Claims, claims
from hybrid_mmsa.types import LABELS

BRIEF = load_prompt("smol")
WEIGHTS = {"lovely": 0.5, "not": -0.6, "bad": -0.3, "the": 0.4}
PICTURE = Image.new("RGB", (8, 8))


def judge(sample, **values):
    """Positive by the words above."""
    score = sum(WEIGHTS.get(word.strip(".,").lower(), 0.0) for word in (sample.text or "").split())
    positive = min(0.95, max(0.05, 0.5 + score / 2))
    probabilities = dict(zip(LABELS, (1 - positive - 0.01, 0.01, positive), strict=True))
    label = max(probabilities, key=probabilities.get)
    return Verdict(label=label, probabilities=probabilities, reasoner="sum", **values)


def told(text, **values):
    sample = Sample(text=text)
    return with_reasons(BRIEF, [sample], [judge(sample, **values)], lambda some: [judge(each) for each in some])[0]


def test_the_words_that_move_the_label_are_quoted_as_they_stand():
    assert [cue.text for cue in told("What a Lovely, lovely day").cues] == ["Lovely, lovely"]
    assert [cue.text for cue in told("It was not so bad.").cues] == ["not", "bad"]
    assert [cue.text for cue in told("The day was lovely.").cues] == ["lovely"], "function words are not told"
    assert told("What a day it was").cues == ()


def test_the_target_itself_is_not_hidden():
    sample = Sample(text="The lovely day was lovely", target="lovely day")
    assert with_reasons(BRIEF, [sample], [judge(sample)], lambda some: [judge(each) for each in some])[0].cues == ()


def test_the_rationale_claims_what_the_verdict_holds():
    plain = told("What a lovely day", sarcasm=0.2)
    assert claims(plain.rationale) == Claims("positive", "positive")
    assert "“lovely”" in plain.rationale
    mocking = told("not again", sarcasm=0.9)
    assert claims(mocking.rationale) == Claims("negative", sarcastic=True)
    assert "“not”" in mocking.rationale
    assert told("What a lovely day", sarcasm=0.2).rationale == plain.rationale
    assert not claims(told("not again", sarcasm=0.7).rationale).sarcastic, (
        "irony is told where it is likely, not sooner"
    )
    sample = Sample(text="What a lovely day")
    assert with_reasons(load_prompt("sentiment"), [sample], [judge(sample)], lambda some: []) == [judge(sample)]


def test_what_a_side_says_is_what_the_post_says_without_the_other():
    both = Sample(text="not so lovely, bad", image=PICTURE)
    (found,) = with_reasons(BRIEF, [both], [judge(both, sarcasm=0.1)], lambda some: [judge(each) for each in some])
    assert (found.label, found.text_says, found.picture_says) == ("negative", "negative", "positive")
    assert claims(found.rationale) == Claims("negative", "negative", "positive")
    alone = Sample(image=PICTURE)
    (seen,) = with_reasons(BRIEF, [alone], [judge(alone)], lambda some: [judge(each) for each in some])
    assert claims(seen.rationale) == Claims(seen.label, picture=seen.label)
    assert seen.cues == ()


def test_long_posts_are_asked_about_no_oftener_than_allowed():
    asked = []
    sample = Sample(text="lovely " * 500)

    def ask(some):
        asked.extend(some)
        return [judge(each) for each in some]

    with_reasons(BRIEF, [sample], [judge(sample)], ask)
    assert 1 < len(asked) <= MOST_HIDDEN


@given(st.lists(st.text(max_size=60).filter(str.strip), max_size=4), st.sampled_from([None, 0.1, 0.9]))
def test_whatever_a_post_holds_no_rationale_contradicts_its_verdict(texts, sarcasm):
    samples = [Sample(text=text) for text in texts]
    verdicts = [judge(sample, sarcasm=sarcasm) for sample in samples]
    found = with_reasons(BRIEF, samples, verdicts, lambda some: [judge(each) for each in some])
    for sample, verdict in zip(samples, found, strict=True):
        assert not contradicts(claims(verdict.rationale), verdict)
        assert all(cue.text in sample.text for cue in verdict.cues)
