"""Exponential back-off with jitter."""

from collections.abc import Callable


def backoff_seconds(failures: int, *, first: float, longest: float, rng: Callable[[], float]) -> float:
    """Return the pause: ``first`` seconds, doubled by each of the earlier ``failures``, up to ``longest``.

    Half of it is fixed, half random (``rng``: 0 to 1), so that many clients do not retry in step.
    """
    return min(first * 2.0 ** min(failures, 30), longest) * (0.5 + 0.5 * rng())
