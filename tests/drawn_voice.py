"""A voice that says nothing: vowels and breaks, near enough to speech for a detector of voices. No model, no file."""

import numpy as np

RATE = 16_000
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""The first three formants of some vowels in hertz (Peterson and Barney, 1952)."""


def resonance(samples, hertz, width=90.0):
    """A two-pole resonator (Klatt, 1980), as the impulse response it comes to after 40 ms."""
    times = np.arange(int(0.04 * RATE)) / RATE
    return np.convolve(samples, np.exp(-np.pi * width * times) * np.sin(2 * np.pi * hertz * times))[: len(samples)]


def voice(seconds, pitch=120.0, seed=0):
    """Syllables of a fifth of a second, float32 in [-1, 1] at `RATE`."""
    chance = np.random.default_rng(seed)
    spoken = []
    for _ in range(round(seconds / 0.2)):
        times = np.arange(int(0.2 * RATE)) / RATE
        tone = pitch * (1 + 0.1 * chance.standard_normal() + 0.15 * times)
        phase = np.cumsum(tone) / RATE
        pulses = np.diff(np.floor(phase), prepend=0.0) + 0.02 * chance.standard_normal(len(times))
        syllable = sum(resonance(pulses, hertz) for hertz in VOWELS[chance.integers(len(VOWELS))])
        spoken.append(syllable * np.sin(np.pi * times / 0.2) ** 0.5)
    sound = np.concatenate(spoken)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)
