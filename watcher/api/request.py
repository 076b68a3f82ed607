"""A request of the API, whose body is read strictly."""

from typing import Any

from fastapi import Request

from watcher.api.json_body import MAX_BODY_BYTES, parse, read_body


class ApiRequest(Request):
    """A request whose body is JSON that cannot be read in two ways, and no larger than its route allows."""

    max_body = MAX_BODY_BYTES

    async def body(self) -> bytes:
        """Return the bytes. Raises :class:`Problem` (400, 408, 413, 415)."""
        if not hasattr(self, "_body"):
            self._body = await read_body(self, self.max_body)
        return self._body

    async def json(self) -> Any:
        """Return what the body says, None for an empty one. Raises :class:`Problem` (400, 408, 413, 415)."""
        if not hasattr(self, "_json"):
            data = await self.body()
            self._json = parse(data) if data else None
        return self._json
