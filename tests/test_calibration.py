"""Temperatures: found from labels, honest about what they need, and never a reason to change a label."""

import numpy as np
import pytest
from drawn_logits import calibration_of_tasks, task_logits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hybrid_mmsa.calibration import Calibration, TemperatureScaling
from hybrid_mmsa.errors import NotFittedError
from hybrid_mmsa.fusion import log_softmax, softmax
from hybrid_mmsa.types import TASKS


def drawn(n=4000, seed=0):
    """Logits, and labels drawn from the very probabilities that they state."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 3))
    labels = (softmax(logits).cumsum(1) < rng.random((n, 1))).sum(1)
    return logits, np.minimum(labels, 2)


def log_loss(p, labels):
    return -np.log(p[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found(temperature):
    logits, labels = drawn()
    fitted = TemperatureScaling().fit(logits * temperature, labels)
    assert fitted.temperature_ == pytest.approx(temperature, rel=0.06)


def test_overconfidence_is_softened_and_the_log_loss_falls():
    logits, labels = drawn(seed=1)
    sure = 4 * logits
    fitted = TemperatureScaling().fit(sure[:2000], labels[:2000])
    before, after = softmax(sure[2000:]), fitted.predict_proba(sure[2000:])
    assert log_loss(after, labels[2000:]) < log_loss(before, labels[2000:]) - 0.1
    assert after.max(1).mean() < before.max(1).mean()


@given(arrays(np.float64, (20, 3), elements=st.integers(-40, 40).map(float)), st.integers(0, 2**32 - 1))
def test_fitting_never_raises_the_log_loss_nor_moves_a_label(logits, seed):
    labels = np.random.default_rng(seed).integers(0, 3, 20)
    fitted = TemperatureScaling().fit(logits, labels)
    scaled = logits / fitted.temperature_
    chosen = np.arange(20), labels
    assert -log_softmax(scaled)[chosen].mean() <= -log_softmax(logits)[chosen].mean() + 1e-3
    p = fitted.predict_proba(logits)
    assert np.array_equal(p.argmax(1), logits.argmax(1))
    assert np.allclose(p.sum(1), 1)


def test_a_temperature_stays_within_its_bounds():
    labels = np.random.default_rng(3).integers(0, 3, 200)
    perfect = TemperatureScaling().fit(np.eye(3)[labels], labels)
    hopeless = TemperatureScaling().fit(50 * np.eye(3)[(labels + 1) % 3], labels)
    assert 0.049 < perfect.temperature_ < 0.06
    assert 18 < hopeless.temperature_ < 20.1


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((0, 3)), np.zeros(0, int)),
        (np.zeros((2, 3)), np.zeros(3, int)),
        (np.zeros(3), np.zeros(3, int)),
        (np.full((2, 3), np.nan), np.zeros(2, int)),
        (np.full((2, 3), np.inf), np.zeros(2, int)),
        (np.zeros((2, 3)), np.array([0, 3])),
        (np.zeros((2, 3)), np.array([0, -1])),
        (np.zeros((2, 3)), np.array([0.0, 1.0])),
    ],
    ids=["none", "lengths", "one row", "nan", "inf", "label above", "label below", "label no index"],
)
def test_bad_input_is_refused(logits, labels):
    with pytest.raises(ValueError, match="TemperatureScaling"):
        TemperatureScaling().fit(logits, labels)


def test_nothing_is_predicted_before_fitting():
    with pytest.raises(NotFittedError, match="call fit first"):
        TemperatureScaling().predict_proba(np.zeros((1, 3)))


@pytest.fixture
def calibration():
    return calibration_of_tasks()


def test_each_task_has_its_own_temperature(calibration):
    logits = task_logits(5, text=True, image=True, target=False)
    found = calibration.probabilities(logits)
    for task in set(TASKS) - {"target_sentiment"}:
        assert np.allclose(found[task], softmax(logits[task] / calibration.temperatures[task]), atol=1e-6), task
        assert np.allclose(found[task].sum(1), 1, atol=1e-5)
        assert found[task].dtype == np.float32
    assert np.isnan(found["target_sentiment"]).all()


def test_what_is_missing_stays_missing(calibration):
    logits = task_logits(4, text=True, image=False, target=False)
    found = calibration.probabilities(logits)
    assert all(np.array_equal(np.isnan(found[task]), np.isnan(logits[task])) for task in TASKS)


def test_the_logits_given_are_left_as_they_were(calibration):
    logits = task_logits(3, text=True, image=True, target=True)
    before = {task: values.copy() for task, values in logits.items()}
    calibration.probabilities(logits)
    assert all(np.array_equal(before[task], logits[task], equal_nan=True) for task in TASKS)


def test_the_prior_is_calibrated_as_the_sentiment_is(calibration):
    logits = np.array([[1.0, -1.0, 0.5]], np.float32)
    assert np.allclose(calibration.prior(logits), softmax(logits[0] / calibration.temperatures["sentiment"]), atol=1e-6)


@pytest.mark.parametrize("change", [{"sarcasm": 0.0}, {"emotion": -1.0}, {"sentiment": np.nan}, {"sentiment": np.inf}])
def test_a_temperature_must_be_a_positive_number(calibration, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Calibration({**calibration.temperatures, **change})


def test_every_task_needs_a_temperature(calibration):
    del calibration.temperatures["image_alone"]
    with pytest.raises(ValueError, match="image_alone"):
        Calibration(calibration.temperatures)
