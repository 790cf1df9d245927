"""`Analysis` goes through JSON unchanged, and its schema is a file that changes only on purpose.

`python tests/test_analysis_schema.py` writes the file again.
"""

import copy
import json
import pickle
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hybrid_mmsa.errors import SchemaVersionError
from hybrid_mmsa.types import (
    EMOTIONS,
    LABELS,
    SCHEMA_VERSION,
    Analysis,
    Change,
    Cue,
    Explanation,
    Prediction,
    Provenance,
    Region,
    RouteDecision,
    RowError,
    Verdict,
    WordEffect,
    check_schema_version,
    emotion_prediction,
    prediction,
)

NAME = "analysis.schema.json"


def schema_text():
    """The schema of what `Analysis` writes, as the file holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Analysis.model_json_schema(
        mode="serialization"
    )
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


SHARES = st.floats(0, 1)
WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
TIMINGS = st.dictionaries(st.sampled_from(["encode", "decide", "reason"]), st.floats(0, 1e6))


def posteriors(names):
    """Float32 probabilities over some classes, as the fast tier hands them over."""
    weights = st.lists(st.floats(0.001, 1), min_size=len(names), max_size=len(names))
    return weights.map(lambda w: np.asarray(w, np.float32) / np.sum(w, dtype=np.float32))


PREDICTIONS = posteriors(LABELS).map(prediction)
EMOTION_PREDICTIONS = posteriors(EMOTIONS).map(emotion_prediction)
PROVENANCES = st.builds(Provenance, package=WORDS, model=WORDS, model_hash=WORDS, encoder=WORDS, encoder_hash=WORDS)
ROUTES = st.builds(
    RouteDecision,
    decision=st.sampled_from(["keep", "defer"]),
    answered_by=WORDS,
    reasons=st.lists(st.sampled_from(["low_confidence", "sarcasm", "conflict", "novel", "requested"])).map(tuple),
    p_error=st.none() | SHARES,
    threshold=st.none() | SHARES,
    verdict=st.sampled_from([None, "pooled", "alone", "ignored"]),
)
VERDICTS = st.builds(
    Verdict,
    label=st.sampled_from(LABELS),
    probabilities=PREDICTIONS.map(lambda p: p.probabilities),
    sarcasm=st.none() | SHARES,
    text_says=st.none() | st.sampled_from(LABELS),
    picture_says=st.none() | st.sampled_from(LABELS),
    cues=st.lists(st.builds(Cue, side=st.sampled_from(["text", "image"]), text=WORDS), max_size=3).map(tuple),
    rationale=st.none() | WORDS,
    reasoner=WORDS,
    tokens=st.none() | st.integers(0, 10_000),
    timings=TIMINGS,
)
WORD_EFFECTS = st.builds(
    WordEffect, word=WORDS, start=st.integers(0, 99), end=st.integers(0, 99), effect=st.floats(-1, 1)
)
REGIONS = st.builds(Region, left=SHARES, top=SHARES, right=SHARES, bottom=SHARES, effect=st.floats(-1, 1))
CHANGES = st.builds(Change, side=st.sampled_from(["text", "image"]), what=WORDS, label=st.sampled_from(LABELS))
EXPLANATIONS = st.builds(
    Explanation,
    text=WORDS,
    label=st.sampled_from(LABELS),
    baseline=SHARES,
    shares=st.dictionaries(st.sampled_from(["text", "image"]), st.floats(-1, 1)),
    runner_up=st.sampled_from(LABELS),
    agree=st.none() | st.booleans(),
    words=st.none() | st.lists(WORD_EFFECTS, max_size=3).map(tuple),
    sarcasm_words=st.none() | st.lists(WORD_EFFECTS, max_size=3).map(tuple),
    heat_map=st.none() | st.lists(st.lists(st.floats(-9, 9), max_size=3).map(tuple), max_size=3).map(tuple),
    regions=st.none() | st.lists(REGIONS, max_size=2).map(tuple),
    changes=st.none() | st.lists(CHANGES, max_size=2).map(tuple),
)
ANALYSES = st.builds(
    Analysis,
    id=st.none() | WORDS,
    sentiment=PREDICTIONS,
    fast=PREDICTIONS,
    sarcasm=st.none() | SHARES,
    emotion=st.none() | EMOTION_PREDICTIONS,
    text_sentiment=st.none() | PREDICTIONS,
    image_sentiment=st.none() | PREDICTIONS,
    text_alone=st.none() | PREDICTIONS,
    image_alone=st.none() | PREDICTIONS,
    conflict=st.none() | SHARES,
    route=ROUTES,
    verdict=st.none() | VERDICTS,
    rationale=st.none() | WORDS,
    explanation=st.none() | EXPLANATIONS,
    prediction_set=st.none() | st.lists(st.sampled_from(LABELS), unique=True).map(tuple),
    needs_review=st.none() | st.booleans(),
    timings=TIMINGS,
    provenance=PROVENANCES,
    warnings=st.lists(WORDS, max_size=3).map(tuple),
)


def test_the_committed_schema_is_this_version_s():
    committed = resources.files("hybrid_mmsa").joinpath(NAME).read_text(encoding="utf-8")
    assert committed == schema_text(), (
        "the schema has changed: if on purpose, write it again and note it in CHANGELOG.md"
    )


def test_schema_names_every_field_and_no_other():
    schema = json.loads(schema_text())
    assert list(schema["properties"]) == list(Analysis.model_fields)
    assert {"sentiment", "fast", "route", "provenance"} <= set(schema["required"])
    parts = [schema, *schema["$defs"].values()]
    assert not any("additionalProperties" in part for part in parts), "a later minor version may add fields anywhere"
    assert schema["properties"]["schema_version"]["default"] == SCHEMA_VERSION


@given(ANALYSES)
def test_json_both_ways(answer):
    again = Analysis.model_validate_json(answer.model_dump_json())
    assert again == answer
    assert again.timings == answer.timings
    assert again.model_dump_json() == answer.model_dump_json()


@given(ANALYSES)
def test_python_values_both_ways(answer):
    assert Analysis.model_validate(answer.model_dump()) == answer


@given(ANALYSES)
def test_what_is_written_is_strict_json_on_one_line(answer):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    line = answer.model_dump_json()
    assert json.loads(line, parse_constant=refuse).keys() == Analysis.model_fields.keys()
    assert "\n" not in line


@given(ANALYSES, TIMINGS)
def test_equality_ignores_timings(answer, timings):
    slower = answer.model_copy(update={"timings": timings})
    assert slower == answer
    assert hash(slower) == hash(answer)
    if answer.verdict is not None:
        verdict = answer.verdict.model_copy(update={"timings": timings})
        assert answer.model_copy(update={"verdict": verdict}) == answer


@given(ANALYSES)
def test_equality_sees_all_else(answer):
    changes = {"id": "another" if answer.id != "another" else None, "warnings": (*answer.warnings, "changed")}
    changes["needs_review"] = not answer.needs_review
    assert all(answer.model_copy(update={name: value}) != answer for name, value in changes.items())
    assert answer != answer.model_dump()


@pytest.mark.parametrize(
    "damage",
    [{"sarcasm": 1.5}, {"prediction_set": ["mixed"]}, {"route": None}, {"schema_version": "new"}],
    ids=["sarcasm", "prediction_set", "route", "schema_version"],
)
@given(answer=ANALYSES)
def test_values_that_the_schema_does_not_allow_are_refused(damage, answer):
    values = json.loads(answer.model_dump_json()) | damage
    with pytest.raises(ValidationError):
        Analysis.model_validate_json(json.dumps(values))


def later(answer, version):
    """The document of an answer as a later version of the schema might write it: a new field in every part."""
    values = json.loads(answer.model_dump_json()) | {"schema_version": version, "mood": {"calm": 0.4}}
    for part in ("sentiment", "fast", "route", "provenance"):
        values[part]["certainty"] = [1, 2]
    return json.dumps(values)


MAJOR, MINOR = map(int, SCHEMA_VERSION.split("."))


@given(answer=ANALYSES)
def test_a_document_one_minor_version_ahead_is_read_without_its_new_fields(answer):
    version = f"{MAJOR}.{MINOR + 1}"
    read = Analysis.model_validate_json(later(answer, version))
    assert read == answer.model_copy(update={"schema_version": version})
    assert not hasattr(read, "mood")


@pytest.mark.parametrize("read", [Analysis.model_validate_json, lambda text: Analysis.model_validate(json.loads(text))])
@given(answer=ANALYSES)
def test_a_document_one_major_version_ahead_is_refused_by_its_version(read, answer):
    with pytest.raises(SchemaVersionError, match=rf"schema version {MAJOR + 1}\.0.*upgrade hybrid-mmsa"):
        read(later(answer, f"{MAJOR + 1}.0"))


@pytest.mark.parametrize("version", ["0.9", f"{MAJOR + 98}.0"])
def test_a_document_of_another_major_version_is_refused(version):
    with pytest.raises(
        SchemaVersionError, match=f"schema version {version}, and this hybrid-mmsa reads version {MAJOR}"
    ):
        check_schema_version(version)


@pytest.mark.parametrize("version", [None, "1", "1.0.0", "1.1 ", "01.1", "١.١", "9" * 400 + ".0"], ids=repr)
def test_a_version_is_two_plain_numbers(version):
    with pytest.raises(ValueError, match="not of the form"):
        check_schema_version(version)


@given(answer=ANALYSES)
def test_an_earlier_document_without_the_fast_answer_is_read_where_the_fast_tier_answered(answer):
    values = json.loads(answer.model_dump_json()) | {"schema_version": "1.0"}
    for name in ("fast", "text_alone", "image_alone"):
        del values[name]
    values["route"] |= {"answered_by": "fast"}
    assert Analysis.model_validate(values).fast == answer.sentiment
    values["route"] |= {"answered_by": "a reasoner"}
    with pytest.raises(ValidationError, match="too old to hold the fast answer"):
        Analysis.model_validate(values)


@given(answer=ANALYSES)
def test_an_answer_does_not_change(answer):
    with pytest.raises(ValidationError, match="frozen"):
        answer.id = "another"
    mappings = [answer.sentiment.probabilities, answer.timings]
    mappings += [] if answer.verdict is None else [answer.verdict.probabilities, answer.verdict.timings]
    mappings += [] if answer.explanation is None else [answer.explanation.shares]
    for mapping in mappings:
        before = dict(mapping)
        with pytest.raises(TypeError, match="does not change"):
            mapping["negative"] = 1
        with pytest.raises(TypeError, match="does not change"):
            mapping.update(negative=1)
        with pytest.raises(TypeError, match="does not change"):
            mapping.clear()
        assert mapping == before


@given(answer=ANALYSES)
def test_an_answer_goes_through_pickle_and_copies(answer):
    again = pickle.loads(pickle.dumps(answer))
    assert again == answer
    assert hash(again) == hash(answer)
    assert copy.deepcopy(answer) == answer
    with pytest.raises(TypeError, match="does not change"):
        again.sentiment.probabilities["negative"] = 1


@given(st.lists(PREDICTIONS, min_size=2, max_size=2))
def test_predictions_can_be_members_of_a_set(pair):
    again = [Prediction.model_validate_json(each.model_dump_json()) for each in pair]
    assert {*pair, *again} == set(pair)
    assert len({*pair, *again}) == len({tuple(p.probabilities.items()) for p in pair})


@given(st.builds(RowError, line=st.integers(1, 10**9), id=st.none() | WORDS, field=st.none() | WORDS, error=WORDS))
def test_failures_go_through_json_too(failure):
    assert RowError.model_validate_json(failure.model_dump_json()) == failure


if __name__ == "__main__":
    (Path(__file__).resolve().parent.parent / "hybrid_mmsa" / NAME).write_text(schema_text(), encoding="utf-8")
