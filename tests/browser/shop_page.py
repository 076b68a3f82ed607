"""A shop's own site on an origin of its own, with the strict policy of the widget's documentation."""

from types import TracebackType
from typing import Self

from aiohttp import web

PAGE = """\
<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tea shop</title>
<link rel="icon" href="data:,">
<script src="/shop.js"></script>
{head}
</head>
<body>
<main>
<h1>Tea</h1>
{body}
</main>
</body>
</html>
"""

#: Notes what the widget tells, so that a test can ask for it.
SCRIPT = """
window.told = [];
const note = (name) => (detail) => told.push([name, detail && detail.state, detail && detail.paymentIntent]);
window.callbacks = Object.fromEntries(
  ["Success", "Failure", "Status", "Close"].map((name) => [`on${name}`, note(name)]));
addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("sbtc-pay")) {
    for (const name of ["Success", "Failure", "Status", "Close"]) {
      button.addEventListener(name.toLowerCase(), (event) => note(name)(event.detail));
    }
  }
});
"""


class ShopPage:
    """A site on 127.0.0.1 and a free port; an async context manager. ``pay``: the payments' server."""

    def __init__(self, pay: str = "") -> None:
        self.pay = pay
        self.head = self.body = ""
        self.language = "en"
        self.script = SCRIPT
        #: Other files by path.
        self.files: dict[str, tuple[str, str]] = {}
        self.url = ""
        self._runner: web.AppRunner | None = None

    @property
    def policy(self) -> str:
        """What the documentation tells a shop to allow, and nothing else."""
        return (
            f"script-src 'self' {self.pay}; frame-src {self.pay}; default-src 'none'; connect-src 'self'; "
            "img-src 'self' data:; base-uri 'none'; form-action 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        )

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path == "/shop.js":
            return web.Response(text=self.script, content_type="text/javascript")
        if request.path in self.files:
            content, media_type = self.files[request.path]
            return web.Response(text=content, content_type=media_type)
        html = PAGE.format(language=self.language, head=self.head, body=self.body)
        return web.Response(
            text=html, content_type="text/html", headers={"content-security-policy": self.policy}
        )
