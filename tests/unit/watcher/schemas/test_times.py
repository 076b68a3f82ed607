"""Times in documents: what a stranger's document says is read or refused, never an unforeseen error."""

import pytest
from pydantic import TypeAdapter, ValidationError

from watcher.schemas.base import Time

TIMES = TypeAdapter[object](Time)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_beyond_the_calendar_in_utc_is_a_wrong_field(text: str) -> None:
    """Its own zone still has that year, UTC has not."""
    with pytest.raises(ValidationError, match="years 1 to 9999"):
        TIMES.validate_python(text)
