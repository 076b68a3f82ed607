"""Laws of the HTTP date parsers: they never raise on any input, and agree."""

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chain.api import transport
from chain.api.dates import ServerDates
from notifier import retry
from watcher.client import retry as client_retry

FAR = "Mon, 01 Jan 99999999999 00:00:00 GMT"

#: Header values: text with non-ASCII as surrogates or Latin-1, and dates with errors.
ANYTHING = st.text(max_size=300) | st.binary(max_size=300).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
NUMBER = st.integers(-(10**12), 10**12).map(str) | st.text("0123456789", max_size=5000)
NEARLY = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Sunday", "", "x"]),
    NUMBER,
    st.sampled_from(["Jan", "Feb", "December", "13", ""]),
    NUMBER,
    NUMBER,
    NUMBER,
    NUMBER,
    st.sampled_from(["GMT", "-0000", "+9999", "-2400", "+99999999999", "EST", "", "\x00"]) | NUMBER,
)
TEXTS = ANYTHING | NUMBER | NEARLY


@given(TEXTS)
@example(FAR)
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 30 Feb 2026 00:00:00 GMT")
@example("Mon, 01 Jan 2026 00:00:00 +99999999999")
@example("(")
def test_every_reader_is_total_and_both_leaves_read_the_same(text: str) -> None:
    """No text makes a parser raise, and no parser returns NaN or infinity."""
    there = transport.http_date(text)
    assert there == retry.http_date(text)
    assert there is None or math.isfinite(there)
    waits = [
        transport.retry_after({"retry-after": text, "date": "Thu, 01 Jan 1970 00:00:00 GMT"}),
        transport.retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT", "date": text}),
        retry.parse_retry_after(text, now=0.0),
        client_retry._seconds(text),
    ]
    assert all(wait is None or (wait >= 0 and math.isfinite(wait)) for wait in waits)
    dates = ServerDates(now=lambda: 0.0)
    dates.observe("http://a", {"date": text, "age": text})
    assert there is not None or dates.ahead("http://a") is None


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30)))  # noqa: DTZ001
def test_a_real_date_is_read_to_the_second(moment: datetime) -> None:
    """A formatted time is parsed to the same time."""
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert transport.http_date(format_datetime(moment, usegmt=True)) == moment.timestamp()


@pytest.mark.parametrize("zone", ["", " -0000", " GMT", " +0000"])
def test_a_date_without_a_zone_is_in_gmt(zone: str) -> None:
    """HTTP dates are in GMT, whatever the machine's time zone."""
    assert transport.http_date(f"Thu, 01 Jan 1970 00:20:00{zone}") == 1200
    assert retry.http_date(f"Thu, 01 Jan 1970 00:20:00{zone}") == 1200
