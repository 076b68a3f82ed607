"""Rate limit of an endpoint: the time until which its attempts last when spread evenly (pure).

Times are unix seconds, rates are attempts per second; the clock comes in as an argument.
"""

#: With a rate limit so much of a second's worth may go out at once; the rest is spread over the second.
BURST_SECONDS = 0.1


def rate_room(sent_until: float | None, rate: float, *, now: float) -> int:
    """Return how many attempts a rate limit (per second) allows at ``now``; see :func:`rate_spent`."""
    burst = max(1.0, rate * BURST_SECONDS)
    used = max(0.0, (sent_until or 0.0) - now) * rate
    # What is a whole number on paper must not fall below it by rounding.
    return max(0, int(burst - used + 1e-6))


def rate_spent(sent_until: float | None, rate: float, count: int, *, now: float) -> float:
    """Return the ``sent_until`` to remember once ``count`` attempts were let through at ``now``.

    It is the time until which the attempts so far last when spread evenly.
    """
    return max(sent_until or 0.0, now) + count / rate


def rate_wait(rate: float) -> float:
    """Return after how many seconds a limited endpoint is worth another look."""
    return max(1 / rate, BURST_SECONDS)
