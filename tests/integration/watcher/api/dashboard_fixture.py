"""A browser's side of the dashboard, without a browser: forms as pages have them, and cookies."""

import re
from html.parser import HTMLParser
from typing import Any

import httpx

from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture

#: What a browser says of a form that a page of the same site sends.
OURS = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}

COOKIE = "sbtc_watcher_session"


class FormOf(HTMLParser):
    """The form of a page that posts to an address ending in ``action``: its fields by name."""

    def __init__(self, html: str, action: str) -> None:
        super().__init__()
        self._action = action
        self._inside = False
        self.found = False
        self.fields: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = given.get("method") == "post" and given.get("action", "").endswith(self._action)
            self.found = self.found or self._inside
        if self._inside and tag == "input" and given.get("name") and given.get("type") != "checkbox":
            self.fields.setdefault(given["name"], given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


class Browser:
    """Somebody who looks at the dashboard."""

    def __init__(self, api: ApiFixture) -> None:
        self.api = api
        self.client = httpx.AsyncClient(base_url=api.url, timeout=30)

    async def close(self) -> None:
        await self.client.aclose()

    async def get(self, path: str, **more: Any) -> httpx.Response:
        """Open a page."""
        return await self.client.get(path, **more)

    async def post(self, path: str, fields: Any, **headers: str) -> httpx.Response:
        """Send a form as our pages do."""
        return await self.client.post(path, data=fields, headers={**OURS, "origin": self.api.url, **headers})

    async def sign_in(self, key: str) -> httpx.Response:
        """Sign in with a key, and be in."""
        answer = await self.post("/dashboard/sign-in", {"key": key})
        assert answer.status_code == 303, answer.text
        return answer

    async def token(self, page: str = "/dashboard/sessions") -> str:
        """Return the token that a page's forms have."""
        html = (await self.get(page)).text
        found = re.search(r'name="token" value="([^"]+)"', html)
        assert found is not None, html
        return found[1]

    async def send(self, page: str, action: str, **fields: Any) -> httpx.Response:
        """Fill in the form of a page and send it."""
        form = FormOf((await self.get(page)).text, action)
        assert form.found, f"{page} has no form for {action}"
        return await self.post(f"/dashboard/{action}", form.fields | fields)

    @property
    def secret(self) -> str:
        """The session's secret."""
        return next(cookie.value or "" for cookie in self.client.cookies.jar if cookie.name == COOKIE)


__all__ = ["ADMIN", "COOKIE", "OURS", "Browser", "FormOf"]
