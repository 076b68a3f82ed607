"""Rate limit of an endpoint."""

from hypothesis import given
from hypothesis import strategies as st

from notifier.rate_limit import rate_room, rate_spent, rate_wait


@given(
    st.floats(0.1, 500),
    st.lists(st.floats(0, 0.3), min_size=1, max_size=60),
    st.integers(1, 50),
)
def test_no_second_sees_more_than_the_rate_and_a_tenth(rate, waits, greed):
    """Polled at any times and used as far as allowed."""
    now, sent_until, sent = 1e9, None, []
    for wait in waits:
        now += wait
        count = min(rate_room(sent_until, rate, now=now), greed)
        if count:
            sent_until = rate_spent(sent_until, rate, count, now=now)
            sent.append((now, count))
    for start, _ in sent:
        within = sum(count for at, count in sent if start <= at < start + 1)
        assert within <= rate + max(1, rate * 0.1) + 1e-3


def test_a_limited_endpoint_gets_its_rate_when_polled_as_often_as_advised():
    for rate in (0.5, 1, 3, 20, 400):
        now, sent_until, total = 1e9, None, 0
        while now < 1e9 + 20:
            count = rate_room(sent_until, rate, now=now)
            if count:
                sent_until = rate_spent(sent_until, rate, count, now=now)
                total += count
            now += rate_wait(rate)
        assert total >= 20 * rate * 0.95
