"""Which head answers a post: the fused one for two sides, a side's own for one, the words for a target."""

import numpy as np
import pytest
from drawn_logits import calibration_of_tasks, task_logits

from hybrid_mmsa.fusion import PresentSides, answer_from_sides, softmax
from hybrid_mmsa.types import TASKS


def sides_of(n, *, text, image, target):
    return PresentSides(*(np.full(n, flag, dtype=bool) for flag in (text, image, target)))


@pytest.fixture
def calibration():
    return calibration_of_tasks()


def answered(calibration, n, **kind):
    return answer_from_sides(calibration.probabilities(task_logits(n, **kind)), sides_of(n, **kind))


def test_a_post_of_two_sides_keeps_what_every_head_says(calibration):
    kind = {"text": True, "image": True, "target": False}
    before = calibration.probabilities(task_logits(5, **kind))
    after = answered(calibration, 5, **kind)
    assert all(np.array_equal(before[task], after[task], equal_nan=True) for task in TASKS)


def test_a_post_of_words_alone_gets_what_the_words_say(calibration):
    answers = answered(calibration, 4, text=True, image=False, target=False)
    assert np.array_equal(answers["sentiment"], answers["text_sentiment"])
    assert np.array_equal(answers["text_alone"], answers["sentiment"]), "its words are all of it"
    assert np.isnan(answers["image_sentiment"]).all()
    assert np.isnan(answers["image_alone"]).all()


def test_a_picture_alone_gets_what_the_picture_says(calibration):
    answers = answered(calibration, 4, text=False, image=True, target=False)
    assert np.array_equal(answers["sentiment"], answers["image_sentiment"])
    assert np.array_equal(answers["image_alone"], answers["sentiment"]), "its picture is all of it"
    for task in ("text_sentiment", "text_alone", "sarcasm", "emotion", "target_sentiment"):
        assert np.isnan(answers[task]).all(), task


@pytest.mark.parametrize("image", [True, False], ids=["with picture", "words alone"])
def test_words_about_a_target_decide_alone(calibration, image):
    logits = task_logits(4, text=True, image=image, target=True)
    answers = answered(calibration, 4, text=True, image=image, target=True)
    about = softmax(logits["target_sentiment"] / calibration.temperatures["target_sentiment"])
    for task in ("sentiment", "text_sentiment", "text_alone", "target_sentiment"):
        assert np.allclose(answers[task], about, atol=1e-6), task
    probabilities = calibration.probabilities(logits)
    untargeted = answer_from_sides(probabilities, sides_of(4, text=True, image=image, target=False))
    for task in ("image_sentiment", "image_alone", "sarcasm", "emotion"):
        assert np.array_equal(answers[task], untargeted[task], equal_nan=True), task


def test_the_mask_decides_about_targets_and_not_what_the_target_head_says(calibration):
    logits = task_logits(4, text=True, image=True, target=True)
    probabilities = calibration.probabilities(logits)
    answers = answer_from_sides(probabilities, sides_of(4, text=True, image=True, target=False))
    assert np.array_equal(answers["sentiment"], probabilities["sentiment"])


def test_posts_of_all_kinds_go_in_one_batch(calibration):
    kinds = [
        {"text": bool(text), "image": bool(image), "target": bool(target)}
        for text, image, target in [(1, 1, 0), (1, 0, 0), (0, 1, 0), (1, 1, 1), (1, 0, 1)]
    ]
    logits = [task_logits(1, **kind) for kind in kinds]
    sides = PresentSides(*(np.array([kind[name] for kind in kinds]) for name in ("text", "image", "target")))
    joined = {task: np.concatenate([each[task] for each in logits]) for task in TASKS}
    together = answer_from_sides(calibration.probabilities(joined), sides)
    assert not np.isnan(together["sentiment"]).any()
    for i, kind in enumerate(kinds):
        for task, values in answered(calibration, 1, **kind).items():
            assert np.array_equal(values[0], together[task][i], equal_nan=True)


def test_the_probabilities_given_are_left_as_they_were(calibration):
    probabilities = calibration.probabilities(task_logits(3, text=True, image=True, target=True))
    before = {task: values.copy() for task, values in probabilities.items()}
    answer_from_sides(probabilities, sides_of(3, text=True, image=True, target=True))
    assert all(np.array_equal(before[task], probabilities[task], equal_nan=True) for task in TASKS)
