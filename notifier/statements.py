"""Split long lists of values for ``IN (…)``."""

from collections.abc import Iterator, Sequence

#: Values in one statement: below every database's limit of bound values.
CHUNK_SIZE = 500


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the values in slices of at most :data:`CHUNK_SIZE`."""
    for start in range(0, len(values), CHUNK_SIZE):
        yield values[start : start + CHUNK_SIZE]
