"""A cursor over serialized bytes (pure)."""

from chain.api.parse_fields import Malformed


class ByteReader:
    """Reads one field after the other; ``what`` names the bytes in errors.

    Each method raises ``Malformed`` when too few bytes are left.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self.data = data
        self.position = 0
        self._what = what

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        start, end = self.position, self.position + size
        if end > len(self.data):
            raise Malformed(f"{self._what} ends after {len(self.data)} bytes, within a field")
        self.position = end
        return self.data[start:end]

    def rest(self) -> bytes:
        """Return all bytes that are left."""
        return self.take(len(self.data) - self.position)

    def number(self, size: int) -> int:
        """Read an unsigned number of ``size`` bytes."""
        return int.from_bytes(self.take(size), "big")

    def count(self, most: int) -> int:
        """Read the length of a list, at most ``most``."""
        count = self.number(4)
        if count > most:
            raise Malformed(f"{self._what} holds a list of {count} entries, more than {most}")
        return count

    def end(self) -> None:
        """Refuse bytes that are left."""
        if self.position != len(self.data):
            raise Malformed(f"{len(self.data) - self.position} bytes follow {self._what}")
