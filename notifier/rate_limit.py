"""Rate limit of an endpoint (pure): a virtual time up to which its attempts so far last when spread evenly.

Times are unix seconds, rates are attempts per second; the clock comes in as an argument.
"""

#: Burst: the part of a second's attempts that may start at once; the rest is spread over the second.
BURST_SECONDS = 0.1


def rate_room(sent_until: float | None, rate: float, *, now: float) -> int:
    """Return how many attempts a rate limit (per second) allows at ``now``; see :func:`rate_spent`."""
    burst = max(1.0, rate * BURST_SECONDS)
    used = max(0.0, (sent_until or 0.0) - now) * rate
    # Rounding errors must not lose a whole attempt.
    return max(0, int(burst - used + 1e-6))


def rate_spent(sent_until: float | None, rate: float, count: int, *, now: float) -> float:
    """Return the new ``sent_until`` after ``count`` attempts were let through at ``now``.

    That is the time up to which the attempts so far last when spread evenly.
    """
    return max(sent_until or 0.0, now) + count / rate


def rate_wait(rate: float) -> float:
    """Return the seconds after which a limited endpoint should be polled again."""
    return max(1 / rate, BURST_SECONDS)
